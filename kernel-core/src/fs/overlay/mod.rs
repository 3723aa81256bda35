//! overlayfs: several directory trees shown as one. Source: Linux's `Documentation/filesystems/overlayfs.rst`.
//!
//! The *lower* layers are never written to. What changes is copied to the *upper* one first ([`copy_up`]); a name that is
//! to vanish though a lower layer has it is hidden by a *whiteout*, and a directory whose lower parts are hidden is
//! *opaque* ([`lookup`]). An [`OverlayInode`] stands for one file, whatever layer it is in: it survives being copied up,
//! with its number and its locks. A file that was not copied up shares its lower inode's page cache.
//!
//! As on Linux: a directory of a lower layer is not renamed (EXDEV, so `mv` copies), changing a file that has several
//! names in a lower layer separates that name from the others, and changes made to a layer directly while it is in use
//! are seen or not. Unlike on Linux, `st_ino` is always that of the layer where the file came from, made unique among
//! layers (`xino=on`), and `st_dev` always the overlay's.
//!
//! Lock order: `dentries of the overlay -> names of the overlay -> dentries of the upper layer -> inodes of layers`.

mod copy_up;
mod dir;
mod file;
mod inode;
mod lookup;
mod names;
mod options;
mod table;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{ENOENT, ENOTDIR, EROFS, Result};
use crate::fs::tmpfs::{Options as TmpOptions, Tmpfs};
use crate::services::Services;
use crate::sync::Mutex;
use crate::vfs::dentry::{Dentry, DentryCache};
use crate::vfs::inode::{Device, FileKind, Inode, MODE_BITS, NewAttr, NewNode};
use crate::vfs::mount::FileSystem;

use crate::vfs::kernel_caller::KernelCaller;
pub use inode::OverlayInode;
use lookup::{Lower, Stack};
pub use options::OverlayType;
use options::work_dir;
use table::Table;

/// `OVERLAYFS_SUPER_MAGIC`.
const MAGIC: u64 = 0x794c_7630;
/// How many file systems may be stacked (`FILESYSTEM_MAX_STACK_DEPTH`): each is a few frames of the kernel's stack.
const DEPTH_MAX: u32 = 2;

/// The layer that takes changes, and a directory of the same file system where they are prepared.
struct Upper {
    root: Arc<Dentry>,
    work: Arc<Dentry>,
}

/// What an overlay is made of, topmost lower layer first.
struct Layers {
    lowers: Vec<Arc<dyn Inode>>,
    upper: Option<Upper>,
    /// Before the names of the extended attributes that mark whiteouts and the like: `trusted.` or `user.`.
    prefix: &'static str,
    /// Kept for as long as the overlay is.
    file_systems: Vec<Arc<dyn FileSystem>>,
    /// For `/proc/mounts`.
    options: String,
}

/// An overlay.
pub struct Overlay {
    shared: Arc<Shared>,
    root: Arc<OverlayInode>,
}

/// What all inodes of an overlay know.
struct Shared {
    device: Device,
    upper: Option<Upper>,
    /// The device numbers of the layers' file systems; their places make inode numbers unique.
    origins: Vec<Device>,
    prefix: &'static str,
    file_systems: Vec<Arc<dyn FileSystem>>,
    options: String,
    /// Held while names change and when a copy gets its name.
    names: Mutex<()>,
    inodes: Table,
    /// Dentries of the upper layer.
    dentries: DentryCache,
    last_temporary: AtomicU64,
    mounter: KernelCaller,
}

impl Overlay {
    /// `lower` with all changes kept in RAM, up to `size` bytes of them. `device` is the number that the overlay shows,
    /// `upper_device` that of the tmpfs.
    pub fn in_ram(
        lower: Arc<dyn FileSystem>,
        services: &Arc<Services>,
        device: Device,
        upper_device: Device,
        size: u64,
    ) -> Result<Arc<Overlay>> {
        let options = TmpOptions { size: Some(size), mode: 0o755, ..TmpOptions::default() };
        Overlay::over(lower, Tmpfs::new(services, "tmpfs", upper_device, options), device)
    }

