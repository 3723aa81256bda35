//! Timers of CPU time: `ITIMER_VIRTUAL` and `ITIMER_PROF` of `setitimer(2)`.
//!
//! Nothing interrupts a task when it has used some time: whoever ran it looks afterwards. So these timers are as exact as
//! a time slice, and cost one load where none is set.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::ipc::alarm::Remaining;
use crate::sync::Mutex;

/// Which CPU time of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuClock {
    /// In the guest: SIGVTALRM.
    User,
    /// In the guest and, for it, in the kernel: SIGPROF.
    All,
}

/// The two timers of a process.
#[derive(Default)]
pub struct CpuTimers {
    armed: AtomicBool,
    timers: Mutex<[CpuTimer; 2]>,
}

#[derive(Clone, Copy, Default)]
struct CpuTimer {
    /// CPU time at which it expires, in nanoseconds.
    next_ns: Option<u64>,
    interval_ns: u64,
}

impl CpuTimer {
    fn remaining(&self, now_ns: u64) -> Remaining {
        // Due, but not looked at yet: a moment is left.
        let value_ns = self.next_ns.map_or(0, |next_ns| next_ns.saturating_sub(now_ns).max(1));
        Remaining { value_ns, interval_ns: self.interval_ns }
    }

    fn expire(&mut self, now_ns: u64) -> bool {
        let Some(late_ns) = self.next_ns.and_then(|next_ns| now_ns.checked_sub(next_ns)) else {
            return false;
        };
        let since_ns = late_ns.checked_rem(self.interval_ns);
        self.next_ns = since_ns.map(|since_ns| now_ns.saturating_add(self.interval_ns - since_ns));
        true
    }
}

impl CpuTimers {
    /// Sets one to expire in `value_ns` (0: never) of CPU time, of which `now_ns` were used, and gives what was left.
    pub fn set(&self, clock: CpuClock, value_ns: u64, interval_ns: u64, now_ns: u64) -> Remaining {
        let mut timers = self.timers.lock();
        let timer = &mut timers[clock as usize];
        let before = timer.remaining(now_ns);
        timer.next_ns = (value_ns > 0).then(|| now_ns.saturating_add(value_ns));
        timer.interval_ns = interval_ns;
        self.armed.store(timers.iter().any(|timer| timer.next_ns.is_some()), Ordering::Relaxed);
        before
    }

    /// What is left of one when `now_ns` of CPU time are used.
    pub fn remaining(&self, clock: CpuClock, now_ns: u64) -> Remaining {
        self.timers.lock()[clock as usize].remaining(now_ns)
    }

    /// Whether one is set.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// Which have expired, when that much time was used in the guest and in all.
    pub fn expire(&self, user_ns: u64, all_ns: u64) -> impl Iterator<Item = CpuClock> {
        let mut timers = self.timers.lock();
        let expired = [
            timers[0].expire(user_ns).then_some(CpuClock::User),
            timers[1].expire(all_ns).then_some(CpuClock::All),
        ];
        self.armed.store(timers.iter().any(|timer| timer.next_ns.is_some()), Ordering::Relaxed);
        expired.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn they_expire_by_their_own_time() {
        let timers = CpuTimers::default();
        timers.set(CpuClock::User, 100, 0, 50);
        timers.set(CpuClock::All, 100, 30, 60);
        assert_eq!(timers.expire(149, 159).collect::<Vec<_>>(), []);
        assert_eq!(timers.expire(150, 200).collect::<Vec<_>>(), [CpuClock::User, CpuClock::All]);
        assert_eq!(timers.remaining(CpuClock::User, 200), Remaining::default());
        assert_eq!(timers.remaining(CpuClock::All, 200).value_ns, 20);
        timers.set(CpuClock::All, 0, 0, 200);
        assert!(!timers.is_armed());
    }
}
