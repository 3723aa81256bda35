//! Opening: `open(2)`, `openat2(2)`, `memfd_create(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, IntoBytes};

use crate::errno::{E2BIG, EINVAL, Result};
use crate::fs::tmpfs;
use crate::host::Host;
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult, anon};
use crate::vfs::cached::CachedFile;
use crate::vfs::fd::OnExec;
use crate::vfs::file::{OpenFile, OpenFlags};
use crate::vfs::inode::{MODE_BITS, NewAttr};
use crate::vfs::walk::Resolve;

/// All flags that `open` has; it ignores others.
const KNOWN: u32 = 0o37777703;

/// Longest name of a memfd, without its zero byte.
const MEMFD_NAME_MAX: usize = 249;
const MFD_CLOEXEC: u32 = 1;
const MFD_ALLOW_SEALING: u32 = 2;
const MFD_NOEXEC_SEAL: u32 = 8;
const MFD_EXEC: u32 = 16;
/// `F_SEAL_SEAL` and `F_SEAL_EXEC`.
const SEAL_SEAL: u32 = 1;
const SEAL_EXEC: u32 = 0x20;

/// `struct open_how`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Default)]
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `open(2)` and `openat(2)`.
pub fn openat<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, flags: u32, mode: u32) -> SysResult {
    let flags = flags & KNOWN;
    let makes = flags & (OpenFlags::CREAT | OpenFlags::TMPFILE).bits() != 0;
    open(cx, dirfd, path, flags, if makes { mode & MODE_BITS } else { 0 }, Resolve::empty())
}

/// `creat(2)`.
pub fn creat<H: Host>(cx: &Cx<'_, H>, path: u64, mode: u32) -> SysResult {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(cx, sys::AT_FDCWD, path, flags.bits(), mode)
}

/// `openat2(2)`: like `openat`, but nothing unknown is ignored.
pub fn openat2<H: Host>(cx: &Cx<'_, H>, dirfd: RawFd, path: u64, how: u64, size: usize) -> SysResult {
    if size < size_of::<OpenHow>() {
        return Err(EINVAL.into());
    }
    if size > 4096 {
        return Err(E2BIG.into());
    }
    let how: OpenHow = cx.user().get_versioned(how, size)?;
    let flags = u32::try_from(how.flags).map_err(|_| EINVAL)?;
    let resolve = Resolve::from_bits(how.resolve).ok_or(EINVAL)?;
    let makes = flags & (OpenFlags::CREAT | OpenFlags::TMPFILE).bits() != 0;
    let path_only = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    let path_with_more = flags & OpenFlags::PATH.bits() != 0 && flags & !path_only.bits() != 0;
    if flags & !KNOWN != 0
        || !makes && how.mode != 0
        || how.mode & !u64::from(MODE_BITS) != 0
        || path_with_more
        || resolve.contains(Resolve::BENEATH | Resolve::IN_ROOT)
    {
        return Err(EINVAL.into());
    }
    open(cx, dirfd, path, flags, how.mode as u32, resolve)
}

fn open<H: Host>(
    cx: &Cx<'_, H>,
    dirfd: RawFd,
    path: u64,
    flags: u32,
    mode: u32,
    resolve: Resolve,
) -> SysResult {
    let flags = checked(OpenFlags::from_bits_retain(flags))?;
    let path = cx.path(path)?;
    let fd = anon::reserve(cx)?;
    let start = cx.start(dirfd, &path)?;
    let walker = cx.fs.walker(cx.caller()).with_resolve(resolve, &start);
    let file = walker.open(&start, &path, flags, mode)?;
    drop(walker);
    // A FIFO may wait for its other side. With O_NONBLOCK it does not ask to.
    cx.block_on(&file, Events::all(), |op| op.file.ops.finish_open(op))?;
    Ok(fd.commit(file, on_exec(flags)) as u64)
}

/// Whether a descriptor opened with these flags is closed on exec.
pub(super) fn on_exec(flags: OpenFlags) -> OnExec {
    if flags.contains(OpenFlags::CLOEXEC) { OnExec::Close } else { OnExec::Keep }
}

/// Combinations that make no sense are EINVAL; what O_PATH ignores is taken out.
fn checked(flags: OpenFlags) -> Result<OpenFlags> {
    if flags.contains(OpenFlags::PATH) {
        let kept = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
        return Ok(flags & kept);
    }
    if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
        return Err(EINVAL);
    }
    // O_TMPFILE comes with O_DIRECTORY, so that old kernels refuse it.
    if flags.contains(OpenFlags::TMPFILE) && (!flags.contains(OpenFlags::DIRECTORY) || !flags.writable()) {
        return Err(EINVAL);
    }
    Ok(flags | OpenFlags::LARGEFILE)
}

/// `memfd_create(2)`.
pub fn memfd_create<H: Host>(cx: &Cx<'_, H>, name: u64, flags: u32) -> SysResult {
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC) != 0
        || flags & (MFD_NOEXEC_SEAL | MFD_EXEC) == MFD_NOEXEC_SEAL | MFD_EXEC
    {
        return Err(EINVAL.into());
    }
    let name = cx.user().read_cstr(name, MEMFD_NAME_MAX + 1).map_err(|error| {
        // A name that is too long is EINVAL here.
        if error == crate::errno::ENAMETOOLONG { EINVAL } else { error }
    })?;
    let (mut seals, mut mode) = (SEAL_SEAL, 0o777);
    if flags & MFD_NOEXEC_SEAL != 0 {
        (seals, mode) = (SEAL_EXEC, 0o666);
    }
    if flags & MFD_ALLOW_SEALING != 0 {
        seals &= !SEAL_SEAL;
    }
    let cred = cx.cred();
    let attr = NewAttr { mode, uid: cred.fsuid, gid: cred.fsgid };
    let inode = tmpfs::memfd(cx.services(), &attr, &name, seals);
    let ops = Arc::new(CachedFile(tmpfs::TmpFile::new(&inode)?));
    let file = OpenFile::new(ops, inode, None, OpenFlags::RDWR | OpenFlags::LARGEFILE);
    let on_exec = if flags & MFD_CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep };
    cx.install_file(file, on_exec)
}
