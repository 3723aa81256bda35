//! Limits, usage, times, load.

use core::sync::atomic::Ordering;

use linux_raw_sys::general as sys;
use linux_raw_sys::system;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::abi::rusage::Rusage;
use crate::errno::{EINVAL, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;
use crate::task::exit::TICK_NS;
use crate::task::rlimit::Rlimit;

/// `struct rlimit64`, which is `struct rlimit` here.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawRlimit {
    soft: u64,
    hard: u64,
}

/// `prlimit64(2)`; `getrlimit` and `setrlimit` are forms of it.
pub fn prlimit<H: Host>(cx: &Cx<'_, H>, pid: i32, resource: u32, new: u64, old: u64) -> SysResult {
    let process = match u32::try_from(pid).map_err(|_| ESRCH)? {
        0 => cx.task.process.clone(),
        pid => cx.process_numbered(pid).ok_or(ESRCH)?,
    };
    if process.pid != cx.task.process.pid {
        check_same_user(cx, &process)?;
    }
    let new = match new {
        0 => None,
        addr => Some(cx.user().get::<RawRlimit>(addr)?),
    };
    let privileged = cx.cred().capable(Caps::SYS_RESOURCE);
    let before = process.with_rlimits(|limits| {
        let before = limits.get(resource).ok_or(EINVAL)?;
        if let Some(new) = new {
            if new.soft > new.hard {
                return Err(EINVAL);
            }
            if new.hard > before.hard && !privileged
                || resource == sys::RLIMIT_NOFILE && new.hard > crate::vfs::fd::MOST_FDS
            {
                return Err(EPERM);
            }
            limits.set(resource, Rlimit { soft: new.soft, hard: new.hard });
        }
        Ok(before)
    })?;
    if new.is_some()
        && let Some(task) = process.threads().first()
        && let Some(resources) = task.resources()
    {
        resources.mm.set_limits(cx.kernel.mm_limits(&process, &task.cred()));
    }
    if old != 0 {
        cx.user().set(old, &RawRlimit { soft: before.soft, hard: before.hard })?;
    }
    Ok(0)
}

fn check_same_user<H: Host>(cx: &Cx<'_, H>, process: &crate::task::Process<H>) -> Result<()> {
    let cred = cx.cred();
    let other = process.threads().first().map(|task| task.cred()).ok_or(ESRCH)?;
    let same = [other.uid, other.euid, other.suid].iter().all(|uid| *uid == cred.uid)
        && [other.gid, other.egid, other.sgid].iter().all(|gid| *gid == cred.gid);
    if same || cred.capable_in(&other.user_ns, Caps::SYS_RESOURCE) { Ok(()) } else { Err(EPERM) }
}

/// `getrusage(2)`.
pub fn getrusage<H: Host>(cx: &Cx<'_, H>, who: i32, usage: u64) -> SysResult {
    let process = &cx.task.process;
    let (times, counts) = match who {
        0 => (cx.cpu_ns(), process.counts()),
        -1 => {
            let times = [&process.children_user_ns, &process.children_system_ns];
            (times.map(|ns| ns.load(Ordering::Relaxed)).into(), process.children_counts.get())
        }
        1 => (cx.kernel.thread_cpu_ns(cx.task), cx.task.counts()),
        _ => return Err(EINVAL.into()),
    };
    let mut raw = Rusage::of_times(times).with_counts(counts);
    raw.max_rss = (cx.mm.usage().peak_resident / 1024) as i64;
    cx.user().set(usage, &raw)?;
    Ok(0)
}

/// `times(2)`.
pub fn times<H: Host>(cx: &Cx<'_, H>, buf: u64) -> SysResult {
    if buf != 0 {
        let (user, system) = cx.cpu_ns();
        let process = &cx.task.process;
        let children =
            [&process.children_user_ns, &process.children_system_ns].map(|ns| ns.load(Ordering::Relaxed));
        let ticks = [user, system, children[0], children[1]].map(|ns| (ns / TICK_NS) as i64);
        cx.user().set(buf, &ticks)?;
    }
    Ok(cx.services().clock.monotonic_ns() / TICK_NS)
}

/// `sysinfo(2)`.
pub fn sysinfo<H: Host>(cx: &Cx<'_, H>, info: u64) -> SysResult {
    let ram = &cx.services().ram;
    let load = cx.kernel.scheduler.runnable() as u64;
    let words: [u64; 10] = [
        cx.services().clock.uptime_ns() / 1_000_000_000,
        load << 16,
        load << 16,
        load << 16,
        ram.total(),
        ram.free(),
        0,
        0,
        0,
        0,
    ];
    let threads = cx.kernel.tree.lock().thread_count().min(usize::from(u16::MAX)) as u16;
    let mut raw = [0u8; size_of::<system::sysinfo>()];
    let (head, tail) = raw.split_at_mut(80);
    head.copy_from_slice(words.as_bytes());
    if let Some(place) = tail.get_mut(..2) {
        place.copy_from_slice(&threads.to_le_bytes());
    }
    // mem_unit, behind two words for high memory.
    if let Some(place) = tail.get_mut(24..28) {
        place.copy_from_slice(&1u32.to_le_bytes());
    }
    cx.user().write_bytes(info, &raw)?;
    Ok(0)
}
