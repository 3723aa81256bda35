//! Who may do what with an object. Source: `sysvipc(7)`, "Resource access permissions".

use crate::abi::sysv::IpcPerm;
use crate::errno::{EACCES, EPERM, Result};
use crate::task::cred::{Caps, Cred};
use crate::task::user_ns::UserNs;

/// Read permission.
pub const READ: u32 = 0o444;
/// Write permission.
pub const WRITE: u32 = 0o222;

/// Permissions of an object.
#[derive(Clone)]
pub struct Perm {
    /// Its key; [`super::PRIVATE`] if it cannot be found by one.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    cuid: u32,
    cgid: u32,
    /// Whose administrator may do everything with it.
    user_ns: UserNs,
    /// The lower nine bits.
    pub mode: u32,
}

impl Perm {
    /// Of an object that `cred` makes in a namespace of `user_ns`, with the flags of its `*get` call.
    pub fn new(key: i32, cred: &Cred, flags: u32, user_ns: &UserNs) -> Perm {
        let (uid, gid) = (cred.euid, cred.egid);
        Perm { key, uid, gid, cuid: uid, cgid: gid, user_ns: user_ns.clone(), mode: flags & 0o777 }
    }

    /// EACCES unless all of `wanted` is allowed; the same bits for owner, group and others count once.
    pub fn check(&self, cred: &Cred, wanted: u32) -> Result<()> {
        let wanted = wanted >> 6 | wanted >> 3 | wanted;
        let granted = if self.is_owner(cred) {
            self.mode >> 6
        } else if cred.in_group(self.cgid) || cred.in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 7 != 0 && !cred.capable_in(&self.user_ns, Caps::IPC_OWNER) {
            Err(EACCES)
        } else {
            Ok(())
        }
    }

    /// EPERM unless `cred` may change or remove the object.
    pub fn check_change(&self, cred: &Cred) -> Result<()> {
        if self.is_owner(cred) || cred.capable_in(&self.user_ns, Caps::SYS_ADMIN) {
            Ok(())
        } else {
            Err(EPERM)
        }
    }

    /// Whether it is the owner's or the creator's.
    pub fn is_owner(&self, cred: &Cred) -> bool {
        cred.euid == self.cuid || cred.euid == self.uid
    }

    /// `IPC_SET`.
    pub fn set(&mut self, new: &IpcPerm) {
        (self.uid, self.gid, self.mode) = (new.uid, new.gid, new.mode & 0o777);
    }

    /// As programs see it.
    pub fn raw(&self, id: i32) -> IpcPerm {
        IpcPerm::new(
            self.key,
            [self.uid, self.gid, self.cuid, self.cgid],
            self.mode,
            super::ids::sequence(id),
        )
    }
}

/// Permissions with the ids that they have in a user namespace.
pub fn shown_in(user_ns: &UserNs, perm: IpcPerm) -> IpcPerm {
    let [uid, cuid] = [perm.uid, perm.cuid].map(|uid| user_ns.shown_uid(uid));
    let [gid, cgid] = [perm.gid, perm.cgid].map(|gid| user_ns.shown_gid(gid));
    IpcPerm { uid, gid, cuid, cgid, ..perm }
}
