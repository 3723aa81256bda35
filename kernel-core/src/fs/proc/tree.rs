//! The parts of `/proc` and `/sys` that are always there, as tables.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{ENOENT, Result};
use crate::fs::made::{MadeDir, Make};
use crate::fs::proc::{FactFs, Facts};
use crate::fs::pseudo::{Body, Listed, Listing, Node};
use crate::vfs::caller::Caller;
use crate::vfs::inode::{FileKind, Inode, LinkTarget};

/// Makes a file's text.
pub type Read = fn(&Facts, &dyn Caller) -> Result<Vec<u8>>;
/// Takes what was written to a file.
pub type Write = fn(&Facts, &dyn Caller, &[u8]) -> Result<()>;

/// An entry of a table.
pub enum Item {
    /// A file that can be read.
    File(&'static str, Read),
    /// A file that only the superuser can read.
    Private(&'static str, Read),
    /// A file that the superuser can write.
    Setting(&'static str, Read, Write),
    /// A setting that is what it is: only this can be written to it.
    Fixed(&'static str, &'static str),
    /// A file that everybody can write; what comes of it is decided then.
    Free(&'static str, Read, Write),
    /// A directory.
    Dir(&'static str, &'static [Item]),
    /// A symbolic link.
    Link(&'static str, &'static str),
    /// A directory whose entries come and go.
    Made(&'static str, fn(&Facts) -> Make),
}

impl Item {
    fn name(&self) -> &'static str {
        match self {
            Item::File(name, _)
            | Item::Private(name, _)
            | Item::Setting(name, ..)
            | Item::Free(name, ..)
            | Item::Fixed(name, _)
            | Item::Made(name, _)
            | Item::Dir(name, _)
            | Item::Link(name, _) => name,
        }
    }

    fn kind(&self) -> FileKind {
        match self {
            Item::Dir(..) | Item::Made(..) => FileKind::Directory,
            Item::Link(..) => FileKind::Symlink,
            _ => FileKind::Regular,
        }
    }

    fn node(&'static self, fs: &FactFs, ino: u64) -> Arc<dyn Inode> {
        let text = |read: Read, write: Option<Write>| {
            let (reads, writes) = (fs.facts.clone(), fs.facts.clone());
            Body::Text {
                read: Box::new(move |caller| read(&reads, caller)),
                write: write.map(|write| -> crate::fs::pseudo::WriteText {
                    Box::new(move |caller, _, bytes| write(&writes, caller, bytes))
                }),
            }
        };
        let (mode, body) = match *self {
            Item::File(_, read) => (0o444, text(read, None)),
            Item::Private(_, read) => (0o400, text(read, None)),
            Item::Setting(_, read, write) => (0o644, text(read, Some(write))),
            Item::Free(_, read, write) => (0o666, text(read, Some(write))),
            Item::Fixed(_, value) => {
                let read = Box::new(move |_: &dyn Caller| Ok(value.as_bytes().to_vec()));
                let write: crate::fs::pseudo::WriteText =
                    Box::new(move |_, _, bytes| super::sysctl::keep(value, bytes));
                (0o644, Body::Text { read, write: Some(write) })
            }
            Item::Dir(_, items) => (0o555, Body::Directory(Arc::new(StaticDir::new(fs, items, ino)))),
            Item::Made(_, make) => {
                (0o555, Body::Directory(Arc::new(MadeDir::new(fs, ino, make(&fs.facts))) as Arc<dyn Listing>))
            }
            Item::Link(_, target) => {
                (0o777, Body::Link(Box::new(|_| Ok(LinkTarget::Text(target.as_bytes().to_vec())))))
            }
        };
        Node::new(fs.attr(ino, mode), body)
    }
}

/// A directory of a table.
pub struct StaticDir {
    fs: FactFs,
    items: &'static [Item],
    ino: u64,
}

impl StaticDir {
    /// The directory with number `ino`.
    pub fn new(fs: &FactFs, items: &'static [Item], ino: u64) -> StaticDir {
        StaticDir { fs: fs.clone(), items, ino }
    }
}

impl Listing for StaticDir {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let item = self.items.iter().find(|item| item.name().as_bytes() == name).ok_or(ENOENT)?;
        Ok(item.node(&self.fs, ino(self.ino, name)))
    }

    fn list(&self, _: &dyn Caller) -> Vec<Listed> {
        let listed = |(key, item): (usize, &Item)| Listed {
            key: key as u64,
            ino: ino(self.ino, item.name().as_bytes()),
            kind: item.kind(),
            name: item.name().as_bytes().to_vec(),
        };
        self.items.iter().enumerate().map(listed).collect()
    }

    fn is_stable(&self) -> bool {
        true
    }
}

/// The inode number of an entry: always the same, and unlike those of others (FNV-1a, above the numbers of processes).
pub fn ino(parent: u64, name: &[u8]) -> u64 {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325 ^ parent, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 16 | 1 << 47
}
