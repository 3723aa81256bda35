//! Dentries: names that were looked up, cached as a tree.
//!
//! A [`Dentry`] is a name that exists; that a name does not exist is remembered in its directory. A directory knows its
//! children weakly and children hold their parent, so a dentry lives as long as somebody uses it or the
//! [`DentryCache`], which keeps a bounded number of recent ones, remembers it.
//!
//! Lock order: `rename lock -> children of a directory (of two: lower address first) -> place -> inode`. Operations on a
//! name hold the lock of its directory's children, so the cache and the file system change together. A dentry is never
//! dropped under the lock of its parent's children.

mod cache;

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use hashbrown::HashMap;
use spin::Once;

use crate::errno::{EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, Result};
use crate::sync::{Mutex, MutexGuard};
use crate::vfs::inode::{FileKind, Guard, Inode, NewAttr, NewNode, RenameMode, same_inode};
use crate::vfs::notify::{Happening, Notify};
pub use cache::DentryCache;

/// How many absent names are remembered in one directory.
const ABSENT_KEPT: usize = 512;

/// A name in a directory, and what it names.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    kind: FileKind,
    is_guarded: bool,
    place: Mutex<Place>,
    children: Mutex<Children>,
    /// How many mounts are on it, in any namespace.
    mounts: AtomicU32,
    /// How many mounts are on it or below it, if its directory looks names up anew each time.
    pins: AtomicU32,
    deleted: AtomicBool,
    /// Used since the cache last looked.
    referenced: AtomicBool,
    /// Its place in the cache, if it is there.
    slot: AtomicUsize,
    /// The address of the root of its tree; 0 if it is that.
    tree: usize,
    /// Of a root: how many mounts show something of its tree.
    shown: AtomicUsize,
    /// Who is told when it goes, with a name that was watched and removed.
    mourner: Once<Arc<Notify>>,
}

#[derive(Clone)]
struct Place {
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
}

#[derive(Default)]
struct Children {
    names: HashMap<Box<[u8]>, Child>,
    absent: usize,
    /// The directory's [`Inode::names_epoch`] when `names` were true.
    epoch: u64,
    /// Names of earlier epochs: to be looked up again.
    unsure: HashMap<Box<[u8]>, Weak<Dentry>>,
}

enum Child {
    Present(Weak<Dentry>),
    Absent,
}

impl Children {
    /// Trusts nothing that was looked up in another epoch.
    fn renew(&mut self, epoch: u64) {
        if self.epoch == epoch {
            return;
        }
        self.epoch = epoch;
        self.absent = 0;
        self.unsure.retain(|_, dentry| dentry.strong_count() > 0);
        for (name, child) in self.names.drain() {
            if let Child::Present(dentry) = child {
                self.unsure.insert(name, dentry);
            }
        }
    }

    fn set_present(&mut self, name: &[u8], dentry: &Arc<Dentry>) {
        if let Some(Child::Absent) = self.names.insert(name.into(), Child::Present(Arc::downgrade(dentry))) {
            self.absent -= 1;
        }
    }

    /// Gives the dentry that had the name; drop it after unlocking.
    fn set_absent(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        if self.absent >= ABSENT_KEPT {
            self.names.retain(|_, child| matches!(child, Child::Present(_)));
            self.absent = 0;
        }
        match self.names.insert(name.into(), Child::Absent) {
            Some(Child::Absent) => None,
            Some(Child::Present(old)) => {
                self.absent += 1;
                old.upgrade()
            }
            None => {
                self.absent += 1;
                None
            }
        }
    }

    fn forget(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        match self.names.remove(name)? {
            Child::Present(old) => old.upgrade(),
            Child::Absent => {
                self.absent -= 1;
                None
            }
        }
    }

    /// Whether `name` still names `dentry`.
    fn is(&self, name: &[u8], dentry: &Arc<Dentry>) -> bool {
        matches!(self.names.get(name), Some(Child::Present(found)) if core::ptr::eq(found.as_ptr(), Arc::as_ptr(dentry)))
    }

    fn present(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        match self.names.get(name)? {
            Child::Present(dentry) => dentry.upgrade(),
            Child::Absent => None,
        }
    }
}

impl Dentry {
    /// The root of a file system, or of a file without a name.
    pub fn root(inode: Arc<dyn Inode>) -> Arc<Dentry> {
        Dentry::new(inode, None, b"")
    }

