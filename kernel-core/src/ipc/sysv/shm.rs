//! Shared memory segments. Sources: `shmget(2)`, `shmop(2)`, `shmctl(2)`.
//!
//! A segment is a page cache without a file. Each `shmat` makes an open file of it that only the mapping holds
//! ([`Attachment`]), so address spaces need no other way to map a segment, and it is detached when the last piece of the
//! mapping is gone: by `shmdt`, `munmap`, exec or the end. A fork makes a new attachment for the child.

use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::abi::sysv::{IpcPerm, ShmInfo, ShmLimits, ShmidDs};
use crate::errno::{EINVAL, ENOMEM, ENOSPC, EPERM, Result};
use crate::host::PAGE_SIZE;
use crate::ipc::sysv::ids::{Ids, Which};
use crate::ipc::sysv::limits::Limits;
use crate::ipc::sysv::perm::{Perm, READ};
use crate::ipc::sysv::{PRIVATE, now};
use crate::mm::cache::{Backing, PageCache};
use crate::mm::ram::Ram;
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::cred::{Caps, Cred};
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFile, OpenFlags};
use crate::vfs::inode::{Device, FileKind, Inode, Metadata, StatFs, Timestamp};

/// `SHM_DEST`: it goes when it is attached nowhere any more.
const DEST: u32 = 0o1000;
/// `SHM_LOCKED`.
const LOCKED: u32 = 0o2000;
/// `SHM_HUGETLB`.
const HUGE: u32 = 0o4000;
/// `SHM_NORESERVE`.
const NO_RESERVE: u32 = 0o10000;
/// `TMPFS_MAGIC`.
const MAGIC: u64 = 0x0102_1994;

/// All segments of a namespace.
pub struct Segments {
    ram: Arc<Ram>,
    user_ns: UserNs,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    ids: Ids<Segment>,
    /// Size of all segments.
    pages: u64,
}

/// A segment.
pub struct Segment {
    id: i32,
    /// The key it was made with, which finds it no more once it is removed.
    key: i32,
    size: u64,
    pages: Arc<PageCache>,
    state: Mutex<State>,
}

struct State {
    perm: Perm,
    atime: i64,
    dtime: i64,
    ctime: i64,
    cpid: u32,
    lpid: u32,
    nattch: u64,
    /// Whose limit it counts against while it is locked.
    locked_by: Option<u32>,
}

/// What `shmctl` and `/proc/sysvipc/shm` tell of a segment.
pub struct Stat {
    /// Its id.
    pub id: i32,
    /// The structure.
    pub ds: ShmidDs,
    /// Bytes in RAM.
    pub resident: u64,
}

impl Segment {
    fn page_count(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE)
    }

    fn stat(&self) -> Stat {
        let state = self.state.lock();
        let ds = ShmidDs {
            perm: state.perm.raw(self.id),
            size: self.size,
            atime: state.atime,
            dtime: state.dtime,
            ctime: state.ctime,
            cpid: state.cpid,
            lpid: state.lpid,
            nattch: state.nattch,
            ..ShmidDs::default()
        };
        Stat { id: self.id, ds, resident: self.pages.resident_bytes() }
    }
}

impl Segments {
    pub(super) fn new(ram: &Arc<Ram>, user_ns: UserNs) -> Arc<Segments> {
        Arc::new(Segments { ram: ram.clone(), user_ns, table: Mutex::default() })
    }

    /// `shmget(2)`.
    pub fn get(
        &self,
        limits: &Limits,
        caller: &dyn Caller,
        services: &Services,
        (key, size, flags): (i32, u64, u32),
    ) -> Result<i32> {
        let cred = caller.cred();
        let mut table = self.table.lock();
        if let Some((id, segment)) = table.ids.find(key, flags)? {
            if size > segment.size {
                return Err(EINVAL);
            }
            segment.state.lock().perm.check(&cred, flags & 0o777)?;
            return Ok(id);
        }
        if size == 0 || size > limits.shm_max.get() {
            return Err(EINVAL);
        }
        let pages = size.div_ceil(PAGE_SIZE);
        if table.pages.checked_add(pages).is_none_or(|sum| sum > limits.shm_all.get()) {
            return Err(ENOSPC);
        }
        // No huge pages are set aside. Of the others there are as many as RAM has.
        let sum = (table.pages + pages).checked_mul(PAGE_SIZE);
        let too_much =
            if flags & NO_RESERVE != 0 { false } else { sum.is_none_or(|sum| sum > self.ram.total()) };
        if flags & HUGE != 0 || too_much {
            return Err(ENOMEM);
        }
        let cache = PageCache::new(&self.ram, Backing::Empty);
        cache.truncate(size).map_err(|_| EINVAL)?;
        let state = State {
            perm: Perm::new(key, &cred, flags, &self.user_ns),
            atime: 0,
            dtime: 0,
            ctime: now(services),
            cpid: caller.pid(),
            lpid: 0,
            nattch: 0,
            locked_by: None,
        };
        let id = table.ids.add(key, limits.shm_segments.get(), &limits.next[0], |id| Segment {
            id,
            key,
            size,
            pages: cache,
            state: Mutex::new(state),
        })?;
        table.pages += pages;
        Ok(id)
    }

