//! Extended attributes. Source: `xattr(7)`, `setxattr(2)`, `getxattr(2)`, `listxattr(2)`, `removexattr(2)`.

use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use crate::errno::{E2BIG, EINVAL, ENODATA, EPERM, ERANGE, EROFS, Result};
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::file_attr::tell;
use crate::syscall::paths::Named;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;
use crate::task::exec_cred::{FileCaps, XATTR};
use crate::vfs::acl;
use crate::vfs::inode::{FileKind, XattrMode};
use crate::vfs::mount::MountFlags;
use crate::vfs::notify::Happening;
use crate::vfs::permission::{self, Access};
use crate::vfs::walk::LastLink;

const NAME_MAX: usize = 255;
const SIZE_MAX: usize = 64 << 10;
const XATTR_CREATE: u32 = 1;
const XATTR_REPLACE: u32 = 2;

/// Which file a call means.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// By path.
    Path(u64, LastLink),
    /// By descriptor.
    Fd(RawFd),
}

/// What a call is going to do with the attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

fn find<H: Host>(cx: &Cx<'_, H>, target: Target) -> Result<Named> {
    match target {
        Target::Path(path, last) => Ok(Named::Path(cx.walk(sys::AT_FDCWD, path, last)?)),
        Target::Fd(fd) => {
            cx.file(fd)?;
            cx.named_fd(fd)
        }
    }
}

fn name<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Vec<u8>> {
    let name = cx.user().read_cstr(addr, NAME_MAX + 1).map_err(|error| {
        // Too long a name is out of range here.
        if error == crate::errno::ENAMETOOLONG { ERANGE } else { error }
    })?;
    if name.is_empty() { Err(ERANGE) } else { Ok(name) }
}

/// Who may use an attribute, by its namespace.
fn check<H: Host>(cx: &Cx<'_, H>, named: &Named, name: &[u8], what: Use) -> Result<()> {
    let (inode, cred) = (named.inode(), cx.cred());
    if what == Use::Write
        && named.path().is_some_and(|path| path.mount.flags().contains(MountFlags::READ_ONLY))
    {
        return Err(EROFS);
    }
    if name.starts_with(b"trusted.") && !cred.capable(Caps::SYS_ADMIN) {
        return Err(if what == Use::Write { EPERM } else { ENODATA });
    }
    if name.starts_with(b"security.") {
        let needed = if name == XATTR { Caps::SETFCAP } else { Caps::SYS_ADMIN };
        let free = what == Use::Read || cred.capable(needed);
        return if free { Ok(()) } else { Err(EPERM) };
    }
    if name.starts_with(b"user.") {
        let kind = inode.kind();
        if !matches!(kind, FileKind::Regular | FileKind::Directory) {
            return Err(if what == Use::Write { EPERM } else { ENODATA });
        }
        let owner = inode.owner();
        let sticky = kind == FileKind::Directory && owner.mode & crate::vfs::inode::S_ISVTX != 0;
        if what == Use::Write && sticky {
            permission::check_owner(owner, &cred)?;
        }
        let wanted = if what == Use::Write { Access::WRITE } else { Access::READ };
        permission::check_inode(&**inode, &cred, wanted)?;
    }
    Ok(())
}

fn is_acl(name: &[u8]) -> bool {
    [acl::ACCESS, acl::DEFAULT].contains(&name)
}

/// `setxattr(2)`, `lsetxattr(2)`, `fsetxattr(2)`.
pub fn set<H: Host>(
    cx: &Cx<'_, H>,
    target: Target,
    attr: u64,
    value: u64,
    size: usize,
    flags: u32,
) -> SysResult {
    let mode = match flags {
        0 => XattrMode::Any,
        XATTR_CREATE => XattrMode::Create,
        XATTR_REPLACE => XattrMode::Replace,
        _ => return Err(EINVAL.into()),
    };
    let attr = name(cx, attr)?;
    if size > SIZE_MAX {
        return Err(E2BIG.into());
    }
    let mut bytes = alloc::vec![0; size];
    cx.user().read_bytes(value, &mut bytes)?;
    let named = find(cx, target)?;
    if attr == XATTR && !FileCaps::is_valid(&bytes) {
        return Err(EINVAL.into());
    }
    check(cx, &named, &attr, Use::Write)?;
    match is_acl(&attr) {
        true => acl::set(&**named.inode(), &attr, &bytes, &cx.cred())?,
        false => named.inode().set_xattr(&attr, &bytes, mode)?,
    }
    tell(cx, &named, Happening::ATTRIB);
    Ok(0)
}

/// Gives `bytes` to a buffer of `size` bytes; with size 0, only their number.
fn give<H: Host>(cx: &Cx<'_, H>, bytes: &[u8], buf: u64, size: usize) -> SysResult {
    if size != 0 {
        if bytes.len() > size {
            return Err(ERANGE.into());
        }
        cx.user().write_bytes(buf, bytes)?;
    }
    Ok(bytes.len() as u64)
}

/// `getxattr(2)`, `lgetxattr(2)`, `fgetxattr(2)`.
pub fn get<H: Host>(cx: &Cx<'_, H>, target: Target, attr: u64, buf: u64, size: usize) -> SysResult {
    let attr = name(cx, attr)?;
    let named = find(cx, target)?;
    check(cx, &named, &attr, Use::Read)?;
    let bytes = match is_acl(&attr) {
        true => acl::get(&**named.inode(), &attr, &cx.cred().user_ns)?,
        false => named.inode().get_xattr(&attr)?,
    };
    give(cx, &bytes, buf, size)
}

/// `listxattr(2)`, `llistxattr(2)`, `flistxattr(2)`.
pub fn list<H: Host>(cx: &Cx<'_, H>, target: Target, buf: u64, size: usize) -> SysResult {
    let named = find(cx, target)?;
    let all = cx.cred().capable(Caps::SYS_ADMIN);
    let mut names = Vec::new();
    named.inode().list_xattrs(&mut |name| {
        if all || !name.starts_with(b"trusted.") {
            names.extend_from_slice(name);
            names.push(0);
        }
    })?;
    give(cx, &names, buf, size)
}

/// `removexattr(2)`, `lremovexattr(2)`, `fremovexattr(2)`.
pub fn remove<H: Host>(cx: &Cx<'_, H>, target: Target, attr: u64) -> SysResult {
    let attr = name(cx, attr)?;
    let named = find(cx, target)?;
    check(cx, &named, &attr, Use::Write)?;
    match is_acl(&attr) {
        true => acl::remove(&**named.inode(), &attr, &cx.cred())?,
        false => named.inode().remove_xattr(&attr)?,
    }
    tell(cx, &named, Happening::ATTRIB);
    Ok(0)
}
