//! Opening files by name. Sources: `open(2)`, `path_resolution(7)`.

use alloc::format;
use alloc::sync::Arc;
use core::any::Any;

use crate::errno::{
    EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM, EROFS, Result,
};
use crate::task::cred::Caps;
use crate::vfs::caller::Caller;
use crate::vfs::claim::{Claim, Purpose};
use crate::vfs::dentry::Dentry;
use crate::vfs::file::{FileOps, OpenFile, OpenFlags};
use crate::vfs::inode::{FileKind, Inode, NAME_MAX, NewNode, Opened, SetAttr};
use crate::vfs::mount::MountFlags;
use crate::vfs::notify::Happening;
use crate::vfs::path::Path;
use crate::vfs::permission::{self, Access};
use crate::vfs::walk::{Cursor, LastLink, Part, Walker};

/// What a file opened with `O_PATH` can do: nothing.
struct PathOnly;

impl FileOps for PathOnly {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Whether the file is there already or was just made by the same call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Found,
    Made,
}

impl Walker<'_> {
    /// Opens the file that `path` names, and makes it with permission bits `mode` if the flags say so. A FIFO may have to
    /// wait for its other side then: [`FileOps::finish_open`].
    pub fn open(&self, start: &Path, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Arc<OpenFile>> {
        if flags.contains(OpenFlags::PATH) {
            let last = if flags.contains(OpenFlags::NOFOLLOW) { LastLink::Keep } else { LastLink::Follow };
            return self.open_path(self.resolve(start, path, last)?, flags);
        }
        if flags.contains(OpenFlags::TMPFILE) {
            return self.open_unnamed(&self.resolve(start, path, LastLink::Follow)?, flags, mode);
        }
        let mut cursor = Cursor::new(self, start, path)?;
        let create = flags.contains(OpenFlags::CREAT);
        loop {
            let last = cursor.walk_to_last()?;
            let name = match last.part {
                Part::Name(name) => name,
                other => {
                    if let Part::DotDot = other {
                        cursor.up()?;
                    }
                    return self.open_found(cursor.at, flags);
                }
            };
            if create && last.slash {
                return Err(EISDIR);
            }
            let found = match cursor.child(name.clone()) {
                Ok(found) => found,
                Err(ENOENT) if create => {
                    match self.make_entry(&cursor.at, cursor.name(&name), NewNode::File, mode) {
                        // Somebody else was faster: open what is there now.
                        Err(EEXIST) if !flags.contains(OpenFlags::EXCL) => cursor.child(name)?,
                        made => return self.open_at(made?, flags, Origin::Made),
                    }
                }
                Err(error) => return Err(error),
            };
            if found.dentry.kind() != FileKind::Symlink {
                cursor.at = found;
                return self.open_found(cursor.finish(last.slash)?, flags);
            }
            if create && flags.contains(OpenFlags::EXCL) {
                return Err(EEXIST);
            }
            if flags.contains(OpenFlags::NOFOLLOW) && !last.slash {
                return Err(if flags.contains(OpenFlags::DIRECTORY) { ENOTDIR } else { ELOOP });
            }
            if cursor.follow(found)? {
                return self.open_found(cursor.finish(last.slash)?, flags);
            }
        }
    }

    fn open_found(&self, path: Path, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        if flags.contains(OpenFlags::CREAT) {
            if flags.contains(OpenFlags::EXCL) {
                return Err(EEXIST);
            }
            if path.dentry.kind() == FileKind::Directory {
                return Err(EISDIR);
            }
        }
        self.open_at(path, flags, Origin::Found)
    }

    pub(crate) fn open_path(&self, path: Path, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        if flags.contains(OpenFlags::DIRECTORY) && path.dentry.kind() != FileKind::Directory {
            return Err(ENOTDIR);
        }
        let kept = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
        let inode = path.inode().clone();
        Ok(OpenFile::new(Arc::new(PathOnly), inode, Some(path), flags & kept))
    }

    /// `O_TMPFILE`.
    fn open_unnamed(&self, dir: &Path, flags: OpenFlags, mode: u32) -> Result<Arc<OpenFile>> {
        if dir.dentry.kind() != FileKind::Directory {
            return Err(ENOTDIR);
        }
        if !flags.writable() {
            return Err(EINVAL);
        }
        self.check_writable(dir)?;
        self.check(dir, Access::WRITE | Access::EXEC)?;
        let (attr, acls) = self.new_attr(dir, FileKind::Regular, mode)?;
        let inode = dir.inode().make_unnamed(&attr)?;
        acls.give_to(&inode)?;
        let name = format!("#{}", inode.metadata().ino);
        let dentry = Dentry::unnamed(inode, &dir.dentry, name.as_bytes());
        self.open_at(Path { mount: dir.mount.clone(), dentry }, flags, Origin::Made)
    }

    /// Opens what is at `path`, after the checks of `open(2)`; for paths that were walked before (`execve`, magic links).
    pub fn open_at_path(&self, path: Path, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        self.open_at(path, flags, Origin::Found)
    }

    fn open_at(&self, path: Path, flags: OpenFlags, origin: Origin) -> Result<Arc<OpenFile>> {
        let kind = path.dentry.kind();
        // O_TMPFILE has it too, for a file.
        if origin == Origin::Found && flags.contains(OpenFlags::DIRECTORY) && kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        let truncate = flags.contains(OpenFlags::TRUNC) && kind == FileKind::Regular;
        let writes = flags.writable() || flags.contains(OpenFlags::TRUNC);
        // Access mode 3 writes nothing, but has to be allowed to.
        let may_write = writes || flags.bits() & 3 == 3;
        match kind {
            FileKind::Symlink => return Err(ELOOP),
            FileKind::Directory if may_write => return Err(EISDIR),
            FileKind::Char | FileKind::Block if path.mount.forbids_devices() => {
                return Err(EACCES);
            }
            FileKind::Regular if may_write && path.mount.flags().contains(MountFlags::READ_ONLY) => {
                return Err(EROFS);
            }
            _ => {}
        }
        if origin == Origin::Found {
            let mut wanted = Access::empty();
            // Access mode 3 asks for both.
            wanted.set(Access::READ, flags.bits() & 3 != 1);
            wanted.set(Access::WRITE, flags.bits() & 3 != 0 || flags.contains(OpenFlags::TRUNC));
            self.check(&path, wanted)?;
        }
        if flags.contains(OpenFlags::NOATIME) {
            permission::check_owner(path.inode().owner(), &self.cred).map_err(|_| EPERM)?;
        }
        let claim = match kind {
            FileKind::Regular if writes => Some(Claim::new(path.inode(), Purpose::Write)?),
            _ => None,
        };
        let ops = self.operations(&path, flags)?;
        // One that is only cut is free again, once it is cut.
        let (claim, _cutting) = if flags.writable() { (claim, None) } else { (None, claim) };
        let file = OpenFile::named(ops, path, flags, claim, &self.namespace.dentries.notify);
        if truncate && origin == Origin::Found {
            cut(&file.inode, 0, self.caller)?;
            file.happened(Happening::MODIFY);
        }
        Ok(file)
    }

    fn operations(&self, path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        let inode = path.inode();
        if let Opened::File(ops) = inode.open(flags, self.caller)? {
            return Ok(ops);
        }
        match inode.kind() {
            FileKind::Char | FileKind::Block | FileKind::Fifo => {
                let beside = |name: &[u8]| {
                    let dentry = path.dentry.parent().filter(|_| !path.is_mount_root()).ok_or(ENOENT)?;
                    self.resolve(&Path { mount: path.mount.clone(), dentry }, name, LastLink::Keep)
                };
                self.namespace.devices.open(&beside, inode, flags, self.caller)
            }
            _ => Err(ENXIO),
        }
    }

    /// EROFS if the mount forbids writes.
    pub(super) fn check_writable(&self, path: &Path) -> Result<()> {
        if path.mount.flags().contains(MountFlags::READ_ONLY) { Err(EROFS) } else { Ok(()) }
    }

    /// Makes `name` in `dir`, where nothing of that name was found.
    pub(super) fn make_entry(&self, dir: &Path, name: &[u8], what: NewNode<'_>, mode: u32) -> Result<Path> {
        if name.len() > NAME_MAX {
            return Err(ENAMETOOLONG);
        }
        self.check_writable(dir)?;
        self.check(dir, Access::WRITE | Access::EXEC)?;
        if matches!(what, NewNode::Block(_)) && !self.cred.capable(Caps::MKNOD) {
            return Err(EPERM);
        }
        if let NewNode::Char(device) = what
            && device.raw() != 0
            && !self.cred.capable(Caps::MKNOD)
        {
            return Err(EPERM);
        }
        if dir.dentry.is_deleted() {
            return Err(ENOENT);
        }
        let (attr, acls) = self.new_attr(dir, what.kind(), mode)?;
        let dentry = dir.dentry.make(name, what, &attr, &self.namespace.dentries)?;
        if let Err(error) = acls.give_to(dentry.inode()) {
            // Without them, more might be allowed.
            dir.dentry.remove(name, &dentry, &self.namespace.dentries)?;
            return Err(error);
        }
        Ok(Path { mount: dir.mount.clone(), dentry })
    }
}

/// Sets the size of a regular file by name or descriptor, and takes its set-id bits away as any write does.
pub fn cut(inode: &Arc<dyn Inode>, size: u64, caller: &dyn Caller) -> Result<()> {
    let owner = inode.owner();
    let mode = permission::mode_after_write(owner, &caller.cred());
    inode.set_attr(&SetAttr { size: Some(size), mode, ..SetAttr::default() })?;
    permission::drop_file_capabilities(&**inode, owner)
}
