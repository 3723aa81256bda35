//! Mounting, binding, moving, and changing what mounts forbid or tell.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::peers::Propagation;
use super::propagate::attach;
use super::table::Namespace;
use super::{FileSystem, Locks, Mount, MountFlags};
use crate::errno::{EBUSY, EINVAL, ELOOP, ENOENT, ENOTDIR, EPERM, Result};
use crate::task::user_ns::UserNs;
use crate::vfs::dentry::Dentry;
use crate::vfs::inode::FileKind;
use crate::vfs::path::Path;

/// What of the mounts below a place is meant too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindDepth {
    /// Only the mount itself.
    One,
    /// All below it (`MS_REC`).
    Recursive,
}

/// Where a mount that is moved comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A place in the caller's namespace.
    Attached,
    /// A tree of its own (`fsmount(2)`, `OPEN_TREE_CLONE`).
    Detached,
}

pub(super) fn is_directory(dentry: &Arc<Dentry>) -> bool {
    dentry.kind() == FileKind::Directory
}

impl Namespace {
    /// The topmost place at `at`, where something can be mounted: EINVAL if it is in another namespace, ENOENT if its
    /// name was removed. Under the lock of the peers.
    pub(super) fn place_for_mount(&self, at: &Path) -> Result<Path> {
        let at = self.cross(at.clone());
        if !at.mount.is_in(self) {
            return Err(EINVAL);
        }
        if at.dentry.is_deleted() {
            return Err(ENOENT);
        }
        Ok(at)
    }

    /// Mounts `fs`, which becomes `user_ns`'s, on `at`. ENOTDIR if a directory meets a file, EBUSY if the same is there
    /// already, ENOSPC if there are too many mounts.
    pub fn mount(
        self: &Arc<Namespace>,
        fs: Arc<dyn FileSystem>,
        source: &[u8],
        at: &Path,
        flags: MountFlags,
        user_ns: &UserNs,
    ) -> Result<()> {
        let root = Dentry::root(fs.root());
        let superblock = self.table.superblock(fs, user_ns, flags.contains(MountFlags::READ_ONLY));
        let mount = Mount::new(self.table.next_id(), superblock, root, source, flags);
        let mut peers = self.table.lock();
        let at = self.place_for_mount(at)?;
        if at.is_mount_root() && Arc::ptr_eq(&at.mount.fs, &mount.fs) {
            return Err(EBUSY);
        }
        if is_directory(&mount.root) != is_directory(&at.dentry) {
            return Err(ENOTDIR);
        }
        attach(&self.table, &mut peers, self, core::slice::from_ref(&mount), &at)
    }

    /// The mount of `path` and, if `depth` says so, what is on and below `path`.
    pub(super) fn tree_at(path: &Path, depth: BindDepth) -> Vec<Arc<Mount>> {
        let mut tree = alloc::vec![path.mount.clone()];
        if depth == BindDepth::Recursive
            && let Some(namespace) = path.mount.namespace()
        {
            tree.extend(Namespace::below(&namespace.mounts(), path));
        }
        tree
    }

    /// Whether a mount on or below `path` hides what must not be seen.
    pub(super) fn hides_something(path: &Path) -> bool {
        let tree = Self::tree_at(path, BindDepth::Recursive);
        tree.iter().skip(1).any(|mount| {
            mount.locks().contains(Locks::PLACE)
                && mount.parent().is_some_and(|parent| Arc::ptr_eq(&parent, &path.mount))
        })
    }

    /// Shows what is at `from` also at `at` (`MS_BIND`). EINVAL if that is forbidden or in another namespace.
    pub fn bind(self: &Arc<Namespace>, from: &Path, at: &Path, depth: BindDepth) -> Result<()> {
        let mut peers = self.table.lock();
        let at = self.place_for_mount(at)?;
        if from.mount.sharing().unbindable || !from.mount.is_in(self) && !is_namespace_file(from) {
            return Err(EINVAL);
        }
        // One's own file would keep itself alive, and so would two that hold each other's: only those made later can be held.
        if from.mount.fs.mount_namespace().is_some_and(|ino| ino <= self.ino) {
            return Err(EINVAL);
        }
        if depth == BindDepth::One && Self::hides_something(from) {
            return Err(EINVAL);
        }
        if is_directory(&from.dentry) != is_directory(&at.dentry) {
            return Err(ENOTDIR);
        }
        let copies = self.copy_to_bind(&mut peers, from, depth)?;
        let attached = attach(&self.table, &mut peers, self, &copies, &at);
        if attached.is_err() {
            for copy in &copies {
                peers.make_private(copy);
            }
        }
        attached
    }

