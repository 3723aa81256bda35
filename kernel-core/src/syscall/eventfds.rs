//! Descriptors of events: `eventfd(2)`, `signalfd(2)`, `timerfd_create(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, Result};
use crate::host::Host;
use crate::ipc::eventfd::{EventFd, ReadMode};
use crate::ipc::signalfd::SignalFd;
use crate::ipc::timerfd::{TimeBase, TimerFd};
use crate::syscall::args::RawFd;
use crate::syscall::timers::TimerSpec;
use crate::syscall::{Cx, SysResult, anon};
use crate::vfs::anon::AnonKind;
use crate::vfs::file::OpenFile;

/// `eventfd2(2)`.
pub fn eventfd2<H: Host>(cx: &Cx<'_, H>, count: u32, flags: u32) -> SysResult {
    if flags & !(anon::CLOEXEC | anon::NONBLOCK | sys::EFD_SEMAPHORE) != 0 {
        return Err(EINVAL.into());
    }
    let mode = if flags & sys::EFD_SEMAPHORE != 0 { ReadMode::Semaphore } else { ReadMode::Value };
    anon::install(cx, Arc::new(EventFd::new(count, mode)), AnonKind::Other("[eventfd]"), flags)
}

/// `signalfd4(2)`.
pub fn signalfd4<H: Host>(cx: &Cx<'_, H>, fd: RawFd, mask: u64, size: usize, flags: u32) -> SysResult {
    if size != 8 {
        return Err(EINVAL.into());
    }
    let mask: u64 = cx.user().get(mask)?;
    if flags & !(anon::CLOEXEC | anon::NONBLOCK) != 0 {
        return Err(EINVAL.into());
    }
    if fd == -1 {
        return anon::install(cx, Arc::new(SignalFd::new(mask)), AnonKind::Other("[signalfd]"), flags);
    }
    let file = cx.file(fd)?;
    file.ops.as_any().downcast_ref::<SignalFd>().ok_or(EINVAL)?.set_mask(mask);
    Ok(anon::result(fd))
}

/// `timerfd_create(2)`.
pub fn timerfd_create<H: Host>(cx: &Cx<'_, H>, clock: u32, flags: u32) -> SysResult {
    if flags & !(anon::CLOEXEC | anon::NONBLOCK) != 0 {
        return Err(EINVAL.into());
    }
    let base = match clock {
        sys::CLOCK_REALTIME => TimeBase::Realtime,
        sys::CLOCK_MONOTONIC => TimeBase::Monotonic,
        sys::CLOCK_BOOTTIME => TimeBase::Boottime,
        _ => return Err(EINVAL.into()),
    };
    let services = cx.services();
    let timer = TimerFd::new(base, &services.timers, &services.clock);
    anon::install(cx, Arc::new(timer), AnonKind::Other("[timerfd]"), flags)
}

/// `timerfd_settime(2)`.
pub fn timerfd_settime<H: Host>(cx: &Cx<'_, H>, fd: RawFd, flags: u32, new: u64, old: u64) -> SysResult {
    const ABSOLUTE: u32 = 1;
    /// Of no effect: the clock is never set while the instance runs.
    const CANCEL_ON_SET: u32 = 2;
    let spec: TimerSpec = cx.user().get(new)?;
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(EINVAL.into());
    }
    let times = spec.times()?;
    let file = cx.file(fd)?;
    let timer = timer_of(&file)?;
    let before = timer.set(times.setting(timer.base, flags & ABSOLUTE != 0, &*cx.services().clock));
    if old != 0 {
        cx.user().set(old, &TimerSpec::from_remaining(before))?;
    }
    Ok(0)
}

/// `timerfd_gettime(2)`.
pub fn timerfd_gettime<H: Host>(cx: &Cx<'_, H>, fd: RawFd, current: u64) -> SysResult {
    let file = cx.file(fd)?;
    let remaining = timer_of(&file)?.remaining();
    cx.user().set(current, &TimerSpec::from_remaining(remaining))?;
    Ok(0)
}

fn timer_of(file: &OpenFile) -> Result<&TimerFd> {
    file.ops.as_any().downcast_ref().ok_or(EINVAL)
}
