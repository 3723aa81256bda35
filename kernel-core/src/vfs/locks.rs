//! Advisory locks: record locks of processes (`F_SETLK`) and of open files (`F_OFD_SETLK`), and `flock(2)`.
//! Sources: `fcntl_locking(2)`, `flock(2)`.

use alloc::vec::Vec;

use crate::errno::{EAGAIN, EDEADLK, ENOLCK, Result};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;

/// Most locks on one file, so that a guest cannot fill the kernel's heap with them.
const MOST: usize = 16384;
/// The last byte that a lock can cover: locks "to the end of file" go so far.
pub const LOCK_END: u64 = i64::MAX as u64;

/// Who holds a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockOwner {
    /// A process, by the descriptor table it has: [`crate::vfs::fd::FdTable::lock_owner`].
    Process(usize),
    /// An open file: [`crate::vfs::file::OpenFile::lock_key`].
    File(usize),
}

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Any number may hold it.
    Read,
    /// One alone may hold it.
    Write,
}

/// A range of bytes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRange {
    /// First byte.
    pub start: u64,
    /// Last byte, at most [`LOCK_END`].
    pub end: u64,
}

impl LockRange {
    fn overlaps(self, other: LockRange) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// A record lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLock {
    /// By whom.
    pub owner: LockOwner,
    /// Process id for `F_GETLK`.
    pub pid: u32,
    /// How.
    pub kind: LockKind,
    /// On what.
    pub range: LockRange,
}

/// The locks on one file.
#[derive(Default)]
pub struct FileLocks {
    held: Mutex<Held>,
    /// Woken when a lock goes away.
    pub released: WaitQueue,
}

#[derive(Default)]
struct Held {
    records: Vec<RecordLock>,
    /// By open file.
    whole: Vec<(usize, LockKind)>,
}

impl FileLocks {
    /// The lock that stands in the way of `wanted`, if any.
    pub fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.held.lock().conflict(wanted)
    }

    /// Takes a lock, instead of what the owner has in that range. `Err` has the lock that stands in the way.
    pub fn acquire(&self, wanted: RecordLock) -> Result<Result<(), RecordLock>> {
        let mut held = self.held.lock();
        if let Some(other) = held.conflict(&wanted) {
            return Ok(Err(other));
        }
        if held.records.len() >= MOST {
            return Err(ENOLCK);
        }
        let weaker = held.clear(wanted.owner, wanted.range);
        held.insert(wanted);
        drop(held);
        if weaker {
            self.released.wake(Events::all());
        }
        Ok(Ok(()))
    }

    /// Gives up what the owner has in that range.
    pub fn release(&self, owner: LockOwner, range: LockRange) -> Result<()> {
        let mut held = self.held.lock();
        if held.records.len() >= MOST {
            // Giving up the middle of a lock makes two of it.
            return Err(ENOLCK);
        }
        let any = held.clear(owner, range);
        drop(held);
        if any {
            self.released.wake(Events::all());
        }
        Ok(())
    }

    /// The record locks, and the `flock` locks by open file.
    pub fn all(&self) -> (Vec<RecordLock>, Vec<(usize, LockKind)>) {
        let held = self.held.lock();
        (held.records.clone(), held.whole.clone())
    }

    /// Gives up all record locks of an owner.
    pub fn release_all(&self, owner: LockOwner) {
        let mut held = self.held.lock();
        let before = held.records.len();
        held.records.retain(|lock| lock.owner != owner);
        let any = held.records.len() != before;
        drop(held);
        if any {
            self.released.wake(Events::all());
        }
    }

    /// `flock(2)` for an open file: takes the lock or changes its kind. EAGAIN if others are in the way; a lock that was
    /// held is lost then, as on Linux.
    pub fn flock(&self, file: usize, kind: LockKind) -> Result<()> {
        let mut held = self.held.lock();
        if held.whole.iter().any(|&(owner, have)| owner == file && have == kind) {
            return Ok(());
        }
        let before = held.whole.len();
        held.whole.retain(|&(owner, _)| owner != file);
        let changed = held.whole.len() != before;
        let busy = held.whole.iter().any(|&(_, have)| have == LockKind::Write || kind == LockKind::Write);
        if !busy {
            held.whole.push((file, kind));
        }
        drop(held);
        if changed {
            self.released.wake(Events::all());
        }
        if busy { Err(EAGAIN) } else { Ok(()) }
    }

    /// Gives up the `flock` lock of an open file.
    pub fn unflock(&self, file: usize) {
        let mut held = self.held.lock();
        let before = held.whole.len();
        held.whole.retain(|&(owner, _)| owner != file);
        let any = held.whole.len() != before;
        drop(held);
        if any {
            self.released.wake(Events::all());
        }
    }
}

