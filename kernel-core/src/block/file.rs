//! The nodes of disks, opened: reads and writes at any byte, and `ioctl`s. Source: the kernel's `linux/fs.h`,
//! `block/ioctl.c` as its manual pages tell it (`blockdev(8)`, `blkdiscard(8)`).

use alloc::sync::Arc;
use alloc::vec;
use core::any::Any;
use core::sync::atomic::Ordering;

use linux_raw_sys::general::{
    FALLOC_FL_KEEP_SIZE as KEEP_SIZE, FALLOC_FL_PUNCH_HOLE as PUNCH_HOLE, FALLOC_FL_ZERO_RANGE as ZERO_RANGE,
};
use linux_raw_sys::ioctl as sys;

use super::loops::{self, LoopDevice};
use super::{Disks, Volume, VolumeClaim, loop_control, sectors};
use crate::errno::{EACCES, EBADF, EINVAL, ENOSPC, ENOTTY, ENXIO, EOPNOTSUPP, EPERM, EROFS, Result};
use crate::host::block::{BlockDevice, SECTOR};
use crate::io::{Sink, Source};
use crate::task::cred::Caps;
use crate::vfs::device::{Opener, Special};
use crate::vfs::file::{FileOps, Op, OpenFlags, Whence};
use crate::vfs::inode::Device;
use crate::vfs::limit::seek_to;

/// The most that is copied in one go.
const STEP: usize = 128 << 10;
/// The block size that programs are told, in bytes.
const PAGE: u32 = 4096;
const HDIO_GETGEO: u32 = 0x301;

/// Opens the nodes of disks.
pub struct DiskOpener(pub Arc<Disks>);

impl Opener for DiskOpener {
    fn open(&self, file: &Special<'_>) -> Result<Arc<dyn FileOps>> {
        let volume = self.0.volume(file.device).ok_or(ENXIO)?;
        if file.flags.writable() && volume.read_only() {
            return Err(EACCES);
        }
        let claim = if file.flags.contains(OpenFlags::EXCL) {
            Some(volume.claim()?)
        } else {
            volume.device.opened();
            None
        };
        volume.openers.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(VolumeFile { disks: self.0.clone(), volume, claim }))
    }
}

/// An open disk or partition.
pub struct VolumeFile {
    disks: Arc<Disks>,
    volume: Arc<Volume>,
    claim: Option<VolumeClaim>,
}

impl Drop for VolumeFile {
    fn drop(&mut self) {
        self.volume.openers.fetch_sub(1, Ordering::Relaxed);
        if self.claim.is_none() {
            self.volume.device.closed();
        }
    }
}

fn down(at: u64) -> u64 {
    at - at % SECTOR
}

impl VolumeFile {
    /// What is open.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// The loop device of which all or a partition is open, if it is one.
    pub fn looped(&self) -> Option<Arc<LoopDevice>> {
        let Device { major, minor } = self.volume.number;
        match major {
            loops::MAJOR => self.disks.looped(minor),
            super::EXTENDED => self.disks.looped(minor / super::MINORS),
            _ => None,
        }
    }

    /// `O_DIRECT` takes whole sectors only.
    fn check_direct(&self, op: Op<'_>, offset: u64, len: usize) -> Result<()> {
        let whole = offset.is_multiple_of(SECTOR) && (len as u64).is_multiple_of(SECTOR);
        if op.file.flags().contains(OpenFlags::DIRECT) && !whole { Err(EINVAL) } else { Ok(()) }
    }