    fn new(inode: Arc<dyn Inode>, parent: Option<Arc<Dentry>>, name: &[u8]) -> Arc<Dentry> {
        let (kind, is_guarded) = (inode.kind(), inode.guard().is_some());
        let tree = parent.as_ref().map_or(0, Dentry::tree);
        Arc::new(Dentry {
            inode,
            kind,
            is_guarded,
            place: Mutex::new(Place { parent, name: name.into() }),
            children: Mutex::default(),
            mounts: AtomicU32::new(0),
            pins: AtomicU32::new(0),
            deleted: AtomicBool::new(false),
            referenced: AtomicBool::new(false),
            slot: AtomicUsize::new(usize::MAX),
            tree,
            shown: AtomicUsize::new(0),
            mourner: Once::new(),
        })
    }

    /// A file in `dir` that has no name (`O_TMPFILE`).
    pub fn unnamed(inode: Arc<dyn Inode>, dir: &Arc<Dentry>, name: &[u8]) -> Arc<Dentry> {
        let dentry = Dentry::new(inode, Some(dir.clone()), name);
        dentry.deleted.store(true, Ordering::Release);
        dentry
    }

    /// What it names.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// What kind of file it names.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Who decides about it, beside its permission bits.
    pub fn guard(&self) -> Option<&dyn Guard> {
        if self.is_guarded { self.inode.guard() } else { None }
    }

    /// Its directory; `None` for the root of a file system.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// Its name; empty for the root of a file system.
    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// Whether the name was removed.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Names the tree that it is in, that of a file system which is mounted.
    fn tree(self: &Arc<Dentry>) -> usize {
        if self.tree == 0 { Arc::as_ptr(self).addr() } else { self.tree }
    }

    /// The root of its tree, which one more mount shows: until [`DentryCache::hide`].
    pub(super) fn show(self: &Arc<Dentry>) -> Arc<Dentry> {
        let mut top = self.clone();
        while let Some(parent) = top.parent() {
            top = parent;
        }
        top.shown.fetch_add(1, Ordering::AcqRel);
        top
    }

    /// Whether something is mounted on it, in some namespace.
    pub fn has_mounts(&self) -> bool {
        self.mounts.load(Ordering::Acquire) != 0
    }

    pub(super) fn add_mount(self: &Arc<Dentry>) {
        self.mounts.fetch_add(1, Ordering::AcqRel);
        for (dentry, dir) in self.volatile_names() {
            dentry.pins.fetch_add(1, Ordering::AcqRel);
            dir.children.lock().set_present(&dentry.name(), &dentry);
        }
    }

    pub(super) fn remove_mount(self: &Arc<Dentry>) {
        self.mounts.fetch_sub(1, Ordering::AcqRel);
        for (dentry, dir) in self.volatile_names() {
            if dentry.pins.fetch_sub(1, Ordering::AcqRel) == 1 {
                let old = dir.children.lock().forget(&dentry.name());
                drop(old);
            }
        }
    }

    /// Of the names on the way to this one, those in directories where names are looked up anew each time, with these.
    fn volatile_names(self: &Arc<Dentry>) -> Vec<(Arc<Dentry>, Arc<Dentry>)> {
        let mut found = Vec::new();
        let mut at = self.clone();
        while let Some(dir) = at.parent() {
            if !dir.inode.names_are_stable() {
                found.push((at, dir.clone()));
            }
            at = dir;
        }
        found
    }

