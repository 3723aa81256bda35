//! `futex_waitv(2)`: waiting for one of several words.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{EINVAL, ETIMEDOUT};
use crate::host::Host;
use crate::ipc::futex::{ANY, Waiter};
use crate::mm::user::FutexScope;
use crate::sched::wait::{Events, WaitQueue};
use crate::syscall::deadline;
use crate::syscall::futex::key;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait};

/// `FUTEX_WAITV_MAX`.
const MOST: u32 = 128;
/// `FUTEX2_SIZE_U32`, and the bit that says private.
const SIZE_U32: u32 = 2;
const PRIVATE: u32 = 128;

/// `struct futex_waitv`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct WaitV {
    value: u64,
    addr: u64,
    flags: u32,
    reserved: u32,
}

/// `futex_waitv(2)`: the index of one that was woken.
pub fn futex_waitv<H: Host>(
    cx: &Cx<'_, H>,
    (list, count): (u64, u32),
    flags: u32,
    timeout: u64,
    clock: u32,
) -> SysResult {
    if flags != 0 || count == 0 || count > MOST || list == 0 {
        return Err(EINVAL.into());
    }
    let realtime = match clock {
        sys::CLOCK_REALTIME => true,
        sys::CLOCK_MONOTONIC => false,
        // Without a time nobody asks for the clock.
        _ if timeout == 0 => false,
        _ => return Err(EINVAL.into()),
    };
    let deadline_ns = deadline::absolute(cx, timeout, realtime)?;
    let mut words: Vec<WaitV> = alloc::vec![WaitV::default(); count as usize];
    cx.user().read_bytes(list, words.as_mut_slice().as_mut_bytes())?;
    if words.iter().any(|word| word.flags & !PRIVATE != SIZE_U32 || word.reserved != 0) {
        return Err(EINVAL.into());
    }
    let table = &cx.kernel.ipc.futexes;
    let mut waiters: Vec<Arc<Waiter>> = Vec::with_capacity(words.len());
    let leave = |waiters: &[Arc<Waiter>]| {
        let woken: Vec<bool> = waiters.iter().map(|waiter| table.finish(waiter)).collect();
        woken.iter().position(|woken| *woken).map(|index| index as u64)
    };
    for word in &words {
        let scope = if word.flags & PRIVATE != 0 { FutexScope::Private } else { FutexScope::Shared };
        let waiter = key(cx, word.addr, scope)
            .and_then(|key| table.wait(key, ANY, || Ok(cx.user().load_u32(word.addr)? == word.value as u32)));
        match waiter {
            Ok(waiter) => waiters.push(waiter),
            // Whoever was woken already must not pass that over.
            Err(errno) => return leave(&waiters).ok_or_else(|| errno.into()),
        }
    }
    let queues: Vec<(&WaitQueue, Events)> =
        waiters.iter().map(|waiter| (&waiter.queue, Events::IN)).collect();
    let is_woken = || waiters.iter().any(|waiter| waiter.is_woken()).then_some(());
    let waited = cx.wait_until(&queues, deadline_ns, is_woken);
    match (leave(&waiters), waited) {
        (Some(index), _) => Ok(index),
        (None, Wait::TimedOut) => Err(ETIMEDOUT.into()),
        (None, _) => Err(SysError::Restart(Restart::WithFlag)),
    }
}
