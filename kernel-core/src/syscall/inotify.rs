//! `inotify_init1(2)`, `inotify_add_watch(2)`, `inotify_rm_watch(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, ENOTDIR, Result};
use crate::host::Host;
use crate::ipc::inotify::Inotify;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult, anon};
use crate::vfs::anon::AnonKind;
use crate::vfs::file::OpenFile;
use crate::vfs::inode::FileKind;
use crate::vfs::permission::Access;
use crate::vfs::walk::LastLink;

/// `inotify_init1(2)`.
pub fn init1<H: Host>(cx: &Cx<'_, H>, flags: u32) -> SysResult {
    if flags & !(anon::CLOEXEC | anon::NONBLOCK) != 0 {
        return Err(EINVAL.into());
    }
    let reserved = anon::reserve(cx)?;
    let notify = &cx.fs.namespace().dentries.notify;
    let instance = Inotify::new(notify, &cx.services().inotify, cx.cred().uid)?;
    let status = crate::vfs::file::OpenFlags::from_bits_retain(flags & anon::NONBLOCK);
    let file = anon::open(cx, instance, AnonKind::Other("inotify"), status);
    Ok(anon::result(reserved.commit(file, anon::on_exec(flags))))
}

fn instance(file: &Arc<OpenFile>) -> Result<&Inotify> {
    file.ops.as_any().downcast_ref::<Inotify>().ok_or(EINVAL)
}

/// `inotify_add_watch(2)`.
pub fn add_watch<H: Host>(cx: &Cx<'_, H>, fd: RawFd, path: u64, mask: u32) -> SysResult {
    Inotify::check_mask(mask)?;
    let file = cx.file(fd)?;
    let watcher = instance(&file)?;
    let last = if mask & sys::IN_DONT_FOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    let path = cx.walk(sys::AT_FDCWD, path, last)?;
    if mask & sys::IN_ONLYDIR != 0 && path.dentry.kind() != FileKind::Directory {
        return Err(ENOTDIR.into());
    }
    cx.fs.walker(cx.caller()).check(&path, Access::READ)?;
    Ok(anon::result(watcher.watch(path.inode(), mask)?))
}

/// `inotify_rm_watch(2)`.
pub fn rm_watch<H: Host>(cx: &Cx<'_, H>, fd: RawFd, watch: i32) -> SysResult {
    let file = cx.file(fd)?;
    instance(&file)?.unwatch(watch)?;
    Ok(0)
}
