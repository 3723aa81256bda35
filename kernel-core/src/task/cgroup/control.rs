//! Which group has a controller, and what that means for who may be in it. There is one controller, `pids`, which also works
//! for threads: so a group with processes may hand it on ("domain threaded"), but then those below cannot be used, as threads of
//! one process are not put into several groups here.

use core::sync::atomic::Ordering;

use super::Group;
use crate::errno::{EBUSY, EEXIST, ENODEV, ENOENT, EOPNOTSUPP, Result};
use crate::fs::cgroup::files;

/// What `cgroup.type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupType {
    /// It is as usual.
    Domain,
    /// It has processes and hands a controller on.
    DomainThreaded,
    /// It is below such a one.
    DomainInvalid,
}

impl Group {
    /// Whether it has the controller: the root has nothing to limit.
    pub fn has_pids(&self) -> bool {
        self.parent.as_ref().is_some_and(|parent| parent.state.lock().hands_on_pids)
    }

    /// Whether it could hand the controller on (`cgroup.controllers`).
    pub fn knows_pids(&self) -> bool {
        self.is_root() || self.has_pids()
    }

    /// Whether groups in it have the controller (`cgroup.subtree_control`).
    pub fn hands_on_pids(&self) -> bool {
        self.state.lock().hands_on_pids
    }

    fn has_processes(&self) -> bool {
        self.own.load(Ordering::Relaxed) != 0
    }

    fn is_thread_root(&self) -> bool {
        !self.is_root() && self.has_processes() && self.hands_on_pids()
    }

    fn could_be_thread_root(&self) -> bool {
        self.is_root() || !self.state.lock().children.values().any(|child| child.is_populated())
    }

    fn is_valid_domain(&self) -> bool {
        !self.upwards().skip(1).any(Group::is_thread_root)
    }

    /// Its type.
    pub fn group_type(&self) -> GroupType {
        match (self.is_valid_domain(), self.is_thread_root()) {
            (false, _) => GroupType::DomainInvalid,
            (true, true) => GroupType::DomainThreaded,
            (true, false) => GroupType::Domain,
        }
    }

    /// Whether processes may come: EOPNOTSUPP if it is below one that is threaded, EBUSY if it has to stay without. Under the
    /// hierarchy's lock.
    pub(super) fn check_may_enter(&self) -> Result<()> {
        if !self.is_valid_domain() {
            return Err(EOPNOTSUPP);
        }
        if self.hands_on_pids() && !self.could_be_thread_root() { Err(EBUSY) } else { Ok(()) }
    }

    /// Hands the controller on, or no longer; its files belong to `owner`. ENOENT: it has not got it. EBUSY: one below hands it
    /// on, or it has processes and must have none. ENODEV: it was removed.
    pub fn set_hands_on_pids(&self, on: bool, owner: (u32, u32)) -> Result<()> {
        let _serial = self.serial();
        if self.is_removed() {
            return Err(ENODEV);
        }
        if self.hands_on_pids() == on {
            return Ok(());
        }
        let children = self.children();
        if on {
            if !self.knows_pids() {
                return Err(ENOENT);
            }
            if !self.is_valid_domain() {
                return Err(EOPNOTSUPP);
            }
            if self.has_processes() && !self.could_be_thread_root() {
                return Err(EBUSY);
            }
            // The names of the new files may be taken.
            if children
                .iter()
                .any(|child| files::of_pids().any(|name| child.child(name.as_bytes()).is_some()))
            {
                return Err(EEXIST);
            }
        } else if children.iter().any(|child| child.hands_on_pids()) {
            return Err(EBUSY);
        }
        for child in children {
            child.pids.reset();
            let mut state = child.state.lock();
            state.pids_owner = owner;
            state.files.retain(|index, _| !files::is_of_pids(*index));
        }
        self.state.lock().hands_on_pids = on;
        self.names_changed();
        Ok(())
    }
}
