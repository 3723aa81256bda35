//! Timers that signal: `timer_create(2)`, `setitimer(2)`, `alarm(2)`.

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::abi::sigevent::SigEvent;
use crate::abi::time::{SECOND_NS, TimeSpec};
use crate::errno::{EAGAIN, EINVAL, Result};
use crate::host::Host;
use crate::ipc::alarm::{Meter, Remaining, Setting};
use crate::ipc::cpu_timer::CpuClock;
use crate::ipc::posix_timer::{Action, Base, Notify};
use crate::ipc::timerfd::TimeBase;
use crate::services::Clock;
use crate::syscall::time::cpu_meter;
use crate::syscall::{Cx, SysResult};

/// `struct itimerspec`: the period, then the time to the first expiration.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct TimerSpec {
    interval: TimeSpec,
    value: TimeSpec,
}

impl TimerSpec {
    /// As `timer_gettime` shows it.
    pub fn from_remaining(remaining: Remaining) -> TimerSpec {
        TimerSpec {
            interval: TimeSpec::from_ns(remaining.interval_ns),
            value: TimeSpec::from_ns(remaining.value_ns),
        }
    }

    /// The times in nanoseconds: EINVAL if one is negative or not normalised.
    pub fn times(&self) -> Result<Times> {
        Ok(Times { interval_ns: self.interval.to_ns()?, value_ns: self.value.to_ns()? })
    }
}

/// What a [`TimerSpec`] says.
#[derive(Clone, Copy)]
pub struct Times {
    interval_ns: u64,
    value_ns: u64,
}

impl Times {
    /// What to set a timer of CPU time to.
    fn metered(self, absolute: bool, meter: &dyn Meter) -> Setting {
        let start_ns = if absolute { 0 } else { meter.now_ns() };
        let first_ns = (self.value_ns > 0).then(|| start_ns.saturating_add(self.value_ns));
        Setting { first_ns, interval_ns: self.interval_ns }
    }

    /// What to set a timer of that clock to.
    pub fn setting(self, base: TimeBase, absolute: bool, clock: &dyn Clock) -> Setting {
        let Times { interval_ns, value_ns } = self;
        let first_ns = match (base, absolute) {
            _ if value_ns == 0 => None,
            (TimeBase::Monotonic, true) => Some(value_ns),
            (TimeBase::Boottime, true) => Some(clock.at_boottime(value_ns)),
            (TimeBase::Realtime, true) => Some(clock.at_realtime(value_ns)),
            (_, false) => Some(clock.after(value_ns)),
        };
        Setting { first_ns, interval_ns }
    }
}

/// `timer_create(2)`.
pub fn timer_create<H: Host>(cx: &Cx<'_, H>, clock: u32, event: u64, id: u64) -> SysResult {
    let base = match clock {
        sys::CLOCK_REALTIME | sys::CLOCK_TAI => Base::Time(TimeBase::Realtime),
        sys::CLOCK_MONOTONIC => Base::Time(TimeBase::Monotonic),
        sys::CLOCK_BOOTTIME => Base::Time(TimeBase::Boottime),
        _ => Base::Cpu(cpu_meter(cx, clock.cast_signed())?.ok_or(EINVAL)?),
    };
    let action = match event {
        0 => Action { notify: Notify::Process, signal: sys::SIGALRM as u8, value: None },
        addr => action_of(cx, cx.user().get(addr)?)?,
    };
    let process = &cx.task.process;
    let limit = process.rlimit(sys::RLIMIT_SIGPENDING);
    let place = cx.services().places.take(cx.cred().uid, limit).ok_or(EAGAIN)?;
    let timers = &process.timers;
    let made = timers.create(base, action, place, cx.services());
    if let Err(errno) = cx.user().set(id, &made) {
        // It was never known by its id.
        let _ = timers.delete(made);
        return Err(errno.into());
    }
    Ok(0)
}

fn action_of<H: Host>(cx: &Cx<'_, H>, event: SigEvent) -> Result<Action> {
    const SIGEV_SIGNAL: u32 = sys::SIGEV_SIGNAL;
    const SIGEV_THREAD_SIGNAL: u32 = sys::SIGEV_SIGNAL | sys::SIGEV_THREAD_ID;
    let notify = match event.notify {
        sys::SIGEV_NONE => Notify::Nobody,
        // SIGEV_THREAD is the C library's business; to the kernel it is a signal.
        SIGEV_SIGNAL | sys::SIGEV_THREAD => Notify::Process,
        SIGEV_THREAD_SIGNAL => {
            let tid = u32::try_from(event.tid).map_err(|_| EINVAL)?;
            let task = cx.thread_numbered(tid).ok_or(EINVAL)?;
            if task.process.pid != cx.task.process.pid {
                return Err(EINVAL);
            }
            Notify::Thread(task.tid())
        }
        _ => return Err(EINVAL),
    };
    let signal = u8::try_from(event.signal).ok().filter(|signal| (1..=64).contains(signal));
    let signal = match notify {
        Notify::Nobody => signal.unwrap_or(0),
        _ => signal.ok_or(EINVAL)?,
    };
    Ok(Action { notify, signal, value: Some(event.value) })
}

