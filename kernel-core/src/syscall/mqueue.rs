//! POSIX message queues: `mq_open(2)` and its kin; the work is in [`crate::ipc::mqueue`].

use alloc::sync::Arc;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::abi::sigevent::SigEvent;
use crate::errno::{EBADF, EINVAL, EMSGSIZE, ENOTSOCK, ETIMEDOUT, Result};
use crate::host::Host;
use crate::ipc::mqueue::fs::{QueueFile, Wanted};
use crate::ipc::mqueue::queue::{Blocking, Notify, Queue, Sender, Waiter};
use crate::ipc::mqueue::{Capacity, PRIORITIES};
use crate::ipc::unix::socket::UnixSocket;
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::deadline;
use crate::syscall::paths::PATH_MAX;
use crate::syscall::signals::checked;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait, anon};
use crate::vfs::fd::OnExec;
use crate::vfs::file::{OpenFile, OpenFlags};

/// Bytes of what a C library's thread is told (`NOTIFY_COOKIE_LEN`).
const COOKIE: usize = 32;

/// `struct mq_attr`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct MqAttr {
    flags: i64,
    max_messages: i64,
    max_size: i64,
    messages: i64,
    reserved: [i64; 4],
}

/// `mq_open(2)`.
pub fn mq_open<H: Host>(cx: &Cx<'_, H>, name: u64, flags: u32, mode: u32, attr: u64) -> SysResult {
    let attr = match attr {
        0 => None,
        addr => Some(cx.user().get::<MqAttr>(addr)?),
    };
    let name = cx.user().read_cstr(name, PATH_MAX)?;
    let reserved = anon::reserve(cx)?;
    // What is not above 0 becomes what no queue may have.
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let capacity =
        attr.map(|attr| Capacity { messages: count(attr.max_messages), size: count(attr.max_size) });
    let rlimit = cx.caller().rlimit(sys::RLIMIT_MSGQUEUE);
    let wanted = Wanted { mode: mode & !cx.fs.umask(), capacity, rlimit };
    let ipc = cx.task.namespaces().ipc.clone();
    let file = ipc.mqueue.directory.open(&name, OpenFlags::from_bits_retain(flags), cx, &wanted)?;
    Ok(anon::result(reserved.commit(file, OnExec::Close)))
}

/// `mq_unlink(2)`.
pub fn mq_unlink<H: Host>(cx: &Cx<'_, H>, name: u64) -> SysResult {
    let name = cx.user().read_cstr(name, PATH_MAX)?;
    cx.task.namespaces().ipc.mqueue.directory.remove(&name, &cx.cred())?;
    Ok(0)
}

/// The queue of a descriptor; EBADF also if it is none.
fn queue<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> Result<(Arc<OpenFile>, Arc<Queue>)> {
    let file = cx.file(fd)?;
    let queue = QueueFile::queue_of(&file).cloned().ok_or(EBADF)?;
    Ok((file, queue))
}

fn blocking(file: &OpenFile) -> Blocking {
    if file.flags().contains(OpenFlags::NONBLOCK) { Blocking::Fail } else { Blocking::Wait }
}

/// Sleeps until the waiter's message has changed hands.
fn wait<H: Host>(
    cx: &Cx<'_, H>,
    queue: &Queue,
    waiter: &Arc<Waiter>,
    deadline_ns: Option<u64>,
) -> Result<(), SysError> {
    let events = Events::IN | Events::OUT;
    let waited = cx.wait_until(&[(&waiter.queue, events)], deadline_ns, || waiter.is_done().then_some(()));
    match waited {
        _ if queue.finish(waiter) => Ok(()),
        Wait::TimedOut => Err(ETIMEDOUT.into()),
        Wait::Ready(()) | Wait::Interrupted => Err(SysError::Restart(Restart::WithFlag)),
    }
}