impl Held {
    fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.records
            .iter()
            .find(|lock| {
                lock.owner != wanted.owner
                    && lock.range.overlaps(wanted.range)
                    && (lock.kind == LockKind::Write || wanted.kind == LockKind::Write)
            })
            .copied()
    }

    /// Cuts `range` out of the owner's locks; says whether there was any.
    fn clear(&mut self, owner: LockOwner, range: LockRange) -> bool {
        let mut pieces: Vec<RecordLock> = Vec::new();
        let mut any = false;
        self.records.retain(|lock| {
            if lock.owner != owner || !lock.range.overlaps(range) {
                return true;
            }
            any = true;
            if lock.range.start < range.start {
                pieces.push(RecordLock {
                    range: LockRange { start: lock.range.start, end: range.start - 1 },
                    ..*lock
                });
            }
            if lock.range.end > range.end {
                pieces.push(RecordLock {
                    range: LockRange { start: range.end + 1, end: lock.range.end },
                    ..*lock
                });
            }
            false
        });
        for piece in pieces {
            self.insert(piece);
        }
        any
    }

    /// Inserts in the order of starts, and merges with neighbours of the same owner and kind.
    fn insert(&mut self, mut lock: RecordLock) {
        self.records.retain(|other| {
            let touches = other.owner == lock.owner
                && other.kind == lock.kind
                && other.range.start <= lock.range.end.saturating_add(1)
                && lock.range.start <= other.range.end.saturating_add(1);
            if touches {
                lock.range.start = lock.range.start.min(other.range.start);
                lock.range.end = lock.range.end.max(other.range.end);
            }
            !touches
        });
        let index = self.records.partition_point(|other| other.range.start < lock.range.start);
        self.records.insert(index, lock);
    }
}

/// Which processes wait for which record locks: shows circles before they close.
#[derive(Default)]
pub struct LockWaits {
    /// Waiter and holder.
    edges: Mutex<Vec<(LockOwner, LockOwner)>>,
}

impl LockWaits {
    /// Notes that `waiter` is going to wait for `holder`. EDEADLK if that closes a circle.
    pub fn begin(&self, waiter: LockOwner, holder: LockOwner) -> Result<()> {
        let mut edges = self.edges.lock();
        let mut seen = alloc::vec![holder];
        let mut next = 0;
        while let Some(&at) = seen.get(next) {
            if at == waiter {
                return Err(EDEADLK);
            }
            for &(from, to) in edges.iter() {
                if from == at && !seen.contains(&to) {
                    seen.push(to);
                }
            }
            next += 1;
        }
        edges.push((waiter, holder));
        Ok(())
    }

    /// Notes that the wait is over.
    pub fn end(&self, waiter: LockOwner, holder: LockOwner) {
        let mut edges = self.edges.lock();
        if let Some(index) = edges.iter().position(|&edge| edge == (waiter, holder)) {
            edges.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LockOwner = LockOwner::Process(1);
    const B: LockOwner = LockOwner::Process(2);

    fn lock(owner: LockOwner, kind: LockKind, start: u64, end: u64) -> RecordLock {
        RecordLock { owner, pid: 1, kind, range: LockRange { start, end } }
    }

    #[test]
    fn record_locks_split_merge_and_conflict() {
        let locks = FileLocks::default();
        assert_eq!(locks.acquire(lock(A, LockKind::Write, 0, 99)), Ok(Ok(())));
        assert!(locks.acquire(lock(B, LockKind::Read, 50, 60)).unwrap().is_err());
        locks.release(A, LockRange { start: 50, end: 59 }).unwrap();
        assert_eq!(locks.acquire(lock(B, LockKind::Read, 50, 59)), Ok(Ok(())));
        let found = locks.conflict(&lock(B, LockKind::Write, 40, 70)).unwrap();
        assert_eq!(found.range, LockRange { start: 0, end: 49 });
        // A cannot make its part whole again while B reads the middle.
        assert!(locks.acquire(lock(A, LockKind::Write, 0, 99)).unwrap().is_err());
        locks.release_all(B);
        assert_eq!(locks.acquire(lock(A, LockKind::Write, 50, 59)), Ok(Ok(())));
        let whole = locks.conflict(&lock(B, LockKind::Read, 99, LOCK_END)).unwrap();
        assert_eq!(whole.range, LockRange { start: 0, end: 99 });
    }

    #[test]
    fn a_circle_of_waits_is_refused() {
        let waits = LockWaits::default();
        let c = LockOwner::Process(3);
        assert_eq!(waits.begin(A, B), Ok(()));
        assert_eq!(waits.begin(B, c), Ok(()));
        assert_eq!(waits.begin(c, A), Err(EDEADLK));
        waits.end(B, c);
        assert_eq!(waits.begin(c, A), Ok(()));
    }

    #[test]
    fn flock_changes_kind_or_loses() {
        let locks = FileLocks::default();
        assert_eq!(locks.flock(1, LockKind::Read), Ok(()));
        assert_eq!(locks.flock(2, LockKind::Read), Ok(()));
        assert_eq!(locks.flock(1, LockKind::Write), Err(EAGAIN));
        assert_eq!(locks.flock(2, LockKind::Write), Ok(()));
        locks.unflock(2);
        assert_eq!(locks.flock(1, LockKind::Write), Ok(()));
    }
}
