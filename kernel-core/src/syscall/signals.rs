//! Signal calls: actions, masks, sending, waiting for, returning from handlers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use crate::abi::siginfo::{RawAction, RawSigInfo, RawStack};
use crate::arch::x86_64::signal_frame;
use crate::errno::{EAGAIN, EINVAL, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::sched::wait::Events;
use crate::syscall::deadline;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait};
use crate::task::cred::{Caps, Cred};
use crate::task::siginfo::SigInfo;
use crate::task::signal::action::SignalAction;
use crate::task::signal::{SIGCONT, SIGSEGV, UNBLOCKABLE, bit};
use crate::task::user_ns::OVERFLOW_ID;
use crate::task::{Process, Task};

/// The number of a signal, or 0: EINVAL.
pub(super) fn checked(signal: impl TryInto<u8>) -> Result<u8> {
    signal.try_into().ok().filter(|signal| *signal <= 64).ok_or(EINVAL)
}

fn check_set_size(size: usize) -> Result<()> {
    if size == 8 { Ok(()) } else { Err(EINVAL) }
}

/// `rt_sigaction(2)`.
pub fn rt_sigaction<H: Host>(cx: &Cx<'_, H>, signal: i32, new: u64, old: u64, size: usize) -> SysResult {
    check_set_size(size)?;
    let action = match new {
        0 => None,
        addr => Some(SignalAction::from(cx.user().get::<RawAction>(addr)?)),
    };
    let signal = checked(signal)?;
    if signal == 0 || action.is_some() && bit(signal) & UNBLOCKABLE != 0 {
        return Err(EINVAL.into());
    }
    let actions = cx.task.process.actions();
    let before = match action {
        Some(action) => {
            let before = actions.set(signal, action);
            // Ignoring a signal forgets those that are pending.
            if actions.ignores(signal) {
                cx.task.process.forget_pending(bit(signal));
            }
            before
        }
        None => actions.get(signal),
    };
    if old != 0 {
        cx.user().set(old, &RawAction::from(before))?;
    }
    Ok(0)
}

/// `rt_sigprocmask(2)`.
pub fn rt_sigprocmask<H: Host>(cx: &Cx<'_, H>, how: u32, set: u64, old: u64, size: usize) -> SysResult {
    check_set_size(size)?;
    let before = if set == 0 {
        cx.task.blocked()
    } else {
        let set: u64 = cx.user().get(set)?;
        match how {
            sys::SIG_BLOCK => cx.task.set_blocked(|blocked| blocked | set),
            sys::SIG_UNBLOCK => cx.task.set_blocked(|blocked| blocked & !set),
            sys::SIG_SETMASK => cx.task.set_blocked(|_| set),
            _ => return Err(EINVAL.into()),
        }
    };
    if old != 0 {
        cx.user().set(old, &before)?;
    }
    Ok(0)
}

/// `rt_sigpending(2)`.
pub fn rt_sigpending<H: Host>(cx: &Cx<'_, H>, set: u64, size: usize) -> SysResult {
    if size > 8 {
        return Err(EINVAL.into());
    }
    let pending = cx.task.pending() & cx.task.blocked();
    cx.user().write_bytes(set, &pending.to_le_bytes()[..size])?;
    Ok(0)
}

/// `rt_sigsuspend(2)`.
pub fn rt_sigsuspend<H: Host>(cx: &Cx<'_, H>, set: u64, size: usize) -> SysResult {
    check_set_size(size)?;
    let mask: u64 = cx.user().get(set)?;
    cx.task.set_mask_for_call(mask);
    pause(cx)
}

/// `pause(2)`.
pub fn pause<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    match cx.wait_until(&[], None, || None::<core::convert::Infallible>) {
        Wait::Ready(never) => match never {},
        Wait::TimedOut | Wait::Interrupted => Err(SysError::Restart(Restart::WithoutHandler)),
    }
}

/// `rt_sigtimedwait(2)`.
pub fn rt_sigtimedwait<H: Host>(cx: &Cx<'_, H>, set: u64, info: u64, timeout: u64, size: usize) -> SysResult {
    check_set_size(size)?;
    let set = cx.user().get::<u64>(set)? & !UNBLOCKABLE;
    let deadline = deadline::relative(cx, timeout)?;
    // The signals stay blocked: they are queued even if they would be ignored, and taken here, not delivered.
    let queue = cx.task.process.signal_queue.clone();
    let waited = cx.wait_until(&[(&queue, Events::IN)], deadline, || cx.task.take_signal(set));
    // One of the set that is not blocked ends the wait as an interruption.
    let taken = match waited {
        Wait::Ready(taken) => Some(taken),
        Wait::TimedOut => return Err(EAGAIN.into()),
        Wait::Interrupted => cx.task.take_signal(set),
    };
    let Some(taken) = taken else { return Err(crate::errno::EINTR.into()) };
    if info != 0 {
        cx.user().set(info, &RawSigInfo::new(&taken))?;
    }
    Ok(u64::from(taken.signal))
}

