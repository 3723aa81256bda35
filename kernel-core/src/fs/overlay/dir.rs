//! Listing directories: the entries of all layers, each name once.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use hashbrown::HashSet;

use super::Shared;
use super::file::open;
use super::inode::OverlayInode;
use super::lookup::{Lower, is_whiteout};
use crate::errno::{ENOENT, ENOTEMPTY, Result};
use crate::sync::Mutex;
use crate::vfs::dentry::{Dentry, DentryCache};
use crate::vfs::dir::{DirSink, Directory, list_dots};
use crate::vfs::file::{Op, OpenFlags};
use crate::vfs::inode::{FileKind, Inode};
use crate::vfs::kernel_caller::KernelCaller;

/// Positions 0 and 1 are `.` and `..`; the others are places in the listing.
const FIRST: u64 = 2;

/// An entry of a layer's directory.
struct Entry {
    ino: u64,
    kind: u8,
    name: Box<[u8]>,
}

/// All entries of a directory at one time. A reader keeps it until it begins again, so positions stay what they are.
pub(super) struct Listing {
    version: u64,
    entries: Vec<Entry>,
}

/// Takes all entries but `.` and `..`.
struct Collector(Vec<Entry>);

impl DirSink for Collector {
    fn entry(&mut self, ino: u64, _: u64, kind: u8, name: &[u8]) -> Result<bool> {
        if name != b"." && name != b".." {
            self.0.push(Entry { ino, kind, name: name.into() });
        }
        Ok(true)
    }
}

/// What a layer's directory has.
fn entries_of(dir: &Arc<dyn Inode>, mounter: &KernelCaller) -> Result<Vec<Entry>> {
    let flags = OpenFlags::DIRECTORY | OpenFlags::NOATIME | OpenFlags::LARGEFILE;
    let file = open(dir, flags, mounter)?;
    let mut all = Collector(Vec::new());
    loop {
        let before = all.0.len();
        file.ops.read_dir(Op { file: &file, caller: mounter }, &mut all)?;
        if all.0.len() == before {
            return Ok(all.0);
        }
    }
}

/// Removes all that a directory of a layer has, and all in directories in it, so many deep.
pub(super) fn clear(
    dir: &Arc<Dentry>,
    depth: u32,
    mounter: &KernelCaller,
    cache: &DentryCache,
) -> Result<()> {
    for entry in entries_of(dir.inode(), mounter)? {
        let found = dir.child(&entry.name, cache)?;
        if found.kind() == FileKind::Directory && depth > 0 {
            clear(&found, depth - 1, mounter, cache)?;
        }
        dir.remove(&entry.name, &found, cache)?;
    }
    Ok(())
}

impl Shared {
    fn entries_of(&self, dir: &Arc<dyn Inode>) -> Result<Vec<Entry>> {
        entries_of(dir, &self.mounter)
    }

    /// Removes the whiteouts from a directory of the upper layer, which has nothing else.
    pub(super) fn clear_whiteouts(&self, dir: &Arc<Dentry>) -> Result<()> {
        for entry in self.entries_of(dir.inode())? {
            let found = dir.child(&entry.name, &self.dentries)?;
            if is_whiteout(&**found.inode()) {
                dir.remove(&entry.name, &found, &self.dentries)?;
            }
        }
        Ok(())
    }
}

impl OverlayInode {
    /// ENOTEMPTY if the directory shows an entry.
    pub(super) fn check_empty(&self) -> Result<()> {
        let mut result = Ok(());
        self.each_entry(|_| {
            result = Err(ENOTEMPTY);
            false
        })?;
        result
    }

    fn list(&self) -> Result<Listing> {
        let version = self.version.load(Ordering::Relaxed);
        let mut entries = Vec::new();
        self.each_entry(|entry| {
            entries.push(entry);
            true
        })?;
        Ok(Listing { version, entries })
    }

    /// The entries of all layers, those of higher ones first, until `each` says that it wants no more.
    fn each_entry(&self, mut each: impl FnMut(Entry) -> bool) -> Result<()> {
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        if let Some(upper) = self.upper() {
            for entry in self.fs.entries_of(upper.inode())? {
                let last = self.lowers.is_empty();
                // What was copied up has the number of where it came from; whiteouts are not found.
                match self.resolve(&entry.name) {
                    Ok(stack) => {
                        let ino = self.fs.number_of(&stack);
                        if !last {
                            seen.insert(entry.name.clone());
                        }
                        if !each(Entry { ino, ..entry }) {
                            return Ok(());
                        }
                    }
                    Err(ENOENT) => {
                        seen.insert(entry.name);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        for (index, lower) in self.lowers.iter().enumerate() {
            let is_last = index + 1 == self.lowers.len();
            let dev = lower.inode.metadata().dev;
            for entry in self.fs.entries_of(&lower.inode)? {
                if seen.contains(&entry.name) {
                    continue;
                }
                if !is_last {
                    seen.insert(entry.name.clone());
                }
                if !self.is_hidden(lower, &entry)?
                    && !each(Entry { ino: self.fs.unique(dev, entry.ino), ..entry })
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether an entry of a lower directory is a whiteout, or gone.
    fn is_hidden(&self, dir: &Lower, entry: &Entry) -> Result<bool> {
        let char = FileKind::Char.dirent_type();
        if entry.kind != char && entry.kind != 0 && !dir.may_hide_by_files() {
            return Ok(false);
        }
        match dir.inode.lookup(&entry.name) {
            Ok(inode) => Ok(dir.is_whiteout(&self.fs, &*inode)),
            Err(ENOENT) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The entries now; shared by all who read the directory as it is.
    fn listing(&self) -> Result<Arc<Listing>> {
        let version = self.version.load(Ordering::Relaxed);
        let known = self.listing.lock().upgrade();
        if let Some(known) = known.filter(|known| known.version == version) {
            return Ok(known);
        }
        let new = Arc::new(self.list()?);
        *self.listing.lock() = Arc::downgrade(&new);
        Ok(new)
    }
}

/// An open directory.
pub(super) struct DirFile {
    inode: Arc<OverlayInode>,
    listing: Mutex<Option<Arc<Listing>>>,
}

impl DirFile {
    pub fn new(inode: Arc<OverlayInode>) -> DirFile {
        DirFile { inode, listing: Mutex::new(None) }
    }

    /// What is being read; from the beginning, what is there now.
    fn listing(&self, position: u64) -> Result<Arc<Listing>> {
        let known = self.listing.lock().clone();
        if let Some(known) = known.filter(|_| position != 0) {
            return Ok(known);
        }
        let new = self.inode.listing()?;
        let old = self.listing.lock().replace(new.clone());
        drop(old);
        Ok(new)
    }
}

impl Directory for DirFile {
    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        let start = *op.file.position.lock();
        let listing = self.listing(start)?;
        let mut position = op.file.position.lock();
        let (own, parent) = (self.inode.ino(), self.inode.parent().map_or(self.inode.ino(), |dir| dir.ino()));
        if !list_dots(&mut position, own, parent, sink)? {
            return Ok(());
        }
        let first = usize::try_from(position.saturating_sub(FIRST)).unwrap_or(usize::MAX);
        for entry in listing.entries.iter().skip(first) {
            if !sink.entry(entry.ino, *position + 1, entry.kind, &entry.name)? {
                return Ok(());
            }
            *position += 1;
        }
        Ok(())
    }
}
