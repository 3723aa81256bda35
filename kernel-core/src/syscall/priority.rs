//! Nice values: `getpriority(2)`, `setpriority(2)`. As on Linux, each thread has its own.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general::RLIMIT_NICE;

use crate::errno::{EACCES, EINVAL, EPERM, ESRCH, Errno, Result};
use crate::host::Host;
use crate::sched::nice::Nice;
use crate::syscall::{Cx, SysResult};
use crate::task::Task;
use crate::task::cred::{Caps, Cred};

const PRIO_PROCESS: i32 = 0;
const PRIO_PGRP: i32 = 1;
const PRIO_USER: i32 = 2;

/// `getpriority(2)`: the result is 20 minus the nice value, the largest of all threads meant.
pub fn getpriority<H: Host>(cx: &Cx<'_, H>, which: i32, who: i32) -> SysResult {
    let priority = threads(cx, which, who)?.iter().map(|task| task.nice().priority()).max();
    Ok(priority.ok_or(ESRCH)?)
}

/// `setpriority(2)`: of several threads those that may be changed are, whatever becomes of the others.
pub fn setpriority<H: Host>(cx: &Cx<'_, H>, which: i32, who: i32, nice: i32) -> SysResult {
    let nice = Nice::clamped(nice);
    let threads = threads(cx, which, who)?;
    if threads.is_empty() {
        return Err(ESRCH.into());
    }
    let mut failed: Option<Errno> = None;
    for task in threads {
        match check(cx, &task, nice) {
            Ok(()) => task.set_nice(nice),
            Err(errno) => failed = Some(errno),
        }
    }
    failed.map_or(Ok(0), |errno| Err(errno.into()))
}

/// The threads that are meant; `who` 0 is the caller, its group or its user. EINVAL for an unknown `which`.
pub(super) fn threads<H: Host>(cx: &Cx<'_, H>, which: i32, who: i32) -> Result<Vec<Arc<Task<H>>>> {
    // No id is negative, but for a user's, which has no sign.
    let id = who.cast_unsigned();
    if which == PRIO_PROCESS && who != 0 {
        return Ok(cx.thread_numbered(id).into_iter().collect());
    }
    let tree = cx.kernel.tree.lock();
    Ok(match which {
        PRIO_PROCESS => alloc::vec![cx.task.clone()],
        PRIO_PGRP => {
            let group = if who == 0 { cx.task.process.group() } else { cx.kernel_pid(id).unwrap_or(0) };
            tree.group(group).iter().flat_map(|process| process.threads()).collect()
        }
        PRIO_USER => {
            let user = if who == 0 { cx.cred().uid } else { cx.cred().user_ns.uid(id).ok_or(EINVAL)? };
            tree.threads().filter(|task| task.cred().uid == user).cloned().collect()
        }
        _ => return Err(EINVAL),
    })
}

/// Whether the thread with these credentials is the caller's.
pub(super) fn is_own(cred: &Cred, other: &Cred) -> bool {
    cred.euid == other.uid || cred.euid == other.euid
}

/// EPERM for threads of others, EACCES for less niceness than RLIMIT_NICE grants.
pub(super) fn check<H: Host>(cx: &Cx<'_, H>, task: &Task<H>, nice: Nice) -> Result<()> {
    let (cred, other) = (cx.cred(), task.cred());
    if cred.capable_in(&other.user_ns, Caps::SYS_NICE) {
        return Ok(());
    }
    if !is_own(&cred, &other) {
        return Err(EPERM);
    }
    if nice < task.nice() && nice.priority() > task.process.rlimit(RLIMIT_NICE) {
        return Err(EACCES);
    }
    Ok(())
}
