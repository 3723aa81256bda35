//! `prctl(2)` and `personality(2)`.

use core::sync::atomic::Ordering;

use linux_raw_sys::prctl;

use crate::errno::{EINVAL, EPERM, Result};
use crate::host::Host;
use crate::syscall::signals::checked;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::{ALL_CAPS, Caps, Cred, SecureBits};
use crate::task::user_dispatch::UserDispatch;

/// Yama's option, of which linux-raw-sys knows nothing as a number of the right type.
const PR_SET_PTRACER: u32 = 0x5961_6d61;
/// Anybody may trace.
const PTRACER_ANY: u64 = u64::MAX;

/// What a thread's timers may be late by at first, in nanoseconds.
pub const TIMER_SLACK_NS: u64 = 50_000;

/// `PR_TSC_ENABLE`.
const TSC_ENABLE: u64 = 1;

/// `PR_MCE_KILL_CLEAR`, `PR_MCE_KILL_SET`, and the highest policy, which is the default one.
const MCE_CLEAR: u64 = 0;
const MCE_SET: u64 = 1;
const MCE_DEFAULT: u64 = 2;

/// `PR_SYS_DISPATCH_OFF`, `PR_SYS_DISPATCH_ON`.
const DISPATCH_OFF: u64 = 0;
const DISPATCH_ON: u64 = 1;

fn flag(value: u64) -> Result<u8> {
    u8::try_from(value).ok().filter(|value| *value <= 1).ok_or(EINVAL)
}

