//! Loop devices: files as disks. Source: `loop(4)`, the kernel's `linux/loop.h`.
//!
//! Whoever uses one may have a file system on it locked, which is locked before the one that the file is in: a file's cache below a
//! loop device is told so, and enters no file system that is on one for the RAM that it needs ([`crate::mm::reclaim::Reach`]).

use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::{FALLOC_FL_KEEP_SIZE as KEEP_SIZE, FALLOC_FL_PUNCH_HOLE as PUNCH_HOLE};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::file::VolumeFile;
use super::{Disks, EXTENDED, Volume};
use crate::errno::{EBADF, EBUSY, EINVAL, ELOOP, ENOSPC, ENXIO, EOPNOTSUPP, EOVERFLOW, EROFS, Errno, Result};
use crate::host::block::{BlockDevice, BlockError, SECTOR, check_range};
use crate::io::{SliceSource, VecSink};
use crate::sync::Mutex;
use crate::vfs::file::OpenFile;
use crate::vfs::inode::FileKind;
use crate::vfs::kernel_caller::KernelCaller;

/// The driver number of loop devices.
pub const MAJOR: u32 = 7;
/// The most of them.
pub const MOST_LOOPS: u32 = 256;
/// So many are there from the beginning.
pub const FIRST_LOOPS: u32 = 8;
/// So many may be on each other, as each takes of the kernel's stack what a file system does.
const MOST_LEVELS: u32 = 2;
/// The most that is copied in one go.
const STEP: usize = 128 << 10;

/// Of [`LoopInfo::flags`]: it cannot be written (`LO_FLAGS_READ_ONLY`).
pub const READ_ONLY: u32 = 1;
/// The file is given up when nobody has the device open any more (`LO_FLAGS_AUTOCLEAR`).
pub const AUTOCLEAR: u32 = 4;
/// Its partitions are disks, too (`LO_FLAGS_PARTSCAN`).
pub const PARTSCAN: u32 = 8;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
pub struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    /// Where the disk begins in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes at most; 0 for no limit.
    pub size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    /// [`READ_ONLY`], [`AUTOCLEAR`], [`PARTSCAN`].
    pub flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
pub struct LoopConfig {
    /// The descriptor of the file.
    pub fd: u32,
    /// Bytes of a sector; 0 for the usual.
    pub block_size: u32,
    /// All else.
    pub info: LoopInfo,
    reserved: [u64; 8],
}

impl LoopConfig {
    /// What `LOOP_SET_FD` of a descriptor means.
    pub fn of(fd: u32) -> LoopConfig {
        LoopConfig { fd, ..LoopConfig::new_zeroed() }
    }

    /// Whether a newer Linux might know what this says.
    pub fn is_known(&self) -> bool {
        self.reserved == [0; 8]
    }
}

/// A file that a loop device shows.
#[derive(Clone)]
struct Bound {
    file: Arc<OpenFile>,
    /// What whoever set the device up calls it.
    name: String,
    info: LoopInfo,
    block_size: u32,
    /// In bytes, whole sectors.
    len: u64,
    /// How many loop devices this one is on.
    level: u32,
}

/// A loop device.
pub struct LoopDevice {
    number: u32,
    disks: Weak<Disks>,
    worker: KernelCaller,
    bound: Mutex<Option<Arc<Bound>>>,
    /// Open descriptors of it and its partitions, and mounts.
    users: AtomicU32,
}

fn failed(error: Errno) -> BlockError {
    match error {
        ENOSPC => BlockError::NoSpace,
        EOPNOTSUPP => BlockError::Unsupported,
        EROFS | EBADF => BlockError::ReadOnly,
        _ => BlockError::Failed,
    }
}

impl Bound {
    fn is_read_only(&self) -> bool {
        self.info.flags & READ_ONLY != 0
    }

    /// It is shown no more.
    fn release(&self) {
        if let Some(volume) = volume(&self.file) {
            volume.device.closed();
        }
    }

    fn allocate(&self, worker: &KernelCaller, range: Range<u64>) -> Result<(), BlockError> {
        let len = range.end.checked_sub(range.start).ok_or(BlockError::OutOfRange)?;
        check_range(self.len, range.start, len)?;
        let at = self.info.offset + range.start;
        self.file.ops.allocate(worker.op(&self.file), PUNCH_HOLE | KEEP_SIZE, at, len).map_err(failed)
    }
}

/// The volume that an open file is, if it is one.
fn volume(file: &OpenFile) -> Option<&Arc<Volume>> {
    file.ops.as_any().downcast_ref::<VolumeFile>().map(VolumeFile::volume)
}

