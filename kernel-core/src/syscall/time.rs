//! Clocks and sleeping: `clock_gettime(2)`, `clock_nanosleep(2)`, `gettimeofday(2)`, `time(2)`.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as sys;

use crate::abi::time::{SECOND_NS, TimeSpec};
use crate::errno::{EINVAL, EOPNOTSUPP, EPERM, Result};
use crate::host::{Host, ImageClock};
use crate::ipc::alarm::{Meter, next_look_ns};
use crate::kernel::Kernel;
use crate::syscall::deadline;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait};
use crate::task::{Process, Task};

/// Resolution of the clocks that are cheap and coarse: those of Linux with 250 ticks a second.
const COARSE_NS: u64 = 4_000_000;

/// A clock that can be read.
enum Source<H: Host> {
    Realtime,
    Monotonic,
    /// Since the same start, while the machine slept too.
    Boottime,
    /// One that programs mostly read by themselves.
    Image(ImageClock),
    /// CPU time of a process.
    Process(Arc<Process<H>>),
    /// CPU time of a thread of the calling process.
    Thread(Arc<Task<H>>),
}

/// EINVAL for an unknown clock.
fn source<H: Host>(cx: &Cx<'_, H>, clock: i32) -> Result<Source<H>> {
    let Ok(fixed) = u32::try_from(clock) else { return cpu_clock(cx, clock) };
    Ok(match fixed {
        sys::CLOCK_REALTIME | sys::CLOCK_TAI => Source::Realtime,
        sys::CLOCK_REALTIME_COARSE => Source::Image(ImageClock::CoarseRealtime),
        sys::CLOCK_MONOTONIC => Source::Monotonic,
        sys::CLOCK_MONOTONIC_COARSE => Source::Image(ImageClock::CoarseMonotonic),
        sys::CLOCK_MONOTONIC_RAW => Source::Image(ImageClock::Raw),
        sys::CLOCK_BOOTTIME => Source::Boottime,
        sys::CLOCK_PROCESS_CPUTIME_ID => Source::Process(cx.task.process.clone()),
        sys::CLOCK_THREAD_CPUTIME_ID => Source::Thread(cx.task.clone()),
        _ => return Err(EINVAL),
    })
}

/// Negative clock numbers name CPU time: `~pid << 3`, bit 2 for a thread, the lowest two bits what is counted.
fn cpu_clock<H: Host>(cx: &Cx<'_, H>, clock: i32) -> Result<Source<H>> {
    const OF_THREAD: i32 = 4;
    const COUNTED: i32 = 3;
    if clock & COUNTED == COUNTED {
        return Err(EINVAL);
    }
    let id = cx.kernel_pid(!(clock >> 3) as u32).or((!(clock >> 3) == 0).then_some(0)).ok_or(EINVAL)?;
    match clock & OF_THREAD != 0 {
        true if id == 0 || id == cx.task.tid() => Ok(Source::Thread(cx.task.clone())),
        true => {
            let task = cx.kernel.tree.lock().thread(id).ok_or(EINVAL)?;
            if task.process.pid == cx.task.process.pid { Ok(Source::Thread(task)) } else { Err(EINVAL) }
        }
        false if id == 0 || id == cx.task.process.pid => Ok(Source::Process(cx.task.process.clone())),
        false => cx.kernel.tree.lock().process(id).map(Source::Process).ok_or(EINVAL),
    }
}

fn read<H: Host>(cx: &Cx<'_, H>, clock: i32) -> Result<u64> {
    let sum = |(user, system): (u64, u64)| user.saturating_add(system);
    Ok(match source(cx, clock)? {
        Source::Realtime => cx.services().clock.realtime_ns(),
        Source::Monotonic => cx.services().clock.monotonic_ns(),
        Source::Boottime => cx.services().clock.boottime_ns(),
        Source::Image(clock) => cx.kernel.host.image_clock_ns(clock),
        Source::Process(process) => sum(cx.kernel.process_cpu_ns(&process)),
        Source::Thread(task) => sum(cx.kernel.thread_cpu_ns(&task)),
    })
}

/// `clock_gettime(2)`.
pub fn clock_gettime<H: Host>(cx: &Cx<'_, H>, clock: i32, time: u64) -> SysResult {
    let now = read(cx, clock)?;
    cx.user().set(time, &TimeSpec::from_ns(now))?;
    Ok(0)
}

