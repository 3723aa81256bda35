//! Open files and directories of tmpfs.

use alloc::sync::Arc;
use core::any::Any;

use super::inode::{SEAL_ANY_WRITE, SEAL_GROW, SEAL_SEAL, SEAL_WRITE, TmpInode};
use crate::errno::{EINVAL, EISDIR, ENOSPC, EOPNOTSUPP, EPERM, Result};
use crate::io::{Sink, Source};
use crate::mm::cache::PageCache;
use crate::vfs::dir::DirSink;
use crate::vfs::file::{FileOps, Op, OpenFlags, Whence};
use crate::vfs::inode::{Inode, SetAttr};
use crate::vfs::limit::{Limited, check_file_size, seek_to};
use crate::vfs::mount::MountFlags;
use crate::vfs::permission::mode_after_write;

/// `F_ADD_SEALS` and `F_GET_SEALS` of `fcntl(2)`.
const F_ADD_SEALS: u32 = 1033;
const F_GET_SEALS: u32 = 1034;
const ALL_SEALS: u64 = 0x3f;
/// `FALLOC_FL_*` that tmpfs knows.
const KEEP_SIZE: u32 = 1;
const PUNCH_HOLE: u32 = 2;

/// An open regular file.
pub struct TmpFile {
    inode: Arc<TmpInode>,
    cache: Arc<PageCache>,
}

impl TmpFile {
    /// The operations of a regular file; EINVAL if it is not one.
    pub fn new(inode: &Arc<TmpInode>) -> Result<TmpFile> {
        let cache = inode.cache().ok_or(EINVAL)?.clone();
        Ok(TmpFile { inode: inode.clone(), cache })
    }

    fn accessed(&self, op: Op<'_>) {
        accessed(&self.inode, op);
    }

    /// How much of a write of `len` bytes at `offset` may be done. EPERM by seals, EFBIG and SIGXFSZ by limits, ENOSPC.
    fn allow(&self, op: Op<'_>, offset: u64, len: usize) -> Result<usize> {
        let len = check_file_size(op.caller, &self.inode.fs.services, offset, len)?;
        let seals = self.inode.attr.lock().seals;
        let size = self.cache.len();
        if seals & SEAL_ANY_WRITE != 0 {
            return Err(EPERM);
        }
        if seals & SEAL_GROW != 0 && offset.saturating_add(len as u64) > size {
            return Err(EPERM);
        }
        let room = self.inode.fs.room();
        if room > len as u64 {
            return Ok(len);
        }
        // Near the limit: what is overwritten needs no room.
        let in_place = self.cache.allocated_bytes().saturating_sub(offset);
        let allowed = usize::try_from(in_place.saturating_add(room)).unwrap_or(usize::MAX).min(len);
        if allowed == 0 { Err(ENOSPC) } else { Ok(allowed) }
    }

    /// What any write does to the attributes.
    fn written(&self, op: Op<'_>) {
        self.inode.recount();
        self.inode.changed();
        let owner = self.inode.owner();
        if owner.mode & 0o6000 != 0
            && let Some(mode) = mode_after_write(owner, &op.caller.cred())
        {
            // Setting permission bits of a tmpfs inode cannot fail.
            let _ = self.inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() });
        }
    }

    fn write_to(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        let allowed = self.allow(op, offset, src.remaining())?;
        let written = self.cache.write_at(offset, &mut Limited::new(src, allowed))?;
        self.written(op);
        Ok(written)
    }

    fn append(&self, op: Op<'_>, src: &mut dyn Source) -> Result<(u64, usize)> {
        if src.remaining() == 0 {
            return Ok((self.cache.len(), 0));
        }
        let allowed = self.allow(op, self.cache.len(), src.remaining())?;
        let (offset, written) = self.cache.append(&mut Limited::new(src, allowed))?;
        self.written(op);
        Ok((offset, written))
    }

    fn add_seals(&self, op: Op<'_>, seals: u64) -> Result<u64> {
        if !op.file.flags().writable() {
            return Err(EPERM);
        }
        if seals & !ALL_SEALS != 0 {
            return Err(EINVAL);
        }
        if self.inode.attr.lock().seals & SEAL_SEAL != 0 {
            return Err(EPERM);
        }
        let seals = seals as u32;
        // The mappers are asked, so no lock can be held.
        if seals & SEAL_WRITE != 0 {
            self.cache.deny_writers()?;
        } else if seals & SEAL_ANY_WRITE != 0 {
            self.cache.deny_future_writers();
        }
        self.inode.attr.lock().seals |= seals;
        Ok(0)
    }
}

