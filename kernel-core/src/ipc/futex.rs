//! Waiting for a word of user memory to change. Source: `futex(2)`, `get_robust_list(2)`.
//!
//! A waiter looks at its word with the lock of its bucket held, and a waker takes that lock after the word was changed:
//! either the waiter sees the new value, or the waker finds the waiter. The lock is held across the (never suspending)
//! access to user memory, which the lock order allows.
//!
//! Keys come from the address space: `User::futex_key`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::errno::{EAGAIN, Result};
use crate::mm::user::FutexKey;
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::{Mutex, MutexGuard};

/// Bits of a waiter that any wake-up matches (`FUTEX_BITSET_MATCH_ANY`).
pub const ANY: u32 = u32::MAX;

const BUCKETS: usize = 256;

/// All who wait for words, by key.
pub struct FutexTable {
    buckets: [Mutex<Bucket>; BUCKETS],
}

type Bucket = VecDeque<Arc<Waiter>>;

impl Default for FutexTable {
    fn default() -> FutexTable {
        FutexTable { buckets: [const { Mutex::new(VecDeque::new()) }; BUCKETS] }
    }
}

/// One who waits. Sleep on [`Waiter::queue`] until [`Waiter::is_woken`], then call [`FutexTable::finish`].
pub struct Waiter {
    /// Changed by requeueing, with the locks of both buckets held.
    key: Mutex<FutexKey>,
    bitset: u32,
    woken: AtomicBool,
    /// Woken with the waiter.
    pub queue: WaitQueue,
}

impl Waiter {
    /// Whether somebody woke it.
    pub fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }
}

/// Who was woken, to be told after the bucket is unlocked.
#[derive(Default)]
struct Woken(smallvec::SmallVec<[Arc<Waiter>; 4]>);

impl Woken {
    /// Marks and takes up to `limit` waiters of `key` with a common bit out of the bucket.
    fn collect(&mut self, bucket: &mut Bucket, key: FutexKey, bitset: u32, limit: usize) {
        let mut left = limit;
        bucket.retain(|waiter| {
            let due = left > 0 && waiter.bitset & bitset != 0 && *waiter.key.lock() == key;
            if due {
                left -= 1;
                // Before it is out of the bucket for all to see, so that `finish` is never in doubt.
                waiter.woken.store(true, Ordering::Release);
                self.0.push(waiter.clone());
            }
            !due
        });
    }

    /// Wakes them; call it with no bucket locked.
    fn tell(self) -> usize {
        for waiter in &self.0 {
            waiter.queue.wake(Events::IN);
        }
        self.0.len()
    }
}

impl FutexTable {
    fn index(key: FutexKey) -> usize {
        let mixed = (key.offset >> 2).wrapping_add(key.object.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % BUCKETS
    }

    fn lock(&self, key: FutexKey) -> MutexGuard<'_, Bucket> {
        self.buckets[Self::index(key)].lock()
    }

    /// Runs `f` with the buckets of both keys locked, which may be the same one.
    fn with_both<R>(
        &self,
        first: FutexKey,
        second: FutexKey,
        f: impl FnOnce(&mut Bucket, Option<&mut Bucket>) -> R,
    ) -> R {
        let (one, two) = (Self::index(first), Self::index(second));
        if one == two {
            return f(&mut self.buckets[one].lock(), None);
        }
        let mut lower = self.buckets[one.min(two)].lock();
        let mut upper = self.buckets[one.max(two)].lock();
        if one < two { f(&mut lower, Some(&mut upper)) } else { f(&mut upper, Some(&mut lower)) }
    }

    /// Becomes a waiter for `key` if `holds` says, with the bucket locked, that the word still has its value; EAGAIN
    /// if it has not.
    pub fn wait(
        &self,
        key: FutexKey,
        bitset: u32,
        holds: impl FnOnce() -> Result<bool>,
    ) -> Result<Arc<Waiter>> {
        let waiter = Arc::new(Waiter {
            key: Mutex::new(key),
            bitset,
            woken: AtomicBool::new(false),
            queue: WaitQueue::new(),
        });
        let mut bucket = self.lock(key);
        if !holds()? {
            return Err(EAGAIN);
        }
        bucket.push_back(waiter.clone());
        Ok(waiter)
    }

    /// Ends a wait; says whether the waiter had been woken, which then counts, even if its time was over as well.
    pub fn finish(&self, waiter: &Arc<Waiter>) -> bool {
        while !waiter.is_woken() {
            let key = *waiter.key.lock();
            let mut bucket = self.lock(key);
            // It may have been requeued meanwhile, and then is in another bucket.
            if *waiter.key.lock() == key {
                bucket.retain(|other| !Arc::ptr_eq(other, waiter));
                break;
            }
        }
        waiter.is_woken()
    }

