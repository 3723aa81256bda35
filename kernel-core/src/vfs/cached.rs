//! Regular files whose bytes are in a page cache: what the file systems do with them alike.

use alloc::sync::Arc;
use core::any::Any;

use crate::errno::{EINVAL, Result};
use crate::io::{Sink, Source};
use crate::mm::cache::PageCache;
use crate::vfs::file::{FileOps, Op, OpenFlags, Whence};
use crate::vfs::limit::{Limited, check_offsets, seek_to};

/// A file that is open, and what its file system does beside reading and writing the cache.
pub trait Cached: Send + Sync + 'static {
    /// Its bytes.
    fn cache(&self) -> &Arc<PageCache>;

    /// Before the cache is read: brings it up to date, if others may have changed the file.
    fn refresh(&self) -> Result<()> {
        Ok(())
    }

    /// As [`Cached::refresh`], before the end of the file is asked for to write there.
    fn refresh_end(&self) -> Result<()> {
        Ok(())
    }

    /// It was read or mapped, through a file that notes that.
    fn accessed(&self) {}

    /// How much of a write of `len` bytes at `offset` may be done; see [`crate::vfs::limit::check_file_size`].
    fn allow(&self, op: Op<'_>, offset: u64, len: usize) -> Result<usize>;

    /// What a write does to the attributes; `done` is what came of it, and the call fails if this does.
    fn written(&self, op: Op<'_>, done: Result<()>) -> Result<()>;

    /// See [`FileOps::allocate`].
    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()>;

    /// See [`FileOps::control`].
    fn control(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        let _ = (op, command, arg);
        Err(EINVAL)
    }
}

/// The operations of such a file.
pub struct CachedFile<C>(pub C);

impl<C: Cached> CachedFile<C> {
    fn accessed(&self, op: Op<'_>) {
        if op.file.notes_access() {
            self.0.accessed();
        }
    }

    fn write_to(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        let allowed = self.0.allow(op, offset, src.remaining())?;
        let done = self.0.cache().write_at(offset, &mut Limited::new(src, allowed));
        self.0.written(op, done.map(drop))?;
        done
    }

    /// Where it was written to, and how much.
    fn append(&self, op: Op<'_>, src: &mut dyn Source) -> Result<(u64, usize)> {
        self.0.refresh_end()?;
        let cache = self.0.cache();
        if src.remaining() == 0 {
            return Ok((cache.len(), 0));
        }
        let allowed = self.0.allow(op, cache.len(), src.remaining())?;
        let done = cache.append(&mut Limited::new(src, allowed));
        self.0.written(op, done.map(drop))?;
        done
    }
}

impl<C: Cached> FileOps for CachedFile<C> {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        self.0.refresh()?;
        let mut position = op.file.position.lock();
        check_offsets(*position, dst.remaining())?;
        let read = self.0.cache().read_at(*position, dst)?;
        *position = position.saturating_add(read as u64);
        drop(position);
        self.accessed(op);
        Ok(read)
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let mut position = op.file.position.lock();
        check_offsets(*position, src.remaining())?;
        if op.file.flags().contains(OpenFlags::APPEND) {
            let (offset, written) = self.append(op, src)?;
            *position = offset.saturating_add(written as u64);
            return Ok(written);
        }
        let written = self.write_to(op, *position, src)?;
        *position = position.saturating_add(written as u64);
        Ok(written)
    }

    fn read_at(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        self.0.refresh()?;
        let read = self.0.cache().read_at(offset, dst)?;
        self.accessed(op);
        Ok(read)
    }

    fn write_at(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        // Against POSIX, Linux appends here too (`pwrite(2)`, BUGS).
        if op.file.flags().contains(OpenFlags::APPEND) {
            return Ok(self.append(op, src)?.1);
        }
        self.write_to(op, offset, src)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        if !matches!(whence, Whence::Set | Whence::Current) {
            self.0.refresh()?;
        }
        let cache = self.0.cache();
        seek_to(op, offset, whence, cache.len(), |from, whence| match whence {
            Whence::Data => cache.next_data(from),
            _ => cache.next_hole(from),
        })
    }

    fn mappable(&self, op: Op<'_>) -> Result<Arc<PageCache>> {
        self.0.refresh()?;
        self.accessed(op);
        Ok(self.0.cache().clone())
    }

    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        self.0.allocate(op, mode, offset, len)
    }

    fn control(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        self.0.control(op, command, arg)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
