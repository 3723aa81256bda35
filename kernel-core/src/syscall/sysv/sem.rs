//! `semget(2)`, `semop(2)`, `semtimedop(2)`, `semctl(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use zerocopy::IntoBytes;

use super::{INFO, RMID, SET, STAT, meant, namespace, shown};
use crate::abi::sysv::{SemBuf, SemidDs};
use crate::abi::time::TimeSpec;
use crate::errno::{EAGAIN, EINTR, EINVAL, Result};
use crate::host::Host;
use crate::ipc::sysv::ids::Which;
use crate::ipc::sysv::sem::{Begun, Question, UndoList, check_count};
use crate::sched::wait::Events;
use crate::syscall::deadline;
use crate::syscall::{Cx, SysResult, Wait};

const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const STAT_PLACE: i32 = 18;
const SEM_INFO: i32 = 19;
const STAT_ANY: i32 = 20;

/// `semget(2)`.
pub fn semget<H: Host>(cx: &Cx<'_, H>, key: i32, count: i32, flags: u32) -> SysResult {
    let ipc = namespace(cx);
    Ok(ipc.sem.get(&ipc.limits, &cx.cred(), cx.services(), (key, count, flags))? as u64)
}

/// `semtimedop(2)`, and `semop(2)` without a time. Never restarted.
pub fn semtimedop<H: Host>(cx: &Cx<'_, H>, id: i32, ops: u64, count: u64, timeout: u64) -> SysResult {
    let ipc = namespace(cx);
    let timeout = match timeout {
        0 => None,
        addr => Some(cx.user().get::<TimeSpec>(addr)?),
    };
    let count = check_count(&ipc.limits, count)?;
    if id < 0 {
        return Err(EINVAL.into());
    }
    let mut list: Vec<SemBuf> = alloc::vec![SemBuf::default(); count];
    cx.user().read_bytes(ops, list.as_mut_slice().as_mut_bytes())?;
    let deadline_ns = match timeout {
        None => None,
        Some(timeout) => Some(deadline::after(cx, timeout.to_ns()?)),
    };
    let (set, waiter) = match ipc.sem.begin(cx, cx.services(), id, list, || undo_list(cx))? {
        Begun::Done => return Ok(0),
        Begun::Waits(set, waiter) => (set, waiter),
    };
    let waited = cx.wait_until(&[(&waiter.queue, Events::IN)], deadline_ns, || waiter.outcome());
    // What was done for it must not be passed over.
    match (set.finish(&waiter), waited) {
        (Some(outcome), _) | (None, Wait::Ready(outcome)) => outcome.map(|()| 0).map_err(Into::into),
        (None, Wait::TimedOut) => Err(EAGAIN.into()),
        (None, Wait::Interrupted) => Err(EINTR.into()),
    }
}

/// The caller's list of what to undo; it has one from now on.
fn undo_list<H: Host>(cx: &Cx<'_, H>) -> Arc<UndoList> {
    cx.task.sem_undo.lock().get_or_insert_with(|| UndoList::new(cx.services())).clone()
}

/// `semctl(2)`; `arg` is a number or an address.
pub fn semctl<H: Host>(cx: &Cx<'_, H>, id: i32, num: i32, command: i32, arg: u64) -> SysResult {
    if id < 0 {
        return Err(EINVAL.into());
    }
    let ipc = namespace(cx);
    let (sem, cred, services) = (&ipc.sem, cx.cred(), cx.services());
    let ask = |question| -> SysResult { Ok(sem.ask(id, num, &cred, question)?.into()) };
    match command {
        INFO | SEM_INFO => {
            let (info, highest) =
                if command == INFO { sem.limits(&ipc.limits) } else { sem.info(&ipc.limits) };
            cx.user().set(arg, &info)?;
            Ok(highest.into())
        }
        STAT | STAT_PLACE | STAT_ANY => {
            let which = if command == STAT { Which::Id(id) } else { Which::Place(id) };
            let (found, stat) = sem.stat(which, (command != STAT_ANY).then_some(&*cred))?;
            cx.user().set(arg, &SemidDs { perm: shown(cx, stat.perm), ..stat })?;
            Ok(if command == STAT { 0 } else { found as u64 })
        }
        GETVAL => ask(Question::Value),
        GETPID => Ok(cx.shown_pid(sem.ask(id, num, &cred, Question::Pid)?).into()),
        GETNCNT => ask(Question::WaitForMore),
        GETZCNT => ask(Question::WaitForZero),
        GETALL => {
            cx.user().write_bytes(arg, sem.values(id, &cred)?.as_slice().as_bytes())?;
            Ok(0)
        }
        SETALL => {
            set_all(cx, id, arg)?;
            Ok(0)
        }
        SETVAL => {
            sem.set_value(id, num, cx, arg as i32, services)?;
            Ok(0)
        }
        SET => {
            let new: SemidDs = cx.user().get(arg)?;
            sem.set_perm(id, &cred, &meant(cx, new.perm)?, services)?;
            Ok(0)
        }
        RMID => {
            sem.remove(id, &cred)?;
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}

fn set_all<H: Host>(cx: &Cx<'_, H>, id: i32, addr: u64) -> Result<()> {
    let ipc = namespace(cx);
    let mut values = alloc::vec![0u16; ipc.sem.count_to_set(id, &cx.cred())?];
    cx.user().read_bytes(addr, values.as_mut_slice().as_mut_bytes())?;
    ipc.sem.set_values(id, cx, &values, cx.services())
}
