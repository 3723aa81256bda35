//! `ptrace(2)`: the requests of a tracer. What tracees do is in `task/trace`.

use alloc::sync::Arc;

use linux_raw_sys::ptrace as uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::abi::siginfo::RawSigInfo;
use crate::errno::{EINVAL, EIO, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::sched::wait::{Events, Wake};
use crate::syscall::ptrace_regs as regs;
use crate::syscall::signals::checked;
use crate::syscall::{Cx, SysResult};
use crate::task::Task;
use crate::task::access::Ids;
use crate::task::cred::Caps;
use crate::task::seccomp::ARCH;
use crate::task::siginfo::SigInfo;
use crate::task::signal::{SIGKILL, SIGSTOP, UNBLOCKABLE};
use crate::task::trace::{AT_ENTRY, AT_EXIT, Event, SIGTRAP, SYSGOOD_BIT, Stopped, TraceOptions, trap};
use crate::task::watched::Watch;

/// `PTRACE_SYSEMU` and `PTRACE_SYSEMU_SINGLESTEP`, which are x86's own.
const SYSEMU: u32 = 31;
const SYSEMU_SINGLESTEP: u32 = 32;
/// Likewise.
const ARCH_PRCTL: u32 = 30;
const GETREGS: u32 = 12;
const SETREGS: u32 = 13;
const GETFPREGS: u32 = 14;
const SETFPREGS: u32 = 15;

/// `ptrace(2)`.
pub fn ptrace<H: Host>(cx: &Cx<'_, H>, request: u32, pid: i32, addr: u64, data: u64) -> SysResult {
    match request {
        uapi::PTRACE_TRACEME => return trace_me(cx),
        uapi::PTRACE_ATTACH => return attach(cx, pid, None),
        uapi::PTRACE_SEIZE => return attach(cx, pid, Some((addr, data))),
        _ => {}
    }
    let tracee = tracee_of(cx, pid)?;
    match request {
        uapi::PTRACE_KILL => {
            let _ = tracee.process.send(SigInfo::kernel(SIGKILL));
            return Ok(0);
        }
        uapi::PTRACE_INTERRUPT => return interrupt(&tracee),
        _ => {}
    }
    // Everything else asks for a tracee that has stopped.
    let _: () = with_stopped(&tracee, |_| Ok(()))?;
    match request {
        uapi::PTRACE_PEEKTEXT | uapi::PTRACE_PEEKDATA => {
            let mut word = [0; 8];
            let mm = tracee.resources().ok_or(EIO)?.mm;
            if mm.peek(addr, &mut word) != word.len() {
                return Err(EIO.into());
            }
            cx.user().write_bytes(data, &word)?;
        }
        uapi::PTRACE_POKETEXT | uapi::PTRACE_POKEDATA => {
            let mm = tracee.resources().ok_or(EIO)?.mm;
            if mm.poke(addr, &data.to_le_bytes()) != size_of::<u64>() {
                return Err(EIO.into());
            }
        }
        uapi::PTRACE_PEEKUSR => {
            let word = with_stopped(&tracee, |stopped| regs::peek_user(stopped, addr))?;
            cx.user().set(data, &word)?;
        }
        uapi::PTRACE_POKEUSR => with_stopped(&tracee, |stopped| regs::poke_user(stopped, addr, data))?,
        uapi::PTRACE_CONT | uapi::PTRACE_SYSCALL | uapi::PTRACE_SINGLESTEP | SYSEMU | SYSEMU_SINGLESTEP => {
            resume(&tracee, request, data)?;
        }
        uapi::PTRACE_DETACH => {
            let signal = signal_of(data)?;
            cx.kernel.detach(&tracee, signal);
        }
        uapi::PTRACE_LISTEN => listen(&tracee)?,
        GETREGS => {
            let words = with_stopped(&tracee, |stopped| Ok(regs::general(stopped)))?;
            cx.user().set(data, &words)?;
        }
        SETREGS => {
            let words: regs::General = cx.user().get(data)?;
            with_stopped(&tracee, |stopped| regs::set_general(stopped, 0, &words))?;
        }
        GETFPREGS => regs::get_vector(cx, &tracee, regs::Part::Legacy, data, u64::MAX).map(drop)?,
        SETFPREGS => regs::set_vector(cx, &tracee, regs::Part::Legacy, data, regs::Part::Legacy.size(cx))?,
        uapi::PTRACE_GETREGSET => regs::get_set(cx, &tracee, addr, data)?,
        uapi::PTRACE_SETREGSET => regs::set_set(cx, &tracee, addr, data)?,
        uapi::PTRACE_SETOPTIONS => {
            tracee.trace.lock().options = options_of(data)?;
        }
        uapi::PTRACE_GETEVENTMSG => {
            let message = tracee.trace.lock().message;
            cx.user().set(data, &message)?;
        }
        uapi::PTRACE_GETSIGINFO => {
            let info = with_stopped(&tracee, |stopped| stopped.info.ok_or(EINVAL))?;
            cx.user().set(data, &RawSigInfo::new(&info))?;
        }
        uapi::PTRACE_SETSIGINFO => {
            let raw: RawSigInfo = cx.user().get(data)?;
            with_stopped(&tracee, |stopped| {
                let info = stopped.info.as_mut().ok_or(EINVAL)?;
                *info = raw.to_info(u8::try_from(raw.signal()).map_err(|_| EINVAL)?);
                Ok(())
            })?;
        }
        uapi::PTRACE_PEEKSIGINFO => return peek_siginfo(cx, &tracee, addr, data),
        uapi::PTRACE_GETSIGMASK | uapi::PTRACE_SETSIGMASK => {
            if addr != size_of::<u64>() as u64 {
                return Err(EINVAL.into());
            }
            if request == uapi::PTRACE_SETSIGMASK {
                let mask: u64 = cx.user().get(data)?;
                tracee.signals.lock().saved = None;
                tracee.set_blocked(|_| mask & !UNBLOCKABLE);
            } else {
                let mask = {
                    let signals = tracee.signals.lock();
                    signals.saved.unwrap_or(signals.blocked)
                };
                cx.user().set(data, &mask)?;
            }
        }
        uapi::PTRACE_GET_SYSCALL_INFO => return syscall_info(cx, &tracee, addr, data),
        uapi::PTRACE_GET_RSEQ_CONFIGURATION => return rseq_configuration(cx, &tracee, addr, data),
        ARCH_PRCTL => return arch_prctl(cx, &tracee, data, addr),
        _ => return Err(EIO.into()),
    }
    Ok(0)
}

/// The tracee of the calling thread with that id. ESRCH if it is none.
fn tracee_of<H: Host>(cx: &Cx<'_, H>, pid: i32) -> Result<Arc<Task<H>>> {
    let tid = u32::try_from(pid).ok().and_then(|tid| cx.kernel_pid(tid)).ok_or(ESRCH)?;
    let tree = cx.kernel.tree.lock();
    let tracing = tree.traced.get(&tid).ok_or(ESRCH)?;
    if Arc::ptr_eq(&tracing.tracer, cx.task) { Ok(tracing.tracee.clone()) } else { Err(ESRCH) }
}

/// Works on what a tracee has stopped with. ESRCH if it has not.
pub(super) fn with_stopped<H: Host, R>(
    tracee: &Task<H>,
    work: impl FnOnce(&mut Stopped) -> Result<R>,
) -> Result<R> {
    work(tracee.trace.lock().stopped().ok_or(ESRCH)?)
}

fn signal_of(data: u64) -> Result<u8> {
    checked(data).map_err(|_| EIO)
}

fn options_of(data: u64) -> Result<TraceOptions> {
    u32::try_from(data).ok().and_then(TraceOptions::from_bits).ok_or(EINVAL)
}

fn trace_me<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    {
        let mut tree = cx.kernel.tree.lock();
        if tree.traced.contains_key(&cx.task.tid()) {
            return Err(EPERM.into());
        }
        let Some(node) = tree.node(cx.task.process.pid) else { return Err(EPERM.into()) };
        // The thread that made this process, or else the first one of its process.
        let maker = tree.thread(node.parent_thread);
        let parent = tree.process(node.parent);
        let first = || parent.and_then(|parent| parent.threads().first().cloned());
        let Some(tracer) = maker.or_else(first) else { return Ok(0) };
        let (theirs, own) = (tracer.cred(), cx.cred());
        let has_as_many = theirs.user_ns == own.user_ns && theirs.permitted.contains(own.permitted);
        if !has_as_many && !theirs.capable_in(&own.user_ns, Caps::SYS_PTRACE) {
            return Err(EPERM.into());
        }
        tree.trace(&tracer, cx.task, false, TraceOptions::empty())?;
    }
    cx.mm.keep_code();
    Ok(0)
}