    fn read_from(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        self.check_direct(op, offset, dst.remaining())?;
        let mut buf = vec![0; STEP.min(dst.remaining().saturating_add(2 * SECTOR as usize))];
        let mut done = 0;
        while dst.remaining() > 0 {
            let at = offset.saturating_add(done as u64);
            let Some((skip, wish, piece)) = self.window(at, dst.remaining(), &mut buf) else { break };
            let result = self.volume.read(down(at), piece).map_err(Into::into);
            match result.and_then(|()| dst.put(piece.get(skip..skip + wish).unwrap_or_default())) {
                Ok(put) => {
                    done += put;
                    if put < wish {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn write_to(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        self.check_direct(op, offset, src.remaining())?;
        if src.remaining() == 0 {
            return Ok(0);
        }
        if self.volume.read_only() {
            return Err(EPERM);
        }
        let mut buf = vec![0; STEP.min(src.remaining().saturating_add(2 * SECTOR as usize))];
        let mut done = 0;
        while src.remaining() > 0 {
            let at = offset.saturating_add(done as u64);
            let Some((skip, wish, piece)) = self.window(at, src.remaining(), &mut buf) else { break };
            match self.write_piece(down(at), piece, skip, wish, src) {
                Ok(taken) => {
                    done += taken;
                    if taken < wish {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if done == 0 {
            return Err(ENOSPC);
        }
        if op.file.flags().intersects(OpenFlags::SYNC | OpenFlags::DSYNC) {
            self.volume.flush()?;
        }
        Ok(done)
    }

    /// What of the next `len` bytes at `at` fits in `buf` with whole sectors around it: where in these they begin, how many
    /// there are, and the part of `buf` for the sectors. `None` at the end of the disk.
    fn window<'a>(&self, at: u64, len: usize, buf: &'a mut [u8]) -> Option<(usize, usize, &'a mut [u8])> {
        let left = self.volume.size().saturating_sub(at);
        let skip = (at % SECTOR) as usize;
        let wish = left.min(len as u64).min((buf.len() - skip) as u64) as usize;
        let whole = (skip + wish).next_multiple_of(SECTOR as usize).min(buf.len());
        if wish == 0 { None } else { Some((skip, wish, buf.get_mut(..whole)?)) }
    }

    /// Writes `wish` bytes of `src` behind the first `skip` of the sectors at `at`, of which `buf` is as long as all;
    /// says how many there were.
    fn write_piece(
        &self,
        at: u64,
        buf: &mut [u8],
        skip: usize,
        wish: usize,
        src: &mut dyn Source,
    ) -> Result<usize> {
        let partial = skip != 0 || skip + wish != buf.len();
        if partial {
            self.volume.read(at, buf)?;
        }
        let mut taken = src.take(buf.get_mut(skip..skip + wish).unwrap_or_default())?;
        if taken < wish && !partial {
            // Of the last sector only a part came, and what else is in it was not read.
            taken = down(taken as u64) as usize;
        }
        let whole = (skip + taken).next_multiple_of(SECTOR as usize).min(buf.len());
        self.volume.write(at, buf.get(..whole).unwrap_or_default())?;
        Ok(taken)
    }

    /// The range of two numbers at `arg`, in bytes; EINVAL if it is not on the device or not of whole sectors.
    fn range_argument(&self, op: Op<'_>, arg: u64) -> Result<core::ops::Range<u64>> {
        if !op.file.flags().writable() {
            return Err(EBADF);
        }
        let [start, len]: [u64; 2] = op.caller.memory().get(arg)?;
        let end = start.checked_add(len).ok_or(EINVAL)?;
        if !start.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) || end > self.volume.size() {
            return Err(EINVAL);
        }
        Ok(start..end)
    }

    /// A number that no other disk has.
    fn sequence(&self) -> u64 {
        let Device { major, minor } = self.volume.number;
        match major {
            loops::MAJOR => (super::MOST_DISKS as u64 + 1) + u64::from(minor),
            super::EXTENDED => (super::MOST_DISKS as u64 + 1) + u64::from(minor / super::MINORS),
            _ => u64::from(minor / super::MINORS + 1),
        }
    }

    /// `struct hd_geometry`, as User-mode Linux makes it up: 128 heads of 32 sectors.
    fn geometry(&self, op: Op<'_>, arg: u64) -> Result<()> {
        let mut bytes = [0; 16];
        let cylinders = u16::try_from(sectors(self.volume.size()) / (128 * 32)).unwrap_or(u16::MAX);
        let start = sectors(self.volume.start());
        let [heads, per_track, low, high, _, _, _, _, rest @ ..] = &mut bytes;
        (*heads, *per_track) = (128, 32);
        [*low, *high] = cylinders.to_le_bytes();
        *rest = start.to_le_bytes();
        op.caller.memory().write_bytes(arg, &bytes)
    }
}

fn privileged(op: Op<'_>) -> Result<()> {
    if op.caller.cred().capable(Caps::SYS_ADMIN) { Ok(()) } else { Err(EACCES) }
}

impl FileOps for VolumeFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let mut position = op.file.position.lock();
        let read = self.read_from(op, *position, dst)?;
        *position = position.saturating_add(read as u64);
        Ok(read)
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let mut position = op.file.position.lock();
        if op.file.flags().contains(OpenFlags::APPEND) {
            *position = self.volume.size();
        }
        let written = self.write_to(op, *position, src)?;
        *position = position.saturating_add(written as u64);
        Ok(written)
    }

    fn read_at(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        self.read_from(op, offset, dst)
    }

    fn write_at(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        self.write_to(op, offset, src)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        if matches!(whence, Whence::Data | Whence::Hole) {
            return Err(EINVAL);
        }
        let size = self.volume.size();
        let before = *op.file.position.lock();
        let target = seek_to(op, offset, whence, size, |_, _| Err(EINVAL))?;
        if target > size {
            *op.file.position.lock() = before;
            return Err(EINVAL);
        }
        Ok(target)
    }

    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        let memory = op.caller.memory();
        let volume = &self.volume;
        match command {
            sys::BLKGETSIZE => memory.set(arg, &sectors(volume.size()))?,
            sys::BLKGETSIZE64 => memory.set(arg, &volume.size())?,
            sys::BLKSSZGET | sys::BLKPBSZGET | sys::BLKIOMIN => {
                memory.set(arg, &self.looped().map_or(SECTOR as u32, |looped| looped.block_size()))?;
            }
            sys::BLKBSZGET => memory.set(arg, &PAGE)?,
            sys::BLKBSZSET => {
                privileged(op)?;
                let size: u32 = memory.get(arg)?;
                if !(512..=PAGE).contains(&size) || !size.is_power_of_two() {
                    return Err(EINVAL);
                }
            }
            sys::BLKIOOPT | sys::BLKALIGNOFF | sys::BLKDISCARDZEROES => memory.set(arg, &0u32)?,
            sys::BLKROTATIONAL => memory.set(arg, &0u16)?,
            sys::BLKRAGET => memory.set(arg, &256u64)?,
            sys::BLKROGET => memory.set(arg, &u32::from(volume.read_only()))?,
            sys::BLKROSET => {
                privileged(op)?;
                let value: u32 = memory.get(arg)?;
                volume.set_read_only.store(value != 0, Ordering::Relaxed);
            }
            sys::BLKFLSBUF => {
                privileged(op)?;
                volume.flush()?;
            }
            sys::BLKRRPART => {
                privileged(op)?;
                if volume.partition.is_some() {
                    return Err(EINVAL);
                }
                self.disks.rescan(volume)?;
            }
            sys::BLKDISCARD => volume.discard(self.range_argument(op, arg)?)?,
            sys::BLKZEROOUT => volume.zero(self.range_argument(op, arg)?)?,
            sys::BLKGETDISKSEQ => memory.set(arg, &self.sequence())?,
            HDIO_GETGEO => self.geometry(op, arg)?,
            _ => {
                return self
                    .looped()
                    .map_or(Err(ENOTTY), |looped| loop_control::ioctl(op, &looped, command, arg));
            }
        }
        Ok(0)
    }

    /// What reads as zero afterwards; a disk cannot grow.
    fn allocate(&self, _: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        if mode & ZERO_RANGE == 0 && mode & (PUNCH_HOLE | KEEP_SIZE) != PUNCH_HOLE | KEEP_SIZE {
            return Err(EOPNOTSUPP);
        }
        let end = offset.saturating_add(len);
        if offset >= self.volume.size() || end > self.volume.size() && mode & KEEP_SIZE == 0 {
            return Err(EINVAL);
        }
        let end = end.min(self.volume.size());
        if !offset.is_multiple_of(SECTOR) || !end.is_multiple_of(SECTOR) {
            return Err(EINVAL);
        }
        if self.volume.read_only() {
            return Err(EROFS);
        }
        Ok(self.volume.zero(offset..end)?)
    }

    fn sync(&self, _: Op<'_>) -> Result<()> {
        Ok(self.volume.flush()?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
