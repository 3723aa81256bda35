//! Descriptors of files without names: what `pipe`, `socket`, `eventfd` and their kin have in common.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use crate::errno::Result;
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult};
use crate::vfs::anon::AnonKind;
use crate::vfs::fd::{OnExec, Reserved};
use crate::vfs::file::{FileOps, OpenFile, OpenFlags};

/// `O_CLOEXEC`; `EFD_CLOEXEC`, `SOCK_CLOEXEC` and the like are the same bit.
pub const CLOEXEC: u32 = sys::O_CLOEXEC;
/// `O_NONBLOCK`, likewise.
pub const NONBLOCK: u32 = sys::O_NONBLOCK;

/// What happens to a descriptor on exec, by the flags of the call that makes it.
pub fn on_exec(flags: u32) -> OnExec {
    if flags & CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep }
}

/// Sets a descriptor aside: EMFILE.
pub fn reserve<'a, H: Host>(cx: &'a Cx<'_, H>) -> Result<Reserved<'a>> {
    cx.files.reserve(0, cx.caller().rlimit(sys::RLIMIT_NOFILE))
}

/// Opens a file that has no name.
pub fn open<H: Host>(
    cx: &Cx<'_, H>,
    ops: Arc<dyn FileOps>,
    kind: AnonKind,
    flags: OpenFlags,
) -> Arc<OpenFile> {
    let services = cx.services();
    let inode = services.anon.inode(kind, &cx.cred(), services.clock.realtime_ns());
    OpenFile::new(ops, inode, None, flags)
}

/// Opens a file that has no name, for reading and writing, and gives its descriptor. Of `flags` only [`CLOEXEC`] and
/// [`NONBLOCK`] count.
pub fn install<H: Host>(cx: &Cx<'_, H>, ops: Arc<dyn FileOps>, kind: AnonKind, flags: u32) -> SysResult {
    let reserved = reserve(cx)?;
    let status = OpenFlags::RDWR | OpenFlags::from_bits_retain(flags & NONBLOCK);
    let file = open(cx, ops, kind, status);
    Ok(result(reserved.commit(file, on_exec(flags))))
}

/// A descriptor as the value of a call.
pub fn result(fd: RawFd) -> u64 {
    u64::try_from(fd).unwrap_or(0)
}
