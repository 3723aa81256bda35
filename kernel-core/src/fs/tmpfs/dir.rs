//! Directories of tmpfs: names, and positions that stay valid while entries come and go.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::inode::{Body, TmpInode};
use crate::errno::{EEXIST, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, Result};
use crate::sync::{Mutex, MutexGuard};
use crate::vfs::dir::{DirSink, list_dots};
use crate::vfs::inode::{Device, Inode, NewAttr, NewNode, RenameMode};

/// What an entry adds to a directory's size, as Linux has it.
const ENTRY_SIZE: u64 = 20;
/// Positions 0 and 1 are `.` and `..`.
const FIRST_POSITION: u64 = 2;

/// The entries of a directory.
#[derive(Default)]
pub(super) struct Directory {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_name: HashMap<Arc<[u8]>, Entry>,
    /// In the order in which they came; a position is never used again.
    by_position: BTreeMap<u64, Arc<[u8]>>,
    last_position: u64,
    parent: Weak<TmpInode>,
    /// The directory itself was removed: nothing can be made in it.
    removed: bool,
}

struct Entry {
    inode: Arc<TmpInode>,
    position: u64,
}

impl Entries {
    fn insert(&mut self, name: &[u8], inode: Arc<TmpInode>) {
        let name: Arc<[u8]> = name.into();
        self.last_position += 1;
        let position = FIRST_POSITION + self.last_position;
        self.by_position.insert(position, name.clone());
        self.by_name.insert(name, Entry { inode, position });
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<TmpInode>> {
        let entry = self.by_name.remove(name)?;
        self.by_position.remove(&entry.position);
        Some(entry.inode)
    }

    fn replace(&mut self, name: &[u8], inode: Arc<TmpInode>) -> Option<Arc<TmpInode>> {
        let entry = self.by_name.get_mut(name)?;
        Some(core::mem::replace(&mut entry.inode, inode))
    }

    fn get(&self, name: &[u8]) -> Option<&Arc<TmpInode>> {
        self.by_name.get(name).map(|entry| &entry.inode)
    }
}

impl Directory {
    pub(super) fn lookup(&self, name: &[u8]) -> Result<Arc<TmpInode>> {
        self.entries.lock().get(name).cloned().ok_or(ENOENT)
    }

    /// Size as `stat` shows it.
    pub(super) fn size(&self) -> u64 {
        (self.entries.lock().by_name.len() as u64 + FIRST_POSITION) * ENTRY_SIZE
    }

    /// The position behind all entries that there are.
    pub(super) fn end(&self) -> u64 {
        FIRST_POSITION + self.entries.lock().last_position + 1
    }

    /// Gives entries from `position` to `end` until the sink is full.
    pub(super) fn list(
        &self,
        me: &TmpInode,
        (position, end): (u64, u64),
        sink: &mut dyn DirSink,
    ) -> Result<u64> {
        let entries = self.entries.lock();
        let mut at = position;
        let parent = entries.parent.upgrade().map_or(me.ino(), |parent| parent.ino());
        if !list_dots(&mut at, me.ino(), parent, sink)? {
            return Ok(at);
        }
        for (&position, name) in entries.by_position.range(at..end.max(at)) {
            let Some(inode) = entries.get(name) else { continue };
            if !sink.entry(inode.ino(), position + 1, inode.kind().dirent_type(), name)? {
                return Ok(position);
            }
            at = position + 1;
        }
        Ok(at)
    }

    /// Drops all entries below without recursion: a guest can nest directories deeper than a kernel stack.
    pub(super) fn take_apart(&self) {
        let mut pending: Vec<Arc<TmpInode>> = Vec::new();
        pending.extend(self.drain());
        while let Some(inode) = pending.pop() {
            if let Some(inode) = Arc::into_inner(inode)
                && let Body::Directory(directory) = &inode.body
            {
                pending.extend(directory.drain());
            }
        }
    }

