//! A file of an ext4 as the library and the page cache see it: its attributes, and its bytes on the disk.
//!
//! Bytes are read straight from the disk, where the library says they are: its own way of reading changes the access time
//! each time. But it keeps blocks that were written in part to itself until it is synced; so files of that kind are read
//! through it until then ([`FileCore::partial`]).

use alloc::sync::Arc;
use alloc::vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rsext4::{
    Ext4Error, Ext4Result, FileExtentState, FileExtentTarget, InodeInfo, InodeNumber, PreallocationOptions,
    RangeOperation, ZeroRangeOptions,
};

use super::unnamed::Unnamed;
use super::{Fs, Shared, Unused};
use crate::errno::{EINVAL, ENXIO, EOPNOTSUPP, Result};
use crate::host::block::BlockDevice;
use crate::host::{Frames, Phys};
use crate::mm::cache::Store;
use crate::sync::Mutex;
use crate::vfs::inode::{Attached, Device, FileKind, Timestamp};

/// The most mappings that are asked for at once.
const EXTENTS: usize = 1024;
/// Blocks that are left for what describes others.
pub(super) const SPARE_BLOCKS: u64 = 32;
/// No block is larger.
const BLOCK: u64 = 4096;
/// A file of so many blocks has its first, see [`anchor`].
const ANCHORED: u64 = 64;
/// A tree of so few nodes has no inner ones: its leaves fit into the root.
const LEAVES_IN_ROOT: u64 = 4;

/// What `stat(2)` tells of an inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attr {
    /// `None` before somebody looked.
    pub attached: Option<Attached>,
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub size: u64,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub btime: Timestamp,
    /// The access time is newer than the library's.
    pub atime_is_new: bool,
}

/// What the page cache of a file needs to know of it.
pub(super) struct FileCore {
    pub shared: Arc<Shared>,
    pub number: InodeNumber,
    pub kind: FileKind,
    pub rdev: Device,
    pub attr: Mutex<Attr>,
    /// Read through the library until so many syncs were done.
    partial: AtomicU64,
    /// It was made before so many syncs were done.
    pub made: AtomicU64,
    /// It was made without a name, and has none yet.
    pub unnamed: Mutex<Option<Unnamed>>,
    /// Size or blocks may be others now.
    stale: AtomicBool,
    /// It has no name and nobody uses it: what is written is lost.
    pub dead: AtomicBool,
    /// Its first block is known to be there, see [`anchor`].
    anchored: AtomicBool,
}

impl FileCore {
    pub(super) fn new(shared: &Arc<Shared>, info: &InodeInfo) -> FileCore {
        let times = shared.layout.times(&*shared.volume, info);
        let rdev = info.device_number.map(|number| Device::new(number.major(), number.minor()));
        FileCore {
            shared: shared.clone(),
            number: info.number,
            kind: FileKind::of_mode(u32::from(info.mode)),
            rdev: rdev.unwrap_or_default(),
            attr: Mutex::new(Attr {
                attached: None,
                mode: u32::from(info.mode),
                uid: info.uid,
                gid: info.gid,
                nlink: u32::from(info.links),
                size: info.size,
                blocks: info.blocks,
                atime: times.atime,
                mtime: times.mtime,
                ctime: times.ctime,
                btime: times.btime,
                atime_is_new: false,
            }),
            partial: AtomicU64::new(0),
            made: AtomicU64::new(0),
            unnamed: Mutex::default(),
            stale: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            anchored: AtomicBool::new(false),
        }
    }

    /// Takes over what the library says, but for the times.
    pub(super) fn refresh(&self, info: &InodeInfo) {
        let unnamed = u32::from(self.unnamed.lock().is_some());
        let mut attr = self.attr.lock();
        if self.kind == FileKind::Directory && info.size > attr.size {
            self.shared.grown.lock().insert(self.number.raw());
        }
        attr.mode = u32::from(info.mode);
        (attr.uid, attr.gid) = (info.uid, info.gid);
        attr.nlink = u32::from(info.links).saturating_sub(unnamed);
        (attr.size, attr.blocks) = (info.size, info.blocks);
    }

