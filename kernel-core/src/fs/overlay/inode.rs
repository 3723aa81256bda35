//! Inodes of an overlay.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;

use super::dir::{DirFile, Listing};
use super::file::LowerFile;
use super::lookup::{Lower, Stack, is_whiteout};
use super::{MAGIC, Shared};
use crate::errno::{ENOENT, EOPNOTSUPP, Result};
use crate::sync::Mutex;
use crate::vfs::caller::Caller;
use crate::vfs::claim::Claims;
use crate::vfs::dentry::Dentry;
use crate::vfs::dir::DirectoryFile;
use crate::vfs::file::OpenFlags;
use crate::vfs::inode::{
    Attachment, FileKind, Inode, LinkTarget, Metadata, NewAttr, NewNode, Opened, Owner, RenameMode, SetAttr,
    StatFs, XattrMode,
};
use crate::vfs::locks::FileLocks;

/// A file of an overlay.
pub struct OverlayInode {
    me: Weak<OverlayInode>,
    pub(super) fs: Arc<Shared>,
    kind: FileKind,
    /// Number that users see. It changes if the file had other names in its lower layer, which it is separated from when
    /// it is copied up.
    pub(super) number: AtomicU64,
    pub(super) lowers: Vec<Lower>,
    /// Where it is in the upper layer, once it is there. Of a file with several names, one of them.
    pub(super) upper: Once<Arc<Dentry>>,
    pub(super) place: Mutex<Place>,
    /// Counts changes of a directory's names.
    pub(super) version: AtomicU64,
    /// What was listed last, as long as somebody reads it.
    pub(super) listing: Mutex<Weak<Listing>>,
    locks: FileLocks,
    claims: Claims,
    attachment: Attachment,
}

/// Where an inode is in the overlay: that is where it is copied to.
pub(super) enum Place {
    /// It is the root.
    Root,
    /// A name in a directory.
    At(Arc<OverlayInode>, Box<[u8]>),
    /// It has no name: never had, or lost it.
    Nowhere,
}

impl OverlayInode {
    pub(super) fn root(fs: &Arc<Shared>, stack: Stack) -> Arc<OverlayInode> {
        OverlayInode::new(fs, FileKind::Directory, stack, Place::Root)
    }

    fn new(fs: &Arc<Shared>, kind: FileKind, stack: Stack, place: Place) -> Arc<OverlayInode> {
        let number = fs.number_of(&stack);
        Arc::new_cyclic(|me| OverlayInode {
            me: me.clone(),
            fs: fs.clone(),
            kind,
            number: AtomicU64::new(number),
            lowers: stack.lowers,
            upper: stack.upper.map_or_else(Once::new, Once::initialized),
            place: Mutex::new(place),
            version: AtomicU64::new(0),
            listing: Mutex::default(),
            locks: FileLocks::default(),
            claims: Claims::default(),
            attachment: Mutex::new(None),
        })
    }

    /// The inode for what the entry `name` of this directory stands for.
    pub(super) fn child(&self, name: &[u8], stack: Stack) -> Result<Arc<OverlayInode>> {
        let real = stack.top().ok_or(ENOENT)?.clone();
        let parent = self.me.upgrade().ok_or(ENOENT)?;
        // Other names of the same lower file become other files once they are changed.
        let kind = real.kind();
        let in_upper = stack.upper.is_some();
        let is_one = in_upper || kind == FileKind::Directory || real.metadata().nlink == 1;
        let known = self.fs.inodes.get(&real).filter(|_| is_one);
        // The same lower directory may be in several places, if layers overlap.
        let known = known.filter(|known| in_upper || known.is_at(&parent, name));
        if let Some(known) = known {
            return Ok(known);
        }
        let new = OverlayInode::new(&self.fs, kind, stack, Place::At(parent.clone(), name.into()));
        if !is_one {
            return Ok(new);
        }
        let entered = self.fs.inodes.enter(&real, new.clone());
        Ok(if in_upper || entered.is_at(&parent, name) { entered } else { new })
    }

