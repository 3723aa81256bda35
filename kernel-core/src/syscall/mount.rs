//! Mounts: `mount(2)`, `umount2(2)`, `pivot_root(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use crate::errno::{EACCES, EFAULT, EINVAL, ENOTBLK, ENOTDIR, EPERM, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::syscall::{Cx, SysResult};
use crate::task::cred::{Caps, Cred};
use crate::vfs::context::FsContext;
use crate::vfs::inode::{Device, FileKind};
use crate::vfs::mount::{BindDepth, FileSystem, MountFlags, Namespace, Origin, Propagation, Unmount};
use crate::vfs::path::Path;
use crate::vfs::types::{Needs, NewFs};
use crate::vfs::walk::LastLink;

const MS_RDONLY: u64 = 1;
const MS_REMOUNT: u64 = 32;
const MS_NOATIME: u64 = 1024;
const MS_NODIRATIME: u64 = 2048;
const MS_BIND: u64 = 4096;
const MS_MOVE: u64 = 8192;
const MS_REC: u64 = 16384;
const MS_SILENT: u64 = 32768;
const MS_UNBINDABLE: u64 = 1 << 17;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;
const MS_RELATIME: u64 = 1 << 21;
const MS_STRICTATIME: u64 = 1 << 24;
const MS_NOUSER: u64 = 1 << 31;
const MS_TYPES: u64 = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
/// Old programs put this in the upper half; it means nothing.
const MS_MGC_VAL: u64 = 0xc0ed_0000;
const MS_MGC_MSK: u64 = 0xffff_0000;

const MNT_FORCE: u32 = 1;
const MNT_DETACH: u32 = 2;
const MNT_EXPIRE: u32 = 4;
const UMOUNT_NOFOLLOW: u32 = 8;
const UMOUNT_KNOWN: u32 = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW;

/// EPERM: the caller may not change the mounts of its namespace.
pub(super) fn privileged<H: Host>(cx: &Cx<'_, H>) -> Result<()> {
    let namespace = cx.fs.namespace();
    if cx.cred().capable_in(&namespace.user_ns, Caps::SYS_ADMIN) { Ok(()) } else { Err(EPERM) }
}

/// A string that may be absent; at most a page.
fn text<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Vec<u8>> {
    if addr == 0 { Ok(Vec::new()) } else { cx.user().read_cstr(addr, PAGE_SIZE as usize) }
}

/// What a new mount forbids; relatime is the default. A remount that does not speak of access times leaves them as they
/// are in `present`.
fn mount_flags(flags: u64, present: Option<MountFlags>) -> MountFlags {
    let mut result = MountFlags::from_bits_truncate(flags as u32);
    if flags & MS_NOATIME == 0 {
        result |= MountFlags::REL_ATIME;
    }
    if flags & MS_STRICTATIME != 0 {
        result -= MountFlags::REL_ATIME | MountFlags::NO_ATIME;
    }
    let about_times = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
    match present {
        Some(present) if flags & about_times == 0 => {
            (result - MountFlags::ATIME) | (present & MountFlags::ATIME)
        }
        _ => result,
    }
}

/// The one kind of propagation that is asked for; EINVAL for none, several, or other flags with it.
fn propagation(flags: u64) -> Result<Propagation> {
    match flags & !(MS_REC | MS_SILENT) {
        MS_SHARED => Ok(Propagation::Shared),
        MS_PRIVATE => Ok(Propagation::Private),
        MS_SLAVE => Ok(Propagation::Slave),
        MS_UNBINDABLE => Ok(Propagation::Unbindable),
        _ => Err(EINVAL),
    }
}

fn depth(flags: u64) -> BindDepth {
    if flags & MS_REC != 0 { BindDepth::Recursive } else { BindDepth::One }
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
    let flags = if flags & MS_MGC_MSK == MS_MGC_VAL { flags & !MS_MGC_MSK } else { flags };
    if flags & MS_NOUSER != 0 {
        return Err(EINVAL.into());
    }
    privileged(cx)?;
    let namespace = cx.fs.namespace();
    let from = || -> Result<Path> {
        if source_name.is_empty() {
            return Err(EINVAL);
        }
        let start = cx.start(sys::AT_FDCWD, &source_name)?;
        cx.fs.walker(cx.caller()).resolve(&start, &source_name, LastLink::Follow)
    };
    if flags & MS_REMOUNT != 0 {
        let wanted = mount_flags(flags, Some(at.mount.own_flags()));
        if flags & MS_BIND == 0 {
            remount(cx, &at, wanted, flags & MS_RDONLY != 0, &options)?;
        } else {
            namespace.set_flags(&at, wanted)?;
        }
    } else if flags & MS_BIND != 0 {
        namespace.bind(&from()?, &at, depth(flags))?;
    } else if flags & MS_TYPES != 0 {
        namespace.set_propagation(&at, propagation(flags)?, depth(flags))?;
    } else if flags & MS_MOVE != 0 {
        namespace.move_mount(&from()?, &at, Origin::Attached)?;
    } else {
        if kind == 0 {
            return Err(if kind_name.is_empty() { EINVAL } else { EFAULT }.into());
        }
        let fs = make(cx, &kind_name, &source_name, &options, mount_flags(flags, None))?;
        let shown = if source_name.is_empty() { b"none".as_slice() } else { &source_name };
        let wanted = mount_flags(flags, None);
        check_not_revealing(namespace, &*fs, wanted, &cx.cred())?;
        namespace.mount(fs, shown, &at, wanted, &cx.cred().user_ns)?;
    }
    Ok(0)
}