/// `clock_getres(2)`.
pub fn clock_getres<H: Host>(cx: &Cx<'_, H>, clock: i32, resolution: u64) -> SysResult {
    source(cx, clock)?;
    let coarse = matches!(u32::try_from(clock), Ok(sys::CLOCK_REALTIME_COARSE | sys::CLOCK_MONOTONIC_COARSE));
    if resolution != 0 {
        cx.user().set(resolution, &TimeSpec::from_ns(if coarse { COARSE_NS } else { 1 }))?;
    }
    Ok(0)
}

/// `clock_settime(2)`: the clock is the host's, which guests do not set.
pub fn clock_settime<H: Host>(cx: &Cx<'_, H>, clock: i32, time: u64) -> SysResult {
    match u32::try_from(clock) {
        Ok(sys::CLOCK_REALTIME) => {}
        _ => return Err(EINVAL.into()),
    }
    cx.user().get::<TimeSpec>(time)?.to_ns()?;
    Err(EPERM.into())
}

/// `gettimeofday(2)`.
pub fn gettimeofday<H: Host>(cx: &Cx<'_, H>, time: u64, zone: u64) -> SysResult {
    let now = cx.services().clock.realtime_ns();
    if time != 0 {
        let parts = [(now / SECOND_NS) as i64, (now % SECOND_NS / 1000) as i64];
        cx.user().set(time, &parts)?;
    }
    if zone != 0 {
        // struct timezone: minutes west of Greenwich, and kind of daylight saving time.
        cx.user().set(zone, &[0i32; 2])?;
    }
    Ok(0)
}

/// `settimeofday(2)`: as [`clock_settime`].
pub fn settimeofday<H: Host>(cx: &Cx<'_, H>, time: u64, zone: u64) -> SysResult {
    if time != 0 {
        let parts: TimeSpec = cx.user().get(time)?;
        if !(0..1_000_000).contains(&parts.nsec) || parts.sec < 0 {
            return Err(EINVAL.into());
        }
    }
    if zone != 0 {
        cx.user().get::<[i32; 2]>(zone)?;
    }
    Err(EPERM.into())
}

/// `time(2)`.
pub fn time<H: Host>(cx: &Cx<'_, H>, place: u64) -> SysResult {
    let seconds = cx.services().clock.realtime_ns() / SECOND_NS;
    if place != 0 {
        cx.user().set(place, &seconds)?;
    }
    Ok(seconds)
}

/// `nanosleep(2)`.
pub fn nanosleep<H: Host>(cx: &Cx<'_, H>, time: u64, left: u64) -> SysResult {
    let ns = cx.user().get::<TimeSpec>(time)?.to_ns()?;
    sleep(cx, deadline::after(cx, ns), left)
}

/// `clock_nanosleep(2)`.
pub fn clock_nanosleep<H: Host>(cx: &Cx<'_, H>, clock: i32, flags: u32, time: u64, left: u64) -> SysResult {
    let source = source(cx, clock)?;
    if u32::try_from(clock) == Ok(sys::CLOCK_THREAD_CPUTIME_ID) {
        return Err(EOPNOTSUPP.into());
    }
    let ns = cx.user().get::<TimeSpec>(time)?.to_ns()?;
    let absolute = flags & sys::TIMER_ABSTIME != 0;
    let deadline_ns = match source {
        Source::Image(_) => return Err(EOPNOTSUPP.into()),
        // A thread cannot wait for its own CPU time.
        Source::Thread(task) if Arc::ptr_eq(&task, cx.task) => return Err(EINVAL.into()),
        source @ (Source::Process(_) | Source::Thread(_)) => {
            let meter = meter_of(cx, source).ok_or(EINVAL)?;
            let target_ns = if absolute { ns } else { meter.now_ns().saturating_add(ns) };
            return sleep_metered(cx, meter, target_ns, (!absolute).then_some(left));
        }
        _ if !absolute => deadline::after(cx, ns),
        Source::Monotonic => ns,
        Source::Boottime => cx.services().clock.at_boottime(ns),
        Source::Realtime => cx.services().clock.at_realtime(ns),
    };
    if !absolute {
        return sleep(cx, deadline_ns, left);
    }
    match cx.wait_until(&[], Some(deadline_ns), || None::<()>) {
        Wait::Interrupted => Err(SysError::Restart(Restart::WithoutHandler)),
        _ => Ok(0),
    }
}

