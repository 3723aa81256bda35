//! Disk quotas, which no file system here has: `quotactl(2)`, `quotactl_fd(2)`.

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, ENODEV, ENOSYS, ENOTBLK};
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult};
use crate::vfs::inode::FileKind;
use crate::vfs::walk::LastLink;

/// `Q_SYNC`, the one command that needs no file system.
const Q_SYNC: u32 = 0x80_0001;
/// Of users, groups, projects.
const TYPES: u32 = 3;

/// `quotactl(2)`.
pub fn quotactl<H: Host>(cx: &Cx<'_, H>, command: u32, special: u64) -> SysResult {
    if command & 0xff >= TYPES {
        return Err(EINVAL.into());
    }
    if special == 0 {
        return if command >> 8 == Q_SYNC { Ok(0) } else { Err(ENODEV.into()) };
    }
    let path = cx.walk(sys::AT_FDCWD, special, LastLink::Follow)?;
    Err(if path.dentry.kind() == FileKind::Block { ENOSYS } else { ENOTBLK }.into())
}

/// `quotactl_fd(2)`.
pub fn quotactl_fd<H: Host>(cx: &Cx<'_, H>, fd: RawFd, command: u32) -> SysResult {
    cx.file_or_path(fd)?;
    Err(if command & 0xff >= TYPES { EINVAL } else { ENOSYS }.into())
}
