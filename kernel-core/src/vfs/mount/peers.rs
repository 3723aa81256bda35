//! Which mounts hear of each other's changes: peer groups and their slaves. Source: `mount_namespaces(7)`.
//!
//! All members of a group have the same master, as they are copies of each other.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use super::Mount;

/// What a mount tells to others and hears from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// The group in which all tell each other.
    pub group: Option<u32>,
    /// The group that it hears from.
    pub master: Option<u32>,
    /// Whether it cannot be bound elsewhere.
    pub unbindable: bool,
}

/// What `mount(2)` and `mount_setattr(2)` can make of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Tells and hears.
    Shared,
    /// Neither.
    Private,
    /// Hears only.
    Slave,
    /// Neither, and it cannot be bound elsewhere.
    Unbindable,
}

/// How a copy of a mount is related to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// As if it were the same: in the same group, with the same master.
    Peer,
    /// A slave of what is shared; what is not is like [`Kin::Peer`].
    SlaveOfShared,
    /// A slave of its group, which is shared.
    Slave,
    /// A slave of its group that has a new group for itself.
    SharedSlave,
}

#[derive(Default)]
struct Group {
    members: Vec<Weak<Mount>>,
    slaves: Vec<Weak<Mount>>,
}

/// All groups.
#[derive(Default)]
pub(super) struct Peers(BTreeMap<u32, Group>);

fn forget(list: &mut Vec<Weak<Mount>>, mount: &Mount) {
    list.retain(|other| !core::ptr::eq(other.as_ptr(), mount));
}

fn alive(list: &[Weak<Mount>]) -> Vec<Arc<Mount>> {
    list.iter().filter_map(Weak::upgrade).collect()
}

impl Peers {
    /// The lowest free number.
    fn free_number(&self) -> u32 {
        let mut free = 1;
        for number in self.0.keys() {
            if *number != free {
                break;
            }
            free += 1;
        }
        free
    }

    /// The mounts of a group.
    pub fn members(&self, group: u32) -> Vec<Arc<Mount>> {
        self.0.get(&group).map_or(Vec::new(), |group| alive(&group.members))
    }

    /// The mounts that hear from a group.
    pub fn slaves(&self, group: u32) -> Vec<Arc<Mount>> {
        self.0.get(&group).map_or(Vec::new(), |group| alive(&group.slaves))
    }

    /// The master of a group.
    pub fn master(&self, group: u32) -> Option<u32> {
        self.members(group).first().and_then(|member| member.sharing().master)
    }

    fn join(&mut self, mount: &Arc<Mount>, group: u32) {
        self.0.entry(group).or_default().members.push(Arc::downgrade(mount));
        mount.sharing.lock().group = Some(group);
    }

    fn set_master(&mut self, mount: &Arc<Mount>, master: Option<u32>) {
        let old = core::mem::replace(&mut mount.sharing.lock().master, master);
        if let Some(group) = old.and_then(|old| self.0.get_mut(&old)) {
            forget(&mut group.slaves, mount);
        }
        if let Some(group) = master.and_then(|master| self.0.get_mut(&master)) {
            group.slaves.push(Arc::downgrade(mount));
        }
    }

    /// Leaves its group. The slaves of a group without members become its master's. Gives the group if it still exists.
    pub fn leave(&mut self, mount: &Arc<Mount>) -> Option<u32> {
        let number = mount.sharing.lock().group.take()?;
        let group = self.0.get_mut(&number)?;
        forget(&mut group.members, mount);
        if group.members.iter().any(|member| member.strong_count() > 0) {
            return Some(number);
        }
        let slaves = self.0.remove(&number).map_or(Vec::new(), |group| alive(&group.slaves));
        let master = mount.sharing().master;
        for slave in slaves {
            self.set_master(&slave, master);
        }
        None
    }

    pub fn make_shared(&mut self, mount: &Arc<Mount>) {
        mount.sharing.lock().unbindable = false;
        if mount.sharing().group.is_none() {
            let number = self.free_number();
            self.join(mount, number);
        }
    }

    /// Becomes the slave of its group, if that has other members.
    pub fn make_slave(&mut self, mount: &Arc<Mount>) {
        if let Some(group) = self.leave(mount) {
            self.set_master(mount, Some(group));
        }
    }

    pub fn make_private(&mut self, mount: &Arc<Mount>) {
        self.leave(mount);
        self.set_master(mount, None);
        mount.sharing.lock().unbindable = false;
    }

    pub fn make(&mut self, mount: &Arc<Mount>, propagation: Propagation) {
        match propagation {
            Propagation::Shared => self.make_shared(mount),
            Propagation::Slave => self.make_slave(mount),
            Propagation::Private => self.make_private(mount),
            Propagation::Unbindable => {
                self.make_private(mount);
                mount.sharing.lock().unbindable = true;
            }
        }
    }

    /// Relates a copy to what it is a copy of.
    pub fn relate(&mut self, copy: &Arc<Mount>, of: &Arc<Mount>, kin: Kin) {
        let sharing = of.sharing();
        copy.sharing.lock().unbindable = sharing.unbindable;
        match (kin, sharing.group) {
            (Kin::Slave | Kin::SharedSlave | Kin::SlaveOfShared, Some(group)) => {
                self.set_master(copy, Some(group));
                if kin == Kin::SharedSlave {
                    self.make_shared(copy);
                }
            }
            (_, group) => {
                self.set_master(copy, sharing.master);
                if let Some(group) = group {
                    self.join(copy, group);
                }
            }
        }
    }

    /// All mounts that hear of what happens on `mount`, without itself.
    pub fn receivers(&self, mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
        let mut found: Vec<Arc<Mount>> = Vec::new();
        let mut groups: Vec<u32> = mount.sharing().group.into_iter().collect();
        let mut next = 0;
        while let Some(group) = groups.get(next).copied() {
            next += 1;
            found.extend(self.members(group).into_iter().filter(|member| !Arc::ptr_eq(member, mount)));
            for slave in self.slaves(group) {
                match slave.sharing().group {
                    Some(own) if !groups.contains(&own) => groups.push(own),
                    Some(_) => {}
                    None => found.push(slave),
                }
            }
        }
        found
    }
}