/// A file system of a type. ENODEV: there is no such type; EPERM: the caller's
/// user namespace may not mount it.
pub(super) fn make<H: Host>(
    cx: &Cx<'_, H>,
    kind: &[u8],
    source: &[u8],
    options: &[u8],
    flags: MountFlags,
) -> Result<Arc<dyn FileSystem>> {
    let types = &cx.fs.namespace().types;
    let found = types.find(kind)?;
    if !found.may_mount(cx.caller()) {
        return Err(EPERM);
    }
    let look_up = |name: &[u8]| {
        let start = cx.start(sys::AT_FDCWD, name)?;
        cx.fs.walker(cx.caller()).resolve(&start, name, LastLink::Follow)
    };
    let device = match found.needs() {
        Needs::Device if source.is_empty() => return Err(EINVAL),
        Needs::Device => block_device(&look_up(source)?)?,
        Needs::Nothing => types.next_device(),
    };
    found.mount(&NewFs { caller: cx.caller(), look_up: &look_up, options, flags, device })
}

/// The number of the block device at a place.
fn block_device(path: &Path) -> Result<Device> {
    let found = path.inode().metadata();
    match found.kind() {
        FileKind::Block if path.mount.forbids_devices() => Err(EACCES),
        FileKind::Block => Ok(found.rdev),
        _ => Err(ENOTBLK),
    }
}

/// A less privileged user namespace may mount `proc` and `sysfs` only where it sees such a one whole already.
pub(super) fn check_not_revealing(
    namespace: &Namespace,
    fs: &dyn FileSystem,
    flags: MountFlags,
    cred: &Cred,
) -> Result<()> {
    if cred.user_ns.is_initial() || !["proc", "sysfs"].contains(&fs.name()) {
        return Ok(());
    }
    if namespace.sees_whole(fs.name(), flags) { Ok(()) } else { Err(EPERM) }
}

/// `MS_REMOUNT`: changes the file system with all its mounts, and this mount.
fn remount<H: Host>(
    cx: &Cx<'_, H>,
    at: &Path,
    wanted: MountFlags,
    read_only: bool,
    options: &[u8],
) -> Result<()> {
    let namespace = cx.fs.namespace();
    if !at.is_mount_root() || !at.mount.is_in(namespace) {
        return Err(EINVAL);
    }
    let superblock = &at.mount.superblock;
    if !cx.cred().capable_in(&superblock.user_ns, Caps::SYS_ADMIN) {
        return Err(EPERM);
    }
    namespace.check_flags(&at.mount, wanted)?;
    superblock.change(options, read_only)?;
    namespace.set_flags(at, wanted)
}

/// `umount2(2)`.
pub fn umount2<H: Host>(cx: &Cx<'_, H>, target: u64, flags: u32) -> SysResult {
    if flags & !UMOUNT_KNOWN != 0 {
        return Err(EINVAL.into());
    }
    let last = if flags & UMOUNT_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    let at = cx.walk(sys::AT_FDCWD, target, last)?;
    // What is on a directory that is the caller's own, too.
    let at = if at.dentry.has_mounts() { cx.fs.namespace().cross(at) } else { at };
    privileged(cx)?;
    if !at.is_mount_root() {
        return Err(EINVAL.into());
    }
    if flags & MNT_FORCE != 0 && !cx.cred().capable_in(&at.mount.superblock.user_ns, Caps::SYS_ADMIN) {
        return Err(EPERM.into());
    }
    let is_own_root = Arc::ptr_eq(&at.mount, &cx.fs.root().mount);
    if flags & MNT_EXPIRE != 0 && (is_own_root || flags & (MNT_FORCE | MNT_DETACH) != 0) {
        return Err(EINVAL.into());
    }
    let how = match flags & (MNT_DETACH | MNT_EXPIRE) {
        0 => Unmount::Idle,
        MNT_EXPIRE => Unmount::Expire,
        _ => Unmount::Detach,
    };
    if is_own_root && how == Unmount::Idle && at.mount.is_in(cx.fs.namespace()) {
        // One's own root is not taken away but made read-only.
        if !cx.cred().capable_in(&at.mount.superblock.user_ns, Caps::SYS_ADMIN) {
            return Err(EPERM.into());
        }
        at.mount.superblock.change(b"", true)?;
        return Ok(0);
    }
    let (superblock, notify) = (at.mount.superblock.clone(), cx.fs.namespace().dentries.notify.clone());
    cx.fs.namespace().unmount(at, how)?;
    // Nobody uses it any more but us.
    let device = superblock.fs.device();
    if Arc::into_inner(superblock).is_some() && !cx.fs.namespace().table.has_device(device) {
        notify.unmounted(device);
    }
    Ok(0)
}

/// Root and working directories of all tasks.
pub(super) fn all_contexts<H: Host>(cx: &Cx<'_, H>) -> Vec<Arc<FsContext>> {
    let processes: Vec<_> = cx.kernel.tree.lock().nodes().map(|node| node.process.clone()).collect();
    let tasks = processes.iter().flat_map(|process| process.threads());
    tasks.filter_map(|task| task.resources().map(|resources| resources.fs)).collect()
}

/// `pivot_root(2)`: every task whose root or working directory was the old root follows.
pub fn pivot_root<H: Host>(cx: &Cx<'_, H>, new_root: u64, put_old: u64) -> SysResult {
    privileged(cx)?;
    let new = cx.walk(sys::AT_FDCWD, new_root, LastLink::Follow)?;
    if new.dentry.kind() != FileKind::Directory {
        return Err(ENOTDIR.into());
    }
    let old = cx.walk(sys::AT_FDCWD, put_old, LastLink::Follow)?;
    if old.dentry.kind() != FileKind::Directory {
        return Err(ENOTDIR.into());
    }
    let root = cx.fs.root();
    cx.fs.namespace().pivot_root(&root, &new, &old)?;
    for context in all_contexts(cx) {
        context.replace(&root, &new);
    }
    Ok(0)
}
