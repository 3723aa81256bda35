//! Regular files that were opened for reading before they were copied up, if ever they are.

use alloc::sync::Arc;
use core::any::Any;

use spin::Once;

use super::inode::OverlayInode;
use super::lookup::Lower;
use crate::errno::{EIO, ENOENT, Result};
use crate::io::Sink;
use crate::mm::cache::PageCache;
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFile, OpenFlags, Whence};
use crate::vfs::inode::{Inode, Opened};
use crate::vfs::limit::seek_to;

/// How layers are read: quietly.
const FLAGS: OpenFlags = OpenFlags::NOATIME.union(OpenFlags::LARGEFILE);

impl Lower {
    /// Opens a regular file of a lower layer for reading.
    pub(super) fn open(&self, mounter: &dyn Caller) -> Result<Arc<OpenFile>> {
        open(&self.inode, FLAGS, mounter)
    }
}

/// Opens a regular file or a directory of a layer.
pub(super) fn open(inode: &Arc<dyn Inode>, flags: OpenFlags, mounter: &dyn Caller) -> Result<Arc<OpenFile>> {
    match inode.open(flags, mounter)? {
        Opened::File(ops) => Ok(OpenFile::new(ops, inode.clone(), None, flags)),
        Opened::Special => Err(EIO),
    }
}

/// A file of a lower layer, open for reading. Once the file was copied up, reads are from the copy; mappings stay what
/// they are.
pub(super) struct LowerFile {
    inode: Arc<OverlayInode>,
    lower: Arc<OpenFile>,
    copy: Once<Arc<OpenFile>>,
}

impl LowerFile {
    pub fn new(inode: Arc<OverlayInode>) -> Result<LowerFile> {
        let lower = inode.lowers.first().ok_or(ENOENT)?.open(&inode.fs.mounter)?;
        Ok(LowerFile { inode, lower, copy: Once::new() })
    }

    /// What is read now.
    fn real(&self) -> Result<&OpenFile> {
        match self.inode.upper() {
            None => Ok(&self.lower),
            Some(upper) => self
                .copy
                .try_call_once(|| open(upper.inode(), FLAGS, &self.inode.fs.mounter))
                .map(|copy| &**copy),
        }
    }
}

impl FileOps for LowerFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let file = self.real()?;
        let mut position = op.file.position.lock();
        let read = file.ops.read_at(Op { file, caller: op.caller }, *position, dst)?;
        *position = position.saturating_add(read as u64);
        Ok(read)
    }

    fn read_at(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let file = self.real()?;
        file.ops.read_at(Op { file, caller: op.caller }, offset, dst)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        let file = self.real()?;
        seek_to(op, offset, whence, file.inode.metadata().size, |from, whence| {
            let from = i64::try_from(from).map_err(|_| crate::errno::ENXIO)?;
            file.ops.seek(Op { file, caller: op.caller }, from, whence)
        })
    }

    fn mappable(&self, op: Op<'_>) -> Result<Arc<PageCache>> {
        self.lower.ops.mappable(Op { file: &self.lower, caller: op.caller })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
