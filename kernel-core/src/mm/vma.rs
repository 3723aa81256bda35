//! Mappings of an address space, and the map of them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::host::Prot;
use crate::mm::map::Object;

bitflags::bitflags! {
    /// What a mapping is like, besides its accesses.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct VmaFlags: u16 {
        /// Stores go to the object (`MAP_SHARED`).
        const SHARED = 1 << 0;
        /// It may be made writable.
        const MAY_WRITE = 1 << 1;
        /// It grows when the address below it is touched.
        const GROWS_DOWN = 1 << 2;
        /// `mlock`.
        const LOCKED = 1 << 3;
        /// `MADV_DONTFORK`.
        const DONT_FORK = 1 << 4;
        /// `MADV_WIPEONFORK`.
        const WIPE_ON_FORK = 1 << 5;
        /// `MADV_DONTDUMP`.
        const DONT_DUMP = 1 << 6;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 1 << 7;
    }
}

/// A mapping; its first address is its key in [`Vmas`].
#[derive(Clone)]
pub struct Vma {
    /// One past the last address.
    pub end: u64,
    /// Accesses allowed.
    pub prot: Prot,
    /// See there.
    pub flags: VmaFlags,
    /// What is mapped; its offset is that of the first address.
    pub object: Object,
}

impl Vma {
    /// Whether stores go to memory of this address space only.
    pub fn is_private(&self) -> bool {
        !self.flags.contains(VmaFlags::SHARED)
    }

    /// Cuts the first `bytes` off.
    pub fn skip(&mut self, bytes: u64) {
        if let Object::File { offset, .. } = &mut self.object {
            *offset += bytes;
        }
    }

    /// Whether it counts as data for `RLIMIT_DATA`: private, writable and no stack.
    pub fn is_data(&self) -> bool {
        self.prot.contains(Prot::WRITE) && !self.flags.intersects(VmaFlags::SHARED | VmaFlags::GROWS_DOWN)
    }

    /// Whether `next` continues `self`, which is `len` long.
    fn joins(&self, len: u64, next: &Vma) -> bool {
        if self.prot != next.prot || self.flags != next.flags {
            return false;
        }
        match (&self.object, &next.object) {
            (Object::Anonymous, Object::Anonymous) => true,
            (
                Object::File { pages: a, file: file_a, offset: offset_a },
                Object::File { pages: b, file: file_b, offset: offset_b },
            ) => {
                let same_file = match (file_a, file_b) {
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    (None, None) => true,
                    _ => false,
                };
                Arc::ptr_eq(a, b) && same_file && offset_a + len == *offset_b
            }
            _ => false,
        }
    }
}

/// All mappings by first address; they do not overlap, and neighbours that continue each other are one.
#[derive(Default)]
pub struct Vmas {
    map: BTreeMap<u64, Vma>,
    bytes: u64,
}

impl Vmas {
    /// How many.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Sum of the lengths.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The mapping of `addr`.
    pub fn get(&self, addr: u64) -> Option<(Range<u64>, &Vma)> {
        let (&start, vma) = self.map.range(..=addr).next_back()?;
        (addr < vma.end).then_some((start..vma.end, vma))
    }

    /// The mapping of `addr`, or else the next one.
    pub fn at_or_after(&self, addr: u64) -> Option<(Range<u64>, &Vma)> {
        self.get(addr).or_else(|| self.map.range(addr..).next().map(|(&start, vma)| (start..vma.end, vma)))
    }

    /// The last mapping that starts below `addr`.
    pub fn before(&self, addr: u64) -> Option<(Range<u64>, &Vma)> {
        self.map.range(..addr).next_back().map(|(&start, vma)| (start..vma.end, vma))
    }

    /// All mappings.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Range<u64>, &Vma)> {
        self.map.iter().map(|(&start, vma)| (start..vma.end, vma))
    }

    /// The mappings that overlap `range`, whole.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, &Vma)> {
        let from = self.get(range.start).map_or(range.start, |(vma, _)| vma.start);
        self.map.range(from..range.end.max(from)).map(|(&start, vma)| (start..vma.end, vma))
    }

    /// Bytes of `range` that are mapped.
    pub fn mapped_bytes(&self, range: &Range<u64>) -> u64 {
        self.overlapping(range.clone())
            .map(|(vma, _)| vma.end.min(range.end) - vma.start.max(range.start))
            .sum()
    }

    /// How many more mappings there are once `range` has borders of its own.
    pub fn splits(&self, range: &Range<u64>) -> usize {
        let cuts = |at: u64| self.get(at).is_some_and(|(vma, _)| vma.start < at);
        usize::from(cuts(range.start)) + usize::from(cuts(range.end))
    }

    /// Makes `at` a border, if it is inside a mapping.
    fn split(&mut self, at: u64) {
        let Some((&start, vma)) = self.map.range_mut(..at).next_back() else { return };
        if at < vma.end {
            let mut tail = vma.clone();
            tail.skip(at - start);
            vma.end = at;
            self.map.insert(at, tail);
        }
    }

    /// Makes one of two neighbours at `at` if the second continues the first.
    fn join(&mut self, at: u64) {
        let Some(next) = self.map.get(&at) else { return };
        let Some((&start, before)) = self.map.range(..at).next_back() else { return };
        if before.end == at && before.joins(at - start, next) {
            let end = next.end;
            self.map.remove(&at);
            if let Some(before) = self.map.get_mut(&start) {
                before.end = end;
            }
        }
    }

    /// Takes all mappings in `range` out, cut to it.
    pub fn remove(&mut self, range: &Range<u64>) -> Vec<(u64, Vma)> {
        self.split(range.start);
        self.split(range.end);
        let starts: Vec<u64> = self.map.range(range.clone()).map(|(&start, _)| start).collect();
        let mut removed = Vec::with_capacity(starts.len());
        for start in starts {
            if let Some(vma) = self.map.remove(&start) {
                self.bytes -= vma.end - start;
                removed.push((start, vma));
            }
        }
        removed
    }

    /// Adds a mapping where none is.
    pub fn insert(&mut self, start: u64, vma: Vma) {
        let end = vma.end;
        self.bytes += end - start;
        self.map.insert(start, vma);
        self.join(start);
        self.join(end);
    }

    /// Changes all mappings in `range`, cut to it.
    pub fn update(&mut self, range: &Range<u64>, mut change: impl FnMut(&mut Vma)) {
        self.split(range.start);
        self.split(range.end);
        let starts: Vec<u64> = self.map.range(range.clone()).map(|(&start, _)| start).collect();
        for start in &starts {
            if let Some(vma) = self.map.get_mut(start) {
                change(vma);
            }
        }
        starts.into_iter().chain([range.end]).for_each(|border| self.join(border));
    }

    /// Replaces the mapping at `start` by `vma`, which starts further down and ends where it did.
    pub fn grow_down(&mut self, start: u64, new_start: u64, vma: Vma) {
        if self.map.remove(&start).is_some() {
            self.bytes += start - new_start;
            self.map.insert(new_start, vma);
            self.join(new_start);
        }
    }
}
