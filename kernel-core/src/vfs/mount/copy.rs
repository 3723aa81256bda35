//! Copies of mounts and of trees of them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::change::BindDepth;
use super::peers::{Kin, Peers};
use super::table::{MountTable, Namespace};
use super::{Locks, Mount};
use crate::errno::{EINVAL, EPERM, Result};
use crate::vfs::dentry::Dentry;
use crate::vfs::path::Path;

/// What a tree is copied for. Files of mount namespaces are bound only where somebody asks for it: a namespace with a
/// mount of its own file would never go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be bound: mounts that cannot be are left out, with what is on them.
    Bind,
    /// To be heard of elsewhere: as well.
    Propagate,
    /// To be the tree of another namespace, with all of its mounts.
    Namespace,
}

impl Purpose {
    fn leaves_out(self, mount: &Mount) -> bool {
        self != Purpose::Namespace && mount.sharing().unbindable
            || self != Purpose::Bind && mount.fs.mount_namespace().is_some()
    }
}

/// A copy of a mount that shows it from `root` on; in no tree yet.
pub(super) fn copy_mount(
    table: &MountTable,
    peers: &mut Peers,
    of: &Arc<Mount>,
    root: Arc<Dentry>,
    kin: Kin,
) -> Arc<Mount> {
    let copy = Mount::new(table.next_id(), of.superblock.clone(), root, &of.source, of.own_flags());
    copy.set_locks(of.locks());
    peers.relate(&copy, of, kin);
    copy
}

/// Copies of `tree`: its first is the top, and shown from `root` on; parents come before children. The copies' places
/// are set among each other, none is in the table. Gives each original with its copy. EPERM: a mount that cannot be
/// bound may not be left out, as what is below it is not to be seen; EINVAL: nobody else may hear of the top.
pub(super) fn copy_tree(
    table: &MountTable,
    peers: &mut Peers,
    tree: &[Arc<Mount>],
    root: &Arc<Dentry>,
    kin: Kin,
    purpose: Purpose,
) -> Result<Vec<(Arc<Mount>, Arc<Mount>)>> {
    let mut copies: Vec<(Arc<Mount>, Arc<Mount>)> = Vec::new();
    let mut copy_of: HashMap<usize, Arc<Mount>> = HashMap::new();
    for (number, mount) in tree.iter().enumerate() {
        let place = if number == 0 {
            None
        } else {
            let Some(place) = mount.covered() else { continue };
            let Some(parent) = copy_of.get(&Arc::as_ptr(&place.mount).addr()) else { continue };
            Some(Path { mount: parent.clone(), dentry: place.dentry })
        };
        if number == 0 && purpose == Purpose::Propagate && mount.fs.mount_namespace().is_some() {
            return Err(EINVAL);
        }
        if number != 0 && purpose.leaves_out(mount) {
            if mount.locks().contains(Locks::PLACE) {
                drop_copies(peers, copies);
                return Err(EPERM);
            }
            continue;
        }
        let shown = if number == 0 { root.clone() } else { mount.root.clone() };
        let copy = copy_mount(table, peers, mount, shown, kin);
        *copy.at.lock() = place;
        copy_of.insert(Arc::as_ptr(mount).addr(), copy.clone());
        copies.push((mount.clone(), copy));
    }
    Ok(copies)
}

/// Undoes [`copy_tree`].
pub(super) fn drop_copies(peers: &mut Peers, copies: Vec<(Arc<Mount>, Arc<Mount>)>) {
    for (_, copy) in &copies {
        peers.make_private(copy);
    }
}

/// Puts a tree, the first of which has its place from the caller, into the table and a namespace.
pub(super) fn place_copies(
    table: &MountTable,
    namespace: &Arc<Namespace>,
    tree: &[Arc<Mount>],
    at: Option<Path>,
) {
    for (number, mount) in tree.iter().enumerate() {
        namespace.adopt(mount);
        if number == 0 {
            if let Some(at) = at.clone() {
                table.put(mount, at);
            }
        } else if !table.has(mount)
            && let Some(place) = mount.covered()
        {
            table.put(mount, place);
        }
    }
}

/// What a tree that comes to a less privileged namespace may not have changed there: what its mounts forbid, and that
/// those below the top hide what is below them.
pub(super) fn lock_tree(tree: &[Arc<Mount>]) {
    for (number, mount) in tree.iter().enumerate() {
        let flags = mount.own_flags();
        let mut locks = mount.locks() | Locks::ATIME;
        for (lock, flag) in Locks::OF_FLAGS {
            if flags.contains(flag) {
                locks |= lock;
            }
        }
        if number != 0 {
            locks |= Locks::PLACE;
        }
        mount.set_locks(locks);
    }
}

impl Namespace {
    /// Copies, in no tree yet, of what is at `from`. ENOSPC: there are too many mounts.
    pub(super) fn copy_to_bind(
        &self,
        peers: &mut Peers,
        from: &Path,
        depth: BindDepth,
    ) -> Result<Vec<Arc<Mount>>> {
        let tree = Namespace::tree_at(from, depth);
        self.check_room(tree.len())?;
        let pairs = copy_tree(&self.table, peers, &tree, &from.dentry, Kin::Peer, Purpose::Bind)?;
        let copies: Vec<Arc<Mount>> = pairs.into_iter().map(|(_, copy)| copy).collect();
        if let Some(top) = copies.first() {
            top.set_locks(top.locks() - Locks::PLACE);
        }
        Ok(copies)
    }

    /// A copy of this namespace (`CLONE_NEWNS`). Gives each mount with its copy, so that root and working directory can
    /// follow. If another user owns the copy, it hears of changes here but not the other way round, and what is hidden
    /// stays hidden. ENOSPC: there are too many namespaces.
    #[expect(clippy::type_complexity, reason = "pairs of an original and its copy")]
    pub fn copy(
        self: &Arc<Namespace>,
        ino: u64,
        user_ns: crate::task::user_ns::UserNs,
        count: crate::task::user_ns::NsCount,
    ) -> Result<(Arc<Namespace>, Vec<(Arc<Mount>, Arc<Mount>)>)> {
        let foreign = user_ns != self.user_ns;
        let new = self.sibling(ino, user_ns, Some(count));
        let kin = if foreign { Kin::SlaveOfShared } else { Kin::Peer };
        let pairs = {
            let mut peers = self.table.lock();
            let Some(root) = self.root.lock().clone() else { return Ok((new, Vec::new())) };
            let all = self.mounts();
            let top = Path { dentry: root.root.clone(), mount: root.clone() };
            let mut tree = alloc::vec![root.clone()];
            tree.extend(Namespace::below(&all, &top));
            let pairs = copy_tree(&self.table, &mut peers, &tree, &root.root, kin, Purpose::Namespace)?;
            let copies: Vec<Arc<Mount>> = pairs.iter().map(|(_, copy)| copy.clone()).collect();
            if foreign {
                lock_tree(&copies);
            }
            place_copies(&self.table, &new, &copies, None);
            *new.root.lock() = copies.first().cloned();
            pairs
        };
        Ok((new, pairs))
    }
}
