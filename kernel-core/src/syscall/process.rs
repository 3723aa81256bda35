//! Processes and threads: making them, executing programs, ending, waiting, ids, groups and sessions.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::abi::rusage;
use crate::abi::siginfo::RawSigInfo;
use crate::errno::{E2BIG, EACCES, EAGAIN, EBADF, EFAULT, EINVAL, ENOENT, EPERM, ESRCH, Result};
use crate::fs::pseudo::Node;
use crate::host::Host;
use crate::ipc::pidfd::PidFd;
use crate::syscall::args::RawFd;
use crate::syscall::paths::PATH_MAX;
use crate::syscall::{Cx, SysResult};
use crate::task::access::Ids;
use crate::task::clone::{CloneArgs, CloneFlags};
use crate::task::exec::ExecRequest;
use crate::task::pid_ns::PidNs;
use crate::task::process::ExitStatus;
use crate::task::session::Session;
use crate::task::thread::{RobustList, Rseq};
use crate::task::tree::{StateChange, release_numbers};
use crate::task::wait::{Target, WaitOptions};
use crate::vfs::file::OpenFlags;
use crate::vfs::walk::LastLink;

/// Longest single argument or environment string (`MAX_ARG_STRLEN`).
const ARG_MAX: usize = 128 << 10;
/// All of them together; the stack limit may allow less.
const ARGS_MAX: usize = 6 << 20;

/// `clone(2)`, with the argument order of x86-64.
pub fn clone<H: Host>(
    cx: &Cx<'_, H>,
    flags: u64,
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
) -> SysResult {
    let exit_signal = (flags & 0xff) as u8;
    let bits = flags & 0xffff_ff00;
    let args = CloneArgs {
        // Without pidfd support in the flags' low byte; DETACHED is ignored here, as Linux does.
        flags: CloneArgs::flags_from(bits)?,
        exit_signal,
        stack,
        parent_tid,
        child_tid,
        tls,
        pidfd: parent_tid,
        cgroup: -1,
        set_tid: &[],
    };
    if args.flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) || exit_signal > 64 {
        return Err(EINVAL.into());
    }
    cx.clone_task(args)
}

/// `struct clone_args`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawCloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(2)`.
pub fn clone3<H: Host>(cx: &Cx<'_, H>, addr: u64, size: usize) -> SysResult {
    if size > 4096 {
        return Err(E2BIG.into());
    }
    if size < 64 {
        return Err(EINVAL.into());
    }
    let raw: RawCloneArgs = cx.user().get_versioned(addr, size)?;
    let mut numbers = [0u32; PidNs::LEVEL_MAX as usize];
    let chosen = usize::try_from(raw.set_tid_size).ok().and_then(|count| numbers.get_mut(..count));
    let Some(chosen) = chosen.filter(|chosen| (raw.set_tid == 0) == chosen.is_empty()) else {
        return Err(EINVAL.into());
    };
    if raw.exit_signal > 64 || raw.flags & 0xff != 0 {
        return Err(EINVAL.into());
    }
    if (raw.stack == 0) != (raw.stack_size == 0) {
        return Err(EINVAL.into());
    }
    let flags = CloneArgs::flags_from(raw.flags)?;
    let cgroup = match RawFd::try_from(raw.cgroup) {
        Ok(fd) if size >= size_of::<RawCloneArgs>() => fd,
        _ if flags.contains(CloneFlags::INTO_CGROUP) => return Err(EINVAL.into()),
        _ => -1,
    };
    cx.user().read_bytes(raw.set_tid, chosen.as_mut_bytes())?;
    if flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT) && raw.exit_signal != 0
        || flags.contains(CloneFlags::DETACHED)
    {
        return Err(EINVAL.into());
    }
    cx.clone_task(CloneArgs {
        flags,
        exit_signal: raw.exit_signal as u8,
        stack: raw.stack.wrapping_add(raw.stack_size),
        parent_tid: raw.parent_tid,
        child_tid: raw.child_tid,
        tls: raw.tls,
        pidfd: raw.pidfd,
        cgroup,
        set_tid: chosen,
    })
}

