//! The inodes of an overlay that are in use, by the inodes of layers that they stand for: so that a file is one inode
//! however often it is looked up.

use alloc::sync::{Arc, Weak};

use hashbrown::HashMap;

use super::inode::OverlayInode;
use crate::sync::Mutex;
use crate::vfs::inode::Inode;

/// Keys are addresses of inodes of layers, which the entries keep alive.
#[derive(Default)]
pub(super) struct Table(Mutex<HashMap<usize, Weak<OverlayInode>>>);

fn key(real: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(real).addr()
}

impl Table {
    /// The inode that stands for `real`.
    pub fn get(&self, real: &Arc<dyn Inode>) -> Option<Arc<OverlayInode>> {
        self.0.lock().get(&key(real)).and_then(Weak::upgrade)
    }

    /// Enters `new`, unless another one came first: that is given then.
    pub fn enter(&self, real: &Arc<dyn Inode>, new: Arc<OverlayInode>) -> Arc<OverlayInode> {
        let mut table = self.0.lock();
        let found = table.get(&key(real)).and_then(Weak::upgrade);
        if found.is_none() {
            table.insert(key(real), Arc::downgrade(&new));
        }
        // An inode goes away without the lock: it leaves the table then.
        drop(table);
        found.unwrap_or(new)
    }

    /// Forgets the inode that stood for `real`, if it is gone.
    pub fn leave(&self, real: &Arc<dyn Inode>) {
        let mut table = self.0.lock();
        if table.get(&key(real)).is_some_and(|found| found.strong_count() == 0) {
            table.remove(&key(real));
        }
    }
}
