//! Trees of mounts that are in no namespace: what `fsmount(2)` and `open_tree(2)` give a descriptor of.

use alloc::sync::Arc;

use super::change::BindDepth;
use super::copy::place_copies;
use super::table::Namespace;
use super::{Mount, MountFlags, Superblock};
use crate::errno::{EINVAL, Result};
use crate::vfs::dentry::Dentry;
use crate::vfs::path::Path;

/// Keeps a tree of mounts that is in no namespace. Dropped, it takes what was not moved elsewhere apart.
pub struct Detached {
    _tree: Arc<Namespace>,
    /// The root of its first mount.
    pub root: Path,
}

impl Namespace {
    fn detached(self: &Arc<Namespace>, top: &Arc<Mount>, tree: &[Arc<Mount>]) -> Detached {
        let home = self.sibling(0, self.user_ns.clone(), None);
        place_copies(&self.table, &home, tree, None);
        *home.root.lock() = Some(top.clone());
        Detached { _tree: home, root: Path { dentry: top.root.clone(), mount: top.clone() } }
    }

    /// A mount of `superblock` that is nowhere yet (`fsmount(2)`).
    pub fn mount_nowhere(
        self: &Arc<Namespace>,
        superblock: Arc<Superblock>,
        source: &[u8],
        flags: MountFlags,
    ) -> Detached {
        let root = Dentry::root(superblock.fs.root());
        let mount = Mount::new(self.table.next_id(), superblock, root, source, flags);
        self.detached(&mount, core::slice::from_ref(&mount))
    }

    /// A copy of what is at `from` (`OPEN_TREE_CLONE`). EINVAL as for [`Namespace::bind`].
    pub fn clone_tree(self: &Arc<Namespace>, from: &Path, depth: BindDepth) -> Result<Detached> {
        let mut peers = self.table.lock();
        if from.mount.sharing().unbindable
            || !from.mount.is_in(self) && !from.mount.is_detached()
            || depth == BindDepth::One && Namespace::hides_something(from)
        {
            return Err(EINVAL);
        }
        let copies = self.copy_to_bind(&mut peers, from, depth)?;
        let Some(top) = copies.first() else { return Err(EINVAL) };
        Ok(self.detached(top, &copies))
    }
}
