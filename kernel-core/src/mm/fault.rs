//! Page faults: bringing what a guest touches into RAM, and telling the host.
//!
//! A fault brings in more than a page, as each costs a round trip: 64 KiB, growing to 2 MiB while faults follow each
//! other in address; of a file also whatever else of it is in RAM around. When RAM is short it is one page.
//!
//! The cheapest fault is the one that does not come: what a program is sure to touch is brought in when it is mapped
//! ([`Mm::bring_in_early`]), in a batch that is sent anyway.

use core::ops::Range;

use linux_raw_sys::general as sys;

use crate::errno::{EAGAIN, ENOMEM, Result};
use crate::host::{Access, Fill, Host, PAGE_SIZE, Phys, Prot};
use crate::mm::Mm;
use crate::mm::backing::{Back, Inner, Kind, Mapped};
use crate::mm::batch::Batch;
use crate::mm::map::Object;
use crate::mm::ram::Fresh;
use crate::mm::range::{Value, intersect};
use crate::mm::reclaim::Reach;
use crate::mm::vma::{Vma, VmaFlags};

/// The least and the most that a fault brings in.
pub(super) const CHUNK: Range<u64> = 64 << 10..2 << 20;

/// So much of a program's or library's data is brought in when it is mapped: it starts with what is relocated and what
/// the C library keeps.
pub(super) const EARLY_DATA: u64 = 64 << 10;

/// How much of a file in RAM is mapped around a fault.
const AROUND: u64 = 16 << 20;

/// How far a stack stays away from the mapping below it (`stack_guard_gap`).
pub const STACK_GAP: u64 = 256 * PAGE_SIZE;

/// What the first store to a file's page through a shared mapping makes dirty: a fault each is dear, and so is to write
/// what nobody changed.
const DIRTY: u64 = 16 << 10;

/// So often a fault may find that what was loaded for it is gone again.
const MAX_LOADS: u32 = 16;

/// An instruction has at most so many bytes.
const MAX_INSTRUCTION: u64 = 15;

/// How often a fault of unknown access may find everything as it should be (another thread was faster) before it is
/// taken for an access that is not allowed.
const MAX_SPURIOUS: u32 = 8;

/// Why a fault cannot be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// The thread gets a signal: SIGSEGV or SIGBUS, with `si_code` and the address as `si_addr`.
    Signal {
        /// Its number.
        signal: u8,
        /// `SEGV_MAPERR`, `SEGV_ACCERR` or `BUS_ADRERR`.
        code: i32,
    },
    /// RAM is used up.
    OutOfMemory,
    /// The host lost the space: the process gets SIGKILL.
    Dead,
    /// [`Inner::missed`] is to be loaded with the address space unlocked ([`Mm::load_again`]), and then it is tried again.
    Missed,
}

impl FaultError {
    const fn segv(code: u32) -> FaultError {
        FaultError::Signal { signal: sys::SIGSEGV as u8, code: code as i32 }
    }

    /// Nothing is mapped there.
    pub const UNMAPPED: FaultError = FaultError::segv(sys::SEGV_MAPERR);
    /// The mapping does not allow it.
    pub const FORBIDDEN: FaultError = FaultError::segv(sys::SEGV_ACCERR);
    /// The file mapped ends before.
    pub const BEYOND_FILE: FaultError =
        FaultError::Signal { signal: sys::SIGBUS as u8, code: sys::BUS_ADRERR as i32 };
}

/// What is to be brought in.
pub(super) struct Wanted {
    /// This page.
    pub page: u64,
    /// For this.
    pub access: Access,
    /// With it, if they are not there: these; else as many around it as are worth it.
    pub early: Option<Range<u64>>,
}

impl<H: Host> Mm<H> {
    /// Serves a page fault of a guest thread whose instruction pointer is `rip`; the thread then tries again.
    pub fn fault(&self, addr: u64, access: Access, rip: u64) -> Result<(), FaultError> {
        let mut loads = 0;
        let result = loop {
            let result = self.change(|inner, batch| {
                inner.faults += 1;
                self.resolve(inner, batch, addr, access, rip)
            });
            if result != Err(FaultError::Missed) {
                break result;
            }
            if let Err(error) = self.load_again(&mut loads) {
                break Err(error);
            }
        };
        if self.ram().is_too_dirty() {
            self.ram().write_some_back(Reach::All);
        }
        if self.is_dead() { Err(FaultError::Dead) } else { result }
    }