/// `seize` has the address and the options of `PTRACE_SEIZE`.
fn attach<H: Host>(cx: &Cx<'_, H>, pid: i32, seize: Option<(u64, u64)>) -> SysResult {
    let tid = u32::try_from(pid).ok().filter(|tid| *tid > 0).and_then(|tid| cx.kernel_pid(tid));
    let tid = tid.ok_or(ESRCH)?;
    let (task, ended) = {
        let tree = cx.kernel.tree.lock();
        (tree.thread(tid), tree.node(tid).is_some() || tree.traced.contains_key(&tid))
    };
    let Some(task) = task else { return Err(if ended { EPERM } else { ESRCH }.into()) };
    let options = match seize {
        None => TraceOptions::empty(),
        Some((0, options)) => options_of(options).map_err(|_| EIO)?,
        Some(_) => return Err(EIO.into()),
    };
    if Arc::ptr_eq(&task.process, &cx.task.process) {
        return Err(EPERM.into());
    }
    {
        // Under the lock, as a program that is executed changes who may.
        let mut tree = cx.kernel.tree.lock();
        cx.check_access(&task, Ids::Real)?;
        tree.trace(cx.task, &task, seize.is_some(), options)?;
    }
    if let Some(resources) = task.resources() {
        resources.mm.keep_code();
    }
    if seize.is_none() {
        let _ = task.process.send_to_thread(&task, SigInfo::kernel(SIGSTOP));
    }
    // A thread that has stopped with its process stops for the tracer.
    task.wake(Events::empty());
    task.interrupt();
    Ok(0)
}

