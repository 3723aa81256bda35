//! Making, removing and renaming entries by path name. Sources: `mkdir(2)`, `mknod(2)`, `link(2)`, `unlink(2)`,
//! `rmdir(2)`, `rename(2)`. The order of errors is Linux's.

use crate::errno::{
    EACCES, EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EOVERFLOW, EPERM, EXDEV, Errno, Result,
};
use crate::vfs::acl::Inherited;
use crate::vfs::inode::{FileKind, MODE_BITS, NewAttr, NewNode, RenameMode, S_ISGID, same_inode};
use crate::vfs::path::Path;
use crate::vfs::permission::{self, Access};
use crate::vfs::walk::{Last, Parent, Walker};

impl Parent {
    /// The last component if it is a name, else `error`.
    fn name_or(&self, error: Errno) -> Result<&[u8]> {
        match &self.last {
            Last::Name(name) => Ok(name),
            _ => Err(error),
        }
    }
}

impl Walker<'_> {
    /// Attributes of a new entry in `dir`: umask or access control lists, and what a set-group-id directory hands on.
    /// EOVERFLOW: the caller's ids mean nothing in the user namespace that the file system belongs to.
    pub(super) fn new_attr(&self, dir: &Path, kind: FileKind, mode: u32) -> Result<(NewAttr, Inherited)> {
        let user_ns = &dir.mount.superblock.user_ns;
        if user_ns.uid_inside(self.cred.fsuid).is_none() || user_ns.gid_inside(self.cred.fsgid).is_none() {
            return Err(EOVERFLOW);
        }
        let owner = dir.inode().owner();
        let inherited = Inherited::from(&**dir.inode(), kind, mode & MODE_BITS)?;
        let (inherited, mut mode) = inherited.unwrap_or_else(|| {
            let mode = if kind == FileKind::Symlink { 0o777 } else { mode & MODE_BITS & !self.umask };
            (Inherited::default(), mode)
        });
        let mut gid = self.cred.fsgid;
        if owner.mode & S_ISGID != 0 {
            gid = owner.gid;
            if kind == FileKind::Directory {
                mode |= S_ISGID;
            } else if mode & (S_ISGID | 0o010) == S_ISGID | 0o010
                && !self.cred.in_group(gid)
                && !self.cred.capable_over(owner.uid, owner.gid, crate::task::cred::Caps::FSETID)
            {
                mode &= !S_ISGID;
            }
        }
        Ok((NewAttr { mode, uid: self.cred.fsuid, gid }, inherited))
    }

    /// Makes what `path` names: `mkdir`, `mknod`, `symlink`, and `bind` of a socket. EEXIST if it is there.
    pub fn make(&self, start: &Path, path: &[u8], what: NewNode<'_>, mode: u32) -> Result<Path> {
        let parent = self.parent(start, path)?;
        let name = parent.name_or(EEXIST)?;
        self.expect_free(&parent, name, what.kind() == FileKind::Directory)?;
        self.make_entry(&parent.dir, name, what, mode)
    }

    fn expect_free(&self, parent: &Parent, name: &[u8], slash_allowed: bool) -> Result<()> {
        match self.child(&parent.dir, name) {
            Ok(_) => Err(EEXIST),
            Err(ENOENT) if parent.slash && !slash_allowed => Err(ENOENT),
            Err(ENOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives what is at `old` another name, `path`.
    pub fn link(&self, old: &Path, start: &Path, path: &[u8]) -> Result<()> {
        let parent = self.parent(start, path)?;
        let name = parent.name_or(EEXIST)?;
        self.expect_free(&parent, name, false)?;
        self.check_writable(&parent.dir)?;
        if !alloc::sync::Arc::ptr_eq(&old.mount, &parent.dir.mount) {
            return Err(EXDEV);
        }
        self.check(&parent.dir, Access::WRITE | Access::EXEC)?;
        if old.dentry.kind() == FileKind::Directory {
            return Err(EPERM);
        }
        if parent.dir.dentry.is_deleted() {
            return Err(ENOENT);
        }
        parent.dir.dentry.link(name, old.inode(), &self.namespace.dentries)
    }

    /// Removes a name that is not a directory's.
    pub fn unlink(&self, start: &Path, path: &[u8]) -> Result<()> {
        let parent = self.parent(start, path)?;
        let name = parent.name_or(EISDIR)?;
        self.check_writable(&parent.dir)?;
        let victim = self.child(&parent.dir, name)?;
        let directory = victim.dentry.kind() == FileKind::Directory;
        if parent.slash {
            return Err(if directory { EISDIR } else { ENOTDIR });
        }
        self.check_remove(&parent.dir, &victim)?;
        if directory {
            return Err(EISDIR);
        }
        parent.dir.dentry.remove(name, &victim.dentry, &self.namespace.dentries)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, start: &Path, path: &[u8]) -> Result<()> {
        let parent = self.parent(start, path)?;
        let name = match &parent.last {
            Last::Name(name) => name,
            Last::Root => return Err(EBUSY),
            Last::Dot => return Err(EINVAL),
            Last::DotDot => return Err(ENOTEMPTY),
        };
        self.check_writable(&parent.dir)?;
        let victim = self.child(&parent.dir, name)?;
        self.check_remove(&parent.dir, &victim)?;
        if victim.dentry.kind() != FileKind::Directory {
            return Err(ENOTDIR);
        }
        if victim.is(self.root()) {
            return Err(EBUSY);
        }
        parent.dir.dentry.remove(name, &victim.dentry, &self.namespace.dentries)
    }

    /// Renames an entry.
    pub fn rename(&self, from: &Parent, to: &Parent, mode: RenameMode) -> Result<()> {
        if !alloc::sync::Arc::ptr_eq(&from.dir.mount, &to.dir.mount) {
            return Err(EXDEV);
        }
        let name = from.name_or(EBUSY)?;
        let new_name = to.name_or(if mode == RenameMode::NoReplace { EEXIST } else { EBUSY })?;
        self.check_writable(&from.dir)?;
        if matches!(mode, RenameMode::Whiteout(_)) && !from.dir.inode().leaves_whiteouts() {
            return Err(EINVAL);
        }
        let source = self.child(&from.dir, name)?;
        let target = match self.child(&to.dir, new_name) {
            Ok(_) if mode == RenameMode::NoReplace => return Err(EEXIST),
            Ok(target) => Some(target),
            Err(ENOENT) if mode == RenameMode::Exchange => return Err(ENOENT),
            Err(ENOENT) => None,
            Err(error) => return Err(error),
        };
        let is_dir = |path: &Path| path.dentry.kind() == FileKind::Directory;
        let source_is_dir = is_dir(&source);
        let slash_wrong = match (&target, mode) {
            (Some(target), RenameMode::Exchange) => {
                from.slash && !source_is_dir || to.slash && !is_dir(target)
            }
            _ => (from.slash || to.slash) && !source_is_dir,
        };
        if slash_wrong {
            return Err(ENOTDIR);
        }
        if source_is_dir && source.dentry.is_above(&to.dir.dentry) {
            return Err(EINVAL);
        }
        if let Some(target) = &target {
            if is_dir(target) && target.dentry.is_above(&from.dir.dentry) {
                return Err(if mode == RenameMode::Exchange { EINVAL } else { ENOTEMPTY });
            }
            if same_inode(source.inode(), target.inode()) {
                return Ok(());
            }
        }
        self.check_rename(from, &source, to, target.as_ref(), mode)?;
        if to.dir.dentry.is_deleted() {
            return Err(ENOENT);
        }
        from.dir.dentry.rename(
            name,
            &source.dentry,
            &to.dir.dentry,
            new_name,
            target.as_ref().map(|target| &target.dentry),
            mode,
            &self.namespace.dentries,
        )
    }

    /// Whether the entry `victim` may be removed from `dir`.
    fn check_remove(&self, dir: &Path, victim: &Path) -> Result<()> {
        self.check(dir, Access::WRITE | Access::EXEC)?;
        permission::check_sticky(dir.inode().owner(), victim.inode().owner(), &self.cred)
    }

    /// The permissions that a rename needs.
    fn check_rename(
        &self,
        from: &Parent,
        source: &Path,
        to: &Parent,
        target: Option<&Path>,
        mode: RenameMode,
    ) -> Result<()> {
        self.check_remove(&from.dir, source)?;
        match target {
            Some(target) => self.check_remove(&to.dir, target)?,
            None => self.check(&to.dir, Access::WRITE | Access::EXEC)?,
        }
        let is_dir = |path: &Path| path.dentry.kind() == FileKind::Directory;
        if let Some(target) = target
            && matches!(mode, RenameMode::Replace | RenameMode::Whiteout(_))
        {
            match (is_dir(source), is_dir(target)) {
                (true, false) => return Err(ENOTDIR),
                (false, true) => return Err(EISDIR),
                _ => {}
            }
        }
        // A directory that gets another parent is written to: its `..` changes.
        if !from.dir.is(&to.dir) {
            let moved = [Some(source), target.filter(|_| mode == RenameMode::Exchange)];
            for path in moved.into_iter().flatten().filter(|path| is_dir(path)) {
                self.check(path, Access::WRITE).map_err(|_| EACCES)?;
            }
        }
        Ok(())
    }
}
