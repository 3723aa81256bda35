//! What is kept of dentries that nobody uses.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::Dentry;
use crate::sync::Mutex;
use crate::vfs::notify::Notify;

/// How many dentries are kept that nobody uses.
const KEPT: usize = 8192;

/// Keeps recently used dentries alive, so that the next walk finds them; and orders renames.
#[derive(Default)]
pub struct DentryCache {
    recent: Mutex<Recent>,
    pub(super) rename: Mutex<()>,
    /// Who wants to hear of changes of names.
    pub notify: Arc<Notify>,
}

/// The dentries that are kept, each at the place its [`Dentry::slot`] says.
#[derive(Default)]
struct Recent {
    slots: Vec<Option<Arc<Dentry>>>,
    free: Vec<usize>,
    /// Where the search for one to forget goes on.
    hand: usize,
}

impl DentryCache {
    /// Remembers a new dentry, and forgets an old one if there are too many (second chance for those used since).
    pub(super) fn keep(&self, dentry: Arc<Dentry>) {
        let mut recent = self.recent.lock();
        let slot = recent.choose();
        dentry.slot.store(slot, Ordering::Relaxed);
        let gone = recent.slots.get_mut(slot).and_then(|place| place.replace(dentry.clone()));
        drop(recent);
        drop(gone);
        // It may have lost its name before it came here.
        if dentry.is_deleted() {
            self.forget_one(&dentry);
        }
    }

    /// Forgets a dentry whose name is gone, so that what it names can go too.
    pub(super) fn forget_one(&self, dentry: &Arc<Dentry>) {
        let slot = dentry.slot.load(Ordering::Relaxed);
        let mut recent = self.recent.lock();
        let gone =
            recent.slots.get_mut(slot).and_then(|place| place.take_if(|kept| Arc::ptr_eq(kept, dentry)));
        if gone.is_some() {
            recent.free.push(slot);
        }
        drop(recent);
        drop(gone);
    }

    /// One mount less shows something of the tree with this root. After the last, nobody finds what is kept of it.
    pub(in crate::vfs) fn hide(&self, root: &Arc<Dentry>) {
        if root.shown.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let tree = root.tree();
        self.forget(|dentry| dentry.tree() == tree);
    }

    /// Forgets dentries that `which` chooses: by itself alone, as many may be asked about, with the lock held.
    pub fn forget(&self, which: impl Fn(&Arc<Dentry>) -> bool) {
        let mut gone = Vec::new();
        let mut recent = self.recent.lock();
        for slot in 0..recent.slots.len() {
            if let Some(dentry) =
                recent.slots.get_mut(slot).and_then(|place| place.take_if(|kept| which(kept)))
            {
                recent.free.push(slot);
                gone.push(dentry);
            }
        }
        drop(recent);
        drop(gone);
    }
}

impl Recent {
    /// A slot for a new dentry: a free one, or that of one which was not used lately.
    fn choose(&mut self) -> usize {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        if self.slots.len() < KEPT {
            self.slots.push(None);
            return self.slots.len() - 1;
        }
        for _ in 0..16 {
            self.hand = (self.hand + 1) % KEPT;
            match self.slots.get(self.hand) {
                Some(Some(old)) if old.referenced.swap(false, Ordering::Relaxed) => {}
                _ => break,
            }
        }
        self.hand
    }
}
