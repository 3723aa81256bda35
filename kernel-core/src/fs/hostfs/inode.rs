//! Inodes of hostfs.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use super::attr::{self, Kept};
use super::file::{DirFile, HostFile};
use super::place::PlaceOf;
use super::{Key, Shared, TRUSTED_NS};
use crate::errno::{EINVAL, EIO, EISDIR, ENODATA, ENOENT, ENOTDIR, EOPNOTSUPP, EPERM, EXDEV, Errno, Result};
use crate::host::tree::{self, Access, Attr, New, Node, OpenNode};
use crate::mm::cache::{PageCache, WritePolicy};
use crate::sync::Mutex;
use crate::vfs::cached::CachedFile;
use crate::vfs::caller::Caller;
use crate::vfs::claim::Claims;
use crate::vfs::dir::DirectoryFile;
use crate::vfs::file::OpenFlags;
use crate::vfs::inode::{
    Attachment, Device, FileKind, Inode, LinkTarget, MODE_BITS, Metadata, NewAttr, NewNode, Opened, Owner,
    RenameMode, SetAttr, SetTime, StatFs, Timestamp, XattrMode,
};
use crate::vfs::locks::FileLocks;

/// What `statfs` says it is (`HOSTFS_SUPER_MAGIC`).
const MAGIC: u64 = 0x00c0_ffee;

/// A node of the host's, for guests.
pub struct HostInode {
    me: Weak<HostInode>,
    pub(super) fs: Arc<Shared>,
    key: Key,
    kind: FileKind,
    /// The bytes of a regular file.
    pages: Option<Arc<PageCache>>,
    place: Arc<PlaceOf>,
    locks: FileLocks,
    claims: Claims,
    attachment: Attachment,
}

fn timestamp((sec, nsec): tree::Time) -> Timestamp {
    Timestamp { sec, nsec }
}

impl HostInode {
    pub(super) fn new(fs: &Arc<Shared>, key: Key, node: Arc<dyn Node>, attr: Attr) -> Arc<HostInode> {
        let kept = attr::load(&*node, &key, &attr, &fs.shadow);
        let kind = FileKind::of_mode(kept.mode);
        let place = PlaceOf::new(&fs.services, node, attr, kept);
        let pages = (kind == FileKind::Regular)
            .then(|| PageCache::over(&fs.services.ram, place.clone(), attr.size, WritePolicy::Through));
        Arc::new_cyclic(|me| HostInode {
            me: me.clone(),
            fs: fs.clone(),
            key,
            kind,
            pages,
            place,
            locks: FileLocks::default(),
            claims: Claims::default(),
            attachment: Mutex::new(None),
        })
    }

    /// It was looked up, at this place.
    pub(super) fn found(&self, node: Arc<dyn Node>, attr: Attr) {
        // The one there is goes on if it can: those below it know no other. What it says is newer.
        let attr = match self.node().attr() {
            Ok(newer) => newer,
            Err(_) => {
                let old = core::mem::replace(&mut *self.place.node.lock(), node);
                drop(old);
                attr
            }
        };
        self.learn(attr);
    }

    pub(super) fn pages(&self) -> Result<&Arc<PageCache>> {
        self.pages.as_ref().ok_or(EINVAL)
    }

    pub(super) fn node(&self) -> Arc<dyn Node> {
        self.place.node()
    }

    /// The host's file, for what the cache does not do.
    pub(super) fn file(&self, access: Access) -> Result<Arc<dyn OpenNode>> {
        self.place.file(access)
    }

    /// Keeps the host's file open until [`HostInode::close`].
    pub(super) fn keep_open(&self, access: Access) -> Result<()> {
        self.place.keep_open(access)
    }

    /// One user of the open file less.
    pub(super) fn close(&self) {
        if let Some(pages) = &self.pages {
            // Whoever wants to know whether it worked syncs.
            let _ = pages.write_back(0..u64::MAX);
        }
        self.place.close();
    }

    /// Writes what mappings have changed to the host.
    pub(super) fn write_back(&self) -> Result<()> {
        match &self.pages {
            Some(pages) => pages.sync(),
            None => Ok(()),
        }
    }

    /// Asks the host for the attributes, unless they are known to be fresh.
    pub(super) fn refresh(&self, trusted_ns: u64) -> Result<()> {
        let now = self.fs.services.clock.monotonic_ns();
        {
            let state = self.place.state.lock();
            if state.checked_ns != 0 && now.saturating_sub(state.checked_ns) < trusted_ns {
                return Ok(());
            }
        }
        self.learn(self.node().attr()?);
        Ok(())
    }

