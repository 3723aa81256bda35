//! `mmap(2)` and relatives: arguments are checked here, the work is in [`crate::mm::Mm`].

use linux_raw_sys::general as sys;

use crate::errno::{EACCES, EINVAL, EPERM, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::mm::advise::Populate;
use crate::mm::map::{MapRequest, Object};
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult};
use crate::vfs::mount::MountFlags;

/// `mmap(2)`.
pub fn mmap<H: Host>(
    cx: &Cx<'_, H>,
    [addr, len, offset]: [u64; 3],
    prot: u32,
    flags: u32,
    fd: RawFd,
) -> SysResult {
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(EINVAL.into());
    }
    let object = if flags & sys::MAP_ANONYMOUS != 0 {
        Object::Anonymous
    } else {
        mapped_file(cx, fd, [len, offset], prot, flags)?
    };
    Ok(cx.mm.mmap(&MapRequest { addr, len, prot, flags, object })?)
}

/// The file to map, if the descriptor allows it.
fn mapped_file<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    [len, offset]: [u64; 2],
    prot: u32,
    flags: u32,
) -> Result<Object> {
    let file = cx.file(fd)?;
    if len == 0 {
        return Err(EINVAL);
    }
    let shared = flags & sys::MAP_TYPE != sys::MAP_PRIVATE;
    if shared && prot & sys::PROT_WRITE != 0 && !file.flags().writable() || !file.flags().readable() {
        return Err(EACCES);
    }
    let no_exec = file.path.as_ref().is_some_and(|path| path.mount.flags().contains(MountFlags::NO_EXEC));
    if no_exec && prot & sys::PROT_EXEC != 0 {
        return Err(EPERM);
    }
    let pages = file.ops.mappable(cx.op(&file))?;
    Ok(Object::File { pages, file: Some(file), offset })
}

/// `munmap(2)`.
pub fn munmap<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u64) -> SysResult {
    cx.mm.munmap(addr, len)?;
    Ok(0)
}

/// `mprotect(2)`.
pub fn mprotect<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u64, prot: u64) -> SysResult {
    cx.mm.mprotect(addr, len, u32::try_from(prot).map_err(|_| EINVAL)?)?;
    Ok(0)
}

/// `mremap(2)`.
pub fn mremap<H: Host>(cx: &Cx<'_, H>, [old, old_len, new_len, flags, new]: [u64; 5]) -> SysResult {
    let flags = u32::try_from(flags).map_err(|_| EINVAL)?;
    Ok(cx.mm.mremap(old, old_len, new_len, flags, new)?)
}

/// `remap_file_pages(2)`. `MAP_NONBLOCK` is the only flag, and makes no difference.
pub fn remap_file_pages<H: Host>(cx: &Cx<'_, H>, [start, len, prot, page]: [u64; 4]) -> SysResult {
    if prot != 0 {
        return Err(EINVAL.into());
    }
    cx.mm.remap_file_pages(start, len, page)?;
    Ok(0)
}

/// `brk(2)`.
pub fn brk<H: Host>(cx: &Cx<'_, H>, addr: u64) -> SysResult {
    Ok(cx.mm.brk(addr))
}

/// `madvise(2)`.
pub fn madvise<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u64, advice: u32) -> SysResult {
    cx.mm.madvise(addr, len, advice)?;
    Ok(0)
}

/// `msync(2)`.
pub fn msync<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u64, flags: u32) -> SysResult {
    cx.mm.msync(addr, len, flags)?;
    Ok(0)
}

/// `mincore(2)`.
pub fn mincore<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u64, out: u64) -> SysResult {
    cx.mm.mincore(addr, len, out)?;
    Ok(0)
}

/// `mlock2(2)`, and `mlock(2)` without flags.
pub fn mlock2<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u64, flags: u32) -> SysResult {
    let populate = match flags {
        0 => Populate::Now,
        sys::MLOCK_ONFAULT => Populate::Later,
        _ => return Err(EINVAL.into()),
    };
    cx.mm.mlock(addr, len, populate)?;
    Ok(0)
}

/// `munlock(2)`.
pub fn munlock<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u64) -> SysResult {
    cx.mm.munlock(addr, len)?;
    Ok(0)
}

/// `mlockall(2)`.
pub fn mlockall<H: Host>(cx: &Cx<'_, H>, flags: u32) -> SysResult {
    cx.mm.mlockall(flags)?;
    Ok(0)
}

/// `munlockall(2)`.
pub fn munlockall<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    cx.mm.munlockall();
    Ok(0)
}
