//! Structures of System V IPC. Sources: `shmctl(2)`, `semctl(2)`, `msgctl(2)`, `semop(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct ipc64_perm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcPerm {
    /// As given to `*get`; 0 is `IPC_PRIVATE`.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
    /// Permission bits, and of shared memory `SHM_DEST` and `SHM_LOCKED`.
    pub mode: u32,
    /// What makes an id unlike an earlier one in its place.
    pub seq: u16,
    /// Zero.
    pub pad: [u16; 3],
    /// Zero.
    pub unused: [u64; 2],
}
static_assertions::const_assert_eq!(size_of::<IpcPerm>(), 48);

impl IpcPerm {
    /// Of an object.
    pub fn new(key: i32, [uid, gid, cuid, cgid]: [u32; 4], mode: u32, seq: u16) -> IpcPerm {
        IpcPerm { key, uid, gid, cuid, cgid, mode, seq, ..IpcPerm::default() }
    }
}

/// `struct shmid64_ds`; times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShmidDs {
    /// Who may.
    pub perm: IpcPerm,
    /// Bytes.
    pub size: u64,
    /// Last attached.
    pub atime: i64,
    /// Last detached.
    pub dtime: i64,
    /// Made or changed.
    pub ctime: i64,
    /// Who made it.
    pub cpid: u32,
    /// Who attached or detached last.
    pub lpid: u32,
    /// How often it is attached.
    pub nattch: u64,
    /// Zero.
    pub unused: [u64; 2],
}
static_assertions::const_assert_eq!(size_of::<ShmidDs>(), 112);

/// `struct shminfo64`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShmLimits {
    /// Most bytes of a segment.
    pub max: u64,
    /// Fewest.
    pub min: u64,
    /// Most segments.
    pub segments: u64,
    /// Most attachments of a process.
    pub per_process: u64,
    /// Most pages in all.
    pub pages: u64,
    unused: [u64; 4],
}
static_assertions::const_assert_eq!(size_of::<ShmLimits>(), 72);

impl ShmLimits {
    /// With these limits.
    pub fn new(max: u64, segments: u64, pages: u64) -> ShmLimits {
        ShmLimits { max, min: 1, segments, per_process: segments, pages, unused: [0; 4] }
    }
}

/// `struct shm_info`; sizes in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShmInfo {
    /// Segments there are.
    pub used_ids: u64,
    /// Size of all.
    pub total: u64,
    /// What of it is in RAM.
    pub resident: u64,
    /// Swapped out, attempts and successes: nothing ever is.
    pub swapped: [u64; 3],
}
static_assertions::const_assert_eq!(size_of::<ShmInfo>(), 48);

/// `struct sembuf`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SemBuf {
    /// Which semaphore of the set.
    pub num: u16,
    /// What to add; 0 waits for zero.
    pub op: i16,
    /// `IPC_NOWAIT`, `SEM_UNDO`.
    pub flags: i16,
}
static_assertions::const_assert_eq!(size_of::<SemBuf>(), 6);

/// `struct semid64_ds`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SemidDs {
    /// Who may.
    pub perm: IpcPerm,
    /// Last operation.
    pub otime: i64,
    /// Zero.
    pub unused_0: u64,
    /// Made or changed.
    pub ctime: i64,
    /// Zero.
    pub unused_1: u64,
    /// Semaphores in the set.
    pub nsems: u64,
    /// Zero.
    pub unused_2: [u64; 2],
}
static_assertions::const_assert_eq!(size_of::<SemidDs>(), 104);

impl SemidDs {
    /// Of a set.
    pub fn new(perm: IpcPerm, otime: i64, ctime: i64, nsems: u64) -> SemidDs {
        SemidDs { perm, otime, ctime, nsems, ..SemidDs::default() }
    }
}

/// `struct seminfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SemInfo {
    /// Unused.
    pub map: i32,
    /// Most sets.
    pub sets: i32,
    /// Most semaphores in all.
    pub semaphores: i32,
    /// Unused.
    pub undos: i32,
    /// Most semaphores of a set.
    pub per_set: i32,
    /// Most operations of a call.
    pub operations: i32,
    /// Unused.
    pub undo_entries: i32,
    /// Unused; for `SEM_INFO` the number of sets.
    pub undo_size: i32,
    /// Largest value.
    pub max_value: i32,
    /// Largest value to undo; for `SEM_INFO` the number of semaphores.
    pub max_adjustment: i32,
}
static_assertions::const_assert_eq!(size_of::<SemInfo>(), 40);

/// `struct msqid64_ds`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MsqidDs {
    /// Who may.
    pub perm: IpcPerm,
    /// Last `msgsnd`.
    pub stime: i64,
    /// Last `msgrcv`.
    pub rtime: i64,
    /// Made or changed.
    pub ctime: i64,
    /// Bytes in the queue.
    pub bytes: u64,
    /// Messages in the queue.
    pub messages: u64,
    /// Most bytes.
    pub max_bytes: u64,
    /// Who sent last.
    pub lspid: u32,
    /// Who received last.
    pub lrpid: u32,
    /// Zero.
    pub unused: [u64; 2],
}
static_assertions::const_assert_eq!(size_of::<MsqidDs>(), 120);

/// `struct msginfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MsgInfo {
    /// KiB of all queues; for `MSG_INFO` the number of queues.
    pub pool: i32,
    /// Unused; for `MSG_INFO` the number of messages.
    pub map: i32,
    /// Most bytes of a message.
    pub max: i32,
    /// Most bytes of a queue.
    pub per_queue: i32,
    /// Most queues.
    pub queues: i32,
    /// Unused.
    pub segment_size: i32,
    /// Unused; for `MSG_INFO` the bytes of all messages.
    pub headers: i32,
    /// Unused.
    pub segments: u16,
    /// Zero.
    pub pad: u16,
}
static_assertions::const_assert_eq!(size_of::<MsgInfo>(), 32);
