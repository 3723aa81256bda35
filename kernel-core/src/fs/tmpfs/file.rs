//! Open files and directories of tmpfs.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general::{FALLOC_FL_KEEP_SIZE as KEEP_SIZE, FALLOC_FL_PUNCH_HOLE as PUNCH_HOLE};

use super::inode::{
    EXECUTE, SEAL_ANY_WRITE, SEAL_EXEC, SEAL_GROW, SEAL_SEAL, SEAL_SHRINK, SEAL_WRITE, TmpInode,
};
use crate::errno::{EINVAL, ENOSPC, EOPNOTSUPP, EPERM, Result};
use crate::mm::cache::PageCache;
use crate::vfs::cached::Cached;
use crate::vfs::dir::{DirSink, Directory};
use crate::vfs::file::Op;
use crate::vfs::inode::{Inode, SetAttr};
use crate::vfs::limit::check_file_size;
use crate::vfs::permission::{drop_file_capabilities, mode_after_write};

/// `F_ADD_SEALS` and `F_GET_SEALS` of `fcntl(2)`.
const F_ADD_SEALS: u32 = 1033;
const F_GET_SEALS: u32 = 1034;
const ALL_SEALS: u64 = 0x3f;

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
        let mut seals = seals as u32;
        // What stays executable stays what it is.
        if seals & SEAL_EXEC != 0 && self.inode.attr.lock().mode & EXECUTE != 0 {
            seals |= SEAL_SHRINK | SEAL_GROW | SEAL_ANY_WRITE;
        }
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

impl Cached for TmpFile {
    fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }

    fn accessed(&self) {
        self.inode.accessed();
    }

    /// EPERM by seals, EFBIG and SIGXFSZ by limits, ENOSPC.
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

    fn written(&self, op: Op<'_>, done: Result<()>) -> Result<()> {
        done?;
        self.inode.recount();
        self.inode.changed();
        let owner = self.inode.owner();
        if !owner.gives_privileges() {
            return Ok(());
        }
        if let Some(mode) = mode_after_write(owner, &op.caller.cred()) {
            self.inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
        }
        drop_file_capabilities(&*self.inode, owner)
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
        self.written(op, Ok(()))
    }
}

/// An open directory.
pub struct DirFile {
    inode: Arc<TmpInode>,
    /// Entries from here on came after its start was read. They are not listed: who renames what he reads would read it for ever.
    end: AtomicU64,
}

impl DirFile {
    /// The operations of a directory.
    pub fn new(inode: Arc<TmpInode>) -> DirFile {
        DirFile { inode, end: AtomicU64::new(u64::MAX) }
    }
}

impl Directory for DirFile {
    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        let mut position = op.file.position.lock();
        let directory = self.inode.directory()?;
        if *position == 0 {
            self.end.store(directory.end(), Ordering::Relaxed);
        }
        *position = directory.list(&self.inode, (*position, self.end.load(Ordering::Relaxed)), sink)?;
        drop(position);
        if op.file.notes_access() {
            self.inode.accessed();
        }
        Ok(())
    }
}
