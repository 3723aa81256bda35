//! Calls that hardly anybody makes any more: `ustat(2)`, `sysfs(2)`, `ioperm(2)`, `iopl(2)`.

use crate::errno::{EINVAL, EPERM};
use crate::host::Host;
use crate::syscall::{Cx, SysResult};
use crate::vfs::inode::Device;

/// `ustat(2)`: free blocks and inodes of the mounted file system with a device number.
pub fn ustat<H: Host>(cx: &Cx<'_, H>, device: u32, buf: u64) -> SysResult {
    let device = Device::from_raw(device.into());
    let mounts = cx.fs.namespace().mounts();
    let mount = mounts.iter().find(|mount| mount.fs.device() == device).ok_or(EINVAL)?;
    let stat = mount.fs.root().statfs();
    // struct ustat: an int, an unsigned long, and two names that are always empty.
    let blocks = stat.blocks_free.min(i32::MAX as u64);
    cx.user().set(buf, &[blocks, stat.files_free, 0, 0])?;
    Ok(0)
}

/// `sysfs(2)`: file system types by number and by name.
pub fn sysfs<H: Host>(cx: &Cx<'_, H>, option: u32, first: u64, second: u64) -> SysResult {
    let types = cx.fs.namespace().types.all();
    match option {
        1 => {
            let name = cx.user().read_cstr(first, 4096)?;
            let index = types.iter().position(|kind| kind.name().as_bytes() == name).ok_or(EINVAL)?;
            Ok(index as u64)
        }
        2 => {
            let index = usize::try_from(first).map_err(|_| EINVAL)?;
            let name = types.get(index).ok_or(EINVAL)?.name();
            cx.user().write_bytes(second, &[name.as_bytes(), b"\0"].concat())?;
            Ok(0)
        }
        3 => Ok(types.len() as u64),
        _ => Err(EINVAL.into()),
    }
}

/// Ports there are.
const PORTS: u64 = 65536;

/// `ioperm(2)`: nobody may have ports; to give them up is always possible.
pub fn ioperm(from: u64, count: u64, on: i32) -> SysResult {
    if from.checked_add(count).is_none_or(|end| end <= from || end > PORTS) {
        return Err(EINVAL.into());
    }
    if on != 0 { Err(EPERM.into()) } else { Ok(0) }
}

/// `iopl(2)`: as [`ioperm`].
pub fn iopl(level: u32) -> SysResult {
    match level {
        0 => Ok(0),
        1..=3 => Err(EPERM.into()),
        _ => Err(EINVAL.into()),
    }
}
