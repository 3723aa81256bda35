//! Asking about files: `stat(2)`, `statx(2)`, `statfs(2)`, `access(2)`.

use linux_raw_sys::general as sys;
use static_assertions::const_assert_eq;
use zerocopy::{Immutable, IntoBytes};

use crate::errno::{EACCES, EINVAL, EROFS, Result};
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::paths::check_flags;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Cred;
use crate::vfs::inode::{FileKind, Inode, Metadata, Timestamp};
use crate::vfs::mount::MountFlags;
use crate::vfs::path::Path;
use crate::vfs::permission::{self, Access};
use crate::vfs::walk::{LastLink, Walker};

/// `struct stat`.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Stat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    pad: u32,
    rdev: u64,
    size: i64,
    block_size: i64,
    blocks: i64,
    times: [i64; 6],
    unused: [i64; 3],
}
const_assert_eq!(size_of::<Stat>(), size_of::<sys::stat>());

/// `struct statx_timestamp`.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct StatxTime {
    sec: i64,
    nsec: u32,
    pad: i32,
}

impl From<Timestamp> for StatxTime {
    fn from(time: Timestamp) -> StatxTime {
        StatxTime { sec: time.sec, nsec: time.nsec, pad: 0 }
    }
}

/// `struct statx`.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    pad: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: StatxTime,
    btime: StatxTime,
    ctime: StatxTime,
    mtime: StatxTime,
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    mount_id: u64,
    spare: [u64; 13],
}
const_assert_eq!(size_of::<Statx>(), size_of::<sys::statx>());

/// `struct statfs`.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct RawStatFs {
    kind: u64,
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    files: u64,
    files_free: u64,
    id: u64,
    name_len: u64,
    fragment_size: u64,
    flags: u64,
    spare: [u64; 4],
}
const_assert_eq!(size_of::<RawStatFs>(), size_of::<sys::statfs>());

/// `STATX_BASIC_STATS`, `STATX_BTIME`, `STATX_MNT_ID`.
const STATX_KNOWN: u32 = 0x7ff | 0x800 | 0x1000;
const STATX_RESERVED: u32 = 0x8000_0000;
const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
/// `ST_VALID`: the flags mean something.
const ST_VALID: u64 = 0x20;
/// `ST_RELATIME` and `ST_NOSYMFOLLOW`, the two that are not where the flags of `mount(2)` are.
const ST_MOVED: [(MountFlags, u64); 2] =
    [(MountFlags::REL_ATIME, 0x1000), (MountFlags::NO_SYM_FOLLOW, 0x2000)];

impl Stat {
    /// As a task with `cred` sees it.
    fn new(meta: &Metadata, cred: &Cred) -> Stat {
        Stat {
            dev: meta.dev.raw(),
            ino: meta.ino,
            nlink: u64::from(meta.nlink),
            mode: meta.mode,
            uid: cred.user_ns.shown_uid(meta.uid),
            gid: cred.user_ns.shown_gid(meta.gid),
            pad: 0,
            rdev: meta.rdev.raw(),
            size: meta.size as i64,
            block_size: i64::from(meta.block_size),
            blocks: meta.blocks as i64,
            times: [
                meta.atime.sec,
                i64::from(meta.atime.nsec),
                meta.mtime.sec,
                i64::from(meta.mtime.nsec),
                meta.ctime.sec,
                i64::from(meta.ctime.nsec),
            ],
            unused: [0; 3],
        }
    }
}

fn put_stat<H: Host>(cx: &Cx<'_, H>, inode: &dyn Inode, buf: u64) -> SysResult {
    let meta = inode.metadata();
    cx.user().set(buf, &cx.task.with_cred(|cred| Stat::new(&meta, cred)))?;
    Ok(0)
}

/// `stat(2)` and `lstat(2)`.
pub fn stat<H: Host>(cx: &Cx<'_, H>, path: u64, buf: u64, last: LastLink) -> SysResult {
    let path = cx.walk(sys::AT_FDCWD, path, last)?;
    put_stat(cx, &**path.inode(), buf)
}

/// `fstat(2)`.
pub fn fstat<H: Host>(cx: &Cx<'_, H>, fd: RawFd, buf: u64) -> SysResult {
    let file = cx.file_or_path(fd)?;
    put_stat(cx, &*file.inode, buf)
}

/// `newfstatat(2)`.
pub fn newfstatat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, buf: u64, flags: u32) -> SysResult {
    check_flags(flags, sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH | sys::AT_NO_AUTOMOUNT)?;
    put_stat(cx, &**cx.named(dirfd, path, flags)?.inode(), buf)
}

