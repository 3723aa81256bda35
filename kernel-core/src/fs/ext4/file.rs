//! Open files and directories of ext4.

use alloc::sync::Arc;
use core::any::Any;

use rsext4::{DirectoryCursor, DirectoryEntryType, InodeFlags, PreallocationOptions, RangeOperation};

use super::core::SPARE_BLOCKS;
use super::inode::ExtInode;
use crate::errno::{EINVAL, EISDIR, EOPNOTSUPP, Result};
use crate::io::{Sink, Source};
use crate::mm::cache::PageCache;
use crate::sync::Mutex;
use crate::vfs::dir::DirSink;
use crate::vfs::file::{FileOps, Op, OpenFlags, Whence};
use crate::vfs::inode::{FileKind, Inode, SetAttr};
use crate::vfs::limit::{Limited, check_file_size, seek_to};
use crate::vfs::mount::MountFlags;
use crate::vfs::permission::mode_after_write;

/// `FALLOC_FL_*`.
const KEEP_SIZE: u32 = 1;
const PUNCH_HOLE: u32 = 2;
/// How many entries are read at once.
const ENTRIES: usize = 64;
/// The position behind the last entry of an indexed directory.
const LAST: u64 = i64::MAX as u64;

/// An open regular file.
pub(super) struct ExtFile {
    inode: Arc<ExtInode>,
    cache: Arc<PageCache>,
}

fn accessed(inode: &ExtInode, op: Op<'_>) {
    let quiet = |path: &crate::vfs::path::Path| {
        path.mount.flags().intersects(MountFlags::NO_ATIME | MountFlags::READ_ONLY)
    };
    if !op.file.flags().contains(OpenFlags::NOATIME) && !op.file.path.as_ref().is_some_and(quiet) {
        inode.accessed();
    }
}

impl ExtFile {
    pub(super) fn new(inode: &Arc<ExtInode>) -> Result<ExtFile> {
        Ok(ExtFile { inode: inode.clone(), cache: inode.pages()? })
    }

    /// What any write does: set-id bits go, and with `O_SYNC` it lasts now.
    fn written(&self, op: Op<'_>) -> Result<()> {
        let owner = self.inode.owner();
        if owner.mode & 0o6000 != 0 {
            // The library takes them away from everybody; whoever may keep them gets them back.
            let mode = mode_after_write(owner, &op.caller.cred()).unwrap_or(owner.mode);
            self.inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
        }
        if op.file.flags().intersects(OpenFlags::SYNC | OpenFlags::DSYNC) {
            self.inode.sync()?;
        }
        Ok(())
    }

    fn limit(&self, op: Op<'_>, offset: u64, len: usize) -> Result<usize> {
        check_file_size(op.caller, &self.inode.core.shared.services, offset, len)
    }

    fn write_to(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        let allowed = self.limit(op, offset, src.remaining())?;
        let written = self.cache.write_at(offset, &mut Limited::new(src, allowed))?;
        self.written(op)?;
        Ok(written)
    }

    fn append(&self, op: Op<'_>, src: &mut dyn Source) -> Result<(u64, usize)> {
        if src.remaining() == 0 {
            return Ok((self.cache.len(), 0));
        }
        let allowed = self.limit(op, self.cache.len(), src.remaining())?;
        let (offset, written) = self.cache.append(&mut Limited::new(src, allowed))?;
        self.written(op)?;
        Ok((offset, written))
    }
}

