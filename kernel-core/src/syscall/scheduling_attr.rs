//! `sched_setattr(2)`, `sched_getattr(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{E2BIG, EINVAL, EPERM, Result};
use crate::host::Host;
use crate::sched::nice::Nice;
use crate::sched::policy::{Policy, RESET_ON_FORK};
use crate::syscall::scheduling::{check_policy, number_of, thread};
use crate::syscall::{Cx, SysResult, priority};

/// `struct sched_attr`, as Linux has it since 5.3.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    deadline: [u64; 3],
    utilization: [u32; 2],
}

/// Its size at first.
const FIRST_SIZE: u32 = 48;
const SIZE: u32 = 56;
static_assertions::const_assert_eq!(size_of::<Attr>(), SIZE as usize);

/// `SCHED_FLAG_RESET_ON_FORK`, `SCHED_FLAG_KEEP_POLICY`, `SCHED_FLAG_KEEP_PARAMS`.
const FLAG_RESET: u64 = 1;
const FLAG_KEEP_POLICY: u64 = 8;
const FLAG_KEEP_PARAMS: u64 = 16;

fn read<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Attr> {
    let size: u32 = cx.user().get(addr)?;
    let size = if size == 0 { FIRST_SIZE } else { size };
    let fits = (FIRST_SIZE..=4096).contains(&size);
    let attr = if fits { cx.user().get_versioned::<Attr>(addr, size as usize) } else { Err(E2BIG) };
    if attr.as_ref().err() == Some(&E2BIG) {
        // Of a version that does not fit: the right size is told.
        cx.user().set(addr, &SIZE)?;
    }
    attr
}

/// `sched_setattr(2)`.
pub fn sched_setattr<H: Host>(cx: &Cx<'_, H>, tid: i32, addr: u64, flags: u32) -> SysResult {
    if addr == 0 || tid < 0 || flags != 0 {
        return Err(EINVAL.into());
    }
    let attr = read(cx, addr)?;
    if (attr.policy as i32) < 0 {
        return Err(EINVAL.into());
    }
    let task = thread(cx, tid)?;
    // Deadlines and utilization are not there.
    if attr.flags & !(FLAG_RESET | FLAG_KEEP_POLICY | FLAG_KEEP_PARAMS) != 0 {
        return Err(EINVAL.into());
    }
    let reset = if attr.flags & FLAG_RESET != 0 { RESET_ON_FORK } else { 0 };
    let keeps = attr.flags & FLAG_KEEP_POLICY != 0;
    let number = if keeps { number_of(&task) } else { attr.policy | reset };
    let (policy, reset) = check_policy(cx, &task, number, attr.priority as i32)?;
    let sets_nice = attr.flags & FLAG_KEEP_PARAMS == 0 && policy != Policy::Idle;
    let nice = if sets_nice { Nice::clamped(attr.nice) } else { task.nice() };
    priority::check(cx, &task, nice).map_err(|_| EPERM)?;
    task.set_policy(policy, reset);
    task.set_nice(nice);
    Ok(0)
}

/// `sched_getattr(2)`.
pub fn sched_getattr<H: Host>(cx: &Cx<'_, H>, tid: i32, addr: u64, size: u32, flags: u32) -> SysResult {
    if addr == 0 || tid < 0 || flags != 0 || !(FIRST_SIZE..=4096).contains(&size) {
        return Err(EINVAL.into());
    }
    let task = thread(cx, tid)?;
    let len = size.min(SIZE);
    let attr = Attr {
        size: len,
        policy: task.policy().number(),
        flags: if task.resets_on_fork() { FLAG_RESET } else { 0 },
        nice: task.nice().value().into(),
        utilization: [0, 1024],
        ..Attr::default()
    };
    cx.user().write_bytes(addr, attr.as_bytes().get(..len as usize).unwrap_or_default())?;
    Ok(0)
}
