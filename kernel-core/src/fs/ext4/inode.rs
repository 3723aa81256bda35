//! Inodes of ext4. There is one object for each inode that is in use, whatever its names.

use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

use rsext4::{
    DeviceNumber, Ext4Timestamp, FileName, FilePermissions, InodeInfo, InodeMetadataUpdate, InodeNumber,
    MutationContext, RenameOptions, RenameOutcome, SpecialInodeKind, UnlinkOutcome, XattrNamespace,
    XattrSetMode,
};

use super::acl as disk_acl;
use super::core::{FileCore, FileStore, SPARE_BLOCKS};
use super::file::{DirFile, ExtFile};
use super::{Fs, Shared, Unused};
use crate::block::le::u32_at;
use crate::errno::{
    EFBIG, EINVAL, EISDIR, ENODATA, ENOENT, ENOTDIR, EOPNOTSUPP, EPERM, EROFS, EXDEV, Result,
};
use crate::mm::cache::{MAX_FILE_LEN, PageCache, WritePolicy};
use crate::sync::Mutex;
use crate::vfs::acl;
use crate::vfs::cached::CachedFile;
use crate::vfs::caller::Caller;
use crate::vfs::claim::Claims;
use crate::vfs::dir::DirectoryFile;
use crate::vfs::file::OpenFlags;
use crate::vfs::inode::{
    Attached, Attachment, FileKind, Inode, LinkTarget, MODE_BITS, Metadata, NewAttr, NewNode, Opened, Owner,
    RenameMode, SetAttr, StatFs, Timestamp, XattrMode,
};
use crate::vfs::locks::FileLocks;

/// Longest target of a symbolic link, as a block holds it.
const SYMLINK_MAX: usize = 4096;

/// A file in an ext4.
pub struct ExtInode {
    me: Weak<ExtInode>,
    pub(super) core: Arc<FileCore>,
    /// Its size was found to be one that a symbolic link has.
    has_size: AtomicBool,
    cache: Mutex<Option<Arc<PageCache>>>,
    locks: FileLocks,
    claims: Claims,
    attachment: Attachment,
}

impl ExtInode {
    pub(super) fn new(shared: &Arc<Shared>, info: &InodeInfo) -> Arc<ExtInode> {
        Arc::new_cyclic(|me| ExtInode {
            me: me.clone(),
            core: Arc::new(FileCore::new(shared, info)),
            has_size: AtomicBool::new(false),
            cache: Mutex::new(None),
            locks: FileLocks::default(),
            claims: Claims::default(),
            attachment: Mutex::new(None),
        })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.core.shared
    }

    pub(super) fn number(&self) -> InodeNumber {
        self.core.number
    }

    /// The bytes of a regular file; EINVAL if it is none.
    pub(super) fn pages(&self) -> Result<Arc<PageCache>> {
        if self.core.kind != FileKind::Regular {
            return Err(EINVAL);
        }
        if let Some(cache) = &*self.cache.lock() {
            return Ok(cache.clone());
        }
        let size = self.core.attr().size;
        let store = Arc::new(FileStore(self.core.clone()));
        let new = PageCache::over(&self.shared().services.ram, store, size, WritePolicy::Through);
        Ok(self.cache.lock().get_or_insert(new).clone())
    }

    fn cached(&self) -> Option<Arc<PageCache>> {
        self.cache.lock().clone()
    }

    /// Writes what only memory has.
    pub(super) fn write_back(&self) -> Result<()> {
        let written = self.cached().map_or(Ok(()), |cache| cache.sync());
        self.write_atime();
        written
    }

    /// Looks what extended attributes there are. What cannot be looked at is refused when it is read.
    fn learn_attached(&self) -> Attached {
        let number = self.number();
        // With the library locked, so that no change comes between.
        let learned = self.shared().with(|fs| {
            let names = xattr_names(fs, number)?;
            let attached = names.iter().fold(Attached::empty(), |all, name| all | Attached::by(name));
            self.core.attr.lock().attached = Some(attached);
            Ok(attached)
        });
        learned.unwrap_or(Attached::ACCESS_LIST | Attached::DEFAULT_LIST)
    }

