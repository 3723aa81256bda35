//! Mounts: file systems put on places of the tree, and the namespaces that hold them. Sources: `mount(2)`, `umount(2)`,
//! `mount_namespaces(7)`, `proc_pid_mountinfo(5)`.
//!
//! One [`MountTable`] of an instance says what is mounted where, in all namespaces. A [`Namespace`] is a tree of mounts
//! ([`change`] has what changes it); [`peers`] says which mounts hear of each other's changes, [`propagate`] tells them,
//! [`copy`] copies trees, [`text`] is what `/proc` shows.
//!
//! Lock order: `peers -> table, place of a mount, members of a namespace -> dentries`. Whatever changes mounts holds
//! `peers` for as long as it looks and changes. A mount or path is never dropped under the table's lock.

mod change;
mod copy;
mod detached;
mod peers;
mod pivot;
mod propagate;
mod table;
mod text;
mod unmount;

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::errno::Result;
use crate::sync::Mutex;
use crate::task::namespaces::Namespaces;
use crate::task::user_ns::UserNs;
use crate::vfs::dentry::{Dentry, DentryCache};
use crate::vfs::inode::{Device, Inode};
use crate::vfs::path::{Path, name_inside};

pub use change::{BindDepth, Origin};
pub use detached::Detached;
pub use peers::{Propagation, Sharing};
#[cfg(test)]
pub(super) use table::MOST_MOUNTS;
pub use table::{MountTable, Namespace};
pub use unmount::Unmount;

bitflags::bitflags! {
    /// What a mount forbids; the bits are those of `MS_*` in `mount(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// No writes.
        const READ_ONLY = 1;
        /// Set-id bits have no effect.
        const NO_SUID = 2;
        /// Device nodes cannot be opened.
        const NO_DEV = 4;
        /// Programs cannot be executed.
        const NO_EXEC = 8;
        /// Symbolic links are not followed.
        const NO_SYM_FOLLOW = 256;
        /// Access times stay as they are.
        const NO_ATIME = 1024;
        /// Access times of directories stay as they are.
        const NO_DIR_ATIME = 2048;
        /// Access times move if older than the last change, or a day.
        const REL_ATIME = 1 << 21;
    }
}

impl MountFlags {
    /// The flags about access times.
    pub const ATIME: MountFlags =
        MountFlags::NO_ATIME.union(MountFlags::NO_DIR_ATIME).union(MountFlags::REL_ATIME);
}

bitflags::bitflags! {
    /// What a less privileged user namespace must not change of a mount that it got from a more privileged one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Locks: u32 {
        /// It stays where it is: what is below it is not to be seen.
        const PLACE = 1;
        /// It stays read-only.
        const READ_ONLY = 2;
        /// Set-id bits stay without effect.
        const NO_SUID = 4;
        /// Devices stay closed.
        const NO_DEV = 8;
        /// Nothing becomes executable.
        const NO_EXEC = 16;
        /// Access times stay as they are kept.
        const ATIME = 32;
    }
}

impl Locks {
    /// Those that keep a flag, which is then set.
    const OF_FLAGS: [(Locks, MountFlags); 4] = [
        (Locks::READ_ONLY, MountFlags::READ_ONLY),
        (Locks::NO_SUID, MountFlags::NO_SUID),
        (Locks::NO_DEV, MountFlags::NO_DEV),
        (Locks::NO_EXEC, MountFlags::NO_EXEC),
    ];
}

/// A file system that can be mounted.
pub trait FileSystem: Send + Sync {
    /// Its type, as `/proc/filesystems` has it.
    fn name(&self) -> &'static str;
    /// The root directory; the same inode every time.
    fn root(&self) -> Arc<dyn Inode>;
    /// Its device number.
    fn device(&self) -> Device;
    /// Writes everything to where it lasts.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    /// Options for `/proc/mounts`, each with a comma before it.
    fn options(&self) -> String {
        String::new()
    }
    /// The name inside of it of what a mount shows, as a reader of `mountinfo` with these namespaces sees it.
    fn name_of_root(&self, root: &Arc<Dentry>, reader: Option<&Namespaces>) -> Vec<u8> {
        let _ = reader;
        name_inside(root)
    }
    /// The number of the mount namespace whose file it is, if it is one.
    fn mount_namespace(&self) -> Option<u64> {
        None
    }
    /// How many file systems are stacked on others to make it.
    fn stack_depth(&self) -> u32 {
        0
    }
    /// Whether its device nodes are its own alone, and so as harmless as it is, whoever has mounted it.
    fn has_own_devices(&self) -> bool {
        false
    }
    /// Changes options, as `MS_REMOUNT` asks.
    fn remount(&self, options: &[u8]) -> Result<()> {
        let _ = options;
        Ok(())
    }
    /// A remount changes what is forbidden: EROFS if it cannot be written. What each mount forbids is not its business.
    fn change_flags(&self, flags: MountFlags) -> Result<()> {
        let _ = flags;
        Ok(())
    }
}

/// A file system that is mounted somewhere: what all its mounts share.
pub struct Superblock {
    /// The file system.
    pub fs: Arc<dyn FileSystem>,
    read_only: AtomicBool,
    /// Whose administrator may change it. Mounted by another than the initial one, its devices and set-id bits mean
    /// nothing outside.
    pub user_ns: UserNs,
    /// Where its names are kept; `None` if there are none.
    dentries: Option<Arc<DentryCache>>,
}

