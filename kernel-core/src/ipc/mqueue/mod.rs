//! POSIX message queues. Source: `mq_overview(7)`.
//!
//! A queue ([`queue::Queue`]) is a file of a small file system ([`fs`]) that each IPC namespace has once, mounted or not;
//! `mq_open` looks into its only directory. Descriptors of queues are open files of it.

pub mod fs;
pub mod queue;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{EINVAL, EMFILE, ENOSPC, EOVERFLOW, Result};
use crate::ipc::limit::Limit;
use crate::ipc::sysv::Room;
use crate::services::Services;
use crate::task::cred::{Caps, Cred};
use fs::Directory;

/// One more than the highest priority (`MQ_PRIO_MAX`).
pub const PRIORITIES: u32 = 32768;

/// What no queue may have more of (`HARD_MSGMAX`, `HARD_MSGSIZEMAX`).
const MOST_MESSAGES: u64 = 65536;
const LARGEST_MESSAGE: u64 = 16 << 20;

/// What Linux counts for each message, and for each priority that messages may have, besides their text.
const PER_MESSAGE: u64 = 48;
const PER_PRIORITY: u64 = 48;

/// `/proc/sys/fs/mqueue`.
pub struct Limits {
    /// Most queues.
    pub queues: Limit,
    /// Most messages of a queue.
    pub messages: Limit,
    /// Most bytes of a message.
    pub size: Limit,
    /// Messages of a queue that is made without attributes.
    pub default_messages: Limit,
    /// Bytes of a message of such a queue.
    pub default_size: Limit,
}

/// How large a queue may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Messages.
    pub messages: u64,
    /// Bytes of each.
    pub size: u64,
}

/// All queues of a namespace.
pub struct Mqueues {
    /// What can be set.
    pub limits: Limits,
    /// Their names.
    pub directory: Arc<Directory>,
    accounts: Arc<Accounts>,
}

/// What queues there are, and whose.
struct Accounts {
    queues: AtomicU64,
    /// What those of all namespaces share.
    room: Arc<Room>,
}

/// A queue, as it counts against the limits; ends when dropped.
struct Charge {
    accounts: Arc<Accounts>,
    uid: u32,
    bytes: u64,
}

impl Mqueues {
    /// No queues.
    pub fn new(services: &Arc<Services>, room: Arc<Room>) -> Arc<Mqueues> {
        let limits = Limits {
            queues: Limit::new(256, i32::MAX as u64),
            messages: Limit::between(10, 1, MOST_MESSAGES),
            size: Limit::between(8192, 128, LARGEST_MESSAGE),
            default_messages: Limit::between(10, 1, MOST_MESSAGES),
            default_size: Limit::between(8192, 128, LARGEST_MESSAGE),
        };
        Arc::new_cyclic(|this| Mqueues {
            limits,
            directory: Directory::new(this.clone(), services),
            accounts: Arc::new(Accounts { queues: AtomicU64::new(0), room }),
        })
    }

    /// The capacity that a queue gets; EINVAL if `wanted` is too much for `cred`, or nothing.
    fn capacity(&self, wanted: Option<Capacity>, cred: &Cred) -> Result<Capacity> {
        let limits = &self.limits;
        let Some(wanted) = wanted else {
            return Ok(Capacity {
                messages: limits.default_messages.get().min(limits.messages.get()),
                size: limits.default_size.get().min(limits.size.get()),
            });
        };
        let (messages, size) = match cred.capable(Caps::SYS_RESOURCE) {
            true => (MOST_MESSAGES, LARGEST_MESSAGE),
            false => (limits.messages.get(), limits.size.get()),
        };
        if !(1..=messages).contains(&wanted.messages) || !(1..=size).contains(&wanted.size) {
            return Err(EINVAL);
        }
        Ok(wanted)
    }

    /// Counts a new queue: ENOSPC for too many, EMFILE for too many bytes of one user (`RLIMIT_MSGQUEUE`).
    fn charge(&self, wanted: Option<Capacity>, cred: &Cred, rlimit: u64) -> Result<(Capacity, Charge)> {
        let most = if cred.capable(Caps::SYS_RESOURCE) { u64::MAX } else { self.limits.queues.get() };
        let queues = &self.accounts.queues;
        let more = |count: u64| (count < most).then_some(count + 1);
        queues.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| ENOSPC)?;
        let mut charge = Charge { accounts: self.accounts.clone(), uid: cred.uid, bytes: 0 };
        let capacity = self.capacity(wanted, cred)?;
        let text = capacity.messages.checked_mul(capacity.size).ok_or(EOVERFLOW)?;
        let priorities = capacity.messages.min(u64::from(PRIORITIES)) * PER_PRIORITY;
        let bytes = text + capacity.messages * PER_MESSAGE + priorities;
        let mut all = self.accounts.room.queue_bytes.lock();
        let sum = all.get(&cred.uid).copied().unwrap_or(0).saturating_add(bytes);
        if sum > rlimit {
            drop(all);
            return Err(EMFILE);
        }
        all.insert(cred.uid, sum);
        charge.bytes = bytes;
        drop(all);
        Ok((capacity, charge))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.accounts.queues.fetch_sub(1, Ordering::Relaxed);
        let mut all = self.accounts.room.queue_bytes.lock();
        if let Some(bytes) = all.get_mut(&self.uid) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                all.remove(&self.uid);
            }
        }
    }
}