    /// EUCLEAN if the high half of a symbolic link's size, which the library does not show and takes memory for all the same,
    /// is not zero.
    fn check_link_size(&self) -> Result<()> {
        if self.has_size.load(Ordering::Relaxed) {
            return Ok(());
        }
        let shared = self.shared();
        let is_low = || {
            let raw = shared.layout.raw_inode(&*shared.volume, self.number().raw()).unwrap_or_default();
            u32_at(&raw, 0x6c) == 0
        };
        if !is_low() {
            // What the library has changed since its last sync, the disk does not say.
            shared.sync()?;
            if !is_low() {
                return Err(shared.failed(rsext4::Ext4Error::corrupted()));
            }
        }
        self.has_size.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn write_atime(&self) {
        let attr = {
            let mut attr = self.core.attr.lock();
            let now = *attr;
            attr.atime_is_new = false;
            now
        };
        if attr.atime_is_new && !self.shared().is_read_only() && attr.nlink > 0 {
            let atime = Some(Ext4Timestamp::new(attr.atime.sec, attr.atime.nsec));
            let update = InodeMetadataUpdate { atime, ..InodeMetadataUpdate::default() };
            // Of an access time that is not written, nobody is told.
            let number = self.number();
            let _ = self.shared().with_at(attr.ctime, |fs| fs.update_inode_metadata(number, update));
        }
    }

    /// Notes a read, as relatime does: only if the access time is older than the last change, or than a day.
    pub(super) fn accessed(&self) {
        let now = self.shared().now();
        let mut attr = self.core.attr.lock();
        let old =
            attr.atime <= attr.mtime || attr.atime <= attr.ctime || now.sec - attr.atime.sec >= 24 * 60 * 60;
        if old && !self.shared().is_read_only() {
            (attr.atime, attr.atime_is_new) = (now, true);
        }
    }

    /// Changes a directory: the library's operation, and then the attributes of what it touched.
    fn change_dir<R>(&self, op: impl FnOnce(&mut Fs) -> rsext4::Ext4Result<R>) -> Result<(R, Timestamp)> {
        if self.core.kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        let number = self.number();
        let ((result, info), now) = self.shared().change(|fs| {
            let result = op(fs)?;
            Ok((result, fs.inode(number)))
        })?;
        if let Ok(info) = info {
            self.core.refresh(&info);
        }
        self.core.changed(now);
        Ok((result, now))
    }

    /// A name of an inode is gone.
    fn unlinked(&self, outcome: UnlinkOutcome, now: Timestamp) {
        match self.shared().known(outcome.inode) {
            Some(inode) => {
                let mut attr = inode.core.attr.lock();
                (attr.nlink, attr.ctime) = (u32::from(outcome.remaining_links), now);
                drop(attr);
            }
            None if outcome.requires_reap() => {
                let after = self.shared().synced.load(Ordering::Relaxed) + 1;
                self.shared().reap_later(Unused { number: outcome.inode, after, unnamed: None });
            }
            None => {}
        }
    }

    fn update(&self, now: Timestamp, update: InodeMetadataUpdate) -> Result<()> {
        let number = self.number();
        self.shared().change_at(now, |fs| fs.update_inode_metadata(number, update)).map(drop)
    }

    /// It is new.
    pub(super) fn was_made(&self, now: Timestamp) {
        self.core.made.store(self.shared().synced.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let mut attr = self.core.attr.lock();
        (attr.atime, attr.mtime, attr.ctime, attr.btime) = (now, now, now, now);
    }

    fn set_size(&self, size: u64) -> Result<()> {
        match self.core.kind {
            FileKind::Regular if size > MAX_FILE_LEN => Err(EFBIG),
            FileKind::Regular => self.pages()?.truncate(size),
            FileKind::Directory => Err(EISDIR),
            _ => Err(EINVAL),
        }
    }
}

/// Gives what is `old` in a directory the name `new`, which nothing there has. The library's own way takes the new name into the
/// directory, which may move the others in it, and removes the old one where it was before.
fn rename_within(
    fs: &mut Fs,
    dir: InodeNumber,
    old: FileName<'_>,
    new: FileName<'_>,
) -> rsext4::Ext4Result<RenameOutcome> {
    let info = fs.lookup_child(dir, old)?.ok_or_else(rsext4::Ext4Error::not_found)?;
    if info.is_directory() {
        // One that is replaced is replaced where it is.
        let context = MutationContext::new(info.uid, info.gid, 0, 0);
        fs.create_directory(context, dir, new, permissions(u32::from(info.mode))?)?;
        let renamed = fs.rename(dir, old, dir, new, RenameOptions::REPLACE);
        if renamed.is_err() {
            let _ = fs.remove_empty_directory(dir, new);
        }
        return renamed;
    }
    fs.hard_link(info.number, dir, new)?;
    if let Err(error) = fs.unlink(dir, old) {
        let _ = fs.unlink(dir, new);
        return Err(error);
    }
    // The new name is left.
    Ok(RenameOutcome::default())
}

/// An access, change or modification time as the library takes it.
fn stamp(time: Timestamp) -> Ext4Timestamp {
    Ext4Timestamp::new(time.sec, time.nsec)
}

fn name(bytes: &[u8]) -> Result<FileName<'_>> {
    FileName::new(bytes).map_err(super::device::errno)
}

pub(super) fn permissions(mode: u32) -> rsext4::Ext4Result<FilePermissions> {
    FilePermissions::new((mode & MODE_BITS) as u16)
}

/// The namespace of an extended attribute and the rest of its name, of which access control lists have none.
fn attribute(name: &[u8]) -> Result<(XattrNamespace, &[u8])> {
    match name {
        acl::ACCESS => return Ok((XattrNamespace::PosixAclAccess, b"")),
        acl::DEFAULT => return Ok((XattrNamespace::PosixAclDefault, b"")),
        _ => {}
    }
    let known = [
        (&b"user."[..], XattrNamespace::User),
        (b"trusted.", XattrNamespace::Trusted),
        (b"security.", XattrNamespace::Security),
    ];
    let found = known.into_iter().find_map(|(prefix, space)| Some((space, name.strip_prefix(prefix)?)));
    found.filter(|(_, rest)| !rest.is_empty()).ok_or(EOPNOTSUPP)
}

/// The extended attributes that there are, by their whole names.
fn xattr_names(fs: &mut Fs, number: InodeNumber) -> rsext4::Ext4Result<Vec<Vec<u8>>> {
    let found = fs.list_xattrs(number)?.into_iter();
    let names = found.filter_map(|found| {
        let prefix = match found.namespace {
            XattrNamespace::User => &b"user."[..],
            XattrNamespace::Trusted => b"trusted.",
            XattrNamespace::Security => b"security.",
            XattrNamespace::PosixAclAccess => acl::ACCESS,
            XattrNamespace::PosixAclDefault => acl::DEFAULT,
            _ => return None,
        };
        Some([prefix, &found.name].concat())
    });
    Ok(names.collect())
}

fn is_acl(space: XattrNamespace) -> bool {
    matches!(space, XattrNamespace::PosixAclAccess | XattrNamespace::PosixAclDefault)
}

fn no_data(error: crate::errno::Errno) -> crate::errno::Errno {
    if error == ENOENT { ENODATA } else { error }
}

impl Inode for ExtInode {
    fn metadata(&self) -> Metadata {
        let attr = self.core.attr();
        Metadata {
            dev: self.shared().volume.number,
            ino: u64::from(self.number().raw()),
            mode: attr.mode,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: self.core.rdev,
            size: self.cached().map_or(attr.size, |cache| cache.len()),
            block_size: 4096,
            blocks: attr.blocks,
            atime: attr.atime,
            mtime: attr.mtime,
            ctime: attr.ctime,
            btime: attr.btime,
        }
    }

