//! Reading and writing: `read(2)`, `readv(2)`, `pread(2)`, `lseek(2)` and their kin.

use linux_raw_sys::general::SIGPIPE;

use crate::errno::{EAGAIN, EBADF, EINVAL, EOPNOTSUPP, EPIPE, ESPIPE, Result};
use crate::host::Host;
use crate::io::{Sink, Source};
use crate::mm::user::Buffers;
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysError, SysResult};
use crate::task::siginfo::SigInfo;
use crate::vfs::file::{Op, OpenFile, OpenFlags, Whence};
use crate::vfs::inode::FileKind;
use crate::vfs::limit::check_offsets;
use crate::vfs::notify::Happening;

/// What a read waits for.
const READABLE: Events = Events::IN.union(Events::RDNORM).union(Events::RDHUP);
/// What a write waits for.
const WRITABLE: Events = Events::OUT.union(Events::WRNORM);

/// `RWF_*` of `preadv2(2)`: HIPRI, DSYNC and SYNC ask for nothing that would not be so anyway.
const RWF_HARMLESS: u32 = 1 | 2 | 4;
const RWF_NOWAIT: u32 = 8;
const RWF_APPEND: u32 = 16;

/// Where a transfer takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the file's position, which moves.
    Position,
    /// At an offset, in bytes.
    Offset(u64),
}

impl At {
    /// An offset that the guest passed: EINVAL if it is negative.
    pub fn offset(offset: i64) -> Result<At> {
        Ok(At::Offset(u64::try_from(offset).map_err(|_| EINVAL)?))
    }

    /// ESPIPE if it is an offset and the file has none. That is said before that a file may not be read or written.
    pub fn check_kind(self, file: &OpenFile) -> Result<()> {
        match file.inode.kind() {
            FileKind::Fifo | FileKind::Socket | FileKind::Anonymous if self != At::Position => Err(ESPIPE),
            _ => Ok(()),
        }
    }

    /// EINVAL if `len` bytes from an offset on would leave those that a file can have.
    fn check_end(self, len: usize) -> Result<()> {
        match self {
            At::Position => Ok(()),
            At::Offset(offset) => check_offsets(offset, len),
        }
    }
}

/// Reads once.
pub fn read_once(op: Op<'_>, at: At, dst: &mut dyn Sink) -> Result<usize> {
    match at {
        At::Position => op.file.ops.read(op, dst),
        At::Offset(offset) => op.file.ops.read_at(op, offset, dst),
    }
}

/// Writes once; may be short.
pub fn write_once(op: Op<'_>, at: At, src: &mut dyn Source) -> Result<usize> {
    match at {
        At::Position => op.file.ops.write(op, src),
        At::Offset(offset) => op.file.ops.write_at(op, offset, src),
    }
}

