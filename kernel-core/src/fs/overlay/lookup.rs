//! What a name means: which layers have it, and what hides what.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inode::OverlayInode;
use super::{Shared, Upper};
use crate::errno::{ENOENT, EPERM, Result};
use crate::vfs::dentry::Dentry;
use crate::vfs::inode::{FileKind, Inode, XattrMode};

/// A file or directory of a lower layer.
#[derive(Clone)]
pub(super) struct Lower {
    pub inode: Arc<dyn Inode>,
    /// Of a directory: it may hold whiteouts that are files with an attribute.
    has_file_whiteouts: bool,
    /// Of a directory: nothing of layers below shows in it.
    is_opaque: bool,
}

/// What a name stands for in the layers.
pub(super) struct Stack {
    /// In the upper layer.
    pub upper: Option<Arc<Dentry>>,
    /// In lower layers, topmost first: the directories that are merged, or one file.
    pub lowers: Vec<Lower>,
}

impl Stack {
    /// What decides of attributes.
    pub fn top(&self) -> Option<&Arc<dyn Inode>> {
        match &self.upper {
            Some(upper) => Some(upper.inode()),
            None => self.lowers.first().map(|lower| &lower.inode),
        }
    }
}

/// What of lower layers is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// Nothing is above: a file will do.
    Nothing,
    /// A directory is above: only directories can be merged with it.
    Directory,
}

/// A character device 0:0, which nobody else can make in an overlay.
pub(super) fn is_whiteout(inode: &dyn Inode) -> bool {
    inode.kind() == FileKind::Char && inode.metadata().rdev.raw() == 0
}

impl Lower {
    pub fn new(fs: &Shared, inode: Arc<dyn Inode>) -> Lower {
        let is_dir = inode.kind() == FileKind::Directory;
        let mark = if is_dir { fs.mark(&*inode, "opaque") } else { None };
        let is = |value: &[u8]| mark.as_deref() == Some(value);
        Lower { has_file_whiteouts: is(b"x"), is_opaque: is(b"y"), inode }
    }

    /// Whether entries that are regular files may be whiteouts.
    pub fn may_hide_by_files(&self) -> bool {
        self.has_file_whiteouts
    }

    /// Whether an entry of this directory is a whiteout.
    pub fn is_whiteout(&self, fs: &Shared, entry: &dyn Inode) -> bool {
        is_whiteout(entry)
            || self.has_file_whiteouts
                && entry.kind() == FileKind::Regular
                && entry.metadata().size == 0
                && fs.mark(entry, "whiteout").is_some()
    }
}

impl Shared {
    /// The name of the attribute that marks inodes of layers as `what`.
    pub(super) fn mark_name(&self, what: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), b"overlay.", what.as_bytes()].concat()
    }

    /// The value of a mark.
    pub(super) fn mark(&self, inode: &dyn Inode, what: &str) -> Option<Vec<u8>> {
        inode.get_xattr(&self.mark_name(what)).ok()
    }

    /// Sets a mark.
    pub(super) fn set_mark(&self, inode: &dyn Inode, what: &str, value: &[u8]) -> Result<()> {
        inode.set_xattr(&self.mark_name(what), value, XattrMode::Any)
    }

    /// Whether an attribute is one of ours, which users do not see.
    pub(super) fn is_mark(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix.as_bytes()).is_some_and(|rest| rest.starts_with(b"overlay."))
    }

    fn is_opaque(&self, dir: &dyn Inode) -> bool {
        self.mark(dir, "opaque").as_deref() == Some(b"y")
    }

    /// Makes a whiteout in the work directory.
    pub(super) fn make_whiteout(&self, upper: &Upper) -> Result<(Vec<u8>, Arc<Dentry>)> {
        let name = self.temporary();
        let what = crate::vfs::inode::NewNode::Char(crate::vfs::inode::Device::default());
        let attr = crate::vfs::inode::NewAttr { mode: 0, uid: 0, gid: 0 };
        let made = upper.work.make(&name, what, &attr, &self.dentries)?;
        Ok((name, made))
    }
}

impl OverlayInode {
    /// What the entry `name` of this directory stands for; ENOENT. EPERM for a directory that was renamed with
    /// `redirect_dir=on`, as Linux without it has it.
    pub(super) fn resolve(&self, name: &[u8]) -> Result<Stack> {
        let found = match self.upper() {
            Some(dir) => match dir.child(name, &self.fs.dentries) {
                Ok(found) => Some(found),
                Err(ENOENT) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        let Some(upper) = found else {
            let lowers = self.lower_entries(name, Below::Nothing)?;
            return if lowers.is_empty() { Err(ENOENT) } else { Ok(Stack { upper: None, lowers }) };
        };
        let inode = upper.inode();
        if is_whiteout(&**inode) {
            return Err(ENOENT);
        }
        if upper.kind() != FileKind::Directory || self.fs.is_opaque(&**inode) {
            return Ok(Stack { upper: Some(upper), lowers: Vec::new() });
        }
        if self.fs.mark(&**inode, "redirect").is_some() {
            return Err(EPERM);
        }
        let lowers = self.lower_entries(name, Below::Directory)?;
        Ok(Stack { upper: Some(upper), lowers })
    }

    /// What lower layers have of `name`: a file, directories to be merged, or nothing.
    pub(super) fn lower_entries(&self, name: &[u8], below: Below) -> Result<Vec<Lower>> {
        let mut found: Vec<Lower> = Vec::new();
        for dir in &self.lowers {
            let inode = match dir.inode.lookup(name) {
                Ok(inode) => inode,
                Err(ENOENT) => continue,
                Err(error) => return Err(error),
            };
            if dir.is_whiteout(&self.fs, &*inode) {
                break;
            }
            let is_dir = inode.kind() == FileKind::Directory;
            if !is_dir && (below == Below::Directory || !found.is_empty()) {
                break;
            }
            let lower = Lower::new(&self.fs, inode);
            let last = !is_dir || lower.is_opaque;
            found.push(lower);
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// Whether lower layers would show something as `name` if the upper one had nothing.
    pub(super) fn is_covered(&self, name: &[u8]) -> Result<bool> {
        Ok(!self.lower_entries(name, Below::Nothing)?.is_empty())
    }
}
