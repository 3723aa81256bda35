//! Futexes with an owner (`FUTEX_LOCK_PI` and its kin). Source: `futex(2)`, "Priority-inheritance futexes".
//!
//! The word holds the owner's thread id, and a bit that says that others wait. They wait here, in the order in which they
//! came: all tasks have the same priority, so there is none to inherit. Whoever unlocks hands the futex on; if the owner
//! ends, its first waiter gets it and is told. One lock guards all of it, as contention for such futexes is rare, and it
//! makes the search for deadlocks simple; it is held across the (never suspending) access to user memory.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use linux_raw_sys::general as sys;

use crate::errno::{EAGAIN, EDEADLK, EINVAL, EPERM, Result};
use crate::mm::user::{FutexKey, MOST_ATTEMPTS};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;

const TID: u32 = sys::FUTEX_TID_MASK;
const WAITERS: u32 = sys::FUTEX_WAITERS;
const OWNER_DIED: u32 = sys::FUTEX_OWNER_DIED;

/// A thread, by the number that it has for itself, as words hold it, and the PID namespace whose number that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The thread's number.
    pub tid: u32,
    /// The namespace.
    pub pid_ns: u64,
}

/// The word of a futex.
pub trait Word {
    /// What it is.
    fn load(&self) -> Result<u32>;
    /// Makes it `new` if it is `old`; whether it was.
    fn swap(&self, old: u32, new: u32) -> Result<bool>;
}

fn set(word: &dyn Word, new: u32) -> Result<()> {
    for _ in 0..MOST_ATTEMPTS {
        if word.swap(word.load()?, new)? {
            return Ok(());
        }
    }
    Err(EAGAIN)
}

/// All futexes that somebody waits for.
#[derive(Default)]
pub struct PiFutexes {
    /// Number of waiters, so that having none costs one load.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    locks: BTreeMap<FutexKey, Lock>,
    /// Who waits for a word to be requeued from it.
    conditions: BTreeMap<FutexKey, VecDeque<Arc<PiWaiter>>>,
    /// Which lock a thread waits for.
    waits_for: BTreeMap<Who, FutexKey>,
}

struct Lock {
    owner: Who,
    /// The owner got it from one that died, and has not written to the word yet.
    inherited: bool,
    waiters: VecDeque<Arc<PiWaiter>>,
}

const WAITS: u8 = 0;
const OWNS: u8 = 1;
const INHERITED: u8 = 2;

/// One who waits. Sleep on [`PiWaiter::queue`] until [`PiWaiter::is_done`], then call [`PiFutexes::finish`].
pub struct PiWaiter {
    who: Who,
    /// The lock it waits for, or will once it is requeued.
    key: FutexKey,
    /// The word it waits for to be requeued.
    from: Option<FutexKey>,
    state: AtomicU8,
    /// Woken with the waiter.
    pub queue: WaitQueue,
}

impl PiWaiter {
    fn new(who: Who, key: FutexKey, from: Option<FutexKey>) -> Arc<PiWaiter> {
        Arc::new(PiWaiter { who, key, from, state: AtomicU8::new(WAITS), queue: WaitQueue::new() })
    }

    /// Whether it owns the futex.
    pub fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) != WAITS
    }

    fn give(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }
}

/// What an attempt to lock came to.
pub enum Attempt {
    /// It is locked.
    Locked,
    /// It waits for this owner.
    Waits(Arc<PiWaiter>, Who),
}

/// What an attempt to requeue came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeued {
    /// So many were moved, or why no more were. They wait for this owner, if any does.
    Moved(Result<usize>, Option<Who>),
    /// Nobody was; one would wait for this owner.
    Asks(Who),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It owns the futex.
    Owner,
    /// It does not; it waited for the lock.
    OfLock,
    /// It does not, and was never requeued.
    OfCondition,
}

/// Whether a lock that is taken is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// Yes.
    Wait,
    /// No: EAGAIN.
    Once,
}

impl State {
    /// Whether `who` would wait for itself, in the end, if it waited for `owner`.
    fn is_deadlock(&self, who: Who, owner: Who) -> bool {
        let mut at = owner;
        for _ in 0..=self.waits_for.len() {
            if at == who {
                return true;
            }
            let Some(lock) = self.waits_for.get(&at).and_then(|key| self.locks.get(key)) else {
                return false;
            };
            at = lock.owner;
        }
        false
    }