impl Superblock {
    /// A file system that belongs to `user_ns`; [`MountTable::superblock`] makes those that are mounted.
    fn new(
        fs: Arc<dyn FileSystem>,
        user_ns: UserNs,
        read_only: bool,
        dentries: Option<Arc<DentryCache>>,
    ) -> Arc<Superblock> {
        Arc::new(Superblock { fs, read_only: AtomicBool::new(read_only), user_ns, dentries })
    }

    /// Whether no mount of it can be written to.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Changes options, and forbids or allows writes by all its mounts.
    pub fn change(&self, options: &[u8], read_only: bool) -> Result<()> {
        self.fs.remount(options)?;
        self.fs.change_flags(if read_only { MountFlags::READ_ONLY } else { MountFlags::empty() })?;
        self.read_only.store(read_only, Ordering::Relaxed);
        Ok(())
    }
}

/// A file system, or a part of it, at a place.
pub struct Mount {
    /// Number, unique in the instance.
    pub id: u32,
    /// The file system.
    pub fs: Arc<dyn FileSystem>,
    /// What all mounts of the file system share.
    pub superblock: Arc<Superblock>,
    /// What of it is seen here.
    pub root: Arc<Dentry>,
    /// The root of all of it.
    tree: Arc<Dentry>,
    /// What was mounted, for `/proc/mounts`.
    pub source: Vec<u8>,
    flags: AtomicU32,
    locks: AtomicU32,
    /// 0, or since `MNT_EXPIRE` has asked for it, one more than how often somebody came to it.
    expiring: AtomicU32,
    /// The place it covers; `None` for the root and for what is in no tree.
    at: Mutex<Option<Path>>,
    /// Whose tree it is in.
    namespace: Mutex<Weak<Namespace>>,
    sharing: Mutex<Sharing>,
}

impl Mount {
    fn new(
        id: u32,
        superblock: Arc<Superblock>,
        root: Arc<Dentry>,
        source: &[u8],
        flags: MountFlags,
    ) -> Arc<Mount> {
        Arc::new(Mount {
            id,
            fs: superblock.fs.clone(),
            superblock,
            tree: root.show(),
            root,
            source: source.to_vec(),
            flags: AtomicU32::new(flags.bits()),
            locks: AtomicU32::new(0),
            expiring: AtomicU32::new(0),
            at: Mutex::new(None),
            namespace: Mutex::default(),
            sharing: Mutex::default(),
        })
    }

    /// For one file that is in no tree: see [`Path::detached`].
    pub(super) fn of_one_file(fs: Arc<dyn FileSystem>, root: Arc<Dentry>) -> Arc<Mount> {
        let source = fs.name().as_bytes();
        Mount::new(0, Superblock::new(fs, UserNs::INITIAL, false, None), root, source, MountFlags::empty())
    }

    /// What it forbids, by itself and for its file system.
    pub fn flags(&self) -> MountFlags {
        let own = self.own_flags();
        if self.superblock.is_read_only() { own | MountFlags::READ_ONLY } else { own }
    }

    /// Whether device nodes cannot be opened: by its flags, or as a less privileged user namespace has made them.
    pub fn forbids_devices(&self) -> bool {
        let superblock = &self.superblock;
        self.own_flags().contains(MountFlags::NO_DEV)
            || !superblock.user_ns.is_initial() && !superblock.fs.has_own_devices()
    }

    /// What it forbids by itself.
    pub fn own_flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// Changes what it forbids (`MS_REMOUNT`).
    fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// What its namespace's user must not change.
    pub fn locks(&self) -> Locks {
        Locks::from_bits_truncate(self.locks.load(Ordering::Relaxed))
    }

    fn set_locks(&self, locks: Locks) {
        self.locks.store(locks.bits(), Ordering::Relaxed);
    }

    /// The place it covers.
    pub fn covered(&self) -> Option<Path> {
        self.at.lock().clone()
    }

    /// The mount it is on.
    pub fn parent(&self) -> Option<Arc<Mount>> {
        self.at.lock().as_ref().map(|path| path.mount.clone())
    }

    /// The namespace whose tree it is in; `None` if it was taken off.
    pub fn namespace(&self) -> Option<Arc<Namespace>> {
        self.namespace.lock().upgrade()
    }

    /// Whether it is in a tree of its own, which is no namespace's.
    fn is_detached(&self) -> bool {
        self.namespace().is_some_and(|namespace| namespace.is_detached())
    }

    /// Whether it is in the tree of `namespace`.
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        core::ptr::eq(self.namespace.lock().as_ptr(), namespace)
    }

    /// Who hears of its changes.
    pub fn sharing(&self) -> Sharing {
        *self.sharing.lock()
    }
}

impl Drop for Mount {
    /// Lets go of the mount it is on, and so on downwards: in a loop, because a guest can stack more mounts than a kernel
    /// stack can follow.
    fn drop(&mut self) {
        if let Some(dentries) = &self.superblock.dentries {
            dentries.hide(&self.tree);
        }
        let mut next = self.at.lock().take();
        while let Some(Path { mount, dentry }) = next {
            drop(dentry);
            next = Arc::into_inner(mount).and_then(|mount| mount.at.lock().take());
        }
    }
}
