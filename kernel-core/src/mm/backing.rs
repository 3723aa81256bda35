//! Which parts of an address space are in RAM, and how far the host was told.

use alloc::sync::Arc;
use core::ops::Range;

use crate::errno::{ENOMEM, Result};
use crate::host::{Phys, Prot};
use crate::mm::batch::Batch;
use crate::mm::cache::PageCache;
use crate::mm::map::Object;
use crate::mm::range::{RangeMap, Value};
use crate::mm::vma::{Vma, Vmas};
use crate::mm::window::Windows;
use crate::mm::{Layout, MmLimits};

/// The most mappings and contiguous pieces of RAM of one address space together. Linux has a limit of 65,530 mappings
/// (`vm.max_map_count`); a host mapping ends where one of ours or a piece does, so this keeps the host below its own.
pub const MAX_MAPS: usize = 65_000;

/// Whose page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The address space's own, or shared with relatives until written.
    Anonymous,
    /// A page cache's.
    File,
}

/// How the host has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// Not.
    No,
    /// Without the right to write, whatever the mapping allows: a store makes a copy first.
    ReadOnly,
    /// With all rights that the mapping gives.
    Full,
}

/// A contiguous range in RAM, held once by the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Back {
    /// Where.
    pub phys: Phys,
    /// Whose.
    pub kind: Kind,
    /// How the host has it.
    pub mapped: Mapped,
}

impl Value for Back {
    fn skip(self, bytes: u64) -> Self {
        Back { phys: Phys(self.phys.0 + bytes), ..self }
    }
    fn joins(&self, len: u64, next: &Self) -> bool {
        self.skip(len) == *next
    }
}

impl Mapped {
    /// How a page of a file is mapped at first: stores are let through at once if nobody has to know of them.
    pub fn of_file(vma: &Vma, pages: &PageCache) -> Mapped {
        if vma.is_private() || pages.tracks_stores() { Mapped::ReadOnly } else { Mapped::Full }
    }

    /// How what `vma` has in its backing is mapped at first.
    pub fn at_first(vma: &Vma) -> Mapped {
        match &vma.object {
            Object::File { pages, .. } => Mapped::of_file(vma, pages),
            Object::Anonymous => Mapped::ReadOnly,
        }
    }
}

impl Back {
    /// What the host allows on it inside `vma`. On x86-64, what can be written or executed can be read.
    pub fn host_prot(&self, vma: &Vma) -> Prot {
        let prot = if vma.prot.is_empty() { vma.prot } else { vma.prot | Prot::READ };
        if self.mapped == Mapped::Full { prot } else { prot - Prot::WRITE }
    }
}

/// Everything about an address space that changes.
pub struct Inner {
    /// The mappings.
    pub vmas: Vmas,
    /// What of them is in RAM.
    pub backing: RangeMap<Back>,
    /// Where new RAM comes from.
    pub windows: Windows,
    /// Resource limits.
    pub limits: MmLimits,
    /// Parts of the program.
    pub layout: Layout,
    /// The program break.
    pub brk: u64,
    /// Mappings are placed below this address.
    pub mmap_top: u64,
    /// Above this (and below `mmap_top`) no hole is larger than `largest_hole`.
    pub search_top: u64,
    /// See `search_top`.
    pub largest_hole: u64,
    /// Flags that every new mapping gets (`mlockall(MCL_FUTURE)`).
    pub lock_future: bool,
    /// Most bytes ever mapped, and ever resident.
    pub peak: (u64, u64),
    /// Faults served.
    pub faults: u64,
    /// Where the last fault's chunk ended and how large it was: a fault there goes on with a larger one.
    pub sequence: (u64, u64),
    /// The last fault that changed nothing (address, instruction), and how often it came.
    pub spurious: (u64, u64, u32),
    /// RAM that the host may still reach, as it failed to unmap it.
    pub limbo: alloc::vec::Vec<(Phys, u64)>,
    /// What a fault with [`crate::mm::fault::FaultError::Missed`] needs: the cache, the page, and what to load with it.
    pub missed: Option<(Arc<PageCache>, u64, Range<u64>)>,
    /// The host lost the space.
    pub dead: bool,
}

impl Inner {
    /// Unmaps a range wholly, mappings and RAM. The caller has checked that [`MAX_MAPS`] is kept.
    pub fn unmap(&mut self, range: &Range<u64>, batch: &mut Batch) {
        batch.removed.append(&mut self.vmas.remove(range));
        self.drop_pages(range, batch);
        let idle: alloc::vec::Vec<u64> = self
            .windows
            .in_use(range)
            .filter(|window| self.backing.overlapping(window.clone()).next().is_none())
            .map(|window| window.start)
            .collect();
        idle.into_iter().for_each(|window| self.windows.forget(window));
        if range.end > self.search_top {
            self.search_top = range.end.min(self.mmap_top);
        }
    }

    /// Gives back the RAM of a range; the mappings stay.
    pub fn drop_pages(&mut self, range: &Range<u64>, batch: &mut Batch) {
        let removed = self.backing.remove(range.clone());
        let told = |(_, back): &&(Range<u64>, Back)| back.mapped != Mapped::No;
        if let (Some((first, _)), Some((last, _))) = (removed.iter().find(told), removed.iter().rfind(told)) {
            batch.unmap(first.start, last.end - first.start);
        }
        batch.release.extend(removed.into_iter().map(|(piece, back)| (back.phys, piece.end - piece.start)));
    }

    /// ENOMEM if `more` mappings would be too many.
    pub fn check_count(&self, more: usize) -> Result<()> {
        if self.vmas.len() + self.backing.count() + more > MAX_MAPS { Err(ENOMEM) } else { Ok(()) }
    }

    /// ENOMEM if `more` bytes break `RLIMIT_AS`, or, if they are data, `RLIMIT_DATA`.
    pub fn check_limits(&self, more: u64, is_data: bool) -> Result<()> {
        if self.vmas.bytes().saturating_add(more) > self.limits.address_space {
            return Err(ENOMEM);
        }
        if is_data && self.limits.data != u64::MAX {
            let data: u64 =
                self.vmas.iter().filter(|(_, vma)| vma.is_data()).map(|(r, _)| r.end - r.start).sum();
            if data.saturating_add(more) > self.limits.data {
                return Err(ENOMEM);
            }
        }
        Ok(())
    }

    /// Adds a mapping where none is.
    pub fn insert(&mut self, start: u64, vma: Vma) {
        self.vmas.insert(start, vma);
        self.peak.0 = self.peak.0.max(self.vmas.bytes());
    }

    /// Bytes that are locked.
    pub fn locked(&self) -> u64 {
        use crate::mm::vma::VmaFlags;
        let locked = self.vmas.iter().filter(|(_, vma)| vma.flags.contains(VmaFlags::LOCKED));
        locked.map(|(range, _)| range.end - range.start).sum()
    }
}
