//! Inodes of tmpfs: attributes, extended attributes, and the way to directory and file operations.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::Ordering;

use super::dir::Directory;
use super::file::{DirFile, TmpFile};
use super::{Shared, kind_of};
use crate::errno::{EEXIST, EFBIG, EINVAL, EISDIR, ENODATA, ENOSPC, ENOTDIR, EOPNOTSUPP, EPERM, Result};
use crate::mm::cache::{Backing, PageCache};
use crate::sync::{Mutex, MutexGuard};
use crate::task::exec_cred;
use crate::vfs::acl;
use crate::vfs::cached::CachedFile;
use crate::vfs::caller::Caller;
use crate::vfs::claim::Claims;
use crate::vfs::dir::DirectoryFile;
use crate::vfs::file::OpenFlags;
use crate::vfs::inode::{
    Attached, Attachment, Device, FileKind, Inode, LinkTarget, MODE_BITS, Metadata, NewAttr, NewNode, Opened,
    Owner, RenameMode, SetAttr, StatFs, Timestamp, XattrMode,
};
use crate::vfs::locks::FileLocks;

/// `F_SEAL_SEAL`: no more seals.
pub(super) const SEAL_SEAL: u32 = 1;
/// `F_SEAL_SHRINK`.
pub(super) const SEAL_SHRINK: u32 = 2;
/// `F_SEAL_GROW`.
pub(super) const SEAL_GROW: u32 = 4;
/// `F_SEAL_WRITE`: no writes, and no mapping that could.
pub(super) const SEAL_WRITE: u32 = 8;
/// The bits of a mode that let somebody execute.
pub(super) const EXECUTE: u32 = 0o111;
/// `F_SEAL_EXEC`: who may execute it stays.
pub(super) const SEAL_EXEC: u32 = 0x20;
/// `F_SEAL_WRITE` and `F_SEAL_FUTURE_WRITE`: no writes through descriptors.
pub(super) const SEAL_ANY_WRITE: u32 = 8 | 16;

/// Most bytes of extended attributes of one file, names and values together.
const XATTRS_MAX: usize = 64 << 10;
/// A day, after which relatime updates the access time anyway.
const DAY: i64 = 24 * 60 * 60;

/// A file in a tmpfs.
pub struct TmpInode {
    me: Weak<TmpInode>,
    pub(super) fs: Arc<Shared>,
    ino: u64,
    kind: FileKind,
    rdev: Device,
    pub(super) body: Body,
    pub(super) attr: Mutex<Attr>,
    locks: FileLocks,
    claims: Claims,
    attachment: Attachment,
}

pub(super) enum Body {
    File(Arc<PageCache>),
    Directory(Directory),
    Symlink(Box<[u8]>),
    Special,
}

pub(super) struct Attr {
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    btime: Timestamp,
    /// `F_SEAL_*`.
    pub seals: u32,
    /// Bytes of data counted in [`Shared::used`].
    counted: u64,
    /// Made with `O_TMPFILE`: may get a name though it has none.
    linkable: bool,
    rare: Option<Box<Rare>>,
}

/// What few inodes have.
#[derive(Default)]
struct Rare {
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    memfd_name: Option<Vec<u8>>,
}

impl Rare {
    fn attached(&self) -> Attached {
        let telling = [acl::ACCESS, acl::DEFAULT, exec_cred::XATTR].into_iter();
        let there = telling.filter(|name| self.xattrs.contains_key(*name));
        there.fold(Attached::empty(), |all, name| all | Attached::by(name))
    }
}

impl TmpInode {
    /// An inode; `backing` is what a regular file holds.
    pub(super) fn new(
        fs: &Arc<Shared>,
        ino: u64,
        what: NewNode<'_>,
        attr: &NewAttr,
        backing: Option<Backing>,
    ) -> Arc<TmpInode> {
        let (kind, rdev) = kind_of(&what);
        let now = fs.now();
        let body = match what {
            NewNode::File => Body::File(fs.new_cache(backing)),
            NewNode::Directory => Body::Directory(Directory::default()),
            NewNode::Symlink(target) => Body::Symlink(target.into()),
            _ => Body::Special,
        };
        let directory = matches!(body, Body::Directory(_));
        Arc::new_cyclic(|me| TmpInode {
            me: me.clone(),
            fs: fs.clone(),
            ino,
            kind,
            rdev,
            body,
            attr: Mutex::new(Attr {
                mode: kind.mode_bits() | attr.mode & MODE_BITS,
                uid: attr.uid,
                gid: attr.gid,
                nlink: if directory { 2 } else { 1 },
                atime: now,
                mtime: now,
                ctime: now,
                btime: now,
                seals: SEAL_SEAL,
                counted: 0,
                linkable: false,
                rare: None,
            }),
            locks: FileLocks::default(),
            claims: Claims::default(),
            attachment: Mutex::new(None),
        })
    }