    /// `lower` with all changes kept in directories of `changes`, which are made if they are not there.
    pub fn over(
        lower: Arc<dyn FileSystem>,
        changes: Arc<dyn FileSystem>,
        device: Device,
    ) -> Result<Arc<Overlay>> {
        let root = Dentry::root(changes.root());
        let scratch = DentryCache::default();
        let upper = match root.child(b"upper", &scratch) {
            Err(ENOENT) => {
                let top = lower.root().owner();
                let attr = NewAttr { mode: top.mode & MODE_BITS, uid: top.uid, gid: top.gid };
                root.make(b"upper", NewNode::Directory, &attr, &scratch)?
            }
            found => found?,
        };
        if upper.kind() != FileKind::Directory {
            return Err(ENOTDIR);
        }
        let upper = Upper { work: work_dir(&root)?, root: upper };
        Ok(Overlay::new(
            device,
            Layers {
                lowers: alloc::vec![lower.root()],
                upper: Some(upper),
                prefix: "trusted.",
                file_systems: alloc::vec![lower, changes],
                options: String::new(),
            },
        ))
    }

    fn new(device: Device, layers: Layers) -> Arc<Overlay> {
        let mut origins: Vec<Device> = Vec::new();
        let tops = layers.lowers.iter().chain(layers.upper.iter().map(|upper| upper.root.inode()));
        for dev in tops.map(|top| top.metadata().dev) {
            if !origins.contains(&dev) {
                origins.push(dev);
            }
        }
        let shared = Arc::new(Shared {
            device,
            upper: layers.upper,
            origins,
            prefix: layers.prefix,
            file_systems: layers.file_systems,
            options: layers.options,
            names: Mutex::new(()),
            inodes: Table::default(),
            dentries: DentryCache::default(),
            last_temporary: AtomicU64::new(0),
            mounter: KernelCaller::default(),
        });
        let stack = Stack {
            upper: shared.upper.as_ref().map(|upper| upper.root.clone()),
            lowers: layers.lowers.into_iter().map(|top| Lower::new(&shared, top)).collect(),
        };
        let root = OverlayInode::root(&shared, stack);
        Arc::new(Overlay { shared, root })
    }
}

impl Shared {
    /// The layer that takes changes; EROFS if there is none.
    fn upper(&self) -> Result<&Upper> {
        self.upper.as_ref().ok_or(EROFS)
    }

    /// A name that nothing in the work directory has.
    fn temporary(&self) -> Vec<u8> {
        format!("#{:x}", self.last_temporary.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }

    /// The number that the overlay shows for an inode of a layer: different for different file systems, and that of the
    /// topmost lower one as it is.
    fn number(&self, real: &dyn Inode) -> u64 {
        let meta = real.metadata();
        self.unique(meta.dev, meta.ino)
    }

    /// The number shown for inode `ino` of the file system `dev`.
    fn unique(&self, dev: Device, ino: u64) -> u64 {
        let origin = self.origins.iter().position(|&known| known == dev).unwrap_or(self.origins.len());
        ino ^ (origin as u64) << 56
    }
}

impl FileSystem for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.shared.device
    }

    fn sync(&self) -> Result<()> {
        // What is below is written by whoever mounted it; the upper layer may be mounted nowhere else.
        self.shared.file_systems.iter().try_for_each(|fs| fs.sync())
    }

    fn options(&self) -> String {
        self.shared.options.clone()
    }

    fn stack_depth(&self) -> u32 {
        1 + depth_of(&self.shared.file_systems)
    }
}

/// How many file systems are stacked in the deepest of these.
fn depth_of(file_systems: &[Arc<dyn FileSystem>]) -> u32 {
    file_systems.iter().map(|fs| fs.stack_depth()).max().unwrap_or(0)
}
