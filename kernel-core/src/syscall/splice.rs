//! Moving data between files in the kernel: `sendfile(2)`, `copy_file_range(2)`, `splice(2)`, `tee(2)`, `vmsplice(2)`. They go through a kernel
//! buffer; what they save the guest is the copy to its memory and the second system call.

use alloc::sync::Arc;

use crate::errno::{EAGAIN, EBADF, EINVAL, EISDIR, EOVERFLOW, EPIPE, ESPIPE, EXDEV, Result};
use crate::host::Host;
use crate::io::{SliceSource, Source, VecSink};
use crate::ipc::pipe::PipeEnd;
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::file_io::{At, read_once, tell_read, would_block, write_once};
use crate::syscall::{Cx, SysError, SysResult};
use crate::vfs::file::{Op, OpenFile, OpenFlags, Whence};
use crate::vfs::inode::FileKind;

/// Bytes moved at a time.
const CHUNK: usize = 64 << 10;
/// What a pipe that is ready takes at once (`PIPE_BUF`).
const PIPE_CHUNK: usize = 4096;
/// Most bytes of one call (`MAX_RW_COUNT`).
const MOST: u64 = 0x7fff_f000;
const SPLICE_NONBLOCK: u32 = 2;
const SPLICE_KNOWN: u32 = 0xf;

impl<H: Host> Cx<'_, H> {
    /// Reads up to `len` bytes, waiting for the first.
    fn fill(&self, file: &OpenFile, at: At, len: usize) -> Result<alloc::vec::Vec<u8>, SysError> {
        let mut sink = VecSink::new(len);
        let read = self.block_on(file, Events::IN, |op| read_once(op, at, &mut sink))?;
        tell_read(file, read);
        Ok(sink.bytes)
    }
}

fn is_pipe(file: &OpenFile) -> bool {
    file.inode.kind() == FileKind::Fifo
}

/// Where a file's position is; EINVAL if it has none.
fn position<H: Host>(cx: &Cx<'_, H>, file: &OpenFile) -> Result<u64> {
    file.ops.seek(cx.op(file), 0, Whence::Current).map_err(|_| EINVAL)
}

/// An offset that the guest keeps in its memory, or none.
fn offset_at<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    let offset: i64 = cx.user().get(addr)?;
    Ok(Some(u64::try_from(offset).map_err(|_| EINVAL)?))
}

