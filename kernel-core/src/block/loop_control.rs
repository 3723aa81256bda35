//! `/dev/loop-control`, and the `ioctl`s of loop devices. Source: `loop(4)`.

use alloc::format;
use alloc::sync::Arc;
use core::any::Any;

use super::loops::{self, LoopDevice, LoopInfo, MOST_LOOPS};
use super::{Disk, Disks, NODE, Volume};
use crate::errno::{EBUSY, EEXIST, EINVAL, ENODEV, ENOSPC, ENOTTY, EPERM, Result};
use crate::host::block::BlockDevice;
use crate::sync::Mutex;
use crate::task::cred::Caps;
use crate::vfs::device::{Opener, Special};
use crate::vfs::file::{FileOps, Op};
use crate::vfs::inode::{Device, Inode, NewNode};

/// The number of `/dev/loop-control`.
pub const DEVICE: Device = Device::new(10, 237);

const CLR_FD: u32 = 0x4c01;
const SET_STATUS64: u32 = 0x4c04;
const GET_STATUS64: u32 = 0x4c05;
const SET_CAPACITY: u32 = 0x4c07;
const SET_DIRECT_IO: u32 = 0x4c08;
const SET_BLOCK_SIZE: u32 = 0x4c09;
const CTL_ADD: u32 = 0x4c80;
const CTL_REMOVE: u32 = 0x4c81;
const CTL_GET_FREE: u32 = 0x4c82;

/// What a loop device does beyond other disks, but for showing a file (`LOOP_SET_FD`, `LOOP_CONFIGURE`).
pub(super) fn ioctl(op: Op<'_>, device: &LoopDevice, command: u32, arg: u64) -> Result<u64> {
    let changes = matches!(command, SET_STATUS64 | SET_CAPACITY | SET_DIRECT_IO | SET_BLOCK_SIZE);
    if changes && !op.file.flags().writable() && !op.caller.cred().capable(Caps::SYS_ADMIN) {
        return Err(EPERM);
    }
    match command {
        CLR_FD => device.clear()?,
        SET_STATUS64 => device.set_status(&op.caller.memory().get(arg)?)?,
        GET_STATUS64 => op.caller.memory().set::<LoopInfo>(arg, &device.status()?)?,
        SET_CAPACITY => device.set_capacity()?,
        SET_BLOCK_SIZE => device.set_block_size(arg)?,
        // Files are read through their caches only.
        SET_DIRECT_IO => {
            device.status()?;
            if arg != 0 {
                return Err(EINVAL);
            }
        }
        _ => return Err(ENOTTY),
    }
    Ok(0)
}

impl Disks {
    fn loop_disk(&self, number: u32) -> Option<Arc<Disk>> {
        let number = Device::new(loops::MAJOR, number);
        self.all.lock().iter().find(|disk| disk.whole.number == number).cloned()
    }

    /// The loop device of that number.
    pub fn looped(&self, number: u32) -> Option<Arc<LoopDevice>> {
        self.loop_disk(number)?.looped.clone()
    }

    /// Makes a loop device of that number, or of the first that none has. EEXIST, ENOSPC.
    pub fn add_loop(self: &Arc<Disks>, number: Option<u32>) -> Result<u32> {
        let (name, number) = {
            let mut all = self.all.lock();
            let taken =
                |number: u32| all.iter().any(|disk| disk.whole.number == Device::new(loops::MAJOR, number));
            let number = match number {
                Some(number) if taken(number) => return Err(EEXIST),
                Some(number) => number,
                None => (0..MOST_LOOPS).find(|&number| !taken(number)).ok_or(ENOSPC)?,
            };
            if number >= MOST_LOOPS {
                return Err(ENOSPC);
            }
            let looped = Arc::new(LoopDevice::new(number, self));
            let device: Arc<dyn BlockDevice> = looped.clone();
            let name = format!("loop{number}");
            let whole = Volume::new(name.clone(), Device::new(loops::MAJOR, number), None, &device);
            all.push(Arc::new(Disk { whole, looped: Some(looped), partitions: Mutex::default() }));
            all.sort_by_key(|disk| disk.whole.number);
            (name, number)
        };
        if let Some(dev) = self.dev.lock().clone() {
            let node = NewNode::Block(Device::new(loops::MAJOR, number));
            match dev.root_dir().make_child(name.as_bytes(), node, &NODE) {
                // A guest may have made one itself.
                Ok(_) | Err(EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(number)
    }

    /// Takes a loop device away that nobody uses. ENODEV, EBUSY.
    fn remove_loop(&self, number: u32) -> Result<()> {
        let whole = Device::new(loops::MAJOR, number);
        let name = {
            let mut all = self.all.lock();
            let index = all.iter().position(|disk| disk.whole.number == whole).ok_or(ENODEV)?;
            let disk = all.get(index).ok_or(ENODEV)?;
            if disk.looped.as_ref().is_some_and(|looped| looped.is_bound() || looped.is_used()) {
                return Err(EBUSY);
            }
            all.remove(index).whole.name.clone()
        };
        if let Some(dev) = self.dev.lock().clone() {
            // A guest may have taken the node away itself.
            let _ = dev.root_dir().unlink(name.as_bytes());
        }
        Ok(())
    }

    /// The first loop device that shows nothing, made if there is none.
    fn free_loop(self: &Arc<Disks>) -> Result<u32> {
        let is_free = |disk: &&Arc<Disk>| disk.looped.as_ref().is_some_and(|looped| !looped.is_bound());
        match self.all().iter().find(is_free) {
            Some(disk) => Ok(disk.whole.number.minor),
            None => self.add_loop(None),
        }
    }

    /// Looks for partitions of a loop device anew.
    pub(super) fn rescan_loop(&self, number: u32) -> Result<()> {
        self.loop_disk(number).map_or(Ok(()), |disk| self.rescan(&disk.whole))
    }
}

/// Opens `/dev/loop-control`.
pub struct LoopControl(pub Arc<Disks>);

impl Opener for LoopControl {
    fn open(&self, _: &Special<'_>) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(ControlFile(self.0.clone())))
    }
}

struct ControlFile(Arc<Disks>);

impl FileOps for ControlFile {
    fn ioctl(&self, _: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        let number = u32::try_from(arg as i32).ok();
        match command {
            CTL_ADD => self.0.add_loop(number).map(u64::from),
            CTL_REMOVE => self.0.remove_loop(number.ok_or(EINVAL)?).map(|()| 0),
            CTL_GET_FREE => self.0.free_loop().map(u64::from),
            _ => Err(ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
