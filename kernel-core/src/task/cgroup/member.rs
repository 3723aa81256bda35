//! A process as a member of a group.

use alloc::sync::Arc;

use super::pids::Charge;
use super::{Changes, Group};
use crate::errno::{ENODEV, Result};
use crate::host::Host;
use crate::sync::Mutex;
use crate::task::Process;

/// Which group a process is in. Changes under the lock of the process tree.
pub(crate) struct Membership(Mutex<Place>);

struct Place {
    group: Arc<Group>,
    /// CPU time that it had used when it came.
    before: [u64; 2],
}

impl Membership {
    /// In `group`, which does not count it yet.
    pub fn new(group: Arc<Group>) -> Membership {
        Membership(Mutex::new(Place { group, before: [0; 2] }))
    }

    /// The group; that of a process which has ended stays.
    pub fn group(&self) -> Arc<Group> {
        self.0.lock().group.clone()
    }

    /// Whether it is in just this group.
    pub fn is_in(&self, group: &Group) -> bool {
        core::ptr::eq(&*self.0.lock().group, group)
    }

    /// What of `ns`, all that it has used, it has used in its group.
    pub fn spent(&self, ns: [u64; 2]) -> [u64; 2] {
        let before = self.0.lock().before;
        [0, 1].map(|at: usize| ns[at].saturating_sub(before[at]))
    }

    /// Its last thread has ended.
    pub fn leave(&self, changes: &mut Changes) {
        self.0.lock().group.leave(changes);
    }

    /// It was waited for, with `ns` of CPU time in all.
    pub fn forget(&self, ns: [u64; 2]) {
        let (group, spent) = (self.group(), self.spent(ns));
        group.spend(spent);
        group.remove_tasks(1);
    }

    /// It goes to another group with `tasks` tasks, and has used `ns` of CPU time until now.
    pub(super) fn move_to(&self, group: &Arc<Group>, tasks: usize, ns: [u64; 2], changes: &mut Changes) {
        let spent = self.spent(ns);
        group.enter(changes);
        group.add_tasks(tasks);
        let new = Place { group: group.clone(), before: ns };
        let old = core::mem::replace(&mut *self.0.lock(), new).group;
        old.leave(changes);
        old.remove_tasks(tasks);
        old.spend(spent);
    }
}

/// Where a task that is being made will be.
pub(crate) struct Joining {
    /// It is counted there already.
    pub charge: Charge,
    /// The group, if it is not that of its maker (`CLONE_INTO_CGROUP`).
    pub into: Option<Arc<Group>>,
}

impl Joining {
    /// A process becomes a member. Under the tree's lock. ENODEV: its group was removed meanwhile.
    pub fn process<H: Host>(self, new: &Process<H>, maker: &Process<H>) -> Result<Changes> {
        let mut changes = Changes::default();
        let group = match self.into {
            None => {
                let group = maker.cgroup.group();
                group.enter(&mut changes);
                group
            }
            Some(group) => {
                let serial = group.serial();
                if group.is_removed() {
                    return Err(ENODEV);
                }
                group.enter(&mut changes);
                drop(serial);
                group
            }
        };
        self.charge.keep_in(&group);
        new.cgroup.0.lock().group = group;
        Ok(changes)
    }

    /// A thread is where its process is. Under the tree's lock.
    pub fn thread<H: Host>(self, process: &Process<H>) {
        self.charge.keep_in(&process.cgroup.group());
    }
}
