//! `mmap` and `munmap`. Source: `mmap(2)`.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;

use linux_raw_sys::general as sys;

use crate::errno::{EAGAIN, EEXIST, EINVAL, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM, Errno, Result};
use crate::host::{Access, Host, PAGE_SIZE, Prot, Space};
use crate::mm::Mm;
use crate::mm::backing::Inner;
use crate::mm::cache::{Backing, Mapper, PageCache};
use crate::mm::fault::{EARLY_DATA, STACK_GAP};
use crate::mm::vma::{Vma, VmaFlags};
use crate::vfs::file::OpenFile;

/// Where Linux starts to look for room for `MAP_32BIT`, and where it ends.
const LOW_AREA: Range<u64> = 0x4000_0000..0x8000_0000;

/// The flags that `MAP_SHARED_VALIDATE` knows.
const VALIDATED: u32 = sys::MAP_SHARED
    | sys::MAP_PRIVATE
    | sys::MAP_FIXED
    | sys::MAP_ANONYMOUS
    | sys::MAP_32BIT
    | sys::MAP_GROWSDOWN
    | sys::MAP_DENYWRITE
    | sys::MAP_EXECUTABLE
    | sys::MAP_LOCKED
    | sys::MAP_NORESERVE
    | sys::MAP_POPULATE
    | sys::MAP_NONBLOCK
    | sys::MAP_STACK
    | sys::MAP_HUGETLB
    | sys::MAP_FIXED_NOREPLACE
    | sys::MAP_UNINITIALIZED;

/// What `mmap` maps.
#[derive(Clone)]
pub enum Object {
    /// Zeroes: memory of its own, or with `MAP_SHARED` memory shared with later children.
    Anonymous,
    /// A file's pages.
    File {
        /// The pages, from [`crate::vfs::file::FileOps::mappable`].
        pages: Arc<PageCache>,
        /// The open file, kept as long as it is mapped; `None` for what has no descriptor.
        file: Option<Arc<OpenFile>>,
        /// Offset of the first byte.
        offset: u64,
    },
}

/// The arguments of `mmap(2)`, as the guest gave them. The caller has checked that the descriptor may be mapped:
/// EBADF, EACCES (not readable; shared and writable but not open for writing; noexec), ENODEV.
pub struct MapRequest {
    /// Where, or a hint.
    pub addr: u64,
    /// Bytes; rounded up.
    pub len: u64,
    /// `PROT_*`.
    pub prot: u32,
    /// `MAP_*`; unknown ones are as Linux treats them.
    pub flags: u32,
    /// What.
    pub object: Object,
}

impl MapRequest {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn is_file(&self) -> bool {
        matches!(self.object, Object::File { .. })
    }

    /// Whether the flags say shared; EINVAL, EOPNOTSUPP.
    fn is_shared(&self) -> Result<bool> {
        match self.flags & sys::MAP_TYPE {
            sys::MAP_PRIVATE => Ok(false),
            sys::MAP_SHARED => Ok(true),
            sys::MAP_SHARED_VALIDATE if matches!(self.object, Object::Anonymous) => Err(EINVAL),
            sys::MAP_SHARED_VALIDATE if self.flags & !VALIDATED != 0 => Err(EOPNOTSUPP),
            sys::MAP_SHARED_VALIDATE => Ok(true),
            _ => Err(EINVAL),
        }
    }
}

/// Whether what of a file is in RAM is mapped at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eager {
    Yes,
    No,
}

/// `PROT_*` as the host names them; bits that mean nothing are dropped.
pub(super) fn prot_of(bits: u32) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, bits & sys::PROT_READ != 0);
    prot.set(Prot::WRITE, bits & sys::PROT_WRITE != 0);
    prot.set(Prot::EXEC, bits & sys::PROT_EXEC != 0);
    prot
}

impl<H: Host> Mm<H> {
    /// `mmap(2)`.
    pub fn mmap(&self, request: &MapRequest) -> Result<u64> {
        self.place(request, Eager::Yes)
    }

    /// `mmap(2)`, but nothing is mapped until it is touched, or [`Mm::map_files`] is called.
    pub(super) fn map_lazily(&self, request: &MapRequest) -> Result<u64> {
        self.place(request, Eager::No)
    }