/// `rt_sigreturn(2)`: the result is whatever `rax` was.
pub fn rt_sigreturn<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    let sp = cx.context.borrow().regs.rsp;
    match signal_frame::pop(cx) {
        Ok(returned) => {
            cx.task.set_blocked(|_| returned.mask);
            if let Ok(stack) = returned.stack.to_stack() {
                cx.task.signals.lock().alt_stack = stack;
            }
        }
        Err(_) => cx.task.force(SigInfo::fault(SIGSEGV, sys::SI_KERNEL as i32, sp)),
    }
    Ok(cx.context.borrow().regs.rax)
}

/// `sigaltstack(2)`.
pub fn sigaltstack<H: Host>(cx: &Cx<'_, H>, new: u64, old: u64) -> SysResult {
    let sp = cx.context.borrow().regs.rsp;
    let now = cx.task.signals.lock().alt_stack;
    if new != 0 {
        let raw: RawStack = cx.user().get(new)?;
        if now.contains(sp) {
            return Err(EPERM.into());
        }
        let stack = raw.to_stack()?;
        cx.task.signals.lock().alt_stack = stack;
    }
    if old != 0 {
        cx.user().set(old, &RawStack::new(&now, sp))?;
    }
    Ok(0)
}

/// Whether `cred` may send `signal` to a process with credentials `to`, of the same session or not.
fn may_signal<H: Host>(cx: &Cx<'_, H>, process: &Process<H>, signal: u8) -> bool {
    let cred = cx.cred();
    let Some(task) = process.threads().first().cloned() else {
        return cred.capable_here(Caps::KILL)
            || cred.euid == process.uid.load(core::sync::atomic::Ordering::Relaxed);
    };
    let to: Arc<Cred> = task.cred();
    cred.capable_in(&to.user_ns, Caps::KILL)
        || [to.uid, to.suid].iter().any(|uid| *uid == cred.euid || *uid == cred.uid)
        || signal == SIGCONT && process.session().id == cx.task.process.session().id
}

/// The signal as this task sends it.
fn sent_by<H: Host>(cx: &Cx<'_, H>, signal: u8, code: i32) -> SigInfo {
    SigInfo::sent(signal, code, cx.task.process.own_pid, cx.cred().shown_uid())
}

/// The signal with the sender's number, and its user id, which is the caller's or one that it told, as the receiver sees it.
fn as_seen_by<H: Host>(cx: &Cx<'_, H>, process: &Process<H>, info: SigInfo) -> SigInfo {
    let own = &cx.cred().user_ns;
    let receiver = process.user_ns();
    let info = match cx.task.process.pid_ns == process.pid_ns {
        // That none of these comes from outside must not be hidden by a number that the caller told.
        true if bit(info.signal) & UNBLOCKABLE != 0 => info.with_pid(cx.task.process.own_pid),
        true => info,
        false => info.with_pid(process.pid_ns.shown(cx.task.process.pid)),
    };
    if *own == receiver {
        return info;
    }
    info.with_uid(|uid| own.uid(uid).map_or(OVERFLOW_ID, |uid| receiver.shown_uid(uid)))
}

fn send<H: Host>(cx: &Cx<'_, H>, process: &Process<H>, info: SigInfo) -> Result<()> {
    if !may_signal(cx, process, info.signal) {
        return Err(EPERM);
    }
    if info.signal == 0 {
        return Ok(());
    }
    // A full queue is an error only for signals that carry a value.
    match process.send(as_seen_by(cx, process, info)) {
        Err(EAGAIN) if info.code >= 0 => Ok(()),
        result => result,
    }
}

/// `kill(2)`.
pub fn kill<H: Host>(cx: &Cx<'_, H>, pid: i32, signal: i32) -> SysResult {
    let signal = checked(signal)?;
    let info = sent_by(cx, signal, sys::SI_USER as i32);
    if pid > 0 {
        let process = cx.process_of_number(pid.unsigned_abs());
        send(cx, &*process.ok_or(ESRCH)?, info)?;
        return Ok(0);
    }
    let own = cx.task.process.pid;
    let targets: Vec<Arc<Process<H>>> = {
        let tree = cx.kernel.tree.lock();
        match pid {
            -1 => tree
                .nodes()
                .map(|node| node.process.clone())
                .filter(|process| cx.shown_pid(process.pid) > 1 && process.pid != own)
                .collect(),
            0 => tree.group(cx.task.process.group()),
            i32::MIN => return Err(ESRCH.into()),
            group => match cx.kernel_pid(group.unsigned_abs()) {
                Some(group) => tree.group(group),
                None => Vec::new(),
            },
        }
    };
    let (mut sent, mut refused) = (false, None);
    for process in &targets {
        match send(cx, process, info) {
            Ok(()) => sent = true,
            Err(errno) => refused = Some(errno),
        }
    }
    match refused {
        _ if sent => Ok(0),
        Some(errno) => Err(errno.into()),
        None => Err(ESRCH.into()),
    }
}

