//! Timers by descriptor. Source: `timerfd_create(2)`.

use alloc::sync::{Arc, Weak};
use core::any::Any;

use crate::errno::{EAGAIN, EINVAL, Result};
use crate::io::Sink;
use crate::ipc::alarm::{Alarm, Remaining, Setting};
use crate::sched::timers::Timers;
use crate::sched::wait::{Events, WaitQueue, Wake};
use crate::services::Clock;
use crate::vfs::file::{FileOps, Op, Whence};

/// Which clock a timer's absolute times are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBase {
    /// Since 1970.
    Realtime,
    /// Since some start.
    Monotonic,
    /// Since the same start, while the machine slept too.
    Boottime,
}

/// A timer that is read.
pub struct TimerFd {
    /// The clock it was made with.
    pub base: TimeBase,
    shared: Arc<Shared>,
}

struct Shared {
    alarm: Alarm,
    queue: WaitQueue,
}

impl Wake for Shared {
    fn wake(&self, _: Events) {
        self.queue.wake(Events::IN | Events::RDNORM);
    }
}

impl TimerFd {
    /// A timer that is not armed.
    pub fn new(base: TimeBase, timers: &Arc<Timers>, clock: &Arc<dyn Clock>) -> TimerFd {
        let shared = Arc::new_cyclic(|weak: &Weak<Shared>| Shared {
            alarm: Alarm::new(timers, clock, weak.clone(), 0),
            queue: WaitQueue::new(),
        });
        TimerFd { base, shared }
    }

    /// Arms or disarms it, and gives what was left before.
    pub fn set(&self, setting: Setting) -> Remaining {
        self.shared.alarm.set(setting)
    }

    /// What is left.
    pub fn remaining(&self) -> Remaining {
        self.shared.alarm.remaining()
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        // What is pending holds the shared part.
        self.shared.alarm.set(Setting::default());
    }
}

impl FileOps for TimerFd {
    /// There are no positions; Linux lets it be asked for all the same.
    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        if dst.remaining() < 8 {
            return Err(EINVAL);
        }
        match self.shared.alarm.take_expirations() {
            0 => Err(EAGAIN),
            count => dst.put_all(&count.to_ne_bytes()).map(|()| 8),
        }
    }

    fn poll(&self, _: Op<'_>) -> Events {
        if self.shared.alarm.is_due() { Events::IN | Events::RDNORM } else { Events::empty() }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.shared.queue)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::testing::{TestClock, count_wakes, open, poll, read};
    use core::sync::atomic::Ordering;

    fn timer() -> (Arc<TestClock>, Arc<Timers>, Arc<TimerFd>) {
        let (clock, timers) = (Arc::new(TestClock::default()), Arc::new(Timers::default()));
        let dyn_clock: Arc<dyn Clock> = clock.clone();
        let timer = Arc::new(TimerFd::new(TimeBase::Monotonic, &timers, &dyn_clock));
        (clock, timers, timer)
    }

    #[test]
    fn a_periodic_timer_wakes_once_and_counts_all() {
        let (clock, timers, timer) = timer();
        let file = open(timer.clone());
        let wakes = count_wakes(&file, Events::IN);
        timer.set(Setting { first_ns: Some(100), interval_ns: 10 });
        assert_eq!((timers.next(), read(&file, 8)), (Some(100), Err(EAGAIN)));
        clock.0.store(135, Ordering::SeqCst);
        timers.fire(135);
        assert_eq!((wakes.take(), timers.next()), (1, None), "not again until it is read");
        assert_eq!(timer.remaining(), Remaining { value_ns: 5, interval_ns: 10 });
        assert_eq!(poll(&file), Events::IN | Events::RDNORM);
        assert_eq!(read(&file, 8).as_deref(), Ok(&4u64.to_ne_bytes()[..]));
        assert_eq!((poll(&file), timers.next()), (Events::empty(), Some(140)));
        let before = timer.set(Setting::default());
        assert_eq!((before.value_ns, timers.next()), (5, None));
    }

    #[test]
    fn closing_forgets_what_is_pending() {
        let (_, timers, timer) = timer();
        timer.set(Setting { first_ns: Some(100), interval_ns: 0 });
        drop(timer);
        assert_eq!(timers.next(), None);
    }
}
