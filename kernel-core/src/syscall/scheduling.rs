//! Scheduling calls: yielding, CPUs, policies ([`crate::sched::policy`]).

use alloc::sync::Arc;

use linux_raw_sys::general::RLIMIT_NICE;

use crate::errno::{EINVAL, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::sched::policy::{Policy, RESET_ON_FORK};
use crate::syscall::priority::is_own;
use crate::syscall::{Cx, SysResult};
use crate::task::Task;
use crate::task::cred::Caps;

/// `SCHED_FIFO`, `SCHED_RR`, for the bounds of their priorities.
const REAL_TIME: [u32; 2] = [1, 2];

/// The thread that `tid` names, 0 being the caller.
pub(super) fn thread<H: Host>(cx: &Cx<'_, H>, tid: i32) -> Result<Arc<Task<H>>> {
    match u32::try_from(tid).map_err(|_| EINVAL)? {
        0 => Ok(cx.task.clone()),
        tid => cx.thread_numbered(tid).ok_or(ESRCH),
    }
}

/// `sched_yield(2)`.
pub fn sched_yield<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    if cx.kernel.scheduler.has_runnable(cx.task.vcpu()) {
        cx.yield_now();
    }
    Ok(0)
}

/// All vCPUs, as a mask.
fn all_vcpus<H: Host>(cx: &Cx<'_, H>) -> u64 {
    1u64.checked_shl(cx.kernel.vcpus() as u32).unwrap_or(0).wrapping_sub(1)
}

/// `sched_getaffinity(2)`.
pub fn sched_getaffinity<H: Host>(cx: &Cx<'_, H>, pid: i32, size: usize, mask: u64) -> SysResult {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(EINVAL.into());
    }
    // Unlike their neighbours, the two calls of affinity say ESRCH of a negative number.
    let allowed = match thread(cx, pid).map_err(|_| ESRCH)?.affinity() {
        0 => all_vcpus(cx),
        mask => mask,
    };
    cx.user().set(mask, &allowed)?;
    Ok(8)
}

/// `sched_setaffinity(2)`.
pub fn sched_setaffinity<H: Host>(cx: &Cx<'_, H>, pid: i32, size: usize, mask: u64) -> SysResult {
    let mut word = [0u8; 8];
    let len = size.min(8);
    cx.user().read_bytes(mask, &mut word[..len])?;
    let task = thread(cx, pid).map_err(|_| ESRCH)?;
    let (cred, other) = (cx.cred(), task.cred());
    if !is_own(&cred, &other) && !cred.capable_in(&other.user_ns, Caps::SYS_NICE) {
        return Err(EPERM.into());
    }
    let all = all_vcpus(cx);
    let mask = u64::from_le_bytes(word) & all;
    if mask == 0 {
        return Err(EINVAL.into());
    }
    task.set_affinity(if mask == all { 0 } else { mask });
    if Arc::ptr_eq(&task, cx.task) && !task.may_run_on(task.vcpu()) {
        cx.yield_now();
    } else {
        task.interrupt();
    }
    Ok(0)
}

/// `getcpu(2)`.
pub fn getcpu<H: Host>(cx: &Cx<'_, H>, cpu: u64, node: u64) -> SysResult {
    if cpu != 0 {
        cx.user().set(cpu, &(cx.task.vcpu().0 as u32))?;
    }
    if node != 0 {
        cx.user().set(node, &0u32)?;
    }
    Ok(0)
}

/// `sched_getscheduler(2)`.
pub fn sched_getscheduler<H: Host>(cx: &Cx<'_, H>, tid: i32) -> SysResult {
    let task = thread(cx, tid)?;
    Ok(number_of(&task).into())
}

/// A task's policy as a number, with [`RESET_ON_FORK`] if that is so.
pub(super) fn number_of<H: Host>(task: &Task<H>) -> u32 {
    task.policy().number() | if task.resets_on_fork() { RESET_ON_FORK } else { 0 }
}

/// `sched_setscheduler(2)`.
pub fn sched_setscheduler<H: Host>(cx: &Cx<'_, H>, tid: i32, policy: u32, param: u64) -> SysResult {
    if param == 0 || (policy as i32) < 0 {
        return Err(EINVAL.into());
    }
    let task = thread(cx, tid)?;
    set_policy(cx, &task, policy, cx.user().get(param)?)?;
    Ok(0)
}

/// Gives a task a policy, by its number and maybe [`RESET_ON_FORK`]: EINVAL, EPERM.
fn set_policy<H: Host>(cx: &Cx<'_, H>, task: &Task<H>, number: u32, priority: i32) -> Result<()> {
    let (policy, reset) = check_policy(cx, task, number, priority)?;
    task.set_policy(policy, reset);
    Ok(())
}

/// The policy that a task may be given, and whether it is reset on fork: EINVAL, EPERM.
pub(super) fn check_policy<H: Host>(
    cx: &Cx<'_, H>,
    task: &Task<H>,
    number: u32,
    priority: i32,
) -> Result<(Policy, bool)> {
    let reset = number & RESET_ON_FORK != 0;
    let policy = Policy::new(number & !RESET_ON_FORK, priority)?;
    let cred = cx.cred();
    if !cred.capable(Caps::SYS_NICE) {
        // Whoever leaves the lowest policy gets its nice value back.
        let leaves_idle = task.policy() == Policy::Idle && policy != Policy::Idle;
        let gains = leaves_idle && task.nice().priority() > task.process.rlimit(RLIMIT_NICE);
        if gains || task.resets_on_fork() && !reset || !is_own(&cred, &task.cred()) {
            return Err(EPERM);
        }
    }
    Ok((policy, reset))
}

/// `sched_getparam(2)`.
pub fn sched_getparam<H: Host>(cx: &Cx<'_, H>, tid: i32, param: u64) -> SysResult {
    if param == 0 {
        return Err(EINVAL.into());
    }
    thread(cx, tid)?;
    cx.user().set(param, &0i32)?;
    Ok(0)
}

/// `sched_setparam(2)`: the policies that there are have the priority 0 alone.
pub fn sched_setparam<H: Host>(cx: &Cx<'_, H>, tid: i32, param: u64) -> SysResult {
    if param == 0 {
        return Err(EINVAL.into());
    }
    let task = thread(cx, tid)?;
    set_policy(cx, &task, number_of(&task), cx.user().get(param)?)?;
    Ok(0)
}

/// `sched_get_priority_max(2)`, and with `lowest` instead of `highest`, `sched_get_priority_min(2)`.
pub fn priority_bound(policy: u32, of_real_time: u64) -> SysResult {
    match policy {
        policy if REAL_TIME.contains(&policy) => Ok(of_real_time),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(EINVAL.into()),
    }
}

/// `sched_rr_get_interval(2)`: the time slice.
pub fn sched_rr_get_interval<H: Host>(cx: &Cx<'_, H>, tid: i32, interval: u64) -> SysResult {
    let slice_ns = thread(cx, tid)?.effective_nice().time_slice_ns();
    cx.user().set(interval, &crate::abi::time::TimeSpec::from_ns(slice_ns))?;
    Ok(0)
}