fn resume<H: Host>(tracee: &Task<H>, request: u32, data: u64) -> Result<()> {
    let signal = signal_of(data)?;
    let watch = match request {
        uapi::PTRACE_SYSCALL => Watch::CALLS,
        uapi::PTRACE_SINGLESTEP => Watch::STEP,
        SYSEMU => Watch::EMULATE,
        SYSEMU_SINGLESTEP => Watch::EMULATE | Watch::STEP,
        _ => Watch::empty(),
    };
    {
        let mut trace = tracee.trace.lock();
        trace.stopped().ok_or(ESRCH)?;
        tracee.set_watch(Watch::CALLS | Watch::EMULATE | Watch::STEP, false);
        tracee.set_watch(watch, true);
        trace.resume(signal);
    }
    tracee.wake(Events::empty());
    Ok(())
}

fn interrupt<H: Host>(tracee: &Arc<Task<H>>) -> SysResult {
    {
        let group = tracee.process.signals.lock();
        let mut trace = tracee.trace.lock();
        if !trace.seized {
            return Err(EIO.into());
        }
        tracee.set_trap(trap::STOP);
        trace.end_listening();
        drop(trace);
        tracee.update_attention(&group);
    }
    tracee.wake(Events::empty());
    tracee.interrupt();
    Ok(0)
}

/// Only in a stop that [`Event::Stop`] tells of.
fn listen<H: Host>(tracee: &Task<H>) -> Result<()> {
    let group = tracee.process.signals.lock();
    let mut trace = tracee.trace.lock();
    let seized = trace.seized;
    let stopped = trace.stopped().ok_or(ESRCH)?;
    if !seized || stopped.code >> 8 != Event::Stop as u32 {
        return Err(EIO);
    }
    stopped.is_listening = true;
    let changed = tracee.has_trap(trap::NOTIFY);
    if changed {
        trace.end_listening();
    }
    drop(trace);
    drop(group);
    if changed {
        tracee.wake(Events::empty());
    }
    Ok(())
}

/// `struct ptrace_peeksiginfo_args`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PeekArgs {
    offset: u64,
    flags: u32,
    count: i32,
}

