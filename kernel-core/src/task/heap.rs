//! The kernel's own memory, kept within bounds.
//!
//! Descriptors, mappings, pipes, names and the like are objects of the kernel, and a guest can have many without much
//! memory of its own. Limits of each kind (`RLIMIT_NOFILE`, inodes of a tmpfs) do not bound their sum. So what the
//! kernel allocates while it serves a process is counted for that process, and when the sum is over its limit, memory is
//! short: the process with the largest share ends, as the largest does when RAM is short (`task/oom.rs`). What a process
//! leaves when it has ended is its parent's. With several vCPUs the shares are estimates; the sum is not.
//!
//! What no process holds, such as names in a file system, stays whoever ends. So there is [`Room`] for it only as long as the
//! last eighth is free.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::errno::{ENOSPC, Result};
use crate::host::Host;
use crate::kernel::Kernel;
use crate::task::Process;

/// The kernel may always grow by this much.
const LEAST_LIMIT: u64 = 32 << 20;
/// More than an ordinary process needs.
const LARGE_SHARE: u64 = 128 << 10;

/// Watches the size of the kernel's heap.
pub(crate) struct HeapWatch {
    /// The size that is too much.
    limit: AtomicU64,
    /// The size from which on nothing is made that no process holds.
    tight: AtomicU64,
    /// The size when it was last looked at.
    last: AtomicU64,
}

impl Default for HeapWatch {
    fn default() -> HeapWatch {
        HeapWatch {
            limit: AtomicU64::new(u64::MAX),
            tight: AtomicU64::new(u64::MAX),
            last: AtomicU64::new(0),
        }
    }
}

/// What a process made the kernel allocate, in bytes: less than nothing if it freed what others had allocated.
#[derive(Default)]
pub(crate) struct HeapShare(AtomicI64);

impl HeapShare {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }

    /// What a process that has ended has left is its parent's: that made it.
    pub fn inherit(&self, from: &HeapShare) {
        self.0.fetch_add(from.0.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether to end the process would help.
    pub fn is_large(&self) -> bool {
        self.bytes() >= LARGE_SHARE
    }
}

/// Whether there is room in the kernel's own memory for what no process holds.
pub struct Room(AtomicBool);

impl Default for Room {
    fn default() -> Room {
        Room(AtomicBool::new(true))
    }
}

impl Room {
    /// ENOSPC: there is none.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err(ENOSPC) }
    }

    fn set(&self, is_there: bool) {
        self.0.store(is_there, Ordering::Relaxed);
    }
}

impl<H: Host> Kernel<H> {
    /// What the heap may grow by: half the size of RAM.
    pub(crate) fn heap_growth(&self) -> u64 {
        (self.services.ram.total() / 2).max(LEAST_LIMIT)
    }

    /// From now on the heap may grow no further than that.
    pub(crate) fn limit_heap(&self) {
        let limit = self.host.heap_bytes().saturating_add(self.heap_growth());
        self.heap.limit.store(limit, Ordering::Relaxed);
        self.heap.tight.store(limit - self.heap_growth() / 8, Ordering::Relaxed);
    }

    /// What was allocated since the last look is nobody's.
    pub(crate) fn begin_heap_share(&self) {
        self.heap.last.store(self.host.heap_bytes(), Ordering::Relaxed);
    }

    /// What was allocated since the last look is the process's. Says whether that made the heap too large.
    pub(crate) fn charge_heap(&self, process: &Process<H>) -> bool {
        let now = self.host.heap_bytes();
        let before = self.heap.last.load(Ordering::Relaxed);
        if now != before {
            self.heap.last.store(now, Ordering::Relaxed);
            self.services.room.set(now < self.heap.tight.load(Ordering::Relaxed));
            process.heap.0.fetch_add(now.wrapping_sub(before).cast_signed(), Ordering::Relaxed);
        }
        now > before && now > self.heap.limit.load(Ordering::Relaxed)
    }

    /// Whether the heap is too large.
    pub(crate) fn is_heap_full(&self) -> bool {
        self.host.heap_bytes() > self.heap.limit.load(Ordering::Relaxed)
    }
}