fn thread_of<H: Host>(cx: &Cx<'_, H>, group: Option<u32>, tid: i32) -> Result<Arc<Task<H>>> {
    let tid = u32::try_from(tid).ok().filter(|tid| *tid > 0).ok_or(EINVAL)?;
    let task = cx.thread_numbered(tid).ok_or(ESRCH)?;
    if group.is_some_and(|group| cx.shown_pid(task.process.pid) != group) { Err(ESRCH) } else { Ok(task) }
}

fn send_to_thread<H: Host>(cx: &Cx<'_, H>, task: &Task<H>, info: SigInfo) -> SysResult {
    if !may_signal(cx, &task.process, info.signal) {
        return Err(EPERM.into());
    }
    if info.signal != 0 {
        match task.process.send_to_thread(task, as_seen_by(cx, &task.process, info)) {
            Err(EAGAIN) if info.code >= 0 => {}
            result => result?,
        }
    }
    Ok(0)
}

/// `tgkill(2)`.
pub fn tgkill<H: Host>(cx: &Cx<'_, H>, group: i32, tid: i32, signal: i32) -> SysResult {
    let signal = checked(signal)?;
    let group = u32::try_from(group).ok().filter(|group| *group > 0).ok_or(EINVAL)?;
    let task = thread_of(cx, Some(group), tid)?;
    send_to_thread(cx, &task, sent_by(cx, signal, sys::SI_TKILL))
}

/// `tkill(2)`.
pub fn tkill<H: Host>(cx: &Cx<'_, H>, tid: i32, signal: i32) -> SysResult {
    let signal = checked(signal)?;
    let task = thread_of(cx, None, tid)?;
    send_to_thread(cx, &task, sent_by(cx, signal, sys::SI_TKILL))
}

/// What the guest says of a signal that it queues. EPERM: it poses as the kernel or as `kill`, to another process.
fn queued_info<H: Host>(cx: &Cx<'_, H>, signal: u8, info: u64, to: Option<u32>) -> Result<SigInfo> {
    let raw: RawSigInfo = cx.user().get(info)?;
    if (raw.code() >= 0 || raw.code() == sys::SI_TKILL) && to != Some(cx.task.process.pid) {
        return Err(EPERM);
    }
    Ok(raw.to_info(signal))
}

/// `rt_sigqueueinfo(2)`.
pub fn rt_sigqueueinfo<H: Host>(cx: &Cx<'_, H>, pid: i32, signal: i32, info: u64) -> SysResult {
    let pid = u32::try_from(pid).map_err(|_| ESRCH)?;
    queue_to(cx, cx.kernel_pid(pid), signal, info)
}

/// Queues a signal for the process that the kernel has as `pid`, with information from `info` or, if that is 0, as `kill` would.
pub fn queue_to<H: Host>(cx: &Cx<'_, H>, pid: Option<u32>, signal: i32, info: u64) -> SysResult {
    let signal = checked(signal)?;
    let info = match info {
        0 => sent_by(cx, signal, sys::SI_USER as i32),
        addr => queued_info(cx, signal, addr, pid)?,
    };
    let process = pid.and_then(|pid| cx.kernel.tree.lock().process(pid)).ok_or(ESRCH)?;
    send(cx, &process, info)?;
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`.
pub fn rt_tgsigqueueinfo<H: Host>(cx: &Cx<'_, H>, group: i32, tid: i32, signal: i32, info: u64) -> SysResult {
    let signal = checked(signal)?;
    let group = u32::try_from(group).ok().filter(|group| *group > 0).ok_or(EINVAL)?;
    let info = queued_info(cx, signal, info, cx.kernel_pid(group))?;
    let task = thread_of(cx, Some(group), tid)?;
    send_to_thread(cx, &task, info)
}

/// `restart_syscall(2)`: goes on with an interrupted call.
pub fn restart_syscall<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    match cx.task.take_restart() {
        Some(again) => again(cx),
        None => Err(crate::errno::EINTR.into()),
    }
}