    /// The first half of `shmat(2)`: what to map. EINVAL, EACCES.
    pub fn attach(
        self: &Arc<Self>,
        id: i32,
        caller: &dyn Caller,
        services: &Arc<Services>,
        (wanted, flags): (u32, OpenFlags),
    ) -> Result<(Arc<OpenFile>, Arc<PageCache>)> {
        let segment = {
            let table = self.table.lock();
            let segment = table.ids.get(id)?;
            let mut state = segment.state.lock();
            state.perm.check(&caller.cred(), wanted)?;
            // From here on it is not removed.
            state.nattch += 1;
            drop(state);
            segment
        };
        let attachment = Attachment {
            segments: Arc::downgrade(self),
            segment: segment.clone(),
            services: services.clone(),
            pid: caller.pid(),
            is_mapped: AtomicBool::new(false),
        };
        Ok((attachment.open(flags), segment.pages.clone()))
    }

    /// Removes a segment that is to go and is attached nowhere.
    fn reap(&self, segment: &Segment) {
        let mut table = self.table.lock();
        let gone = {
            let state = segment.state.lock();
            state.perm.mode & DEST != 0 && state.nattch == 0
        };
        let removed = if gone { table.ids.remove(segment.id, PRIVATE) } else { None };
        if removed.is_some() {
            table.pages -= segment.page_count();
        }
        drop(table);
        drop(removed);
    }

    fn segment(&self, id: i32) -> Result<Arc<Segment>> {
        self.table.lock().ids.get(id)
    }

    /// `IPC_RMID`.
    pub fn remove(&self, id: i32, cred: &Cred) -> Result<()> {
        let segment = {
            let mut table = self.table.lock();
            let segment = table.ids.get(id)?;
            let mut state = segment.state.lock();
            state.perm.check_change(cred)?;
            state.perm.mode |= DEST;
            let key = core::mem::replace(&mut state.perm.key, PRIVATE);
            table.ids.forget_key(key);
            drop(state);
            segment
        };
        self.reap(&segment);
        Ok(())
    }

    /// `IPC_SET`.
    pub fn set(&self, id: i32, cred: &Cred, new: &IpcPerm, services: &Services) -> Result<()> {
        let segment = self.segment(id)?;
        let mut state = segment.state.lock();
        state.perm.check_change(cred)?;
        let kept = state.perm.mode & (DEST | LOCKED);
        state.perm.set(new);
        state.perm.mode |= kept;
        state.ctime = now(services);
        Ok(())
    }

    /// `SHM_LOCK`, `SHM_UNLOCK`: nothing is ever swapped out, so what is left is who may, and what it counts.
    pub fn lock(&self, id: i32, caller: &dyn Caller, locked: Locking) -> Result<()> {
        let (cred, limit) = (caller.cred(), caller.rlimit(linux_raw_sys::general::RLIMIT_MEMLOCK));
        let table = self.table.lock();
        let segment = table.ids.get(id)?;
        let privileged = cred.capable_in(&self.user_ns, Caps::IPC_LOCK);
        let may = segment.state.lock().perm.is_owner(&cred) && (locked == Locking::Unlock || limit != 0);
        if !privileged && !may {
            return Err(EPERM);
        }
        if locked == Locking::Unlock {
            let mut state = segment.state.lock();
            state.perm.mode &= !LOCKED;
            state.locked_by = None;
            return Ok(());
        }
        let counted = |(_, other): &(i32, Arc<Segment>)| {
            let is_ours = other.state.lock().locked_by == Some(cred.uid);
            if is_ours { other.page_count() * PAGE_SIZE } else { 0 }
        };
        let before: u64 = table.ids.all().iter().map(counted).fold(0, u64::saturating_add);
        let mut state = segment.state.lock();
        if state.locked_by.is_some() {
            return Ok(());
        }
        if !privileged && before.saturating_add(segment.page_count() * PAGE_SIZE) > limit {
            return Err(ENOMEM);
        }
        state.perm.mode |= LOCKED;
        state.locked_by = Some(cred.uid);
        Ok(())
    }

