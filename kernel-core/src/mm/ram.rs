//! Guest RAM: which physical ranges are free, reserved, committed and shared.
//!
//! Offsets into RAM are sparse: far more of them exist than memory may be committed. So whoever will need memory
//! (an address space, a file) *reserves* a block of contiguous offsets, which costs nothing, and *commits* parts of
//! it when they are used; neighbours in address are then neighbours in RAM. Committed ranges are counted: one for each
//! address space that maps them, for the file they belong to, for each copy in progress. What nobody counts any more
//! is dirty: it is zeroed when it is committed again, or given back to the host in wide pieces when there is too
//! much of it, or a vCPU has nothing else to do. Memory that was never used reads as zero and is not zeroed.
//!
//! All ranges here are in bytes and in whole pages.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::errno::{ENOMEM, Errno, Result};
use crate::host::{Frames, Phys};
use crate::mm::range::{Pieces, RangeMap, Value, intersect};
use crate::mm::reclaim::Caches;
use crate::sync::Mutex;

/// The most that is given back to the host in one call.
const DISCARD_BYTES: u64 = 2 << 20;

/// How many hold a committed range.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Holders(u32);

impl Value for Holders {
    fn skip(self, _: u64) -> Self {
        self
    }
    fn joins(&self, _: u64, next: &Self) -> bool {
        self == next
    }
}

/// A reserved block of offsets.
struct Block {
    end: u64,
    /// Whether whoever reserved it may still commit parts of it.
    reserved: bool,
    /// Bytes committed.
    committed: u64,
}

struct State {
    /// Offsets in no block: start to end, and the same by length, so that the best fit is found at once.
    free: BTreeMap<u64, u64>,
    free_by_len: BTreeSet<(u64, u64)>,
    blocks: BTreeMap<u64, Block>,
    holders: RangeMap<Holders>,
    dirty: RangeMap<()>,
    committed: u64,
}

/// What a range reads as when it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// Zeroes.
    Zeroed,
    /// Anything, what others left there too: the caller writes to all of it before anybody else sees it.
    Overwritten,
}

/// Why a range could not be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// A part of it is still held by somebody; another block is needed.
    Occupied,
    /// The limit is reached.
    OutOfMemory,
}

impl From<CommitError> for Errno {
    fn from(_: CommitError) -> Errno {
        ENOMEM
    }
}

/// Guest RAM and its accounting.
pub struct Ram {
    /// The bytes.
    pub frames: Arc<dyn Frames>,
    limit: u64,
    /// More than this many dirty bytes are not kept.
    dirty_limit: u64,
    next_id: AtomicU64,
    /// Pages of files that could be given up.
    pub(super) caches: Caches,
    state: Mutex<State>,
}

impl Ram {
    /// RAM of which at most `limit_bytes` are committed at a time.
    pub fn new(frames: Arc<dyn Frames>, limit_bytes: u64) -> Arc<Ram> {
        let size = frames.size();
        Arc::new(Ram {
            frames,
            limit: limit_bytes.min(size),
            dirty_limit: (limit_bytes / 8).clamp(4 << 20, 256 << 20),
            next_id: AtomicU64::new(1),
            caches: Caches::default(),
            state: Mutex::new(State {
                free: BTreeMap::from([(0, size)]),
                free_by_len: BTreeSet::from([(size, 0)]),
                blocks: BTreeMap::new(),
                holders: RangeMap::default(),
                dirty: RangeMap::default(),
                committed: 0,
            }),
        })
    }

    /// Bytes that may be committed (`MemTotal`).
    pub fn total(&self) -> u64 {
        self.limit
    }

    /// Bytes that are not committed (`MemFree`).
    pub fn free(&self) -> u64 {
        self.limit.saturating_sub(self.state.lock().committed)
    }

    /// A number that nobody else gets: names address spaces and page caches.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Reserves a block of `len` contiguous offsets; ENOMEM when offsets have run out.
    pub fn reserve(&self, len: u64) -> Result<Phys> {
        let mut state = self.state.lock();
        let &(_, start) = state.free_by_len.range((len, 0)..).next().ok_or(ENOMEM)?;
        state.take_free(start..start + len);
        state.blocks.insert(start, Block { end: start + len, reserved: true, committed: 0 });
        Ok(Phys(start))
    }

