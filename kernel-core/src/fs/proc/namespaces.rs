//! `/proc/PID/ns`: links to a task's namespaces. Source: `namespaces(7)`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::FactFs;
use super::task::{Whose, check_look, owned};
use crate::errno::{ENOENT, Result};
use crate::fs::pseudo::{Body, Listed, Listing, Node};
use crate::task::namespaces::NsKind;
use crate::vfs::caller::Caller;
use crate::vfs::inode::{FileKind, Inode, LinkTarget};

/// Inode numbers of the links: away from those of the other entries.
const NS_INO: u64 = 1 << 58;

const LINKS: &[(&str, NsKind)] =
    &[("cgroup", NsKind::Cgroup), ("mnt", NsKind::Mnt), ("user", NsKind::User), ("uts", NsKind::Uts)];

/// `/proc/PID/ns`.
pub(super) struct Links {
    pub fs: FactFs,
    pub whose: Whose,
}

impl Links {
    fn ino(&self, index: usize) -> u64 {
        NS_INO + self.whose.ino() + index as u64
    }
}

impl Listing for Links {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let index = LINKS.iter().position(|(known, _)| known.as_bytes() == name).ok_or(ENOENT)?;
        let (_, kind) = *LINKS.get(index).ok_or(ENOENT)?;
        let (fs, whose) = (self.fs.clone(), self.whose);
        let read = Box::new(move |caller: &dyn Caller| {
            let view = whose.view(&fs)?;
            check_look(&*view, caller)?;
            let namespace = view.namespace(kind).ok_or(ENOENT)?;
            let text = namespace.name();
            Ok(LinkTarget::Jump { path: namespace.path(), text })
        });
        let view = whose.view(&self.fs).map_err(|_| ENOENT)?;
        Ok(Node::new(owned(&self.fs, self.ino(index), 0o777, &*view), Body::Link(read)))
    }

    fn list(&self) -> Vec<Listed> {
        let listed = |(index, (name, _)): (usize, &(&str, NsKind))| Listed {
            key: index as u64,
            ino: self.ino(index),
            kind: FileKind::Symlink,
            name: name.as_bytes().to_vec(),
        };
        LINKS.iter().enumerate().map(listed).collect()
    }

    fn is_stable(&self) -> bool {
        false
    }
}
