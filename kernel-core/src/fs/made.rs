//! Directories of `/proc` and `/sys` whose entries come and go: what is in them is made when it is looked at.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{ENOENT, Result};
use crate::fs::proc::FactFs;
use crate::fs::proc::tree;
use crate::fs::pseudo::{Body, Listed, Listing, Node};
use crate::vfs::caller::Caller;
use crate::vfs::inode::{FileKind, Inode, LinkTarget};

/// What an entry is.
pub enum Made {
    /// A file with this text.
    Text(String),
    /// A symbolic link to this target.
    Link(String),
    /// A directory.
    Directory(Make),
}

/// Makes the entries of a directory.
pub type Make = Box<dyn Fn() -> Vec<(String, Made)> + Send + Sync>;

/// A directory whose entries are made when it is looked at.
pub struct MadeDir {
    fs: FactFs,
    ino: u64,
    make: Make,
}

impl MadeDir {
    /// The directory with number `ino`.
    pub fn new(fs: &FactFs, ino: u64, make: Make) -> MadeDir {
        MadeDir { fs: fs.clone(), ino, make }
    }
}

impl Listing for MadeDir {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = (self.make)().into_iter().find(|(known, _)| known.as_bytes() == name);
        let ino = tree::ino(self.ino, name);
        let (mode, body) = match found.ok_or(ENOENT)?.1 {
            Made::Text(text) => {
                (0o444, Body::Text { read: Box::new(move |_| Ok(text.clone().into_bytes())), write: None })
            }
            Made::Link(target) => {
                (0o777, Body::Link(Box::new(move |_| Ok(LinkTarget::Text(target.clone().into_bytes())))))
            }
            Made::Directory(make) => {
                (0o555, Body::Directory(Arc::new(MadeDir::new(&self.fs, ino, make)) as Arc<dyn Listing>))
            }
        };
        Ok(Node::new(self.fs.attr(ino, mode), body))
    }

    fn list(&self, _: &dyn Caller) -> Vec<Listed> {
        let listed = |(key, (name, made)): (u64, (String, Made))| Listed {
            key,
            ino: tree::ino(self.ino, name.as_bytes()),
            kind: match made {
                Made::Text(_) => FileKind::Regular,
                Made::Link(_) => FileKind::Symlink,
                Made::Directory(_) => FileKind::Directory,
            },
            name: name.into_bytes(),
        };
        (0..).zip((self.make)()).map(listed).collect()
    }

    fn is_stable(&self) -> bool {
        false
    }
}
