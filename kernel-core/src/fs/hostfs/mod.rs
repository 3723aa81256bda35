//! hostfs: a directory of the host's as a file system.
//!
//! The host gives its tree as [`tree::Node`]s, name by name; paths, symbolic links and permissions are the guest's walk's, as for
//! any file system. Bytes of files go through a [`crate::mm::cache::PageCache`]; what is written with `write(2)` gets to the
//! host before the call returns.
//!
//! Others may change the tree. What was learned of a node is trusted for [`TRUSTED_NS`]; then the host is asked again, and if
//! times or size of a file are others, its pages are forgotten, if those of a directory, its names are looked up again.
//!
//! What a guest sets and the host's user cannot (owners, set-id bits, device nodes) is kept beside the file ([`attr`]).
//!
//! It cannot be mounted by a guest: whoever starts the instance says which trees there are.

mod attr;
mod file;
mod inode;
mod place;

use alloc::string::String;
use alloc::sync::{Arc, Weak};

use hashbrown::HashMap;

use crate::errno::Result;
use crate::fs::hostfs::attr::Shadow;
use crate::fs::hostfs::inode::HostInode;
use crate::host::tree;
use crate::services::Services;
use crate::sync::Mutex;
use crate::vfs::inode::{Device, Inode};
use crate::vfs::mount::FileSystem;

/// For so long it is believed that nobody else has changed a node.
const TRUSTED_NS: u64 = 100_000_000;

/// Names a node: file system, number, and when it was made, as numbers are used again.
type Key = (u64, u64, tree::Time);

/// What all inodes know.
struct Shared {
    services: Arc<Services>,
    device: Device,
    /// The file system of the root.
    root_dev: u64,
    inodes: Mutex<HashMap<Key, Weak<HostInode>>>,
    shadow: Mutex<Shadow>,
}

/// A tree of the host's.
pub struct HostFs {
    shared: Arc<Shared>,
    root: Arc<HostInode>,
}

impl HostFs {
    /// The tree below `node`, as device `device`. What the host says, if it cannot be used.
    pub fn new(services: &Arc<Services>, node: Arc<dyn tree::Node>, device: Device) -> Result<Arc<HostFs>> {
        let attr = node.attr()?;
        let shared = Arc::new(Shared {
            services: services.clone(),
            device,
            root_dev: attr.dev,
            inodes: Mutex::default(),
            shadow: Mutex::default(),
        });
        let root = shared.inode(node, attr);
        Ok(Arc::new(HostFs { shared, root }))
    }
}

impl Shared {
    /// The inode of a node: the same for all its names, as long as somebody uses it.
    fn inode(self: &Arc<Shared>, node: Arc<dyn tree::Node>, attr: tree::Attr) -> Arc<HostInode> {
        let key = (attr.dev, attr.ino, attr.btime);
        let known = self.known(&key);
        if let Some(known) = known {
            known.found(node, attr);
            return known;
        }
        let made = HostInode::new(self, key, node, attr);
        let mut inodes = self.inodes.lock();
        // Somebody may have been faster.
        let first = inodes.get(&key).and_then(Weak::upgrade);
        if first.is_none() {
            inodes.insert(key, Arc::downgrade(&made));
        }
        drop(inodes);
        first.unwrap_or(made)
    }

    fn known(&self, key: &Key) -> Option<Arc<HostInode>> {
        self.inodes.lock().get(key).and_then(Weak::upgrade)
    }

    fn forget(&self, key: &Key) {
        let mut inodes = self.inodes.lock();
        if inodes.get(key).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(key);
        }
    }

    /// The number that guests see.
    fn ino(&self, attr: &tree::Attr) -> u64 {
        // Another file system of the host's may have the same numbers.
        if attr.dev == self.root_dev {
            attr.ino
        } else {
            attr.ino ^ attr.dev.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }
    }
}

impl FileSystem for HostFs {
    fn name(&self) -> &'static str {
        "hostfs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.shared.device
    }

    fn options(&self) -> String {
        String::new()
    }

    fn sync(&self) -> Result<()> {
        let inodes: alloc::vec::Vec<Arc<HostInode>> =
            self.shared.inodes.lock().values().filter_map(Weak::upgrade).collect();
        inodes.iter().map(|inode| inode.write_back()).fold(Ok(()), Result::and)
    }
}