    /// The attributes now.
    pub(super) fn attr(&self) -> Attr {
        if self.stale.swap(false, Ordering::Relaxed)
            && let Ok(info) = self.shared.with(|fs| fs.inode(self.number))
        {
            self.refresh(&info);
        }
        *self.attr.lock()
    }

    /// Notes a change of contents or entries at `now`.
    pub(super) fn changed(&self, now: Timestamp) {
        let mut attr = self.attr.lock();
        (attr.mtime, attr.ctime) = (now, now);
        drop(attr);
        self.stale.store(true, Ordering::Relaxed);
    }

    /// The bytes of whole blocks at `offset`; zeros where there are none and behind the end.
    fn read_blocks(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = buf.len() as u64;
        let (size, map) = self.shared.with(|fs| {
            let size = fs.inode(self.number)?.size;
            if self.is_partial() || offset >= size {
                return Ok((size, None));
            }
            let map = fs.inode_extents(self.number, offset, len, FileExtentTarget::Data, EXTENTS)?;
            let inline = map.extents.iter().any(|extent| extent.state == FileExtentState::Inline);
            Ok((size, Some(map).filter(|map| map.complete && !inline)))
        })?;
        buf.fill(0);
        let upto = size.saturating_sub(offset).min(len) as usize;
        match map {
            Some(map) => {
                for extent in map.extents.iter().filter(|extent| extent.state == FileExtentState::Initialized)
                {
                    let start = extent.logical_start.max(offset);
                    let end = extent.logical_start.saturating_add(extent.length).min(offset + len);
                    if start >= end {
                        continue;
                    }
                    let place = extent.physical_start.saturating_add(start - extent.logical_start);
                    let part =
                        buf.get_mut((start - offset) as usize..(end - offset) as usize).ok_or(EINVAL)?;
                    self.shared.volume.read(place, part)?;
                }
                buf.get_mut(upto..).unwrap_or_default().fill(0);
            }
            None if upto > 0 => {
                // The library makes the time of the clock the access time.
                let atime = self.attr.lock().atime;
                let wish = buf.get_mut(..upto).unwrap_or_default();
                self.shared.with_at(atime, |fs| {
                    let mut done = 0;
                    while let Some(rest) = wish.get_mut(done..).filter(|rest| !rest.is_empty()) {
                        match fs.read_inode(self.number, offset + done as u64, rest)? {
                            0 => break,
                            read => done += read,
                        }
                    }
                    Ok(())
                })?;
            }
            None => {}
        }
        Ok(())
    }

    fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed) > self.shared.synced.load(Ordering::Relaxed)
    }

    /// The library keeps a block of this to itself. Called with the file system locked, as its syncs are.
    pub(super) fn becomes_partial(&self) {
        self.partial.store(self.shared.synced.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Does something to the file's bytes.
    pub(super) fn change<R>(&self, op: impl FnOnce(&mut Fs) -> rsext4::Ext4Result<R>) -> Result<R> {
        let (result, now) = self.shared.change(|fs| {
            self.becomes_partial();
            op(fs)
        })?;
        self.changed(now);
        Ok(result)
    }

    /// Must be called before blocks at `offset` are added.
    pub(super) fn anchor(&self, fs: &mut Fs, offset: u64) -> Ext4Result<()> {
        if !self.anchored.load(Ordering::Relaxed) {
            self.anchored.store(anchor(fs, self.number, offset)?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Frees bytes. Nodes that are free then must not become others' bytes before that lasts: a power cut may bring them back.
    fn free(&self, op: impl FnOnce(&mut Fs) -> Ext4Result<()>) -> Result<()> {
        self.change(|fs| {
            let before = nodes(fs, self.number)?;
            self.anchored.store(false, Ordering::Relaxed);
            op(fs)?;
            if nodes(fs, self.number)? < before {
                self.shared.sync_library(fs)?;
            }
            Ok(())
        })
    }

    /// It has no name and nobody uses it any more.
    pub(super) fn unused(&self) -> Unused {
        let after = if self.is_new() { 0 } else { self.shared.synced.load(Ordering::Relaxed) + 1 };
        Unused { number: self.number, after, unnamed: self.unnamed.lock().take() }
    }

    /// Whether no sync was done since it was made.
    fn is_new(&self) -> bool {
        self.kind != FileKind::Directory
            && self.made.load(Ordering::Relaxed) > self.shared.synced.load(Ordering::Relaxed)
    }

    /// The first place from `offset` on that is in an extent with data, or else in none.
    fn find(&self, offset: u64, len: u64, data: Wanted) -> Result<Option<u64>> {
        let mut at = offset;
        while at < len {
            let map = self
                .shared
                .with(|fs| fs.inode_extents(self.number, at, len - at, FileExtentTarget::Data, EXTENTS))?;
            for extent in map.extents.iter().filter(|extent| extent.state != FileExtentState::Unwritten) {
                let end = extent.logical_start.saturating_add(extent.length);
                if end <= at {
                    continue;
                }
                match data {
                    Wanted::Data => return Ok(Some(extent.logical_start.max(at))),
                    Wanted::Hole if extent.logical_start > at => return Ok(Some(at)),
                    Wanted::Hole => at = end,
                }
            }
            if map.complete {
                return Ok(match data {
                    Wanted::Data => None,
                    Wanted::Hole => Some(at.min(len)),
                });
            }
            let last =
                map.extents.last().map_or(len, |extent| extent.logical_start.saturating_add(extent.length));
            at = last.max(at + 1);
        }
        Ok(None)
    }
}

/// How many blocks of a file are not its bytes.
pub(super) fn nodes(fs: &mut Fs, number: InodeNumber) -> Ext4Result<u64> {
    let map = fs.inode_extents(number, 0, u64::MAX, FileExtentTarget::Data, usize::MAX)?;
    let bytes: u64 = map.extents.iter().map(|extent| extent.length).sum();
    Ok(fs.inode(number)?.blocks.saturating_mul(512).saturating_sub(bytes) / fs.statfs().block_size)
}

/// Whether a file takes so many blocks that it has its first.
fn is_anchored(fs: &mut Fs, number: InodeNumber) -> Ext4Result<bool> {
    Ok(fs.inode(number)?.blocks.saturating_mul(512) / fs.statfs().block_size >= ANCHORED)
}

/// Called before blocks at `offset` are added to a file, says whether it has its first block. When an extent comes before all
/// others, the library does not write its key to inner nodes of the tree; so a file has its first block, unwritten, before its
/// tree has inner nodes. Fails where the tree has grown elsewhere.
fn anchor(fs: &mut Fs, number: InodeNumber, offset: u64) -> Ext4Result<bool> {
    if !is_anchored(fs, number)? {
        return Ok(false);
    }
    let map = fs.inode_extents(number, 0, u64::MAX, FileExtentTarget::Data, 1)?;
    match map.extents.first().map(|extent| extent.logical_start) {
        Some(0) => Ok(true),
        None => Ok(false),
        Some(first) if nodes(fs, number)? > LEAVES_IN_ROOT => {
            if offset < first {
                Err(Ext4Error::unsupported())
            } else {
                Ok(false)
            }
        }
        Some(_) => {
            let allocate = RangeOperation::Allocate(PreallocationOptions { keep_size: true });
            fs.operate_inode_range(number, 0, fs.statfs().block_size, allocate)?;
            Ok(true)
        }
    }
}

/// Punches a hole; the first block of a large file only becomes unwritten.
fn punch(fs: &mut Fs, number: InodeNumber, offset: u64, len: u64) -> Ext4Result<()> {
    let block = fs.statfs().block_size;
    let (mut start, end) = (offset, offset.saturating_add(len));
    if offset == 0 && len >= block && is_anchored(fs, number)? {
        let zero = RangeOperation::Zero(ZeroRangeOptions { keep_size: true });
        fs.operate_inode_range(number, 0, block, zero)?;
        start = block;
    }
    if start < end {
        part_extents(fs, number, start, end - start)?;
        fs.operate_inode_range(number, start, end - start, RangeOperation::PunchHole)?;
    }
    Ok(())
}

/// Lets no extent reach over both ends of a hole that will be punched: the library cannot make two of one if their node is
/// full. It can when the state of a block changes, so that of the hole's last does.
fn part_extents(fs: &mut Fs, number: InodeNumber, offset: u64, len: u64) -> Ext4Result<()> {
    let (size, block) = (fs.inode(number)?.size, fs.statfs().block_size);
    let end = offset.saturating_add(len);
    let end = if end < size { end / block * block } else { size.next_multiple_of(block) };
    let start = offset.min(size).next_multiple_of(block);
    if start >= end {
        return Ok(());
    }
    let map = fs.inode_extents(number, start, 1, FileExtentTarget::Data, 1)?;
    let reaches = |extent: &&rsext4::FileExtent| {
        extent.logical_start < start && extent.logical_start.saturating_add(extent.length) > end
    };
    let Some(extent) = map.extents.iter().find(reaches) else { return Ok(()) };
    let last = end - block;
    if extent.state == FileExtentState::Initialized {
        let zero = RangeOperation::Zero(ZeroRangeOptions { keep_size: true });
        fs.operate_inode_range(number, last, block, zero)
    } else {
        let zeros = vec![0; block.min(size - last) as usize];
        fs.write_inode(number, last, &zeros)
    }
}

/// Whether a write cannot run out of space: what the library has taken for a write that fails, it keeps. So near the end
/// only what needs no new blocks is written.
fn has_room(fs: &mut Fs, number: InodeNumber, offset: u64, len: u64) -> Ext4Result<bool> {
    let stats = fs.statfs();
    let needed = len / stats.block_size + 2;
    if stats.free_blocks > needed + SPARE_BLOCKS {
        return Ok(true);
    }
    let map = fs.inode_extents(number, offset, len, FileExtentTarget::Data, EXTENTS)?;
    let written = map.extents.iter().filter(|extent| extent.state == FileExtentState::Initialized);
    let inside = |extent: &rsext4::FileExtent| {
        let end = extent.logical_start.saturating_add(extent.length).min(offset + len);
        end.saturating_sub(extent.logical_start.max(offset))
    };
    Ok(map.complete && written.map(inside).sum::<u64>() >= len)
}

#[derive(Clone, Copy)]
enum Wanted {
    Data,
    Hole,
}

/// The store of a file's page cache. It does not own the cache.
pub(super) struct FileStore(pub Arc<FileCore>);

impl Store for FileStore {
    fn read(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()> {
        let mut buf = vec![0; len as usize];
        self.0.read_blocks(offset, &mut buf)?;
        ram.write(at, &buf);
        Ok(())
    }

    fn write(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()> {
        let file = &self.0;
        if file.dead.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut buf = vec![0; len as usize];
        ram.read(at, &mut buf);
        let whole = offset.is_multiple_of(BLOCK) && len.is_multiple_of(BLOCK);
        file.shared.make_room(len)?;
        let ((), now) = file.shared.change(|fs| {
            if !whole {
                file.becomes_partial();
            }
            let before = fs.inode(file.number)?.size;
            if !has_room(fs, file.number, offset, len)? {
                return Err(Ext4Error::no_space());
            }
            file.anchor(fs, offset)?;
            let result = fs.write_inode(file.number, offset, &buf);
            if result.is_err() && fs.inode(file.number)?.size > before {
                // What was written of it is not told of.
                file.becomes_partial();
                file.anchored.store(false, Ordering::Relaxed);
                fs.truncate_inode(file.number, before)?;
            }
            result
        })?;
        file.changed(now);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.free(|fs| fs.truncate_inode(self.0.number, len))
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        if !self.0.shared.layout.has_extents {
            return Err(EOPNOTSUPP);
        }
        let number = self.0.number;
        self.0.free(|fs| punch(fs, number, offset, len))
    }

    fn levels(&self) -> u32 {
        self.0.shared.volume.levels()
    }

    fn is_busy(&self) -> bool {
        // The disk may be in memory, and ask for RAM while the library works.
        self.0.shared.fs.try_lock().is_none()
    }

    fn next_data(&self, offset: u64) -> Result<u64> {
        let size = self.0.shared.with(|fs| fs.inode(self.0.number))?.size;
        self.0.find(offset, size, Wanted::Data)?.ok_or(ENXIO)
    }

    fn next_hole(&self, offset: u64, len: u64) -> Result<u64> {
        Ok(self.0.find(offset, len, Wanted::Hole)?.unwrap_or(len))
    }
}
