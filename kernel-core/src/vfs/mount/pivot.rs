//! `pivot_root(2)`.

use alloc::sync::Arc;

use super::Locks;
use super::table::Namespace;
use crate::errno::{EBUSY, EINVAL, ENOENT, Result};
use crate::vfs::path::{Path, path_of};

impl Namespace {
    /// The mount at `new` comes to where the mount of `root`, the caller's root directory, is; that one comes to `put_old`
    /// at or below `new`. Errors as `pivot_root(2)` has them. The root of a namespace may be moved away too: Linux has an
    /// invisible root below it.
    pub fn pivot_root(&self, root: &Path, new: &Path, put_old: &Path) -> Result<()> {
        let _peers = self.table.lock();
        let put_old = self.cross(put_old.clone());
        let shared = |mount: &Arc<super::Mount>| mount.sharing().group.is_some();
        if shared(&put_old.mount)
            || new.mount.parent().is_some_and(|parent| shared(&parent))
            || root.mount.parent().is_some_and(|parent| shared(&parent))
            || ![root, new, &put_old].iter().all(|path| path.mount.is_in(self))
            || new.mount.locks().contains(Locks::PLACE)
        {
            return Err(EINVAL);
        }
        if new.dentry.is_deleted() {
            return Err(ENOENT);
        }
        if Arc::ptr_eq(&new.mount, &root.mount) || Arc::ptr_eq(&put_old.mount, &root.mount) {
            return Err(EBUSY);
        }
        let below = |path: &Path, above: &Path| path_of(path, above).below_root;
        if !root.is_mount_root() || !new.is_mount_root() || !below(&put_old, new) || !below(new, root) {
            return Err(EINVAL);
        }
        let Some(place_of_new) = self.table.take(&new.mount) else { return Err(EINVAL) };
        let place_of_root = self.table.take(&root.mount);
        if root.mount.locks().contains(Locks::PLACE) {
            new.mount.set_locks(new.mount.locks() | Locks::PLACE);
            root.mount.set_locks(root.mount.locks() - Locks::PLACE);
        }
        match &place_of_root {
            Some(place) => self.table.put(&new.mount, place.clone()),
            None => {
                let _old = self.root.lock().replace(new.mount.clone());
            }
        }
        self.table.put(&root.mount, put_old);
        new.mount.expiring.store(0, core::sync::atomic::Ordering::Relaxed);
        self.note_change();
        drop((place_of_new, place_of_root));
        Ok(())
    }
}
