//! File handles, which no file system here gives: `name_to_handle_at(2)`, `open_by_handle_at(2)`.

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, EOPNOTSUPP, EPERM, ESTALE};
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::paths::check_flags;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;

/// `MAX_HANDLE_SZ`.
const SIZE_MAX: u32 = 128;

/// `name_to_handle_at(2)`: EOPNOTSUPP, as for a file system without handles.
pub fn name_to_handle_at<H: Host>(
    cx: &Cx<'_, H>,
    dirfd: RawFd,
    path: u64,
    handle: u64,
    flags: u32,
) -> SysResult {
    check_flags(flags, sys::AT_SYMLINK_FOLLOW | sys::AT_EMPTY_PATH)?;
    let follow = if flags & sys::AT_SYMLINK_FOLLOW != 0 { 0 } else { sys::AT_SYMLINK_NOFOLLOW };
    cx.named(dirfd, path, follow | flags & sys::AT_EMPTY_PATH)?;
    let size: u32 = cx.user().get(handle)?;
    Err(if size > SIZE_MAX { EINVAL } else { EOPNOTSUPP }.into())
}

/// `open_by_handle_at(2)`: no handle was ever given, so none is known.
pub fn open_by_handle_at<H: Host>(cx: &Cx<'_, H>, mount: RawFd, handle: u64) -> SysResult {
    if !cx.cred().capable(Caps::DAC_READ_SEARCH) {
        return Err(EPERM.into());
    }
    let size: u32 = cx.user().get(handle)?;
    if size == 0 || size > SIZE_MAX {
        return Err(EINVAL.into());
    }
    cx.named_fd(mount)?;
    Err(ESTALE.into())
}