    /// What the host says now. If somebody else has changed the file, its pages are forgotten.
    fn learn(&self, mut attr: Attr) {
        let node = self.node();
        let changed = loop {
            let known = {
                let state = self.place.state.lock();
                (state.attr, state.kept)
            };
            let differs = |attr: &Attr| (known.0.mtime, known.0.size) != (attr.mtime, attr.size);
            // It may have been asked before something was done here, and told only now.
            if differs(&attr) && attr.ctime <= known.0.ctime {
                attr = node.attr().unwrap_or(attr);
            }
            let kept = attr::load(&*node, &self.key, &attr, &self.fs.shadow);
            let now = self.fs.services.clock.monotonic_ns();
            let mut state = self.place.state.lock();
            if (state.attr, state.kept) == known {
                let names_differ = (known.0.mtime, known.0.ctime) != (attr.mtime, attr.ctime);
                state.epoch += u64::from(names_differ);
                state.attr = attr;
                // What it is never changes; a file that stands for a device and was made anew has another key.
                if FileKind::of_mode(kept.mode) == self.kind {
                    state.kept = kept;
                }
                state.checked_ns = now;
                break differs(&attr);
            }
            drop(state);
            // Something was done here meanwhile: what the host said before that is no news.
            attr = node.attr().unwrap_or(attr);
        };
        if let (true, Some(pages)) = (changed, &self.pages) {
            pages.changed_outside(attr.size);
        }
    }

    /// It was changed through this inode.
    pub(super) fn changed(&self) {
        self.place.changed();
    }

    /// Something of it was changed here, neither its bytes nor its names: asked anew, the host says what others did to those.
    fn to_ask(&self) {
        self.place.state.lock().checked_ns = 0;
    }

    /// Looks at what others did to a directory, before something done here hides it.
    fn notice(&self) {
        let Ok(attr) = self.node().attr() else { return };
        let known = self.place.state.lock().attr;
        if (known.mtime, known.ctime) != (attr.mtime, attr.ctime) {
            self.learn(attr);
        }
    }

    /// Who owns it, as it is known.
    pub(super) fn known_owner(&self) -> Owner {
        let kept = self.place.state.lock().kept;
        Owner::new(kept.mode, kept.uid, kept.gid)
    }

    fn entry(&self, name: &[u8]) -> Result<Arc<HostInode>> {
        let (node, attr) = self.node().lookup(name)?;
        Ok(self.fs.inode(node, attr))
    }

    /// Gives a node that was just made its owner and whatever the host does not know.
    fn own(&self, node: Arc<dyn Node>, attr: Attr, wanted: &Kept) -> Result<Arc<HostInode>> {
        let key = (attr.dev, attr.ino, attr.btime);
        attr::store(&*node, &key, &attr, wanted, &self.fs.shadow)?;
        let attr = node.attr()?;
        Ok(self.fs.inode(node, attr))
    }

    /// The inode of an entry, if somebody uses it.
    fn known(&self, dir: &Arc<dyn Node>, name: &[u8]) -> Option<Arc<HostInode>> {
        let (_, attr) = dir.lookup(name).ok()?;
        self.fs.known(&(attr.dev, attr.ino, attr.btime))
    }

    /// Has the host remove an entry.
    fn remove(&self, name: &[u8], from: impl FnOnce(&dyn Node) -> tree::TreeResult<()>) -> Result<()> {
        let dir = self.node();
        let victim = self.known(&dir, name);
        self.notice();
        from(&*dir)?;
        self.changed();
        if let Some(victim) = victim {
            victim.lost_a_name();
        }
        Ok(())
    }

    /// One of its names was removed. If it was the last, and nobody has it open, the host can say nothing of it any more.
    fn lost_a_name(&self) {
        let mut state = self.place.state.lock();
        let names = if self.kind == FileKind::Directory { 0 } else { state.attr.nlink.saturating_sub(1) };
        state.attr.nlink = names;
        state.checked_ns = 0;
    }

    fn host_of<'a>(&self, other: &'a dyn Inode) -> Result<&'a HostInode> {
        let other = other.as_any().downcast_ref::<HostInode>().ok_or(EXDEV)?;
        if Arc::ptr_eq(&self.fs, &other.fs) { Ok(other) } else { Err(EXDEV) }
    }

    fn set_times(&self, change: &SetAttr) -> Result<()> {
        let now = Timestamp::from_ns(self.fs.services.clock.realtime_ns());
        let time = |set: SetTime| match set {
            SetTime::Now => (now.sec, now.nsec),
            SetTime::To(time) => (time.sec, time.nsec),
        };
        Ok(self.node().set_times(change.atime.map(time), change.mtime.map(time))?)
    }
}

