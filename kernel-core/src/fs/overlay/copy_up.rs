//! Copying files to the upper layer before they change.
//!
//! Data is copied without a lock, in pieces, to a file that has no name yet, or one in the work directory where the upper
//! layer has no such files. It gets its place with names locked; whoever comes second throws its copy away.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::file::open;
use super::inode::{OverlayInode, Place};
use super::{Shared, Upper};
use crate::errno::{EINVAL, EIO, ENOENT, ENOSPC, ENXIO, EOPNOTSUPP, ESTALE, Result};
use crate::io::{SliceSource, VecSink};
use crate::vfs::dentry::Dentry;
use crate::vfs::file::{Op, OpenFile, OpenFlags, Whence};
use crate::vfs::inode::{
    FileKind, Inode, LinkTarget, MODE_BITS, Metadata, NewAttr, NewNode, RenameMode, SetAttr, SetTime,
    XattrMode,
};

/// How much is copied at once.
const PIECE: usize = 64 << 10;

/// A copy on its way to its name.
struct Copy {
    dentry: Arc<Dentry>,
    /// Its name in the work directory, if it has one.
    temporary: Option<Vec<u8>>,
}

impl OverlayInode {
    /// Where the file is in the upper layer; copies it there first if needed, its directories before it. Of a regular
    /// file at most `most` bytes of data, as it is about to be cut to that. EROFS without an upper layer, ENOSPC.
    pub(super) fn copy_up(&self, most: u64) -> Result<&Arc<Dentry>> {
        if let Some(upper) = self.upper() {
            return Ok(upper);
        }
        let layer = self.fs.upper()?;
        let mut above: Vec<Arc<OverlayInode>> = Vec::new();
        let mut next = self.parent();
        while let Some(dir) = next.filter(|dir| dir.upper().is_none()) {
            next = dir.parent();
            above.push(dir);
        }
        for dir in above.into_iter().rev() {
            dir.copy_node(layer)?;
        }
        match self.kind() {
            FileKind::Regular => self.copy_file(layer, most)?,
            _ => self.copy_node(layer)?,
        }
        self.upper().ok_or(EIO)
    }

    /// Copies what has no data.
    fn copy_node(&self, layer: &Upper) -> Result<()> {
        let real = self.real()?.clone();
        let meta = real.metadata();
        let target = match self.kind() {
            FileKind::Symlink => match real.readlink(&self.fs.mounter)? {
                LinkTarget::Text(text) => text,
                LinkTarget::Jump { .. } | LinkTarget::Shown(_) => return Err(EINVAL),
            },
            _ => Vec::new(),
        };
        let what = match self.kind() {
            FileKind::Directory => NewNode::Directory,
            FileKind::Symlink => NewNode::Symlink(&target),
            FileKind::Fifo => NewNode::Fifo,
            FileKind::Socket => NewNode::Socket,
            FileKind::Char => NewNode::Char(meta.rdev),
            FileKind::Block => NewNode::Block(meta.rdev),
            FileKind::Regular | FileKind::Anonymous => return Err(EINVAL),
        };
        let name = self.fs.temporary();
        let dentry = layer.work.make(&name, what, &attr_of(&meta), &self.fs.dentries)?;
        let copy = Copy { dentry, temporary: Some(name) };
        let done = self.finish(&real, &meta, &copy).and_then(|()| self.commit(layer, &meta, &copy));
        if done != Ok(true) {
            self.fs.discard(layer, &copy);
        }
        done.map(drop)
    }

    /// Copies a regular file, at most `most` bytes of its data.
    fn copy_file(&self, layer: &Upper, most: u64) -> Result<()> {
        let lower = self.lowers.first().ok_or(ENOENT)?;
        let meta = lower.inode.metadata();
        let copy = self.fs.new_file(layer, &attr_of(&meta))?;
        let filled = || -> Result<()> {
            if meta.size.min(most) > 0 {
                let from = lower.open(&self.fs.mounter)?;
                let flags = OpenFlags::RDWR | OpenFlags::LARGEFILE;
                let to = open(copy.dentry.inode(), flags, &self.fs.mounter)?;
                self.fs.copy_data(&from, &to, meta.size.min(most))?;
            }
            self.finish(&lower.inode, &meta, &copy)
        };
        let done = filled().and_then(|()| self.commit(layer, &meta, &copy));
        if done != Ok(true) {
            self.fs.discard(layer, &copy);
        }
        done.map(drop)
    }

    /// Copies attributes, times last.
    fn finish(&self, real: &Arc<dyn Inode>, meta: &Metadata, copy: &Copy) -> Result<()> {
        let inode = copy.dentry.inode();
        self.fs.copy_xattrs(real, inode)?;
        if self.kind() != FileKind::Directory && meta.nlink == 1 {
            // A file system without attributes cannot remember it: the number changes when the inode is looked up anew.
            match self.fs.set_mark(&**inode, "ino", &self.fs.number(&**real).to_le_bytes()) {
                Err(EOPNOTSUPP) => {}
                result => result?,
            }
        }
        set_times(inode, meta)
    }

