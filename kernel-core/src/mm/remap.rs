//! `mremap` and `remap_file_pages`. Sources: the manual pages of the same names.

use alloc::sync::Arc;
use core::ops::Range;

use linux_raw_sys::general as sys;

use crate::errno::{EAGAIN, EFAULT, EINVAL, ENOMEM, EOVERFLOW, Result};
use crate::host::{Access, Host, PAGE_SIZE, Prot, Space};
use crate::mm::Mm;
use crate::mm::backing::Inner;
use crate::mm::batch::Batch;
use crate::mm::map::{MapRequest, Object};
use crate::mm::range::intersect;
use crate::mm::vma::{Vma, VmaFlags};

const KNOWN: u32 = sys::MREMAP_MAYMOVE | sys::MREMAP_FIXED | sys::MREMAP_DONTUNMAP;

impl<H: Host> Mm<H> {
    /// `mremap(2)`.
    pub fn mremap(&self, old: u64, old_len: u64, new_len: u64, flags: u32, new: u64) -> Result<u64> {
        let has = |flag| flags & flag != 0;
        if flags & !KNOWN != 0
            || has(sys::MREMAP_FIXED) && !has(sys::MREMAP_MAYMOVE)
            || has(sys::MREMAP_DONTUNMAP) && (!has(sys::MREMAP_MAYMOVE) || old_len != new_len)
            || !old.is_multiple_of(PAGE_SIZE)
        {
            return Err(EINVAL);
        }
        let limits = self.space.limits();
        let old_len = old_len.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
        let new_len = new_len.checked_next_multiple_of(PAGE_SIZE).filter(|&len| len != 0).ok_or(EINVAL)?;
        let old_end = old.checked_add(old_len).ok_or(EINVAL)?;
        if has(sys::MREMAP_FIXED) {
            let end = new.checked_add(new_len).filter(|&end| end <= limits.end).ok_or(EINVAL)?;
            let apart = intersect(&(old..old_end), &(new..end)).is_empty();
            if !new.is_multiple_of(PAGE_SIZE) || new < limits.start || !apart {
                return Err(EINVAL);
            }
        }
        let (addr, locked) = self.change(|inner, batch| {
            let (range, vma) = inner.vmas.get(old).ok_or(EFAULT)?;
            let vma = vma.clone();
            let locked = vma.flags.contains(VmaFlags::LOCKED);
            if !has(sys::MREMAP_FIXED | sys::MREMAP_DONTUNMAP) && old_len >= new_len && old_len != 0 {
                if new_len < old_len {
                    inner.check_count(1)?;
                    inner.unmap(&(old + new_len..old_end), batch);
                }
                return Ok((old, None));
            }
            if old_len == 0 && vma.is_private() {
                return Err(EINVAL);
            }
            if old_end > range.end {
                return Err(EFAULT);
            }
            let more = new_len.saturating_sub(old_len);
            if locked && inner.locked().saturating_add(more) > inner.limits.memlock {
                return Err(EAGAIN);
            }
            inner.check_limits(more, vma.is_data())?;
            if vma.is_private() && vma.prot.contains(Prot::WRITE) && !vma.flags.contains(VmaFlags::NO_RESERVE)
            {
                self.check_commit(more)?;
            }
            inner.check_count(3)?;
            let grown = locked.then_some(old + old_len..old + new_len);
            if has(sys::MREMAP_FIXED) {
                let target = new..new + new_len;
                if new_len < old_len {
                    inner.unmap(&(old + new_len..old_end), batch);
                }
                inner.unmap(&target, batch);
                self.move_mapping(inner, batch, old..old_end.min(old + new_len), target, vma, range, flags);
                return Ok((new, locked.then_some(new..new + new_len)));
            }
            let in_place = !has(sys::MREMAP_DONTUNMAP) && old_len != 0 && old_end == range.end;
            let room = old.checked_add(new_len).filter(|&end| end <= limits.end);
            if let (true, Some(end)) = (in_place, room)
                && inner.vmas.overlapping(old_end..end).next().is_none()
            {
                let mut tail = vma;
                tail.skip(old_end - range.start);
                tail.end = end;
                self.map_resident(inner, batch, old_end..end, &tail);
                self.add(inner, old_end, tail);
                return Ok((old, grown));
            }
            if !has(sys::MREMAP_MAYMOVE) {
                return Err(ENOMEM);
            }
            let target = self.find_anywhere(inner, new_len)?;
            let start = target.start;
            let grown = locked.then_some(target.clone());
            self.move_mapping(inner, batch, old..old_end, target, vma, range, flags);
            Ok((start, grown))
        })?;
        if let Some(grown) = locked {
            // Success or not: whoever touches it will learn.
            let _ = self.populate(grown, Access::Read);
        }
        Ok(addr)
    }

    /// `remap_file_pages(2)`, as Linux has done it since 4.0: the file is mapped anew, from `page` on, over a part of a
    /// shared mapping of it.
    pub fn remap_file_pages(&self, start: u64, len: u64, page: u64) -> Result<()> {
        let (start, len) = (start - start % PAGE_SIZE, len - len % PAGE_SIZE);
        let end = start.checked_add(len).filter(|&end| end > start).ok_or(EINVAL)?;
        page.checked_add(len / PAGE_SIZE).ok_or(EINVAL)?;
        let offset = page.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
        let (prot, flags, object) = {
            let inner = self.contents.inner.lock();
            let (range, vma) = inner.vmas.get(start).filter(|(_, vma)| !vma.is_private()).ok_or(EINVAL)?;
            let Object::File { pages, file, .. } = &vma.object else { return Err(EINVAL) };
            // Other parts may have been mapped anew before.
            let mut at = range.end;
            while at < end {
                let (next, other) = inner.vmas.get(at).ok_or(EINVAL)?;
                let same =
                    matches!(&other.object, Object::File { pages: more, .. } if Arc::ptr_eq(pages, more));
                if !same || (other.prot, other.flags) != (vma.prot, vma.flags) {
                    return Err(EINVAL);
                }
                at = next.end;
            }
            let locked = if vma.flags.contains(VmaFlags::LOCKED) { sys::MAP_LOCKED } else { 0 };
            let object = Object::File { pages: pages.clone(), file: file.clone(), offset };
            (vma.prot, sys::MAP_SHARED | sys::MAP_FIXED | sys::MAP_POPULATE | locked, object)
        };
        let prot = u32::from(prot.bits());
        self.mmap(&MapRequest { addr: start, len, prot, flags, object }).map(drop)
    }

    /// Moves `old`, a part of `vma` at `range`, to `target`, where nothing is.
    #[expect(clippy::too_many_arguments, reason = "two places, a mapping and how")]
    fn move_mapping(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        old: Range<u64>,
        target: Range<u64>,
        vma: Vma,
        range: Range<u64>,
        flags: u32,
    ) {
        let mut moved = vma;
        moved.skip(old.start - range.start);
        moved.end = target.end;
        let len = (old.end - old.start).min(target.end - target.start);
        // An empty old range duplicates a shared mapping.
        if len > 0 {
            self.move_pages(inner, batch, old.start..old.start + len, target.start, &moved);
            if flags & sys::MREMAP_DONTUNMAP == 0 {
                inner.unmap(&old, batch);
            }
        }
        self.add(inner, target.start, moved);
    }
}