    /// Loads what a fault missed, with the address space unlocked, unless it was so often before.
    pub(super) fn load_again(&self, loads: &mut u32) -> Result<(), FaultError> {
        if *loads == MAX_LOADS {
            return Err(FaultError::OutOfMemory);
        }
        *loads += 1;
        // Whoever else missed something meanwhile has taken its place, or will miss it again.
        let missed = self.contents.inner.lock().missed.take();
        let Some((pages, at, wish)) = missed else { return Ok(()) };
        pages.load(at, &wish).map_err(|error| match error {
            ENOMEM => FaultError::OutOfMemory,
            // As if the file ended before: `mmap(2)` has SIGBUS for both.
            _ => FaultError::BEYOND_FILE,
        })
    }

    /// Brings the page of `addr` in for `access`. Afterwards, if it is `Write`, the page is mapped for writing; else
    /// it is in the backing.
    pub(super) fn resolve(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        addr: u64,
        access: Access,
        rip: u64,
    ) -> Result<(), FaultError> {
        let page = addr - addr % PAGE_SIZE;
        let (range, vma) = match inner.vmas.get(addr) {
            Some((range, vma)) => (range, vma.clone()),
            None => grow_stack(inner, page)?,
        };
        let access = match (access, inner.backing.get(page)) {
            (Access::Unknown, Some((_, back))) => guess(inner, &vma, &back, addr, rip)?,
            (Access::Unknown, None) if addr == rip => Access::Exec,
            (Access::Unknown, None) => Access::Read,
            (known, _) => known,
        };
        let allowed = match access {
            Access::Write => vma.prot.contains(Prot::WRITE),
            Access::Exec => vma.prot.contains(Prot::EXEC),
            Access::Read | Access::Unknown => !vma.prot.is_empty(),
        };
        if !allowed {
            return Err(FaultError::FORBIDDEN);
        }
        self.settle(inner, batch, &Wanted { page, access, early: None }, &range, &vma)
    }

    /// Brings a page of `vma`, which is at `range`, in; for [`Access::Write`] so that it may be written, whether the
    /// guest may or not.
    pub(super) fn settle(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        wanted: &Wanted,
        range: &Range<u64>,
        vma: &Vma,
    ) -> Result<(), FaultError> {
        let page = wanted.page;
        if inner.check_count(0).is_err() {
            return Err(FaultError::OutOfMemory);
        }
        if inner.backing.get(page).is_none() {
            self.bring_in(inner, batch, wanted, range, vma)?;
        }
        let Some((piece, back)) = inner.backing.get(page) else { return Err(FaultError::OutOfMemory) };
        let part = intersect(&piece, range);
        let mut back = back.skip(part.start - piece.start);
        if back.mapped == Mapped::No {
            back.mapped = Mapped::at_first(vma);
            inner.backing.insert(part.clone(), back);
            batch.map(part.start, part.end - part.start, back.phys, back.host_prot(vma), Fill::Lazy);
        }
        if wanted.access == Access::Write && back.mapped == Mapped::ReadOnly {
            if let (false, Object::File { pages, offset, .. }) = (vma.is_private(), &vma.object) {
                let dirty = intersect(&chunk_at(page, DIRTY), &part);
                let len = dirty.end - dirty.start;
                let start = offset + (dirty.start - range.start);
                pages.mark_dirty(&(start..start + len));
                let full = Back { mapped: Mapped::Full, ..back.skip(dirty.start - part.start) };
                batch.protect(dirty.start, len, full.host_prot(vma));
                inner.backing.insert(dirty, full);
                return Ok(());
            }
            return self.make_writable(inner, batch, wanted, part, back, vma);
        }
        Ok(())
    }