impl<H: Host> Cx<'_, H> {
    /// An open file to read from; EBADF if it is not open for that.
    pub fn readable(&self, fd: RawFd) -> Result<alloc::sync::Arc<OpenFile>> {
        let file = self.file(fd)?;
        if file.flags().readable() { Ok(file) } else { Err(EBADF) }
    }

    /// An open file to write to; EBADF if it is not open for that.
    pub fn writable(&self, fd: RawFd) -> Result<alloc::sync::Arc<OpenFile>> {
        let file = self.file(fd)?;
        if file.flags().writable() { Ok(file) } else { Err(EBADF) }
    }

    /// An open file to read from at `at`; EBADF, ESPIPE.
    fn readable_at(&self, fd: RawFd, at: At) -> Result<alloc::sync::Arc<OpenFile>> {
        let file = self.file(fd)?;
        at.check_kind(&file)?;
        if file.flags().readable() { Ok(file) } else { Err(EBADF) }
    }

    /// An open file to write to at `at`; EBADF, ESPIPE.
    fn writable_at(&self, fd: RawFd, at: At) -> Result<alloc::sync::Arc<OpenFile>> {
        let file = self.file(fd)?;
        at.check_kind(&file)?;
        if file.flags().writable() { Ok(file) } else { Err(EBADF) }
    }

    fn read_file(&self, file: &OpenFile, at: At, mut dst: Buffers<'_, H>) -> SysResult {
        at.check_end(Sink::remaining(&dst))?;
        let read = self.block_on(file, READABLE, |op| read_once(op, at, &mut dst))?;
        tell_read(file, read);
        Ok(read as u64)
    }

    /// Writes all of a source, waiting in between if the file makes writers wait; what was written counts when an error
    /// or a signal ends it. `rest` makes the source anew from a number of bytes on.
    pub fn write_all<S: Source>(
        &self,
        file: &OpenFile,
        at: At,
        mut rest: impl FnMut(usize) -> Result<S>,
    ) -> SysResult {
        let mut source = rest(0)?;
        let total = source.remaining();
        at.check_end(total)?;
        let mut done = 0;
        loop {
            let at = match at {
                At::Offset(offset) => At::Offset(offset.saturating_add(done as u64)),
                At::Position => At::Position,
            };
            let written = match self.block_on(file, WRITABLE, |op| write_once(op, at, &mut source)) {
                Ok(written) => written,
                Err(error) => {
                    if error == SysError::Errno(EPIPE) && file.ops.is_stream() {
                        self.signal_broken_pipe();
                    }
                    if done > 0 {
                        break;
                    }
                    return Err(error);
                }
            };
            done += written;
            // Files that are no streams have taken what they could.
            let finished = done >= total
                || written == 0
                || !file.ops.is_stream()
                || file.flags().contains(OpenFlags::NONBLOCK);
            if finished {
                break;
            }
            // A file may have looked at more than it took.
            match rest(done) {
                Ok(again) => source = again,
                Err(_) => break,
            }
        }
        if done > 0 {
            file.happened(Happening::MODIFY);
        }
        Ok(done as u64)
    }
}

/// Tells those who watch a file that so many bytes were read.
pub(super) fn tell_read(file: &OpenFile, read: usize) {
    if read > 0 {
        file.happened(Happening::ACCESS);
    }
}

impl<H: Host> Cx<'_, H> {
    /// SIGPIPE for the calling thread: it wrote to a stream that nobody reads.
    pub fn signal_broken_pipe(&self) {
        let (pid, tid) = (self.task.process.pid, self.task.tid());
        self.services().processes.signal_thread(pid, tid, SigInfo::kernel(SIGPIPE as u8));
    }
}

/// `read(2)`.
pub fn read<H: Host>(cx: &Cx<'_, H>, fd: RawFd, buf: u64, len: u64) -> SysResult {
    let file = cx.readable(fd)?;
    let dst = cx.user().writer(buf, len)?;
    cx.read_file(&file, At::Position, dst)
}

/// `write(2)`.
pub fn write<H: Host>(cx: &Cx<'_, H>, fd: RawFd, buf: u64, len: u64) -> SysResult {
    let file = cx.writable(fd)?;
    cx.write_all(&file, At::Position, |from| {
        cx.user().reader(buf.wrapping_add(from as u64), len.saturating_sub(from as u64))
    })
}

/// `pread64(2)`.
pub fn pread64<H: Host>(cx: &Cx<'_, H>, fd: RawFd, buf: u64, len: u64, offset: i64) -> SysResult {
    let at = At::offset(offset)?;
    let file = cx.readable_at(fd, at)?;
    let dst = cx.user().writer(buf, len)?;
    cx.read_file(&file, at, dst)
}

/// `pwrite64(2)`.
pub fn pwrite64<H: Host>(cx: &Cx<'_, H>, fd: RawFd, buf: u64, len: u64, offset: i64) -> SysResult {
    let at = At::offset(offset)?;
    let file = cx.writable_at(fd, at)?;
    cx.write_all(&file, at, |from| {
        cx.user().reader(buf.wrapping_add(from as u64), len.saturating_sub(from as u64))
    })
}

/// `readv(2)`.
pub fn readv<H: Host>(cx: &Cx<'_, H>, fd: RawFd, iovecs: u64, count: u64) -> SysResult {
    let file = cx.readable(fd)?;
    let dst = cx.user().buffers(iovecs, count)?;
    cx.read_file(&file, At::Position, dst)
}

