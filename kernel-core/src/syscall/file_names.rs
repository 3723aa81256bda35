//! Names: `mkdir(2)`, `mknod(2)`, `symlink(2)`, `link(2)`, `unlink(2)`, `rename(2)`, `readlink(2)`.

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, ENAMETOOLONG, ENOENT, EPERM, Result};
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::paths::{PATH_MAX, check_flags};
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;
use crate::vfs::inode::{Device, FileKind, LinkTarget, MODE_BITS, NewAttr, NewNode, RenameMode};
use crate::vfs::path::{Path, path_of};
use crate::vfs::walk::LastLink;

/// `AT_REMOVEDIR`, `AT_SYMLINK_FOLLOW`; the first shares its bit with AT_EACCESS.
const REMOVE_DIR: u32 = 0x200;
const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const RENAME_WHITEOUT: u32 = 4;

fn make<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, what: NewNode<'_>, mode: u32) -> SysResult {
    let path = cx.path(path)?;
    let start = cx.start(dirfd, &path)?;
    cx.fs.walker(cx.caller()).make(&start, &path, what, mode)?;
    Ok(0)
}

/// `mkdirat(2)`.
pub fn mkdirat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, mode: u32) -> SysResult {
    // Set-id bits of a new directory come from its parent alone.
    make(cx, dirfd, path, NewNode::Directory, mode & 0o1777)
}

/// `mknodat(2)`.
pub fn mknodat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, mode: u32, device: u32) -> SysResult {
    let device = Device::from_raw(u64::from(device));
    let what = match (mode & 0o170_000, FileKind::of_mode(mode)) {
        (0, _) | (_, FileKind::Regular) => NewNode::File,
        (_, FileKind::Char) => NewNode::Char(device),
        (_, FileKind::Block) => NewNode::Block(device),
        (_, FileKind::Fifo) => NewNode::Fifo,
        (_, FileKind::Socket) => NewNode::Socket,
        (_, FileKind::Directory) => return Err(EPERM.into()),
        _ => return Err(EINVAL.into()),
    };
    make(cx, dirfd, path, what, mode & MODE_BITS)
}

/// `symlinkat(2)`.
pub fn symlinkat<H: Host>(cx: &Cx<'_, H>, target: u64, dirfd: RawFd, path: u64) -> SysResult {
    let target = cx.path(target)?;
    make(cx, dirfd, path, NewNode::Symlink(&target), 0o777)
}

/// `linkat(2)`.
pub fn linkat<H: Host>(
    cx: &Cx<'_, H>,
    old_dir: RawFd,
    old: u64,
    new_dir: RawFd,
    new: u64,
    flags: u32,
) -> SysResult {
    check_flags(flags, sys::AT_SYMLINK_FOLLOW | sys::AT_EMPTY_PATH)?;
    let empty_allowed = flags & sys::AT_EMPTY_PATH != 0;
    if empty_allowed && !cx.cred().capable(Caps::DAC_READ_SEARCH) {
        return Err(ENOENT.into());
    }
    let old = if empty_allowed { cx.path_or_empty(old)? } else { cx.path(old)? };
    let walker = cx.fs.walker(cx.caller());
    let old = if old.is_empty() {
        cx.named_fd(old_dir)?.into_path()
    } else {
        let follow = flags & sys::AT_SYMLINK_FOLLOW != 0;
        let last = if follow { LastLink::Follow } else { LastLink::Keep };
        walker.resolve(&cx.start(old_dir, &old)?, &old, last)?
    };
    let new = cx.path(new)?;
    walker.link(&old, &cx.start(new_dir, &new)?, &new)?;
    Ok(0)
}

/// `unlinkat(2)`.
pub fn unlinkat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, flags: u32) -> SysResult {
    check_flags(flags, REMOVE_DIR)?;
    let path = cx.path(path)?;
    let start = cx.start(dirfd, &path)?;
    let walker = cx.fs.walker(cx.caller());
    if flags & REMOVE_DIR != 0 {
        walker.rmdir(&start, &path)?
    } else {
        walker.unlink(&start, &path)?
    }
    Ok(0)
}

/// `rmdir(2)`.
pub fn rmdir<H: Host>(cx: &Cx<'_, H>, path: u64) -> SysResult {
    unlinkat(cx, sys::AT_FDCWD, path, REMOVE_DIR)
}