    /// An inode for a file of the upper layer that has no name.
    fn unnamed(&self, upper: Arc<Dentry>) -> Arc<OverlayInode> {
        let (kind, real) = (upper.kind(), upper.inode().clone());
        let stack = Stack { upper: Some(upper), lowers: Vec::new() };
        self.fs.inodes.enter(&real, OverlayInode::new(&self.fs, kind, stack, Place::Nowhere))
    }

    fn is_at(&self, parent: &Arc<OverlayInode>, name: &[u8]) -> bool {
        match &*self.place.lock() {
            Place::At(at, known) => Arc::ptr_eq(at, parent) && **known == *name,
            _ => false,
        }
    }

    /// Itself, counted.
    pub(super) fn me(&self) -> Result<Arc<OverlayInode>> {
        self.me.upgrade().ok_or(ENOENT)
    }

    /// Its directory.
    pub(super) fn parent(&self) -> Option<Arc<OverlayInode>> {
        match &*self.place.lock() {
            Place::At(parent, _) => Some(parent.clone()),
            _ => None,
        }
    }

    /// It moved, or lost its name.
    pub(super) fn set_place(&self, place: Place) {
        let old = core::mem::replace(&mut *self.place.lock(), place);
        drop(old);
    }

    pub(super) fn has_no_name(&self) -> bool {
        matches!(*self.place.lock(), Place::Nowhere)
    }

    /// Where it is in the upper layer, if it is.
    pub(super) fn upper(&self) -> Option<&Arc<Dentry>> {
        self.upper.get()
    }

    /// The inode of the layer that it stands for.
    pub(super) fn real(&self) -> Result<&Arc<dyn Inode>> {
        match self.upper() {
            Some(upper) => Ok(upper.inode()),
            None => Ok(&self.lowers.first().ok_or(ENOENT)?.inode),
        }
    }

    /// Number in the overlay.
    pub(super) fn ino(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Notes a change of a directory's names.
    pub(super) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// The number of what a name stands for: that of the lower layer where it is from.
    pub(super) fn number_of(&self, stack: &Stack) -> u64 {
        let noted = |upper: &Arc<Dentry>| {
            let value = self.mark(&**upper.inode(), "ino")?;
            Some(u64::from_le_bytes(value.try_into().ok()?))
        };
        match (&stack.upper, stack.lowers.first()) {
            (_, Some(lower)) => self.number(&*lower.inode),
            (Some(upper), None) => noted(upper).unwrap_or_else(|| self.number(&**upper.inode())),
            (None, None) => 0,
        }
    }
}

impl Drop for OverlayInode {
    /// Leaves its directory, and so on upwards: in a loop, because a guest can make trees deeper than a kernel stack.
    fn drop(&mut self) {
        if let Ok(lower) = self.lowers.first().ok_or(()) {
            self.fs.inodes.leave(&lower.inode);
        }
        if let Some(upper) = self.upper.get() {
            self.fs.inodes.leave(upper.inode());
        }
        let take = |inode: &OverlayInode| core::mem::replace(&mut *inode.place.lock(), Place::Nowhere);
        let mut next = take(self);
        while let Place::At(parent, _) = next {
            next = Arc::into_inner(parent).map_or(Place::Nowhere, |parent| take(&parent));
        }
    }
}

impl Inode for OverlayInode {
    fn metadata(&self) -> Metadata {
        let Ok(real) = self.real() else { return Metadata::default() };
        let mut meta = real.metadata();
        (meta.dev, meta.ino) = (self.fs.device, self.ino());
        if self.kind == FileKind::Directory && self.upper().is_some() && !self.lowers.is_empty() {
            // As Linux shows merged directories: nobody has counted.
            meta.nlink = 1;
        }
        if self.upper().is_none() && self.has_no_name() {
            meta.nlink = meta.nlink.saturating_sub(1);
        }
        meta
    }