    /// Brings in a page that is not there, and its surroundings.
    fn bring_in(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        wanted: &Wanted,
        range: &Range<u64>,
        vma: &Vma,
    ) -> Result<(), FaultError> {
        let page = wanted.page;
        let chunk = wanted.early.clone().unwrap_or_else(|| next_chunk(inner, page));
        let wish = intersect(&chunk, range);
        let (made, back, fill) = match &vma.object {
            Object::Anonymous => {
                let gap = inner.backing.gap(page, &intersect(&wish, &inner.windows.window(page)));
                let made = inner.windows.commit_around(page, &gap, Fresh::Zeroed);
                let (made, phys) = made.map_err(|_| FaultError::OutOfMemory)?;
                (made, Back { phys, kind: Kind::Anonymous, mapped: Mapped::Full }, Fill::Now)
            }
            Object::File { pages, offset, .. } => {
                let to_file =
                    |part: &Range<u64>| part.start - range.start + offset..part.end - range.start + offset;
                let around = page.saturating_sub(AROUND / 2)..page.saturating_add(AROUND / 2);
                let gap = inner.backing.gap(page, &intersect(&around, range));
                let (at, wish) = (page - range.start + offset, to_file(&wish));
                let found = match pages.map_around(at, &wish, &to_file(&gap)) {
                    Err(EAGAIN) => {
                        inner.missed = Some((pages.clone(), at, wish));
                        return Err(FaultError::Missed);
                    }
                    found => found.map_err(|_| FaultError::OutOfMemory)?,
                };
                let (part, phys) = found.ok_or(FaultError::BEYOND_FILE)?;
                let start = range.start + (part.start - offset);
                let back = Back { phys, kind: Kind::File, mapped: Mapped::of_file(vma, pages) };
                (start..start + (part.end - part.start), back, Fill::Lazy)
            }
        };
        let prot = back.host_prot(vma);
        batch.map(made.start, made.end - made.start, back.phys, prot, fill);
        inner.sequence.0 = made.end.min(wish.end);
        inner.backing.insert(made, back);
        inner.peak.1 = inner.peak.1.max(inner.backing.covered());
        Ok(())
    }

    /// Makes private pages writable: in place if nobody else holds them, else by copying a chunk. `part` is contiguous
    /// in RAM from `back.phys` on.
    fn make_writable(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        wanted: &Wanted,
        part: Range<u64>,
        back: Back,
        vma: &Vma,
    ) -> Result<(), FaultError> {
        let page = wanted.page;
        let phys_of = |addr: u64| Phys(back.phys.0 + (addr - part.start));
        if back.kind == Kind::Anonymous {
            let within = intersect(&chunk_at(page, CHUNK.end), &part);
            let alone = self.ram().held_once(phys_of(page), phys_of(within.start).0..phys_of(within.end).0);
            if !alone.is_empty() {
                let start = part.start + (alone.start - back.phys.0);
                let mine = start..start + (alone.end - alone.start);
                let full = Back { phys: Phys(alone.start), kind: Kind::Anonymous, mapped: Mapped::Full };
                batch.protect(mine.start, mine.end - mine.start, full.host_prot(vma));
                inner.backing.insert(mine, full);
                return Ok(());
            }
        }
        let chunk = wanted.early.clone().unwrap_or_else(|| chunk_at(page, CHUNK.start));
        let wish = intersect(&chunk, &part);
        let made = inner.windows.commit_around(page, &wish, Fresh::Overwritten);
        let (made, phys) = made.map_err(|_| FaultError::OutOfMemory)?;
        let len = made.end - made.start;
        self.ram().frames.copy(phys, phys_of(made.start), len);
        batch.release.push((phys_of(made.start), len));
        let copy = Back { phys, kind: Kind::Anonymous, mapped: Mapped::Full };
        batch.map(made.start, len, phys, copy.host_prot(vma), Fill::Now);
        inner.backing.insert(made, copy);
        Ok(())
    }

    /// Brings in for writing what a program is about to write to, as far as that can be: together with other changes it
    /// costs a fraction of the fault. Where it fails, whoever touches it will learn.
    pub(super) fn bring_in_early(&self, inner: &mut Inner, batch: &mut Batch, range: Range<u64>) {
        let mut page = range.start - range.start % PAGE_SIZE;
        while page < range.end {
            match inner.backing.get(page) {
                Some((piece, back)) if back.mapped == Mapped::Full => page = piece.end,
                _ => {
                    let Some((mapping, vma)) = inner.vmas.get(page) else { return };
                    let vma = vma.clone();
                    let early = Some(page..range.end.next_multiple_of(PAGE_SIZE));
                    let wanted = Wanted { page, access: Access::Write, early };
                    if self.settle(inner, batch, &wanted, &mapping, &vma).is_err() {
                        inner.missed = None;
                        return;
                    }
                }
            }
        }
    }