/// `renameat2(2)`.
pub fn renameat2<H: Host>(
    cx: &Cx<'_, H>,
    old_dir: RawFd,
    old: u64,
    new_dir: RawFd,
    new: u64,
    flags: u32,
) -> SysResult {
    check_flags(flags, RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)?;
    let mode = match flags {
        0 => RenameMode::Replace,
        RENAME_NOREPLACE => RenameMode::NoReplace,
        RENAME_EXCHANGE => RenameMode::Exchange,
        RENAME_WHITEOUT => {
            let cred = cx.cred();
            RenameMode::Whiteout(NewAttr { mode: 0, uid: cred.fsuid, gid: cred.fsgid })
        }
        // Of the combinations Linux has one: WHITEOUT with NOREPLACE.
        _ => return Err(EINVAL.into()),
    };
    let walker = cx.fs.walker(cx.caller());
    // As in Linux, the second name is looked at only once the first was walked to.
    let parent = |dir: RawFd, path: u64| {
        let path = cx.path(path)?;
        walker.parent(&cx.start(dir, &path)?, &path)
    };
    walker.rename(&parent(old_dir, old)?, &parent(new_dir, new)?, mode)?;
    Ok(0)
}

/// `readlinkat(2)`. An empty path reads the link that `dirfd` was opened on.
pub fn readlinkat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, buf: u64, len: i32) -> SysResult {
    let len = usize::try_from(len).ok().filter(|&len| len > 0).ok_or(EINVAL)?;
    let text = cx.path_or_empty(path)?;
    let link = if text.is_empty() {
        if dirfd == sys::AT_FDCWD {
            return Err(ENOENT.into());
        }
        let link = cx.named_fd(dirfd)?.into_path();
        if link.dentry.kind() != FileKind::Symlink {
            return Err(ENOENT.into());
        }
        link
    } else {
        let start = cx.start(dirfd, &text)?;
        cx.fs.walker(cx.caller()).resolve(&start, &text, LastLink::Keep)?
    };
    if link.dentry.kind() != FileKind::Symlink {
        return Err(EINVAL.into());
    }
    let target = match link.inode().readlink(cx.caller())? {
        LinkTarget::Text(text) | LinkTarget::Jump { text, .. } | LinkTarget::Shown(text) => text,
    };
    if target.len() >= PATH_MAX {
        return Err(ENAMETOOLONG.into());
    }
    let copied = target.get(..len).unwrap_or(&target);
    cx.user().write_bytes(buf, copied)?;
    Ok(copied.len() as u64)
}

/// `getcwd(2)`: the length with the zero byte.
pub fn getcwd<H: Host>(cx: &Cx<'_, H>, buf: u64, len: u64) -> SysResult {
    let (cwd, root) = (cx.fs.cwd(), cx.fs.root());
    let name = path_of(&cwd, &root);
    if name.deleted {
        return Err(ENOENT.into());
    }
    let mut bytes = name.bytes;
    if !name.below_root {
        bytes.splice(0..0, *b"(unreachable)");
    }
    bytes.push(0);
    if bytes.len() > PATH_MAX {
        return Err(ENAMETOOLONG.into());
    }
    if bytes.len() as u64 > len {
        return Err(crate::errno::ERANGE.into());
    }
    cx.user().write_bytes(buf, &bytes)?;
    Ok(bytes.len() as u64)
}

/// A directory that a task may enter.
fn directory<H: Host>(cx: &Cx<'_, H>, path: u64) -> Result<Path> {
    let path = cx.walk(sys::AT_FDCWD, path, LastLink::Follow)?;
    enterable(cx, &path)?;
    Ok(path)
}

fn enterable<H: Host>(cx: &Cx<'_, H>, path: &Path) -> Result<()> {
    if path.dentry.kind() != FileKind::Directory {
        return Err(crate::errno::ENOTDIR);
    }
    cx.fs.walker(cx.caller()).check(path, crate::vfs::permission::Access::EXEC)
}

/// `chdir(2)`.
pub fn chdir<H: Host>(cx: &Cx<'_, H>, path: u64) -> SysResult {
    cx.fs.set_cwd(directory(cx, path)?);
    Ok(0)
}

/// `fchdir(2)`.
pub fn fchdir<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> SysResult {
    let file = cx.file_or_path(fd)?;
    let path = file.path.clone().ok_or(crate::errno::ENOTDIR)?;
    enterable(cx, &path)?;
    cx.fs.set_cwd(path);
    Ok(0)
}

/// `chroot(2)`.
pub fn chroot<H: Host>(cx: &Cx<'_, H>, path: u64) -> SysResult {
    let path = directory(cx, path)?;
    if !cx.cred().capable_here(Caps::SYS_CHROOT) {
        return Err(EPERM.into());
    }
    cx.fs.set_root(path);
    Ok(0)
}

/// `umask(2)`.
pub fn umask<H: Host>(cx: &Cx<'_, H>, mask: u32) -> SysResult {
    Ok(u64::from(cx.fs.set_umask(mask)))
}