    /// Gives the futex to `who`, or says who has it.
    fn take(&mut self, key: FutexKey, word: &dyn Word, who: Who) -> Result<Option<Who>> {
        let tid = who.tid;
        for _ in 0..MOST_ATTEMPTS {
            let value = word.load()?;
            let holder = value & TID;
            let lock = self.locks.get_mut(&key);
            let heir = lock.as_ref().filter(|lock| lock.inherited).map(|lock| lock.owner);
            if holder == tid || heir == Some(who) {
                return Err(EDEADLK);
            }
            if let Some(heir) = heir {
                return Ok(Some(heir));
            }
            if holder == 0 {
                let others = if lock.is_some() { WAITERS } else { 0 };
                if word.swap(value, value & OWNER_DIED | others | tid)? {
                    if let Some(lock) = lock {
                        lock.owner = who;
                    }
                    return Ok(None);
                }
            } else if lock.is_some_and(|lock| lock.owner.tid != holder) {
                return Err(EINVAL);
            } else if value & WAITERS != 0 || word.swap(value, value | WAITERS)? {
                return Ok(Some(Who { tid: holder, ..who }));
            }
        }
        Err(EAGAIN)
    }

    fn enqueue(&mut self, waiter: &Arc<PiWaiter>, owner: Who) {
        self.waits_for.insert(waiter.who, waiter.key);
        let new = || Lock { owner, inherited: false, waiters: VecDeque::new() };
        self.locks.entry(waiter.key).or_insert_with(new).waiters.push_back(waiter.clone());
    }

    /// It waits for `from` no more, if it did.
    fn leave_condition(&mut self, from: FutexKey, waiter: &Arc<PiWaiter>) {
        if let Some(waiters) = self.conditions.get_mut(&from) {
            if let Some(at) = waiters.iter().position(|other| Arc::ptr_eq(other, waiter)) {
                waiters.remove(at);
            }
            if waiters.is_empty() {
                self.conditions.remove(&from);
            }
        }
    }

    /// Forgets a lock that nobody waits for.
    fn tidy(&mut self, key: FutexKey) {
        if self.locks.get(&key).is_some_and(|lock| lock.waiters.is_empty() && !lock.inherited) {
            self.locks.remove(&key);
        }
    }
}

impl PiFutexes {
    /// Whether somebody waits for this word here, so that it cannot be woken otherwise.
    pub fn is_used(&self, key: FutexKey) -> bool {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let state = self.state.lock();
        state.locks.contains_key(&key) || state.conditions.contains_key(&key)
    }

    /// Locks for `who`: EDEADLK, EINVAL, EAGAIN.
    pub fn lock(&self, key: FutexKey, word: &dyn Word, who: Who, attempt: Try) -> Result<Attempt> {
        let mut state = self.state.lock();
        let Some(owner) = state.take(key, word, who)? else { return Ok(Attempt::Locked) };
        if attempt == Try::Once {
            return Err(EAGAIN);
        }
        if state.is_deadlock(who, owner) {
            return Err(EDEADLK);
        }
        let waiter = PiWaiter::new(who, key, None);
        state.enqueue(&waiter, owner);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(Attempt::Waits(waiter, owner))
    }

    /// Unlocks for `who`, and hands on to the first who waits: EPERM, EAGAIN.
    pub fn unlock(&self, key: FutexKey, word: &dyn Word, who: Who) -> Result<()> {
        let mut state = self.state.lock();
        if word.load()? & TID != who.tid {
            return Err(EPERM);
        }
        let next = state.locks.get(&key).and_then(|lock| lock.waiters.front()).cloned();
        let new = next.as_ref().map_or(0, |next| next.who.tid | WAITERS);
        set(word, new)?;
        let Some(next) = next else { return Ok(()) };
        if let Some(lock) = state.locks.get_mut(&key) {
            lock.waiters.pop_front();
            lock.owner = next.who;
        }
        state.waits_for.remove(&next.who);
        next.give(OWNS);
        state.tidy(key);
        drop(state);
        next.queue.wake(Events::IN);
        Ok(())
    }

