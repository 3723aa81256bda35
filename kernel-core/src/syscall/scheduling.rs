//! Scheduling calls: yielding, CPUs, policies. All tasks are scheduled alike; what would need more is refused.

use alloc::sync::Arc;

use crate::errno::{EINVAL, ENOSYS, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::syscall::{Cx, SysResult};
use crate::task::Task;

/// `SCHED_OTHER`, which every task has.
const OTHER: u32 = 0;
/// `SCHED_FIFO`, `SCHED_RR`.
const REAL_TIME: [u32; 2] = [1, 2];
/// `SCHED_BATCH`, `SCHED_IDLE`.
const ALSO_FAIR: [u32; 2] = [3, 5];

/// The thread that `tid` names, 0 being the caller.
fn thread<H: Host>(cx: &Cx<'_, H>, tid: i32) -> Result<Arc<Task<H>>> {
    match u32::try_from(tid).map_err(|_| EINVAL)? {
        0 => Ok(cx.task.clone()),
        tid => cx.thread_numbered(tid).ok_or(ESRCH),
    }
}

/// `sched_yield(2)`.
pub fn sched_yield<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    if cx.kernel.scheduler.has_runnable() {
        cx.yield_now();
    }
    Ok(0)
}

/// `sched_getaffinity(2)`: all vCPUs.
pub fn sched_getaffinity<H: Host>(cx: &Cx<'_, H>, pid: i32, size: usize, mask: u64) -> SysResult {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(EINVAL.into());
    }
    // Unlike their neighbours, the two calls of affinity say ESRCH of a negative number.
    thread(cx, pid).map_err(|_| ESRCH)?;
    let all = 1u64.checked_shl(cx.kernel.vcpus() as u32).unwrap_or(0).wrapping_sub(1);
    cx.user().set(mask, &all)?;
    Ok(8)
}

/// `sched_setaffinity(2)`: a mask that has all vCPUs; others would not be honoured.
pub fn sched_setaffinity<H: Host>(cx: &Cx<'_, H>, pid: i32, size: usize, mask: u64) -> SysResult {
    let mut word = [0u8; 8];
    let len = size.min(8);
    cx.user().read_bytes(mask, &mut word[..len])?;
    thread(cx, pid).map_err(|_| ESRCH)?;
    let all = 1u64.checked_shl(cx.kernel.vcpus() as u32).unwrap_or(0).wrapping_sub(1);
    if u64::from_le_bytes(word) & all != all {
        return Err(if u64::from_le_bytes(word) & all == 0 { EINVAL } else { ENOSYS }.into());
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
    thread(cx, tid)?;
    Ok(u64::from(OTHER))
}

/// `sched_setscheduler(2)`: what every task has is accepted, real-time policies are not to be had (EPERM).
pub fn sched_setscheduler<H: Host>(cx: &Cx<'_, H>, tid: i32, policy: u32, param: u64) -> SysResult {
    const RESET_ON_FORK: u32 = 0x4000_0000;
    if param == 0 {
        return Err(EINVAL.into());
    }
    thread(cx, tid)?;
    let priority: i32 = cx.user().get(param)?;
    match policy & !RESET_ON_FORK {
        OTHER if priority == 0 => Ok(0),
        policy if ALSO_FAIR.contains(&policy) && priority == 0 => Err(EPERM.into()),
        policy if REAL_TIME.contains(&policy) && (1..=99).contains(&priority) => Err(EPERM.into()),
        _ => Err(EINVAL.into()),
    }
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

/// `sched_setparam(2)`: priority 0 is the only one that `SCHED_OTHER` has.
pub fn sched_setparam<H: Host>(cx: &Cx<'_, H>, tid: i32, param: u64) -> SysResult {
    sched_setscheduler(cx, tid, OTHER, param)
}

/// `sched_get_priority_max(2)`, and with `lowest` instead of `highest`, `sched_get_priority_min(2)`.
pub fn priority_bound(policy: u32, of_real_time: u64) -> SysResult {
    match policy {
        policy if REAL_TIME.contains(&policy) => Ok(of_real_time),
        policy if policy == OTHER || ALSO_FAIR.contains(&policy) || policy == 6 => Ok(0),
        _ => Err(EINVAL.into()),
    }
}

/// `sched_rr_get_interval(2)`: the time slice.
pub fn sched_rr_get_interval<H: Host>(cx: &Cx<'_, H>, tid: i32, interval: u64) -> SysResult {
    let slice_ns = thread(cx, tid)?.nice().time_slice_ns();
    cx.user().set(interval, &crate::abi::time::TimeSpec::from_ns(slice_ns))?;
    Ok(0)
}
