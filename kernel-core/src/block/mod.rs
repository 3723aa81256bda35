//! Disks: block devices of the host with numbers, partitions and nodes in `/dev`. Source: the kernel's
//! `admin-guide/devices` (block major 98 is User-mode Linux's) and `sd(4)` for what partitions are called.
//!
//! A [`Volume`] is a whole disk or one of its partitions; both are block devices. What is written goes to the host's
//! device at once, and the host keeps what was read: there is no second cache here, so a file system on a volume and
//! whoever reads its node see the same.

pub mod file;
pub(crate) mod le;
pub mod loop_control;
pub mod loops;
pub mod memory;
pub mod partitions;
pub mod sysfs;
#[cfg(any(test, feature = "fake-host"))]
pub mod testing;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::errno::{EBUSY, EIO, ENOSPC, EOPNOTSUPP, EROFS, Errno, Result};
use crate::fs::tmpfs::Tmpfs;
use crate::host::block::{BlockDevice, BlockError, SECTOR, check_range};
use crate::sync::Mutex;
use crate::vfs::inode::{Device, Inode, NewAttr, NewNode};
use loops::LoopDevice;
use partitions::Partition;

/// The driver number of disks, that of User-mode Linux's `ubd`.
pub const MAJOR: u32 = 98;
/// The driver number of partitions for whose disks there is no room among the numbers of its driver.
pub const EXTENDED: u32 = 259;
/// Device numbers of one disk: itself and 15 partitions.
const MINORS: u32 = 16;
/// The most disks, as they are called by one letter.
pub const MOST_DISKS: usize = 26;
/// What marks an ext2, ext3 or ext4 (`EXT4_SUPER_MAGIC`).
pub const EXT_MAGIC: u16 = 0xef53;
/// Nodes are for the superuser and the group `disk`.
const NODE: NewAttr = NewAttr { mode: 0o660, uid: 0, gid: 6 };

impl From<BlockError> for Errno {
    fn from(error: BlockError) -> Errno {
        match error {
            BlockError::OutOfRange | BlockError::Failed => EIO,
            BlockError::ReadOnly => EROFS,
            BlockError::NoSpace => ENOSPC,
            BlockError::Unsupported => EOPNOTSUPP,
        }
    }
}

/// A whole disk or a partition of one.
pub struct Volume {
    /// What its node is called (`ubda1`).
    pub name: String,
    /// Its device number.
    pub number: Device,
    /// Which partition it is; `None`: the whole disk.
    pub partition: Option<u32>,
    /// Where on the disk it is, in bytes; `None`: all of it.
    range: Option<Range<u64>>,
    device: Arc<dyn BlockDevice>,
    /// `BLKROSET`.
    set_read_only: AtomicBool,
    openers: AtomicU32,
    claimed: AtomicBool,
}

impl Volume {
    fn new(
        name: String,
        number: Device,
        part: Option<&Partition>,
        device: &Arc<dyn BlockDevice>,
    ) -> Arc<Volume> {
        Arc::new(Volume {
            name,
            number,
            partition: part.map(|part| part.number),
            range: part.map(|part| part.range.clone()),
            device: device.clone(),
            set_read_only: AtomicBool::new(false),
            openers: AtomicU32::new(0),
            claimed: AtomicBool::new(false),
        })
    }

    /// Where on the disk it begins, in bytes.
    pub fn start(&self) -> u64 {
        self.range.as_ref().map_or(0, |range| range.start)
    }

    /// Whether it is all or a part of this device.
    fn device_is(&self, device: &dyn BlockDevice) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.device), core::ptr::from_ref(device))
    }

    /// Has it for itself, as far as others ask: EBUSY if somebody else has (`O_EXCL` of `open(2)`, a mount).
    pub fn claim(self: &Arc<Volume>) -> Result<VolumeClaim> {
        if self.claimed.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        self.device.opened();
        Ok(VolumeClaim(self.clone()))
    }

    fn inside(&self, offset: u64, len: u64) -> Result<u64, BlockError> {
        check_range(self.size(), offset, len)?;
        Ok(self.start() + offset)
    }

    fn inside_range(&self, range: Range<u64>) -> Result<Range<u64>, BlockError> {
        let len = range.end.checked_sub(range.start).ok_or(BlockError::OutOfRange)?;
        let start = self.inside(range.start, len)?;
        Ok(start..start + len)
    }
}

