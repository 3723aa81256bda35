//! A group as a directory: its files, and the groups in it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::{files, statfs};
use crate::errno::{EACCES, ENOENT, EPERM, Result};
use crate::task::cgroup::Group;
use crate::vfs::caller::Caller;
use crate::vfs::dir::{self, DirSink, DirectoryFile, list_dots};
use crate::vfs::file::{Op, OpenFlags};
use crate::vfs::inode::{FileKind, Inode, Metadata, NewAttr, NewNode, Opened, Owner, SetAttr, StatFs};

/// Positions 0 and 1 are `.` and `..`; a file has its number in the table after these, and a group its own after all files.
const FIRST_FILE: u64 = 2;
const FIRST_GROUP: u64 = 64;

impl Inode for Group {
    fn metadata(&self) -> Metadata {
        let nlink = self.child_count() as u32 + 2;
        self.with_attr(|attr| attr.metadata(self.id, nlink))
    }

    fn owner(&self) -> Owner {
        self.with_attr(|attr| attr.owner)
    }

    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        statfs()
    }

    fn open(&self, _: OpenFlags, _: &dyn Caller) -> Result<Opened> {
        Ok(Opened::File(Arc::new(DirectoryFile(OpenGroup(self.this().ok_or(ENOENT)?)))))
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        let now = self.now();
        self.with_attr(|own| own.set(attr, now));
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if self.is_removed() {
            return Err(ENOENT);
        }
        if let Some(index) = files::find(self, name) {
            return Ok(self.file(index));
        }
        Ok(self.child(name).ok_or(ENOENT)?)
    }

    fn names_epoch(&self) -> u64 {
        Group::names_epoch(self)
    }

    /// Groups are made here, and nothing else.
    fn make(&self, name: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        match what {
            NewNode::Directory => Ok(self.make_child(name, attr)?),
            NewNode::File => Err(EACCES),
            _ => Err(EPERM),
        }
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.remove_child(name)
    }
}

/// The open directory.
struct OpenGroup(Arc<Group>);

impl dir::Directory for OpenGroup {
    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        let group = &*self.0;
        let mut position = op.file.position.lock();
        if !list_dots(&mut position, group.id, group.parent().map_or(group.id, |parent| parent.id), sink)? {
            return Ok(());
        }
        if group.is_removed() {
            return Ok(());
        }
        for (index, name) in files::of(group) {
            let at = FIRST_FILE + index as u64;
            if at >= *position {
                let ino = files::ino(group.id, index);
                if !sink.entry(ino, at + 1, FileKind::Regular.dirent_type(), name.as_bytes())? {
                    return Ok(());
                }
                *position = at + 1;
            }
        }
        let mut children: Vec<Arc<Group>> = group.children();
        children.sort_unstable_by_key(|child| child.id);
        for child in children {
            let at = FIRST_GROUP + child.id;
            if at >= *position {
                if !sink.entry(child.id, at + 1, FileKind::Directory.dirent_type(), child.name())? {
                    return Ok(());
                }
                *position = at + 1;
            }
        }
        Ok(())
    }
}