    fn place(&self, request: &MapRequest, eager: Eager) -> Result<u64> {
        if request.len == 0 {
            return Err(EINVAL);
        }
        let len = request.len.checked_next_multiple_of(PAGE_SIZE).ok_or(ENOMEM)?;
        if let Object::File { offset, .. } = &request.object {
            offset.checked_add(len).ok_or(EOVERFLOW)?;
        }
        let prot = prot_of(request.prot);
        let (range, locked) = self.change(|inner, batch| {
            inner.check_count(1)?;
            let fixed = request.has(sys::MAP_FIXED | sys::MAP_FIXED_NOREPLACE);
            let range =
                if fixed { self.fixed(inner, request, len)? } else { self.find_area(inner, request, len)? };
            let shared = request.is_shared()?;
            let locked = request.has(sys::MAP_LOCKED) || inner.lock_future;
            if locked {
                check_lock(inner, request, len)?;
            }
            let vma = self.new_vma(request, &range, prot, shared, locked)?;
            let replaced = inner.vmas.mapped_bytes(&range);
            inner.check_limits(len - replaced, vma.is_data())?;
            if replaced > 0 {
                inner.check_count(1 + inner.vmas.splits(&range))?;
                inner.unmap(&range, batch);
            }
            // A linker says that nobody should write to the file: what it maps for writing is a library's data, and it
            // is about to relocate it.
            let is_data =
                !shared && prot.contains(Prot::WRITE) && request.has(sys::MAP_DENYWRITE) && request.is_file();
            if eager == Eager::Yes && !is_data {
                self.map_resident(inner, batch, range.clone(), &vma);
            }
            self.add(inner, range.start, vma);
            if eager == Eager::Yes && is_data {
                let early = range.start..range.end.min(range.start.saturating_add(EARLY_DATA));
                self.bring_in_early(inner, batch, early);
            }
            Ok::<_, Errno>((range, locked))
        })?;
        let populate = request.has(sys::MAP_POPULATE) && !request.has(sys::MAP_NONBLOCK);
        if (populate || locked) && !prot.is_empty() {
            let writes = prot.contains(Prot::WRITE) && request.flags & sys::MAP_TYPE == sys::MAP_PRIVATE;
            // Success or not: whoever touches it will learn.
            let _ = self.populate(range.clone(), if writes { Access::Write } else { Access::Read });
        }
        Ok(range.start)
    }

    /// `munmap(2)`.
    pub fn munmap(&self, addr: u64, len: u64) -> Result<()> {
        let range = self.range(addr, len)?;
        if range.is_empty() {
            return Err(EINVAL);
        }
        self.change(|inner, batch| {
            // Only a hole punched into one mapping makes one more of it.
            let inside = inner
                .vmas
                .get(range.start)
                .is_some_and(|(vma, _)| vma.start < range.start && range.end < vma.end);
            inner.check_count(usize::from(inside))?;
            inner.unmap(&range, batch);
            Ok(())
        })
    }

    /// Adds a mapping where none is.
    pub(super) fn add(&self, inner: &mut Inner, start: u64, vma: Vma) {
        if let Object::File { pages, .. } = &vma.object {
            let me: Weak<dyn Mapper> = self.this.clone();
            pages.add_mapper(self.id, me);
        }
        inner.insert(start, vma);
    }

    /// Brings in `early` for writing, and maps what of all other mapped files is in RAM, in one go.
    pub(super) fn map_files(&self, early: &[Range<u64>]) {
        self.change(|inner, batch| {
            for range in early {
                self.bring_in_early(inner, batch, range.clone());
            }
            let files: Vec<(Range<u64>, Vma)> = inner
                .vmas
                .iter()
                .filter(|(range, vma)| {
                    matches!(vma.object, Object::File { .. })
                        && inner.backing.overlapping(range.clone()).next().is_none()
                })
                .map(|(range, vma)| (range, vma.clone()))
                .collect();
            for (range, vma) in files {
                self.map_resident(inner, batch, range, &vma);
            }
        });
    }

    /// Where a fixed mapping goes.
    fn fixed(&self, inner: &Inner, request: &MapRequest, len: u64) -> Result<Range<u64>> {
        let limits = self.space.limits();
        let addr = request.addr;
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let end = addr.checked_add(len).filter(|&end| end <= limits.end).ok_or(ENOMEM)?;
        if addr < limits.start {
            return Err(EPERM);
        }
        let range = addr..end;
        if request.has(sys::MAP_FIXED_NOREPLACE) && inner.vmas.overlapping(range.clone()).next().is_some() {
            return Err(EEXIST);
        }
        Ok(range)
    }

    /// Where a mapping goes that may go anywhere.
    fn find_area(&self, inner: &mut Inner, request: &MapRequest, len: u64) -> Result<Range<u64>> {
        let limits = self.space.limits();
        if len > limits.end - limits.start {
            return Err(ENOMEM);
        }
        if request.has(sys::MAP_32BIT) {
            let low = LOW_AREA.start.max(limits.start)..LOW_AREA.end.min(limits.end);
            return find_below(inner, low, len).ok_or(ENOMEM);
        }
        if request.addr != 0 {
            let hint = request.addr.checked_next_multiple_of(PAGE_SIZE).unwrap_or(0).max(limits.start);
            if let Some(end) = hint.checked_add(len).filter(|&end| end <= limits.end)
                && is_free(inner, &(hint..end))
            {
                return Ok(hint..end);
            }
        }
        self.find_anywhere(inner, len)
    }

