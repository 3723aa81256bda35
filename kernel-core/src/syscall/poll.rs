//! Waiting for several descriptors: `poll(2)`, `ppoll(2)`, `select(2)`, `pselect6(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::abi::time::TimeSpec;
use crate::errno::{EBADF, EFAULT, EINTR, EINVAL, Result};
use crate::host::Host;
use crate::sched::wait::{Events, WaitQueue};
use crate::syscall::args::RawFd;
use crate::syscall::deadline;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait};
use crate::vfs::file::OpenFile;

/// Does `wait` with another signal mask, if `mask` (address and size in bytes) is one: EINVAL, EFAULT. If a signal ends
/// the wait, the mask comes back after its delivery.
pub fn with_mask<H: Host>(
    cx: &Cx<'_, H>,
    (mask, size): (u64, usize),
    wait: impl FnOnce() -> SysResult,
) -> SysResult {
    if mask == 0 {
        return wait();
    }
    if size != 8 {
        return Err(EINVAL.into());
    }
    cx.task.set_mask_for_call(cx.user().get(mask)?);
    let result = wait();
    if !matches!(result, Err(SysError::Restart(_)) | Err(SysError::Errno(EINTR))) {
        cx.task.restore_mask();
    }
    result
}

/// A file that is waited for.
struct Watched {
    file: Option<Arc<OpenFile>>,
    /// What counts.
    events: Events,
    /// What is so.
    found: Events,
}

impl Watched {
    fn check<H: Host>(&mut self, cx: &Cx<'_, H>) -> bool {
        self.found = match &self.file {
            Some(file) => file.ops.poll(cx.op(file)) & self.events,
            None => self.found,
        };
        !self.found.is_empty()
    }
}

/// Waits until something is so of any of the files; how many they are.
fn wait_for_any<H: Host>(cx: &Cx<'_, H>, watched: &mut [Watched], deadline_ns: Option<u64>) -> Wait<usize> {
    let now = cx.services().clock.monotonic_ns();
    let at_once = deadline_ns.is_some_and(|deadline| deadline <= now);
    // What is ready already needs no registration, which is the usual case.
    let ready = watched.iter_mut().map(|one| one.check(cx)).filter(|ready| *ready).count();
    if ready > 0 || at_once {
        return if ready > 0 { Wait::Ready(ready) } else { Wait::TimedOut };
    }
    let files: Vec<(Arc<OpenFile>, Events)> =
        watched.iter().filter_map(|one| Some((one.file.clone()?, one.events.to_wait_for()))).collect();
    let caller_queues: Vec<(Arc<WaitQueue>, Events)> = files
        .iter()
        .filter_map(|(file, events)| Some((file.ops.caller_queue(cx.op(file))?, *events)))
        .collect();
    let queues: Vec<(&WaitQueue, Events)> = files
        .iter()
        .filter_map(|(file, events)| Some((file.ops.wait_queue()?, *events)))
        .chain(caller_queues.iter().map(|(queue, events)| (&**queue, *events)))
        .collect();
    cx.wait_until(&queues, deadline_ns, || {
        let ready = watched.iter_mut().map(|one| one.check(cx)).filter(|ready| *ready).count();
        (ready > 0).then_some(ready)
    })
}

/// `struct pollfd`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct PollFd {
    fd: RawFd,
    events: u16,
    revents: u16,
}

const POLLFD_SIZE: u64 = 8;
const REVENTS_AT: u64 = 6;

/// Does a poll and writes `revents`, of all entries and nothing else.
fn poll_until<H: Host>(
    cx: &Cx<'_, H>,
    fds: u64,
    count: u64,
    deadline_ns: Option<u64>,
) -> Result<Wait<usize>> {
    if count > cx.caller().rlimit(sys::RLIMIT_NOFILE) {
        return Err(EINVAL);
    }
    // Bounded by the limit of descriptors, and grown as they are read.
    let mut watched = Vec::new();
    for index in 0..count {
        let addr = fds.checked_add(index * POLLFD_SIZE).ok_or(EFAULT)?;
        let raw: PollFd = cx.user().get(addr)?;
        let file = if raw.fd < 0 { None } else { cx.file(raw.fd).ok() };
        let found = if raw.fd >= 0 && file.is_none() { Events::NVAL } else { Events::empty() };
        let events = Events::from_bits_truncate(raw.events.into()) | Events::ERR | Events::HUP;
        watched.push(Watched { file, events, found });
    }
    let waited = wait_for_any(cx, &mut watched, deadline_ns);
    for (index, one) in (0u64..).zip(&watched) {
        let addr = fds.checked_add(index * POLLFD_SIZE + REVENTS_AT).ok_or(EFAULT)?;
        cx.user().set(addr, &(one.found.bits() as u16))?;
    }
    Ok(waited)
}

/// `poll(2)`.
pub fn poll<H: Host>(cx: &Cx<'_, H>, fds: u64, count: u32, timeout_ms: i32) -> SysResult {
    poll_restartable(cx, fds, count.into(), deadline::after_ms(cx, timeout_ms))
}

fn poll_restartable<H: Host>(cx: &Cx<'_, H>, fds: u64, count: u64, deadline_ns: Option<u64>) -> SysResult {
    match poll_until(cx, fds, count, deadline_ns)? {
        Wait::Ready(ready) => Ok(ready as u64),
        Wait::TimedOut => Ok(0),
        // Started again, it waits for what is left of the time.
        Wait::Interrupted => Err(cx.restart_with(move |cx| poll_restartable(cx, fds, count, deadline_ns))),
    }
}