    fn owner(&self) -> Owner {
        match self.real() {
            Ok(real) => real.owner(),
            Err(_) => Metadata::default().owner(),
        }
    }

    fn kind(&self) -> FileKind {
        self.kind
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        let whole = match &self.fs.upper {
            Some(upper) => upper.root.inode().statfs(),
            None => self.real().map(|real| real.statfs()).unwrap_or_default(),
        };
        StatFs { magic: MAGIC, id: self.fs.device.raw(), ..whole }
    }

    fn open(&self, flags: OpenFlags, caller: &dyn Caller) -> Result<Opened> {
        match self.kind {
            FileKind::Directory => Ok(Opened::File(Arc::new(DirectoryFile(DirFile::new(self.me()?))))),
            FileKind::Regular => {
                let cuts = flags.contains(OpenFlags::TRUNC);
                if cuts || flags.writable() {
                    self.copy_up(if cuts { 0 } else { u64::MAX })?;
                }
                match self.upper() {
                    Some(upper) => upper.inode().open(flags, caller),
                    None => Ok(Opened::File(Arc::new(LowerFile::new(self.me()?)?))),
                }
            }
            _ => self.real()?.open(flags, caller),
        }
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        self.copy_up(attr.size.unwrap_or(u64::MAX))?.inode().set_attr(attr)
    }

    fn sync(&self) -> Result<()> {
        self.upper().map_or(Ok(()), |upper| upper.inode().sync())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.child(name, self.resolve(name)?)?)
    }

    fn make(&self, name: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        Ok(self.make_name(name, what, attr)?)
    }

    fn make_unnamed(&self, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        let upper = self.copy_up(0)?;
        let made = upper.inode().make_unnamed(attr)?;
        Ok(self.unnamed(Dentry::unnamed(made, upper, b"#")))
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = target.as_any().downcast_ref::<OverlayInode>().ok_or(crate::errno::EXDEV)?;
        self.link_name(name, target)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.unlink_name(name)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.rmdir_name(name)
    }

    fn rename(&self, name: &[u8], new_dir: &dyn Inode, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let new_dir = new_dir.as_any().downcast_ref::<OverlayInode>().ok_or(crate::errno::EXDEV)?;
        self.rename_name(name, new_dir, new_name, mode)
    }

    fn readlink(&self, caller: &dyn Caller) -> Result<LinkTarget> {
        self.real()?.readlink(caller)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.check_xattr(name)?;
        self.real()?.get_xattr(name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.check_xattr(name)?;
        self.copy_up(u64::MAX)?.inode().set_xattr(name, value, mode)
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.real()?.list_xattrs(&mut |name| {
            if !self.fs.is_mark(name) {
                each(name);
            }
        })
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.check_xattr(name)?;
        if self.upper().is_none() {
            // Nothing is copied for what is not there.
            self.real()?.get_xattr(name)?;
        }
        self.copy_up(u64::MAX)?.inode().remove_xattr(name)
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

impl OverlayInode {
    /// EOPNOTSUPP for the attributes by which layers are marked.
    fn check_xattr(&self, name: &[u8]) -> Result<()> {
        if self.fs.is_mark(name) { Err(EOPNOTSUPP) } else { Ok(()) }
    }

    /// ENOENT in a directory that was removed.
    pub(super) fn check_exists(&self) -> Result<()> {
        if self.has_no_name() { Err(ENOENT) } else { Ok(()) }
    }

    /// The entry `name` of the directory in the upper layer: free, or free but for a whiteout. EEXIST if the overlay
    /// shows something of that name. Names are locked.
    pub(super) fn free_name(&self, dir: &Arc<Dentry>, name: &[u8]) -> Result<Option<Arc<Dentry>>> {
        self.check_exists()?;
        match dir.child(name, &self.fs.dentries) {
            Ok(found) if is_whiteout(&**found.inode()) => Ok(Some(found)),
            Ok(_) => Err(crate::errno::EEXIST),
            Err(ENOENT) if self.is_covered(name)? => Err(crate::errno::EEXIST),
            Err(ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
