//! Who may do what with a file. Sources: `path_resolution(7)`, `capabilities(7)`, `access(2)`, `acl(5)`.

use crate::errno::{EACCES, EPERM, Result};
use crate::task::cred::{Caps, Cred};
use crate::task::exec_cred;
use crate::vfs::acl::{self, Acl};
use crate::vfs::inode::{Attached, FileKind, Inode, MODE_BITS, Owner, S_ISGID, S_ISUID, S_ISVTX};

bitflags::bitflags! {
    /// What is asked for; the bits are those of `access(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Execute, or search a directory.
        const EXEC = 1;
        /// Write, or change a directory's entries.
        const WRITE = 2;
        /// Read, or list a directory.
        const READ = 4;
    }
}

/// Checks `wanted` by the file system ids and effective capabilities of `cred`, and by the file's access control list.
pub fn check_inode(inode: &dyn Inode, cred: &Cred, wanted: Access) -> Result<()> {
    let owner = inode.owner();
    // As Linux: a list that gives its group class nothing is not asked.
    if !owner.attached.contains(Attached::ACCESS_LIST) || cred.fsuid == owner.uid || owner.mode & 0o070 == 0 {
        return check(owner, cred, wanted);
    }
    let acl = Acl::parse(&inode.get_xattr(acl::ACCESS)?)?;
    if acl.permits(owner, cred, wanted) { Ok(()) } else { check_capable(owner, cred, wanted) }
}

/// Checks `wanted` by the permission bits, the file system ids and effective capabilities of `cred`.
pub fn check(owner: Owner, cred: &Cred, wanted: Access) -> Result<()> {
    let class = if cred.fsuid == owner.uid {
        owner.mode >> 6
    } else if cred.in_group(owner.gid) {
        owner.mode >> 3
    } else {
        owner.mode
    };
    if wanted.bits() & !class & 7 == 0 { Ok(()) } else { check_capable(owner, cred, wanted) }
}

/// Checks `wanted` by capabilities alone.
fn check_capable(owner: Owner, cred: &Cred, wanted: Access) -> Result<()> {
    let directory = FileKind::of_mode(owner.mode) == FileKind::Directory;
    // Even the superuser executes only what somebody may execute.
    let executable = directory || owner.mode & 0o111 != 0;
    if cred.capable_over(owner.uid, owner.gid, Caps::DAC_OVERRIDE)
        && (executable || !wanted.contains(Access::EXEC))
    {
        return Ok(());
    }
    let harmless = if directory { !wanted.contains(Access::WRITE) } else { wanted == Access::READ };
    if harmless && cred.capable_over(owner.uid, owner.gid, Caps::DAC_READ_SEARCH) {
        return Ok(());
    }
    Err(EACCES)
}

/// The credentials that `access(2)` checks with: real ids, and the capabilities that they would have.
pub fn real(cred: &Cred) -> Cred {
    let mut real = cred.clone();
    real.fsuid = cred.uid;
    real.fsgid = cred.gid;
    real.effective = if Some(cred.uid) == cred.user_ns.uid(0) { cred.permitted } else { Caps::empty() };
    real
}

/// Whether `cred` may act as the owner: EPERM if not.
pub fn check_owner(owner: Owner, cred: &Cred) -> Result<()> {
    if cred.fsuid == owner.uid || cred.capable_over(owner.uid, owner.gid, Caps::FOWNER) {
        Ok(())
    } else {
        Err(EPERM)
    }
}

/// Whether an entry that belongs to `victim` may be removed from `dir`, which may be written to: in a sticky directory only
/// one's own (EPERM).
pub fn check_sticky(dir: Owner, victim: Owner, cred: &Cred) -> Result<()> {
    if dir.mode & S_ISVTX != 0
        && cred.fsuid != victim.uid
        && cred.fsuid != dir.uid
        && !cred.capable_over(victim.uid, victim.gid, Caps::FOWNER)
    {
        return Err(EPERM);
    }
    Ok(())
}

/// The permission bits that a file keeps after a write or truncation by `cred`, if they change: without CAP_FSETID the
/// set-id bits go (a set-group-id bit without group execution means nothing and stays).
pub fn mode_after_write(owner: Owner, cred: &Cred) -> Option<u32> {
    if FileKind::of_mode(owner.mode) != FileKind::Regular
        || cred.capable_over(owner.uid, owner.gid, Caps::FSETID)
    {
        return None;
    }
    let kept = without_set_id(owner.mode);
    (kept != owner.mode).then_some(kept & MODE_BITS)
}

/// Takes the capabilities away that a program gets, as a write or another owner does.
pub fn drop_file_capabilities(inode: &dyn Inode, owner: Owner) -> Result<()> {
    let has = owner.attached.contains(Attached::CAPABILITIES);
    if has { inode.remove_xattr(exec_cred::XATTR) } else { Ok(()) }
}

/// `mode` without the set-id bits that have an effect on a regular file.
pub fn without_set_id(mode: u32) -> u32 {
    let group = if mode & 0o010 != 0 { S_ISGID } else { 0 };
    mode & !(S_ISUID | group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32) -> Cred {
        let mut cred = Cred::root();
        (cred.uid, cred.euid, cred.fsuid, cred.fsgid) = (uid, uid, uid, uid);
        cred.effective = Caps::empty();
        cred
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let owner = Owner::new(0o100_047, 5, 6);
        assert_eq!(check(owner, &user(5), Access::READ), Err(EACCES));
        assert_eq!(check(owner, &user(6), Access::READ), Ok(()));
        assert_eq!(check(owner, &user(6), Access::WRITE), Err(EACCES));
        assert_eq!(check(owner, &user(7), Access::all()), Ok(()));
    }

    #[test]
    fn root_executes_only_what_is_executable() {
        let file = |mode| Owner::new(mode, 5, 5);
        assert_eq!(check(file(0o100_600), &Cred::root(), Access::READ | Access::WRITE), Ok(()));
        assert_eq!(check(file(0o100_600), &Cred::root(), Access::EXEC), Err(EACCES));
        assert_eq!(check(file(0o100_601), &Cred::root(), Access::EXEC), Ok(()));
        assert_eq!(check(file(0o040_600), &Cred::root(), Access::EXEC), Ok(()));
    }

    #[test]
    fn sticky_directories_protect_entries() {
        let dir = Owner::new(0o041_777, 0, 0);
        let victim = Owner::new(0o100_666, 5, 5);
        assert_eq!(check_sticky(dir, victim, &user(5)), Ok(()));
        assert_eq!(check_sticky(dir, victim, &user(6)), Err(EPERM));
        assert_eq!(check_sticky(dir, victim, &Cred::root()), Ok(()));
    }
}
