//! Changing attributes: `chmod(2)`, `chown(2)`, `utimensat(2)`, `truncate(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, IntoBytes};

use crate::errno::{EACCES, EINVAL, EISDIR, EOPNOTSUPP, EPERM, EROFS, Result};
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::paths::{Named, check_flags, last_link};
use crate::syscall::{Cx, SysResult};
use crate::task::cred::{Caps, Cred};
use crate::vfs::acl;
use crate::vfs::claim::{Claim, Purpose};
use crate::vfs::inode::{FileKind, Inode, MODE_BITS, S_ISGID, SetAttr, SetTime, Timestamp};
use crate::vfs::mount::MountFlags;
use crate::vfs::notify::Happening;
use crate::vfs::permission::{self, Access};

/// Not to be changed, for `chown`.
const KEEP: u32 = u32::MAX;
const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

/// `struct timespec`.
#[derive(Clone, Copy, FromBytes, IntoBytes)]
#[repr(C)]
struct TimeSpec {
    sec: i64,
    nsec: i64,
}

/// `struct timeval` and `struct utimbuf`: two numbers as well.
type Pair = [i64; 2];

fn check_mount(named: &Named) -> Result<()> {
    let read_only = named.path().is_some_and(|path| path.mount.flags().contains(MountFlags::READ_ONLY));
    if read_only { Err(EROFS) } else { Ok(()) }
}

/// Tells those who watch a file what happened to it.
pub(super) fn tell<H: Host>(cx: &Cx<'_, H>, named: &Named, what: Happening) {
    if let Some(path) = named.path() {
        cx.fs.namespace().dentries.notify.file(&path.dentry, what);
    }
}

/// `fchmodat(2)` and `fchmodat2(2)`.
pub fn fchmodat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, mode: u32, flags: u32) -> SysResult {
    check_flags(flags, sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH)?;
    change_mode(cx, &cx.named(dirfd, path, flags)?, mode)
}

/// `fchmod(2)`.
pub fn fchmod<H: Host>(cx: &Cx<'_, H>, fd: RawFd, mode: u32) -> SysResult {
    cx.file(fd)?;
    change_mode(cx, &cx.named_fd(fd)?, mode)
}

fn change_mode<H: Host>(cx: &Cx<'_, H>, named: &Named, mode: u32) -> SysResult {
    check_mount(named)?;
    let (inode, cred) = (named.inode(), cx.cred());
    if inode.kind() == FileKind::Symlink {
        return Err(EOPNOTSUPP.into());
    }
    let owner = inode.owner();
    permission::check_owner(owner, &cred)?;
    let mut mode = mode & MODE_BITS;
    if !cred.in_group(owner.gid) && !cred.capable_over(owner.uid, owner.gid, Caps::FSETID) {
        mode &= !S_ISGID;
    }
    inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
    acl::follow_mode(&**inode, mode)?;
    tell(cx, named, Happening::ATTRIB);
    Ok(0)
}

/// `fchownat(2)`, `chown(2)`, `lchown(2)`.
pub fn fchownat<H: Host>(
    cx: &Cx<'_, H>,
    dirfd: RawFd,
    path: u64,
    uid: u32,
    gid: u32,
    flags: u32,
) -> SysResult {
    check_flags(flags, sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH)?;
    change_owner(cx, &cx.named(dirfd, path, flags)?, uid, gid)
}

/// `fchown(2)`.
pub fn fchown<H: Host>(cx: &Cx<'_, H>, fd: RawFd, uid: u32, gid: u32) -> SysResult {
    cx.file(fd)?;
    change_owner(cx, &cx.named_fd(fd)?, uid, gid)
}

fn change_owner<H: Host>(cx: &Cx<'_, H>, named: &Named, uid: u32, gid: u32) -> SysResult {
    check_mount(named)?;
    let (inode, cred) = (named.inode(), cx.cred());
    let owner = inode.owner();
    let user_ns = &cred.user_ns;
    let uid = if uid == KEEP { KEEP } else { user_ns.uid(uid).ok_or(EINVAL)? };
    let gid = if gid == KEEP { KEEP } else { user_ns.gid(gid).ok_or(EINVAL)? };
    if !cred.capable_over(owner.uid, owner.gid, Caps::CHOWN) {
        let own = cred.fsuid == owner.uid;
        let uid_ok = uid == KEEP || own && uid == owner.uid;
        let gid_ok = gid == KEEP || own && (gid == owner.gid || cred.in_group(gid));
        if !uid_ok || !gid_ok {
            return Err(EPERM.into());
        }
    }
    let mut change = SetAttr {
        uid: (uid != KEEP).then_some(uid),
        gid: (gid != KEEP).then_some(gid),
        ..SetAttr::default()
    };
    // A program that changes hands must not keep acting for its old owner.
    if FileKind::of_mode(owner.mode) != FileKind::Directory {
        let kept = permission::without_set_id(owner.mode);
        change.mode = (kept != owner.mode).then_some(kept & MODE_BITS);
    }
    inode.set_attr(&change)?;
    permission::drop_file_capabilities(&**inode, owner)?;
    if (uid, gid) != (KEEP, KEEP) {
        tell(cx, named, Happening::ATTRIB);
    }
    Ok(0)
}