fn peek_siginfo<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, args: u64, to: u64) -> SysResult {
    const SHARED: u32 = 1;
    let PeekArgs { offset, flags, count } = cx.user().get(args)?;
    let count = u32::try_from(count).map_err(|_| EINVAL)?;
    if flags & !SHARED != 0 {
        return Err(EINVAL.into());
    }
    for done in 0..u64::from(count) {
        let Some(index) = offset.checked_add(done).and_then(|index| usize::try_from(index).ok()) else {
            return Ok(done);
        };
        let info = {
            let group = tracee.process.signals.lock();
            match flags & SHARED != 0 {
                true => group.pending.get(index),
                false => tracee.signals.lock().pending.get(index),
            }
        };
        let Some(info) = info else { return Ok(done) };
        let size = size_of::<RawSigInfo>() as u64;
        match cx.user().set(to.wrapping_add(done * size), &RawSigInfo::new(&info)) {
            Ok(()) => {}
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(count.into())
}

/// `PTRACE_SYSCALL_INFO_*`.
const INFO_ENTRY: u64 = 1;
const INFO_EXIT: u64 = 2;
const INFO_SECCOMP: u64 = 3;

/// `struct ptrace_syscall_info`: kind and architecture, instruction and stack pointer, then what there is of the kind.
fn syscall_info<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, size: u64, to: u64) -> SysResult {
    let message = tracee.trace.lock().message;
    let (info, len) = with_stopped(tracee, |stopped| {
        let regs = &stopped.regs;
        let code = stopped.info.map_or(0, |info| info.code.cast_unsigned());
        let mut words = [0u64; 11];
        words[1..3].copy_from_slice(&[regs.rip, regs.rsp]);
        let call = [stopped.call, regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
        let (kind, len) = if code == u32::from(SIGTRAP) | SYSGOOD_BIT && message == AT_ENTRY {
            words[3..10].copy_from_slice(&call);
            (INFO_ENTRY, 80)
        } else if code == u32::from(SIGTRAP) | SYSGOOD_BIT && message == AT_EXIT {
            let is_error = (-4095..0).contains(&regs.rax.cast_signed());
            words[3..5].copy_from_slice(&[regs.rax, is_error.into()]);
            (INFO_EXIT, 33)
        } else if code == Event::Seccomp.code(SIGTRAP) {
            words[3..10].copy_from_slice(&call);
            words[10] = message;
            (INFO_SECCOMP, 84)
        } else {
            (0, 24)
        };
        words[0] = kind | u64::from(ARCH) << 32;
        Ok((words, len))
    })?;
    let bytes = info.as_bytes();
    let copied = (len as u64).min(size) as usize;
    cx.user().write_bytes(to, bytes.get(..copied).unwrap_or(bytes))?;
    Ok(len as u64)
}

/// `struct ptrace_rseq_configuration`.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct RseqConfiguration {
    addr: u64,
    len: u32,
    signature: u32,
    flags: u32,
    pad: u32,
}

fn rseq_configuration<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, size: u64, to: u64) -> SysResult {
    let len = size_of::<RseqConfiguration>() as u64;
    if size != len {
        return Err(EINVAL.into());
    }
    let (addr, rseq_len, signature) =
        tracee.rseq.lock().map_or((0, 0, 0), |rseq| (rseq.addr, rseq.len, rseq.signature));
    let configuration = RseqConfiguration { addr, len: rseq_len, signature, flags: 0, pad: 0 };
    cx.user().set(to, &configuration)?;
    Ok(len)
}

/// `arch_prctl(2)` of the tracee.
fn arch_prctl<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, code: u64, addr: u64) -> SysResult {
    const FS: usize = 21;
    const GS: usize = 22;
    match code {
        0x1001 => with_stopped(tracee, |stopped| regs::set_word(stopped, GS, addr).map_err(|_| EPERM))?,
        0x1002 => with_stopped(tracee, |stopped| regs::set_word(stopped, FS, addr).map_err(|_| EPERM))?,
        0x1003 | 0x1004 => {
            let base = with_stopped(tracee, |stopped| {
                Ok(if code == 0x1003 { stopped.regs.fs_base } else { stopped.regs.gs_base })
            })?;
            cx.user().set(addr, &base)?;
        }
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}