/// `execve(2)`, `execveat(2)`.
pub fn execveat<H: Host>(
    cx: &Cx<'_, H>,
    dir: RawFd,
    path: u64,
    argv: u64,
    envp: u64,
    flags: u32,
) -> SysResult {
    if flags & !(sys::AT_EMPTY_PATH | sys::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(EINVAL.into());
    }
    let name = cx.user().read_cstr(path, PATH_MAX)?;
    let place = if name.is_empty() {
        if flags & sys::AT_EMPTY_PATH == 0 {
            return Err(ENOENT.into());
        }
        cx.file_or_path(dir)?.path.clone().ok_or(EACCES)?
    } else {
        let start = if name.starts_with(b"/") || dir == sys::AT_FDCWD {
            cx.fs.cwd()
        } else {
            cx.file_or_path(dir)?.path.clone().ok_or(crate::errno::ENOTDIR)?
        };
        let last = if flags & sys::AT_SYMLINK_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
        let place = cx.fs.walker(cx).resolve(&start, &name, last)?;
        if last == LastLink::Keep && place.inode().kind() == crate::vfs::inode::FileKind::Symlink {
            return Err(crate::errno::ELOOP.into());
        }
        place
    };
    let shown = if name.is_empty() || dir != sys::AT_FDCWD && !name.starts_with(b"/") {
        let mut shown = alloc::format!("/dev/fd/{dir}").into_bytes();
        if !name.is_empty() {
            shown.push(b'/');
            shown.extend_from_slice(&name);
        }
        shown
    } else {
        name
    };
    let mut left = ARGS_MAX;
    let mut args = read_strings(cx, argv, &mut left)?;
    let env = read_strings(cx, envp, &mut left)?;
    if args.is_empty() {
        args.push(Vec::new());
    }
    cx.exec(&ExecRequest { path: place, name: shown, args, env })?;
    Ok(0)
}

/// A zero-terminated array of strings, of at most `left` bytes.
fn read_strings<H: Host>(cx: &Cx<'_, H>, array: u64, left: &mut usize) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    if array == 0 {
        return Ok(strings);
    }
    for index in 0u64.. {
        let addr: u64 = cx.user().get(array.checked_add(index * 8).ok_or(EFAULT)?)?;
        if addr == 0 {
            break;
        }
        let string = cx
            .user()
            .read_cstr(addr, ARG_MAX)
            .map_err(|errno| if errno == crate::errno::ENAMETOOLONG { E2BIG } else { errno })?;
        *left = left.checked_sub(string.len() + 9).ok_or(E2BIG)?;
        strings.push(string);
    }
    Ok(strings)
}

/// `exit(2)`: this thread.
pub fn exit<H: Host>(cx: &Cx<'_, H>, code: i32) -> SysResult {
    cx.task.exit(ExitStatus::Exited(code as u8));
    Ok(0)
}

/// `exit_group(2)`: the process.
pub fn exit_group<H: Host>(cx: &Cx<'_, H>, code: i32) -> SysResult {
    cx.task.process.end(ExitStatus::Exited(code as u8));
    Ok(0)
}

fn target<H: Host>(cx: &Cx<'_, H>, pid: i32) -> Result<Target> {
    Ok(match pid {
        -1 => Target::Any,
        0 => Target::Group(cx.task.process.group()),
        i32::MIN => return Err(ESRCH),
        group if group < 0 => Target::Group(cx.kernel_pid(group.unsigned_abs()).unwrap_or(0)),
        pid => Target::Pid(cx.kernel_pid(pid.unsigned_abs()).unwrap_or(0)),
    })
}

/// `wait4(2)`.
pub fn wait4<H: Host>(cx: &Cx<'_, H>, pid: i32, status: u64, options: u32, usage: u64) -> SysResult {
    let known = WaitOptions::NOHANG
        | WaitOptions::STOPPED
        | WaitOptions::CONTINUED
        | WaitOptions::NOTHREAD
        | WaitOptions::ALL
        | WaitOptions::CLONE;
    let options = WaitOptions::from_bits(options).filter(|options| known.contains(*options)).ok_or(EINVAL)?;
    let Some(found) = cx.wait_for_child(target(cx, pid)?, options | WaitOptions::EXITED)? else {
        return Ok(0);
    };
    if status != 0 {
        let word = match found.change {
            StateChange::Exited(status) => status.wait_status(),
            StateChange::Stopped(signal) => i32::from(signal) << 8 | 0x7f,
            StateChange::Continued => 0xffff,
            StateChange::Trapped(code) => code.cast_signed() << 8 | 0x7f,
        };
        cx.user().set(status, &word)?;
    }
    if usage != 0 {
        cx.user().set(usage, &rusage::Rusage::of_times(found.cpu_ns).with_counts(found.process.counts()))?;
    }
    Ok(u64::from(found.shown_pid))
}

