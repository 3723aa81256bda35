//! What is in an inbox, and who pays for it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::ipc::unix::address::Address;
use crate::ipc::unix::rights::Rights;
use crate::sched::wait::{Events, WaitQueue};

/// What a message costs besides its bytes.
const OVERHEAD: usize = 512;
/// `SO_SNDBUF` of a new socket (`/proc/sys/net/core/wmem_default`).
pub const DEFAULT_BUFFER: usize = 212_992;

/// Who sent a message or is at the other end: `struct ucred`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What a socket has under way, and its wait queue. Messages refer to it, and it to nothing.
pub struct Outlet {
    /// The socket's wait queue.
    pub queue: WaitQueue,
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Outlet {
    /// Nothing under way.
    pub fn new() -> Arc<Outlet> {
        let (used, limit) = (AtomicUsize::new(0), AtomicUsize::new(DEFAULT_BUFFER));
        Arc::new(Outlet { queue: WaitQueue::new(), used, limit })
    }

    /// `SO_SNDBUF`.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets `SO_SNDBUF`.
    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
        self.queue.wake(Events::OUT | Events::WRNORM);
    }

    /// Bytes under way.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Whether one more message may be sent.
    pub fn has_room(&self) -> bool {
        self.used.load(Ordering::SeqCst) < self.limit()
    }

    /// What poll goes by: as in Linux, three quarters must be free, so that who waits can then send a good deal.
    pub fn is_writable(&self) -> bool {
        self.is_mostly_free(self.used.load(Ordering::SeqCst))
    }

    fn is_mostly_free(&self, used: usize) -> bool {
        used.saturating_mul(4) <= self.limit()
    }
}

/// A message's share of its sender's buffer.
struct Charge {
    outlet: Arc<Outlet>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let before = self.outlet.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if !self.outlet.is_mostly_free(before) && self.outlet.is_mostly_free(before - self.bytes) {
            self.outlet.queue.wake(Events::OUT | Events::WRNORM | Events::WRBAND);
        }
    }
}

/// Bytes under way, with what comes with them.
pub struct Message {
    /// What is left of the bytes starts at `start`.
    pub data: Vec<u8>,
    /// Bytes of `data` that were received.
    pub start: usize,
    /// Descriptors.
    pub rights: Option<Rights>,
    /// The sender.
    pub credentials: Credentials,
    /// The sender's name.
    pub from: Address,
    _charge: Charge,
}

impl Message {
    /// A message paid for by `outlet`.
    pub fn new(
        data: Vec<u8>,
        rights: Option<Rights>,
        credentials: Credentials,
        from: Address,
        outlet: &Arc<Outlet>,
    ) -> Message {
        let bytes = data.len() + OVERHEAD;
        outlet.used.fetch_add(bytes, Ordering::SeqCst);
        let charge = Charge { outlet: outlet.clone(), bytes };
        Message { data, start: 0, rights, credentials, from, _charge: charge }
    }

    /// The bytes that were not received yet.
    pub fn rest(&self) -> &[u8] {
        self.data.get(self.start..).unwrap_or(&[])
    }
}
