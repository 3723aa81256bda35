//! `msgget(2)`, `msgsnd(2)`, `msgrcv(2)`, `msgctl(2)`.

use alloc::sync::Arc;

use super::{INFO, RMID, SET, STAT, meant, namespace, shown};
use crate::abi::sysv::MsqidDs;
use crate::errno::{EAGAIN, EINVAL, Result};
use crate::host::Host;
use crate::ipc::sysv::NO_WAIT;
use crate::ipc::sysv::ids::Which;
use crate::ipc::sysv::msg::{Delivery, Message, Received, Request, Wanted};
use crate::sched::wait::Events;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait};

const STAT_PLACE: i32 = 11;
const MSG_INFO: i32 = 12;
const STAT_ANY: i32 = 13;

/// `msgget(2)`.
pub fn msgget<H: Host>(cx: &Cx<'_, H>, key: i32, flags: u32) -> SysResult {
    let ipc = namespace(cx);
    Ok(ipc.msg.get(&ipc.limits, &cx.cred(), cx.services(), (key, flags))? as u64)
}

/// `msgsnd(2)`.
pub fn msgsnd<H: Host>(cx: &Cx<'_, H>, id: i32, buf: u64, size: u64, flags: u32) -> SysResult {
    let kind: i64 = cx.user().get(buf)?;
    let ipc = namespace(cx);
    if size > ipc.limits.msg_max.get() || id < 0 || kind < 1 {
        return Err(EINVAL.into());
    }
    let mut message = ipc.msg.message(kind, size as usize)?;
    cx.user().read_bytes(buf.wrapping_add(8), &mut message.text)?;
    let (queue, message) = (ipc.msg.queue(id)?, Arc::new(message));
    let send = || match queue.send(&message, cx, cx.services()) {
        Err(errno) if errno == EAGAIN => None,
        other => Some(other),
    };
    if flags & NO_WAIT != 0 {
        return send().unwrap_or(Err(EAGAIN)).map(|()| 0).map_err(SysError::from);
    }
    match cx.wait_until(&[(&queue.senders, Events::OUT)], None, send) {
        Wait::Ready(sent) => sent.map(|()| 0).map_err(SysError::from),
        Wait::TimedOut | Wait::Interrupted => Err(SysError::Restart(Restart::WithoutHandler)),
    }
}

/// `msgrcv(2)`.
pub fn msgrcv<H: Host>(cx: &Cx<'_, H>, id: i32, (buf, size): (u64, u64), kind: i64, flags: u32) -> SysResult {
    if id < 0 || i64::try_from(size).is_err() {
        return Err(EINVAL.into());
    }
    let request = Request { wanted: Wanted::new(kind, flags)?, size, flags };
    let queue = namespace(cx).msg.queue(id)?;
    let message = loop {
        let receiver = match queue.receive(request, flags & NO_WAIT == 0, cx, cx.services())? {
            Received::Message(message) => break message,
            Received::Waits(receiver) => receiver,
        };
        let waited = cx.wait_until(&[(&receiver.queue, Events::IN)], None, || receiver.delivery());
        // A message that was handed over is nobody else's any more.
        match (queue.finish(&receiver), waited) {
            (Some(delivery), _) | (None, Wait::Ready(delivery)) => match delivery {
                Delivery::Message(message) => break message,
                Delivery::Failed(errno) => return Err(errno.into()),
                Delivery::LookAgain => {}
            },
            (None, _) => return Err(SysError::Restart(Restart::WithoutHandler)),
        }
    };
    Ok(give(cx, &message, buf, size)?)
}

/// Copies a message to the guest, cut to `size` bytes of text.
fn give<H: Host>(cx: &Cx<'_, H>, message: &Message, buf: u64, size: u64) -> Result<u64> {
    let len = (message.text.len() as u64).min(size);
    cx.user().set(buf, &message.kind)?;
    cx.user().write_bytes(buf.wrapping_add(8), message.text.get(..len as usize).unwrap_or_default())?;
    Ok(len)
}

/// With ids as the caller sees them.
fn seen<H: Host>(cx: &Cx<'_, H>, ds: MsqidDs) -> MsqidDs {
    let [lspid, lrpid] = [ds.lspid, ds.lrpid].map(|pid| cx.shown_pid(pid));
    MsqidDs { perm: shown(cx, ds.perm), lspid, lrpid, ..ds }
}

/// `msgctl(2)`.
pub fn msgctl<H: Host>(cx: &Cx<'_, H>, id: i32, command: i32, buf: u64) -> SysResult {
    if id < 0 || command < 0 {
        return Err(EINVAL.into());
    }
    let ipc = namespace(cx);
    let (msg, cred) = (&ipc.msg, cx.cred());
    match command {
        INFO | MSG_INFO => {
            let (info, highest) =
                if command == INFO { msg.limits(&ipc.limits) } else { msg.info(&ipc.limits) };
            cx.user().set(buf, &info)?;
            Ok(highest.into())
        }
        STAT | STAT_PLACE | STAT_ANY => {
            let which = if command == STAT { Which::Id(id) } else { Which::Place(id) };
            let (found, stat) = msg.stat(which, (command != STAT_ANY).then_some(&*cred))?;
            cx.user().set(buf, &seen(cx, stat))?;
            Ok(if command == STAT { 0 } else { found as u64 })
        }
        SET => {
            let new: MsqidDs = cx.user().get(buf)?;
            msg.set(&ipc.limits, id, &cred, (&meant(cx, new.perm)?, new.max_bytes), cx.services())?;
            Ok(0)
        }
        RMID => {
            msg.remove(id, &cred)?;
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}
