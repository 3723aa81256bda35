//! Access control lists. Sources: `acl(5)`; the form in extended attributes is that of `linux/posix_acl_xattr.h`.
//!
//! A file system that has them keeps them as extended attributes, with ids as the whole kernel has them, and says in
//! [`Owner::attached`] whether a file has any; all else is done here. The permission bits of the group class are the list's mask.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{EACCES, EINVAL, EOPNOTSUPP, Result};
use crate::task::cred::{Caps, Cred};
use crate::task::user_ns::UserNs;
use crate::vfs::inode::{Attached, FileKind, Inode, MODE_BITS, Owner, S_ISGID, SetAttr, XattrMode};
use crate::vfs::permission::{self, Access};

/// The attribute that holds the list by which access is decided.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute of a directory that holds the list that new files in it get.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
/// The id of entries that need none.
const NO_ID: u32 = u32::MAX;

/// Whom an entry is for, in the order of a valid list. The numbers are those of the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner = 1,
    User = 2,
    OwningGroup = 4,
    Group = 8,
    Mask = 16,
    Other = 32,
}

impl Tag {
    fn of(number: u16) -> Result<Tag> {
        use Tag::{Group, Mask, Other, Owner, OwningGroup, User};
        [Owner, User, OwningGroup, Group, Mask, Other]
            .into_iter()
            .find(|tag| *tag as u16 == number)
            .ok_or(EINVAL)
    }