    /// Brings a range in (`MAP_POPULATE`, `mlock`, `MADV_POPULATE_*`), in steps, as it may be long.
    pub(super) fn populate(&self, range: Range<u64>, access: Access) -> Result<(), FaultError> {
        let mut page = range.start;
        let mut loads = 0;
        while page < range.end && !self.is_dead() {
            let stop = range.end.min(page.saturating_add(AROUND));
            let before = page;
            let result = self.change(|inner, batch| {
                while page < stop {
                    let present = inner.backing.get(page).filter(|(_, back)| match access {
                        Access::Write => back.mapped == Mapped::Full,
                        _ => back.mapped != Mapped::No,
                    });
                    match present {
                        Some((piece, _)) => page = piece.end,
                        None => self.resolve(inner, batch, page, access, 0)?,
                    }
                }
                Ok(())
            });
            if page > before {
                loads = 0;
            }
            match result {
                Err(FaultError::Missed) => self.load_again(&mut loads)?,
                result => result?,
            }
        }
        Ok(())
    }
}

/// The aligned chunk of `size` around a page.
fn chunk_at(page: u64, size: u64) -> Range<u64> {
    let start = page - page % size;
    start..start.saturating_add(size)
}

/// What to bring in at `page`: a chunk around it, more from it on when the last fault's chunk ended there.
fn next_chunk(inner: &mut Inner, page: u64) -> Range<u64> {
    if inner.sequence.0 == page {
        inner.sequence.1 = (inner.sequence.1 * 2).clamp(CHUNK.start, CHUNK.end);
        page..page.saturating_add(inner.sequence.1)
    } else {
        inner.sequence.1 = CHUNK.start;
        chunk_at(page, CHUNK.start)
    }
}

/// What an access of unknown kind was that faulted although its page is there.
fn guess(inner: &mut Inner, vma: &Vma, back: &Back, addr: u64, rip: u64) -> Result<Access, FaultError> {
    let fetch = addr == rip || (addr.is_multiple_of(PAGE_SIZE) && addr.wrapping_sub(rip) < MAX_INSTRUCTION);
    if back.mapped == Mapped::No && !vma.prot.is_empty() {
        return Ok(if addr == rip { Access::Exec } else { Access::Read });
    }
    if fetch && !vma.prot.contains(Prot::EXEC) {
        return Err(FaultError::FORBIDDEN);
    }
    if vma.prot.contains(Prot::WRITE) && back.mapped == Mapped::ReadOnly {
        return Ok(Access::Write);
    }
    // All that the mapping allows was allowed already. Either another thread brought the page in meanwhile, or it is
    // something that the mapping does not allow, and then it will come again and again.
    let again = (inner.spurious.0, inner.spurious.1) == (addr, rip);
    inner.spurious = (addr, rip, if again { inner.spurious.2 + 1 } else { 1 });
    if vma.prot.is_empty() || inner.spurious.2 >= MAX_SPURIOUS {
        return Err(FaultError::FORBIDDEN);
    }
    Ok(Access::Read)
}

/// Grows the stack above `page` down to it, if there is one that may.
fn grow_stack(inner: &mut Inner, page: u64) -> Result<(Range<u64>, Vma), FaultError> {
    let (range, vma) = inner.vmas.at_or_after(page).ok_or(FaultError::UNMAPPED)?;
    let vma = vma.clone();
    if !vma.flags.contains(VmaFlags::GROWS_DOWN)
        || range.end - page > inner.limits.stack
        || inner.check_limits(range.start - page, false).is_err()
    {
        return Err(FaultError::UNMAPPED);
    }
    if let Some((below, other)) = inner.vmas.before(page)
        && !other.prot.is_empty()
        && !other.flags.contains(VmaFlags::GROWS_DOWN)
        && page - below.end < STACK_GAP
    {
        return Err(FaultError::UNMAPPED);
    }
    let mut vma = vma;
    if let Object::File { offset, .. } = &mut vma.object {
        *offset = offset.checked_sub(range.start - page).ok_or(FaultError::UNMAPPED)?;
    }
    inner.vmas.grow_down(range.start, page, vma.clone());
    inner.peak.0 = inner.peak.0.max(inner.vmas.bytes());
    Ok((page..range.end, vma))
}
