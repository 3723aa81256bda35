//! Paths: a place in the tree of mounts, and its name.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::vfs::anon::AnonFs;
use crate::vfs::dentry::Dentry;
use crate::vfs::inode::Inode;
use crate::vfs::mount::{FileSystem, Mount};

/// A place in the tree: a mount and a directory entry in it. Holding one keeps the mount busy.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The entry.
    pub dentry: Arc<Dentry>,
}

impl Path {
    /// A place for a file that is in no directory, so that magic links of `/proc/PID/fd` can lead to it.
    pub fn detached(inode: &Arc<dyn Inode>) -> Path {
        Path::in_fs_of_one(Arc::new(AnonFs { root: inode.clone() }))
    }

    /// The root of a file system that is one file, in no directory.
    pub fn in_fs_of_one(fs: Arc<dyn FileSystem>) -> Path {
        let dentry = Dentry::root(fs.root());
        Path { mount: Mount::of_one_file(fs, dentry.clone()), dentry }
    }

    /// What is there.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// Whether both are the same place.
    pub fn is(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }

    /// Whether it is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.mount.root, &self.dentry)
    }
}

/// The name of a place, as [`path_of`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathName {
    /// Absolute, from the root that was asked for, or else from the root of the tree that the place is in.
    pub bytes: Vec<u8>,
    /// Whether the place is below that root.
    pub below_root: bool,
    /// Whether the name was removed.
    pub deleted: bool,
}

impl PathName {
    /// The name if it can be reached from the root.
    pub fn reachable(self) -> Option<Vec<u8>> {
        self.below_root.then_some(self.bytes)
    }

    /// As `/proc/PID/fd` and `/proc/PID/maps` show it: with ` (deleted)` where that is so.
    pub fn shown(mut self) -> Vec<u8> {
        if self.deleted {
            self.bytes.extend_from_slice(b" (deleted)");
        }
        self.bytes
    }
}

/// The name of `path` as seen by a process with the root directory `root`.
pub fn path_of(path: &Path, root: &Path) -> PathName {
    if let Some(bytes) = path.inode().anonymous_name()
        && path.dentry.parent().is_none()
        && path.mount.parent().is_none()
    {
        return PathName { bytes, below_root: false, deleted: false };
    }
    let deleted = path.dentry.is_deleted();
    let mut parts: Vec<Box<[u8]>> = Vec::new();
    let mut at = path.clone();
    let below_root = loop {
        if at.is(root) {
            break true;
        }
        if at.is_mount_root() {
            match at.mount.covered() {
                Some(place) => at = place,
                None => break false,
            }
            continue;
        }
        let Some(parent) = at.dentry.parent() else { break false };
        parts.push(at.dentry.name());
        at.dentry = parent;
    };
    PathName { bytes: join(&parts), below_root, deleted }
}

/// The name of `dentry` from the root of its file system on.
pub fn name_inside(dentry: &Arc<Dentry>) -> Vec<u8> {
    if let Some(name) = dentry.inode().anonymous_name() {
        return name;
    }
    let mut parts: Vec<Box<[u8]>> = Vec::new();
    let mut at = dentry.clone();
    while let Some(parent) = at.parent() {
        parts.push(at.name());
        at = parent;
    }
    join(&parts)
}

/// The absolute path with these components, the last one first.
fn join(parts: &[Box<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts.iter().rev() {
        bytes.push(b'/');
        bytes.extend_from_slice(part);
    }
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    bytes
}
