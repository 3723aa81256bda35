//! `madvise`, `msync`, `mincore`, `mlock` and relatives. Source: their man pages.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use linux_raw_sys::general as sys;

use crate::errno::{EACCES, EAGAIN, EBUSY, EFAULT, EHWPOISON, EINVAL, ENOMEM, EPERM, Result};
use crate::host::{Access, Host, PAGE_SIZE, Prot, Space};
use crate::mm::Mm;
use crate::mm::backing::Inner;
use crate::mm::batch::Batch;
use crate::mm::fault::FaultError;
use crate::mm::map::Object;
use crate::mm::range::intersect;
use crate::mm::vma::{Vma, VmaFlags};

/// `madvise` values that are not in every header.
const MADV_POPULATE_READ: u32 = 22;
const MADV_POPULATE_WRITE: u32 = 23;
const MADV_DONTNEED_LOCKED: u32 = 24;

/// So many pages `mincore` looks at in one go.
const MINCORE_STEP: u64 = 1024 * PAGE_SIZE;

/// What a piece of advice does to one mapping.
enum Advice {
    /// Nothing that could be seen.
    Hint,
    /// Changes flags.
    Flags { set: VmaFlags, clear: VmaFlags },
    /// Drops pages; the flag says whether locked ones too.
    DontNeed { locked_too: bool },
    /// Drops pages of anonymous memory.
    Free,
    /// Punches a hole into the file.
    Remove,
    /// Brings pages in.
    Populate(Access),
}

fn advice_of(value: u32) -> Result<Advice> {
    let set = |set| Advice::Flags { set, clear: VmaFlags::empty() };
    let clear = |clear| Advice::Flags { set: VmaFlags::empty(), clear };
    Ok(match value {
        sys::MADV_NORMAL
        | sys::MADV_RANDOM
        | sys::MADV_SEQUENTIAL
        | sys::MADV_WILLNEED
        | sys::MADV_HUGEPAGE
        | sys::MADV_NOHUGEPAGE
        | sys::MADV_COLD
        | sys::MADV_PAGEOUT => Advice::Hint,
        sys::MADV_DONTNEED => Advice::DontNeed { locked_too: false },
        MADV_DONTNEED_LOCKED => Advice::DontNeed { locked_too: true },
        sys::MADV_FREE => Advice::Free,
        sys::MADV_REMOVE => Advice::Remove,
        sys::MADV_DONTFORK => set(VmaFlags::DONT_FORK),
        sys::MADV_DOFORK => clear(VmaFlags::DONT_FORK),
        sys::MADV_DONTDUMP => set(VmaFlags::DONT_DUMP),
        sys::MADV_DODUMP => clear(VmaFlags::DONT_DUMP),
        sys::MADV_WIPEONFORK => set(VmaFlags::WIPE_ON_FORK),
        sys::MADV_KEEPONFORK => clear(VmaFlags::WIPE_ON_FORK),
        MADV_POPULATE_READ => Advice::Populate(Access::Read),
        MADV_POPULATE_WRITE => Advice::Populate(Access::Write),
        _ => return Err(EINVAL),
    })
}

impl<H: Host> Mm<H> {
    /// `madvise(2)`.
    pub fn madvise(&self, addr: u64, len: u64, advice: u32) -> Result<()> {
        let advice = advice_of(advice)?;
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
        let range = addr..addr.checked_add(len).ok_or(EINVAL)?;
        match advice {
            Advice::Populate(access) => self.populate_mapped(range, access),
            Advice::Remove => self.remove_pages(range),
            _ => self.change(|inner, batch| {
                let (mut at, mut result) = (range.start, Ok(()));
                while at < range.end {
                    // What is not mapped is skipped, and told in the end.
                    let Some((whole, vma)) = inner.vmas.at_or_after(at).filter(|(r, _)| r.start < range.end)
                    else {
                        return Err(ENOMEM);
                    };
                    if whole.start > at {
                        result = Err(ENOMEM);
                    }
                    let (vma, part) = (vma.clone(), intersect(&whole, &range));
                    at = part.end;
                    advise(inner, batch, &part, &vma, &advice)?;
                }
                result
            }),
        }
    }

