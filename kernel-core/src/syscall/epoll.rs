//! `epoll(7)`: `epoll_create1(2)`, `epoll_ctl(2)`, `epoll_wait(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use crate::errno::{EBADF, EFAULT, EINTR, EINVAL, Result};
use crate::host::Host;
use crate::ipc::epoll::{Epoll, Interest};
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::deadline;
use crate::syscall::poll::with_mask;
use crate::syscall::{Cx, SysError, SysResult, Wait, anon};
use crate::vfs::anon::AnonKind;
use crate::vfs::file::OpenFile;

/// Bytes of a `struct epoll_event`, which is packed: events, then data.
const EVENT_SIZE: u64 = 12;

/// `epoll_create(2)`.
pub fn epoll_create<H: Host>(cx: &Cx<'_, H>, size: i32) -> SysResult {
    if size <= 0 {
        return Err(EINVAL.into());
    }
    epoll_create1(cx, 0)
}

/// `epoll_create1(2)`.
pub fn epoll_create1<H: Host>(cx: &Cx<'_, H>, flags: u32) -> SysResult {
    if flags & !anon::CLOEXEC != 0 {
        return Err(EINVAL.into());
    }
    let epoll = Epoll::new(&cx.services().epoll, cx.cred().uid);
    anon::install(cx, Arc::new(epoll), AnonKind::Other("[eventpoll]"), flags)
}

fn epoll_of(file: &OpenFile) -> Result<&Epoll> {
    file.ops.as_any().downcast_ref().ok_or(EINVAL)
}

/// `epoll_ctl(2)`.
pub fn epoll_ctl<H: Host>(cx: &Cx<'_, H>, epoll_fd: RawFd, op: u32, fd: RawFd, event: u64) -> SysResult {
    let mut raw = [0; EVENT_SIZE as usize];
    if op != sys::EPOLL_CTL_DEL {
        cx.user().read_bytes(event, &mut raw)?;
    }
    let [e0, e1, e2, e3, data @ ..] = raw;
    let interest = Interest::from_raw(u32::from_ne_bytes([e0, e1, e2, e3]), u64::from_ne_bytes(data));
    let (epoll_file, file) = (cx.file(epoll_fd)?, cx.file(fd)?);
    let caller = cx.caller();
    Epoll::check_target(cx.op(&file))?;
    let epoll = epoll_of(&epoll_file)?;
    match op {
        sys::EPOLL_CTL_ADD => epoll.add(fd, &file, interest, caller)?,
        sys::EPOLL_CTL_MOD => epoll.modify(fd, &file, interest, caller)?,
        sys::EPOLL_CTL_DEL => epoll.remove(fd, &file)?,
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}

/// `epoll_wait(2)`.
pub fn epoll_wait<H: Host>(cx: &Cx<'_, H>, fd: RawFd, events: u64, limit: i32, timeout_ms: i32) -> SysResult {
    wait(cx, fd, events, limit, deadline::after_ms(cx, timeout_ms))
}

/// `epoll_pwait(2)`.
pub fn epoll_pwait<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    events: u64,
    limit: i32,
    timeout_ms: i32,
    mask: (u64, usize),
) -> SysResult {
    with_mask(cx, mask, || wait(cx, fd, events, limit, deadline::after_ms(cx, timeout_ms)))
}

/// `epoll_pwait2(2)`: the time is a `struct timespec`.
pub fn epoll_pwait2<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    events: u64,
    limit: i32,
    timeout: u64,
    mask: (u64, usize),
) -> SysResult {
    let deadline = deadline::relative(cx, timeout)?;
    with_mask(cx, mask, || wait(cx, fd, events, limit, deadline))
}

fn wait<H: Host>(cx: &Cx<'_, H>, fd: RawFd, events: u64, limit: i32, deadline_ns: Option<u64>) -> SysResult {
    let limit =
        usize::try_from(limit).ok().filter(|limit| (1..=MOST_EVENTS).contains(limit)).ok_or(EINVAL)?;
    let file = cx.files.get(fd).map_err(|_| EBADF)?;
    let epoll = epoll_of(&file)?;
    let collect = || {
        let mut next = Some(events);
        let collected = epoll.collect(limit, cx.caller(), |events, data| {
            let mut raw = [0; EVENT_SIZE as usize];
            raw[..4].copy_from_slice(&events.bits().to_ne_bytes());
            raw[4..].copy_from_slice(&data.to_ne_bytes());
            let at = next.ok_or(EFAULT)?;
            cx.user().write_bytes(at, &raw)?;
            next = at.checked_add(EVENT_SIZE);
            Ok(())
        });
        match collected {
            Ok(0) => None,
            other => Some(other),
        }
    };
    match cx.wait_until(&[(epoll.waiters(), Events::IN)], deadline_ns, collect) {
        Wait::Ready(count) => Ok(count? as u64),
        Wait::TimedOut => Ok(0),
        // Never started again, whatever the handler says: signal(7).
        Wait::Interrupted => Err(SysError::Errno(EINTR)),
    }
}

/// `EP_MAX_EVENTS`.
const MOST_EVENTS: usize = i32::MAX as usize / EVENT_SIZE as usize;
