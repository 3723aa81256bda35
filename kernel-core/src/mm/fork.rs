//! Copying an address space.
//!
//! Nothing is copied but the maps: both sides hold the same RAM, without the right to write to what is private. The
//! host gets one batch for each side. The child's mappings are made at once, as a mapping in a batch costs far less than
//! the fault that would ask for it. For the same reason the little that both sides are sure to write to next, as the
//! parent wrote to it just now, is copied instead of shared ([`own_parts`]): each side would fault there.

use alloc::sync::{Arc, Weak};
use core::ops::Range;
use core::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::errno::{ENOMEM, Result};
use crate::host::{Fill, Host, PAGE_SIZE, Prot, Space};
use crate::mm::Mm;
use crate::mm::backing::{Back, Inner, Kind, Mapped};
use crate::mm::batch::Batch;
use crate::mm::cache::Mapper;
use crate::mm::fault::CHUNK;
use crate::mm::map::Object;
use crate::mm::ram::Fresh;
use crate::mm::range::{Piece, Pieces, Value, intersect};
use crate::mm::vma::{Vma, VmaFlags};

/// So many mappings a child gets at once; faults bring the rest.
const MAX_EAGER: usize = 512;

/// So many pieces of a file that are in RAM a new mapping gets at once. A program's code comes in small pieces, and a
/// mapping in a batch costs far less than the fault that would ask for it.
const RESIDENT_PIECES: usize = 64;

/// What is copied around an address that both sides are about to write to.
const AROUND: u64 = 32 << 10;

/// Pieces of so many bytes in all are copied whole: program data, mostly.
const OWN_BYTES: u64 = 96 << 10;

/// The parts of a piece that a child gets a copy of. What the parent has written to since it last forked, both sides
/// are likely to write to. If it is small, a store would copy all of it; else it is what is around the `hot` addresses.
fn own_parts(
    vma: &Vma,
    (piece, back): &Piece<Back>,
    hot: &[u64],
    budget: &mut u64,
) -> SmallVec<[Range<u64>; 2]> {
    let written = vma.is_private() && vma.prot.contains(Prot::WRITE) && back.mapped == Mapped::Full;
    if !written || hot.is_empty() {
        return SmallVec::new();
    }
    let len = piece.end - piece.start;
    if len <= CHUNK.start && len <= *budget {
        *budget -= len;
        return core::iter::once(piece.clone()).collect();
    }
    let mut parts: SmallVec<[Range<u64>; 2]> = SmallVec::new();
    for addr in hot {
        let start = (addr - addr % PAGE_SIZE).saturating_sub(AROUND / 2);
        let part = intersect(&(start..start + AROUND), piece);
        match parts.last_mut() {
            Some(last) if last.start <= part.end && part.start <= last.end => {
                *last = last.start.min(part.start)..last.end.max(part.end);
            }
            _ if part.is_empty() => {}
            _ => parts.push(part),
        }
    }
    parts
}

/// The first part of a piece of the parent that the child does not have.
fn first_missing(child: &Inner, (piece, back): &Piece<Back>) -> Option<Piece<Back>> {
    let mut missing = piece.clone();
    while let Some((there, _)) =
        child.backing.at_or_after(missing.start).filter(|(there, _)| there.start < piece.end)
    {
        if there.start > missing.start {
            missing.end = there.start;
            break;
        }
        missing.start = there.end;
    }
    (missing.start < missing.end).then(|| (missing.clone(), back.skip(missing.start - piece.start)))
}