    /// Where the permission bits of the mode have it, if they do.
    fn shift(self) -> u32 {
        match self {
            Tag::Owner => 6,
            Tag::OwningGroup | Tag::Mask => 3,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// Bits of [`Access`].
    allows: u32,
    id: u32,
}

/// A valid list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl(Vec<Entry>);

/// How an id is to be read: by what kind of entry, and what it is. `None` if it means nothing.
type MapId<'a> = &'a dyn Fn(bool, u32) -> Option<u32>;

impl Acl {
    /// From an attribute as a file system has it. EOPNOTSUPP: another version of the form. EINVAL: not valid.
    pub fn parse(bytes: &[u8]) -> Result<Acl> {
        Acl::read(bytes, &|_, id| Some(id))?.checked()
    }

    /// From an attribute with other ids, whether it is valid or not.
    fn read(bytes: &[u8], map: MapId<'_>) -> Result<Acl> {
        let (version, entries) = bytes.split_first_chunk::<HEADER>().ok_or(EINVAL)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(EOPNOTSUPP);
        }
        let (entries, []) = entries.as_chunks::<ENTRY>() else { return Err(EINVAL) };
        let entries: Vec<Entry> = entries
            .iter()
            .map(|&[tag, tag_high, allows, allows_high, id @ ..]| {
                let (tag, allows) = (Tag::of(u16::from_le_bytes([tag, tag_high]))?, [allows, allows_high]);
                let id = match tag {
                    Tag::User | Tag::Group => map(tag == Tag::User, u32::from_le_bytes(id)).ok_or(EINVAL)?,
                    _ => NO_ID,
                };
                Ok(Entry { tag, allows: u32::from(u16::from_le_bytes(allows)), id })
            })
            .collect::<Result<_>>()?;
        Ok(Acl(entries))
    }

    /// EINVAL unless there are one entry each for owner, owning group and others, one mask at most, which named entries
    /// need, all in order.
    fn checked(self) -> Result<Acl> {
        let count = |tag: Tag| self.0.iter().filter(|entry| entry.tag == tag).count();
        let named = count(Tag::User) + count(Tag::Group);
        let valid = self.0.is_sorted_by_key(|entry| entry.tag)
            && self.0.iter().all(|entry| entry.allows & !Access::all().bits() == 0)
            && [Tag::Owner, Tag::OwningGroup, Tag::Other].into_iter().all(|tag| count(tag) == 1)
            && (count(Tag::Mask) == 1 || count(Tag::Mask) == 0 && named == 0);
        if valid { Ok(self) } else { Err(EINVAL) }
    }

    fn to_bytes(&self, map: MapId<'_>) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for Entry { tag, allows, id } in &self.0 {
            let id = match tag {
                Tag::User | Tag::Group => map(*tag == Tag::User, *id).unwrap_or(NO_ID),
                _ => NO_ID,
            };
            bytes.extend_from_slice(&(*tag as u16).to_le_bytes());
            bytes.extend_from_slice(&(*allows as u16).to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    /// Whether it says more than permission bits can.
    fn is_extended(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry.tag, Tag::User | Tag::Group | Tag::Mask))
    }

    /// The entry by which the group class is bounded.
    fn group_class(&self) -> Tag {
        let masked = self.0.iter().any(|entry| entry.tag == Tag::Mask);
        if masked { Tag::Mask } else { Tag::OwningGroup }
    }

    /// The permission bits that go with it.
    fn mode(&self) -> u32 {
        let group = self.group_class();
        let shown = |tag| tag == Tag::Owner || tag == group || tag == Tag::Other;
        self.0.iter().filter(|entry| shown(entry.tag)).fold(0, |mode, e| mode | e.allows << e.tag.shift())
    }

    /// Changes it by `change`, for those entries that permission bits show.
    fn change_shown(&mut self, change: impl Fn(u32, u32) -> u32, mode: u32) {
        let group = self.group_class();
        for entry in &mut self.0 {
            if entry.tag == Tag::Owner || entry.tag == group || entry.tag == Tag::Other {
                entry.allows = change(entry.allows, mode >> entry.tag.shift() & Access::all().bits());
            }
        }
    }

    /// Whether it allows `wanted` to `cred`, who does not own the file. The first entry that is for a user decides; of those
    /// for groups, any.
    pub fn permits(&self, owner: Owner, cred: &Cred, wanted: Access) -> bool {
        let wanted = wanted.bits();
        let mask = self.0.iter().find(|entry| entry.tag == Tag::Mask).map_or(wanted, |mask| mask.allows);
        let mut in_a_group = false;
        for entry in &self.0 {
            let gid = if entry.tag == Tag::OwningGroup { owner.gid } else { entry.id };
            match entry.tag {
                Tag::User if entry.id == cred.fsuid => return entry.allows & mask & wanted == wanted,
                Tag::OwningGroup | Tag::Group if cred.in_group(gid) => {
                    in_a_group = true;
                    if entry.allows & wanted == wanted {
                        return mask & wanted == wanted;
                    }
                }
                Tag::Other => return !in_a_group && entry.allows & wanted == wanted,
                _ => {}
            }
        }
        false
    }
}

fn keep(inode: &dyn Inode, name: &[u8], acl: &Acl) -> Result<()> {
    inode.set_xattr(name, &acl.to_bytes(&|_, id| Some(id)), XattrMode::Any)
}

fn has(inode: &dyn Inode, name: &[u8]) -> bool {
    inode.owner().attached.contains(if name == ACCESS {
        Attached::ACCESS_LIST
    } else {
        Attached::DEFAULT_LIST
    })
}

/// Takes a list away.
pub fn remove(inode: &dyn Inode, name: &[u8], cred: &Cred) -> Result<()> {
    set(inode, name, &[], cred)
}

/// Sets a list as `setxattr(2)` does; no bytes, or a list without entries, take it away. EOPNOTSUPP: the file system has
/// none. EACCES: not on a directory. EPERM, EINVAL.
pub fn set(inode: &dyn Inode, name: &[u8], bytes: &[u8], cred: &Cred) -> Result<()> {
    let user_ns = &cred.user_ns;
    let map = |user, id| if user { user_ns.uid(id) } else { user_ns.gid(id) };
    let acl = if bytes.is_empty() { Acl(Vec::new()) } else { Acl::read(bytes, &map)? };
    let acl = (!acl.0.is_empty()).then_some(acl);
    let kind = inode.kind();
    if kind == FileKind::Symlink {
        return Err(EOPNOTSUPP);
    }
    if let Err(error @ EOPNOTSUPP) = inode.get_xattr(name) {
        return Err(error);
    }
    if name == DEFAULT && kind != FileKind::Directory {
        return if acl.is_some() { Err(EACCES) } else { Ok(()) };
    }
    let owner = inode.owner();
    permission::check_owner(owner, cred)?;
    let acl = acl.map(Acl::checked).transpose()?;
    if name == ACCESS
        && let Some(acl) = &acl
    {
        let mut mode = owner.mode & MODE_BITS & !0o777 | acl.mode();
        if !cred.in_group(owner.gid) && !cred.capable_over(owner.uid, owner.gid, Caps::FSETID) {
            mode &= !S_ISGID;
        }
        inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
    }
    match acl.filter(|acl| name == DEFAULT || acl.is_extended()) {
        Some(acl) => keep(inode, name, &acl),
        None if has(inode, name) => inode.remove_xattr(name),
        None => Ok(()),
    }
}

/// A list as `getxattr(2)` shows it to who has `user_ns`.
pub fn get(inode: &dyn Inode, name: &[u8], user_ns: &UserNs) -> Result<Vec<u8>> {
    if inode.kind() == FileKind::Symlink {
        return Err(EOPNOTSUPP);
    }
    let acl = Acl::parse(&inode.get_xattr(name)?)?;
    Ok(acl.to_bytes(&|user, id| if user { user_ns.uid_inside(id) } else { user_ns.gid_inside(id) }))
}

/// After a change of the permission bits, changes the list by which access is decided.
pub fn follow_mode(inode: &dyn Inode, mode: u32) -> Result<()> {
    if !has(inode, ACCESS) {
        return Ok(());
    }
    let mut acl = Acl::parse(&inode.get_xattr(ACCESS)?)?;
    acl.change_shown(|_, bits| bits, mode);
    keep(inode, ACCESS, &acl)
}

/// The lists that a new file gets from its directory.
#[derive(Default)]
pub struct Inherited {
    access: Option<Acl>,
    default: Option<Acl>,
}

impl Inherited {
    /// What a new file of this kind, to be made with permission bits `mode`, has of `dir`, and the bits that it gets. `None`
    /// if the directory has nothing for it.
    pub fn from(dir: &dyn Inode, kind: FileKind, mode: u32) -> Result<Option<(Inherited, u32)>> {
        if kind == FileKind::Symlink || !has(dir, DEFAULT) {
            return Ok(None);
        }
        let default = Acl::parse(&dir.get_xattr(DEFAULT)?)?;
        let mut access = default.clone();
        access.change_shown(|allows, bits| allows & bits, mode);
        let mode = mode & !0o777 | access.mode();
        let default = (kind == FileKind::Directory).then_some(default);
        Ok(Some((Inherited { access: access.is_extended().then_some(access), default }, mode)))
    }

