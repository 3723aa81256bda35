//! System V IPC: shared memory, semaphore sets and message queues. Source: `sysvipc(7)`.
//!
//! All of it belongs to an [`IpcNamespace`]. Each kind has a table of ids ([`ids::Ids`]) behind one lock, and each object
//! has a lock of its own, which is taken with or without the table's, and never before it. Nothing waits in here: calls
//! that would block give a waiter to sleep on, and whoever makes their condition true does the work for them, in the
//! order in which they came.
//!
//! Objects stay when their makers end. So what they take of the kernel's own memory is [`Held`] within a bound for all
//! namespaces together, whatever the limits of each kind.

pub mod ids;
pub mod limits;
pub mod msg;
pub mod perm;
pub mod sem;
pub mod shm;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{ENOMEM, Result};
use crate::ipc::mqueue::Mqueues;
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::namespaces::{INITIAL_IPC, New, NsCount, NsKind};
use crate::task::user_ns::UserNs;
use limits::Limits;

/// `IPC_PRIVATE`: a key that is never found.
pub const PRIVATE: i32 = 0;
/// `IPC_CREAT`.
pub const CREATE: u32 = 0o1000;
/// `IPC_EXCL`.
pub const EXCLUSIVE: u32 = 0o2000;
/// `IPC_NOWAIT`.
pub const NO_WAIT: u32 = 0o4000;

/// The System V objects and POSIX message queues that a group of processes sees.
pub struct IpcNamespace {
    /// Identifies it.
    pub ino: u64,
    /// Whose administrator may do everything with its objects.
    pub user_ns: UserNs,
    /// What can be set in `/proc/sys/kernel`.
    pub limits: Limits,
    /// Shared memory.
    pub shm: Arc<shm::Segments>,
    /// Semaphores.
    pub sem: sem::Sets,
    /// Messages.
    pub msg: msg::Queues,
    /// POSIX message queues.
    pub mqueue: Arc<Mqueues>,
    services: Arc<Services>,
    room: Arc<Room>,
    _count: Option<NsCount>,
}

impl IpcNamespace {
    /// The first one, without objects.
    pub fn initial(services: &Arc<Services>) -> Arc<IpcNamespace> {
        let limit = services.ram.total() / 16;
        let room = Arc::new(Room { limit, used: AtomicU64::new(0), queue_bytes: Mutex::default() });
        IpcNamespace::with(services, room, INITIAL_IPC, UserNs::INITIAL, None)
    }

    /// Another without objects. Those of all namespaces together have as much room as those of one.
    pub fn another(&self, new: &New<'_>) -> Result<Arc<IpcNamespace>> {
        let (ino, count) = (new.counts.next_ino(), new.count(NsKind::Ipc)?);
        Ok(IpcNamespace::with(&self.services, self.room.clone(), ino, new.user_ns.clone(), Some(count)))
    }

    fn with(
        services: &Arc<Services>,
        room: Arc<Room>,
        ino: u64,
        user_ns: UserNs,
        count: Option<NsCount>,
    ) -> Arc<IpcNamespace> {
        let ram = &services.ram;
        Arc::new(IpcNamespace {
            limits: Limits::for_ram(ram.total()),
            shm: shm::Segments::new(ram, user_ns.clone()),
            sem: sem::Sets::new(room.clone(), user_ns.clone()),
            msg: msg::Queues::new(room.clone(), user_ns.clone()),
            mqueue: Mqueues::new(services, room.clone()),
            services: services.clone(),
            room,
            ino,
            user_ns,
            _count: count,
        })
    }
}

/// Seconds since 1970.
fn now(services: &Services) -> i64 {
    (services.clock.realtime_ns() / 1_000_000_000) as i64
}

/// How much of the kernel's memory the objects of all namespaces may take.
pub struct Room {
    limit: u64,
    used: AtomicU64,
    /// Bytes of POSIX message queues by user.
    pub(super) queue_bytes: Mutex<BTreeMap<u32, u64>>,
}

impl Room {
    /// Takes `bytes` of it; ENOMEM.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Result<Held> {
        let bytes = bytes as u64;
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| ENOMEM)?;
        Ok(Held { room: self.clone(), bytes })
    }
}

/// Memory taken of a [`Room`]; given back when dropped.
pub struct Held {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
