//! Open files and directories of ext4.

use alloc::sync::Arc;

use linux_raw_sys::general::{FALLOC_FL_KEEP_SIZE as KEEP_SIZE, FALLOC_FL_PUNCH_HOLE as PUNCH_HOLE};
use rsext4::{DirectoryCursor, DirectoryEntryType, InodeFlags, PreallocationOptions, RangeOperation};

use super::core::SPARE_BLOCKS;
use super::inode::ExtInode;
use crate::errno::{EOPNOTSUPP, Result};
use crate::mm::cache::PageCache;
use crate::sync::Mutex;
use crate::vfs::cached::Cached;
use crate::vfs::dir::{DirSink, Directory};
use crate::vfs::file::{Op, OpenFlags};
use crate::vfs::inode::{FileKind, Inode, SetAttr};
use crate::vfs::limit::check_file_size;
use crate::vfs::permission::{drop_file_capabilities, mode_after_write};

/// How many entries are read at once.
const ENTRIES: usize = 64;
/// The position behind the last entry of an indexed directory.
const LAST: u64 = i64::MAX as u64;

/// An open regular file.
pub(super) struct ExtFile {
    inode: Arc<ExtInode>,
    cache: Arc<PageCache>,
}

impl ExtFile {
    pub(super) fn new(inode: &Arc<ExtInode>) -> Result<ExtFile> {
        Ok(ExtFile { inode: inode.clone(), cache: inode.pages()? })
    }
}

impl Cached for ExtFile {
    fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }

    fn accessed(&self) {
        self.inode.accessed();
    }

    fn allow(&self, op: Op<'_>, offset: u64, len: usize) -> Result<usize> {
        check_file_size(op.caller, &self.inode.core.shared.services, offset, len)
    }

    /// Set-id bits go, and with `O_SYNC` it lasts now.
    fn written(&self, op: Op<'_>, done: Result<()>) -> Result<()> {
        done?;
        let owner = self.inode.owner();
        if owner.mode & 0o6000 != 0 {
            // The library takes them away from everybody; whoever may keep them gets them back.
            let mode = mode_after_write(owner, &op.caller.cred()).unwrap_or(owner.mode);
            self.inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
        }
        drop_file_capabilities(&*self.inode, owner)?;
        if op.file.flags().intersects(OpenFlags::SYNC | OpenFlags::DSYNC) {
            self.inode.sync()?;
        }
        Ok(())
    }

    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        let end = offset.saturating_add(len);
        let core = &self.inode.core;
        match mode {
            0 | KEEP_SIZE => {
                let grows = end > self.cache.len() && mode == 0;
                if grows {
                    self.allow(op, end - 1, 1)?;
                }
                let keep_size = mode != 0;
                let operation = RangeOperation::Allocate(PreallocationOptions { keep_size });
                core.shared.make_room(len)?;
                core.change(|fs| {
                    let stats = fs.statfs();
                    if stats.free_blocks < len / stats.block_size + SPARE_BLOCKS {
                        return Err(rsext4::Ext4Error::no_space());
                    }
                    core.anchor(fs, offset)?;
                    fs.operate_inode_range(core.number, offset, len, operation)
                })?;
                if grows {
                    self.cache.grow_to(end);
                }
            }
            _ if mode == KEEP_SIZE | PUNCH_HOLE => self.cache.punch_hole(offset, len)?,
            _ => return Err(EOPNOTSUPP),
        }
        self.written(op, Ok(()))
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

impl DirFile {
    fn accessed(&self, op: Op<'_>) {
        if op.file.notes_access() {
            self.inode.accessed();
        }
    }
}

impl Directory for DirFile {
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
                    self.accessed(op);
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
        self.accessed(op);
        Ok(())
    }
}
