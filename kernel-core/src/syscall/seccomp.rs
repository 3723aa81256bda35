//! `seccomp(2)`, and what `prctl(2)` has of it.

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{EACCES, EINVAL, EOPNOTSUPP, ESRCH, Result};
use crate::host::Host;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;
use crate::task::process::Process;
use crate::task::seccomp::bpf::{MAX_INSTRUCTIONS, Program, RawInstruction};
use crate::task::seccomp::{ACTIONS, Filter};

const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;

/// `SECCOMP_MODE_*`, as `prctl` names them.
const MODE_STRICT: u64 = 1;
const MODE_FILTER: u64 = 2;

bitflags::bitflags! {
    /// `SECCOMP_FILTER_FLAG_*`. Those for a listener are not here, and refused.
    #[derive(Clone, Copy)]
    struct FilterFlags: u32 {
        /// All threads get the same filters.
        const TSYNC = 1;
        /// Write down what is not allowed.
        const LOG = 2;
        /// No measures against speculation; there are none here.
        const SPEC_ALLOW = 4;
        /// ESRCH, and not the thread, if TSYNC does not work.
        const TSYNC_ESRCH = 16;
    }
}

/// `struct sock_fprog`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawProgram {
    len: u16,
    pad: [u16; 3],
    instructions: u64,
}

/// `seccomp(2)`.
pub fn seccomp<H: Host>(cx: &Cx<'_, H>, operation: u32, flags: u32, args: u64) -> SysResult {
    match operation {
        SET_MODE_STRICT if flags == 0 && args == 0 => {
            cx.be_strict()?;
            Ok(0)
        }
        SET_MODE_FILTER => set_filter(cx, flags, args),
        GET_ACTION_AVAIL if flags == 0 => {
            let action: u32 = cx.user().get(args)?;
            if ACTIONS.contains(&action) { Ok(0) } else { Err(EOPNOTSUPP.into()) }
        }
        _ => Err(EINVAL.into()),
    }
}

/// `prctl(PR_SET_SECCOMP)`.
pub fn set_mode<H: Host>(cx: &Cx<'_, H>, mode: u64, filter: u64) -> SysResult {
    match mode {
        MODE_STRICT => seccomp(cx, SET_MODE_STRICT, 0, 0),
        MODE_FILTER => seccomp(cx, SET_MODE_FILTER, 0, filter),
        _ => Err(EINVAL.into()),
    }
}

fn set_filter<H: Host>(cx: &Cx<'_, H>, flags: u32, args: u64) -> SysResult {
    let flags = FilterFlags::from_bits(flags).ok_or(EINVAL)?;
    let raw = read_program(cx, args)?;
    if !has_no_new_privs(&cx.task.process) && !cx.cred().capable_here(Caps::SYS_ADMIN) {
        return Err(EACCES.into());
    }
    let filter = Filter::new(Program::new(&raw)?, flags.contains(FilterFlags::LOG));
    if !flags.contains(FilterFlags::TSYNC) {
        cx.add_filter(filter)?;
        return Ok(0);
    }
    match cx.add_filter_to_all(filter) {
        Ok(()) => Ok(0),
        Err(Ok(_)) if flags.contains(FilterFlags::TSYNC_ESRCH) => Err(ESRCH.into()),
        Err(Ok(tid)) => Ok(tid.into()),
        Err(Err(errno)) => Err(errno.into()),
    }
}

fn has_no_new_privs<H: Host>(process: &Process<H>) -> bool {
    process.no_new_privs.load(core::sync::atomic::Ordering::Relaxed) != 0
}

fn read_program<H: Host>(cx: &Cx<'_, H>, at: u64) -> Result<Vec<RawInstruction>> {
    let RawProgram { len, instructions, .. } = cx.user().get(at)?;
    let len = usize::from(len);
    if len == 0 || len > MAX_INSTRUCTIONS {
        return Err(EINVAL);
    }
    let mut raw = alloc::vec![RawInstruction::default(); len];
    cx.user().read_bytes(instructions, raw.as_mut_slice().as_mut_bytes())?;
    Ok(raw)
}