impl Inode for HostInode {
    fn metadata(&self) -> Metadata {
        // It has no way to say that the host has lost it: what was known last.
        let _ = self.refresh(TRUSTED_NS);
        let (attr, kept) = {
            let state = self.place.state.lock();
            (state.attr, state.kept)
        };
        Metadata {
            dev: self.fs.device,
            ino: self.fs.ino(&attr),
            mode: kept.mode,
            nlink: attr.nlink,
            uid: kept.uid,
            gid: kept.gid,
            rdev: Device::from_raw(kept.rdev),
            size: self.pages.as_ref().map_or(attr.size, |pages| pages.len()),
            block_size: 4096,
            blocks: attr.blocks,
            atime: timestamp(attr.atime),
            mtime: timestamp(attr.mtime),
            ctime: timestamp(attr.ctime),
            btime: timestamp(attr.btime),
        }
    }

    fn owner(&self) -> Owner {
        let _ = self.refresh(TRUSTED_NS);
        self.known_owner()
    }

    fn kind(&self) -> FileKind {
        self.kind
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        let space = self.node().space().unwrap_or_default();
        StatFs {
            magic: MAGIC,
            block_size: space.block_size,
            blocks: space.blocks,
            blocks_free: space.blocks_free,
            files: space.files,
            files_free: space.files_free,
            id: self.fs.device.raw(),
        }
    }