impl<H: Host> Mm<H> {
    /// A copy for process `pid`, as `fork` makes it: private memory is shared until one side writes. `hot` has the addresses that both
    /// sides are about to write to; none if other threads run in it, as they could write here and there while it is
    /// copied, and the copy would be no state that ever was. ENOMEM.
    pub fn fork(&self, pid: u32, hot: &[u64]) -> Result<Arc<Mm<H>>> {
        let child = Mm::new(&self.host, self.ram(), self.space.limits())?;
        child.membarrier.store(self.membarrier.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut told = Batch::default();
        let mut budget = OWN_BYTES;
        self.change(|inner, batch| {
            let mut copy = child.contents.inner.lock();
            copy.limits = inner.limits;
            copy.layout = inner.layout.clone();
            copy.brk = inner.brk;
            copy.mmap_top = inner.mmap_top;
            copy.search_top = inner.search_top;
            copy.largest_hole = inner.largest_hole;
            let vmas: alloc::vec::Vec<_> =
                inner.vmas.iter().map(|(range, vma)| (range, vma.clone())).collect();
            for (range, mut vma) in vmas {
                if vma.flags.contains(VmaFlags::DONT_FORK) {
                    continue;
                }
                if let Object::File { pages, file, .. } = &mut vma.object {
                    let mapper: Weak<dyn Mapper> = child.this.clone();
                    pages.add_mapper(child.id, mapper);
                    if let Some(other) = file.as_ref().and_then(|file| file.ops.forked(file, pid)) {
                        *file = Some(other);
                    }
                }
                if !vma.flags.contains(VmaFlags::WIPE_ON_FORK) {
                    let pieces: Pieces<Back> = inner.backing.overlapping(range.clone()).collect();
                    let of_file = pieces.len() > 1 && pieces.iter().all(|(_, back)| back.kind == Kind::File);
                    let pieces = if of_file && told.ops.len() < MAX_EAGER {
                        // Faults brought them in one by one. By now they may go on in each other.
                        self.map_resident(&mut copy, &mut told, range.clone(), &vma);
                        Pieces::new()
                    } else {
                        pieces
                    };
                    for piece in pieces {
                        for part in own_parts(&vma, &piece, hot, &mut budget) {
                            self.copy_part(&mut copy, &mut told, &vma, part, &piece);
                        }
                        while let Some(piece) = first_missing(&copy, &piece) {
                            let shared = self.share(inner, batch, &vma, piece);
                            self.adopt(&mut copy, &mut told, &vma, shared);
                        }
                    }
                }
                let flags = vma.flags - VmaFlags::LOCKED;
                copy.insert(range.start, Vma { flags, ..vma });
            }
            copy.peak.1 = copy.backing.covered();
            child.tell_host(&mut copy, &mut told);
        });
        self.copy_rewritten(&child);
        if child.is_dead() { Err(ENOMEM) } else { Ok(child) }
    }

    /// Gives the child a copy of a part of a piece, unless RAM is short.
    fn copy_part(
        &self,
        child: &mut Inner,
        batch: &mut Batch,
        vma: &Vma,
        part: Range<u64>,
        (piece, back): &Piece<Back>,
    ) {
        if child.windows.window(part.start).end < part.end {
            return;
        }
        let Ok(phys) = child.windows.commit(&part, Fresh::Overwritten) else { return };
        let len = part.end - part.start;
        self.ram().frames.copy(phys, back.skip(part.start - piece.start).phys, len);
        let copy = Back { phys, ..*back };
        batch.map(part.start, len, phys, copy.host_prot(vma), Fill::Now);
        child.backing.insert(part, copy);
    }

    /// Holds a piece of the parent once more, for the child, and takes the parent's right to write if it is private.
    fn share(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        vma: &Vma,
        (part, mut back): Piece<Back>,
    ) -> Piece<Back> {
        let len = part.end - part.start;
        self.ram().hold(back.phys, len);
        if vma.is_private() && back.mapped == Mapped::Full {
            let before = back.host_prot(vma);
            back.mapped = Mapped::ReadOnly;
            inner.backing.insert(part.clone(), back);
            if before != back.host_prot(vma) {
                batch.protect(part.start, len, back.host_prot(vma));
            }
        }
        (part, back)
    }

    /// Gives a piece to the child.
    fn adopt(&self, child: &mut Inner, batch: &mut Batch, vma: &Vma, (part, mut back): Piece<Back>) {
        let len = part.end - part.start;
        if batch.ops.len() >= MAX_EAGER || vma.prot.is_empty() {
            back.mapped = Mapped::No;
        } else {
            back.mapped = Mapped::at_first(vma);
            batch.map(part.start, len, back.phys, back.host_prot(vma), Fill::Lazy);
        }
        child.backing.insert(part, back);
    }

    /// Maps what of a file is in RAM, for a new mapping: `range` of `vma`, nothing of it being in the backing.
    pub(super) fn map_resident(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        range: core::ops::Range<u64>,
        vma: &Vma,
    ) {
        let Object::File { pages, offset, .. } = &vma.object else { return };
        if vma.prot == Prot::empty() {
            return;
        }
        let in_file = *offset..offset.saturating_add(range.end - range.start);
        for (part, phys) in pages.map_resident(in_file, RESIDENT_PIECES) {
            let start = range.start + (part.start - offset);
            let back = Back { phys, kind: Kind::File, mapped: Mapped::of_file(vma, pages) };
            batch.map(start, part.end - part.start, phys, back.host_prot(vma), Fill::Lazy);
            inner.backing.insert(start..start + (part.end - part.start), back);
        }
        inner.peak.1 = inner.peak.1.max(inner.backing.covered());
    }

    /// Moves what is in RAM from `from` to `to`, which has the same length and nothing in RAM.
    pub(super) fn move_pages(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        from: core::ops::Range<u64>,
        to: u64,
        vma: &Vma,
    ) {
        let pieces = inner.backing.remove(from.clone());
        if pieces.iter().any(|(_, back)| back.mapped != Mapped::No) {
            batch.unmap(from.start, from.end - from.start);
        }
        for (piece, back) in pieces {
            let part = to + (piece.start - from.start)..to + (piece.end - from.start);
            let part = intersect(&part, &(to..vma.end));
            if back.mapped != Mapped::No {
                batch.map(
                    part.start,
                    part.end - part.start,
                    back.skip(0).phys,
                    back.host_prot(vma),
                    Fill::Lazy,
                );
            }
            inner.backing.insert(part, back);
        }
    }
}