    /// Ends a wait. Whoever inherited the futex writes that to the word now: EFAULT.
    pub fn finish(&self, waiter: &Arc<PiWaiter>, word: &dyn Word) -> Result<Ended> {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        match waiter.state.load(Ordering::Acquire) {
            OWNS => return Ok(Ended::Owner),
            INHERITED => {
                let lock = state.locks.get_mut(&waiter.key);
                let others =
                    if lock.as_ref().is_some_and(|lock| !lock.waiters.is_empty()) { WAITERS } else { 0 };
                if let Some(lock) = lock {
                    lock.inherited = false;
                }
                state.tidy(waiter.key);
                set(word, waiter.who.tid | OWNER_DIED | others)?;
                return Ok(Ended::Owner);
            }
            _ => {}
        }
        let mut ended = Ended::OfCondition;
        if let Some(lock) = state.locks.get_mut(&waiter.key) {
            let before = lock.waiters.len();
            lock.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
            if lock.waiters.len() < before {
                state.waits_for.remove(&waiter.who);
                ended = Ended::OfLock;
            }
        }
        state.tidy(waiter.key);
        if let (Ended::OfCondition, Some(from)) = (ended, waiter.from) {
            state.leave_condition(from, waiter);
        }
        Ok(ended)
    }

    /// `who` ends: what it owns goes to the first who waits for it, each.
    pub fn owner_died(&self, who: Who) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut heirs: Vec<Arc<PiWaiter>> = Vec::new();
        let mut state = self.state.lock();
        for lock in state.locks.values_mut().filter(|lock| lock.owner == who) {
            let Some(heir) = lock.waiters.pop_front() else { continue };
            (lock.owner, lock.inherited) = (heir.who, true);
            heir.give(INHERITED);
            heirs.push(heir);
        }
        for heir in &heirs {
            state.waits_for.remove(&heir.who);
        }
        drop(state);
        heirs.iter().for_each(|heir| heir.queue.wake(Events::IN));
    }

    /// Waits for `from`, if its word is `value` (EAGAIN), to be requeued to the lock `to`.
    pub fn wait_for_requeue(
        &self,
        (from, word, value): (FutexKey, &dyn Word, u32),
        to: FutexKey,
        who: Who,
    ) -> Result<Arc<PiWaiter>> {
        let mut state = self.state.lock();
        if word.load()? != value {
            return Err(EAGAIN);
        }
        let waiter = PiWaiter::new(who, to, Some(from));
        state.conditions.entry(from).or_default().push_back(waiter.clone());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(waiter)
    }

    /// Moves who waits for `from` to the lock `to`: one gets it if it is free, and up to `most` more wait for it. EAGAIN
    /// if the word of `from` is not `value`, EINVAL, EDEADLK; whoever got the lock before that keeps it.
    ///
    /// Nobody is made to wait for an owner that nobody waits for yet, unless it is `alive`. An owner can end before it is
    /// waited for, so look again afterwards.
    pub fn requeue(
        &self,
        (from, word, value): (FutexKey, &dyn Word, u32),
        (to, lock_word): (FutexKey, &dyn Word),
        most: usize,
        alive: Option<Who>,
    ) -> Result<Requeued> {
        let mut woken = Vec::new();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if word.load()? != value {
            return Err(EAGAIN);
        }
        let mut ended = Ok(());
        let (mut moved, mut owner) = (0, None);
        while moved < most.saturating_add(woken.len()).max(1) {
            let Some(waiter) = state.conditions.get(&from).and_then(|waiters| waiters.front()).cloned()
            else {
                break;
            };
            if waiter.key != to {
                ended = Err(EINVAL);
                break;
            }
            match state.take(to, lock_word, waiter.who) {
                Err(errno) => {
                    ended = Err(errno);
                    break;
                }
                Ok(None) => {
                    waiter.give(OWNS);
                    woken.push(waiter.clone());
                }
                Ok(Some(_)) if moved == most.saturating_add(woken.len()) => break,
                Ok(Some(found)) if state.is_deadlock(waiter.who, found) => {
                    ended = Err(EDEADLK);
                    break;
                }
                Ok(Some(found)) if moved == 0 && !state.locks.contains_key(&to) && alive != Some(found) => {
                    return Ok(Requeued::Asks(found));
                }
                Ok(Some(found)) => {
                    state.enqueue(&waiter, found);
                    owner = Some(found);
                }
            }
            moved += 1;
            state.leave_condition(from, &waiter);
        }
        drop(guard);
        woken.iter().for_each(|waiter| waiter.queue.wake(Events::IN));
        Ok(Requeued::Moved(ended.map(|()| moved), owner))
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::ipc::testing::Count;

    impl Word for Cell<u32> {
        fn load(&self) -> Result<u32> {
            Ok(self.get())
        }

        fn swap(&self, old: u32, new: u32) -> Result<bool> {
            let is_old = self.get() == old;
            if is_old {
                self.set(new);
            }
            Ok(is_old)
        }
    }

    const CONDITION: FutexKey = FutexKey { object: 1, offset: 0 };
    const LOCK: FutexKey = FutexKey { object: 1, offset: 4 };
    const OTHER: FutexKey = FutexKey { object: 1, offset: 8 };

    fn who(tid: u32) -> Who {
        Who { tid, pid_ns: 1 }
    }

    fn waiter(futexes: &PiFutexes, tid: u32, to: FutexKey) -> Arc<PiWaiter> {
        futexes.wait_for_requeue((CONDITION, &Cell::new(0), 0), to, who(tid)).unwrap()
    }

    fn requeue(futexes: &PiFutexes, lock: &Cell<u32>, alive: Option<Who>) -> Result<Requeued> {
        futexes.requeue((CONDITION, &Cell::new(0), 0), (LOCK, lock), 8, alive)
    }

    #[test]
    fn whoever_got_the_lock_is_told_even_if_requeueing_fails() {
        let (futexes, lock) = (PiFutexes::default(), Cell::new(0));
        let (first, second) = (waiter(&futexes, 1, LOCK), waiter(&futexes, 2, OTHER));
        let told = Arc::new(Count::default());
        first.queue.register(Events::IN, told.clone());
        assert_eq!(requeue(&futexes, &lock, None), Ok(Requeued::Moved(Err(EINVAL), None)));
        assert_eq!((first.is_done(), second.is_done(), lock.get()), (true, false, 1));
        assert_eq!(told.take(), 1);
        assert_eq!(futexes.finish(&first, &lock), Ok(Ended::Owner));
        assert_eq!(futexes.finish(&second, &lock), Ok(Ended::OfCondition));
        assert!(!futexes.is_used(CONDITION));
    }

    #[test]
    fn requeueing_makes_no_deadlock() {
        let (futexes, lock, other) = (PiFutexes::default(), Cell::new(1), Cell::new(2));
        // 1 has the lock and waits for what 2 has; 2 is to wait for the lock.
        assert!(matches!(futexes.lock(OTHER, &other, who(1), Try::Wait), Ok(Attempt::Waits(..))));
        let waiter = waiter(&futexes, 2, LOCK);
        assert_eq!(requeue(&futexes, &lock, Some(who(1))), Ok(Requeued::Moved(Err(EDEADLK), None)));
        assert_eq!(futexes.finish(&waiter, &lock), Ok(Ended::OfCondition));
    }

    #[test]
    fn an_owner_must_be_alive_to_be_waited_for() {
        let (futexes, lock) = (PiFutexes::default(), Cell::new(7));
        let waiters = [waiter(&futexes, 1, LOCK), waiter(&futexes, 2, LOCK)];
        assert_eq!(requeue(&futexes, &lock, None), Ok(Requeued::Asks(who(7))));
        assert_eq!(requeue(&futexes, &lock, Some(who(7))), Ok(Requeued::Moved(Ok(2), Some(who(7)))));
        futexes.owner_died(who(7));
        assert!(waiters[0].is_done() && !waiters[1].is_done());
    }

    /// Who was moved before another could not be waits for an owner that may have ended.
    #[test]
    fn an_owner_is_told_of_even_if_requeueing_fails() {
        let (futexes, lock) = (PiFutexes::default(), Cell::new(7));
        let waiters = [waiter(&futexes, 1, LOCK), waiter(&futexes, 2, OTHER)];
        let moved = Requeued::Moved(Err(EINVAL), Some(who(7)));
        assert_eq!(requeue(&futexes, &lock, Some(who(7))), Ok(moved));
        futexes.owner_died(who(7));
        assert!(waiters[0].is_done() && !waiters[1].is_done());
    }
}
