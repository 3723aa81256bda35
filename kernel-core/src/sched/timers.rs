//! Timers: wake-ups at a time, for sleeps with a deadline, `alarm`, timerfd and POSIX timers.
//!
//! One ordered map of deadlines on the monotonic clock. The vCPU loop asks for the [`Timers::next`] deadline, lets the
//! host wait or run the guest until then, and fires what is due.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::sched::wait::{Events, Wake};
use crate::sync::Mutex;

/// All pending timers of an instance.
#[derive(Default)]
pub struct Timers {
    next_id: AtomicU64,
    pending: Mutex<BTreeMap<TimerToken, Arc<dyn Wake>>>,
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
        self.pending.lock().insert(token, wake);
        token
    }

    /// Forgets a timer; nothing happens if it has fired.
    pub fn cancel(&self, token: TimerToken) {
        let gone = self.pending.lock().remove(&token);
        drop(gone);
    }

    /// The earliest deadline, in nanoseconds of the monotonic clock.
    pub fn next(&self) -> Option<u64> {
        self.pending.lock().keys().next().map(|token| token.deadline_ns)
    }

    /// Fires every timer whose deadline is not after `now_ns`.
    pub fn fire(&self, now_ns: u64) {
        let due: Vec<Arc<dyn Wake>> = {
            let mut pending = self.pending.lock();
            let later = pending.split_off(&TimerToken { deadline_ns: now_ns.saturating_add(1), id: 0 });
            core::mem::replace(&mut *pending, later).into_values().collect()
        };
        for wake in due {
            wake.wake(Events::empty());
        }
    }
}
