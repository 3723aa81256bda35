//! `ioprio_set(2)`, `ioprio_get(2)`: kept and shown. As with Linux's I/O scheduler `none`, nothing else comes of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{EINVAL, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::syscall::{Cx, SysResult, priority};
use crate::task::Task;
use crate::task::cred::Caps;

/// `IOPRIO_WHO_PROCESS`.
const PROCESS: i32 = 1;

const CLASS_SHIFT: u16 = 13;
const NONE: u16 = 0;
const REAL_TIME: u16 = 1;
const BEST_EFFORT: u16 = 2;
const IDLE: u16 = 3;
/// Levels of a class.
const LEVELS: u16 = 8;

/// The threads that are meant; `who` 0 is the caller, its group or its user. EINVAL, ESRCH.
fn threads<H: Host>(cx: &Cx<'_, H>, which: i32, who: i32) -> Result<Vec<Arc<Task<H>>>> {
    // The kinds are those of priorities, counted from 1.
    let found = priority::threads(cx, which.wrapping_sub(PROCESS), who)?;
    if found.is_empty() { Err(ESRCH) } else { Ok(found) }
}

/// `ioprio_set(2)`.
pub fn ioprio_set<H: Host>(cx: &Cx<'_, H>, which: i32, who: i32, value: i32) -> SysResult {
    let value = u16::try_from(value).map_err(|_| EINVAL)?;
    let (class, data) = (value >> CLASS_SHIFT, value & ((1 << CLASS_SHIFT) - 1));
    let level = data % LEVELS;
    let cred = cx.cred();
    match class {
        REAL_TIME if !cred.capable(Caps::SYS_ADMIN) && !cred.capable(Caps::SYS_NICE) => {
            return Err(EPERM.into());
        }
        REAL_TIME | BEST_EFFORT | IDLE => {}
        NONE if level == 0 => {}
        _ => return Err(EINVAL.into()),
    }
    for task in threads(cx, which, who)? {
        let other = task.cred();
        if other.uid != cred.euid && other.uid != cred.uid && !cred.capable(Caps::SYS_NICE) {
            return Err(EPERM.into());
        }
        task.set_io_priority(value);
    }
    Ok(0)
}

/// `ioprio_get(2)`: of several threads the best.
pub fn ioprio_get<H: Host>(cx: &Cx<'_, H>, which: i32, who: i32) -> SysResult {
    let found = threads(cx, which, who)?;
    if which == PROCESS {
        return Ok(found.first().map_or(0, |task| task.io_priority()).into());
    }
    // A task without one has what its nice value says.
    let effective = |task: &Arc<Task<H>>| match task.io_priority() {
        value if value >> CLASS_SHIFT == NONE => {
            let level = (i16::from(task.nice().value()) + 20) / 5;
            BEST_EFFORT << CLASS_SHIFT | level.unsigned_abs()
        }
        value => value,
    };
    Ok(found.iter().map(effective).min().unwrap_or(0).into())
}