/// How much of a file a device shows.
fn length(file: &OpenFile, info: &LoopInfo) -> Result<u64> {
    let all = volume(file).map_or_else(|| file.inode.metadata().size, |volume| volume.size());
    let rest = all.saturating_sub(info.offset);
    let len = if info.size_limit > 0 { rest.min(info.size_limit) } else { rest };
    if info.offset > i64::MAX as u64 { Err(EOVERFLOW) } else { Ok(len - len % SECTOR) }
}

/// A block size that can be asked for; 0: the default.
fn block_size(size: u32) -> Result<u32> {
    match size {
        0 => Ok(SECTOR as u32),
        512..=4096 if size.is_power_of_two() => Ok(size),
        _ => Err(EINVAL),
    }
}

impl LoopDevice {
    pub(super) fn new(number: u32, disks: &Arc<Disks>) -> LoopDevice {
        LoopDevice {
            number,
            disks: Arc::downgrade(disks),
            worker: KernelCaller::default(),
            bound: Mutex::default(),
            users: AtomicU32::new(0),
        }
    }

    fn bound(&self) -> Option<Arc<Bound>> {
        self.bound.lock().clone()
    }

    /// Whether it shows a file.
    pub fn is_bound(&self) -> bool {
        self.bound.lock().is_some()
    }

    /// Whether anybody uses it.
    pub fn is_used(&self) -> bool {
        self.users.load(Ordering::Acquire) > 0
    }

    /// The size of its blocks, as programs are told.
    pub fn block_size(&self) -> u32 {
        self.bound().map_or(SECTOR as u32, |bound| bound.block_size)
    }

    /// Shows `file` from now on; `writable`: the device was opened so. EBUSY if it shows one already, EINVAL if that is no file
    /// with bytes, EBADF if it is this device itself, ELOOP if it is on too many.
    pub fn bind(&self, file: Arc<OpenFile>, name: String, writable: bool, config: &LoopConfig) -> Result<()> {
        let block_size = block_size(config.block_size)?;
        let mut info = config.info;
        let known = READ_ONLY | AUTOCLEAR | PARTSCAN;
        if info.flags & !known != 0 || info.encrypt_type != 0 {
            return Err(EINVAL);
        }
        let below = match volume(&file) {
            Some(volume) if volume.device_is(self) => return Err(EBADF),
            // What a loop device that shows nothing will be on is not known yet.
            Some(volume) if matches!(volume.number.major, MAJOR | EXTENDED) && volume.levels() == 0 => {
                return Err(EINVAL);
            }
            Some(volume) => volume.levels(),
            None if file.inode.kind() == FileKind::Regular => {
                let cache = file.ops.mappable(self.worker.op(&file)).map_err(|_| EINVAL)?;
                cache.lie_below();
                cache.levels()
            }
            None => return Err(EINVAL),
        };
        if below >= MOST_LEVELS {
            return Err(ELOOP);
        }
        if !writable || !file.flags().writable() || volume(&file).is_some_and(|volume| volume.read_only()) {
            info.flags |= READ_ONLY;
        }
        let scan = info.flags & PARTSCAN != 0;
        let len = length(&file, &info)?;
        let new = Arc::new(Bound { file, name, info, block_size, len, level: below + 1 });
        {
            let mut bound = self.bound.lock();
            if bound.is_some() {
                return Err(EBUSY);
            }
            // A device below stays as it is: how many there are is known from here on.
            if let Some(volume) = volume(&new.file) {
                volume.device.opened();
            }
            *bound = Some(new);
        }
        if scan { self.scan() } else { Ok(()) }
    }

    /// Looks for partitions, or forgets them if it shows nothing.
    fn scan(&self) -> Result<()> {
        self.disks.upgrade().map_or(Ok(()), |disks| disks.rescan_loop(self.number))
    }

    /// Changes what is shown; ENXIO if nothing is.
    fn change(&self, change: impl FnOnce(&mut Bound) -> Result<()>) -> Result<Arc<Bound>> {
        let mut new = (*self.bound().ok_or(ENXIO)?).clone();
        let file = new.file.clone();
        change(&mut new)?;
        new.len = length(&file, &new.info)?;
        let new = Arc::new(new);
        let mut bound = self.bound.lock();
        match &*bound {
            Some(now) if Arc::ptr_eq(&now.file, &file) => *bound = Some(new.clone()),
            _ => return Err(ENXIO),
        }
        Ok(new)
    }

    /// `LOOP_SET_STATUS64`.
    pub fn set_status(&self, info: &LoopInfo) -> Result<()> {
        if info.encrypt_type != 0 {
            return Err(EINVAL);
        }
        let before = self.bound().ok_or(ENXIO)?.info.flags;
        let new = self.change(|bound| {
            let kept = bound.info.flags & !AUTOCLEAR;
            bound.info = LoopInfo { flags: kept | info.flags & (AUTOCLEAR | PARTSCAN), ..*info };
            Ok(())
        })?;
        if new.info.flags & !before & PARTSCAN != 0 { self.scan() } else { Ok(()) }
    }

