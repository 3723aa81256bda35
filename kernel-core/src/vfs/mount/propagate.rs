//! Telling peers and slaves of a new mount. Source: "Shared Subtrees" in the kernel's documentation.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::copy::{Purpose, copy_tree, lock_tree, place_copies};
use super::peers::{Kin, Peers};
use super::table::{MountTable, Namespace};
use super::{Locks, Mount};
use crate::errno::Result;
use crate::vfs::path::Path;

/// A tree and where it goes.
struct Planned {
    tree: Vec<Arc<Mount>>,
    at: Path,
    namespace: Arc<Namespace>,
}

/// A group, whom of it the tree is on already, and the tree that the others' are copies of.
type Work = (u32, Option<Arc<Mount>>, Vec<Arc<Mount>>);

/// Makes the mounts of `tree` shared, and copies of it for everyone who hears of what happens at `at`, which is on a shared
/// mount. An error leaves everything as it was.
fn plan(
    table: &MountTable,
    peers: &mut Peers,
    namespace: &Arc<Namespace>,
    tree: &[Arc<Mount>],
    at: &Path,
) -> Result<Vec<Planned>> {
    let not_shared = tree.iter().filter(|mount| mount.sharing().group.is_none());
    let not_shared: Vec<Arc<Mount>> = not_shared.cloned().collect();
    for mount in &not_shared {
        peers.make_shared(mount);
    }
    let mut planned = Vec::new();
    let result = plan_into(table, peers, tree, at, &mut planned)
        .and_then(|()| namespace.check_room(room_in(&planned, namespace) + tree.len()));
    if result.is_err() {
        for mount in planned.iter().flat_map(|planned| &planned.tree) {
            peers.make_private(mount);
        }
        for mount in &not_shared {
            peers.leave(mount);
        }
    }
    result.map(|()| planned)
}

/// How many mounts are to come to a namespace.
fn room_in(planned: &[Planned], namespace: &Arc<Namespace>) -> usize {
    let there = planned.iter().filter(|planned| Arc::ptr_eq(&planned.namespace, namespace));
    there.map(|planned| planned.tree.len()).sum()
}

fn plan_into(
    table: &MountTable,
    peers: &mut Peers,
    tree: &[Arc<Mount>],
    at: &Path,
    planned: &mut Vec<Planned>,
) -> Result<()> {
    let Some(first) = at.mount.sharing().group else { return Ok(()) };
    let mut work: Vec<Work> = alloc::vec![(first, Some(at.mount.clone()), tree.to_vec())];
    let mut next = 0;
    while let Some((group, done, source)) = work.get(next).cloned() {
        next += 1;
        let mut copy_to =
            |peers: &mut Peers, receiver: &Arc<Mount>, kin| -> Result<Option<Vec<Arc<Mount>>>> {
                let Some(namespace) = receiver.namespace() else { return Ok(None) };
                if !receiver.root.is_above(&at.dentry) {
                    return Ok(None);
                }
                let Some(top) = source.first() else { return Ok(None) };
                let pairs = copy_tree(table, peers, &source, &top.root, kin, Purpose::Propagate)?;
                let tree: Vec<Arc<Mount>> = pairs.into_iter().map(|(_, copy)| copy).collect();
                let at = Path { mount: receiver.clone(), dentry: at.dentry.clone() };
                planned.push(Planned { tree: tree.clone(), at, namespace: namespace.clone() });
                namespace.check_room(room_in(planned, &namespace))?;
                Ok(Some(tree))
            };
        for member in peers.members(group) {
            if !done.as_ref().is_some_and(|done| Arc::ptr_eq(done, &member)) {
                copy_to(peers, &member, Kin::Peer)?;
            }
        }
        let mut queued: Vec<Work> = Vec::new();
        for slave in peers.slaves(group) {
            let Some(own) = slave.sharing().group else {
                copy_to(peers, &slave, Kin::Slave)?;
                continue;
            };
            match queued.iter_mut().find(|(group, ..)| *group == own) {
                Some((_, Some(_), _)) => {}
                Some(entry) => {
                    if let Some(tree) = copy_to(peers, &slave, Kin::SharedSlave)? {
                        (entry.1, entry.2) = (Some(slave), tree);
                    }
                }
                None => match copy_to(peers, &slave, Kin::SharedSlave)? {
                    Some(tree) => queued.push((own, Some(slave), tree)),
                    // None of it may be able to show it, and still its slaves hear of it.
                    None => queued.push((own, None, source.clone())),
                },
            }
        }
        work.extend(queued);
    }
    Ok(())
}

/// Puts the mounts of `tree`, which are in no table, at `at`, and copies of it wherever that is heard of. ENOSPC: too many
/// mounts.
pub(super) fn attach(
    table: &MountTable,
    peers: &mut Peers,
    namespace: &Arc<Namespace>,
    tree: &[Arc<Mount>],
    at: &Path,
) -> Result<()> {
    namespace.check_room(tree.len())?;
    let planned = match at.mount.sharing().group {
        Some(_) => plan(table, peers, namespace, tree, at)?,
        None => Vec::new(),
    };
    place_copies(table, namespace, tree, Some(at.clone()));
    namespace.note_change();
    for Planned { tree, at, namespace: receiver } in planned {
        if receiver.user_ns != namespace.user_ns {
            lock_tree(&tree);
        }
        let Some(top) = tree.first() else { continue };
        top.set_locks(top.locks() - Locks::PLACE);
        // What was there already goes on top of what comes from elsewhere.
        let before = table.at(&at.mount, &at.dentry);
        if let Some(before) = &before {
            drop(table.take(before));
        }
        place_copies(table, &receiver, &tree, Some(at));
        if let Some(before) = before {
            table.put(&before, Path { mount: top.clone(), dentry: top.root.clone() });
        }
        receiver.note_change();
    }
    Ok(())
}
