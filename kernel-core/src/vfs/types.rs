//! The file system types that `mount(2)` can make.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno::{ENODEV, Result};
use crate::sync::Mutex;
use crate::task::cred::Caps;
use crate::vfs::caller::Caller;
use crate::vfs::inode::Device;
use crate::vfs::mount::{FileSystem, MountFlags};
use crate::vfs::path::Path;

/// Whether a type is mounted from a block device; `/proc/filesystems` says `nodev` if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A block device.
    Device,
    /// Nothing.
    Nothing,
}

/// Finds what a path names, for whoever mounts.
pub type LookUp<'a> = &'a dyn Fn(&[u8]) -> Result<Path>;

/// What is asked of a new file system.
pub struct NewFs<'a> {
    /// Who mounts: whose ids the options speak of, whose processes are shown.
    pub caller: &'a dyn Caller,
    /// Finds the files that the options name.
    pub look_up: LookUp<'a>,
    /// The text behind `-o`.
    pub options: &'a [u8],
    /// What the mount forbids.
    pub flags: MountFlags,
    /// The block device that it is on, for types that need one, or else the number that it may show.
    pub device: Device,
}

/// Makes file systems of one type.
pub trait FsType: Send + Sync {
    /// The type's name.
    fn name(&self) -> &'static str;
    /// What it is mounted from.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }
    /// Whether `caller` may mount it, if it may mount anything. Types that are harmless in less privileged user
    /// namespaces say so.
    fn may_mount(&self, caller: &dyn Caller) -> bool {
        caller.cred().capable(Caps::SYS_ADMIN)
    }
    /// A file system. EINVAL for bad options.
    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>>;
    /// Makes everything last, as nobody will use it any more.
    fn shut_down(&self) {}
}

/// The types of an instance. Whoever has one registers it at boot.
#[derive(Default)]
pub struct FsTypes {
    types: Mutex<Vec<Arc<dyn FsType>>>,
    last_device: AtomicU32,
}

/// Device numbers of file systems without a device start above those of files without names.
const FIRST_MINOR: u32 = 20;

impl FsTypes {
    /// From now on the type can be mounted.
    pub fn register(&self, new: Arc<dyn FsType>) {
        self.types.lock().push(new);
    }

    /// A device number for a file system without a device.
    pub fn next_device(&self) -> Device {
        Device::new(0, FIRST_MINOR + self.last_device.fetch_add(1, Ordering::Relaxed))
    }

    /// The type `name`; ENODEV if nobody knows it.
    pub fn find(&self, name: &[u8]) -> Result<Arc<dyn FsType>> {
        self.types.lock().iter().find(|known| known.name().as_bytes() == name).cloned().ok_or(ENODEV)
    }

    /// All types.
    pub fn all(&self) -> Vec<Arc<dyn FsType>> {
        self.types.lock().clone()
    }
}