fn accessed(inode: &TmpInode, op: Op<'_>) {
    let quiet = |path: &crate::vfs::path::Path| {
        path.mount.flags().intersects(MountFlags::NO_ATIME | MountFlags::READ_ONLY)
    };
    if !op.file.flags().contains(OpenFlags::NOATIME) && !op.file.path.as_ref().is_some_and(quiet) {
        inode.accessed();
    }
}

impl FileOps for TmpFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let mut position = op.file.position.lock();
        let read = self.cache.read_at(*position, dst)?;
        *position = position.saturating_add(read as u64);
        drop(position);
        self.accessed(op);
        Ok(read)
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let mut position = op.file.position.lock();
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
        let read = self.cache.read_at(offset, dst)?;
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
        seek_to(op, offset, whence, self.cache.len(), |from, whence| match whence {
            Whence::Data => self.cache.next_data(from),
            _ => self.cache.next_hole(from),
        })
    }

    fn mappable(&self, op: Op<'_>) -> Result<Arc<PageCache>> {
        self.accessed(op);
        Ok(self.cache.clone())
    }

    fn control(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        match command {
            F_ADD_SEALS => self.add_seals(op, arg),
            F_GET_SEALS => Ok(u64::from(self.inode.attr.lock().seals)),
            _ => Err(EINVAL),
        }
    }

    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        let end = offset.saturating_add(len);
        let seals = self.inode.attr.lock().seals;
        match mode {
            0 | KEEP_SIZE => {
                let grows = end > self.cache.len() && mode == 0;
                if grows && seals & SEAL_GROW != 0 {
                    return Err(EPERM);
                }
                if grows {
                    check_file_size(op.caller, &self.inode.fs.services, end - 1, 1)?;
                }
                if self.inode.fs.room() < len {
                    return Err(ENOSPC);
                }
                self.cache.allocate(offset, len)?;
                if grows {
                    self.cache.truncate(end)?;
                }
            }
            _ if mode == KEEP_SIZE | PUNCH_HOLE => {
                if seals & SEAL_ANY_WRITE != 0 {
                    return Err(EPERM);
                }
                self.cache.punch_hole(offset, len)?;
            }
            _ => return Err(EOPNOTSUPP),
        }
        self.written(op);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open directory.
pub struct DirFile {
    inode: Arc<TmpInode>,
}

impl DirFile {
    /// The operations of a directory.
    pub fn new(inode: Arc<TmpInode>) -> DirFile {
        DirFile { inode }
    }
}

impl FileOps for DirFile {
    fn read(&self, _: Op<'_>, _: &mut dyn Sink) -> Result<usize> {
        Err(EISDIR)
    }

    fn read_at(&self, _: Op<'_>, _: u64, _: &mut dyn Sink) -> Result<usize> {
        Err(EISDIR)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        if !matches!(whence, Whence::Set | Whence::Current) {
            return Err(EINVAL);
        }
        seek_to(op, offset, whence, 0, |_, _| Err(EINVAL))
    }

    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        let mut position = op.file.position.lock();
        *position = self.inode.directory()?.list(&self.inode, *position, sink)?;
        drop(position);
        accessed(&self.inode, op);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
