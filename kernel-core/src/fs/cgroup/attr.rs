//! What `chmod`, `chown` and `utimensat` change of a group's directory and of its files.

use super::DEVICE;
use crate::vfs::inode::{Device, FileKind, MODE_BITS, Metadata, NewAttr, Owner, SetAttr, Timestamp};

/// Who owns it, and times.
#[derive(Clone, Copy)]
pub struct Attr {
    /// Who owns it.
    pub owner: Owner,
    atime: Timestamp,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl Attr {
    /// Of something new.
    pub fn new(kind: FileKind, attr: &NewAttr, now: Timestamp) -> Attr {
        let owner = Owner::new(kind.mode_bits() | attr.mode & MODE_BITS, attr.uid, attr.gid);
        Attr { owner, atime: now, mtime: now, ctime: now }
    }

    /// Changes what is asked for. A size means nothing here.
    pub fn set(&mut self, attr: &SetAttr, now: Timestamp) {
        self.owner.change(attr);
        self.atime = attr.atime.map_or(self.atime, |time| time.at(now));
        self.mtime = attr.mtime.map_or(self.mtime, |time| time.at(now));
        self.ctime = now;
    }

    /// As `stat` tells it.
    pub fn metadata(&self, ino: u64, nlink: u32) -> Metadata {
        Metadata {
            dev: DEVICE,
            ino,
            mode: self.owner.mode,
            nlink,
            uid: self.owner.uid,
            gid: self.owner.gid,
            rdev: Device::default(),
            size: 0,
            block_size: 4096,
            blocks: 0,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            btime: self.ctime,
        }
    }
}