    /// The highest room for `len` bytes below the stack, or else anywhere.
    pub(super) fn find_anywhere(&self, inner: &mut Inner, len: u64) -> Result<Range<u64>> {
        let limits = self.space.limits();
        if len <= inner.largest_hole {
            inner.search_top = inner.mmap_top;
            inner.largest_hole = 0;
        }
        let found = find_below(inner, limits.start..inner.search_top, len).or_else(|| {
            inner.largest_hole = 0;
            find_below(inner, limits.start..inner.mmap_top, len)
        });
        if let Some(found) = found {
            // Holes above that were passed over are smaller than this; remember a bound for them.
            if found.end < inner.search_top {
                inner.largest_hole = inner.largest_hole.max(len - PAGE_SIZE);
            }
            inner.search_top = found.start;
            return Ok(found);
        }
        find_below(inner, limits, len).ok_or(ENOMEM)
    }

    /// The mapping that a request makes.
    fn new_vma(
        &self,
        request: &MapRequest,
        range: &Range<u64>,
        prot: Prot,
        shared: bool,
        locked: bool,
    ) -> Result<Vma> {
        let len = range.end - range.start;
        let mut flags = VmaFlags::MAY_WRITE;
        flags.set(VmaFlags::SHARED, shared);
        flags.set(VmaFlags::LOCKED, locked);
        flags.set(VmaFlags::NO_RESERVE, request.has(sys::MAP_NORESERVE));
        let mut object = request.object.clone();
        match &object {
            Object::Anonymous if request.has(sys::MAP_HUGETLB) => return Err(ENOMEM),
            Object::File { .. } if request.has(sys::MAP_HUGETLB | sys::MAP_GROWSDOWN) && shared => {
                return Err(EINVAL);
            }
            Object::File { file: Some(file), .. } if shared && !file.flags().writable() => {
                flags.remove(VmaFlags::MAY_WRITE);
            }
            Object::File { pages, .. } if shared && pages.writers_denied(self.id, self.this.clone()) => {
                if prot.contains(Prot::WRITE) {
                    return Err(EPERM);
                }
                flags.remove(VmaFlags::MAY_WRITE);
            }
            Object::Anonymous if shared && request.has(sys::MAP_GROWSDOWN) => return Err(EINVAL),
            _ => {}
        }
        flags.set(VmaFlags::GROWS_DOWN, request.has(sys::MAP_GROWSDOWN));
        let is_anonymous = matches!(object, Object::Anonymous);
        let takes_ram = if shared { is_anonymous } else { prot.contains(Prot::WRITE) };
        if takes_ram && !request.has(sys::MAP_NORESERVE) {
            self.check_commit(len)?;
        }
        if shared && is_anonymous {
            let pages = PageCache::new(self.ram(), Backing::Empty);
            pages.truncate(len)?;
            object = Object::File { pages, file: None, offset: 0 };
        }
        Ok(Vma { end: range.end, prot, flags, object })
    }

    /// ENOMEM for what RAM can never hold (`vm.overcommit_memory` 0).
    pub(super) fn check_commit(&self, len: u64) -> Result<()> {
        if len > self.ram().total() { Err(ENOMEM) } else { Ok(()) }
    }
}

/// EPERM or EAGAIN if `len` more bytes must not be locked.
fn check_lock(inner: &Inner, request: &MapRequest, len: u64) -> Result<()> {
    if request.has(sys::MAP_LOCKED) && inner.limits.memlock == 0 {
        return Err(EPERM);
    }
    if inner.limits.memlock != u64::MAX && inner.locked().saturating_add(len) > inner.limits.memlock {
        return Err(EAGAIN);
    }
    Ok(())
}

/// How far up other mappings end that `vma` lets come near.
fn guarded_start(start: u64, vma: &Vma) -> u64 {
    if vma.flags.contains(VmaFlags::GROWS_DOWN) { start.saturating_sub(STACK_GAP) } else { start }
}

/// Whether nothing is mapped in a range, nor a stack just above.
fn is_free(inner: &Inner, range: &Range<u64>) -> bool {
    let next = inner.vmas.at_or_after(range.start);
    next.is_none_or(|(found, vma)| guarded_start(found.start, vma) >= range.end)
}

/// The highest free range of `len` bytes inside `within`.
fn find_below(inner: &Inner, within: Range<u64>, len: u64) -> Option<Range<u64>> {
    let mut top = within.end;
    if let Some((above, vma)) = inner.vmas.at_or_after(within.end) {
        top = top.min(guarded_start(above.start, vma));
    }
    while let Some((below, vma)) = inner.vmas.before(top) {
        let bottom = below.end.max(within.start);
        if bottom.checked_add(len).is_some_and(|end| end <= top) {
            return Some(top - len..top);
        }
        if below.start <= within.start {
            return None;
        }
        top = guarded_start(below.start, vma);
    }
    let room = within.start.checked_add(len).is_some_and(|end| end <= top);
    room.then(|| top - len..top)
}
