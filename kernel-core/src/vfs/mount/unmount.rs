//! Taking mounts away. Source: `umount(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use hashbrown::{HashMap, HashSet};

use super::peers::Peers;
use super::table::Namespace;
use super::{Locks, Mount};
use crate::errno::{EAGAIN, EBUSY, EINVAL, Result};
use crate::vfs::path::Path;

/// How hard to unmount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// Only if it is not in use.
    Idle,
    /// Now from the tree, and in truth when it is no longer used (`MNT_DETACH`).
    Detach,
    /// The first time nothing, the second time if nobody has used it since (`MNT_EXPIRE`).
    Expire,
}

/// A mount that goes, and the place that it was on.
type Gone = (Arc<Mount>, Option<Path>);

impl Namespace {
    /// Takes away the mount whose root `at` is, here and wherever that is heard of. EINVAL if it is not the root of a
    /// mount of this namespace or must stay; EBUSY if something is mounted below it or, unless `Detach`, a file or
    /// directory of it is in use. `at` itself is one use. EAGAIN: marked for expiry.
    pub fn unmount(&self, at: Path, how: Unmount) -> Result<()> {
        if !at.is_mount_root() {
            return Err(EINVAL);
        }
        let Path { mount, dentry } = at;
        drop(dentry);
        let gone = {
            let mut peers = self.table.lock();
            if !mount.is_in(self) || mount.locks().contains(Locks::PLACE) {
                return Err(EINVAL);
            }
            let Some(place) = mount.covered() else {
                return Err(if how == Unmount::Detach { EINVAL } else { EBUSY });
            };
            // One use is the table's, one is ours.
            let in_use = |mount: &Arc<Mount>, ours: usize| Arc::strong_count(mount) > 1 + ours;
            let below = {
                let top = Path { mount: mount.clone(), dentry: mount.root.clone() };
                Namespace::below(&self.mounts(), &top)
            };
            let mut children = Children::default();
            if how != Unmount::Detach {
                if !below.is_empty() || in_use(&mount, 1) {
                    return Err(EBUSY);
                }
                // The caller itself came to it since it was marked.
                if how == Unmount::Expire && mount.expiring.swap(1, Ordering::Relaxed) != 2 {
                    return Err(EAGAIN);
                }
                for receiver in peers.receivers(&place.mount) {
                    let child = self.table.at(&receiver, &place.dentry);
                    if child.is_some_and(|child| in_use(&child, 1) && children.of(&child).is_empty()) {
                        return Err(EBUSY);
                    }
                }
            }
            let mut tree = alloc::vec![mount.clone()];
            tree.extend(below);
            let also = self.heard_elsewhere(&peers, &tree, &mut children);
            tree.extend(also);
            self.take_off(&mut peers, &tree)
        };
        let synced = if how != Unmount::Detach { mount.fs.sync() } else { Ok(()) };
        drop((gone, mount));
        synced
    }

    /// What is to go because the mounts of `tree` go: on the same places of peers and slaves, if nothing is on it that
    /// stays.
    fn heard_elsewhere(
        &self,
        peers: &Peers,
        tree: &[Arc<Mount>],
        children: &mut Children,
    ) -> Vec<Arc<Mount>> {
        let mut also: Vec<Arc<Mount>> = Vec::new();
        let mut known: HashSet<usize> = tree.iter().map(address).collect();
        // Children first, so that a parent's children are known to go.
        for mount in tree.iter().rev() {
            let Some(place) = mount.covered() else { continue };
            for receiver in peers.receivers(&place.mount) {
                let Some(child) = self.table.at(&receiver, &place.dentry) else { continue };
                let stays = child.locks().contains(Locks::PLACE)
                    || children.of(&child).iter().any(|grandchild| !known.contains(grandchild));
                if !stays && known.insert(address(&child)) {
                    also.push(child);
                }
            }
        }
        also
    }

    /// Takes mounts out of the table, their namespaces and their groups.
    pub(super) fn take_off(&self, peers: &mut Peers, tree: &[Arc<Mount>]) -> Vec<Gone> {
        let mut gone = Vec::new();
        for mount in tree {
            peers.make_private(mount);
            let namespace = mount.namespace();
            gone.push((mount.clone(), self.table.take(mount)));
            if let Some(namespace) = namespace {
                namespace.disown(mount);
                namespace.note_change();
            }
        }
        gone
    }
}

fn address(mount: &Arc<Mount>) -> usize {
    Arc::as_ptr(mount).addr()
}

/// What is mounted directly on which mount, by addresses: of each namespace that it was asked about, and as it was then.
#[derive(Default)]
struct Children(HashMap<usize, HashMap<usize, Vec<usize>>>);

impl Children {
    fn of(&mut self, mount: &Arc<Mount>) -> &[usize] {
        let Some(home) = mount.namespace() else { return &[] };
        let on = self.0.entry(Arc::as_ptr(&home).addr()).or_insert_with(|| {
            let mut on: HashMap<usize, Vec<usize>> = HashMap::new();
            for child in home.mounts() {
                if let Some(parent) = child.parent() {
                    on.entry(address(&parent)).or_default().push(address(&child));
                }
            }
            on
        });
        on.get(&address(mount)).map(Vec::as_slice).unwrap_or_default()
    }
}