/// `waitid(2)`.
pub fn waitid<H: Host>(cx: &Cx<'_, H>, kind: u32, id: i32, info: u64, options: u32, usage: u64) -> SysResult {
    let states = WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED;
    let options = WaitOptions::from_bits(options).ok_or(EINVAL)?;
    if !options.intersects(states) {
        return Err(EINVAL.into());
    }
    // A pidfd that does not block makes a wait that does not.
    let mut nonblocking = false;
    let target = match kind {
        sys::P_ALL => Target::Any,
        sys::P_PID if id > 0 => Target::Pid(cx.kernel_pid(id.unsigned_abs()).unwrap_or(0)),
        sys::P_PGID if id == 0 => Target::Group(cx.task.process.group()),
        sys::P_PGID if id > 0 => Target::Group(cx.kernel_pid(id.unsigned_abs()).unwrap_or(0)),
        sys::P_PIDFD if id >= 0 => {
            let file = cx.file(id)?;
            let pidfd = file.ops.as_any().downcast_ref::<PidFd>().ok_or(EBADF)?;
            nonblocking =
                file.flags().contains(OpenFlags::NONBLOCK) && !options.contains(WaitOptions::NOHANG);
            Target::Pid(pidfd.pid)
        }
        _ => return Err(EINVAL.into()),
    };
    let options = if nonblocking { options | WaitOptions::NOHANG } else { options };
    let found = cx.wait_for_child(target, options)?;
    if found.is_none() && nonblocking {
        return Err(EAGAIN.into());
    }
    if let (Some(found), true) = (&found, usage != 0) {
        cx.user().set(usage, &rusage::Rusage::of_times(found.cpu_ns).with_counts(found.process.counts()))?;
    }
    if info != 0 {
        let raw = found.map_or_else(RawSigInfo::default, |found| RawSigInfo::new(&found.info));
        cx.user().set(info, &raw)?;
    }
    Ok(0)
}

/// The process that `pid` names, 0 being the caller's own.
fn process_or_self<H: Host>(cx: &Cx<'_, H>, pid: i32) -> Result<Arc<crate::task::Process<H>>> {
    match u32::try_from(pid) {
        Ok(0) => Ok(cx.task.process.clone()),
        Ok(pid) => cx.process_of_number(pid).ok_or(ESRCH),
        Err(_) => Err(ESRCH),
    }
}

/// `getppid(2)`.
pub fn getppid<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    let parent = cx.kernel.tree.lock().node(cx.task.process.pid).map_or(0, |node| node.parent);
    Ok(u64::from(cx.shown_pid(parent)))
}

/// `getpgid(2)`.
pub fn getpgid<H: Host>(cx: &Cx<'_, H>, pid: i32) -> SysResult {
    Ok(u64::from(cx.shown_pid(process_or_self(cx, pid)?.group())))
}

/// `getsid(2)`.
pub fn getsid<H: Host>(cx: &Cx<'_, H>, pid: i32) -> SysResult {
    Ok(u64::from(cx.shown_pid(process_or_self(cx, pid)?.session().id)))
}

/// `setpgid(2)`.
pub fn setpgid<H: Host>(cx: &Cx<'_, H>, pid: i32, group: i32) -> SysResult {
    let own = cx.task.process.pid;
    let number = |pid: i32| u32::try_from(pid).map_err(|_| EINVAL);
    let group = number(group)?;
    let pid = if pid == 0 { own } else { cx.kernel_pid(number(pid)?).ok_or(ESRCH)? };
    let group = if group == 0 { pid } else { cx.kernel_pid(group).ok_or(EPERM)? };
    let tree = cx.kernel.tree.lock();
    let node = tree.node(pid).ok_or(ESRCH)?;
    let session = cx.task.process.session();
    if pid != own {
        if node.parent != own {
            return Err(ESRCH.into());
        }
        if node.process.session().id != session.id {
            return Err(EPERM.into());
        }
        if node.has_execed {
            return Err(EACCES.into());
        }
    }
    if node.process.session().id == pid {
        return Err(EPERM.into());
    }
    if group != pid && tree.session_of_group(group) != Some(session.id) {
        return Err(EPERM.into());
    }
    let process = node.process.clone();
    let old = process.group();
    process.set_group(group);
    release_numbers(&tree, &process, &[old]);
    Ok(0)
}

/// `setsid(2)`.
pub fn setsid<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    let process = &cx.task.process;
    let tree = cx.kernel.tree.lock();
    if tree.nodes().any(|node| node.process.group() == process.pid) {
        return Err(EPERM.into());
    }
    let old = [process.group(), process.session().id];
    process.set_group(process.pid);
    process.set_session(Session::new(process.pid));
    release_numbers(&tree, process, &old);
    Ok(u64::from(process.own_pid))
}

/// `vhangup(2)`: hangs up the caller's terminal, if it has one.
pub fn vhangup<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    if !cx.caller().cred().capable(crate::task::cred::Caps::SYS_TTY_CONFIG) {
        return Err(EPERM.into());
    }
    let tty = cx.task.process.session().tty.lock().clone();
    if let Some(tty) = tty {
        tty.hangup();
    }
    Ok(0)
}

/// `set_tid_address(2)`.
pub fn set_tid_address<H: Host>(cx: &Cx<'_, H>, addr: u64) -> SysResult {
    cx.task.clear_child_tid.store(addr, Ordering::Relaxed);
    Ok(u64::from(cx.task.own_tid()))
}