    fn owner(&self) -> Owner {
        let attr = *self.core.attr.lock();
        let attached = attr.attached.unwrap_or_else(|| self.learn_attached());
        Owner { mode: attr.mode, uid: attr.uid, gid: attr.gid, attached }
    }

    fn kind(&self) -> FileKind {
        self.core.kind
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        self.shared().statfs()
    }

    fn open(&self, _: OpenFlags, _: &dyn Caller) -> Result<Opened> {
        let Some(me) = self.me.upgrade() else { return Ok(Opened::Special) };
        match self.core.kind {
            FileKind::Regular => Ok(Opened::File(Arc::new(CachedFile(ExtFile::new(&me)?)))),
            FileKind::Directory => Ok(Opened::File(Arc::new(DirectoryFile(DirFile::new(me))))),
            _ => Ok(Opened::Special),
        }
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        if self.shared().is_read_only() {
            return Err(EROFS);
        }
        if let Some(size) = change.size {
            self.set_size(size)?;
        }
        let now = self.shared().now();
        let attr = self.core.attr();
        let (atime, mtime) = (change.atime, change.mtime);
        let (atime, mtime) = (atime.map(|time| time.at(now)), mtime.map(|time| time.at(now)));
        if change.uid.is_some() || change.gid.is_some() {
            let owner = Some((change.uid.unwrap_or(attr.uid), change.gid.unwrap_or(attr.gid)));
            self.update(now, InodeMetadataUpdate { owner, ..InodeMetadataUpdate::default() })?;
        }
        // Set-id bits are the business of the layer above, which says so by a mode.
        let mode = change.mode.unwrap_or(attr.mode);
        let update = InodeMetadataUpdate {
            permissions: Some(permissions(mode).map_err(super::device::errno)?),
            atime: atime.map(stamp),
            mtime: mtime.map(stamp),
            ..InodeMetadataUpdate::default()
        };
        self.update(now, update)?;
        let mut attr = self.core.attr.lock();
        attr.mode = attr.mode & !MODE_BITS | mode & MODE_BITS;
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        if let Some(atime) = atime {
            (attr.atime, attr.atime_is_new) = (atime, false);
        }
        attr.mtime = mtime.unwrap_or(attr.mtime);
        attr.ctime = now;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.write_back()?;
        self.shared().sync()
    }