impl FileOps for ExtFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let mut position = op.file.position.lock();
        let read = self.cache.read_at(*position, dst)?;
        *position = position.saturating_add(read as u64);
        drop(position);
        accessed(&self.inode, op);
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
        accessed(&self.inode, op);
        Ok(read)
    }

    fn write_at(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
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
        accessed(&self.inode, op);
        Ok(self.cache.clone())
    }

    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        let end = offset.saturating_add(len);
        let core = &self.inode.core;
        match mode {
            0 | KEEP_SIZE => {
                let grows = end > self.cache.len() && mode == 0;
                if grows {
                    self.limit(op, end - 1, 1)?;
                }
                let keep_size = mode != 0;
                let operation = RangeOperation::Allocate(PreallocationOptions { keep_size });
                core.change(|fs| {
                    let stats = fs.statfs();
                    if stats.free_blocks < len / stats.block_size + SPARE_BLOCKS {
                        return Err(rsext4::Ext4Error::no_space());
                    }
                    fs.operate_inode_range(core.number, offset, len, operation)
                })?;
                if grows {
                    self.cache.grow_to(end);
                }
            }
            _ if mode == KEEP_SIZE | PUNCH_HOLE => self.cache.punch_hole(offset, len)?,
            _ => return Err(EOPNOTSUPP),
        }
        self.written(op)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open directory.
pub(super) struct DirFile {
    inode: Arc<ExtInode>,
    /// The position of which the cursor is known exactly: names with the same hash have the same position.
    last: Mutex<(u64, DirectoryCursor)>,
}

impl DirFile {
    pub(super) fn new(inode: Arc<ExtInode>) -> DirFile {
        DirFile { inode, last: Mutex::new((0, DirectoryCursor::Start)) }
    }

    /// The cursor of a position, in an indexed directory or a plain one.
    fn cursor(&self, position: u64, indexed: bool) -> DirectoryCursor {
        let (known, cursor) = *self.last.lock();
        match cursor {
            DirectoryCursor::HTree { .. } if indexed && known == position => return cursor,
            _ if position == 0 => return DirectoryCursor::Start,
            _ => {}
        }
        if !indexed {
            return DirectoryCursor::Linear { offset: position };
        }
        if position >= LAST {
            return DirectoryCursor::End;
        }
        DirectoryCursor::HTree { major: ((position >> 32) as u32) << 1, minor: position as u32, collision: 0 }
    }
}

fn position(cursor: DirectoryCursor) -> u64 {
    match cursor {
        DirectoryCursor::Start => 0,
        DirectoryCursor::Linear { offset } => offset,
        DirectoryCursor::HTree { major, minor, .. } => u64::from(major >> 1) << 32 | u64::from(minor),
        DirectoryCursor::End => LAST,
    }
}

fn kind(entry: DirectoryEntryType) -> u8 {
    match entry {
        DirectoryEntryType::Unknown => 0,
        DirectoryEntryType::RegularFile => FileKind::Regular.dirent_type(),
        DirectoryEntryType::Directory => FileKind::Directory.dirent_type(),
        DirectoryEntryType::CharacterDevice => FileKind::Char.dirent_type(),
        DirectoryEntryType::BlockDevice => FileKind::Block.dirent_type(),
        DirectoryEntryType::Fifo => FileKind::Fifo.dirent_type(),
        DirectoryEntryType::Socket => FileKind::Socket.dirent_type(),
        DirectoryEntryType::Symlink => FileKind::Symlink.dirent_type(),
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
        let mut at = op.file.position.lock();
        let number = self.inode.number();
        loop {
            let entries = self.inode.core.shared.with(|fs| {
                let indexed = fs.inode(number)?.flags.contains(InodeFlags::DIRECTORY_INDEX);
                fs.read_directory(number, self.cursor(*at, indexed), ENTRIES)
            })?;
            let full = entries.len() == ENTRIES;
            let before = *at;
            for entry in entries {
                let next = position(entry.next_cursor);
                if !sink.entry(u64::from(entry.inode.raw()), next, kind(entry.file_type), &entry.name)? {
                    drop(at);
                    accessed(&self.inode, op);
                    return Ok(());
                }
                *at = next;
                *self.last.lock() = (next, entry.next_cursor);
            }
            // A directory that does not move on is damaged.
            if !full || *at == before {
                break;
            }
        }
        drop(at);
        accessed(&self.inode, op);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
