//! Timers: wake-ups at a time, for sleeps with a deadline, `alarm`, timerfd and POSIX timers.
//!
//! One ordered map of deadlines on the monotonic clock. The vCPU loop asks for the [`Timers::next`] deadline, lets the
//! host wait or run the guest until then, and fires what is due.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::sched::wait::{Events, Wake};
use crate::sync::Mutex;

/// All pending timers of an instance.
pub struct Timers {
    next_id: AtomicU64,
    /// The earliest deadline, so that asking for it costs one load; `u64::MAX` for none. Changes under the lock.
    earliest: AtomicU64,
    /// How many start themselves again when they fire.
    repeating: AtomicUsize,
    pending: Mutex<Pending>,
}

type Pending = BTreeMap<TimerToken, Arc<dyn Wake>>;

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            next_id: AtomicU64::new(0),
            earliest: AtomicU64::new(u64::MAX),
            repeating: AtomicUsize::new(0),
            pending: Mutex::default(),
        }
    }
}

/// Names a pending timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerToken {
    deadline_ns: u64,
    id: u64,
}

impl Timers {
    /// Calls `wake` once the monotonic clock has reached `deadline_ns`.
    pub fn add(&self, deadline_ns: u64, wake: Arc<dyn Wake>) -> TimerToken {
        let token = TimerToken { deadline_ns, id: self.next_id.fetch_add(1, Ordering::Relaxed) };
        let mut pending = self.pending.lock();
        pending.insert(token, wake);
        self.note_earliest(&pending);
        drop(pending);
        token
    }

    /// Forgets a timer; nothing happens if it has fired.
    pub fn cancel(&self, token: TimerToken) {
        let mut pending = self.pending.lock();
        let gone = pending.remove(&token);
        self.note_earliest(&pending);
        drop(pending);
        drop(gone);
    }

    /// The earliest deadline, in nanoseconds of the monotonic clock.
    pub fn next(&self) -> Option<u64> {
        Some(self.earliest.load(Ordering::Acquire)).filter(|&deadline_ns| deadline_ns != u64::MAX)
    }

    fn note_earliest(&self, pending: &Pending) {
        let earliest = pending.keys().next().map_or(u64::MAX, |token| token.deadline_ns);
        self.earliest.store(earliest, Ordering::Release);
    }

    /// How many start themselves again when they fire.
    pub fn repeating(&self) -> usize {
        self.repeating.load(Ordering::Relaxed)
    }

    /// One more or less of these.
    pub fn note_repeating(&self, is_one: bool) {
        match is_one {
            true => self.repeating.fetch_add(1, Ordering::Relaxed),
            false => self.repeating.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Fires every timer whose deadline is not after `now_ns`.
    pub fn fire(&self, now_ns: u64) {
        if self.next().is_none_or(|deadline_ns| deadline_ns > now_ns) {
            return;
        }
        let due: Vec<Arc<dyn Wake>> = {
            let mut pending = self.pending.lock();
            let later = pending.split_off(&TimerToken { deadline_ns: now_ns.saturating_add(1), id: 0 });
            let due = core::mem::replace(&mut *pending, later).into_values().collect();
            self.note_earliest(&pending);
            due
        };
        for wake in due {
            wake.wake(Events::empty());
        }
    }
}