    fn lookup(&self, wanted: &[u8]) -> Result<Arc<dyn Inode>> {
        if self.core.kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        let (wanted, number) = (name(wanted)?, self.number());
        let info = self.shared().with(|fs| fs.lookup_child(number, wanted))?.ok_or(ENOENT)?;
        Ok(self.shared().inode(&info))
    }

    fn make(&self, new: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        let (new, number) = (name(new)?, self.number());
        let context = MutationContext::new(attr.uid, attr.gid, 0, 0);
        let mode = permissions(attr.mode).map_err(super::device::errno)?;
        let device = |device: crate::vfs::inode::Device| DeviceNumber::new(device.major, device.minor);
        self.shared().make_room(0)?;
        let (info, now) = self.change_dir(|fs| {
            if fs.lookup_child(number, new)?.is_some() {
                return Err(rsext4::Ext4Error::already_exists());
            }
            if fs.statfs().free_blocks < SPARE_BLOCKS / 4 {
                return Err(rsext4::Ext4Error::no_space());
            }
            match what {
                NewNode::File => fs.create_regular_file(context, number, new, mode),
                NewNode::Directory => fs.create_directory(context, number, new, mode),
                NewNode::Symlink(target) => fs.create_symlink(context, number, new, target),
                NewNode::Fifo => fs.create_special_inode(context, number, new, mode, SpecialInodeKind::Fifo),
                NewNode::Socket => {
                    fs.create_special_inode(context, number, new, mode, SpecialInodeKind::Socket)
                }
                NewNode::Char(node) => {
                    let kind = SpecialInodeKind::CharacterDevice(device(node)?);
                    fs.create_special_inode(context, number, new, mode, kind)
                }
                NewNode::Block(node) => {
                    let kind = SpecialInodeKind::BlockDevice(device(node)?);
                    fs.create_special_inode(context, number, new, mode, kind)
                }
            }
        })?;
        let inode = self.shared().inode(&info);
        inode.was_made(now);
        Ok(inode)
    }

    fn make_unnamed(&self, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        if self.core.kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        self.shared().make_room(0)?;
        let inode = self.shared().make_unnamed(attr)?;
        Ok(inode)
    }

    fn link(&self, new: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = target.as_any().downcast_ref::<ExtInode>().ok_or(EXDEV)?;
        if !Arc::ptr_eq(target.shared(), self.shared()) {
            return Err(EXDEV);
        }
        if target.core.kind == FileKind::Directory {
            return Err(EPERM);
        }
        let (new, number) = (name(new)?, self.number());
        let mut unnamed = target.core.unnamed.lock();
        if target.core.attr.lock().nlink == 0 && unnamed.is_none() {
            return Err(ENOENT);
        }
        let ((), now) = self.change_dir(|fs| {
            fs.hard_link(target.number(), number, new)?;
            let removed = unnamed.as_ref().map_or(Ok(()), |unnamed| unnamed.remove(fs));
            if removed.is_err() {
                // The inode will be freed.
                let _ = fs.unlink(number, new);
            }
            removed
        })?;
        *unnamed = None;
        let mut attr = target.core.attr.lock();
        (attr.nlink, attr.ctime) = (attr.nlink + 1, now);
        Ok(())
    }

    fn unlink(&self, gone: &[u8]) -> Result<()> {
        let (gone, number) = (name(gone)?, self.number());
        let (outcome, now) = self.change_dir(|fs| fs.unlink(number, gone))?;
        self.unlinked(outcome, now);
        Ok(())
    }