    /// Gives the copy its place, unless another one came first (`false`).
    fn commit(&self, layer: &Upper, meta: &Metadata, copy: &Copy) -> Result<bool> {
        let dentries = &self.fs.dentries;
        let _names = self.fs.names.lock();
        if self.upper().is_some() {
            return Ok(false);
        }
        let place = match &*self.place.lock() {
            Place::At(parent, name) => Some((parent.clone(), name.clone())),
            _ => None,
        };
        let dentry = match (place, &copy.temporary) {
            (Some((parent, name)), temporary) => {
                let dir = parent.upper().ok_or(ENOENT)?;
                let times = dir.inode().metadata();
                let dentry = match temporary {
                    Some(temporary) => {
                        let work = &layer.work;
                        work.rename(
                            temporary,
                            &copy.dentry,
                            dir,
                            &name,
                            None,
                            RenameMode::Replace,
                            dentries,
                        )?;
                        copy.dentry.clone()
                    }
                    None => {
                        dir.link(&name, copy.dentry.inode(), dentries)?;
                        dir.child(&name, dentries)?
                    }
                };
                // For users nothing happened to the directory.
                set_times(dir.inode(), &times)?;
                dentry
            }
            // The name went while somebody has it open: the copy needs none.
            (None, None) => copy.dentry.clone(),
            (None, Some(_)) => return Err(if self.kind() == FileKind::Directory { ENOENT } else { ESTALE }),
        };
        if self.kind() != FileKind::Directory && meta.nlink > 1 {
            self.number.store(self.fs.number(&**dentry.inode()), core::sync::atomic::Ordering::Relaxed);
        }
        let me = self.me()?;
        self.upper.call_once(|| dentry.clone());
        let _ = self.fs.inodes.enter(dentry.inode(), me);
        Ok(true)
    }
}

impl Shared {
    /// An empty file on the upper layer, where users do not see it.
    fn new_file(&self, layer: &Upper, attr: &NewAttr) -> Result<Copy> {
        match layer.work.inode().make_unnamed(attr) {
            Ok(inode) => Ok(Copy { dentry: Dentry::unnamed(inode, &layer.work, b"#"), temporary: None }),
            Err(EOPNOTSUPP) => {
                let name = self.temporary();
                let dentry = layer.work.make(&name, NewNode::File, attr, &self.dentries)?;
                Ok(Copy { dentry, temporary: Some(name) })
            }
            Err(error) => Err(error),
        }
    }

    /// Throws a copy away.
    fn discard(&self, layer: &Upper, copy: &Copy) {
        if let Some(name) = &copy.temporary {
            // What cannot be removed is removed with the work directory.
            let _ = layer.work.remove(name, &copy.dentry, &self.dentries);
        }
    }

    /// Copies the first `len` bytes; holes stay holes.
    fn copy_data(&self, from: &OpenFile, to: &OpenFile, len: u64) -> Result<()> {
        let source = Op { file: from, caller: &self.mounter };
        let target = Op { file: to, caller: &self.mounter };
        let find = |at: u64, whence| -> Result<u64> {
            let at = i64::try_from(at).map_err(|_| ENXIO)?;
            source.file.ops.seek(source, at, whence)
        };
        let mut at = 0;
        while at < len {
            // Files that do not know of holes have none.
            at = match find(at, Whence::Data) {
                Ok(data) => data,
                Err(ENXIO) => break,
                Err(_) => at,
            };
            let end = find(at, Whence::Hole).unwrap_or(len).min(len);
            while at < end {
                let wish = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                let mut piece = VecSink::new(wish);
                if from.ops.read_at(source, at, &mut piece)? == 0 {
                    return Err(EIO);
                }
                let mut rest = piece.bytes.as_slice();
                while !rest.is_empty() {
                    let written = to.ops.write_at(target, at, &mut SliceSource(rest))?;
                    if written == 0 {
                        return Err(ENOSPC);
                    }
                    at += written as u64;
                    rest = rest.get(written..).unwrap_or_default();
                }
            }
        }
        if to.inode.metadata().size < len {
            to.inode.set_attr(&SetAttr { size: Some(len), ..SetAttr::default() })?;
        }
        Ok(())
    }

    /// Copies extended attributes but for the marks of a layer. What the upper layer has no room for in its kind of
    /// attributes, such as those of security, is lost as on Linux.
    fn copy_xattrs(&self, from: &Arc<dyn Inode>, to: &Arc<dyn Inode>) -> Result<()> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        from.list_xattrs(&mut |name| names.push(name.to_vec()))?;
        for name in names.iter().filter(|name| !self.is_mark(name)) {
            let value = from.get_xattr(name)?;
            match to.set_xattr(name, &value, XattrMode::Any) {
                Err(EOPNOTSUPP) => {}
                result => result?,
            }
        }
        Ok(())
    }
}

fn attr_of(meta: &Metadata) -> NewAttr {
    NewAttr { mode: meta.mode & MODE_BITS, uid: meta.uid, gid: meta.gid }
}

/// Sets access and change time to those in `meta`.
fn set_times(inode: &Arc<dyn Inode>, meta: &Metadata) -> Result<()> {
    let (atime, mtime) = (Some(SetTime::To(meta.atime)), Some(SetTime::To(meta.mtime)));
    inode.set_attr(&SetAttr { atime, mtime, ..SetAttr::default() })
}
