//! The root file system from an archive: cpio ("newc"), plain or gzipped, or several one after the other, as an initramfs
//! is. Source: `cpio(5)`, the kernel's `driver-api/early-userspace/buffer-format`.
//!
//! Files are not copied: a file's bytes stay a slice of the archive until somebody writes or maps them. The archive is
//! not trusted: whatever is wrong with it is an [`ArchiveError`].

mod cpio;
mod gzip;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use hashbrown::HashMap;

use crate::errno::Errno;
use crate::fs::tmpfs::{TmpInode, Tmpfs};
use crate::mm::cache::{Backing, Blob};
use crate::vfs::inode::{Device, FileKind, Inode, MODE_BITS, NAME_MAX, NewAttr, NewNode, SetAttr, Timestamp};
use cpio::Entry;

/// Why an archive cannot be the root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// It is neither cpio ("newc") nor gzip at this offset.
    UnknownFormat {
        /// In bytes.
        offset: usize,
    },
    /// It ends in the middle of something, or without a trailer.
    Truncated {
        /// Where the entry starts that is cut off, in bytes.
        offset: usize,
    },
    /// A header field is not a number, or makes no sense.
    BadHeader {
        /// Where the entry starts, in bytes.
        offset: usize,
    },
    /// A name is empty, too long, or leads out of the tree.
    BadName {
        /// As far as it can be shown.
        name: String,
    },
    /// An entry is below something that is not a directory, or replaces a directory by something else.
    Conflict {
        /// Its name.
        name: String,
    },
    /// The compressed data is damaged.
    BadCompression,
    /// Unpacked, it is larger than the limit.
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The file system takes no more.
    NoSpace {
        /// The name that did not fit.
        name: String,
        /// What it said.
        errno: Errno,
    },
}

/// A directory and a name in it.
type Place<'e> = (Arc<TmpInode>, &'e [u8]);

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveError::UnknownFormat { offset } => {
                write!(f, "neither a cpio archive in \"newc\" format nor gzip at byte {offset}")
            }
            ArchiveError::Truncated { offset } => {
                write!(f, "the archive is cut off in the entry at byte {offset}")
            }
            ArchiveError::BadHeader { offset } => write!(f, "the archive is damaged at byte {offset}"),
            ArchiveError::BadName { name } => {
                write!(f, "the archive has an entry with the bad name {name:?}")
            }
            ArchiveError::Conflict { name } => {
                write!(f, "the archive's entry {name:?} is in the way of another, or below a file")
            }
            ArchiveError::BadCompression => write!(f, "the archive's compressed data is damaged"),
            ArchiveError::TooLarge { limit } => write!(f, "the archive unpacks to more than {limit} bytes"),
            ArchiveError::NoSpace { name, errno } => {
                write!(f, "no space for the archive's entry {name:?} ({errno:?}): more memory is needed")
            }
        }
    }
}

impl core::error::Error for ArchiveError {}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries, links included.
    pub entries: usize,
    /// Bytes of file data.
    pub bytes: u64,
}

/// Unpacks `archive` into a tmpfs. What is compressed may become at most `limit` bytes in all.
pub fn unpack(archive: &Arc<dyn Blob>, into: &Tmpfs, limit: usize) -> Result<Unpacked, ArchiveError> {
    let mut done = Unpacked::default();
    let (mut offset, mut left) = (0, limit);
    let whole = archive.bytes().len();
    loop {
        let rest = archive.bytes().get(offset..).unwrap_or_default();
        // Archives in a row may have zeros between them.
        let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
        if zeros == rest.len() && offset != 0 {
            archive.done_with(0..whole);
            return Ok(done);
        }
        offset += zeros;
        let rest = archive.bytes().get(offset..).unwrap_or_default();
        if cpio::is_cpio(rest) {
            offset += unpack_cpio(archive, offset, into, &mut done)?;
        } else if gzip::is_gzip(rest) {
            let (plain, used) = gzip::inflate(rest, left).map_err(|error| match error {
                ArchiveError::TooLarge { .. } => ArchiveError::TooLarge { limit },
                other => other,
            })?;
            left -= plain.len().min(left);
            offset += used;
            unpack_plain(Arc::new(plain), into, &mut done)?;
        } else {
            return Err(ArchiveError::UnknownFormat { offset: offset.min(whole) });
        }
    }
}