    fn open(&self, flags: OpenFlags, _caller: &dyn Caller) -> Result<Opened> {
        let me = self.me.upgrade().ok_or(EIO)?;
        match self.kind {
            FileKind::Regular => {
                self.refresh(0)?;
                Ok(Opened::File(Arc::new(CachedFile(HostFile::new(me, flags)?))))
            }
            FileKind::Directory => Ok(Opened::File(Arc::new(DirectoryFile(DirFile::new(me)?)))),
            _ => Ok(Opened::Special),
        }
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        if let Some(size) = change.size {
            match &self.pages {
                Some(pages) => pages.truncate(size)?,
                None if self.kind == FileKind::Directory => return Err(EISDIR),
                None => return Err(EINVAL),
            }
        }
        let changes_owner = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
        let changes_times = change.atime.is_some() || change.mtime.is_some();
        if changes_owner || changes_times {
            self.refresh(0)?;
        }
        if changes_owner {
            let (attr, mut wanted) = {
                let state = self.place.state.lock();
                (state.attr, state.kept)
            };
            wanted.mode = change.mode.map_or(wanted.mode, |mode| wanted.mode & !MODE_BITS | mode & MODE_BITS);
            wanted.uid = change.uid.unwrap_or(wanted.uid);
            wanted.gid = change.gid.unwrap_or(wanted.gid);
            attr::store(&*self.node(), &self.key, &attr, &wanted, &self.fs.shadow)?;
            self.place.state.lock().kept = wanted;
            self.to_ask();
        }
        if changes_times {
            self.set_times(change)?;
            self.changed();
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        match &self.pages {
            Some(pages) => {
                pages.sync()?;
                Ok(self.file(Access::Read)?.sync()?)
            }
            None if self.kind == FileKind::Directory => Ok(self.node().sync()?),
            None => Ok(()),
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if self.kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        Ok(self.entry(name)?)
    }

    fn names_epoch(&self) -> u64 {
        let _ = self.refresh(TRUSTED_NS);
        self.place.state.lock().epoch
    }

    fn make(&self, name: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        let (kind, rdev) = match what {
            NewNode::Char(device) | NewNode::Block(device) => (what.kind(), device.raw()),
            _ => (what.kind(), 0),
        };
        let mode = if kind == FileKind::Symlink { 0o777 } else { attr.mode & MODE_BITS };
        let wanted = Kept { mode: kind.mode_bits() | mode, uid: attr.uid, gid: attr.gid, rdev };
        let new = match what {
            NewNode::Directory => New::Directory,
            NewNode::Symlink(target) => New::Symlink(target),
            _ => New::File,
        };
        let dir = self.node();
        self.notice();
        let (node, made) = dir.make(name, new, wanted.host_mode(&*dir))?;
        self.changed();
        match self.own(node, made, &wanted) {
            Ok(inode) => Ok(inode),
            Err(error) => {
                let _ = if kind == FileKind::Directory { dir.rmdir(name) } else { dir.unlink(name) };
                Err(error)
            }
        }
    }

    fn make_unnamed(&self, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        let wanted = Kept {
            mode: FileKind::Regular.mode_bits() | attr.mode & MODE_BITS,
            uid: attr.uid,
            gid: attr.gid,
            rdev: 0,
        };
        let dir = self.node();
        // Without a name it exists as long as it is open.
        let (node, open) = dir.make_unnamed(wanted.host_mode(&*dir))?;
        let made = node.attr()?;
        let inode = self.own(node, made, &wanted)?;
        inode.place.set_open(open);
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = self.host_of(&**target)?;
        self.notice();
        self.node().link(name, &*target.node())?;
        self.changed();
        target.to_ask();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.remove(name, |dir| dir.unlink(name))
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.remove(name, |dir| dir.rmdir(name))
    }

    fn rename(&self, name: &[u8], new_dir: &dyn Inode, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let new_dir = self.host_of(new_dir)?;
        let (from, to) = (self.node(), new_dir.node());
        let (moved, other) = (self.known(&from, name), self.known(&to, new_name));
        let how = match mode {
            RenameMode::Replace => tree::Rename::Replace,
            RenameMode::NoReplace => tree::Rename::NoReplace,
            RenameMode::Exchange => tree::Rename::Exchange,
            RenameMode::Whiteout(_) => return Err(EINVAL),
        };
        let other_dir = (!core::ptr::eq(self, new_dir)).then_some(new_dir);
        self.notice();
        if let Some(dir) = other_dir {
            dir.notice();
        }
        from.rename(name, &*to, new_name, how)?;
        if let Some(moved) = moved {
            moved.node().moved(&*to, new_name);
            moved.to_ask();
        }
        if let Some(other) = other {
            if mode == RenameMode::Exchange {
                other.node().moved(&*from, name);
                other.to_ask();
            } else {
                other.lost_a_name();
            }
        }
        self.changed();
        if let Some(dir) = other_dir {
            dir.changed();
        }
        Ok(())
    }

    fn readlink(&self, _caller: &dyn Caller) -> Result<LinkTarget> {
        if self.kind != FileKind::Symlink {
            return Err(EINVAL);
        }
        Ok(LinkTarget::Text(self.node().read_link()?))
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.check_xattr(name).map_err(|error| if error == EPERM { ENODATA } else { error })?;
        Ok(self.node().get_xattr(name)?)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.check_xattr(name)?;
        let how = match mode {
            XattrMode::Any => tree::SetXattr::Any,
            XattrMode::Create => tree::SetXattr::Create,
            XattrMode::Replace => tree::SetXattr::Replace,
        };
        self.node().set_xattr(name, value, how)?;
        self.to_ask();
        Ok(())
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        if !matches!(self.kind, FileKind::Regular | FileKind::Directory) {
            return Ok(());
        }
        let names = match self.node().list_xattrs().map_err(Errno::from) {
            Err(EOPNOTSUPP) => return Ok(()),
            names => names?,
        };
        let mine = |name: &&[u8]| name.starts_with(b"user.") && !attr::is_ours(name);
        names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).filter(mine).for_each(each);
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.check_xattr(name).map_err(|error| if error == EPERM { ENODATA } else { error })?;
        self.node().remove_xattr(name)?;
        self.to_ask();
        Ok(())
    }

    fn locks(&self) -> Option<&FileLocks> {
        Some(&self.locks)
    }

    fn claims(&self) -> Option<&Claims> {
        Some(&self.claims)
    }

    fn attachment(&self) -> Option<&Attachment> {
        Some(&self.attachment)
    }
}

impl HostInode {
    /// Guests have attributes of the namespace `user` only: the others mean something to the host.
    fn check_xattr(&self, name: &[u8]) -> Result<()> {
        if attr::is_ours(name) || !matches!(self.kind, FileKind::Regular | FileKind::Directory) {
            return Err(EPERM);
        }
        if name.starts_with(b"user.") { Ok(()) } else { Err(EOPNOTSUPP) }
    }

    /// Whether it has lost its last name, for what is kept of it in memory.
    fn is_gone(&self) -> bool {
        self.place.state.lock().attr.nlink == 0 || self.node().attr().map_err(Errno::from) == Err(ENOENT)
    }
}

impl Drop for HostInode {
    fn drop(&mut self) {
        if self.fs.shadow.lock().contains_key(&self.key) && self.is_gone() {
            self.fs.shadow.lock().remove(&self.key);
        }
        self.fs.forget(&self.key);
    }
}
