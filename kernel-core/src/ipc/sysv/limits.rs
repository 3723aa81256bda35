//! The limits in `/proc/sys/kernel`. Sources: `shmget(2)`, `semget(2)`, `msgget(2)`, `proc_sys_kernel(5)`.

use core::sync::atomic::{AtomicI32, Ordering};

use crate::errno::{EINVAL, Result};
use crate::ipc::limit::Limit;
use crate::ipc::sysv::ids;

/// Largest value of a semaphore, and of what is undone (`SEMVMX`, `SEMAEM`).
pub const SEM_MAX: i32 = 32767;

/// All limits of a namespace.
pub struct Limits {
    /// Most bytes of a segment.
    pub shm_max: Limit,
    /// Most pages of all segments.
    pub shm_all: Limit,
    /// Most segments.
    pub shm_segments: Limit,
    /// Most semaphores of a set, semaphores in all, operations of a call, sets.
    pub sem: [Limit; 4],
    /// Most bytes of a message.
    pub msg_max: Limit,
    /// Most bytes of a queue, unless a privileged process sets another limit for it.
    pub msg_queue_bytes: Limit,
    /// Most queues.
    pub msg_queues: Limit,
    /// The ids of the next segment, set of semaphores and queue.
    pub next: [NextId; 3],
}

/// What id the next object shall have, for who restores objects; -1 if it does not matter.
pub struct NextId(AtomicI32);

impl NextId {
    /// Nothing is asked for.
    pub fn any() -> NextId {
        NextId(AtomicI32::new(-1))
    }

    /// What was asked for.
    pub fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks for an id: EINVAL.
    pub fn set(&self, id: i32) -> Result<()> {
        if id < 0 {
            return Err(EINVAL);
        }
        self.0.store(id, Ordering::Relaxed);
        Ok(())
    }

    /// What was asked for is given.
    pub fn take(&self) -> Option<i32> {
        let asked = self.get() >= 0;
        asked.then(|| self.0.swap(-1, Ordering::Relaxed)).filter(|id| *id >= 0)
    }
}

impl Limits {
    /// Linux's values.
    pub fn for_ram(ram: u64) -> Limits {
        let int = i32::MAX as u64;
        let ids = u64::from(ids::MAX);
        let queue_bytes = 16384;
        Limits {
            shm_max: Limit::new(u64::MAX - (1 << 24), u64::MAX),
            shm_all: Limit::new(u64::MAX - (1 << 24), u64::MAX),
            shm_segments: Limit::new(4096, ids),
            sem: [
                Limit::new(32000, 65535),
                Limit::new(1_024_000_000, int),
                Limit::new(500, 65535),
                Limit::new(32000, ids),
            ],
            msg_max: Limit::new(8192, int),
            msg_queue_bytes: Limit::new(queue_bytes, int),
            // A queue for each 32 times what it holds.
            msg_queues: Limit::new((ram / 32 / queue_bytes).clamp(16, 32000), ids),
            next: core::array::from_fn(|_| NextId::any()),
        }
    }
}