/// `ppoll(2)`.
pub fn ppoll<H: Host>(cx: &Cx<'_, H>, fds: u64, count: u32, timeout: u64, mask: (u64, usize)) -> SysResult {
    let limit = Timeout::of_timespec(cx, timeout)?;
    let result = with_mask(cx, mask, || match poll_until(cx, fds, count.into(), limit.deadline_ns)? {
        Wait::Ready(ready) => Ok(ready as u64),
        Wait::TimedOut => Ok(0),
        Wait::Interrupted => Err(SysError::Restart(Restart::WithoutHandler)),
    });
    limit.write_back(cx);
    result
}

/// A time limit in the guest's memory, in which what is left of it is put.
struct Timeout {
    addr: u64,
    deadline_ns: Option<u64>,
    unit: Unit,
}

/// What the second half of a time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Nanoseconds,
    Microseconds,
}

impl Timeout {
    fn of_timespec<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Timeout> {
        Timeout::read(cx, addr, Unit::Nanoseconds)
    }

    fn read<H: Host>(cx: &Cx<'_, H>, addr: u64, unit: Unit) -> Result<Timeout> {
        if addr == 0 {
            return Ok(Timeout { addr, deadline_ns: None, unit });
        }
        let mut time: TimeSpec = cx.user().get(addr)?;
        if unit == Unit::Microseconds {
            // Whole seconds of microseconds count, as in Linux.
            time.sec = time.sec.saturating_add(time.nsec / 1_000_000);
            time.nsec = time.nsec % 1_000_000 * 1000;
        }
        let ns = time.to_ns()?;
        // A time of zero is not written back, so its place is not kept.
        let addr = if ns == 0 { 0 } else { addr };
        Ok(Timeout { addr, deadline_ns: Some(deadline::after(cx, ns)), unit })
    }

    /// What is left; a place that cannot be written is not an error, as in Linux.
    fn write_back<H: Host>(&self, cx: &Cx<'_, H>) {
        let (Some(deadline), true) = (self.deadline_ns, self.addr != 0) else { return };
        let mut left = TimeSpec::from_ns(deadline.saturating_sub(cx.services().clock.monotonic_ns()));
        if self.unit == Unit::Microseconds {
            left.nsec /= 1000;
        }
        let _ = cx.user().set(self.addr, &left);
    }
}

/// What makes a descriptor readable, writable and exceptional for `select`.
const SETS: [Events; 3] = [
    Events::IN.union(Events::RDNORM).union(Events::RDBAND).union(Events::HUP).union(Events::ERR),
    Events::OUT.union(Events::WRNORM).union(Events::WRBAND).union(Events::ERR),
    Events::PRI,
];

/// `select(2)`: the time is a `struct timeval`.
pub fn select<H: Host>(cx: &Cx<'_, H>, count: i32, sets: [u64; 3], timeout: u64) -> SysResult {
    let limit = Timeout::read(cx, timeout, Unit::Microseconds)?;
    let result = select_until(cx, count, sets, limit.deadline_ns);
    limit.write_back(cx);
    result
}

/// `pselect6(2)`: `mask` is the address of a pair of address and size.
pub fn pselect6<H: Host>(cx: &Cx<'_, H>, count: i32, sets: [u64; 3], timeout: u64, mask: u64) -> SysResult {
    let [mask, size] = if mask == 0 { [0, 0] } else { cx.user().get::<[u64; 2]>(mask)? };
    let limit = Timeout::of_timespec(cx, timeout)?;
    let size = usize::try_from(size).map_err(|_| EINVAL)?;
    let result = with_mask(cx, (mask, size), || select_until(cx, count, sets, limit.deadline_ns));
    limit.write_back(cx);
    result
}

fn select_until<H: Host>(cx: &Cx<'_, H>, count: i32, sets: [u64; 3], deadline_ns: Option<u64>) -> SysResult {
    // Descriptors beyond the table are not looked at, and their bits not touched.
    let table = cx.files.capacity().next_multiple_of(64).max(64);
    let count = usize::try_from(count).map_err(|_| EINVAL)?.min(table);
    let bytes = count.div_ceil(64) * 8;
    let mut asked = [const { Vec::new() }; 3];
    for (bits, addr) in asked.iter_mut().zip(sets) {
        bits.resize(bytes, 0u8);
        if addr != 0 {
            cx.user().read_bytes(addr, bits)?;
        }
    }
    let has = |bits: &[u8], fd: usize| bits.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 != 0);
    let (mut watched, mut fds) = (Vec::new(), Vec::new());
    for fd in 0..count {
        let mut events = Events::empty();
        for (bits, class) in asked.iter().zip(SETS) {
            if has(bits, fd) {
                events |= class;
            }
        }
        if !events.is_empty() {
            let file = cx.file(RawFd::try_from(fd).map_err(|_| EBADF)?)?;
            watched.push(Watched { file: Some(file), events, found: Events::empty() });
            fds.push(fd);
        }
    }
    match wait_for_any(cx, &mut watched, deadline_ns) {
        Wait::Ready(_) | Wait::TimedOut => {}
        Wait::Interrupted => return Err(SysError::Restart(Restart::WithoutHandler)),
    }
    let mut total = 0;
    for ((bits, class), addr) in asked.iter().zip(SETS).zip(sets) {
        let mut result = alloc::vec![0u8; bytes];
        for (one, fd) in watched.iter().zip(&fds) {
            if has(bits, *fd)
                && one.found.intersects(class)
                && let Some(byte) = result.get_mut(fd / 8)
            {
                *byte |= 1 << (fd % 8);
                total += 1;
            }
        }
        if addr != 0 {
            cx.user().write_bytes(addr, &result)?;
        }
    }
    Ok(total)
}
