//! What credentials become when a program is executed: set-id bits, file capabilities, ambient capabilities. Source:
//! `capabilities(7)`, "Transformation of capabilities during execve()".

use crate::errno::{EPERM, Result};
use crate::task::cred::{Caps, Cred, SecureBits};

/// The extended attribute that holds a file's capabilities.
pub const XATTR: &[u8] = b"security.capability";

const REVISION: u32 = 0xff00_0000;
const REVISION_1: u32 = 0x0100_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const EFFECTIVE: u32 = 1;

/// Capabilities of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCaps {
    permitted: Caps,
    inheritable: Caps,
    /// What the program gets is effective at once.
    effective: bool,
}

impl FileCaps {
    /// Whether the attribute can be set to a value.
    pub fn is_valid(value: &[u8]) -> bool {
        let magic = value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) & REVISION);
        matches!((magic, value.len()), (Some(REVISION_2), 20) | (Some(REVISION_3), 24))
    }

    /// From the attribute's value; `None`: it is none, or is for the root user of another namespace.
    pub fn parse(value: &[u8]) -> Option<FileCaps> {
        let words: smallvec::SmallVec<[u32; 6]> =
            value.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let (&magic, rest) = words.split_first()?;
        let pairs = match (magic & REVISION, value.len()) {
            (REVISION_1, 12) => 1,
            (REVISION_2, 20) => 2,
            (REVISION_3, 24) if words.get(5) == Some(&0) => 2,
            _ => return None,
        };
        let set = |first: usize| {
            let word = |pair: usize| rest.get(2 * pair + first).copied().map_or(0, u64::from);
            Caps::from_bits_retain((0..pairs).map(|pair| word(pair) << (32 * pair)).sum())
        };
        Some(FileCaps { permitted: set(0), inheritable: set(1), effective: magic & EFFECTIVE != 0 })
    }
}

/// What a program file asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The set-user-id bit's user.
    pub uid: Option<u32>,
    /// The set-group-id bit's group.
    pub gid: Option<u32>,
    /// Its capabilities.
    pub caps: Option<FileCaps>,
}

impl Cred {
    /// What they become, and whether the program must not trust its environment. EPERM: the file wants capabilities to be
    /// effective that are not to be had.
    pub fn after_exec(&self, asked: Asked, no_new_privs: bool) -> Result<(Cred, bool)> {
        let mut new = self.clone();
        new.euid = asked.uid.unwrap_or(new.euid);
        new.egid = asked.gid.unwrap_or(new.egid);
        new.permitted = Caps::empty();
        let root = self.user_ns.uid(0);
        let is_root = |uid: u32| Some(uid) == root;
        let mut effective = false;
        if let Some(file) = asked.caps {
            new.permitted = self.bounding & file.permitted | self.inheritable & file.inheritable;
            if file.effective && !new.permitted.contains(file.permitted) {
                return Err(EPERM);
            }
            effective = file.effective;
        }
        if !self.secure_bits.contains(SecureBits::NO_ROOT) {
            // A set-user-id program of root with capabilities of its own has those alone.
            let only_file = asked.caps.is_some() && !is_root(new.uid) && is_root(new.euid);
            if !only_file {
                if is_root(new.euid) || is_root(new.uid) {
                    new.permitted = self.bounding | self.inheritable;
                }
                effective |= is_root(new.euid);
            }
        }
        let sets_id = |new: &Cred| new.euid != self.uid || new.egid != self.gid;
        if no_new_privs && new.gains_over(self) {
            (new.euid, new.egid) = (new.uid, new.gid);
            new.permitted &= self.permitted;
        }
        (new.suid, new.fsuid) = (new.euid, new.euid);
        (new.sgid, new.fsgid) = (new.egid, new.egid);
        if asked.caps.is_some() || sets_id(&new) {
            new.ambient = Caps::empty();
        }
        new.permitted |= new.ambient;
        new.effective = if effective { new.permitted } else { new.ambient };
        new.secure_bits.remove(SecureBits::KEEP_CAPS);
        let grew = !new.ambient.contains(new.permitted);
        let secure = sets_id(&new) || !is_root(new.uid) && (effective || grew);
        Ok((new, secure))
    }

    /// Whether a program with these may do more than `before`, who executes it.
    pub fn gains_over(&self, before: &Cred) -> bool {
        self.euid != before.uid || self.egid != before.gid || !before.permitted.contains(self.permitted)
    }

    /// Whether a program with these is not to be looked into by whoever could look into `before`.
    pub fn is_other_than(&self, before: &Cred) -> bool {
        let ids = |cred: &Cred| [cred.euid, cred.egid, cred.fsuid, cred.fsgid];
        ids(self) != ids(before) || !before.permitted.contains(self.permitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(caps: Caps) -> Cred {
        let ids =
            Cred { uid: 5, euid: 5, suid: 5, fsuid: 5, gid: 5, egid: 5, sgid: 5, fsgid: 5, ..Cred::root() };
        Cred { permitted: caps, effective: caps, inheritable: caps, ..ids }
    }

    #[test]
    fn file_capabilities_are_had_within_bounds() {
        let value =
            [REVISION_2 | EFFECTIVE, Caps::CHOWN.bits() as u32, 0, 0, 0].map(u32::to_le_bytes).concat();
        let caps = FileCaps::parse(&value);
        assert_eq!(caps.map(|caps| (caps.permitted, caps.effective)), Some((Caps::CHOWN, true)));
        let asked = Asked { caps, ..Asked::default() };
        let (new, secure) = user(Caps::empty()).after_exec(asked, false).unwrap();
        assert_eq!((new.permitted, new.effective, secure), (Caps::CHOWN, Caps::CHOWN, true));
        let bound = Cred { bounding: Caps::KILL, ..user(Caps::empty()) };
        assert_eq!(bound.after_exec(asked, false).err(), Some(EPERM));
        assert_eq!(user(Caps::empty()).after_exec(asked, true).unwrap().0.permitted, Caps::empty());
        assert_eq!(FileCaps::parse(&value[..19]), None);
    }

    #[test]
    fn ambient_capabilities_survive_plain_programs_only() {
        let cred = Cred { ambient: Caps::KILL, ..user(Caps::KILL) };
        let (new, secure) = cred.after_exec(Asked::default(), false).unwrap();
        assert_eq!((new.permitted, new.effective, secure), (Caps::KILL, Caps::KILL, false));
        let (new, secure) = cred.after_exec(Asked { uid: Some(6), ..Asked::default() }, false).unwrap();
        assert_eq!((new.euid, new.permitted, secure), (6, Caps::empty(), true));
    }

    #[test]
    fn root_has_all_unless_it_is_told_not_to() {
        let asked = Asked { uid: Some(0), ..Asked::default() };
        let (new, secure) = user(Caps::empty()).after_exec(asked, false).unwrap();
        assert_eq!((new.euid, new.effective, secure), (0, crate::task::cred::ALL_CAPS, true));
        let bits = Cred { secure_bits: SecureBits::NO_ROOT, ..Cred::root() };
        assert_eq!(bits.after_exec(Asked::default(), false).unwrap().0.effective, Caps::empty());
    }
}