/// `writev(2)`.
pub fn writev<H: Host>(cx: &Cx<'_, H>, fd: RawFd, iovecs: u64, count: u64) -> SysResult {
    let file = cx.writable(fd)?;
    cx.write_all(&file, At::Position, |from| buffers_from(cx, iovecs, count, from))
}

/// `preadv(2)`.
pub fn preadv<H: Host>(cx: &Cx<'_, H>, fd: RawFd, iovecs: u64, count: u64, offset: i64) -> SysResult {
    preadv2(cx, fd, iovecs, count, Some(offset), 0)
}

/// `pwritev(2)`.
pub fn pwritev<H: Host>(cx: &Cx<'_, H>, fd: RawFd, iovecs: u64, count: u64, offset: i64) -> SysResult {
    pwritev2(cx, fd, iovecs, count, Some(offset), 0)
}

/// Where `preadv2` and `pwritev2` work: an offset of -1 is the position.
fn at2(offset: Option<i64>) -> Result<At> {
    match offset {
        None => Ok(At::Position),
        Some(offset) => At::offset(offset),
    }
}

/// `preadv2(2)`; no offset stands for -1.
pub fn preadv2<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    iovecs: u64,
    count: u64,
    offset: Option<i64>,
    flags: u32,
) -> SysResult {
    let at = at2(offset)?;
    let file = cx.readable_at(fd, at)?;
    let mut dst = cx.user().buffers(iovecs, count)?;
    if flags & !(RWF_HARMLESS | RWF_NOWAIT) != 0 {
        return Err(EOPNOTSUPP.into());
    }
    if flags & RWF_NOWAIT != 0 {
        let read = read_once(cx.op(&file), at, &mut dst)?;
        tell_read(&file, read);
        return Ok(read as u64);
    }
    cx.read_file(&file, at, dst)
}

/// `pwritev2(2)`; no offset stands for -1.
pub fn pwritev2<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    iovecs: u64,
    count: u64,
    offset: Option<i64>,
    flags: u32,
) -> SysResult {
    let at = at2(offset)?;
    let file = cx.writable_at(fd, at)?;
    if flags & !(RWF_HARMLESS | RWF_NOWAIT | RWF_APPEND) != 0 {
        return Err(EOPNOTSUPP.into());
    }
    if flags & RWF_APPEND != 0 {
        // The same file, open for appending during this call.
        let status = file.flags() | OpenFlags::APPEND;
        let append = OpenFile::new(file.ops.clone(), file.inode.clone(), file.path.clone(), status);
        let written = cx.write_all(&append, at, |from| buffers_from(cx, iovecs, count, from))?;
        if at == At::Position {
            *file.position.lock() = *append.position.lock();
        }
        file.happened(Happening::MODIFY);
        return Ok(written);
    }
    if flags & RWF_NOWAIT != 0 {
        let mut src = cx.user().buffers(iovecs, count)?;
        let written = write_once(cx.op(&file), at, &mut src)?;
        file.happened(Happening::MODIFY);
        return Ok(written as u64);
    }
    cx.write_all(&file, at, |from| buffers_from(cx, iovecs, count, from))
}

/// The buffers of an iovec array without their first `from` bytes.
fn buffers_from<'b, H: Host>(
    cx: &'b Cx<'_, H>,
    iovecs: u64,
    count: u64,
    from: usize,
) -> Result<Buffers<'b, H>> {
    let mut buffers = cx.user().buffers(iovecs, count)?;
    let mut scratch = [0; 1024];
    let mut left = from;
    while left > 0 {
        let len = left.min(scratch.len());
        match buffers.take(scratch.get_mut(..len).unwrap_or_default())? {
            0 => break,
            taken => left -= taken.min(left),
        }
    }
    Ok(buffers)
}

/// `lseek(2)`.
pub fn lseek<H: Host>(cx: &Cx<'_, H>, fd: RawFd, offset: i64, whence: u32) -> SysResult {
    let file = cx.file(fd)?;
    let whence = match whence {
        0 => Whence::Set,
        1 => Whence::Current,
        2 => Whence::End,
        3 => Whence::Data,
        4 => Whence::Hole,
        _ => return Err(EINVAL.into()),
    };
    Ok(file.ops.seek(cx.op(&file), offset, whence)?)
}