    /// Moves the mount whose root `from` is to `to` (`MS_MOVE`, `move_mount(2)`). EINVAL if `from` is no such root or may
    /// not be moved, ELOOP if `to` is below it.
    pub fn move_mount(self: &Arc<Namespace>, from: &Path, to: &Path, origin: Origin) -> Result<()> {
        let mut peers = self.table.lock();
        let to = self.place_for_mount(to)?;
        let mount = &from.mount;
        let attached = mount.is_in(self);
        if !from.is_mount_root() || mount.locks().contains(Locks::PLACE) {
            return Err(EINVAL);
        }
        let parent = mount.parent();
        match (attached, origin) {
            (true, _) if parent.is_none() => return Err(EINVAL),
            (true, _) => {}
            // The root of a tree that is in no namespace, as a whole.
            (false, Origin::Detached) => {
                if !mount.is_detached() || parent.is_some() {
                    return Err(EINVAL);
                }
            }
            (false, Origin::Attached) => return Err(EINVAL),
        }
        if is_directory(&from.dentry) != is_directory(&to.dentry)
            || parent.is_some_and(|parent| parent.sharing().group.is_some())
        {
            return Err(EINVAL);
        }
        let tree = {
            let top = Path { mount: mount.clone(), dentry: mount.root.clone() };
            Self::tree_at(&top, BindDepth::Recursive)
        };
        let unbindable = tree.iter().any(|mount| mount.sharing().unbindable);
        if to.mount.sharing().group.is_some() && unbindable {
            return Err(EINVAL);
        }
        let mut above = Some(to.mount.clone());
        while let Some(at) = above {
            if Arc::ptr_eq(&at, mount) {
                return Err(ELOOP);
            }
            above = at.parent();
        }
        let home = mount.namespace();
        // Off its old place, and out of its old namespace if that is another; what is on it stays on it.
        let old = self.table.take(mount);
        if let Some(home) = &home {
            for mount in &tree {
                home.disown(mount);
            }
        }
        if let Err(errno) = attach(&self.table, &mut peers, self, &tree, &to) {
            if let Some(home) = home {
                super::copy::place_copies(&self.table, &home, &tree, old);
            }
            return Err(errno);
        }
        if let Some(home) = home.filter(|home| home.is_detached()) {
            let _root = home.root.lock().take();
        }
        drop(peers);
        drop(old);
        Ok(())
    }

    /// Changes who hears of what happens on a mount, whose root `path` must be, and with `depth` on those below it.
    pub fn set_propagation(&self, path: &Path, propagation: Propagation, depth: BindDepth) -> Result<()> {
        if !path.is_mount_root() {
            return Err(EINVAL);
        }
        let mut peers = self.table.lock();
        if !path.mount.is_in(self) {
            return Err(EINVAL);
        }
        for mount in Self::tree_at(path, depth) {
            peers.make(&mount, propagation);
        }
        self.note_change();
        Ok(())
    }

    /// Changes what one mount forbids (`MS_REMOUNT | MS_BIND`). EINVAL if `path` is not the root of a mount of this
    /// namespace, EPERM if it takes away what a more privileged namespace has set.
    pub fn set_flags(&self, path: &Path, flags: MountFlags) -> Result<()> {
        let _peers = self.table.lock();
        if !path.is_mount_root() || !path.mount.is_in(self) {
            return Err(EINVAL);
        }
        self.check_flags(&path.mount, flags)?;
        path.mount.set_flags(flags);
        self.note_change();
        Ok(())
    }

    /// Changes what the mounts of a tree forbid, or none of them: each from its present flags by `change`.
    pub fn change_flags(
        &self,
        path: &Path,
        depth: BindDepth,
        propagation: Option<Propagation>,
        change: impl Fn(MountFlags) -> MountFlags,
    ) -> Result<()> {
        let mut peers = self.table.lock();
        if !path.is_mount_root() {
            return Err(EINVAL);
        }
        if !path.mount.is_in(self) && !path.mount.is_detached() {
            return Err(EINVAL);
        }
        let tree = Self::tree_at(path, depth);
        for mount in &tree {
            self.check_flags(mount, change(mount.own_flags()))?;
        }
        for mount in &tree {
            mount.set_flags(change(mount.own_flags()));
            if let Some(propagation) = propagation {
                peers.make(mount, propagation);
            }
        }
        self.note_change();
        Ok(())
    }
}

/// Whether `path` is a namespace's file, which may be bound from outside of any tree.
fn is_namespace_file(path: &Path) -> bool {
    path.mount.fs.name() == "nsfs"
}

impl Namespace {
    /// EPERM if `flags` take away what is locked.
    pub fn check_flags(&self, mount: &Mount, flags: MountFlags) -> Result<()> {
        let locks = mount.locks();
        if Locks::OF_FLAGS.iter().any(|(lock, flag)| locks.contains(*lock) && !flags.contains(*flag)) {
            return Err(EPERM);
        }
        let times = |flags: MountFlags| flags & MountFlags::ATIME;
        if locks.contains(Locks::ATIME) && times(flags) != times(mount.own_flags()) {
            return Err(EPERM);
        }
        Ok(())
    }

    /// Whether it has a whole file system of type `name`, with nothing on it that hides part of it, that is no more
    /// restricted than `flags`: only then may a less privileged user namespace mount another.
    pub fn sees_whole(&self, name: &str, flags: MountFlags) -> bool {
        let _peers = self.table.lock();
        let all = self.mounts();
        all.iter().any(|mount| {
            let whole = mount.fs.name() == name && mount.root.parent().is_none();
            let locks = mount.locks();
            let restricted = locks.contains(Locks::READ_ONLY) && !flags.contains(MountFlags::READ_ONLY)
                || mount.superblock.is_read_only() && !flags.contains(MountFlags::READ_ONLY)
                || locks.contains(Locks::ATIME)
                    && mount.own_flags() & MountFlags::ATIME != flags & MountFlags::ATIME;
            if !whole || restricted {
                return false;
            }
            !all.iter().any(|child| {
                child.locks().contains(Locks::PLACE)
                    && child
                        .covered()
                        .is_some_and(|place| Arc::ptr_eq(&place.mount, mount) && !is_empty_by_nature(&place))
            })
        })
    }
}

/// Whether the place is a directory that exists only to be mounted on.
fn is_empty_by_nature(place: &Path) -> bool {
    let name = crate::vfs::path::name_inside(&place.dentry);
    [&b"/fs/cgroup"[..], b"/fs/bpf", b"/kernel/debug", b"/kernel/tracing", b"/kernel/security"]
        .contains(&name.as_slice())
}