/// Sleeps until a meter has come so far. A time that was relative has a place for what is left, or 0, and goes on to the
/// same time.
fn sleep_metered<H: Host>(
    cx: &Cx<'_, H>,
    meter: Arc<dyn Meter>,
    target_ns: u64,
    left: Option<u64>,
) -> SysResult {
    let (mut before_ns, mut look_ns) = (None, 0);
    loop {
        let now_ns = meter.now_ns();
        let Some(left_ns) = target_ns.checked_sub(now_ns).filter(|left_ns| *left_ns > 0) else {
            return Ok(0);
        };
        look_ns = next_look_ns(left_ns, &*meter, look_ns, before_ns != Some(now_ns));
        before_ns = Some(now_ns);
        let deadline_ns = deadline::after(cx, look_ns);
        if cx.wait_until(&[], Some(deadline_ns), || None::<()>) == Wait::Interrupted {
            let Some(place) = left else { return Err(SysError::Restart(Restart::WithoutHandler)) };
            if place != 0 {
                cx.user().set(place, &TimeSpec::from_ns(left_ns))?;
            }
            return Err(cx.restart_with(move |cx| sleep_metered(cx, meter, target_ns, left)));
        }
    }
}

/// The CPU time of a process or thread; once it has ended, it stands still.
struct CpuMeter<H: Host> {
    kernel: Weak<Kernel<H>>,
    of: CpuTimeOf<H>,
    last_ns: AtomicU64,
}

enum CpuTimeOf<H: Host> {
    Process(Weak<Process<H>>),
    Thread(Weak<Task<H>>),
}

impl<H: Host> Meter for CpuMeter<H> {
    fn now_ns(&self) -> u64 {
        let sum = |(user, system): (u64, u64)| user.saturating_add(system);
        let now_ns = self.kernel.upgrade().and_then(|kernel| match &self.of {
            CpuTimeOf::Process(process) => Some(sum(kernel.process_cpu_ns(&*process.upgrade()?))),
            CpuTimeOf::Thread(task) => Some(sum(kernel.thread_cpu_ns(&*task.upgrade()?))),
        });
        self.last_ns.fetch_max(now_ns.unwrap_or(0), Ordering::Relaxed).max(now_ns.unwrap_or(0))
    }

    fn fastest(&self) -> u64 {
        match &self.of {
            CpuTimeOf::Process(_) => self.kernel.upgrade().map_or(1, |kernel| kernel.vcpus() as u64),
            CpuTimeOf::Thread(_) => 1,
        }
    }
}

/// What measures the CPU time that a clock shows; `None` for other clocks. EINVAL.
pub(super) fn cpu_meter<H: Host>(cx: &Cx<'_, H>, clock: i32) -> Result<Option<Arc<dyn Meter>>> {
    Ok(meter_of(cx, source(cx, clock)?))
}

/// The same for what a clock shows, which it does not keep.
fn meter_of<H: Host>(cx: &Cx<'_, H>, source: Source<H>) -> Option<Arc<dyn Meter>> {
    let of = match source {
        Source::Process(process) => CpuTimeOf::Process(Arc::downgrade(&process)),
        Source::Thread(task) => CpuTimeOf::Thread(Arc::downgrade(&task)),
        Source::Realtime | Source::Monotonic | Source::Boottime | Source::Image(_) => return None,
    };
    Some(Arc::new(CpuMeter { kernel: Arc::downgrade(cx.kernel), of, last_ns: AtomicU64::new(0) }))
}

/// Sleeps until a time; interrupted, it says at `left` what is left, and goes on to the same time if no handler ran.
fn sleep<H: Host>(cx: &Cx<'_, H>, deadline_ns: u64, left: u64) -> SysResult {
    match cx.wait_until(&[], Some(deadline_ns), || None::<()>) {
        Wait::Ready(()) | Wait::TimedOut => Ok(0),
        Wait::Interrupted => {
            let left_ns = deadline_ns.saturating_sub(cx.services().clock.monotonic_ns());
            if left_ns == 0 {
                return Ok(0);
            }
            if left != 0 {
                cx.user().set(left, &TimeSpec::from_ns(left_ns))?;
            }
            Err(cx.restart_with(move |cx| sleep(cx, deadline_ns, left)))
        }
    }
}