/// `timer_settime(2)`.
pub fn timer_settime<H: Host>(cx: &Cx<'_, H>, id: i32, flags: u32, new: u64, old: u64) -> SysResult {
    if new == 0 {
        return Err(EINVAL.into());
    }
    let times = cx.user().get::<TimerSpec>(new)?.times()?;
    let timer = cx.task.process.timers.get(id)?;
    let absolute = flags & sys::TIMER_ABSTIME != 0;
    let setting = match &timer.base {
        Base::Time(base) => times.setting(*base, absolute, &*cx.services().clock),
        Base::Cpu(meter) => times.metered(absolute, &**meter),
    };
    let before = timer.set(setting);
    if old != 0 {
        cx.user().set(old, &TimerSpec::from_remaining(before))?;
    }
    Ok(0)
}

/// `timer_gettime(2)`.
pub fn timer_gettime<H: Host>(cx: &Cx<'_, H>, id: i32, current: u64) -> SysResult {
    let remaining = cx.task.process.timers.get(id)?.remaining();
    cx.user().set(current, &TimerSpec::from_remaining(remaining))?;
    Ok(0)
}

/// `timer_getoverrun(2)`.
pub fn timer_getoverrun<H: Host>(cx: &Cx<'_, H>, id: i32) -> SysResult {
    let overrun = cx.task.process.timers.get(id)?.overrun();
    Ok(u64::try_from(overrun).unwrap_or(0))
}

/// `timer_delete(2)`.
pub fn timer_delete<H: Host>(cx: &Cx<'_, H>, id: i32) -> SysResult {
    cx.task.process.timers.delete(id)?;
    Ok(0)
}

/// `struct itimerval`: as [`TimerSpec`], in microseconds.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct IntervalValue {
    interval: TimeSpec,
    value: TimeSpec,
}

impl IntervalValue {
    fn from_remaining(remaining: Remaining) -> IntervalValue {
        // Rounded up, so that an armed timer does not look as if it were not.
        let time = |ns: u64| {
            let usec = ns.div_ceil(1000);
            TimeSpec { sec: (usec / 1_000_000) as i64, nsec: (usec % 1_000_000) as i64 }
        };
        IntervalValue { interval: time(remaining.interval_ns), value: time(remaining.value_ns) }
    }
}

/// Nanoseconds of a `struct timeval`; EINVAL.
fn timeval_ns(time: TimeSpec) -> Result<u64> {
    let usec = u64::try_from(time.nsec).ok().filter(|usec| *usec < 1_000_000).ok_or(EINVAL)?;
    TimeSpec { sec: time.sec, nsec: (usec * 1000) as i64 }.to_ns()
}

/// `getitimer(2)`.
pub fn getitimer<H: Host>(cx: &Cx<'_, H>, which: u32, current: u64) -> SysResult {
    let remaining = match which {
        sys::ITIMER_REAL => cx.task.process.timers.real(),
        _ => {
            let (clock, now_ns) = cpu_clock(cx, which)?;
            cx.task.process.timers.cpu.remaining(clock, now_ns)
        }
    };
    cx.user().set(current, &IntervalValue::from_remaining(remaining))?;
    Ok(0)
}

/// Which CPU time an interval timer counts, and how much of it the process has used; EINVAL.
fn cpu_clock<H: Host>(cx: &Cx<'_, H>, which: u32) -> Result<(CpuClock, u64)> {
    let (user_ns, system_ns) = cx.cpu_ns();
    match which {
        sys::ITIMER_VIRTUAL => Ok((CpuClock::User, user_ns)),
        sys::ITIMER_PROF => Ok((CpuClock::All, user_ns.saturating_add(system_ns))),
        _ => Err(EINVAL),
    }
}

/// `setitimer(2)`; without a new value it disarms, as in Linux.
pub fn setitimer<H: Host>(cx: &Cx<'_, H>, which: u32, new: u64, old: u64) -> SysResult {
    let value: IntervalValue = if new == 0 { IntervalValue::default() } else { cx.user().get(new)? };
    let (value_ns, interval_ns) = (timeval_ns(value.value)?, timeval_ns(value.interval)?);
    let before = match which {
        sys::ITIMER_REAL => set_real(cx, value_ns, interval_ns),
        _ => {
            let (clock, now_ns) = cpu_clock(cx, which)?;
            cx.task.process.timers.cpu.set(clock, value_ns, interval_ns, now_ns)
        }
    };
    if old != 0 {
        cx.user().set(old, &IntervalValue::from_remaining(before))?;
    }
    Ok(0)
}

fn set_real<H: Host>(cx: &Cx<'_, H>, value_ns: u64, interval_ns: u64) -> Remaining {
    let first_ns = (value_ns > 0).then(|| cx.services().clock.after(value_ns));
    // A timer that is off has no period.
    let interval_ns = if value_ns > 0 { interval_ns } else { 0 };
    cx.task.process.timers.set_real(Setting { first_ns, interval_ns })
}

/// `alarm(2)`: the seconds that were left, rounded to the nearest, but not to none.
pub fn alarm<H: Host>(cx: &Cx<'_, H>, seconds: u32) -> SysResult {
    let left_ns = set_real(cx, u64::from(seconds) * SECOND_NS, 0).value_ns;
    let (whole, rest) = (left_ns / SECOND_NS, left_ns % SECOND_NS);
    Ok(if rest >= SECOND_NS / 2 || whole == 0 && rest > 0 { whole + 1 } else { whole })
}