/// Unpacks the cpio archives that one gzip member holds.
fn unpack_plain(plain: Arc<Vec<u8>>, into: &Tmpfs, done: &mut Unpacked) -> Result<(), ArchiveError> {
    let blob: Arc<dyn Blob> = plain;
    let mut offset = 0;
    loop {
        let rest = blob.bytes().get(offset..).unwrap_or_default();
        let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
        if zeros == rest.len() && offset != 0 {
            return Ok(());
        }
        offset += zeros;
        if !cpio::is_cpio(blob.bytes().get(offset..).unwrap_or_default()) {
            return Err(ArchiveError::UnknownFormat { offset });
        }
        offset += unpack_cpio(&blob, offset, into, done)?;
    }
}

/// Unpacks one cpio archive at `offset` and says how long it is.
fn unpack_cpio(
    blob: &Arc<dyn Blob>,
    offset: usize,
    into: &Tmpfs,
    done: &mut Unpacked,
) -> Result<usize, ArchiveError> {
    let bytes = blob.bytes().get(offset..).unwrap_or_default();
    let (entries, len) = cpio::parse(bytes).map_err(|error| at(error, offset))?;
    // Of the names of one file, mostly the last has the data.
    let mut data: HashMap<(u32, u32, u32), &Entry<'_>> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.is_linked() && !entry.data.is_empty()) {
        data.insert(entry.identity(), entry);
    }
    let mut unpacker = Unpacker { blob, offset, into, made: HashMap::new() };
    for entry in &entries {
        let content = if entry.is_linked() { data.get(&entry.identity()).copied() } else { None };
        unpacker.enter(entry, content.unwrap_or(entry))?;
        done.entries += 1;
        done.bytes += entry.data.len() as u64;
    }
    Ok(len)
}

fn at(error: ArchiveError, base: usize) -> ArchiveError {
    match error {
        ArchiveError::Truncated { offset } => ArchiveError::Truncated { offset: base + offset },
        ArchiveError::BadHeader { offset } => ArchiveError::BadHeader { offset: base + offset },
        other => other,
    }
}

struct Unpacker<'a> {
    blob: &'a Arc<dyn Blob>,
    /// Where the archive starts in the blob.
    offset: usize,
    into: &'a Tmpfs,
    /// Files with several names that were made.
    made: HashMap<(u32, u32, u32), Arc<TmpInode>>,
}