    /// Itself, counted.
    pub(super) fn me(&self) -> Option<Arc<TmpInode>> {
        self.me.upgrade()
    }

    /// Number in the file system.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// The bytes of a regular file.
    pub fn cache(&self) -> Option<&Arc<PageCache>> {
        match &self.body {
            Body::File(cache) => Some(cache),
            _ => None,
        }
    }

    pub(super) fn directory(&self) -> Result<&Directory> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(ENOTDIR),
        }
    }

    /// Makes it a file without a name, with seals (`F_SEAL_*`).
    pub(super) fn become_memfd(&self, name: &[u8], seals: u32) {
        let mut attr = self.attr.lock();
        attr.nlink = 0;
        attr.seals = seals;
        attr.rare.get_or_insert_default().memfd_name = Some(name.to_vec());
    }

    /// The file's times, as an archive gives them.
    pub fn set_times(&self, time: Timestamp) {
        let mut attr = self.attr.lock();
        (attr.atime, attr.mtime, attr.ctime) = (time, time, time);
    }

    /// Notes a change of contents.
    pub(super) fn changed(&self) {
        let now = self.fs.now();
        let mut attr = self.attr.lock();
        (attr.mtime, attr.ctime) = (now, now);
    }

    /// Notes a change of the number of names.
    pub(super) fn relinked(&self, by: i32) {
        let now = self.fs.now();
        let mut attr = self.attr.lock();
        attr.nlink = attr.nlink.saturating_add_signed(by);
        attr.linkable = false;
        attr.ctime = now;
        if by < 0 && attr.nlink > 0 && !matches!(self.body, Body::Directory(_)) {
            self.fs.inodes.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes one more name of a file. All but the first count as inodes, as they take memory too. ENOENT if it has lost
    /// its last name, ENOSPC.
    pub(super) fn add_name(&self) -> Result<()> {
        let now = self.fs.now();
        let mut attr = self.attr.lock();
        match attr.nlink {
            0 if !attr.linkable => return Err(crate::errno::ENOENT),
            0 => {}
            u32::MAX => return Err(crate::errno::EMLINK),
            _ => self.fs.count_inode()?,
        }
        (attr.nlink, attr.linkable, attr.ctime) = (attr.nlink + 1, false, now);
        Ok(())
    }

    /// Notes a read, as relatime does: only if the access time is older than the last change, or than a day.
    pub(super) fn accessed(&self) {
        let now = self.fs.now();
        let mut attr = self.attr.lock();
        if attr.atime <= attr.mtime || attr.atime <= attr.ctime || now.sec - attr.atime.sec >= DAY {
            attr.atime = now;
        }
    }

    /// Brings the count of used bytes up to date after the contents changed.
    pub(super) fn recount(&self) {
        let Body::File(cache) = &self.body else { return };
        let allocated = cache.allocated_bytes();
        let mut attr = self.attr.lock();
        let before = core::mem::replace(&mut attr.counted, allocated);
        // Wrapping: what is added for one file is what is taken off later.
        self.fs.used.fetch_add(allocated.wrapping_sub(before), Ordering::Relaxed);
    }

    fn set_size(&self, size: u64) -> Result<()> {
        let cache = match &self.body {
            Body::File(cache) => cache,
            Body::Directory(_) => return Err(EISDIR),
            _ => return Err(EINVAL),
        };
        let (old, seals) = (cache.len(), self.attr.lock().seals);
        if size > i64::MAX as u64 {
            return Err(EFBIG);
        }
        if size < old && seals & SEAL_SHRINK != 0 || size > old && seals & SEAL_GROW != 0 {
            return Err(EPERM);
        }
        cache.truncate(size)?;
        self.recount();
        Ok(())
    }

    fn apply(&self, attr: &mut MutexGuard<'_, Attr>, change: &SetAttr) {
        let now = self.fs.now();
        if let Some(mode) = change.mode {
            attr.mode = attr.mode & !MODE_BITS | mode & MODE_BITS;
        }
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        if change.size.is_some() {
            attr.mtime = now;
        }
        attr.atime = change.atime.map_or(attr.atime, |time| time.at(now));
        attr.mtime = change.mtime.map_or(attr.mtime, |time| time.at(now));
        attr.ctime = now;
    }
}

impl Inode for TmpInode {
    fn metadata(&self) -> Metadata {
        let (size, blocks) = match &self.body {
            Body::File(cache) => (cache.len(), cache.allocated_bytes() / 512),
            Body::Directory(directory) => (directory.size(), 0),
            Body::Symlink(target) => (target.len() as u64, 0),
            Body::Special => (0, 0),
        };
        let attr = self.attr.lock();
        Metadata {
            dev: self.fs.device,
            ino: self.ino,
            mode: attr.mode,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: self.rdev,
            size,
            block_size: 4096,
            blocks,
            atime: attr.atime,
            mtime: attr.mtime,
            ctime: attr.ctime,
            btime: attr.btime,
        }
    }

    fn owner(&self) -> Owner {
        let attr = self.attr.lock();
        let attached = attr.rare.as_ref().map_or(Attached::empty(), |rare| rare.attached());
        Owner { mode: attr.mode, uid: attr.uid, gid: attr.gid, attached }
    }

    fn kind(&self) -> FileKind {
        self.kind
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        self.fs.statfs()
    }

    fn open(&self, _flags: OpenFlags, _caller: &dyn Caller) -> Result<Opened> {
        let Some(me) = self.me() else { return Ok(Opened::Special) };
        match &self.body {
            Body::File(_) => Ok(Opened::File(Arc::new(CachedFile(TmpFile::new(&me)?)))),
            Body::Directory(_) => Ok(Opened::File(Arc::new(DirectoryFile(DirFile::new(me))))),
            _ => Ok(Opened::Special),
        }
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        if let Some(size) = change.size {
            self.set_size(size)?;
        }
        let mut attr = self.attr.lock();
        if attr.seals & SEAL_EXEC != 0 && change.mode.is_some_and(|mode| (mode ^ attr.mode) & EXECUTE != 0) {
            return Err(EPERM);
        }
        self.apply(&mut attr, change);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.directory()?.lookup(name)?)
    }

    fn make(&self, name: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        Ok(self.make_child(name, what, attr)?)
    }

    fn make_unnamed(&self, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        self.directory()?;
        let ino = self.fs.take_inode()?;
        let inode = TmpInode::new(&self.fs, ino, NewNode::File, attr, None);
        let mut attr = inode.attr.lock();
        (attr.nlink, attr.linkable) = (0, true);
        drop(attr);
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = target.as_any().downcast_ref::<TmpInode>().and_then(TmpInode::me);
        self.link_child(name, &target.ok_or(crate::errno::EXDEV)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.unlink_child(name)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.rmdir_child(name)
    }

    fn rename(&self, name: &[u8], new_dir: &dyn Inode, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let new_dir = new_dir.as_any().downcast_ref::<TmpInode>().ok_or(crate::errno::EXDEV)?;
        self.rename_child(name, new_dir, new_name, mode)
    }

    fn leaves_whiteouts(&self) -> bool {
        true
    }

    fn readlink(&self, _caller: &dyn Caller) -> Result<LinkTarget> {
        match &self.body {
            Body::Symlink(target) => Ok(LinkTarget::Text(target.to_vec())),
            _ => Err(EINVAL),
        }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        check_namespace(name)?;
        let attr = self.attr.lock();
        attr.rare.as_ref().and_then(|rare| rare.xattrs.get(name)).cloned().ok_or(ENODATA)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        check_namespace(name)?;
        let now = self.fs.now();
        self.fs.services.room.check()?;
        let mut attr = self.attr.lock();
        let xattrs = &mut attr.rare.get_or_insert_default().xattrs;
        match (mode, xattrs.contains_key(name)) {
            (XattrMode::Create, true) => return Err(EEXIST),
            (XattrMode::Replace, false) => return Err(ENODATA),
            _ => {}
        }
        let others: usize =
            xattrs.iter().filter(|(key, _)| *key != name).map(|(key, value)| key.len() + value.len()).sum();
        if others + name.len() + value.len() > XATTRS_MAX {
            return Err(ENOSPC);
        }
        xattrs.insert(name.to_vec(), value.to_vec());
        attr.ctime = now;
        Ok(())
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        if let Some(rare) = &self.attr.lock().rare {
            rare.xattrs.keys().for_each(|name| each(name));
        }
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        check_namespace(name)?;
        let now = self.fs.now();
        let mut attr = self.attr.lock();
        let removed = attr.rare.as_mut().and_then(|rare| rare.xattrs.remove(name));
        attr.ctime = now;
        removed.map(|_| ()).ok_or(ENODATA)
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

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        let attr = self.attr.lock();
        let name = attr.rare.as_ref()?.memfd_name.as_ref()?;
        Some([b"/memfd:", name.as_slice(), b" (deleted)"].concat())
    }
}

/// tmpfs has attributes in these namespaces, and access control lists.
fn check_namespace(name: &[u8]) -> Result<()> {
    if [acl::ACCESS, acl::DEFAULT].contains(&name) {
        return Ok(());
    }
    let known = [&b"user."[..], b"trusted.", b"security."];
    let rest = known.iter().find_map(|prefix| name.strip_prefix(*prefix)).ok_or(EOPNOTSUPP)?;
    if rest.is_empty() { Err(EINVAL) } else { Ok(()) }
}

impl Drop for TmpInode {
    fn drop(&mut self) {
        self.fs.inodes.fetch_sub(1, Ordering::Relaxed);
        self.fs.used.fetch_sub(self.attr.lock().counted, Ordering::Relaxed);
        if let Body::Directory(directory) = &self.body {
            directory.take_apart();
        }
    }
}
