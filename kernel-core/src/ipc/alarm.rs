//! One timer, periodic or not: what timerfd, `setitimer` and `timer_create` have in common.
//!
//! It may go by another measure than the monotonic clock ([`Meter`]): the CPU time of a task, which passes no faster than a
//! number of vCPUs can spend it. So it looks when the time can be up at the earliest, and again, and less often the
//! longer none passes.
//!
//! Expirations are counted when somebody looks, from the time that has passed. So a timer that nobody looks at costs one
//! wake-up, however short its period is.

use alloc::sync::{Arc, Weak};

use crate::sched::timers::{TimerToken, Timers};
use crate::sched::wait::Wake;
use crate::services::{Clock, Services};
use crate::sync::Mutex;

/// A measure of time that may stand still.
pub trait Meter: Send + Sync {
    /// Nanoseconds up to now.
    fn now_ns(&self) -> u64;
    /// How many of them can pass in one of the monotonic clock.
    fn fastest(&self) -> u64;
}

/// Between two looks at a [`Meter`] there is at least this, and, while it stands still, at most that.
const SHORTEST_LOOK_NS: u64 = 2_000_000;
const LONGEST_LOOK_NS: u64 = 64_000_000;

/// So long a periodic timer lets the others run for each that there is.
const PER_TIMER_NS: u64 = 5_000;

/// How long to wait before the next look, with that much to go, after the last wait, with or without progress since.
pub fn next_look_ns(left_ns: u64, meter: &dyn Meter, last_ns: u64, progress: bool) -> u64 {
    let earliest_ns = (left_ns / meter.fastest().max(1)).max(SHORTEST_LOOK_NS);
    if progress { earliest_ns } else { earliest_ns.max(last_ns.saturating_mul(2).min(LONGEST_LOOK_NS)) }
}

/// When it expires. All in nanoseconds of the clock that it goes by.
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
    /// What it goes by instead.
    meter: Option<Arc<dyn Meter>>,
    wake: Weak<dyn Wake>,
    /// After an expiration was looked at, the next wake-up comes no sooner than this; 0 for one that wakes only when it is
    /// looked at.
    floor_ns: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next expiration that was not counted yet.
    next_ns: Option<u64>,
    interval_ns: u64,
    token: Option<TimerToken>,
    /// Whether it is one of [`Timers::repeating`].
    repeats: bool,
    /// What the meter said at the last look, and how long that one was waited for.
    looked: (u64, u64),
}

impl Alarm {
    /// A timer that is not armed; `wake` is called when it expires.
    pub fn new(timers: &Arc<Timers>, clock: &Arc<dyn Clock>, wake: Weak<dyn Wake>, floor_ns: u64) -> Alarm {
        Alarm {
            timers: timers.clone(),
            clock: clock.clone(),
            meter: None,
            wake,
            floor_ns,
            state: Mutex::default(),
        }
    }

    /// As [`Alarm::new`], but it goes by a meter.
    pub fn metered(services: &Services, meter: Arc<dyn Meter>, wake: Weak<dyn Wake>) -> Alarm {
        let mut alarm = Alarm::new(&services.timers, &services.clock, wake, SHORTEST_LOOK_NS);
        alarm.meter = Some(meter);
        alarm
    }

    /// Now, by what it goes by. Not with its lock held: a meter takes locks of tasks.
    fn now_ns(&self) -> u64 {
        self.meter.as_ref().map_or_else(|| self.clock.monotonic_ns(), |meter| meter.now_ns())
    }

    /// Arms it anew, or disarms it, and gives what was left before.
    pub fn set(&self, setting: Setting) -> Remaining {
        let now_ns = self.now_ns();
        let mut state = self.state.lock();
        let before = state.remaining(now_ns);
        self.cancel(&mut state);
        state.next_ns = setting.first_ns;
        state.interval_ns = setting.interval_ns;
        self.note_repeating(&mut state);
        state.looked = (now_ns.wrapping_sub(1), 0);
        self.start(&mut state, now_ns, 0);
        before
    }

    /// What is left.
    pub fn remaining(&self) -> Remaining {
        let now_ns = self.now_ns();
        self.state.lock().remaining(now_ns)
    }

    /// Whether it has expired since [`Alarm::take_expirations`] was last called.
    pub fn is_due(&self) -> bool {
        let now_ns = self.now_ns();
        self.state.lock().next_ns.is_some_and(|next_ns| next_ns <= now_ns)
    }

    /// How often it has expired since it was armed or this was last called.
    pub fn take_expirations(&self) -> u64 {
        let now_ns = self.now_ns();
        let mut state = self.state.lock();
        let Some(late_ns) = state.next_ns.and_then(|next_ns| now_ns.checked_sub(next_ns)) else {
            if self.meter.is_some() && state.next_ns.is_some() {
                self.cancel(&mut state);
                self.start(&mut state, now_ns, 0);
            }
            return 0;
        };
        self.cancel(&mut state);
        // No period: the division fails, and it is over.
        let Some(more) = late_ns.checked_div(state.interval_ns) else {
            state.next_ns = None;
            self.note_repeating(&mut state);
            return 1;
        };
        let to_next_ns = state.interval_ns - late_ns % state.interval_ns;
        state.next_ns = Some(now_ns.saturating_add(to_next_ns));
        self.start(&mut state, now_ns, now_ns.saturating_add(self.least_ns()));
        more.saturating_add(1)
    }

    /// The least time from a wake-up to the next: the more timers there are that start themselves again, the longer it is,
    /// so that a vCPU has time for other things.
    fn least_ns(&self) -> u64 {
        match self.floor_ns {
            0 => 0,
            floor_ns => floor_ns.max(self.timers.repeating() as u64 * PER_TIMER_NS),
        }
    }

    fn note_repeating(&self, state: &mut State) {
        // One that goes by a meter looks at it again and again.
        let again = state.interval_ns > 0 || self.meter.is_some();
        let repeats = self.floor_ns > 0 && state.next_ns.is_some() && again;
        if repeats != core::mem::replace(&mut state.repeats, repeats) {
            self.timers.note_repeating(repeats);
        }
    }

    fn start(&self, state: &mut State, now_ns: u64, not_before_ns: u64) {
        if let (Some(next_ns), Some(wake)) = (state.next_ns, self.wake.upgrade()) {
            let at_ns = match &self.meter {
                Some(meter) => {
                    let left_ns = next_ns.saturating_sub(now_ns);
                    let (before_ns, last_ns) = state.looked;
                    let look_ns = next_look_ns(left_ns, &**meter, last_ns, now_ns != before_ns);
                    state.looked = (now_ns, look_ns);
                    self.clock.after(look_ns.max(self.least_ns()))
                }
                None => next_ns.max(not_before_ns),
            };
            state.token = Some(self.timers.add(at_ns, wake));
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
        let mut state = self.state.lock();
        self.cancel(&mut state);
        if state.repeats {
            self.timers.note_repeating(false);
        }
    }
}