    /// `MADV_REMOVE`. The file is told with the address space unlocked, as it tells its mappers.
    fn remove_pages(&self, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let (pages, from, len) = {
                let inner = self.contents.inner.lock();
                let (whole, vma) = inner.vmas.get(at).ok_or(ENOMEM)?;
                if vma.flags.contains(VmaFlags::LOCKED) {
                    return Err(EINVAL);
                }
                let Object::File { pages, offset, .. } = &vma.object else { return Err(EINVAL) };
                if !vma.flags.contains(VmaFlags::SHARED | VmaFlags::MAY_WRITE) {
                    return Err(EACCES);
                }
                let part = intersect(&whole, &(at..range.end));
                (pages.clone(), offset + (part.start - whole.start), part.end - part.start)
            };
            pages.punch_hole(from, len)?;
            at += len;
        }
        Ok(())
    }

    /// `MADV_POPULATE_READ`, `MADV_POPULATE_WRITE`: EFAULT where a touch would give SIGBUS.
    fn populate_mapped(&self, range: Range<u64>, access: Access) -> Result<()> {
        self.populate(range, access).map_err(|error| match error {
            FaultError::BEYOND_FILE => EFAULT,
            FaultError::FORBIDDEN => EINVAL,
            FaultError::Dead => EHWPOISON,
            _ => ENOMEM,
        })
    }

    /// `msync(2)`. Mappings and files share their pages, so only what lasts elsewhere has to be written.
    pub fn msync(&self, addr: u64, len: u64, flags: u32) -> Result<()> {
        let both = sys::MS_ASYNC | sys::MS_SYNC;
        if flags & !(both | sys::MS_INVALIDATE) != 0
            || !addr.is_multiple_of(PAGE_SIZE)
            || flags & both == both
        {
            return Err(EINVAL);
        }
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(ENOMEM)?;
        let range = addr..addr.checked_add(len).ok_or(ENOMEM)?;
        let files: Vec<_> = {
            let inner = self.contents.inner.lock();
            let locked = |(_, vma): &(Range<u64>, &Vma)| vma.flags.contains(VmaFlags::LOCKED);
            if flags & sys::MS_INVALIDATE != 0
                && inner.vmas.overlapping(range.clone()).any(|vma| locked(&vma))
            {
                return Err(EBUSY);
            }
            if inner.vmas.mapped_bytes(&range) < len {
                return Err(ENOMEM);
            }
            let shared = inner.vmas.overlapping(range.clone()).filter(|(_, vma)| !vma.is_private());
            let written = |(at, vma): (Range<u64>, &Vma)| match &vma.object {
                Object::File { pages, offset, .. } if flags & sys::MS_SYNC != 0 && pages.tracks_stores() => {
                    let part = intersect(&at, &range);
                    Some((pages.clone(), offset + (part.start - at.start)..offset + (part.end - at.start)))
                }
                _ => None,
            };
            shared.filter_map(written).collect()
        };
        files.into_iter().try_for_each(|(pages, part)| pages.write_back(part))
    }

    /// `mincore(2)`; `out` is the address of a byte for each page.
    pub fn mincore(&self, addr: u64, len: u64, out: u64) -> Result<()> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(ENOMEM)?;
        let end = addr.checked_add(len).filter(|&end| end <= self.space.limits().end).ok_or(ENOMEM)?;
        let mut at = addr;
        while at < end {
            let step = at..end.min(at + MINCORE_STEP);
            let mut present = vec![0u8; ((step.end - step.start) / PAGE_SIZE) as usize];
            {
                let inner = self.contents.inner.lock();
                if inner.vmas.mapped_bytes(&step) < step.end - step.start {
                    return Err(ENOMEM);
                }
                let mut mark = |range: Range<u64>| {
                    let first = ((range.start - step.start) / PAGE_SIZE) as usize;
                    let last = ((range.end - step.start) / PAGE_SIZE) as usize;
                    present.get_mut(first..last).unwrap_or_default().fill(1);
                };
                inner.backing.overlapping(step.clone()).for_each(|(part, _)| mark(part));
                for (range, vma) in inner.vmas.overlapping(step.clone()) {
                    let Object::File { pages, offset, .. } = &vma.object else { continue };
                    let part = intersect(&range, &step);
                    let to_file = |at: u64| at - range.start + offset;
                    for found in pages.resident(to_file(part.start)..to_file(part.end)) {
                        mark(found.start - offset + range.start..found.end - offset + range.start);
                    }
                }
            }
            self.user().write_bytes(out.saturating_add((at - addr) / PAGE_SIZE), &present)?;
            at = step.end;
        }
        Ok(())
    }

    /// `mlock(2)` and `mlock2(2)`; with `Populate::Later` pages are locked as they come (`MLOCK_ONFAULT`).
    pub fn mlock(&self, addr: u64, len: u64, populate: Populate) -> Result<()> {
        let range = lock_range(addr, len)?;
        self.change(|inner, _| {
            let limit = inner.limits.memlock;
            if limit == 0 {
                return Err(EPERM);
            }
            let new = range.end - range.start - locked_in(inner, &range);
            if limit != u64::MAX && inner.locked().saturating_add(new) > limit {
                return Err(ENOMEM);
            }
            set_locked(inner, &range, VmaFlags::LOCKED)
        })?;
        match populate {
            Populate::Later => Ok(()),
            Populate::Now => self.populate_locked(range),
        }
    }

    /// `munlock(2)`.
    pub fn munlock(&self, addr: u64, len: u64) -> Result<()> {
        let range = lock_range(addr, len)?;
        self.change(|inner, _| set_locked(inner, &range, VmaFlags::empty()))
    }

    /// `mlockall(2)`.
    pub fn mlockall(&self, flags: u32) -> Result<()> {
        let known = sys::MCL_CURRENT | sys::MCL_FUTURE | sys::MCL_ONFAULT;
        if flags == 0 || flags & !known != 0 || flags == sys::MCL_ONFAULT {
            return Err(EINVAL);
        }
        let all = self.space.limits();
        let populate = self.change(|inner, _| {
            let limit = inner.limits.memlock;
            if limit == 0 {
                return Err(EPERM);
            }
            if flags & sys::MCL_CURRENT != 0 && limit != u64::MAX && inner.vmas.bytes() > limit {
                return Err(ENOMEM);
            }
            inner.lock_future = flags & sys::MCL_FUTURE != 0;
            if flags & sys::MCL_CURRENT == 0 {
                return Ok(Vec::new());
            }
            inner.vmas.update(&all, |vma| vma.flags.insert(VmaFlags::LOCKED));
            let later = flags & sys::MCL_ONFAULT != 0;
            let readable = inner.vmas.iter().filter(|(_, vma)| !later && !vma.prot.is_empty());
            Ok(readable.map(|(range, _)| range).collect())
        })?;
        for range in populate {
            // Linux does not say either whether all came in.
            let _ = self.populate_locked(range);
        }
        Ok(())
    }

    /// `munlockall(2)`.
    pub fn munlockall(&self) {
        let all = self.space.limits();
        self.change(|inner, _| {
            inner.lock_future = false;
            inner.vmas.update(&all, |vma| vma.flags.remove(VmaFlags::LOCKED));
        });
    }

    /// Brings locked memory in, writable private memory for writing.
    fn populate_locked(&self, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let (part, access) = {
                let inner = self.contents.inner.lock();
                let (whole, vma) = inner.vmas.get(at).ok_or(ENOMEM)?;
                let writes = vma.is_private() && vma.prot.contains(Prot::WRITE);
                (at..whole.end.min(range.end), if writes { Access::Write } else { Access::Read })
            };
            at = part.end;
            self.populate(part, access).map_err(|error| match error {
                FaultError::OutOfMemory => EAGAIN,
                _ => ENOMEM,
            })?;
        }
        Ok(())
    }
}

