//! Mounts: `mount(2)`, `umount2(2)`, `pivot_root(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use crate::errno::{EBUSY, EFAULT, EINVAL, ENOENT, ENOTDIR, EPERM, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;
use crate::vfs::context::FsContext;
use crate::vfs::inode::FileKind;
use crate::vfs::mount::{BindDepth, MountFlags, Unmount};
use crate::vfs::path::Path;
use crate::vfs::walk::LastLink;

const MS_REMOUNT: u64 = 32;
const MS_NOATIME: u64 = 1024;
const MS_BIND: u64 = 4096;
const MS_MOVE: u64 = 8192;
const MS_REC: u64 = 16384;
const MS_UNBINDABLE: u64 = 1 << 17;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;
const MS_STRICTATIME: u64 = 1 << 24;
/// Old programs put this in the upper half; it means nothing.
const MS_MGC_VAL: u64 = 0xc0ed_0000;
const MS_MGC_MSK: u64 = 0xffff_0000;

const UMOUNT_KNOWN: u32 = 1 | 2 | 4 | 8;
const MNT_DETACH: u32 = 2;
const MNT_EXPIRE: u32 = 4;
const UMOUNT_NOFOLLOW: u32 = 8;

fn privileged<H: Host>(cx: &Cx<'_, H>) -> Result<()> {
    if cx.cred().capable(Caps::SYS_ADMIN) { Ok(()) } else { Err(EPERM) }
}

/// A string that may be absent; at most a page.
fn text<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Vec<u8>> {
    if addr == 0 { Ok(Vec::new()) } else { cx.user().read_cstr(addr, PAGE_SIZE as usize) }
}

/// What a new mount forbids; relatime is the default.
fn mount_flags(flags: u64) -> MountFlags {
    let mut result = MountFlags::from_bits_truncate(flags as u32);
    if flags & (MS_NOATIME | MS_STRICTATIME) == 0 {
        result |= MountFlags::REL_ATIME;
    }
    result
}

/// `mount(2)`.
pub fn mount<H: Host>(
    cx: &Cx<'_, H>,
    source: u64,
    target: u64,
    kind: u64,
    flags: u64,
    data: u64,
) -> SysResult {
    let kind_name = text(cx, kind)?;
    let source_name = text(cx, source)?;
    let options = text(cx, data)?;
    let at = cx.walk(sys::AT_FDCWD, target, LastLink::Follow)?;
    privileged(cx)?;
    let flags = if flags & MS_MGC_MSK == MS_MGC_VAL { flags & !MS_MGC_MSK } else { flags };
    let namespace = cx.fs.namespace();
    let from = |name: &[u8]| -> Result<Path> {
        if name.is_empty() {
            return Err(if source == 0 { EINVAL } else { ENOENT });
        }
        let start = cx.start(sys::AT_FDCWD, name)?;
        cx.fs.walker(cx.caller()).resolve(&start, name, LastLink::Follow)
    };
    if flags & MS_REMOUNT != 0 {
        if !is_mount_root(&at) {
            return Err(EINVAL.into());
        }
        if flags & MS_BIND == 0 {
            at.mount.fs.remount(&options)?;
        }
        at.mount.set_flags(mount_flags(flags));
    } else if flags & MS_BIND != 0 {
        let depth = if flags & MS_REC != 0 { BindDepth::Recursive } else { BindDepth::One };
        namespace.bind(&from(&source_name)?, &at, depth)?;
    } else if flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE) != 0 {
        // Every mount is private, so only sharing would be a change.
        if !is_mount_root(&at) || flags & MS_SHARED != 0 {
            return Err(EINVAL.into());
        }
    } else if flags & MS_MOVE != 0 {
        namespace.move_mount(&from(&source_name)?, &at)?;
    } else {
        if kind == 0 {
            return Err(if kind_name.is_empty() { EINVAL } else { EFAULT }.into());
        }
        let fs = namespace.types.make(&kind_name, &from, &source_name, &options)?;
        let shown = if source_name.is_empty() { b"none".as_slice() } else { &source_name };
        namespace.mount(fs, shown, &at, mount_flags(flags))?;
    }
    Ok(0)
}

fn is_mount_root(path: &Path) -> bool {
    Arc::ptr_eq(&path.mount.root, &path.dentry)
}

/// `umount2(2)`.
pub fn umount2<H: Host>(cx: &Cx<'_, H>, target: u64, flags: u32) -> SysResult {
    if flags & !UMOUNT_KNOWN != 0 || flags & MNT_EXPIRE != 0 {
        return Err(EINVAL.into());
    }
    let last = if flags & UMOUNT_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    let at = cx.walk(sys::AT_FDCWD, target, last)?;
    if !is_mount_root(&at) {
        return Err(EINVAL.into());
    }
    privileged(cx)?;
    let how = if flags & MNT_DETACH != 0 { Unmount::Detach } else { Unmount::Idle };
    cx.fs.namespace().unmount(at, how)?;
    Ok(0)
}

/// Root and working directories of all tasks.
fn all_contexts<H: Host>(cx: &Cx<'_, H>) -> Vec<Arc<FsContext>> {
    let processes: Vec<_> = cx.kernel.tree.lock().nodes().map(|node| node.process.clone()).collect();
    let tasks = processes.iter().flat_map(|process| process.threads());
    tasks.filter_map(|task| task.resources().map(|resources| resources.fs)).collect()
}

/// `pivot_root(2)`: every task whose root or working directory was the old root follows.
pub fn pivot_root<H: Host>(cx: &Cx<'_, H>, new_root: u64, put_old: u64) -> SysResult {
    privileged(cx)?;
    let new = cx.walk(sys::AT_FDCWD, new_root, LastLink::Follow)?;
    let old = cx.walk(sys::AT_FDCWD, put_old, LastLink::Follow)?;
    if new.dentry.kind() != FileKind::Directory || old.dentry.kind() != FileKind::Directory {
        return Err(ENOTDIR.into());
    }
    let root = cx.fs.root();
    if Arc::ptr_eq(&new.mount, &root.mount) || Arc::ptr_eq(&old.mount, &root.mount) && !old.is(&new) {
        return Err(EBUSY.into());
    }
    if !is_mount_root(&new) || !is_mount_root(&root) || !Arc::ptr_eq(&old.mount, &new.mount) {
        return Err(EINVAL.into());
    }
    cx.fs.namespace().pivot_root(&new, &old)?;
    for context in all_contexts(cx) {
        context.replace(&root, &new);
    }
    Ok(0)
}
