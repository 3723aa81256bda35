//! Open files and directories of hostfs.

use alloc::sync::Arc;

use linux_raw_sys::general::{FALLOC_FL_KEEP_SIZE as KEEP_SIZE, FALLOC_FL_PUNCH_HOLE as PUNCH_HOLE};

use super::TRUSTED_NS;
use super::inode::HostInode;
use crate::errno::{EOPNOTSUPP, Result};
use crate::host::tree::{Access, OpenDir};
use crate::mm::cache::PageCache;
use crate::vfs::cached::Cached;
use crate::vfs::dir::{DirSink, Directory, list_dots};
use crate::vfs::file::{Op, OpenFlags};
use crate::vfs::inode::{FileKind, Inode, SetAttr};
use crate::vfs::limit::check_file_size;
use crate::vfs::permission::mode_after_write;

/// An open regular file.
pub(super) struct HostFile {
    inode: Arc<HostInode>,
    pages: Arc<PageCache>,
}

impl HostFile {
    /// Opens it on the host too: what the host refuses is refused here, and its name may go.
    pub fn new(inode: Arc<HostInode>, flags: OpenFlags) -> Result<HostFile> {
        let pages = inode.pages()?.clone();
        let writes = flags.writable() || flags.contains(OpenFlags::TRUNC);
        inode.keep_open(if writes { Access::Write } else { Access::Read })?;
        Ok(HostFile { inode, pages })
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        self.inode.close();
    }
}

impl Cached for HostFile {
    fn cache(&self) -> &Arc<PageCache> {
        &self.pages
    }

    fn refresh(&self) -> Result<()> {
        self.inode.refresh(TRUSTED_NS)
    }

    fn refresh_end(&self) -> Result<()> {
        // Others may append as well.
        self.inode.refresh(0)
    }

    fn allow(&self, op: Op<'_>, offset: u64, len: usize) -> Result<usize> {
        let allowed = check_file_size(op.caller, &self.inode.fs.services, offset, len)?;
        self.refresh()?;
        Ok(allowed)
    }

    fn written(&self, op: Op<'_>, done: Result<()>) -> Result<()> {
        let owner = self.inode.known_owner();
        if owner.mode & 0o6000 != 0
            && let Some(mode) = mode_after_write(owner, &op.caller.cred())
        {
            // The bytes are written: that the bits stay is the host's refusal, and is logged nowhere else.
            if let Err(error) = self.inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() }) {
                log::warn!("hostfs: set-id bits of a file that was written stay: {error:?}");
            }
        }
        done
    }

    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        let end = offset.saturating_add(len);
        match mode {
            0 | KEEP_SIZE => {
                if mode == 0 && end > self.pages.len() {
                    check_file_size(op.caller, &self.inode.fs.services, end - 1, 1)?;
                }
                self.inode.file(Access::Write)?.allocate(mode, offset, len)?;
                self.inode.changed();
                if mode == 0 {
                    self.pages.grow_to(end);
                }
            }
            _ if mode == KEEP_SIZE | PUNCH_HOLE => self.pages.punch_hole(offset, len)?,
            _ => return Err(EOPNOTSUPP),
        }
        self.written(op, Ok(()))
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

impl Directory for DirFile {
    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        let mut position = op.file.position.lock();
        let own = self.inode.metadata().ino;
        // Of the directory above nobody knows the number here but the walk, which has the right one.
        if !list_dots(&mut position, own, own, sink)? {
            return Ok(());
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
}
