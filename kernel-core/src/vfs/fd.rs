//! Descriptor tables. Sources: `open(2)`, `dup(2)`, `close(2)`, `close_range(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::errno::{EBADF, EMFILE, Result};
use crate::sync::Mutex;
use crate::vfs::caller::Caller;
use crate::vfs::file::{Op, OpenFile};
use crate::vfs::locks::LockOwner;

/// More descriptors than this no process gets, whatever its limit (`fs.nr_open`).
pub const MOST_FDS: u64 = 1 << 20;

/// A number that a guest uses for an open file.
pub type RawFd = i32;

/// The descriptors of a process, shared by tasks made with CLONE_FILES.
pub struct FdTable {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    /// No slot below is free.
    lowest: usize,
}

#[derive(Clone, Default)]
enum Slot {
    #[default]
    Free,
    Reserved,
    Open {
        file: Arc<OpenFile>,
        on_exec: OnExec,
    },
}

/// What happens to a descriptor when a program is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExec {
    /// It stays open.
    Keep,
    /// It is closed (`FD_CLOEXEC`).
    Close,
}

/// A descriptor number set aside; given back if it is dropped without [`Reserved::commit`].
pub struct Reserved<'a> {
    table: &'a FdTable,
    fd: usize,
}

impl Reserved<'_> {
    /// The number.
    pub fn fd(&self) -> RawFd {
        self.fd as RawFd
    }

    /// Lets the number refer to `file` from now on.
    pub fn commit(self, file: Arc<OpenFile>, on_exec: OnExec) -> RawFd {
        let fd = self.fd();
        self.table.slots.lock().set(self.fd, Slot::Open { file, on_exec });
        core::mem::forget(self);
        fd
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let slot = self.table.slots.lock().take(self.fd);
        drop(slot);
    }
}

impl Slots {
    fn get(&self, fd: RawFd) -> Option<&Slot> {
        self.slots.get(usize::try_from(fd).ok()?)
    }

    /// The first free number from `from` on that is below `limit`.
    fn find(&self, from: usize, limit: u64) -> Result<usize> {
        let start = from.max(self.lowest);
        let free = (start..self.slots.len()).find(|&fd| matches!(self.slots.get(fd), Some(Slot::Free)));
        let fd = free.unwrap_or(start.max(self.slots.len()));
        if fd as u64 >= limit.min(MOST_FDS) { Err(EMFILE) } else { Ok(fd) }
    }

    fn set(&mut self, fd: usize, slot: Slot) -> Slot {
        if fd >= self.slots.len() {
            self.slots.resize(fd + 1, Slot::Free);
        }
        if fd == self.lowest {
            self.lowest += 1;
        }
        match self.slots.get_mut(fd) {
            Some(place) => core::mem::replace(place, slot),
            None => Slot::Free,
        }
    }

    fn take(&mut self, fd: usize) -> Slot {
        self.lowest = self.lowest.min(fd);
        self.slots.get_mut(fd).map(core::mem::take).unwrap_or_default()
    }
}

impl FdTable {
    /// An empty table.
    pub fn new() -> Arc<FdTable> {
        Arc::new(FdTable { slots: Mutex::default() })
    }

    /// A copy that shares the open files, for `fork` and `unshare(CLONE_FILES)`. Numbers that are only reserved are free
    /// in it.
    pub fn copy(&self) -> Arc<FdTable> {
        let mut copy = Slots::default();
        let slots = self.slots.lock();
        for (fd, slot) in slots.slots.iter().enumerate() {
            if let Slot::Open { .. } = slot {
                copy.set(fd, slot.clone());
            }
        }
        drop(slots);
        copy.lowest =
            copy.slots.iter().position(|slot| matches!(slot, Slot::Free)).unwrap_or(copy.slots.len());
        Arc::new(FdTable { slots: Mutex::new(copy) })
    }

    /// Who holds the record locks of processes that have this table.
    pub fn lock_owner(&self) -> LockOwner {
        LockOwner::Process(core::ptr::from_ref(self).addr())
    }

    /// The open file of a descriptor, EBADF if there is none. An `O_PATH` file counts: callers that need a real one use
    /// [`FdTable::get`].
    pub fn get_any(&self, fd: RawFd) -> Result<Arc<OpenFile>> {
        match self.slots.lock().get(fd) {
            Some(Slot::Open { file, .. }) => Ok(file.clone()),
            _ => Err(EBADF),
        }
    }

    /// The open file of a descriptor; EBADF if there is none or it was opened with `O_PATH`.
    pub fn get(&self, fd: RawFd) -> Result<Arc<OpenFile>> {
        let file = self.get_any(fd)?;
        if file.flags().contains(crate::vfs::file::OpenFlags::PATH) { Err(EBADF) } else { Ok(file) }
    }

