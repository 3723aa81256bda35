//! Files that were made without a name (`O_TMPFILE`).
//!
//! The library gives a file that lost its last name no other. So one that never had any has a name in `lost+found`, which only root
//! can look into, until it gets one of its own or is freed. What a power cut leaves there goes at the next mount.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use rsext4::{DirectoryCursor, Ext4Error, Ext4Result, FileName, InodeNumber, MutationContext};

use super::core::SPARE_BLOCKS;
use super::inode::{ExtInode, permissions};
use super::{Fs, Shared, Unused};
use crate::errno::Result;
use crate::vfs::inode::NewAttr;

/// How their names begin.
const PREFIX: &[u8] = b"#lodger-unnamed-";
/// So many names are read at once.
const ENTRIES: usize = 64;

/// A file that has a name in `lost+found` only.
pub(super) struct Unnamed {
    folder: InodeNumber,
    name: String,
}

impl Unnamed {
    /// Takes that name away.
    pub(super) fn remove(&self, fs: &mut Fs) -> Ext4Result<()> {
        fs.unlink(self.folder, FileName::new(self.name.as_bytes())?).map(drop)
    }
}

fn folder(fs: &mut Fs) -> Ext4Result<Option<InodeNumber>> {
    let root = fs.root_inode();
    let found = fs.lookup_child(root, FileName::new(b"lost+found")?)?;
    Ok(found.filter(|info| info.is_directory()).map(|info| info.number))
}

impl Shared {
    /// Makes a file without a name.
    pub(super) fn make_unnamed(self: &Arc<Shared>, attr: &NewAttr) -> Result<Arc<ExtInode>> {
        let context = MutationContext::new(attr.uid, attr.gid, 0, 0);
        let ((info, unnamed), now) = self.change(|fs| {
            if fs.statfs().free_blocks < SPARE_BLOCKS / 4 {
                return Err(Ext4Error::no_space());
            }
            let folder = folder(fs)?.ok_or_else(Ext4Error::unsupported)?;
            let mode = permissions(attr.mode)?;
            loop {
                let number = self.last_unnamed.fetch_add(1, Ordering::Relaxed);
                let name = format!("{}{number}", String::from_utf8_lossy(PREFIX));
                let entry = FileName::new(name.as_bytes())?;
                // One of that name may be left, if it could not be removed.
                if fs.lookup_child(folder, entry)?.is_none() {
                    let info = fs.create_regular_file(context, folder, entry, mode)?;
                    return Ok((info, Unnamed { folder, name }));
                }
            }
        })?;
        let inode = self.inode(&info);
        *inode.core.unnamed.lock() = Some(unnamed);
        inode.core.attr.lock().nlink = 0;
        inode.was_made(now);
        Ok(inode)
    }

    /// Frees what had no name when the power was cut.
    pub(super) fn remove_unnamed(&self) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        let left = self.with(|fs| {
            let Some(folder) = folder(fs)? else { return Ok(Vec::new()) };
            let (mut at, mut left) = (DirectoryCursor::Start, Vec::new());
            loop {
                let entries = fs.read_directory(folder, at, ENTRIES)?;
                for entry in &entries {
                    at = entry.next_cursor;
                    if entry.name.starts_with(PREFIX) {
                        let name = String::from_utf8_lossy(&entry.name).into_owned();
                        left.push((entry.inode, Unnamed { folder, name }));
                    }
                }
                if entries.len() < ENTRIES {
                    return Ok(left);
                }
            }
        })?;
        for (number, unnamed) in left {
            if self.known(number).is_none() {
                let after = self.synced.load(Ordering::Relaxed) + 1;
                self.reap_later(Unused { number, after, unnamed: Some(unnamed) });
            }
        }
        Ok(())
    }
}
