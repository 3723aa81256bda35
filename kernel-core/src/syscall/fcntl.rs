//! `fcntl(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{EBADF, EINVAL, ENOTDIR, EPERM, ESRCH};
use crate::host::Host;
use crate::ipc::dnotify::{DirNotify, MULTISHOT};
use crate::ipc::pipe::PipeEnd;
use crate::syscall::args::RawFd;
use crate::syscall::signals::checked;
use crate::syscall::{Cx, SysResult, locks};
use crate::vfs::fd::OnExec;
use crate::vfs::file::{AsyncOwner, OpenFile, OpenFlags};
use crate::vfs::inode::FileKind;
use crate::vfs::permission;

const FD_CLOEXEC: u64 = 1;
const F_SETSIG: u32 = 10;
const F_GETSIG: u32 = 11;
const F_SETOWN_EX: u32 = 15;
const F_GETOWN_EX: u32 = 16;
const F_GETLEASE: u32 = 1025;
const F_UNLCK: u64 = 2;

/// `struct f_owner_ex`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct OwnerEx {
    kind: i32,
    pid: i32,
}

/// `fcntl(2)`.
pub fn fcntl<H: Host>(cx: &Cx<'_, H>, fd: RawFd, command: u32, arg: u64) -> SysResult {
    let file = cx.file_or_path(fd)?;
    let value = match command {
        sys::F_DUPFD => return duplicate(cx, fd, arg, OnExec::Keep),
        sys::F_DUPFD_CLOEXEC => return duplicate(cx, fd, arg, OnExec::Close),
        sys::F_GETFD => u64::from(cx.files.on_exec(fd)? == OnExec::Close),
        sys::F_SETFD => {
            let on_exec = if arg & FD_CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep };
            cx.files.set_on_exec(fd, on_exec)?;
            0
        }
        sys::F_GETFL => u64::from(file.flags().bits()),
        // A path only knows no more than these.
        _ if file.flags().contains(OpenFlags::PATH) => return Err(EBADF.into()),
        sys::F_SETFL => return set_flags(cx, &file, arg as u32),
        sys::F_GETLK
        | sys::F_SETLK
        | sys::F_SETLKW
        | sys::F_OFD_GETLK
        | sys::F_OFD_SETLK
        | sys::F_OFD_SETLKW => {
            return locks::record_lock(cx, fd, &file, command, arg);
        }
        sys::F_SETOWN => {
            let id = arg as i32;
            let kind = if id < 0 { AsyncOwner::GROUP } else { AsyncOwner::PROCESS };
            set_owner(cx, &file, kind, id.checked_abs().ok_or(EINVAL)? as u32)?;
            0
        }
        sys::F_GETOWN => {
            let owner = *file.async_owner.lock();
            let id = i64::from(cx.shown_pid(owner.id));
            (if owner.kind == AsyncOwner::GROUP { -id } else { id }) as u64
        }
        F_SETOWN_EX => {
            let owner: OwnerEx = cx.user().get(arg)?;
            let kind =
                u32::try_from(owner.kind).ok().filter(|&kind| kind <= AsyncOwner::GROUP).ok_or(EINVAL)?;
            set_owner(cx, &file, kind, u32::try_from(owner.pid).map_err(|_| ESRCH)?)?;
            0
        }
        F_GETOWN_EX => {
            let owner = *file.async_owner.lock();
            cx.user().set(arg, &OwnerEx { kind: owner.kind as i32, pid: cx.shown_pid(owner.id) as i32 })?;
            0
        }
        F_SETSIG => {
            file.async_owner.lock().signal = checked(arg)?;
            0
        }
        F_GETSIG => u64::from(file.async_owner.lock().signal),
        // Nobody can take a lease here, so nobody has one.
        F_GETLEASE => F_UNLCK,
        sys::F_NOTIFY => return notify(cx, fd, &file, arg as u32),
        // Only pipes know these.
        sys::F_SETPIPE_SZ | sys::F_GETPIPE_SZ if !file.ops.as_any().is::<PipeEnd>() => {
            return Err(EBADF.into());
        }
        _ => file.ops.control(cx.op(&file), command, arg)?,
    };
    Ok(value)
}

fn set_owner<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, kind: u32, id: u32) -> crate::errno::Result<()> {
    let id = if id == 0 { 0 } else { cx.kernel_pid(id).ok_or(ESRCH)? };
    let mut owner = file.async_owner.lock();
    let cred = cx.cred();
    *owner = AsyncOwner { kind, id, named_by: (cred.uid, cred.euid), ..*owner };
    Ok(())
}

/// `F_NOTIFY`: what is asked for comes to what was; nothing at all ends it.
fn notify<H: Host>(cx: &Cx<'_, H>, fd: RawFd, file: &Arc<OpenFile>, asked: u32) -> SysResult {
    let old = core::mem::take(&mut *file.dir_notify.lock());
    if asked & !MULTISHOT == 0 {
        return Ok(0);
    }
    if file.inode.kind() != FileKind::Directory {
        return Err(ENOTDIR.into());
    }
    if file.async_owner.lock().id == 0 {
        set_owner(cx, file, AsyncOwner::PROCESS, cx.task.process.own_pid)?;
    }
    let mask = asked | old.map_or(0, |old| old.mask());
    let notify = &cx.fs.namespace().dentries.notify;
    *file.dir_notify.lock() = Some(DirNotify::new(file, fd, mask, notify, cx.services()));
    Ok(0)
}

fn duplicate<H: Host>(cx: &Cx<'_, H>, fd: RawFd, from: u64, on_exec: OnExec) -> SysResult {
    let file = cx.file_or_path(fd)?;
    let limit = cx.caller().rlimit(sys::RLIMIT_NOFILE);
    let from = u32::try_from(from).ok().filter(|&from| u64::from(from) < limit).ok_or(EINVAL)?;
    Ok(cx.files.reserve(from as usize, limit)?.commit(file, on_exec) as u64)
}

fn set_flags<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, flags: u32) -> SysResult {
    let new = OpenFlags::from_bits_retain(flags);
    if new.contains(OpenFlags::NOATIME) && !file.flags().contains(OpenFlags::NOATIME) {
        permission::check_owner(file.inode.owner(), &cx.cred()).map_err(|_| EPERM)?;
    }
    file.set_status(new);
    Ok(0)
}