    /// Sets aside the lowest free number from `from` on. EMFILE if it would not be below `limit`, the caller's
    /// RLIMIT_NOFILE.
    pub fn reserve(&self, from: usize, limit: u64) -> Result<Reserved<'_>> {
        let mut slots = self.slots.lock();
        let fd = slots.find(from, limit)?;
        slots.set(fd, Slot::Reserved);
        Ok(Reserved { table: self, fd })
    }

    /// [`FdTable::reserve`] and [`Reserved::commit`] in one, for files that need no copy-out.
    pub fn install(&self, file: Arc<OpenFile>, on_exec: OnExec, limit: u64) -> Result<RawFd> {
        Ok(self.reserve(0, limit)?.commit(file, on_exec))
    }

    /// `dup2`: lets `fd` refer to `file`, and gives what it referred to, which the caller passes to
    /// [`FdTable::after_close`]. EBADF if `fd` is not below `limit`; EBUSY while `fd` is being opened.
    pub fn replace(
        &self,
        fd: RawFd,
        file: Arc<OpenFile>,
        on_exec: OnExec,
        limit: u64,
    ) -> Result<Option<Arc<OpenFile>>> {
        let index = usize::try_from(fd).map_err(|_| EBADF)?;
        if index as u64 >= limit.min(MOST_FDS) {
            return Err(EBADF);
        }
        let mut slots = self.slots.lock();
        if let Some(Slot::Reserved) = slots.get(fd) {
            return Err(crate::errno::EBUSY);
        }
        let old = slots.set(index, Slot::Open { file, on_exec });
        drop(slots);
        match old {
            Slot::Open { file, .. } => Ok(Some(file)),
            _ => Ok(None),
        }
    }

    /// Closes a descriptor; EBADF if it is not open.
    pub fn close(&self, fd: RawFd, caller: &dyn Caller) -> Result<()> {
        let mut slots = self.slots.lock();
        let Some(Slot::Open { .. }) = slots.get(fd) else { return Err(EBADF) };
        let slot = slots.take(fd as usize);
        drop(slots);
        if let Slot::Open { file, .. } = slot {
            self.after_close(file, caller);
        }
        Ok(())
    }

    /// What closing a descriptor does beside freeing its number: record locks on the file go, and the file is told.
    pub fn after_close(&self, file: Arc<OpenFile>, caller: &dyn Caller) {
        if let Some(locks) = file.inode.locks() {
            locks.release_all(self.lock_owner());
        }
        file.ops.flush(Op { file: &file, caller });
    }

    /// Whether the descriptor is closed on exec.
    pub fn on_exec(&self, fd: RawFd) -> Result<OnExec> {
        match self.slots.lock().get(fd) {
            Some(Slot::Open { on_exec, .. }) => Ok(*on_exec),
            _ => Err(EBADF),
        }
    }

    /// Says whether the descriptor is closed on exec.
    pub fn set_on_exec(&self, fd: RawFd, value: OnExec) -> Result<()> {
        let index = usize::try_from(fd).map_err(|_| EBADF)?;
        match self.slots.lock().slots.get_mut(index) {
            Some(Slot::Open { on_exec, .. }) => {
                *on_exec = value;
                Ok(())
            }
            _ => Err(EBADF),
        }
    }

    /// Sets [`OnExec::Close`] on a range (`CLOSE_RANGE_CLOEXEC`).
    pub fn close_range_on_exec(&self, range: RangeInclusive<u32>) {
        let mut slots = self.slots.lock();
        let start = *range.start() as usize;
        let count = (*range.end() as usize).saturating_sub(start).saturating_add(1);
        for slot in slots.slots.iter_mut().skip(start).take(count) {
            if let Slot::Open { on_exec, .. } = slot {
                *on_exec = OnExec::Close;
            }
        }
    }

    /// Closes all descriptors of a range (`close_range`).
    pub fn close_range(&self, range: RangeInclusive<u32>, caller: &dyn Caller) {
        self.close_where(caller, |fd, _| range.contains(&(fd as u32)));
    }

    /// Closes what a program that is executed does not inherit.
    pub fn close_on_exec(&self, caller: &dyn Caller) {
        self.close_where(caller, |_, on_exec| on_exec == OnExec::Close);
    }

    /// Closes everything, when the last task that has the table exits.
    pub fn close_all(&self, caller: &dyn Caller) {
        self.close_where(caller, |_, _| true);
    }

    fn close_where(&self, caller: &dyn Caller, which: impl Fn(usize, OnExec) -> bool) {
        let mut start = 0;
        // In pieces, so that the lock is held for a short time and a file is never closed under it.
        loop {
            let mut gone = Vec::new();
            let mut slots = self.slots.lock();
            let end = slots.slots.len().min(start + 256);
            for fd in start..end {
                if let Some(Slot::Open { on_exec, .. }) = slots.slots.get(fd)
                    && which(fd, *on_exec)
                    && let Slot::Open { file, .. } = slots.take(fd)
                {
                    gone.push(file);
                }
            }
            let done = end == slots.slots.len();
            drop(slots);
            for file in gone {
                self.after_close(file, caller);
            }
            if done {
                return;
            }
            start = end;
        }
    }

    /// The first open descriptor from `from` on, for `/proc/PID/fd`.
    pub fn next_open(&self, from: usize) -> Option<(RawFd, Arc<OpenFile>)> {
        let slots = self.slots.lock();
        let found = slots.slots.iter().enumerate().skip(from).find_map(|(fd, slot)| match slot {
            Slot::Open { file, .. } => Some((fd as RawFd, file.clone())),
            _ => None,
        });
        drop(slots);
        found
    }

    /// One more than the largest number ever used, for `FDSize` of `/proc/PID/status`.
    pub fn capacity(&self) -> usize {
        self.slots.lock().slots.len()
    }
}

impl Drop for FdTable {
    /// A table is emptied with [`FdTable::close_all`]; whatever is left gives up its record locks here.
    fn drop(&mut self) {
        let owner = self.lock_owner();
        for slot in self.slots.lock().slots.drain(..) {
            if let Slot::Open { file, .. } = slot
                && let Some(locks) = file.inode.locks()
            {
                locks.release_all(owner);
            }
        }
    }
}