/// `set_robust_list(2)`.
pub fn set_robust_list<H: Host>(cx: &Cx<'_, H>, head: u64, len: u64) -> SysResult {
    if len != 24 {
        return Err(EINVAL.into());
    }
    *cx.task.robust_list.lock() = RobustList { head, len };
    Ok(0)
}

/// `get_robust_list(2)`.
pub fn get_robust_list<H: Host>(cx: &Cx<'_, H>, tid: i32, head: u64, len: u64) -> SysResult {
    let task = match u32::try_from(tid) {
        Ok(0) => cx.task.clone(),
        Ok(tid) => cx.thread_numbered(tid).ok_or(ESRCH)?,
        Err(_) => return Err(ESRCH.into()),
    };
    cx.check_access(&task, Ids::Real)?;
    let list = *task.robust_list.lock();
    cx.user().set(len, &24u64)?;
    cx.user().set(head, &list.head)?;
    Ok(0)
}

/// `rseq(2)`. Critical sections are aborted at signals and preemption, see `task/rseq`.
pub fn rseq<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u32, flags: u32, signature: u32) -> SysResult {
    let mut registered = cx.task.rseq.lock();
    if flags & 1 != 0 {
        let asked = Rseq { addr, len, signature };
        return match *registered {
            Some(now) if flags != 1 || now.addr != asked.addr || now.len != asked.len => Err(EINVAL.into()),
            Some(now) if now.signature != signature => Err(EPERM.into()),
            Some(_) => {
                *registered = None;
                Ok(0)
            }
            None => Err(EINVAL.into()),
        };
    }
    if flags != 0 {
        return Err(EINVAL.into());
    }
    if let Some(now) = *registered {
        let same = now.addr == addr && now.len == len;
        return Err(match (same, now.signature == signature) {
            (false, _) => EINVAL.into(),
            (true, false) => EPERM.into(),
            (true, true) => crate::errno::EBUSY.into(),
        });
    }
    if !addr.is_multiple_of(32) || len < 32 {
        return Err(EINVAL.into());
    }
    *registered = Some(Rseq { addr, len, signature });
    drop(registered);
    cx.update_rseq_cpu()?;
    Ok(0)
}

/// `pidfd_open(2)`.
pub fn pidfd_open<H: Host>(cx: &Cx<'_, H>, pid: i32, flags: u32) -> SysResult {
    let nonblock = crate::vfs::file::OpenFlags::NONBLOCK.bits();
    if flags & !nonblock != 0 || pid <= 0 {
        return Err(EINVAL.into());
    }
    let pid = pid.unsigned_abs();
    let (process, thread) = (cx.process_numbered(pid), cx.thread_numbered(pid));
    let process = match (process, thread) {
        (Some(process), _) => process,
        // A thread that is no group leader has no pidfd of this kind.
        (None, Some(_)) => return Err(EINVAL.into()),
        (None, None) => return Err(ESRCH.into()),
    };
    let file = cx.pidfd_file(&process, OpenFlags::from_bits_retain(flags));
    cx.install_file(file, crate::vfs::fd::OnExec::Close)
}

/// `pidfd_send_signal(2)`; the directory of a process in `/proc` does as well.
pub fn pidfd_send_signal<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    signal: i32,
    info: u64,
    flags: u32,
) -> SysResult {
    if flags != 0 {
        return Err(EINVAL.into());
    }
    let file = cx.file(fd)?;
    let directory = || file.inode.as_any().downcast_ref::<Node>().and_then(Node::pidfd);
    let pidfd = file.ops.as_any().downcast_ref::<PidFd>().or_else(directory).ok_or(EBADF)?;
    // Another process may have the id by now.
    if pidfd.exit.is_reaped() {
        return Err(ESRCH.into());
    }
    crate::syscall::signals::queue_to(cx, Some(pidfd.pid), signal, info)
}

/// `arch_prctl(2)`.
pub fn arch_prctl<H: Host>(cx: &Cx<'_, H>, code: u32, addr: u64) -> SysResult {
    const SET_GS: u32 = 0x1001;
    const SET_FS: u32 = 0x1002;
    const GET_FS: u32 = 0x1003;
    const GET_GS: u32 = 0x1004;
    match code {
        SET_GS | SET_FS => {
            if !crate::arch::x86_64::is_user_base(addr) {
                return Err(EPERM.into());
            }
            let regs = &mut cx.context.borrow_mut().regs;
            if code == SET_FS { regs.fs_base = addr } else { regs.gs_base = addr }
        }
        GET_FS | GET_GS => {
            let regs = cx.context.borrow().regs;
            cx.user().set(addr, if code == GET_FS { &regs.fs_base } else { &regs.gs_base })?;
        }
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}