    /// Gives up the right to commit more of the block at `at`. Its offsets are free once nothing of it is held.
    pub fn unreserve(&self, at: Phys) {
        let mut state = self.state.lock();
        if let Some(block) = state.blocks.get_mut(&at.0) {
            block.reserved = false;
            state.free_if_unused(at.0);
        }
    }

    /// Commits a range of one reserved block, held once by the caller. Pages of files are given up for it if need be.
    pub fn commit(&self, at: Phys, len: u64, fresh: Fresh) -> Result<(), CommitError> {
        match self.try_commit(at, len, fresh) {
            Err(CommitError::OutOfMemory) if self.cached() > 0 && self.reclaim(len) > 0 => {
                self.try_commit(at, len, fresh)
            }
            result => result,
        }
    }

    fn try_commit(&self, at: Phys, len: u64, fresh: Fresh) -> Result<(), CommitError> {
        let range = at.0..at.0 + len;
        let dirty = {
            let mut state = self.state.lock();
            if state.holders.overlapping(range.clone()).next().is_some() {
                return Err(CommitError::Occupied);
            }
            if state.committed + len > self.limit {
                return Err(CommitError::OutOfMemory);
            }
            state.committed += len;
            if let Some((_, block)) = state.blocks.range_mut(..=at.0).next_back() {
                block.committed += len;
            }
            state.holders.insert(range.clone(), Holders(1));
            state.dirty.remove(range)
        };
        for (part, ()) in dirty.into_iter().filter(|_| fresh == Fresh::Zeroed) {
            self.frames.zero(Phys(part.start), part.end - part.start);
        }
        Ok(())
    }

    /// One more holder for all of a committed range.
    pub fn hold(&self, at: Phys, len: u64) {
        let mut state = self.state.lock();
        for (part, Holders(count)) in state.holders.remove(at.0..at.0 + len) {
            state.holders.insert(part, Holders(count.saturating_add(1)));
        }
    }

    /// One holder less for all of a committed range.
    pub fn release(&self, at: Phys, len: u64) {
        self.release_all([(at, len)]);
    }

    /// [`Ram::release`] of several ranges at once.
    pub fn release_all(&self, ranges: impl IntoIterator<Item = (Phys, u64)>) {
        let excess = {
            let mut state = self.state.lock();
            for (at, len) in ranges {
                state.release(at.0..at.0 + len);
            }
            state.dirty.covered() > self.dirty_limit
        };
        while excess && self.discard_piece(self.dirty_limit) {}
    }

    /// The longest range around `at`, inside `within`, that has exactly one holder; empty if `at` has more.
    pub fn held_once(&self, at: Phys, within: Range<u64>) -> Range<u64> {
        match self.state.lock().holders.get(at.0) {
            Some((piece, Holders(1))) => intersect(&piece, &within),
            _ => at.0..at.0,
        }
    }

    /// The parts of a committed range that have exactly one holder.
    pub fn held_once_in(&self, at: Phys, len: u64) -> SmallVec<[Range<u64>; 4]> {
        let state = self.state.lock();
        let parts = state.holders.overlapping(at.0..at.0 + len);
        parts.filter(|(_, holders)| *holders == Holders(1)).map(|(part, _)| part).collect()
    }

    /// The pieces of a range that was committed: how long, and how many hold it.
    pub fn holders(&self, at: Phys, len: u64) -> Vec<(u64, u64)> {
        let state = self.state.lock();
        let range = at.0..at.0 + len;
        let parts = state.holders.overlapping(range);
        parts.map(|(part, Holders(count))| (part.end - part.start, u64::from(count))).collect()
    }

    /// Dirty bytes: nobody's, and not given back.
    pub fn dirty(&self) -> u64 {
        self.state.lock().dirty.covered()
    }

    /// Gives a piece of dirty memory back to the host, if there are more than `keep` bytes of it. Says whether it did.
    pub fn discard_piece(&self, keep: u64) -> bool {
        let Some(range) = self.begin_discard(keep) else { return false };
        self.frames.discard(range.clone());
        self.state.lock().holders.remove(range);
        true
    }

    /// Takes a piece off the dirty list and holds it, so that nobody commits it before it is discarded.
    fn begin_discard(&self, keep: u64) -> Option<Range<u64>> {
        let mut state = self.state.lock();
        if state.dirty.covered() <= keep {
            return None;
        }
        // The last: low offsets are the first to be used again.
        let (piece, ()) = state.dirty.last()?;
        let range = piece.start.max(piece.end.saturating_sub(DISCARD_BYTES))..piece.end;
        state.dirty.remove(range.clone());
        state.holders.insert(range.clone(), Holders(1));
        Some(range)
    }
}