/// When `mlock` brings pages in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Populate {
    /// At once.
    Now,
    /// When they are touched.
    Later,
}

/// The pages that `mlock` names.
fn lock_range(addr: u64, len: u64) -> Result<Range<u64>> {
    let start = addr - addr % PAGE_SIZE;
    let end = addr.checked_add(len).and_then(|end| end.checked_next_multiple_of(PAGE_SIZE)).ok_or(EINVAL)?;
    Ok(start..end)
}

fn locked_in(inner: &Inner, range: &Range<u64>) -> u64 {
    let locked =
        inner.vmas.overlapping(range.clone()).filter(|(_, vma)| vma.flags.contains(VmaFlags::LOCKED));
    locked.map(|(vma, _)| intersect(&vma, range)).map(|part| part.end - part.start).sum()
}

/// Sets or clears the flag on all mappings of a range; ENOMEM if something of it is not mapped.
fn set_locked(inner: &mut Inner, range: &Range<u64>, locked: VmaFlags) -> Result<()> {
    inner.check_count(inner.vmas.splits(range))?;
    let complete = inner.vmas.mapped_bytes(range) == range.end - range.start;
    inner.vmas.update(range, |vma| {
        vma.flags.remove(VmaFlags::LOCKED);
        vma.flags.insert(locked);
    });
    if complete { Ok(()) } else { Err(ENOMEM) }
}

/// Takes advice on a part of one mapping.
fn advise(inner: &mut Inner, batch: &mut Batch, part: &Range<u64>, vma: &Vma, advice: &Advice) -> Result<()> {
    let is_locked = vma.flags.contains(VmaFlags::LOCKED);
    let is_anonymous = vma.is_private() && matches!(vma.object, Object::Anonymous);
    match *advice {
        Advice::DontNeed { locked_too } if is_locked && !locked_too => Err(EINVAL),
        Advice::Free if is_locked || !is_anonymous => Err(EINVAL),
        // Freeing at once is allowed: the pages read as before or as zero until they are written.
        Advice::DontNeed { .. } | Advice::Free => {
            inner.drop_pages(part, batch);
            Ok(())
        }
        Advice::Flags { set, .. } if set.contains(VmaFlags::WIPE_ON_FORK) && !is_anonymous => Err(EINVAL),
        Advice::Flags { set, clear } => {
            inner.check_count(inner.vmas.splits(part))?;
            inner.vmas.update(part, |vma| vma.flags = (vma.flags | set) - clear);
            Ok(())
        }
        Advice::Hint | Advice::Remove | Advice::Populate(_) => Ok(()),
    }
}