/// `ftruncate(2)`.
pub fn ftruncate<H: Host>(cx: &Cx<'_, H>, fd: RawFd, size: i64) -> SysResult {
    let size = u64::try_from(size).map_err(|_| EINVAL)?;
    let file = cx.file(fd)?;
    let regular = file.inode.kind() == FileKind::Regular;
    if !regular || !file.flags().writable() {
        return Err(EINVAL.into());
    }
    if size > file.inode.metadata().size {
        crate::vfs::limit::check_file_size(cx.caller(), cx.services(), size - 1, 1)?;
    }
    crate::vfs::open::cut(&file.inode, size, cx.caller())?;
    file.happened(Happening::MODIFY);
    Ok(0)
}

/// `fallocate(2)`.
pub fn fallocate<H: Host>(cx: &Cx<'_, H>, fd: RawFd, mode: u32, offset: i64, len: i64) -> SysResult {
    let file = cx.file(fd)?;
    let (Ok(start), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else { return Err(EINVAL.into()) };
    if len == 0 {
        return Err(EINVAL.into());
    }
    // KEEP_SIZE to UNSHARE_RANGE are known; a hole can only be punched with KEEP_SIZE.
    if mode & !0x7f != 0 || mode & 2 != 0 && mode & 1 == 0 {
        return Err(EOPNOTSUPP.into());
    }
    if !file.flags().writable() {
        return Err(EBADF.into());
    }
    match file.inode.kind() {
        FileKind::Regular => {}
        FileKind::Fifo => return Err(ESPIPE.into()),
        FileKind::Directory => return Err(crate::errno::EISDIR.into()),
        _ => return Err(crate::errno::ENODEV.into()),
    }
    if start.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
        return Err(crate::errno::EFBIG.into());
    }
    file.ops.allocate(cx.op(&file), mode, start, len)?;
    file.happened(Happening::MODIFY);
    Ok(0)
}

/// `fadvise64(2)`: advice is taken note of, which is all it asks.
pub fn fadvise64<H: Host>(cx: &Cx<'_, H>, fd: RawFd, len: i64, advice: i32) -> SysResult {
    let file = cx.file(fd)?;
    if file.inode.kind() == FileKind::Fifo {
        return Err(ESPIPE.into());
    }
    if len < 0 || !(0..=5).contains(&advice) {
        return Err(EINVAL.into());
    }
    Ok(0)
}

/// `readahead(2)`: all is in memory.
pub fn readahead<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> SysResult {
    let file = cx.readable(fd)?;
    if file.inode.kind() == FileKind::Regular { Ok(0) } else { Err(EINVAL.into()) }
}

/// `fsync(2)` and `fdatasync(2)`. EINVAL for files that keep nothing.
pub fn fsync<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> SysResult {
    let file = cx.file(fd)?;
    match file.inode.kind() {
        FileKind::Regular | FileKind::Directory | FileKind::Block => file.ops.sync(cx.op(&file))?,
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}

/// `sync_file_range(2)`.
pub fn sync_file_range<H: Host>(cx: &Cx<'_, H>, fd: RawFd, offset: i64, len: i64, flags: u32) -> SysResult {
    let file = cx.file(fd)?;
    if flags & !7 != 0 || offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(EINVAL.into());
    }
    match file.inode.kind() {
        FileKind::Regular | FileKind::Directory | FileKind::Block | FileKind::Symlink => {
            file.ops.sync(cx.op(&file))?;
        }
        _ => return Err(ESPIPE.into()),
    }
    Ok(0)
}

/// `sync(2)`.
pub fn sync<H: Host>(cx: &Cx<'_, H>) -> SysResult {
    // It has no way to say that something failed.
    let _ = cx.fs.namespace().table.sync();
    cx.kernel.disks.flush();
    Ok(0)
}

/// `syncfs(2)`.
pub fn syncfs<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> SysResult {
    let file = cx.file(fd)?;
    if let Some(path) = &file.path {
        path.mount.fs.sync()?;
    }
    Ok(0)
}

/// Whether an error says that a non-blocking file is not ready.
pub(super) fn would_block(error: &SysError) -> bool {
    *error == SysError::Errno(EAGAIN)
}
