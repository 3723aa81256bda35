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
use crate::vfs::limit::check_offsets;
use crate::vfs::notify::Happening;

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

/// Whether `sendfile` and `splice` can take from a file that is no pipe.
fn gives(file: &OpenFile) -> bool {
    !matches!(file.inode.kind(), FileKind::Fifo | FileKind::Anonymous | FileKind::Directory)
}

/// Whether they can give to a file.
fn takes(file: &OpenFile) -> bool {
    file.inode.kind() != FileKind::Anonymous
}

/// Where a file's data is from `offset` on, or from its position.
fn place(offset: Option<u64>) -> At {
    offset.map_or(At::Position, At::Offset)
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
    let source = cx.readable(input)?;
    place(given).check_kind(&source)?;
    let start = given.unwrap_or_else(|| *source.position.lock());
    check_offsets(start, usize::try_from(count).unwrap_or(usize::MAX))?;
    let target = cx.writable(out)?;
    let (to_pipe, count) = (is_pipe(&target), count.min(MOST));
    if to_pipe {
        wait_for_room(cx, &target, false)?;
    } else if check_offsets(*target.position.lock(), count as usize).is_err()
        || target.flags().contains(OpenFlags::APPEND)
        || source.ops.seek(cx.op(&source), 0, Whence::Current).is_err()
    {
        return Err(EINVAL.into());
    }
    let mut done = 0u64;
    if count > 0 && !gives(&source) {
        return Err(EINVAL.into());
    }
    let has_offsets = given.is_some() || matches!(source.inode.kind(), FileKind::Regular | FileKind::Block);
    // What cannot be read again is taken only where a pipe has room for it.
    let chunk = if has_offsets { CHUNK } else { PIPE_CHUNK };
    let mut failed = None;
    while done < count {
        let len = usize::try_from(count - done).unwrap_or(chunk).min(chunk);
        let at = if has_offsets { At::Offset(start.saturating_add(done)) } else { At::Position };
        let bytes = match cx.fill(&source, at, len) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(_) if !takes(&target) => return Err(EINVAL.into()),
            Ok(bytes) => bytes,
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        let rest = |from: usize| Ok(SliceSource(bytes.get(from..).unwrap_or_default()));
        let written =
            if to_pipe { fill_pipe(cx, &target, &bytes) } else { cx.write_all(&target, At::Position, rest) };
        match written {
            Ok(written) => {
                done += written;
                if to_pipe || (written as usize) < bytes.len() {
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

/// Gives a pipe what it has room for now.
fn fill_pipe<H: Host>(cx: &Cx<'_, H>, pipe: &OpenFile, bytes: &[u8]) -> SysResult {
    let once = |op: Op<'_>| write_once(op, At::Position, &mut SliceSource(bytes));
    let written = cx.block_on(pipe, Events::OUT, once)?;
    pipe.happened(Happening::MODIFY);
    Ok(written as u64)
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
    let kinds = [source.inode.kind(), target.inode.kind()];
    if kinds.contains(&FileKind::Directory) {
        return Err(EISDIR.into());
    }
    if kinds != [FileKind::Regular; 2] {
        return Err(EINVAL.into());
    }
    if !source.flags().readable() || !target.flags().writable() || target.flags().contains(OpenFlags::APPEND)
    {
        return Err(EBADF.into());
    }
    if source.inode.metadata().dev != target.inode.metadata().dev {
        return Err(EXDEV.into());
    }
    let from = given_in.unwrap_or_else(|| *source.position.lock());
    let to = given_out.unwrap_or_else(|| *target.position.lock());
    let (from_end, to_end) = (from.checked_add(len), to.checked_add(len));
    if from_end.is_none_or(|end| end > i64::MAX as u64) || to_end.is_none_or(|end| end > i64::MAX as u64) {
        return Err(EOVERFLOW.into());
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
    if len == 0 {
        return Ok(0);
    }
    if flags & !SPLICE_KNOWN != 0 {
        return Err(EINVAL.into());
    }
    let (source, target) = (cx.file(input)?, cx.file(out)?);
    let (from_pipe, to_pipe) = (is_pipe(&source), is_pipe(&target));
    if from_pipe && in_offset != 0 || to_pipe && out_offset != 0 {
        return Err(ESPIPE.into());
    }
    let (from, to) = (offset_at(cx, in_offset)?, offset_at(cx, out_offset)?);
    if !source.flags().readable() || !target.flags().writable() {
        return Err(EBADF.into());
    }
    if !from_pipe && !to_pipe || crate::vfs::inode::same_inode(&source.inode, &target.inode) {
        return Err(EINVAL.into());
    }
    if place(from).check_kind(&source).is_err() || place(to).check_kind(&target).is_err() {
        return Err(EINVAL.into());
    }
    if !to_pipe && (target.flags().contains(OpenFlags::APPEND) || !takes(&target)) {
        return Err(EINVAL.into());
    }
    let asked = flags & SPLICE_NONBLOCK != 0;
    let nonblock = asked || from_pipe && never_waits(&source) || to_pipe && never_waits(&target);
    // Nothing is taken from the source before the target has room for it, so that nothing is lost.
    if from_pipe {
        wait_for_data(cx, &source, nonblock)?;
    }
    wait_for_room(cx, &target, nonblock)?;
    if !from_pipe && !gives(&source) {
        return Err(EINVAL.into());
    }
    if nonblock && !from_pipe {
        wait_for_data(cx, &source, nonblock)?;
    }
    let chunk = if target.ops.wait_queue().is_some() { PIPE_CHUNK } else { CHUNK };
    let len = usize::try_from(len).unwrap_or(chunk).min(chunk);
    let bytes = cx.fill(&source, place(from), len)?;
    let mut done = 0;
    while done < bytes.len() {
        let rest = |skip: usize| Ok(SliceSource(bytes.get(done + skip..).unwrap_or_default()));
        match cx.write_all(&target, place(to.map(|to| to.saturating_add(done as u64))), rest) {
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

/// Whether calls on a file never wait.
fn never_waits(file: &OpenFile) -> bool {
    file.flags().contains(OpenFlags::NONBLOCK)
}

/// Waits until `look` does not say EAGAIN any more; EAGAIN at once if it must not wait.
fn wait<H: Host>(
    cx: &Cx<'_, H>,
    file: &OpenFile,
    events: Events,
    nonblock: bool,
    look: impl Fn(Op<'_>) -> Result<()>,
) -> Result<(), SysError> {
    if nonblock { Ok(look(cx.op(file))?) } else { cx.block_on(file, events, look) }
}

/// EAGAIN if a file is not ready for `events`.
fn polled(op: Op<'_>, events: Events) -> Result<()> {
    let ready = op.file.ops.poll(op).intersects(events | Events::ERR | Events::HUP);
    if ready { Ok(()) } else { Err(EAGAIN) }
}

/// Waits until there is something to take, or nothing can come any more.
fn wait_for_data<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, nonblock: bool) -> Result<(), SysError> {
    wait(cx, file, Events::IN, nonblock, |op| match pipe_of(file) {
        Ok(pipe) => pipe.check_data(),
        Err(_) => polled(op, Events::IN),
    })
}

/// Waits until there is room; EPIPE, with its signal, if it is a pipe that nobody reads.
fn wait_for_room<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, nonblock: bool) -> Result<(), SysError> {
    let room = wait(cx, file, Events::OUT, nonblock, |op| match pipe_of(file) {
        Ok(pipe) => pipe.check_room(),
        Err(_) => polled(op, Events::OUT),
    });
    if room == Err(SysError::Errno(EPIPE)) {
        cx.signal_broken_pipe();
    }
    room
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
    let nonblock = flags & SPLICE_NONBLOCK != 0 || never_waits(&source) || never_waits(&target);
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
        wait_for_data(cx, &source, nonblock)?;
        wait_for_room(cx, &target, nonblock)?;
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