impl Unpacker<'_> {
    fn enter(&mut self, entry: &Entry<'_>, content: &Entry<'_>) -> Result<(), ArchiveError> {
        let attr = NewAttr { mode: entry.mode & MODE_BITS, uid: entry.uid, gid: entry.gid };
        let time = Timestamp { sec: i64::from(entry.mtime), nsec: 0 };
        let Some((parent, name)) = self.parent_of(entry)? else {
            return self.set(self.into.root_dir(), &attr, time, entry);
        };
        let kind = FileKind::of_mode(entry.mode);
        let present = parent.lookup(name).ok();
        if let Some(present) = present {
            let present_dir = present.kind() == FileKind::Directory;
            match (present_dir, kind == FileKind::Directory) {
                (true, true) => {
                    let Some(inode) = present.as_any().downcast_ref::<TmpInode>() else {
                        return Err(conflict(entry));
                    };
                    return self.set(inode, &attr, time, entry);
                }
                (false, false) => parent.unlink(name).map_err(|errno| no_space(entry, errno))?,
                _ => return Err(conflict(entry)),
            }
        }
        if entry.is_linked()
            && let Some(first) = self.made.get(&entry.identity())
        {
            let first: Arc<dyn Inode> = first.clone();
            return parent.link(name, &first).map_err(|errno| no_space(entry, errno));
        }
        let inode = self.make(&parent, name, kind, &attr, entry, content)?;
        inode.set_times(time);
        if entry.is_linked() {
            self.made.insert(entry.identity(), inode);
        }
        Ok(())
    }

    fn make(
        &self,
        parent: &Arc<TmpInode>,
        name: &[u8],
        kind: FileKind,
        attr: &NewAttr,
        entry: &Entry<'_>,
        content: &Entry<'_>,
    ) -> Result<Arc<TmpInode>, ArchiveError> {
        let device = Device::new(entry.rdev.0, entry.rdev.1);
        let what = match kind {
            FileKind::Directory => NewNode::Directory,
            FileKind::Symlink => NewNode::Symlink(entry.data),
            FileKind::Char => NewNode::Char(device),
            FileKind::Block => NewNode::Block(device),
            FileKind::Fifo => NewNode::Fifo,
            FileKind::Socket => NewNode::Socket,
            FileKind::Regular => {
                let backing = Backing::Blob {
                    owner: self.blob.clone(),
                    offset: self.offset + content.data_offset,
                    len: content.data.len(),
                };
                let made = self.into.file_of(attr, backing);
                let inode = made.map_err(|errno| no_space(entry, errno))?;
                parent.adopt(name, &inode).map_err(|errno| no_space(entry, errno))?;
                return Ok(inode);
            }
            FileKind::Anonymous => {
                return Err(ArchiveError::BadHeader { offset: self.offset + entry.offset });
            }
        };
        parent.make_child(name, what, attr).map_err(|errno| no_space(entry, errno))
    }

    fn set(
        &self,
        inode: &TmpInode,
        attr: &NewAttr,
        time: Timestamp,
        entry: &Entry<'_>,
    ) -> Result<(), ArchiveError> {
        if FileKind::of_mode(entry.mode) != FileKind::Directory {
            return Err(conflict(entry));
        }
        let change =
            SetAttr { mode: Some(attr.mode), uid: Some(attr.uid), gid: Some(attr.gid), ..SetAttr::default() };
        inode.set_attr(&change).map_err(|errno| no_space(entry, errno))?;
        inode.set_times(time);
        Ok(())
    }

    /// The directory of an entry, made if it is missing, and the last component; `None` for the root itself.
    fn parent_of<'e>(&self, entry: &'e Entry<'_>) -> Result<Option<Place<'e>>, ArchiveError> {
        let mut parts = entry.name.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let Some(mut name) = parts.next() else { return Ok(None) };
        let mut dir = self.into.root_dir().clone();
        loop {
            if name == b".." || name.len() > NAME_MAX {
                return Err(ArchiveError::BadName { name: shown(entry) });
            }
            let Some(next) = parts.next() else { return Ok(Some((dir, name))) };
            dir = self.directory(&dir, name, entry)?;
            name = next;
        }
    }

    fn directory(
        &self,
        dir: &Arc<TmpInode>,
        name: &[u8],
        entry: &Entry<'_>,
    ) -> Result<Arc<TmpInode>, ArchiveError> {
        match dir.child(name) {
            Ok(child) if child.kind() == FileKind::Directory => Ok(child),
            Ok(_) => Err(conflict(entry)),
            Err(_) => {
                let attr = NewAttr { mode: 0o755, uid: 0, gid: 0 };
                dir.make_child(name, NewNode::Directory, &attr).map_err(|errno| no_space(entry, errno))
            }
        }
    }
}

fn shown(entry: &Entry<'_>) -> String {
    String::from_utf8_lossy(entry.name).into_owned()
}

fn conflict(entry: &Entry<'_>) -> ArchiveError {
    ArchiveError::Conflict { name: shown(entry) }
}

fn no_space(entry: &Entry<'_>, errno: Errno) -> ArchiveError {
    ArchiveError::NoSpace { name: shown(entry), errno }
}