impl BlockDevice for Volume {
    fn size(&self) -> u64 {
        self.range.as_ref().map_or_else(|| self.device.size(), |range| range.end - range.start)
    }

    fn levels(&self) -> u32 {
        self.device.levels()
    }

    fn read_only(&self) -> bool {
        self.device.read_only() || self.set_read_only.load(Ordering::Relaxed)
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.device.read(self.inside(offset, buf.len() as u64)?, buf)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        if self.read_only() {
            return Err(BlockError::ReadOnly);
        }
        self.device.write(self.inside(offset, bytes.len() as u64)?, bytes)
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.device.flush()
    }

    fn discard(&self, range: Range<u64>) -> Result<(), BlockError> {
        if self.read_only() {
            return Err(BlockError::ReadOnly);
        }
        self.device.discard(self.inside_range(range)?)
    }

    fn zero(&self, range: Range<u64>) -> Result<(), BlockError> {
        const STEP: u64 = 64 << 10;
        if self.read_only() {
            return Err(BlockError::ReadOnly);
        }
        match self.device.zero(self.inside_range(range.clone())?) {
            Err(BlockError::Unsupported) => {}
            result => return result,
        }
        let zeros = alloc::vec![0; STEP as usize];
        let mut at = range.start;
        while at < range.end {
            let step = STEP.min(range.end - at);
            self.write(at, zeros.get(..step as usize).unwrap_or_default())?;
            at += step;
        }
        Ok(())
    }
}

/// A volume that somebody has for himself, until this is dropped.
pub struct VolumeClaim(Arc<Volume>);

impl VolumeClaim {
    /// The volume.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.0
    }
}

impl Drop for VolumeClaim {
    fn drop(&mut self) {
        self.0.claimed.store(false, Ordering::Release);
        self.0.device.closed();
    }
}

/// A disk with the partitions that were found on it.
pub struct Disk {
    /// All of it.
    pub whole: Arc<Volume>,
    /// The loop device that it is.
    pub looped: Option<Arc<LoopDevice>>,
    partitions: Mutex<Vec<Arc<Volume>>>,
}

impl Disk {
    /// Its partitions, by number.
    pub fn partitions(&self) -> Vec<Arc<Volume>> {
        self.partitions.lock().clone()
    }

    fn scan(&self) -> Vec<Arc<Volume>> {
        let Device { major, minor: first } = self.whole.number;
        let found = partitions::find(&*self.whole);
        let numbered = found.iter().filter(|part| part.number < MINORS);
        numbered
            .map(|part| {
                let (name, number) = match self.looped {
                    // Loop devices have one number each.
                    Some(_) => ("p", Device::new(EXTENDED, first * MINORS + part.number)),
                    None => ("", Device::new(major, first + part.number)),
                };
                let name = format!("{}{name}{}", self.whole.name, part.number);
                Volume::new(name, number, Some(part), &self.whole.device)
            })
            .collect()
    }
}

/// The disks of an instance.
#[derive(Default)]
pub struct Disks {
    all: Mutex<Vec<Arc<Disk>>>,
    /// Where their nodes are.
    dev: Mutex<Option<Arc<Tmpfs>>>,
}

impl Disks {
    /// Adds disk number `index` (0 is `ubda`), if there is none of that number and it is below [`MOST_DISKS`].
    pub fn add(&self, index: usize, device: Arc<dyn BlockDevice>) {
        let Some(name) = name_of(index) else { return };
        let whole = Volume::new(name, Device::new(MAJOR, index as u32 * MINORS), None, &device);
        let disk = Arc::new(Disk { whole, looped: None, partitions: Mutex::default() });
        *disk.partitions.lock() = disk.scan();
        let mut all = self.all.lock();
        if all.iter().all(|old| old.whole.number != disk.whole.number) {
            all.push(disk);
            all.sort_by_key(|disk| disk.whole.number);
        }
    }