    fn drain(&self) -> Vec<Arc<TmpInode>> {
        let mut entries = self.entries.lock();
        entries.by_position.clear();
        entries.by_name.drain().map(|(_, entry)| entry.inode).collect()
    }
}

impl TmpInode {
    /// Makes an entry.
    pub fn make_child(&self, name: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<TmpInode>> {
        let directory = self.directory()?;
        // Before the lock: allocating the inode is the longer part.
        let ino = self.fs.take_inode()?;
        let inode = TmpInode::new(&self.fs, ino, what, attr, None);
        self.add_child(directory, name, &inode)?;
        Ok(inode)
    }

    /// The entry `name`.
    pub fn child(&self, name: &[u8]) -> Result<Arc<TmpInode>> {
        self.directory()?.lookup(name)
    }

    /// Enters an inode that was made apart, with the link count it has.
    pub fn adopt(&self, name: &[u8], inode: &Arc<TmpInode>) -> Result<()> {
        self.add_child(self.directory()?, name, inode)
    }

    fn add_child(&self, directory: &Directory, name: &[u8], inode: &Arc<TmpInode>) -> Result<()> {
        let mut entries = directory.entries.lock();
        if entries.removed {
            return Err(ENOENT);
        }
        if entries.get(name).is_some() {
            return Err(EEXIST);
        }
        if let Body::Directory(child) = &inode.body {
            child.entries.lock().parent = self.me().as_ref().map(Arc::downgrade).unwrap_or_default();
            self.attr.lock().nlink += 1;
        }
        entries.insert(name, inode.clone());
        drop(entries);
        self.changed();
        Ok(())
    }

    pub(super) fn link_child(&self, name: &[u8], target: &Arc<TmpInode>) -> Result<()> {
        if matches!(target.body, Body::Directory(_)) {
            return Err(EPERM);
        }
        let mut entries = self.directory()?.entries.lock();
        if entries.removed {
            return Err(ENOENT);
        }
        if entries.get(name).is_some() {
            return Err(EEXIST);
        }
        target.add_name()?;
        entries.insert(name, target.clone());
        drop(entries);
        self.changed();
        Ok(())
    }

    pub(super) fn unlink_child(&self, name: &[u8]) -> Result<()> {
        let mut entries = self.directory()?.entries.lock();
        if let Body::Directory(_) = entries.get(name).ok_or(ENOENT)?.body {
            return Err(EISDIR);
        }
        let gone = entries.remove(name);
        drop(entries);
        if let Some(gone) = gone {
            gone.relinked(-1);
        }
        self.changed();
        Ok(())
    }

    pub(super) fn rmdir_child(&self, name: &[u8]) -> Result<()> {
        let mut entries = self.directory()?.entries.lock();
        let victim = entries.get(name).ok_or(ENOENT)?.clone();
        victim.bury()?;
        let gone = entries.remove(name);
        drop(entries);
        self.relinked(-1);
        self.changed();
        drop(gone);
        Ok(())
    }

    /// Takes an empty directory out of use; ENOTEMPTY.
    fn bury(&self) -> Result<()> {
        let mut entries = self.directory()?.entries.lock();
        if !entries.by_name.is_empty() {
            return Err(ENOTEMPTY);
        }
        entries.removed = true;
        drop(entries);
        self.relinked(-2);
        Ok(())
    }

    pub(super) fn rename_child(
        &self,
        name: &[u8],
        to: &TmpInode,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        let whiteout = match &mode {
            RenameMode::Whiteout(attr) => {
                let what = NewNode::Char(Device::default());
                Some(TmpInode::new(&self.fs, self.fs.take_inode()?, what, attr, None))
            }
            _ => None,
        };
        let (mut from_entries, mut to_entries) = lock_two(self, to)?;
        let moved = from_entries.get(name).ok_or(ENOENT)?.clone();
        let target_entries = to_entries.as_deref_mut().unwrap_or(&mut *from_entries);
        if target_entries.removed {
            return Err(ENOENT);
        }
        let replaced = target_entries.get(new_name).cloned();
        let moved_is_dir = matches!(moved.body, Body::Directory(_));
        let replaced_is_dir = replaced.as_ref().is_some_and(|inode| matches!(inode.body, Body::Directory(_)));
        match (&replaced, mode) {
            (Some(_), RenameMode::NoReplace) => return Err(EEXIST),
            (None, RenameMode::Exchange) => return Err(ENOENT),
            (Some(replaced), RenameMode::Replace | RenameMode::Whiteout(_)) => {
                match (moved_is_dir, replaced_is_dir) {
                    (true, true) => replaced.bury()?,
                    (true, false) => return Err(ENOTDIR),
                    (false, true) => return Err(EISDIR),
                    (false, false) => replaced.relinked(-1),
                }
            }
            _ => {}
        }
        match &replaced {
            Some(_) => drop(target_entries.replace(new_name, moved.clone())),
            None => target_entries.insert(new_name, moved.clone()),
        }
        // The name in the old directory: gone, or another one's now.
        let left = if mode == RenameMode::Exchange { replaced.clone() } else { whiteout };
        match left {
            Some(left) => drop(from_entries.replace(name, left)),
            None => drop(from_entries.remove(name)),
        }
        let across = to_entries.is_some();
        drop((from_entries, to_entries));
        self.account_rename(to, across, &moved, replaced.as_ref(), mode);
        Ok(())
    }

    /// Parents, link counts and times after a rename.
    fn account_rename(
        &self,
        to: &TmpInode,
        across: bool,
        moved: &Arc<TmpInode>,
        replaced: Option<&Arc<TmpInode>>,
        mode: RenameMode,
    ) {
        let exchanged = replaced.filter(|_| mode == RenameMode::Exchange);
        let buried_dir = mode != RenameMode::Exchange
            && replaced.is_some_and(|inode| matches!(inode.body, Body::Directory(_)));
        if buried_dir {
            to.relinked(-1);
        }
        if across {
            let hops = [(Some(moved), self, to), (exchanged, to, self)];
            for (inode, old, new) in hops {
                if let Some(inode) = inode
                    && let Body::Directory(directory) = &inode.body
                {
                    directory.entries.lock().parent =
                        new.me().as_ref().map(Arc::downgrade).unwrap_or_default();
                    old.relinked(-1);
                    new.relinked(1);
                }
            }
            to.changed();
        }
        self.changed();
        moved.relinked(0);
        if let Some(other) = exchanged {
            other.relinked(0);
        }
    }
}

type EntriesGuard<'a> = MutexGuard<'a, Entries>;

/// Locks the entries of `first`, and those of `second` if it is another directory, lower address first.
fn lock_two<'a>(
    first: &'a TmpInode,
    second: &'a TmpInode,
) -> Result<(EntriesGuard<'a>, Option<EntriesGuard<'a>>)> {
    let (a, b) = (&first.directory()?.entries, &second.directory()?.entries);
    if core::ptr::eq(a, b) {
        Ok((a.lock(), None))
    } else if core::ptr::from_ref(a) < core::ptr::from_ref(b) {
        let guard = a.lock();
        Ok((guard, Some(b.lock())))
    } else {
        let guard = b.lock();
        Ok((a.lock(), Some(guard)))
    }
}