    fn rmdir(&self, gone: &[u8]) -> Result<()> {
        let (gone, number) = (name(gone)?, self.number());
        let (outcome, now) = self.change_dir(|fs| fs.remove_empty_directory(number, gone))?;
        self.unlinked(outcome, now);
        Ok(())
    }

    fn rename(&self, old: &[u8], new_dir: &dyn Inode, new: &[u8], mode: RenameMode) -> Result<()> {
        let new_dir = new_dir.as_any().downcast_ref::<ExtInode>().ok_or(EXDEV)?;
        if !Arc::ptr_eq(new_dir.shared(), self.shared()) {
            return Err(EXDEV);
        }
        let (old, new) = (name(old)?, name(new)?);
        let options = match mode {
            RenameMode::Replace => RenameOptions::REPLACE,
            RenameMode::NoReplace => RenameOptions::NO_REPLACE,
            RenameMode::Exchange => RenameOptions::EXCHANGE,
            RenameMode::Whiteout(_) => return Err(crate::errno::EINVAL),
        };
        let (from, to) = (self.number(), new_dir.number());
        let ((outcome, moved, other), now) = self.change_dir(|fs| {
            let outcome = if from == to && !options.exchange() && fs.lookup_child(to, new)?.is_none() {
                rename_within(fs, from, old, new)?
            } else {
                fs.rename(from, old, to, new, options)?
            };
            let other = fs.inode(to)?;
            Ok((outcome, fs.lookup_child(to, new)?, other))
        })?;
        new_dir.core.refresh(&other);
        new_dir.core.changed(now);
        if let Some(replaced) = outcome.replaced {
            self.unlinked(replaced, now);
        }
        if let Some(inode) = moved.and_then(|moved| self.shared().known(moved.number)) {
            inode.core.attr.lock().ctime = now;
        }
        Ok(())
    }

    fn readlink(&self, _: &dyn Caller) -> Result<LinkTarget> {
        if self.core.kind != FileKind::Symlink {
            return Err(EINVAL);
        }
        self.check_link_size()?;
        let atime = self.core.attr.lock().atime;
        let mut text = vec![0; SYMLINK_MAX];
        let number = self.number();
        let len = self.shared().with_at(atime, |fs| {
            if fs.inode(number)?.size > SYMLINK_MAX as u64 {
                return Err(rsext4::Ext4Error::corrupted());
            }
            fs.read_inode(number, 0, &mut text)
        })?;
        text.truncate(len);
        Ok(LinkTarget::Text(text))
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        let ((space, rest), number) = (attribute(name)?, self.number());
        let value = self.shared().with(|fs| fs.get_xattr(number, space, rest)).map_err(no_data)?;
        if is_acl(space) { disk_acl::from_disk(&value) } else { Ok(value) }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let ((space, rest), number) = (attribute(name)?, self.number());
        let on_disk = is_acl(space).then(|| disk_acl::to_disk(value));
        let value = on_disk.as_deref().unwrap_or(value);
        let mode = match mode {
            XattrMode::Any => XattrSetMode::Upsert,
            XattrMode::Create => XattrSetMode::Create,
            XattrMode::Replace => XattrSetMode::Replace,
        };
        let ((), now) =
            self.shared().change(|fs| fs.set_xattr(number, space, rest, value, mode)).map_err(no_data)?;
        let mut attr = self.core.attr.lock();
        (attr.ctime, attr.attached) = (now, None);
        Ok(())
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let number = self.number();
        self.shared().with(|fs| xattr_names(fs, number))?.iter().for_each(|name| each(name));
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let ((space, rest), number) = (attribute(name)?, self.number());
        let ((), now) = self.shared().change(|fs| fs.remove_xattr(number, space, rest)).map_err(no_data)?;
        let mut attr = self.core.attr.lock();
        (attr.ctime, attr.attached) = (now, None);
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

impl Drop for ExtInode {
    fn drop(&mut self) {
        let nlink = self.core.attr.lock().nlink;
        let mut given_up = false;
        if nlink == 0 {
            given_up = self.core.dead.swap(true, Ordering::Relaxed);
        } else {
            self.write_atime();
        }
        // The cache writes what it has while the inode is still there.
        drop(self.cache.lock().take());
        self.shared().forget(self.number());
        if nlink == 0 && !given_up {
            self.shared().reap_later(self.core.unused());
        }
    }
}