/// `prctl(2)`. Options that x86-64 or this configuration does not have are EINVAL, as on Linux.
pub fn prctl<H: Host>(cx: &Cx<'_, H>, option: u32, args: [u64; 4]) -> SysResult {
    let process = &cx.task.process;
    let [first, second, third, fourth] = args;
    let rest_is_zero = second == 0 && third == 0 && fourth == 0;
    let need = |holds: bool| if holds { Ok(()) } else { Err(EINVAL) };
    match option {
        prctl::PR_SET_PDEATHSIG => {
            let signal = checked(first)?;
            process.parent_death_signal.store(signal, Ordering::Relaxed);
        }
        prctl::PR_GET_PDEATHSIG => {
            cx.user().set(first, &i32::from(process.parent_death_signal.load(Ordering::Relaxed)))?;
        }
        prctl::PR_GET_DUMPABLE => return Ok(process.dumpable.load(Ordering::Relaxed).into()),
        prctl::PR_SET_DUMPABLE => process.dumpable.store(flag(first)?, Ordering::Relaxed),
        prctl::PR_SET_NAME => {
            let mut name = [0u8; 16];
            let read = read_name(cx, first, &mut name)?;
            cx.task.set_comm(&name[..read]);
        }
        prctl::PR_GET_NAME => cx.user().write_bytes(first, &cx.task.comm())?,
        prctl::PR_SET_CHILD_SUBREAPER => {
            process.child_subreaper.store(u8::from(first != 0), Ordering::Relaxed)
        }
        prctl::PR_GET_CHILD_SUBREAPER => {
            cx.user().set(first, &i32::from(process.child_subreaper.load(Ordering::Relaxed)))?;
        }
        prctl::PR_SET_NO_NEW_PRIVS => {
            need(first == 1 && rest_is_zero)?;
            process.no_new_privs.store(1, Ordering::Relaxed);
        }
        prctl::PR_GET_NO_NEW_PRIVS => {
            need(first == 0 && rest_is_zero)?;
            return Ok(process.no_new_privs.load(Ordering::Relaxed).into());
        }
        prctl::PR_GET_SECCOMP => return Ok(cx.task.seccomp.lock().mode().into()),
        prctl::PR_SET_SECCOMP => return super::seccomp::set_mode(cx, first, second),
        prctl::PR_GET_KEEPCAPS => return Ok(cx.cred().secure_bits.contains(SecureBits::KEEP_CAPS).into()),
        prctl::PR_SET_KEEPCAPS => {
            let keep = flag(first)? == 1;
            let mut cred = Cred::clone(&cx.cred());
            if cred.secure_bits.contains(SecureBits::KEEP_CAPS_LOCKED) {
                return Err(EPERM.into());
            }
            cred.secure_bits.set(SecureBits::KEEP_CAPS, keep);
            cx.task.set_cred(cred);
        }
        prctl::PR_GET_SECUREBITS => return Ok(cx.cred().secure_bits.bits().into()),
        prctl::PR_SET_SECUREBITS => set_secure_bits(cx, first)?,
        prctl::PR_CAPBSET_READ => {
            return Ok(cx.cred().bounding.contains(capability(first)?).into());
        }
        prctl::PR_CAPBSET_DROP => {
            let mut cred = Cred::clone(&cx.cred());
            if !cred.capable_here(Caps::SETPCAP) {
                return Err(EPERM.into());
            }
            cred.bounding -= capability(first)?;
            cx.task.set_cred(cred);
        }
        prctl::PR_CAP_AMBIENT => return ambient(cx, args),
        prctl::PR_GET_TIMERSLACK => return Ok(cx.task.timer_slack_ns.load(Ordering::Relaxed)),
        prctl::PR_SET_TIMERSLACK => {
            let slack = if (first as i64) <= 0 { TIMER_SLACK_NS } else { first };
            cx.task.timer_slack_ns.store(slack, Ordering::Relaxed);
        }
        prctl::PR_GET_TID_ADDRESS => {
            cx.user().set(first, &cx.task.clear_child_tid.load(Ordering::Relaxed))?;
        }
        // There are no huge pages that could be had instead.
        prctl::PR_SET_THP_DISABLE => {
            need(rest_is_zero)?;
            process.no_huge_pages.store(u8::from(first != 0), Ordering::Relaxed);
        }
        prctl::PR_GET_THP_DISABLE => {
            need(first == 0 && rest_is_zero)?;
            return Ok(process.no_huge_pages.load(Ordering::Relaxed).into());
        }
        prctl::PR_MCE_KILL => {
            let policy = match first {
                MCE_CLEAR if second == 0 => MCE_DEFAULT,
                MCE_SET if second <= MCE_DEFAULT => second,
                _ => return Err(EINVAL.into()),
            };
            need(third == 0 && fourth == 0)?;
            process.memory_error_policy.store(policy as u8, Ordering::Relaxed);
        }
        prctl::PR_MCE_KILL_GET => {
            need(first == 0 && rest_is_zero)?;
            return Ok(process.memory_error_policy.load(Ordering::Relaxed).into());
        }
        prctl::PR_GET_TSC => cx.user().set(first, &(TSC_ENABLE as i32))?,
        // To take the counter away is not possible for a guest of the same processor.
        prctl::PR_SET_TSC => need(first == TSC_ENABLE)?,
        prctl::PR_SET_MM => {
            let privileged = cx.cred().capable(Caps::SYS_RESOURCE);
            return Err(if privileged { EINVAL } else { EPERM }.into());
        }
        prctl::PR_SET_SYSCALL_USER_DISPATCH => match first {
            DISPATCH_OFF => {
                need(rest_is_zero)?;
                cx.task.set_user_dispatch(None);
            }
            DISPATCH_ON => {
                cx.dispatch_calls(UserDispatch { offset: second, len: third, selector: fourth })?;
            }
            _ => return Err(EINVAL.into()),
        },
        PR_SET_PTRACER => {
            let tracer = match first {
                0 | PTRACER_ANY => first,
                pid => {
                    let task = u32::try_from(pid).ok().and_then(|pid| cx.thread_numbered(pid));
                    task.ok_or(EINVAL)?.process.pid.into()
                }
            };
            process.ptracer.store(tracer, Ordering::Relaxed);
        }
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}

/// A capability by its number: EINVAL.
fn capability(number: u64) -> Result<Caps> {
    let bit = u32::try_from(number).ok().and_then(|number| 1u64.checked_shl(number)).ok_or(EINVAL)?;
    if ALL_CAPS.bits() & bit != 0 { Ok(Caps::from_bits_retain(bit)) } else { Err(EINVAL) }
}

/// `PR_SET_SECUREBITS`: EPERM for what is locked, or not known.
fn set_secure_bits<H: Host>(cx: &Cx<'_, H>, bits: u64) -> Result<()> {
    let mut cred = Cred::clone(&cx.cred());
    let new = u32::try_from(bits).ok().and_then(SecureBits::from_bits).ok_or(EPERM)?;
    let locks = cred.secure_bits & SecureBits::LOCKS;
    let changed = cred.secure_bits ^ new;
    let breaks_lock = locks.bits() >> 1 & changed.bits() != 0 || !new.contains(locks);
    if breaks_lock || !cred.capable_here(Caps::SETPCAP) {
        return Err(EPERM);
    }
    cred.secure_bits = new;
    cx.task.set_cred(cred);
    Ok(())
}

/// `PR_CAP_AMBIENT`.
fn ambient<H: Host>(cx: &Cx<'_, H>, [operation, number, third, fourth]: [u64; 4]) -> SysResult {
    let mut cred = Cred::clone(&cx.cred());
    let operation = u32::try_from(operation).map_err(|_| EINVAL)?;
    if third != 0 || fourth != 0 {
        return Err(EINVAL.into());
    }
    if operation == prctl::PR_CAP_AMBIENT_CLEAR_ALL {
        if number != 0 {
            return Err(EINVAL.into());
        }
        cred.ambient = Caps::empty();
        cx.task.set_cred(cred);
        return Ok(0);
    }
    let cap = capability(number)?;
    match operation {
        prctl::PR_CAP_AMBIENT_IS_SET => return Ok(cred.ambient.contains(cap).into()),
        prctl::PR_CAP_AMBIENT_RAISE => {
            let forbidden = cred.secure_bits.contains(SecureBits::NO_CAP_AMBIENT_RAISE);
            if forbidden || !(cred.permitted & cred.inheritable).contains(cap) {
                return Err(EPERM.into());
            }
            cred.ambient |= cap;
        }
        prctl::PR_CAP_AMBIENT_LOWER => cred.ambient -= cap,
        _ => return Err(EINVAL.into()),
    }
    cx.task.set_cred(cred);
    Ok(0)
}

/// Up to 15 bytes of a string.
fn read_name<H: Host>(cx: &Cx<'_, H>, addr: u64, name: &mut [u8; 16]) -> Result<usize> {
    for (index, byte) in name.iter_mut().take(15).enumerate() {
        *byte = cx.user().get(addr.wrapping_add(index as u64))?;
        if *byte == 0 {
            return Ok(index);
        }
    }
    Ok(15)
}

/// `ADDR_NO_RANDOMIZE`.
pub const NO_RANDOMIZE: u32 = 0x0004_0000;

/// `personality(2)`: `PER_LINUX`, with or without random addresses of the next program.
pub fn personality<H: Host>(cx: &Cx<'_, H>, persona: u32) -> SysResult {
    const QUERY: u32 = u32::MAX;
    let before = cx.task.personality.load(Ordering::Relaxed);
    match persona {
        QUERY => {}
        persona if persona & !NO_RANDOMIZE == 0 => cx.task.personality.store(persona, Ordering::Relaxed),
        _ => return Err(EINVAL.into()),
    }
    Ok(before.into())
}