    /// All, by number.
    pub fn all(&self) -> Vec<Arc<Disk>> {
        self.all.lock().clone()
    }

    /// All disks and partitions, by number.
    pub fn volumes(&self) -> Vec<Arc<Volume>> {
        let disks = self.all();
        disks.iter().flat_map(|disk| [disk.whole.clone()].into_iter().chain(disk.partitions())).collect()
    }

    /// The volume with this number.
    pub fn volume(&self, number: Device) -> Option<Arc<Volume>> {
        self.volumes().into_iter().find(|volume| volume.number == number)
    }

    /// Makes the nodes in `dev`, and keeps them as partitions come and go.
    pub fn make_nodes(&self, dev: &Arc<Tmpfs>) -> Result<()> {
        for volume in self.volumes() {
            dev.root_dir().make_child(volume.name.as_bytes(), NewNode::Block(volume.number), &NODE)?;
        }
        *self.dev.lock() = Some(dev.clone());
        Ok(())
    }

    /// Reads the partition table anew (`BLKRRPART`). EBUSY if a partition is in use.
    pub fn rescan(&self, whole: &Volume) -> Result<()> {
        let all = self.all();
        let Some(disk) = all.iter().find(|disk| disk.whole.number == whole.number) else { return Ok(()) };
        let in_use = |part: &Arc<Volume>| {
            part.openers.load(Ordering::Relaxed) > 0 || part.claimed.load(Ordering::Relaxed)
        };
        if disk.partitions().iter().any(in_use) {
            return Err(EBUSY);
        }
        let new = disk.scan();
        let old = core::mem::replace(&mut *disk.partitions.lock(), new.clone());
        let Some(dev) = self.dev.lock().clone() else { return Ok(()) };
        let root = dev.root_dir();
        for part in &old {
            // A guest may have taken the node away itself.
            let _ = root.unlink(part.name.as_bytes());
        }
        for part in &new {
            root.make_child(part.name.as_bytes(), NewNode::Block(part.number), &NODE)?;
        }
        Ok(())
    }

    /// The text of `/proc/partitions`.
    pub fn partitions_text(&self) -> Vec<u8> {
        let volumes: Vec<_> = self.volumes().into_iter().filter(|volume| volume.size() > 0).collect();
        let mut text = String::from(if volumes.is_empty() { "" } else { "major minor  #blocks  name\n\n" });
        for volume in volumes {
            let Device { major, minor } = volume.number;
            text.push_str(&format!("{major:4}  {minor:7} {:10} {}\n", volume.size() / 1024, volume.name));
        }
        text.into_bytes()
    }

    /// Makes everything last that was written.
    pub fn flush(&self) {
        for disk in self.all() {
            if let Err(error) = disk.whole.flush() {
                log::error!("{}: flushing failed: {error:?}", disk.whole.name);
            }
        }
    }
}

/// What disk number `index` is called (`ubda`), if it is below [`MOST_DISKS`].
pub fn name_of(index: usize) -> Option<String> {
    let letter = u8::try_from(index).ok().filter(|&index| usize::from(index) < MOST_DISKS)?;
    Some(format!("ubd{}", char::from(b'a' + letter)))
}

/// Whether a volume that begins with these bytes has an ext2, ext3 or ext4.
pub fn is_ext(head: &[u8]) -> bool {
    le::u16_at(head, 0x438) == EXT_MAGIC
}

/// The number of the disk that a volume of this name (`ubdb2`) is on.
pub fn index_of(name: &str) -> Option<usize> {
    let letter = name.strip_prefix("ubd")?.bytes().next()?;
    letter.checked_sub(b'a').map(usize::from).filter(|&index| index < MOST_DISKS)
}

/// The sectors of a number of bytes.
pub fn sectors(bytes: u64) -> u64 {
    bytes / SECTOR
}
