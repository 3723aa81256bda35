//! Descriptors: `close(2)`, `dup(2)`, `close_range(2)`, `ioctl(2)`.

use alloc::string::String;

use linux_raw_sys::general as sys;

use crate::block::file::VolumeFile;
use crate::block::loops::LoopConfig;
use crate::errno::{EBADF, EINVAL, ENOTTY};
use crate::fs::nsfs::NsFile;
use crate::host::Host;
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::paths::check_flags;
use crate::syscall::{Cx, SysResult, namespaces};
use crate::tty::pty::PtyMaster;
use crate::vfs::fd::OnExec;
use crate::vfs::file::{OpenFile, OpenFlags};
use crate::vfs::inode::FileKind;
use crate::vfs::path::path_of;

const CLOSE_RANGE_UNSHARE: u32 = 2;
const CLOSE_RANGE_CLOEXEC: u32 = 4;
const O_CLOEXEC: u32 = OpenFlags::CLOEXEC.bits();
/// `ioctl` commands that every file knows.
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
const FIONBIO: u32 = 0x5421;
const FIOASYNC: u32 = 0x5452;
const FIOQSIZE: u32 = 0x5460;
const LOOP_SET_FD: u32 = 0x4c00;
const LOOP_CONFIGURE: u32 = 0x4c0a;
const FIONREAD: u32 = 0x541b;
const TIOCGPTPEER: u32 = linux_raw_sys::ioctl::TIOCGPTPEER;

fn limit<H: Host>(cx: &Cx<'_, H>) -> u64 {
    cx.caller().rlimit(sys::RLIMIT_NOFILE)
}

/// `close(2)`.
pub fn close<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> SysResult {
    cx.files.close(fd, cx.caller())?;
    Ok(0)
}

/// `close_range(2)`.
pub fn close_range<H: Host>(cx: &Cx<'_, H>, first: u32, last: u32, flags: u32) -> SysResult {
    check_flags(flags, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)?;
    if first > last {
        return Err(EINVAL.into());
    }
    let mut files = cx.files.clone();
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        files = cx.files.copy();
        cx.task.replace_resources(|resources| resources.files = files.clone());
    }
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        files.close_range_on_exec(first..=last);
    } else {
        files.close_range(first..=last, cx.caller());
    }
    Ok(0)
}

/// `dup(2)`.
pub fn dup<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> SysResult {
    let file = cx.file_or_path(fd)?;
    cx.install_file(file, OnExec::Keep)
}

/// `dup2(2)`.
pub fn dup2<H: Host>(cx: &Cx<'_, H>, old: RawFd, new: RawFd) -> SysResult {
    if old == new {
        cx.file_or_path(old)?;
        return Ok(new as u64);
    }
    replace(cx, old, new, OnExec::Keep)
}

/// `dup3(2)`.
pub fn dup3<H: Host>(cx: &Cx<'_, H>, old: RawFd, new: RawFd, flags: u32) -> SysResult {
    if flags & !O_CLOEXEC != 0 || old == new {
        return Err(EINVAL.into());
    }
    replace(cx, old, new, if flags != 0 { OnExec::Close } else { OnExec::Keep })
}

fn replace<H: Host>(cx: &Cx<'_, H>, old: RawFd, new: RawFd, on_exec: OnExec) -> SysResult {
    if new < 0 || new as u64 >= limit(cx) {
        return Err(EBADF.into());
    }
    let file = cx.file_or_path(old)?;
    if let Some(gone) = cx.files.replace(new, file, on_exec, limit(cx))? {
        cx.files.after_close(gone, cx.caller());
    }
    Ok(new as u64)
}

/// `TIOCGPTPEER`: a descriptor of the terminal whose master `file` is, whatever is mounted where. Of `flags`, access
/// mode and status count as in `open(2)`.
fn open_pty_peer<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, flags: u64) -> SysResult {
    let master = file.ops.as_any().downcast_ref::<PtyMaster>().ok_or(ENOTTY)?;
    let flags = OpenFlags::from_bits_retain(flags as u32);
    let fd = cx.files.reserve(0, limit(cx))?;
    let (ops, node) = master.open_peer(flags, cx.caller())?;
    let on_exec = if flags.contains(OpenFlags::CLOEXEC) { OnExec::Close } else { OnExec::Keep };
    Ok(fd.commit(OpenFile::new(ops, node, None, flags), on_exec) as u64)
}

/// Has a loop device show an open file.
fn bind_loop<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, command: u32, arg: u64) -> SysResult {
    let device = file.ops.as_any().downcast_ref::<VolumeFile>().and_then(VolumeFile::looped).ok_or(ENOTTY)?;
    let config = match command {
        LOOP_CONFIGURE => cx.user().get(arg)?,
        _ => LoopConfig::of(arg as u32),
    };
    if !config.is_known() {
        return Err(EINVAL.into());
    }
    let shown = cx.file(config.fd as RawFd)?;
    let name = shown.path.as_ref().map(|path| path_of(path, &cx.fs.root()).shown());
    let name = String::from_utf8_lossy(&name.unwrap_or_default()).into_owned();
    device.bind(shown, name, file.flags().writable(), &config)?;
    Ok(0)
}

/// `ioctl(2)`.
pub fn ioctl<H: Host>(cx: &Cx<'_, H>, fd: RawFd, command: u32, arg: u64) -> SysResult {
    let file = cx.file(fd)?;
    match command {
        FIOCLEX => cx.files.set_on_exec(fd, OnExec::Close)?,
        FIONCLEX => cx.files.set_on_exec(fd, OnExec::Keep)?,
        FIONBIO | FIOASYNC => {
            let on: i32 = cx.user().get(arg)?;
            let flag = if command == FIONBIO { OpenFlags::NONBLOCK } else { OpenFlags::ASYNC };
            let mut flags = file.flags();
            flags.set(flag, on != 0);
            file.set_status(flags);
        }
        FIOQSIZE => match file.inode.kind() {
            FileKind::Regular | FileKind::Directory | FileKind::Symlink => {
                cx.user().set(arg, &(file.inode.metadata().size as i64))?;
            }
            _ => return Err(ENOTTY.into()),
        },
        FIONREAD if file.inode.kind() == FileKind::Regular => {
            // As in Linux, behind the end it is negative, and of a large number there are the lower bits.
            let left = file.inode.metadata().size.wrapping_sub(*file.position.lock());
            cx.user().set(arg, &(left as i32))?;
        }
        TIOCGPTPEER if file.ops.as_any().is::<PtyMaster>() => return open_pty_peer(cx, &file, arg),
        LOOP_SET_FD | LOOP_CONFIGURE if file.ops.as_any().is::<VolumeFile>() => {
            return bind_loop(cx, &file, command, arg);
        }
        _ if file.ops.as_any().is::<NsFile>() => return namespaces::ioctl(cx, &file, command, arg),
        // Some wait: `tcdrain`, `tcsetattr` with output to drain.
        _ => return cx.block_on(&file, Events::all(), |op| op.file.ops.ioctl(op, command, arg)),
    }
    Ok(0)
}
