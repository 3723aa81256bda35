//! `/proc/PID/mem`: the memory of a process, as a debugger has it. Its addresses are the file's offsets. Source:
//! `proc_pid_mem(5)`.

use alloc::sync::{Arc, Weak};
use core::any::Any;

use crate::errno::{EINVAL, EIO, ESRCH, Result};
use crate::fs::proc::source::{TaskMemory, TaskView};
use crate::host::PAGE_SIZE;
use crate::io::{Sink, Source};
use crate::vfs::file::{FileOps, Op, Whence};
use crate::vfs::limit::seek_to;

/// The memory that the task has now, and not that of a program that it executes later.
struct MemFile(Weak<dyn TaskMemory>);

/// Opens it for whoever may look into the task. ESRCH: it has ended.
pub fn open(view: &dyn TaskView) -> Result<Arc<dyn FileOps>> {
    let memory = view.memory().ok_or(ESRCH)?;
    if let Some(memory) = memory.upgrade() {
        memory.keep_code();
    }
    Ok(Arc::new(MemFile(memory)))
}

impl FileOps for MemFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let offset = *op.file.position.lock();
        let read = self.read_at(op, offset, dst)?;
        *op.file.position.lock() = offset.saturating_add(read as u64);
        Ok(read)
    }

    /// Page by page. EIO: there is nothing at `offset`; 0: the process is gone.
    fn read_at(&self, _: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let Some(memory) = self.0.upgrade() else { return Ok(0) };
        let mut page = alloc::vec![0; PAGE_SIZE as usize];
        let mut done = 0;
        while dst.remaining() > 0 {
            let len = dst.remaining().min(page.len());
            let Some(at) = offset.checked_add(done as u64) else { break };
            let bytes = page.get_mut(..len).ok_or(EIO)?;
            let found = memory.peek(at, bytes);
            let put = match found {
                0 => 0,
                _ => dst
                    .put(bytes.get(..found).ok_or(EIO)?)
                    .or_else(|errno| if done > 0 { Ok(0) } else { Err(errno) })?,
            };
            done += put;
            if put < len {
                break;
            }
        }
        if done == 0 && dst.remaining() > 0 { Err(EIO) } else { Ok(done) }
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let offset = *op.file.position.lock();
        let written = self.write_at(op, offset, src)?;
        *op.file.position.lock() = offset.saturating_add(written as u64);
        Ok(written)
    }

    /// As [`FileOps::read_at`].
    fn write_at(&self, _: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        let Some(memory) = self.0.upgrade() else { return Ok(0) };
        let mut page = alloc::vec![0; PAGE_SIZE as usize];
        let mut done = 0;
        let wanted = src.remaining();
        while src.remaining() > 0 {
            let len = src.remaining().min(page.len());
            let Some(at) = offset.checked_add(done as u64) else { break };
            let bytes = page.get_mut(..len).ok_or(EIO)?;
            let taken = match src.take(bytes) {
                Ok(taken) => taken,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            let put = memory.poke(at, bytes.get(..taken).ok_or(EIO)?);
            done += put;
            if put < len {
                break;
            }
        }
        if done == 0 && wanted > 0 { Err(EIO) } else { Ok(done) }
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        if !matches!(whence, Whence::Set | Whence::Current) {
            return Err(EINVAL);
        }
        seek_to(op, offset, whence, 0, |_, _| Err(EINVAL))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
