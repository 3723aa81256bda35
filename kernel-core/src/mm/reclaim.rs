//! Which pages of files go when RAM is short: those that a store has too, the longest unused first.
//!
//! The caches over a [`crate::mm::cache::Store`] are looked at in chunks, by the clock algorithm: a ring of chunks, each
//! with a mark in its cache that says that it was used since it was looked at last. What is marked loses the mark and
//! goes round once more; of the rest go the pages that are clean and that nobody maps. So a use costs setting a flag, and
//! what is read once goes before what is read again and again.
//!
//! [`Ram::reclaim`] never waits, for a lock or for a store, and may be called with any lock held: RAM calls it itself
//! before it says that it is used up. [`Ram::evict`] goes further: it writes dirty pages back and takes mapped ones away.
//!
//! Writing back enters file systems, which whoever asks for RAM may have locked: one whose disk is in RAM, or is a file (a loop
//! device). Who looks after such a disk enters only file systems that are on no loop device ([`Reach::Ground`]), and none that is
//! locked. What is on a loop device is locked before what its file is in, never after it; so nobody waits for himself.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::mm::cache::PageCache;
use crate::mm::ram::Ram;
use crate::sync::Mutex;

/// The unit of the ring, in bytes of a file.
pub(super) const CHUNK: u64 = 1 << 20;

/// As much is given back at least, if there is as much: to look is dear.
const LEAST: u64 = 2 << 20;

/// A ring with so many chunks more than there are pages is swept of those that are empty.
const SLACK: u64 = 4096;

/// Which stores may be written to for RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All.
    All,
    /// Those that are on no loop device.
    Ground,
}

impl Reach {
    fn has(self, cache: &PageCache) -> bool {
        self == Reach::All || cache.levels() == 0
    }
}

/// What is left of a chunk.
pub(super) enum Chunk {
    /// Nothing; it leaves the ring. So many bytes of it just went.
    Empty(u64),
    /// Something; it goes round. So many bytes of it just went.
    Kept(u64),
}

/// The caches over stores, for [`Ram`].
#[derive(Default)]
pub struct Caches {
    ring: Mutex<VecDeque<(Weak<PageCache>, u64)>>,
    /// Bytes in these caches.
    cached: AtomicU64,
    /// Bytes of them that their stores do not have yet.
    dirty: AtomicU64,
}

impl Caches {
    /// A chunk got its first page.
    pub(super) fn add(&self, cache: Weak<PageCache>, chunk: u64) {
        self.ring.lock().push_back((cache, chunk));
    }

    /// Counts pages that came and went, and pages that became dirty and clean, in bytes.
    pub(super) fn count(&self, cached: (u64, u64), dirty: (u64, u64)) {
        // Wrapping: what is added for one page is what is taken off later.
        self.cached.fetch_add(cached.0.wrapping_sub(cached.1), Ordering::Relaxed);
        self.dirty.fetch_add(dirty.0.wrapping_sub(dirty.1), Ordering::Relaxed);
    }
}

impl Ram {
    /// Bytes of files in RAM that could be read again (`Cached`).
    pub fn cached(&self) -> u64 {
        self.caches.cached.load(Ordering::Relaxed)
    }

    /// Bytes of files that are yet to be written to their stores (`Dirty`).
    pub fn unwritten(&self) -> u64 {
        self.caches.dirty.load(Ordering::Relaxed)
    }

    /// Gives back about `bytes` of clean, unmapped file pages, and says how many it were. Waits for nothing.
    pub fn reclaim(&self, bytes: u64) -> u64 {
        self.go_round(bytes, 2, PageCache::reclaim)
    }

    /// Gives back about `bytes` of file pages, dirty and mapped ones too, and says how many it were. Writes to stores and
    /// tells address spaces, so no lock of one and none to the right of it may be held.
    pub fn evict(&self, bytes: u64, reach: Reach) -> u64 {
        let freed = self.reclaim(bytes);
        if freed >= bytes {
            return freed;
        }
        freed
            + self.go_round(bytes - freed, 1, |ram, cache, chunk| {
                if reach.has(cache) { PageCache::evict(ram, cache, chunk) } else { Chunk::Kept(0) }
            })
    }

    /// Before `bytes` are committed for a file's pages: keeps some RAM free, so that nobody has to wait for it. For
    /// callers with no cache locked.
    pub(super) fn make_room(&self, bytes: u64) {
        let keep = bytes.saturating_add(self.total() / 64);
        let free = self.free();
        if free < keep {
            self.reclaim(keep - free);
        }
        let pages = self.cached() / crate::host::PAGE_SIZE;
        if self.caches.ring.lock().len() as u64 > pages.saturating_add(SLACK) {
            self.go_round(0, 1, |_, cache, chunk| cache.look_at(chunk));
        }
    }

    /// Whether so much is dirty that writers have to help: an eighth of RAM.
    pub fn is_too_dirty(&self) -> bool {
        self.unwritten() > self.total() / 8
    }

    /// Writes dirty pages back until less than a sixteenth of RAM is dirty. Locks as for [`Ram::evict`].
    pub fn write_some_back(&self, reach: Reach) {
        self.write_back_while(|ram, cache| ram.unwritten() > ram.total() / 16 && reach.has(cache));
    }

    /// Writes all dirty pages back, as far as that can be. Locks as for [`Ram::evict`].
    pub fn write_all_back(&self) {
        if self.unwritten() > 0 {
            // None is left out: somebody may be writing one just now.
            self.write_back_while(|_, _| true);
        }
    }

    fn write_back_while(&self, wanted: impl Fn(&Ram, &PageCache) -> bool) {
        self.go_round(0, 1, |ram, cache, _| {
            if wanted(ram, cache) {
                // Whoever syncs the file is told what failed.
                let _ = cache.write_back(0..u64::MAX);
            }
            Chunk::Kept(0)
        });
    }

    /// Calls `look` with chunk after chunk, each at most `rounds` times, until enough bytes are free (0: with all).
    fn go_round(&self, bytes: u64, rounds: usize, look: impl Fn(&Ram, &PageCache, u64) -> Chunk) -> u64 {
        let mut left = self.caches.ring.lock().len() * rounds;
        let mut freed = 0;
        while left > 0 && (bytes == 0 || freed < bytes.max(LEAST)) {
            left -= 1;
            let Some((cache, chunk)) = self.caches.ring.lock().pop_front() else { break };
            let Some(cache) = cache.upgrade() else { continue };
            match look(self, &cache, chunk) {
                Chunk::Empty(bytes) => freed += bytes,
                Chunk::Kept(bytes) => {
                    freed += bytes;
                    self.caches.add(Arc::downgrade(&cache), chunk);
                }
            }
        }
        freed
    }
}
