//! Open files and directories of hostfs.

use alloc::sync::Arc;
use core::any::Any;

use super::TRUSTED_NS;
use super::inode::HostInode;
use crate::errno::{EINVAL, EISDIR, EOPNOTSUPP, Result};
use crate::host::tree::{Access, OpenDir};
use crate::io::{Sink, Source};
use crate::mm::cache::PageCache;
use crate::vfs::dir::DirSink;
use crate::vfs::file::{FileOps, Op, OpenFlags, Whence};
use crate::vfs::inode::{FileKind, Inode, SetAttr};
use crate::vfs::limit::{Limited, check_file_size, seek_to};
use crate::vfs::permission::mode_after_write;

/// `FALLOC_FL_*`.
const KEEP_SIZE: u32 = 1;
const PUNCH_HOLE: u32 = 2;

/// An open regular file.
pub(super) struct RegularFile {
    inode: Arc<HostInode>,
    pages: Arc<PageCache>,
}

impl RegularFile {
    /// Opens it on the host too: what the host refuses is refused here, and its name may go.
    pub fn new(inode: Arc<HostInode>, flags: OpenFlags) -> Result<RegularFile> {
        let pages = inode.pages()?.clone();
        let writes = flags.writable() || flags.contains(OpenFlags::TRUNC);
        inode.keep_open(if writes { Access::Write } else { Access::Read })?;
        Ok(RegularFile { inode, pages })
    }

    /// What any write does to the attributes.
    fn written(&self, op: Op<'_>) {
        self.inode.changed();
        let owner = self.inode.owner();
        if owner.mode & 0o6000 != 0
            && let Some(mode) = mode_after_write(owner, &op.caller.cred())
        {
            // The bytes are written: that the bits stay is the host's refusal, and is logged nowhere else.
            if let Err(error) = self.inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() }) {
                log::warn!("hostfs: set-id bits of a file that was written stay: {error:?}");
            }
        }
    }

    fn write_to(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        let allowed = check_file_size(op.caller, &self.inode.fs.services, offset, src.remaining())?;
        self.inode.refresh(TRUSTED_NS)?;
        let written = self.pages.write_at(offset, &mut Limited::new(src, allowed));
        self.written(op);
        written
    }

    fn append(&self, op: Op<'_>, src: &mut dyn Source) -> Result<(u64, usize)> {
        // Others may append as well.
        self.inode.refresh(0)?;
        if src.remaining() == 0 {
            return Ok((self.pages.len(), 0));
        }
        let allowed = check_file_size(op.caller, &self.inode.fs.services, self.pages.len(), src.remaining())?;
        let written = self.pages.append(&mut Limited::new(src, allowed));
        self.written(op);
        written
    }
}

impl Drop for RegularFile {
    fn drop(&mut self) {
        self.inode.close();
    }
}

impl FileOps for RegularFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        self.inode.refresh(TRUSTED_NS)?;
        let mut position = op.file.position.lock();
        let read = self.pages.read_at(*position, dst)?;
        *position = position.saturating_add(read as u64);
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

    fn read_at(&self, _: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        self.inode.refresh(TRUSTED_NS)?;
        self.pages.read_at(offset, dst)
    }

    fn write_at(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        // Against POSIX, Linux appends here too (`pwrite(2)`, BUGS).
        if op.file.flags().contains(OpenFlags::APPEND) {
            return Ok(self.append(op, src)?.1);
        }
        self.write_to(op, offset, src)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        if whence != Whence::Set && whence != Whence::Current {
            self.inode.refresh(TRUSTED_NS)?;
        }
        seek_to(op, offset, whence, self.pages.len(), |from, whence| match whence {
            Whence::Data => self.pages.next_data(from),
            _ => self.pages.next_hole(from),
        })
    }

    fn mappable(&self, _: Op<'_>) -> Result<Arc<PageCache>> {
        self.inode.refresh(TRUSTED_NS)?;
        Ok(self.pages.clone())
    }

    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        let end = offset.saturating_add(len);
        match mode {
            0 | KEEP_SIZE => {
                if mode == 0 && end > self.pages.len() {
                    check_file_size(op.caller, &self.inode.fs.services, end - 1, 1)?;
                }
                self.inode.file(Access::Write)?.allocate(mode, offset, len)?;
                if mode == 0 {
                    self.pages.grow_to(end);
                }
            }
            _ if mode == KEEP_SIZE | PUNCH_HOLE => self.pages.punch_hole(offset, len)?,
            _ => return Err(EOPNOTSUPP),
        }
        self.written(op);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open directory. The position is 0 at the start, 1 behind `.`, and from 2 on the host's and 2.
pub(super) struct DirFile {
    inode: Arc<HostInode>,
    open: Arc<dyn OpenDir>,
}

impl DirFile {
    pub fn new(inode: Arc<HostInode>) -> Result<DirFile> {
        let open = inode.node().open_dir()?;
        Ok(DirFile { inode, open })
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
        let directory = FileKind::Directory.dirent_type();
        let mut position = op.file.position.lock();
        let own = self.inode.metadata().ino;
        // Of the directory above nobody knows the number here but the walk, which has the right one.
        let dots = [(&b"."[..], own), (&b".."[..], own)];
        for (at, (name, ino)) in dots.into_iter().enumerate().skip(*position as usize) {
            if !sink.entry(ino, at as u64 + 1, directory, name)? {
                return Ok(());
            }
            *position = at as u64 + 1;
        }
        let mut failed = Ok(());
        // The host's positions may use all bits but the highest.
        let from = *position - 2;
        let mut behind = *position;
        self.open.list(from, &mut |ino, next, kind, name| {
            let next = next.saturating_add(2);
            // A regular file may stand for something else.
            let kind = if kind == FileKind::Regular.dirent_type() { 0 } else { kind };
            match sink.entry(ino, next, kind, name) {
                Ok(true) => {
                    behind = next;
                    true
                }
                Ok(false) => false,
                Err(error) => {
                    failed = Err(error);
                    false
                }
            }
        })?;
        *position = behind;
        failed
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