    /// The entry `name` (not `.` or `..`) of this directory. ENOENT if there is none.
    pub fn child(self: &Arc<Dentry>, name: &[u8], cache: &DentryCache) -> Result<Arc<Dentry>> {
        if !self.inode.names_are_stable() {
            // A name that something is mounted on, or below, stays what it is as long as that is so.
            let pinned = self.children.lock().present(name);
            if let Some(pinned) = pinned.filter(|dentry| dentry.pins.load(Ordering::Acquire) != 0) {
                return Ok(pinned);
            }
            let inode = self.inode.lookup(name)?;
            return Ok(Dentry::new(inode, Some(self.clone()), name));
        }
        let epoch = self.inode.names_epoch();
        let mut children = self.children.lock();
        children.renew(epoch);
        match children.names.get(name) {
            Some(Child::Present(dentry)) => {
                if let Some(dentry) = dentry.upgrade() {
                    dentry.referenced.store(true, Ordering::Relaxed);
                    return Ok(dentry);
                }
            }
            Some(Child::Absent) => return Err(ENOENT),
            None => {}
        }
        let before = children.unsure.remove(name).and_then(|dentry| dentry.upgrade());
        let found = self.inode.lookup(name);
        if let Some(before) = before {
            if found.as_ref().is_ok_and(|inode| same_inode(inode, &before.inode)) {
                children.set_present(name, &before);
                return Ok(before);
            }
            // Somebody else has removed or replaced it.
            before.deleted.store(true, Ordering::Release);
            drop(children);
            cache.forget_one(&before);
            drop(before);
            return self.child(name, cache);
        }
        match found {
            Ok(inode) => {
                let dentry = Dentry::new(inode, Some(self.clone()), name);
                children.set_present(name, &dentry);
                drop(children);
                cache.keep(dentry.clone());
                Ok(dentry)
            }
            Err(ENOENT) => {
                let old = children.set_absent(name);
                drop(children);
                drop(old);
                Err(ENOENT)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes an entry; EEXIST if the name is taken.
    pub fn make(
        self: &Arc<Dentry>,
        name: &[u8],
        what: NewNode<'_>,
        attr: &NewAttr,
        cache: &DentryCache,
    ) -> Result<Arc<Dentry>> {
        let mut children = self.children.lock();
        let inode = self.inode.make(name, what, attr)?;
        let dentry = Dentry::new(inode, Some(self.clone()), name);
        children.set_present(name, &dentry);
        drop(children);
        cache.keep(dentry.clone());
        cache.notify.name(&self.inode, name, &dentry.inode, Happening::CREATE);
        Ok(dentry)
    }

    /// Gives `target` another name in this directory.
    pub fn link(&self, name: &[u8], target: &Arc<dyn Inode>, cache: &DentryCache) -> Result<()> {
        let mut children = self.children.lock();
        self.inode.link(name, target)?;
        let old = children.forget(name);
        drop(children);
        drop(old);
        cache.notify.inode(target, Happening::ATTRIB);
        cache.notify.name(&self.inode, name, target, Happening::CREATE);
        Ok(())
    }

    /// Removes the entry `name`, which must still be `victim`: with `rmdir` if that is a directory, else `unlink`.
    pub fn remove(&self, name: &[u8], victim: &Arc<Dentry>, cache: &DentryCache) -> Result<()> {
        let mut children = self.children.lock();
        if self.inode.names_are_stable() && !children.is(name, victim) {
            return Err(ENOENT);
        }
        if victim.has_mounts() {
            return Err(EBUSY);
        }
        match victim.kind {
            FileKind::Directory => self.inode.rmdir(name)?,
            _ => self.inode.unlink(name)?,
        }
        victim.deleted.store(true, Ordering::Release);
        let old = children.set_absent(name);
        drop(children);
        drop(old);
        cache.forget_one(victim);
        victim.tell_of_removal(&cache.notify);
        cache.notify.name(&self.inode, name, &victim.inode, Happening::DELETE);
        Ok(())
    }

    /// Renames `old` in this directory to `new_name` in `new_dir`, where `new` is now, if anything. Both directories are
    /// of one file system. EINVAL if a directory would move below itself.
    #[allow(clippy::too_many_arguments, reason = "two names with what they name, and how")]
    pub fn rename(
        self: &Arc<Dentry>,
        name: &[u8],
        old: &Arc<Dentry>,
        new_dir: &Arc<Dentry>,
        new_name: &[u8],
        new: Option<&Arc<Dentry>>,
        mode: RenameMode,
        cache: &DentryCache,
    ) -> Result<()> {
        let serial = cache.rename.lock();
        if old.is_deleted() || new.is_some_and(|new| new.is_deleted()) {
            return Err(ENOENT);
        }
        check_loop(old, new_dir, EINVAL)?;
        if let Some(new) = new {
            check_loop(new, self, if mode == RenameMode::Exchange { EINVAL } else { ENOTEMPTY })?;
            if mode == RenameMode::NoReplace {
                return Err(EEXIST);
            }
            if same_inode(&old.inode, &new.inode) {
                return Ok(());
            }
            if matches!(mode, RenameMode::Replace | RenameMode::Whiteout(_)) {
                match (old.kind, new.kind) {
                    (FileKind::Directory, FileKind::Directory) => {}
                    (FileKind::Directory, _) => return Err(ENOTDIR),
                    (_, FileKind::Directory) => return Err(EISDIR),
                    _ => {}
                }
            }
        } else if mode == RenameMode::Exchange {
            return Err(ENOENT);
        }
        if old.has_mounts() || new.is_some_and(|new| new.has_mounts()) {
            return Err(EBUSY);
        }
        let (mut from, mut to) = lock_two(self, new_dir);
        let target = to.as_deref().unwrap_or(&*from);
        if !from.is(name, old) || new.is_some_and(|new| !target.is(new_name, new)) {
            return Err(ENOENT);
        }
        self.inode.rename(name, &*new_dir.inode, new_name, mode)?;
        let replaced = match mode {
            RenameMode::Exchange => new.cloned(),
            _ => {
                if let Some(new) = new {
                    new.deleted.store(true, Ordering::Release);
                }
                match mode {
                    RenameMode::Whiteout(_) => from.forget(name),
                    _ => from.set_absent(name),
                }
            }
        };
        let target = to.as_deref_mut().unwrap_or(&mut *from);
        let dropped = target.present(new_name);
        target.set_present(new_name, old);
        if mode == RenameMode::Exchange
            && let Some(new) = new
        {
            from.set_present(name, new);
        }
        drop(to);
        drop(from);
        let old_parent = core::mem::replace(
            &mut *old.place.lock(),
            Place { parent: Some(new_dir.clone()), name: new_name.into() },
        );
        let new_parent = match (mode, new) {
            (RenameMode::Exchange, Some(new)) => Some(core::mem::replace(
                &mut *new.place.lock(),
                Place { parent: Some(self.clone()), name: name.into() },
            )),
            _ => None,
        };
        drop((old_parent, new_parent, replaced, dropped));
        let gone = new.filter(|new| new.is_deleted());
        if let Some(gone) = gone {
            cache.forget_one(gone);
            gone.mourn(&cache.notify);
        }
        drop(serial);
        let (from, to) = ((&self.inode, name), (&new_dir.inode, new_name));
        cache.notify.moved(from, to, &old.inode, gone.map(|gone| &gone.inode));
        if let Some(new) = new.filter(|_| mode == RenameMode::Exchange) {
            cache.notify.moved(to, from, &new.inode, None);
        }
        Ok(())
    }

    /// Has its end told, if its inode is watched: the name was removed.
    fn mourn(&self, notify: &Arc<Notify>) {
        if notify.may_mourn(&self.inode) {
            self.mourner.call_once(|| notify.clone());
        }
    }

    /// The name was removed. If nobody but the caller uses the dentry, that is its end.
    fn tell_of_removal(self: &Arc<Dentry>, notify: &Arc<Notify>) {
        if self.kind != FileKind::Directory {
            notify.inode(&self.inode, Happening::ATTRIB);
        }
        self.mourn(notify);
        if Arc::strong_count(self) == 1 {
            self.tell_of_end();
        }
    }

    fn tell_of_end(&self) {
        if let Some(notify) = self.mourner.get()
            && (self.kind == FileKind::Directory || self.inode.metadata().nlink == 0)
        {
            notify.deleted(&self.inode);
        }
    }

    /// Whether `self` is `other` or above it in the file system's tree.
    pub fn is_above(self: &Arc<Dentry>, other: &Arc<Dentry>) -> bool {
        let mut at = Some(other.clone());
        while let Some(dentry) = at {
            if Arc::ptr_eq(self, &dentry) {
                return true;
            }
            at = dentry.parent();
        }
        false
    }
}

/// Fails if `moved` is `dir` or above it.
fn check_loop(moved: &Arc<Dentry>, dir: &Arc<Dentry>, error: crate::errno::Errno) -> Result<()> {
    if moved.kind == FileKind::Directory && moved.is_above(dir) { Err(error) } else { Ok(()) }
}

type ChildrenGuard<'a> = MutexGuard<'a, Children>;

/// Locks the children of `first`, and those of `second` if it is another directory.
fn lock_two<'a>(
    first: &'a Arc<Dentry>,
    second: &'a Arc<Dentry>,
) -> (ChildrenGuard<'a>, Option<ChildrenGuard<'a>>) {
    if Arc::ptr_eq(first, second) {
        (first.children.lock(), None)
    } else if Arc::as_ptr(first) < Arc::as_ptr(second) {
        let guard = first.children.lock();
        (guard, Some(second.children.lock()))
    } else {
        let guard = second.children.lock();
        (first.children.lock(), Some(guard))
    }
}

impl Drop for Dentry {
    /// Unhooks the dentry from its parent, and so on upwards: in a loop, because a guest can make trees deeper than a
    /// kernel stack.
    fn drop(&mut self) {
        self.tell_of_end();
        let place = core::mem::replace(&mut *self.place.lock(), Place { parent: None, name: Box::default() });
        let mut next = Some(place);
        while let Some(Place { parent: Some(parent), name }) = next.take() {
            {
                let mut children = parent.children.lock();
                if let Some(Child::Present(dentry)) = children.names.get(&name)
                    && dentry.strong_count() == 0
                {
                    children.names.remove(&name);
                }
            }
            next = Arc::into_inner(parent).map(|parent| {
                core::mem::replace(&mut *parent.place.lock(), Place { parent: None, name: Box::default() })
            });
        }
    }
}
