//! One timer, periodic or not: what timerfd, `setitimer` and `timer_create` have in common.
//!
//! Expirations are counted when somebody looks, from the time that has passed. So a timer that nobody looks at costs one
//! wake-up, however short its period is.

use alloc::sync::{Arc, Weak};

use crate::sched::timers::{TimerToken, Timers};
use crate::sched::wait::Wake;
use crate::services::Clock;
use crate::sync::Mutex;

/// When it expires. All in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The first expiration; `None`: not armed.
    pub first_ns: Option<u64>,
    /// From each expiration to the next; 0: there is one only.
    pub interval_ns: u64,
}

/// What is left, as `timer_gettime` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Nanoseconds to the next expiration, at least 1; 0: not armed.
    pub value_ns: u64,
    /// The period in nanoseconds.
    pub interval_ns: u64,
}

/// A timer.
pub struct Alarm {
    timers: Arc<Timers>,
    clock: Arc<dyn Clock>,
    wake: Weak<dyn Wake>,
    /// After an expiration was looked at, the next wake-up comes no sooner than this.
    floor_ns: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next expiration that was not counted yet.
    next_ns: Option<u64>,
    interval_ns: u64,
    token: Option<TimerToken>,
}

impl Alarm {
    /// A timer that is not armed; `wake` is called when it expires.
    pub fn new(timers: &Arc<Timers>, clock: &Arc<dyn Clock>, wake: Weak<dyn Wake>, floor_ns: u64) -> Alarm {
        Alarm { timers: timers.clone(), clock: clock.clone(), wake, floor_ns, state: Mutex::default() }
    }

    /// Arms it anew, or disarms it, and gives what was left before.
    pub fn set(&self, setting: Setting) -> Remaining {
        let mut state = self.state.lock();
        let before = state.remaining(self.clock.monotonic_ns());
        self.cancel(&mut state);
        state.next_ns = setting.first_ns;
        state.interval_ns = setting.interval_ns;
        self.start(&mut state, 0);
        before
    }

    /// What is left.
    pub fn remaining(&self) -> Remaining {
        self.state.lock().remaining(self.clock.monotonic_ns())
    }

    /// Whether it has expired since [`Alarm::take_expirations`] was last called.
    pub fn is_due(&self) -> bool {
        let now_ns = self.clock.monotonic_ns();
        self.state.lock().next_ns.is_some_and(|next_ns| next_ns <= now_ns)
    }

    /// How often it has expired since it was armed or this was last called.
    pub fn take_expirations(&self) -> u64 {
        let now_ns = self.clock.monotonic_ns();
        let mut state = self.state.lock();
        let Some(late_ns) = state.next_ns.and_then(|next_ns| now_ns.checked_sub(next_ns)) else { return 0 };
        self.cancel(&mut state);
        // No period: the division fails, and it is over.
        let Some(more) = late_ns.checked_div(state.interval_ns) else {
            state.next_ns = None;
            return 1;
        };
        let to_next_ns = state.interval_ns - late_ns % state.interval_ns;
        state.next_ns = Some(now_ns.saturating_add(to_next_ns));
        self.start(&mut state, now_ns.saturating_add(self.floor_ns));
        more.saturating_add(1)
    }

    fn start(&self, state: &mut State, not_before_ns: u64) {
        if let (Some(next_ns), Some(wake)) = (state.next_ns, self.wake.upgrade()) {
            state.token = Some(self.timers.add(next_ns.max(not_before_ns), wake));
        }
    }

    fn cancel(&self, state: &mut State) {
        if let Some(token) = state.token.take() {
            self.timers.cancel(token);
        }
    }
}

impl State {
    fn remaining(&self, now_ns: u64) -> Remaining {
        let value_ns = match self.next_ns {
            None => 0,
            Some(next_ns) if next_ns > now_ns => next_ns - now_ns,
            // Expired, but nobody has looked: the next one of a periodic timer counts, as in Linux.
            Some(next_ns) => {
                (now_ns - next_ns).checked_rem(self.interval_ns).map_or(0, |since| self.interval_ns - since)
            }
        };
        Remaining { value_ns, interval_ns: self.interval_ns }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(token) = self.state.lock().token.take() {
            self.timers.cancel(token);
        }
    }
}