    /// Wakes up to `limit` waiters of `key` that share a bit with `bitset`; how many there were.
    pub fn wake(&self, key: FutexKey, bitset: u32, limit: usize) -> usize {
        let mut woken = Woken::default();
        woken.collect(&mut self.lock(key), key, bitset, limit);
        woken.tell()
    }

    /// Whether anybody waits for `key`.
    pub fn is_used(&self, key: FutexKey) -> bool {
        self.lock(key).iter().any(|waiter| *waiter.key.lock() == key)
    }

    /// Wakes up to `wake` waiters of `from` and moves up to `requeue` more to `to`, if `holds` says with both buckets
    /// locked that the word has its value; EAGAIN if not. Gives how many were woken, and how many moved.
    pub fn requeue(
        &self,
        from: FutexKey,
        to: FutexKey,
        wake: usize,
        requeue: usize,
        holds: impl FnOnce() -> Result<bool>,
    ) -> Result<(usize, usize)> {
        let mut woken = Woken::default();
        let mut moved = 0;
        self.with_both(from, to, |source, target| -> Result<()> {
            if !holds()? {
                return Err(EAGAIN);
            }
            woken.collect(source, from, ANY, wake);
            let mut moving = Bucket::new();
            source.retain(|waiter| {
                let mut key = waiter.key.lock();
                let due = moved < requeue && *key == from;
                if due {
                    *key = to;
                    drop(key);
                    moved += 1;
                    moving.push_back(waiter.clone());
                }
                !due
            });
            target.unwrap_or(source).append(&mut moving);
            Ok(())
        })?;
        Ok((woken.tell(), moved))
    }

    /// Changes the word of `second` by `change`, atomically for all who use this table, wakes up to `wake` waiters of
    /// `first` and, if `change` gave true, up to `wake_second` of `second`.
    pub fn wake_op(
        &self,
        first: FutexKey,
        second: FutexKey,
        wake: usize,
        wake_second: usize,
        change: impl FnOnce() -> Result<bool>,
    ) -> Result<usize> {
        let mut woken = Woken::default();
        self.with_both(first, second, |one, two| -> Result<()> {
            let also = change()?;
            woken.collect(one, first, ANY, wake);
            if also {
                woken.collect(two.unwrap_or(one), second, ANY, wake_second);
            }
            Ok(())
        })?;
        Ok(woken.tell())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: FutexKey = FutexKey { object: 1, offset: 0x1000 };
    const B: FutexKey = FutexKey { object: 1, offset: 0x2004 };

    fn waiter(table: &FutexTable, key: FutexKey, bitset: u32) -> Arc<Waiter> {
        table.wait(key, bitset, || Ok(true)).unwrap()
    }

    #[test]
    fn a_changed_word_refuses_the_wait() {
        let table = FutexTable::default();
        assert_eq!(table.wait(A, ANY, || Ok(false)).err(), Some(EAGAIN));
        assert_eq!(table.wake(A, ANY, 1), 0);
    }

    #[test]
    fn wakes_in_order_by_key_and_bits() {
        let table = FutexTable::default();
        let (first, second, other) = (waiter(&table, A, 1), waiter(&table, A, 2), waiter(&table, B, ANY));
        assert_eq!(table.wake(A, 2, 8), 1);
        assert!(!first.is_woken() && second.is_woken() && !other.is_woken());
        assert_eq!(table.wake(A, ANY, 8), 1);
        assert!(table.finish(&first) && !table.finish(&other));
        assert_eq!(table.wake(B, ANY, 8), 0, "finished: no longer there");
    }

    #[test]
    fn a_requeued_waiter_can_be_woken_and_can_leave() {
        let table = FutexTable::default();
        let all: Vec<_> = (0..4).map(|_| waiter(&table, A, ANY)).collect();
        assert_eq!(table.requeue(A, B, 1, 2, || Ok(true)), Ok((1, 2)));
        assert!(all[0].is_woken());
        assert!(!table.finish(&all[1]), "left, though requeued");
        assert_eq!((table.wake(B, ANY, 8), table.wake(A, ANY, 8)), (1, 1));
        assert_eq!(table.requeue(A, B, 1, 1, || Ok(false)), Err(EAGAIN));
    }

    #[test]
    fn requeueing_to_the_same_word_loses_nobody() {
        let table = FutexTable::default();
        let _both = (waiter(&table, A, ANY), waiter(&table, A, ANY));
        assert_eq!(table.requeue(A, A, 0, 8, || Ok(true)), Ok((0, 2)));
        assert_eq!(table.wake(A, ANY, 8), 2);
    }

    #[test]
    fn wake_op_wakes_the_second_only_if_told() {
        let table = FutexTable::default();
        let _both = (waiter(&table, A, ANY), waiter(&table, B, ANY));
        assert_eq!(table.wake_op(A, B, 1, 1, || Ok(false)), Ok(1));
        assert_eq!(table.wake_op(A, B, 1, 1, || Ok(true)), Ok(1));
    }

    use alloc::vec::Vec;
}