/// `statx(2)`.
pub fn statx<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, flags: u32, mask: u32, buf: u64) -> SysResult {
    let sync = sys::AT_STATX_FORCE_SYNC | sys::AT_STATX_DONT_SYNC;
    check_flags(flags, sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH | sys::AT_NO_AUTOMOUNT | sync)?;
    if mask & STATX_RESERVED != 0 || flags & sync == sync {
        return Err(EINVAL.into());
    }
    let named = cx.named(dirfd, path, flags)?;
    let meta = named.inode().metadata();
    let shown = |cred: &Cred| (cred.user_ns.shown_uid(meta.uid), cred.user_ns.shown_gid(meta.gid));
    let (uid, gid) = cx.task.with_cred(shown);
    let mount_root = named.path().is_some_and(Path::is_mount_root);
    let statx = Statx {
        mask: STATX_KNOWN,
        block_size: meta.block_size,
        attributes: if mount_root { STATX_ATTR_MOUNT_ROOT } else { 0 },
        nlink: meta.nlink,
        uid,
        gid,
        mode: meta.mode as u16,
        pad: 0,
        ino: meta.ino,
        size: meta.size,
        blocks: meta.blocks,
        attributes_mask: STATX_ATTR_MOUNT_ROOT,
        atime: meta.atime.into(),
        btime: meta.btime.into(),
        ctime: meta.ctime.into(),
        mtime: meta.mtime.into(),
        rdev_major: meta.rdev.major,
        rdev_minor: meta.rdev.minor,
        dev_major: meta.dev.major,
        dev_minor: meta.dev.minor,
        mount_id: named.path().map_or(0, |path| u64::from(path.mount.id)),
        spare: [0; 13],
    };
    cx.user().set(buf, &statx)?;
    Ok(0)
}

fn put_statfs<H: Host>(cx: &Cx<'_, H>, inode: &dyn Inode, mount: MountFlags, buf: u64) -> SysResult {
    let stat = inode.statfs();
    let mut flags = ST_VALID | u64::from(mount.bits());
    for (flag, moved) in ST_MOVED.into_iter().filter(|(flag, _)| mount.contains(*flag)) {
        flags = flags & !u64::from(flag.bits()) | moved;
    }
    let raw = RawStatFs {
        kind: stat.magic,
        block_size: stat.block_size,
        blocks: stat.blocks,
        blocks_free: stat.blocks_free,
        blocks_available: stat.blocks_free,
        files: stat.files,
        files_free: stat.files_free,
        id: stat.id,
        name_len: 255,
        fragment_size: stat.block_size,
        flags,
        spare: [0; 4],
    };
    cx.user().set(buf, &raw)?;
    Ok(0)
}

/// `statfs(2)`.
pub fn statfs<H: Host>(cx: &Cx<'_, H>, path: u64, buf: u64) -> SysResult {
    let path = cx.walk(sys::AT_FDCWD, path, LastLink::Follow)?;
    put_statfs(cx, &**path.inode(), path.mount.flags(), buf)
}

/// `fstatfs(2)`.
pub fn fstatfs<H: Host>(cx: &Cx<'_, H>, fd: RawFd, buf: u64) -> SysResult {
    let file = cx.file_or_path(fd)?;
    let flags = file.path.as_ref().map_or(MountFlags::empty(), |path| path.mount.flags());
    put_statfs(cx, &*file.inode, flags, buf)
}

/// `access(2)`, `faccessat(2)` and `faccessat2(2)`.
pub fn faccessat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, mode: u32, flags: u32) -> SysResult {
    let wanted = Access::from_bits(mode).ok_or(EINVAL)?;
    check_flags(flags, sys::AT_EACCESS | sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH)?;
    let cred = cx.cred();
    let cred = if flags & sys::AT_EACCESS != 0 { (*cred).clone() } else { permission::real(&cred) };
    // Searching the directories on the way is checked with the same ids.
    let walker = cx.fs.walker(cx.caller()).with_cred(cred);
    let path = if flags & sys::AT_EMPTY_PATH != 0 {
        cx.named(dirfd, path, flags)?.into_path()
    } else {
        let path = cx.path(path)?;
        let start = cx.start(dirfd, &path)?;
        walker.resolve(&start, &path, crate::syscall::paths::last_link(flags))?
    };
    check_access(&walker, &path, wanted)?;
    Ok(0)
}

fn check_access(walker: &Walker<'_>, path: &Path, wanted: Access) -> Result<()> {
    let (kind, mount) = (path.dentry.kind(), path.mount.flags());
    if wanted.contains(Access::EXEC) && kind == FileKind::Regular && mount.contains(MountFlags::NO_EXEC) {
        return Err(EACCES);
    }
    walker.check(path, wanted)?;
    let stored = matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink);
    if wanted.contains(Access::WRITE) && stored && mount.contains(MountFlags::READ_ONLY) {
        return Err(EROFS);
    }
    Ok(())
}