/// What `utimensat` and its ancestors set.
enum Times {
    /// Both to now, which writers may do.
    Now,
    /// As said, which only the owner may do.
    Set(Option<SetTime>, Option<SetTime>),
}

fn timespec(time: TimeSpec) -> Result<Option<SetTime>> {
    match time.nsec {
        UTIME_NOW => Ok(Some(SetTime::Now)),
        UTIME_OMIT => Ok(None),
        nsec => {
            let nsec = u32::try_from(nsec).ok().filter(|&nsec| nsec < 1_000_000_000).ok_or(EINVAL)?;
            Ok(Some(SetTime::To(Timestamp { sec: time.sec, nsec })))
        }
    }
}

fn timeval(pair: Pair) -> Result<Option<SetTime>> {
    let micros = u32::try_from(pair[1]).ok().filter(|&micros| micros < 1_000_000).ok_or(EINVAL)?;
    Ok(Some(SetTime::To(Timestamp { sec: pair[0], nsec: micros * 1000 })))
}

/// `utimensat(2)`.
pub fn utimensat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, times: u64, flags: u32) -> SysResult {
    let times = if times == 0 {
        Times::Now
    } else {
        let [atime, mtime]: [TimeSpec; 2] = cx.user().get(times)?;
        match (timespec(atime)?, timespec(mtime)?) {
            (None, None) => return Ok(0),
            (Some(SetTime::Now), Some(SetTime::Now)) => Times::Now,
            (atime, mtime) => Times::Set(atime, mtime),
        }
    };
    if path == 0 && flags & sys::AT_EMPTY_PATH == 0 {
        // `futimens`: the file that `dirfd` is.
        if dirfd == sys::AT_FDCWD {
            return Err(crate::errno::EFAULT.into());
        }
        check_flags(flags, 0)?;
        cx.file(dirfd)?;
        return set_times(cx, &cx.named_fd(dirfd)?, times);
    }
    check_flags(flags, sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH)?;
    set_times(cx, &cx.named(dirfd, path, flags)?, times)
}

/// `utimes(2)` and `futimesat(2)`.
pub fn futimesat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, times: u64) -> SysResult {
    let times = if times == 0 {
        Times::Now
    } else {
        let [atime, mtime]: [Pair; 2] = cx.user().get(times)?;
        Times::Set(timeval(atime)?, timeval(mtime)?)
    };
    if path == 0 && dirfd != sys::AT_FDCWD {
        cx.file(dirfd)?;
        return set_times(cx, &cx.named_fd(dirfd)?, times);
    }
    set_times(cx, &cx.named(dirfd, path, 0)?, times)
}

/// `utime(2)`.
pub fn utime<H: Host>(cx: &Cx<'_, H>, path: u64, times: u64) -> SysResult {
    let times = if times == 0 {
        Times::Now
    } else {
        let [atime, mtime]: Pair = cx.user().get(times)?;
        let at = |sec| Some(SetTime::To(Timestamp { sec, nsec: 0 }));
        Times::Set(at(atime), at(mtime))
    };
    set_times(cx, &cx.named(sys::AT_FDCWD, path, 0)?, times)
}

fn set_times<H: Host>(cx: &Cx<'_, H>, named: &Named, times: Times) -> SysResult {
    check_mount(named)?;
    let (inode, cred) = (named.inode(), cx.cred());
    let change = match times {
        Times::Now => {
            check_touch(inode, &cred)?;
            SetAttr { atime: Some(SetTime::Now), mtime: Some(SetTime::Now), ..SetAttr::default() }
        }
        Times::Set(atime, mtime) => {
            permission::check_owner(inode.owner(), &cred)?;
            SetAttr { atime, mtime, ..SetAttr::default() }
        }
    };
    inode.set_attr(&change)?;
    // Both together were set by a call for that; one alone is as if the file had been used.
    let what = match (change.atime, change.mtime) {
        (Some(_), None) => Happening::ACCESS,
        (None, Some(_)) => Happening::MODIFY,
        _ => Happening::ATTRIB,
    };
    tell(cx, named, what);
    Ok(0)
}

/// Owners and writers may set the times to now.
fn check_touch(inode: &Arc<dyn Inode>, cred: &Cred) -> Result<()> {
    permission::check_owner(inode.owner(), cred)
        .or_else(|_| permission::check_inode(&**inode, cred, Access::WRITE))
        .map_err(|_| EACCES)
}

/// `truncate(2)`.
pub fn truncate<H: Host>(cx: &Cx<'_, H>, path: u64, size: i64) -> SysResult {
    let size = u64::try_from(size).map_err(|_| EINVAL)?;
    let path = cx.walk(sys::AT_FDCWD, path, last_link(0))?;
    match path.dentry.kind() {
        FileKind::Regular => {}
        FileKind::Directory => return Err(EISDIR.into()),
        _ => return Err(EINVAL.into()),
    }
    check_mount(&Named::Path(path.clone()))?;
    cx.fs.walker(cx.caller()).check(&path, Access::WRITE)?;
    let _claim = Claim::new(path.inode(), Purpose::Write)?;
    if size > path.inode().metadata().size {
        crate::vfs::limit::check_file_size(cx.caller(), cx.services(), size - 1, 1)?;
    }
    crate::vfs::open::cut(path.inode(), size, cx.caller())?;
    tell(cx, &Named::Path(path), Happening::MODIFY);
    Ok(0)
}