/// `sendfile(2)`.
pub fn sendfile<H: Host>(cx: &Cx<'_, H>, out: RawFd, input: RawFd, offset: u64, count: u64) -> SysResult {
    let given = offset_at(cx, offset)?;
    let (source, target) = (cx.readable(input)?, cx.writable(out)?);
    let start = match given {
        Some(start) => start,
        None => position(cx, &source)?,
    };
    if target.flags().contains(OpenFlags::APPEND) {
        return Err(EINVAL.into());
    }
    let (mut done, count) = (0u64, count.min(MOST));
    let mut failed = None;
    while done < count {
        let len = usize::try_from(count - done).unwrap_or(CHUNK).min(CHUNK);
        let bytes = match cx.fill(&source, At::Offset(start.saturating_add(done)), len) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => bytes,
            // It has a position, but no bytes there: nobody asked for one.
            Err(SysError::Errno(ESPIPE)) if given.is_none() => return Err(EINVAL.into()),
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        let rest = |from: usize| Ok(SliceSource(bytes.get(from..).unwrap_or_default()));
        match cx.write_all(&target, At::Position, rest) {
            Ok(written) => {
                done += written;
                if (written as usize) < bytes.len() {
                    break;
                }
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let end = start.saturating_add(done);
    match given {
        Some(_) => cx.user().set(offset, &(end as i64))?,
        None => *source.position.lock() = end,
    }
    match failed {
        Some(error) if done == 0 => Err(error),
        _ => Ok(done),
    }
}

/// `copy_file_range(2)`.
pub fn copy_file_range<H: Host>(
    cx: &Cx<'_, H>,
    (input, in_offset): (RawFd, u64),
    (out, out_offset): (RawFd, u64),
    len: u64,
    flags: u32,
) -> SysResult {
    let (source, target) = (cx.file(input)?, cx.file(out)?);
    let (given_in, given_out) = (offset_at(cx, in_offset)?, offset_at(cx, out_offset)?);
    if flags != 0 {
        return Err(EINVAL.into());
    }
    for file in [&source, &target] {
        match file.inode.kind() {
            FileKind::Regular => {}
            FileKind::Directory => return Err(EISDIR.into()),
            _ => return Err(EINVAL.into()),
        }
    }
    if !source.flags().readable() || !target.flags().writable() || target.flags().contains(OpenFlags::APPEND)
    {
        return Err(EBADF.into());
    }
    let from = given_in.unwrap_or_else(|| *source.position.lock());
    let to = given_out.unwrap_or_else(|| *target.position.lock());
    let (from_end, to_end) = (from.checked_add(len), to.checked_add(len));
    if from_end.is_none_or(|end| end > i64::MAX as u64) || to_end.is_none_or(|end| end > i64::MAX as u64) {
        return Err(EOVERFLOW.into());
    }
    if source.inode.metadata().dev != target.inode.metadata().dev {
        return Err(EXDEV.into());
    }
    let same = crate::vfs::inode::same_inode(&source.inode, &target.inode);
    let len = len.min(MOST).min(source.inode.metadata().size.saturating_sub(from));
    if same && from < to.saturating_add(len) && to < from.saturating_add(len) {
        return Err(EINVAL.into());
    }
    let done = copy(cx, &source, from, &target, to, len)?;
    match given_in {
        Some(_) => cx.user().set(in_offset, &((from + done) as i64))?,
        None => *source.position.lock() = from + done,
    }
    match given_out {
        Some(_) => cx.user().set(out_offset, &((to + done) as i64))?,
        None => *target.position.lock() = to + done,
    }
    Ok(done)
}

fn copy<H: Host>(
    cx: &Cx<'_, H>,
    source: &Arc<OpenFile>,
    from: u64,
    target: &Arc<OpenFile>,
    to: u64,
    len: u64,
) -> SysResult {
    let mut done = 0;
    while done < len {
        let step = usize::try_from(len - done).unwrap_or(CHUNK).min(CHUNK);
        let bytes = cx.fill(source, At::Offset(from + done), step)?;
        if bytes.is_empty() {
            break;
        }
        let rest = |skip: usize| Ok(SliceSource(bytes.get(skip..).unwrap_or_default()));
        match cx.write_all(target, At::Offset(to + done), rest) {
            Ok(written) => {
                done += written;
                if (written as usize) < bytes.len() {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// `splice(2)`: one side is a pipe.
pub fn splice<H: Host>(
    cx: &Cx<'_, H>,
    (input, in_offset): (RawFd, u64),
    (out, out_offset): (RawFd, u64),
    len: u64,
    flags: u32,
) -> SysResult {
    if flags & !SPLICE_KNOWN != 0 {
        return Err(EINVAL.into());
    }
    if len == 0 {
        return Ok(0);
    }
    let (source, target) = (cx.readable(input)?, cx.writable(out)?);
    let (from_pipe, to_pipe) = (is_pipe(&source), is_pipe(&target));
    if !from_pipe && !to_pipe || crate::vfs::inode::same_inode(&source.inode, &target.inode) {
        return Err(EINVAL.into());
    }
    if from_pipe && in_offset != 0 || to_pipe && out_offset != 0 {
        return Err(ESPIPE.into());
    }
    if target.flags().contains(OpenFlags::APPEND) && !to_pipe {
        return Err(EINVAL.into());
    }
    let at = |offset: Option<u64>| offset.map_or(At::Position, At::Offset);
    let (from, to) = (offset_at(cx, in_offset)?, offset_at(cx, out_offset)?);
    let nonblock = flags & SPLICE_NONBLOCK != 0;
    // Nothing is taken from the source before the target has room for it, so that nothing is lost.
    ready(cx, &target, Events::OUT, nonblock)?;
    if nonblock {
        ready(cx, &source, Events::IN, nonblock)?;
    }
    let chunk = if target.ops.wait_queue().is_some() { PIPE_CHUNK } else { CHUNK };
    let len = usize::try_from(len).unwrap_or(chunk).min(chunk);
    let bytes = cx.fill(&source, at(from), len)?;
    let mut done = 0;
    while done < bytes.len() {
        let rest = |skip: usize| Ok(SliceSource(bytes.get(done + skip..).unwrap_or_default()));
        match cx.write_all(&target, at(to.map(|to| to.saturating_add(done as u64))), rest) {
            Ok(0) => break,
            Ok(written) => done += written as usize,
            // Somebody else filled the target meanwhile: these bytes are ours to deliver.
            Err(error) if would_block(&error) && !from_pipe => break,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    // Of a file, only what was delivered counts as read.
    match from {
        Some(start) => cx.user().set(in_offset, &((start + done as u64) as i64))?,
        None if !from_pipe && done < bytes.len() => {
            let back = -((bytes.len() - done) as i64);
            // Sources without a position keep what was read: it is lost as in Linux's own fallback.
            let _ = source.ops.seek(cx.op(&source), back, Whence::Current);
        }
        None => {}
    }
    if let Some(start) = to {
        cx.user().set(out_offset, &((start + done as u64) as i64))?;
    }
    Ok(done as u64)
}

/// Waits until `file` is ready for `events`; EAGAIN at once if it must not wait.
fn ready<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, events: Events, nonblock: bool) -> Result<(), SysError> {
    let look = |op: crate::vfs::file::Op<'_>| {
        let now = op.file.ops.poll(op);
        if now.intersects(events | Events::ERR | Events::HUP) { Ok(()) } else { Err(crate::errno::EAGAIN) }
    };
    if nonblock { Ok(look(cx.op(file))?) } else { cx.block_on(file, events, look) }
}

/// The pipe that an open file is; EINVAL.
fn pipe_of(file: &OpenFile) -> Result<&PipeEnd> {
    file.ops.as_any().downcast_ref::<PipeEnd>().ok_or(EINVAL)
}

/// `tee(2)`: copies from one pipe to another; what is copied stays to be read.
pub fn tee<H: Host>(cx: &Cx<'_, H>, input: RawFd, out: RawFd, len: u64, flags: u32) -> SysResult {
    if flags & !SPLICE_KNOWN != 0 {
        return Err(EINVAL.into());
    }
    if len == 0 {
        return Ok(0);
    }
    let (source, target) = (cx.readable(input)?, cx.writable(out)?);
    let (from, to) = (pipe_of(&source)?, pipe_of(&target)?);
    let nonblock = flags & SPLICE_NONBLOCK != 0;
    let most = usize::try_from(len.min(MOST)).unwrap_or(CHUNK);
    loop {
        match from.copy_to(to, most) {
            Ok(copied) => return Ok(copied as u64),
            Err(EAGAIN) if !nonblock => {}
            Err(error) => {
                if error == EPIPE {
                    cx.signal_broken_pipe();
                }
                return Err(error.into());
            }
        }
        ready(cx, &source, Events::IN, nonblock)?;
        ready(cx, &target, Events::OUT, nonblock)?;
    }
}

/// `vmsplice(2)`: between memory and a pipe. Pages are copied, so what the guest does to them later does not matter.
pub fn vmsplice<H: Host>(cx: &Cx<'_, H>, fd: RawFd, iovecs: u64, count: u64, flags: u32) -> SysResult {
    if flags & !SPLICE_KNOWN != 0 {
        return Err(EINVAL.into());
    }
    let file = cx.file(fd)?;
    let mut buffers = cx.user().buffers(iovecs, count)?;
    if Source::remaining(&buffers) == 0 {
        return Ok(0);
    }
    pipe_of(&file).map_err(|_| EBADF)?;
    let writes = file.flags().writable();
    let events = if writes { Events::OUT } else { Events::IN };
    let mut once = |op: Op<'_>| match writes {
        true => write_once(op, At::Position, &mut buffers),
        false => read_once(op, At::Position, &mut buffers),
    };
    let done = match flags & SPLICE_NONBLOCK {
        0 => cx.block_on(&file, events, once),
        _ => once(cx.op(&file)).map_err(SysError::from),
    };
    if done == Err(SysError::Errno(EPIPE)) {
        cx.signal_broken_pipe();
    }
    Ok(done? as u64)
}