    /// `LOOP_GET_STATUS64`.
    pub fn status(&self) -> Result<LoopInfo> {
        let bound = self.bound().ok_or(ENXIO)?;
        let meta = bound.file.inode.metadata();
        Ok(LoopInfo {
            device: meta.dev.raw(),
            inode: meta.ino,
            rdevice: meta.rdev.raw(),
            number: self.number,
            ..bound.info
        })
    }

    /// `LOOP_SET_CAPACITY`: the file has another length.
    pub fn set_capacity(&self) -> Result<()> {
        self.change(|_| Ok(())).map(drop)
    }

    /// `LOOP_SET_BLOCK_SIZE`.
    pub fn set_block_size(&self, size: u64) -> Result<()> {
        let size = u32::try_from(size).ok().filter(|&size| size > 0).ok_or(EINVAL)?;
        let size = block_size(size)?;
        self.change(|bound| {
            bound.block_size = size;
            Ok(())
        })
        .map(drop)
    }

    /// `LOOP_CLR_FD`: now, or when the last of several users goes.
    pub fn clear(&self) -> Result<()> {
        if self.users.load(Ordering::Acquire) > 1 {
            let set = |bound: &mut Bound| {
                bound.info.flags |= AUTOCLEAR;
                Ok(())
            };
            return self.change(set).map(drop);
        }
        let bound = self.bound.lock().take();
        bound.ok_or(ENXIO)?.release();
        self.scan()
    }

    /// What `/sys` says of the file; `None` if there is none.
    pub fn facts(&self) -> Option<[(&'static str, String); 6]> {
        let bound = self.bound()?;
        let info = &bound.info;
        let flag = |bit: u32| String::from(if info.flags & bit != 0 { "1" } else { "0" });
        Some([
            ("autoclear", flag(AUTOCLEAR)),
            ("backing_file", bound.name.clone()),
            ("dio", String::from("0")),
            ("offset", format!("{}", info.offset)),
            ("partscan", flag(PARTSCAN)),
            ("sizelimit", format!("{}", info.size_limit)),
        ])
    }
}

impl BlockDevice for LoopDevice {
    fn size(&self) -> u64 {
        self.bound().map_or(0, |bound| bound.len)
    }

    fn read_only(&self) -> bool {
        self.bound().is_some_and(|bound| bound.is_read_only())
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let bound = self.bound().ok_or(BlockError::Failed)?;
        check_range(bound.len, offset, buf.len() as u64)?;
        let mut at = bound.info.offset + offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let mut sink = VecSink::new(rest.len().min(STEP));
            let read = bound.file.ops.read_at(self.worker.op(&bound.file), at, &mut sink).map_err(failed)?;
            if read == 0 {
                // The file is shorter now.
                rest.fill(0);
                break;
            }
            let (now, later) = rest.split_at_mut(read.min(rest.len()));
            now.copy_from_slice(sink.bytes.get(..now.len()).ok_or(BlockError::Failed)?);
            at += read as u64;
            rest = later;
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        let bound = self.bound().ok_or(BlockError::Failed)?;
        check_range(bound.len, offset, bytes.len() as u64)?;
        if bound.is_read_only() {
            return Err(BlockError::ReadOnly);
        }
        let mut at = bound.info.offset + offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let op = self.worker.op(&bound.file);
            let written = bound.file.ops.write_at(op, at, &mut SliceSource(rest)).map_err(failed)?;
            if written == 0 {
                return Err(BlockError::Failed);
            }
            at += written as u64;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        let Some(bound) = self.bound() else { return Ok(()) };
        if bound.is_read_only() {
            return Ok(());
        }
        bound.file.ops.sync(self.worker.op(&bound.file)).map_err(failed)
    }

    fn discard(&self, range: Range<u64>) -> Result<(), BlockError> {
        let bound = self.bound().ok_or(BlockError::Failed)?;
        bound.allocate(&self.worker, range)
    }

    fn zero(&self, range: Range<u64>) -> Result<(), BlockError> {
        self.discard(range)
    }

    fn levels(&self) -> u32 {
        self.bound().map_or(0, |bound| bound.level)
    }

    fn opened(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    fn closed(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let is_last = |bound: &mut Arc<Bound>| bound.info.flags & AUTOCLEAR != 0;
        let gone = self.bound.lock().take_if(is_last);
        if let Some(bound) = gone {
            bound.release();
            if let Err(error) = self.scan() {
                log::warn!("loop{}: its partitions stay: {error:?}", self.number);
            }
        }
    }
}