/// `mq_timedsend(2)`.
pub fn mq_timedsend<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    (text, size): (u64, usize),
    priority: u32,
    timeout: u64,
) -> SysResult {
    let deadline_ns = deadline::absolute(cx, timeout, true)?;
    if priority >= PRIORITIES {
        return Err(EINVAL.into());
    }
    let (file, queue) = queue(cx, fd)?;
    if !file.flags().writable() {
        return Err(EBADF.into());
    }
    if size as u64 > queue.capacity.size {
        return Err(EMSGSIZE.into());
    }
    let mut message = cx.task.namespaces().ipc.mqueue.message(priority, size)?;
    cx.user().read_bytes(text, &mut message.text)?;
    let sender = Sender { pid: cx.task.process.pid, uid: cx.cred().uid };
    if let Some(waiter) = queue.send(message, sender, blocking(&file))? {
        wait(cx, &queue, &waiter, deadline_ns)?;
    }
    Ok(0)
}

/// `mq_timedreceive(2)`.
pub fn mq_timedreceive<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    (text, size): (u64, usize),
    priority: u64,
    timeout: u64,
) -> SysResult {
    let deadline_ns = deadline::absolute(cx, timeout, true)?;
    let (file, queue) = queue(cx, fd)?;
    if !file.flags().readable() {
        return Err(EBADF.into());
    }
    if (size as u64) < queue.capacity.size {
        return Err(EMSGSIZE.into());
    }
    let message = match queue.receive(blocking(&file))? {
        Ok(message) => message,
        Err(waiter) => {
            wait(cx, &queue, &waiter, deadline_ns)?;
            waiter.take().ok_or(EBADF)?
        }
    };
    if priority != 0 {
        cx.user().set(priority, &message.priority)?;
    }
    cx.user().write_bytes(text, &message.text)?;
    Ok(message.text.len() as u64)
}

/// `mq_notify(2)`. A C library's `SIGEV_THREAD` comes with a netlink socket, of which there are none.
pub fn mq_notify<H: Host>(cx: &Cx<'_, H>, fd: RawFd, event: u64) -> SysResult {
    let notify = match event {
        0 => None,
        addr => Some(notify_of(cx, cx.user().get(addr)?)?),
    };
    let (_, queue) = queue(cx, fd)?;
    let pid = cx.task.process.pid;
    match notify {
        None => queue.unregister(pid),
        Some(notify) => queue.register(pid, notify)?,
    }
    Ok(0)
}

fn notify_of<H: Host>(cx: &Cx<'_, H>, event: SigEvent) -> Result<Notify> {
    match event.notify {
        sys::SIGEV_NONE => Ok(Notify::Nothing),
        sys::SIGEV_SIGNAL => Ok(Notify::Signal { signal: checked(event.signal)?, value: event.value }),
        sys::SIGEV_THREAD => {
            cx.user().read_bytes(event.value, &mut [0; COOKIE])?;
            let file = cx.file(event.signal)?;
            Err(if file.ops.as_any().is::<UnixSocket>() { EINVAL } else { ENOTSOCK })
        }
        _ => Err(EINVAL),
    }
}

/// `mq_getsetattr(2)`: of all attributes only O_NONBLOCK changes.
pub fn mq_getsetattr<H: Host>(cx: &Cx<'_, H>, fd: RawFd, new: u64, old: u64) -> SysResult {
    let nonblock = OpenFlags::NONBLOCK;
    let new = match new {
        0 => None,
        addr => Some(cx.user().get::<MqAttr>(addr)?.flags),
    };
    if new.is_some_and(|flags| flags & !i64::from(nonblock.bits()) != 0) {
        return Err(EINVAL.into());
    }
    let (file, queue) = queue(cx, fd)?;
    let attr = MqAttr {
        flags: i64::from((file.flags() & nonblock).bits()),
        max_messages: queue.capacity.messages as i64,
        max_size: queue.capacity.size as i64,
        messages: queue.count() as i64,
        reserved: [0; 4],
    };
    if let Some(flags) = new {
        let others = file.flags() - nonblock;
        file.set_status(if flags != 0 { others | nonblock } else { others });
    }
    if old != 0 {
        cx.user().set(old, &attr)?;
    }
    Ok(0)
}