    /// Gives them to the file.
    pub fn give_to(&self, inode: &Arc<dyn Inode>) -> Result<()> {
        for (name, acl) in [(ACCESS, &self.access), (DEFAULT, &self.default)] {
            acl.as_ref().map_or(Ok(()), |acl| keep(&**inode, name, acl))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(entries: &[(Tag, u16, u32)]) -> Vec<u8> {
        let entry = |&(tag, allows, id): &(Tag, u16, u32)| {
            [&(tag as u16).to_le_bytes()[..], &allows.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [VERSION.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
    }

    const BASE: [(Tag, u16, u32); 3] = [(Tag::Owner, 6, 0), (Tag::OwningGroup, 4, 0), (Tag::Other, 0, 0)];

    #[test]
    fn only_valid_lists_are_taken() {
        let named = [BASE[0], (Tag::User, 7, 5), BASE[1], (Tag::Group, 1, 6), (Tag::Mask, 5, 0), BASE[2]];
        let acl = Acl::parse(&bytes(&named)).unwrap();
        assert_eq!((acl.mode(), acl.is_extended()), (0o650, true));
        assert_eq!(Acl::parse(&acl.to_bytes(&|_, id| Some(id))), Ok(acl));
        assert!(!Acl::parse(&bytes(&BASE)).unwrap().is_extended());
        let without_mask = [BASE[0], (Tag::User, 7, 5), BASE[1], BASE[2]];
        let twice = [BASE[0], BASE[0], BASE[1], BASE[2]];
        let unsorted = [BASE[1], BASE[0], BASE[2]];
        for wrong in
            [&without_mask[..], &twice, &unsorted, &BASE[..2], &[(Tag::Owner, 8, 0), BASE[1], BASE[2]]]
        {
            assert_eq!(Acl::parse(&bytes(wrong)), Err(EINVAL));
        }
        assert_eq!(Acl::parse(&bytes(&BASE)[..27]), Err(EINVAL));
        assert_eq!(Acl::parse(&[1, 0, 0, 0]), Err(EOPNOTSUPP));
        assert_eq!(Acl::parse(&[]), Err(EINVAL));
    }

    #[test]
    fn users_come_before_groups_and_groups_before_others() {
        let cred = |uid, gid| Cred { fsuid: uid, fsgid: gid, effective: Caps::empty(), ..Cred::root() };
        let owner = Owner { mode: 0o100_677, uid: 1, gid: 1, attached: Attached::ACCESS_LIST };
        let all = [(Tag::Owner, 6, 0), (Tag::User, 6, 5), (Tag::OwningGroup, 2, 0), (Tag::Group, 7, 6)];
        let acl = Acl::parse(&bytes(&[&all[..], &[(Tag::Mask, 5, 0), (Tag::Other, 7, 0)]].concat())).unwrap();
        let permits = |uid, gid, wanted| acl.permits(owner, &cred(uid, gid), wanted);
        assert!(permits(5, 6, Access::READ) && !permits(5, 6, Access::EXEC), "a user's entry decides alone");
        assert!(!permits(5, 9, Access::WRITE), "within the mask");
        assert!(permits(9, 6, Access::READ | Access::EXEC) && !permits(9, 6, Access::WRITE));
        assert!(!permits(9, 1, Access::EXEC), "who is in a group is no other");
        assert!(permits(9, 9, Access::all()));
    }

    #[test]
    fn new_files_get_less_than_the_default_at_most() {
        let named = [BASE[0], (Tag::User, 7, 5), BASE[1], (Tag::Mask, 7, 0), (Tag::Other, 4, 0)];
        let mut acl = Acl::parse(&bytes(&named)).unwrap();
        acl.change_shown(|allows, bits| allows & bits, 0o640);
        assert_eq!(acl.mode(), 0o640);
        assert_eq!(acl.0[1].allows, 7);
        acl.change_shown(|_, bits| bits, 0o777);
        assert_eq!(acl.mode(), 0o777);
    }
}