    /// `IPC_STAT`, `SHM_STAT`, or, without `cred`, `SHM_STAT_ANY`.
    pub fn stat(&self, which: Which, cred: Option<&Cred>) -> Result<Stat> {
        let segment = self.table.lock().ids.which(which)?;
        if let Some(cred) = cred {
            segment.state.lock().perm.check(cred, READ)?;
        }
        Ok(segment.stat())
    }

    /// All segments.
    pub fn all(&self) -> Vec<Stat> {
        let all = self.table.lock().ids.all();
        all.iter().map(|(_, segment)| segment.stat()).collect()
    }

    /// `IPC_INFO`, and the highest place in use.
    pub fn limits(&self, limits: &Limits) -> (ShmLimits, u32) {
        let highest = self.table.lock().ids.highest();
        (ShmLimits::new(limits.shm_max.get(), limits.shm_segments.get(), limits.shm_all.get()), highest)
    }

    /// `SHM_INFO`, and the highest place in use.
    pub fn info(&self) -> (ShmInfo, u32) {
        let (used_ids, total, highest) = {
            let table = self.table.lock();
            (table.ids.count() as u64, table.pages, table.ids.highest())
        };
        let resident = self.all().iter().map(|stat| stat.resident / PAGE_SIZE).sum();
        (ShmInfo { used_ids, total, resident, swapped: [0; 3] }, highest)
    }
}

/// What `SHM_LOCK` and `SHM_UNLOCK` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// `SHM_LOCK`.
    Lock,
    /// `SHM_UNLOCK`.
    Unlock,
}

/// A segment as one mapping has it; the mapping's open file.
pub struct Attachment {
    segments: Weak<Segments>,
    segment: Arc<Segment>,
    services: Arc<Services>,
    /// Whose address space it is in.
    pid: u32,
    /// Whether it ever was in one.
    is_mapped: AtomicBool,
}

impl Attachment {
    /// The attachment that a mapped file is.
    pub fn of(file: &OpenFile) -> Option<&Attachment> {
        file.ops.as_any().downcast_ref()
    }

    fn open(self, flags: OpenFlags) -> Arc<OpenFile> {
        let inode = Arc::new(SegmentInode(self.segment.clone()));
        OpenFile::new(Arc::new(self), inode, None, flags)
    }

    /// Bytes of the segment.
    pub fn size(&self) -> u64 {
        self.segment.size
    }

    /// Whether both are of the same segment.
    pub fn is_same_segment(&self, other: &Attachment) -> bool {
        Arc::ptr_eq(&self.segment, &other.segment)
    }

    /// It was mapped.
    pub fn note_mapped(&self) {
        self.is_mapped.store(true, Ordering::Relaxed);
        let mut state = self.segment.state.lock();
        (state.atime, state.lpid) = (now(&self.services), self.pid);
    }
}

impl FileOps for Attachment {
    fn mappable(&self, _: Op<'_>) -> Result<Arc<PageCache>> {
        Ok(self.segment.pages.clone())
    }

    fn forked(&self, file: &OpenFile, child: u32) -> Option<Arc<OpenFile>> {
        {
            let mut state = self.segment.state.lock();
            state.nattch += 1;
            (state.atime, state.lpid) = (now(&self.services), self.pid);
        }
        let copy = Attachment {
            segments: self.segments.clone(),
            segment: self.segment.clone(),
            services: self.services.clone(),
            pid: child,
            is_mapped: AtomicBool::new(true),
        };
        Some(copy.open(file.flags()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        {
            let mut state = self.segment.state.lock();
            state.nattch -= 1;
            if self.is_mapped.load(Ordering::Relaxed) {
                (state.dtime, state.lpid) = (now(&self.services), self.pid);
            }
            if state.nattch > 0 || state.perm.mode & DEST == 0 {
                return;
            }
        }
        if let Some(segments) = self.segments.upgrade() {
            segments.reap(&self.segment);
        }
    }
}

/// What `/proc/PID/maps` shows of a segment.
struct SegmentInode(Arc<Segment>);

impl Inode for SegmentInode {
    fn metadata(&self) -> Metadata {
        let state = self.0.state.lock();
        let time = Timestamp { sec: state.ctime, nsec: 0 };
        Metadata {
            dev: Device::new(0, 1),
            ino: self.0.id as u64,
            mode: FileKind::Regular.mode_bits() | state.perm.mode & 0o777,
            nlink: 0,
            uid: state.perm.uid,
            gid: state.perm.gid,
            rdev: Device::default(),
            size: self.0.size,
            block_size: PAGE_SIZE as u32,
            blocks: self.0.pages.resident_bytes() / 512,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: MAGIC, block_size: PAGE_SIZE, ..StatFs::default() }
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(format!("/SYSV{:08x} (deleted)", self.0.key).into_bytes())
    }
}