impl State {
    /// Takes a range, which is free, off the free lists.
    fn take_free(&mut self, range: Range<u64>) {
        let Some((&start, &end)) = self.free.range(..=range.start).next_back() else { return };
        self.remove_free(start, end);
        self.add_free(start, range.start);
        self.add_free(range.end, end);
    }

    fn remove_free(&mut self, start: u64, end: u64) {
        self.free.remove(&start);
        self.free_by_len.remove(&(end - start, start));
    }

    fn add_free(&mut self, start: u64, end: u64) {
        if start < end {
            self.free.insert(start, end);
            self.free_by_len.insert((end - start, start));
        }
    }

    /// Makes the offsets of a block free, and joins them with their free neighbours, if nobody needs it any more.
    fn free_if_unused(&mut self, start: u64) {
        let Some(block) = self.blocks.get(&start) else { return };
        if block.reserved || block.committed != 0 {
            return;
        }
        let mut range = start..block.end;
        self.blocks.remove(&start);
        if let Some((&before, &end)) = self.free.range(..start).next_back()
            && end == range.start
        {
            self.remove_free(before, end);
            range.start = before;
        }
        if let Some(&end) = self.free.get(&range.end) {
            self.remove_free(range.end, end);
            range.end = end;
        }
        self.add_free(range.start, range.end);
    }

    fn release(&mut self, range: Range<u64>) {
        let mut unheld: Pieces<()> = Pieces::new();
        for (part, Holders(count)) in self.holders.remove(range) {
            if count > 1 {
                self.holders.insert(part, Holders(count - 1));
            } else {
                unheld.push((part, ()));
            }
        }
        for (part, ()) in unheld {
            self.committed -= part.end - part.start;
            self.dirty.insert(part.clone(), ());
            let mut at = part.start;
            while at < part.end {
                // A part may lie in several blocks that are neighbours.
                let Some((&start, block)) = self.blocks.range_mut(..=at).next_back() else { break };
                let upto = block.end.min(part.end);
                block.committed -= upto - at;
                at = upto;
                self.free_if_unused(start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::host::fake::FakeHost;

    #[test]
    fn zeroes_what_was_used_before() {
        let ram = Ram::new(FakeHost::new(1).ram(), 1 << 20);
        let block = ram.reserve(1 << 20).unwrap();
        ram.commit(block, 8192, Fresh::Zeroed).unwrap();
        ram.frames.write(block, b"secret");
        assert_eq!(ram.commit(block, 4096, Fresh::Zeroed), Err(CommitError::Occupied));
        ram.hold(block, 4096);
        ram.release(block, 8192);
        assert_eq!(ram.free(), (1 << 20) - 4096);
        assert_eq!(ram.held_once(block, 0..u64::MAX), block.0..block.0 + 4096);
        ram.release(block, 4096);
        ram.commit(block, 4096, Fresh::Zeroed).unwrap();
        let mut bytes = [1; 6];
        ram.frames.read(block, &mut bytes);
        assert_eq!(bytes, [0; 6]);
        assert_eq!(ram.commit(Phys(block.0 + 4096), 1 << 20, Fresh::Zeroed), Err(CommitError::OutOfMemory));
    }

    #[test]
    fn offsets_come_back_when_nothing_of_a_block_is_held() {
        let host = FakeHost::new(1);
        let ram = Ram::new(host.ram(), 64 << 20);
        let whole = ram.frames.size();
        let (a, b) = (ram.reserve(whole / 2).unwrap(), ram.reserve(whole / 2).unwrap());
        assert_eq!(ram.reserve(4096), Err(ENOMEM));
        ram.commit(a, 16 << 20, Fresh::Zeroed).unwrap();
        ram.unreserve(a);
        ram.unreserve(b);
        assert_eq!(ram.reserve(whole), Err(ENOMEM));
        ram.release(a, 16 << 20);
        assert_eq!(ram.reserve(whole), Ok(Phys(0)));
        assert!(ram.state.lock().dirty.covered() <= ram.dirty_limit, "too much dirty memory is given back");
    }
}
