//! Open files: what a descriptor refers to, and what every kind of file can do.
//!
//! Files never block. An operation that cannot go on gives EAGAIN, and the file's [`FileOps::wait_queue`] tells when to
//! try again; the one loop that waits is `Cx::block_on` in the syscall layer. So read, poll and epoll share one mechanism.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno::{EINVAL, ENODEV, ENOTTY, ESPIPE, Result};
use crate::io::{Sink, Source};
use crate::ipc::dnotify::DirNotify;
use crate::mm::cache::PageCache;
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;
use crate::vfs::caller::Caller;
use crate::vfs::claim::Claim;
use crate::vfs::inode::Inode;
use crate::vfs::locks::LockOwner;
use crate::vfs::mount::MountFlags;
use crate::vfs::notify::{Happening, Notify};
use crate::vfs::path::Path;

bitflags::bitflags! {
    /// Status flags and access mode of an open file (`O_*` of x86-64).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const WRONLY = 0o1;
        /// Read and write.
        const RDWR = 0o2;
        /// Create if absent.
        const CREAT = 0o100;
        /// Fail if present.
        const EXCL = 0o200;
        /// Do not make it the controlling terminal.
        const NOCTTY = 0o400;
        /// Cut to nothing.
        const TRUNC = 0o1000;
        /// Write at the end.
        const APPEND = 0o2000;
        /// Do not block.
        const NONBLOCK = 0o4000;
        /// Write data through.
        const DSYNC = 0o10000;
        /// Signal-driven.
        const ASYNC = 0o20000;
        /// No caching.
        const DIRECT = 0o40000;
        /// Ignored on 64 bits.
        const LARGEFILE = 0o100000;
        /// Must be a directory.
        const DIRECTORY = 0o200000;
        /// Do not follow a last symbolic link.
        const NOFOLLOW = 0o400000;
        /// Do not touch the access time.
        const NOATIME = 0o1000000;
        /// Close on exec (of the descriptor).
        const CLOEXEC = 0o2000000;
        /// Write all through.
        const SYNC = 0o4000000;
        /// A reference to a path only.
        const PATH = 0o10000000;
        /// An unnamed file in a directory.
        const TMPFILE = 0o20000000;
        const _ = !0;
    }
}

impl OpenFlags {
    /// Whether reads are allowed. Access mode 3 is for `ioctl` alone.
    pub fn readable(self) -> bool {
        matches!(self.bits() & 3, 0 | 2) && !self.contains(OpenFlags::PATH)
    }

    /// Whether writes are allowed.
    pub fn writable(self) -> bool {
        matches!(self.bits() & 3, 1 | 2) && !self.contains(OpenFlags::PATH)
    }
}

/// What an operation is done on, and for whom.
#[derive(Clone, Copy)]
pub struct Op<'a> {
    /// The open file.
    pub file: &'a OpenFile,
    /// The task that asks.
    pub caller: &'a dyn Caller,
}

/// Where a seek starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// From the start of the file.
    Set,
    /// From the current position.
    Current,
    /// From the end.
    End,
    /// To the next data.
    Data,
    /// To the next hole.
    Hole,
}

/// What a kind of file does. Defaults are what Linux answers for a file without that operation.
///
/// The syscall layer has checked access mode and arguments before; the position is `op.file.position`.
pub trait FileOps: Send + Sync {
    /// Reads at the position and moves it.
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let _ = (op, dst);
        Err(EINVAL)
    }

    /// Writes at the position (or the end, with APPEND) and moves it.
    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let _ = (op, src);
        Err(EINVAL)
    }

    /// Reads at an offset.
    fn read_at(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let _ = (op, offset, dst);
        Err(ESPIPE)
    }

    /// Writes at an offset.
    fn write_at(&self, op: Op<'_>, offset: u64, src: &mut dyn Source) -> Result<usize> {
        let _ = (op, offset, src);
        Err(ESPIPE)
    }

    /// Moves the position and gives the new one.
    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        let _ = (op, offset, whence);
        Err(ESPIPE)
    }

    /// What would not block now. Level, without side effects.
    fn poll(&self, op: Op<'_>) -> Events {
        let _ = op;
        Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM
    }

    /// Woken when what [`FileOps::poll`] says may have changed; `None`: it never changes.
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// A queue of the caller to wait on as well; for files that show what happens to their user (signalfd).
    fn caller_queue(&self, op: Op<'_>) -> Option<Arc<WaitQueue>> {
        let _ = op;
        None
    }

    /// How long a blocking operation may wait for `events`, in nanoseconds (`SO_RCVTIMEO`, `SO_SNDTIMEO`); `None`: for
    /// ever. Where there is a limit, a wait that a signal ends is not started again.
    fn time_limit_ns(&self, events: Events) -> Option<u64> {
        let _ = events;
        None
    }

    /// Whether a blocking write goes on until all was taken: pipes, stream sockets, terminals. For others one
    /// successful [`FileOps::write`] is the whole call.
    fn is_stream(&self) -> bool {
        false
    }

    /// Device control; `arg` is what the guest passed, often an address for `op.caller.memory()`.
    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        let _ = (op, command, arg);
        Err(ENOTTY)
    }

    /// The pages to map for `mmap`.
    fn mappable(&self, op: Op<'_>) -> Result<Arc<PageCache>> {
        let _ = op;
        Err(ENODEV)
    }

    /// What a fork's child, process `child`, maps instead of `file`, if it is not the same open file.
    fn forked(&self, file: &OpenFile, child: u32) -> Option<Arc<OpenFile>> {
        let _ = (file, child);
        None
    }

    /// Directory entries from the position on, packed by `emit`; see `vfs/dir`.
    fn read_dir(&self, op: Op<'_>, emit: &mut dyn crate::vfs::dir::DirSink) -> Result<()> {
        let _ = (op, emit);
        Err(crate::errno::ENOTDIR)
    }

    /// Waits for the other side of an open, as FIFOs do without O_NONBLOCK: EAGAIN and the wait queue until it is there.
    /// The syscall layer calls it once after opening, and drops the file if it fails.
    fn finish_open(&self, op: Op<'_>) -> Result<()> {
        let _ = op;
        Ok(())
    }

    /// Commands of `fcntl` that only one kind of file knows: `F_SETPIPE_SZ`, `F_GETPIPE_SZ`, `F_ADD_SEALS`, `F_GET_SEALS`.
    fn control(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        let _ = (op, command, arg);
        Err(EINVAL)
    }

    /// Allocates or punches a range (`fallocate`); `mode` is `FALLOC_FL_*`.
    fn allocate(&self, op: Op<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
        let _ = (op, mode, offset, len);
        Err(crate::errno::EOPNOTSUPP)
    }

    /// `fsync(2)`.
    fn sync(&self, op: Op<'_>) -> Result<()> {
        op.file.inode.sync()
    }

    /// A descriptor that refers to the open file was closed (each `close`, not only the last).
    fn flush(&self, op: Op<'_>) {
        let _ = op;
    }

    /// For `downcast_ref`: sockets, epoll instances and the like are asked what they are.
    fn as_any(&self) -> &dyn core::any::Any;
}

/// An open file description: what descriptors made by `dup` and `fork` share.
pub struct OpenFile {
    /// What it does.
    pub ops: Arc<dyn FileOps>,
    /// What `fstat` sees.
    pub inode: Arc<dyn Inode>,
    /// Where it was found, if it has a name.
    pub path: Option<Path>,
    /// The position, in bytes.
    pub position: Mutex<u64>,
    flags: AtomicU32,
    watchers: Mutex<Vec<Weak<dyn Watcher>>>,
    /// For as long as it is open.
    _claim: Option<Claim>,
    /// Who wants to hear what happens to it, if it was opened by name.
    notify: Option<Arc<Notify>>,
    /// Who gets SIGIO (`F_SETOWN`), and with which signal.
    pub async_owner: Mutex<AsyncOwner>,
    /// What of a directory its owner is signalled.
    pub dir_notify: Mutex<Option<Arc<DirNotify>>>,
}

/// Who is told when a file with O_ASYNC becomes ready: `F_SETOWN`, `F_SETOWN_EX`, `F_SETSIG`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncOwner {
    /// `F_OWNER_TID`, `F_OWNER_PID` or `F_OWNER_PGRP`.
    pub kind: u32,
    /// Its id; 0 is nobody.
    pub id: u32,
    /// The signal; 0 is SIGIO.
    pub signal: u8,
    /// The user who has named the owner, real and effective: it must be allowed to send signals.
    pub named_by: (u32, u32),
}

impl AsyncOwner {
    /// `F_OWNER_TID`.
    pub const THREAD: u32 = 0;
    /// `F_OWNER_PID`.
    pub const PROCESS: u32 = 1;
    /// `F_OWNER_PGRP`.
    pub const GROUP: u32 = 2;
}

/// Told when an open file goes away, while its operations still exist; epoll instances forget it then.
pub trait Watcher: Send + Sync {
    /// The last reference to `file` is going.
    fn file_closed(&self, file: &OpenFile);
    /// As what it is.
    fn as_any(&self) -> &dyn Any;
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(locks) = self.inode.locks() {
            let key = self.lock_key();
            locks.unflock(key);
            locks.release_all(LockOwner::File(key));
        }
        let watchers = core::mem::take(&mut *self.watchers.lock());
        for watcher in watchers.iter().filter_map(Weak::upgrade) {
            watcher.file_closed(self);
        }
        let writable = self.flags().writable();
        self.happened(if writable { Happening::CLOSE_WRITE } else { Happening::CLOSE_NOWRITE });
    }
}

impl OpenFile {
    /// From now on `watcher` is told when the file goes away. Watchers that are gone are forgotten.
    pub fn watch(&self, watcher: Weak<dyn Watcher>) {
        let mut watchers = self.watchers.lock();
        if watchers.len() == watchers.capacity() {
            watchers.retain(|old| old.strong_count() > 0);
        }
        watchers.push(watcher);
    }

    /// Who watches it now.
    pub fn watchers(&self) -> Vec<Arc<dyn Watcher>> {
        self.watchers.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Opens; creation flags are dropped from `flags` as `F_GETFL` does not show them.
    pub fn new(
        ops: Arc<dyn FileOps>,
        inode: Arc<dyn Inode>,
        path: Option<Path>,
        flags: OpenFlags,
    ) -> Arc<OpenFile> {
        Arc::new(OpenFile::of_parts(ops, inode, path, flags))
    }

    /// Opens what `path` names, and says so; with a claim on the inode that lasts as long as the open file.
    pub fn named(
        ops: Arc<dyn FileOps>,
        path: Path,
        flags: OpenFlags,
        claim: Option<Claim>,
        notify: &Arc<Notify>,
    ) -> Arc<OpenFile> {
        let inode = path.inode().clone();
        let mut file = OpenFile::of_parts(ops, inode, Some(path), flags);
        (file._claim, file.notify) = (claim, Some(notify.clone()));
        file.happened(Happening::OPEN);
        Arc::new(file)
    }

    fn of_parts(
        ops: Arc<dyn FileOps>,
        inode: Arc<dyn Inode>,
        path: Option<Path>,
        flags: OpenFlags,
    ) -> OpenFile {
        let creation =
            OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC | OpenFlags::CLOEXEC;
        OpenFile {
            ops,
            inode,
            path,
            position: Mutex::new(0),
            flags: AtomicU32::new((flags - creation).bits()),
            async_owner: Mutex::default(),
            dir_notify: Mutex::default(),
            watchers: Mutex::new(Vec::new()),
            _claim: None,
            notify: None,
        }
    }

    /// Tells those who watch the file.
    #[inline]
    pub fn happened(&self, what: Happening) {
        if let (Some(notify), Some(path)) = (&self.notify, &self.path) {
            notify.file(&path.dentry, what);
        }
    }

    /// Names the open file among the holders of locks.
    pub fn lock_key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Whether a read moves the access time of its file: not by O_NOATIME, nor where the mount says so.
    pub fn notes_access(&self) -> bool {
        let quiet = MountFlags::NO_ATIME | MountFlags::READ_ONLY;
        !self.flags().contains(OpenFlags::NOATIME)
            && self.path.as_ref().is_none_or(|path| !path.mount.flags().intersects(quiet))
    }

    /// Access mode and status flags.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// `F_SETFL`: replaces the flags that can change.
    pub fn set_status(&self, flags: OpenFlags) {
        let can_change = OpenFlags::APPEND
            | OpenFlags::NONBLOCK
            | OpenFlags::ASYNC
            | OpenFlags::DIRECT
            | OpenFlags::NOATIME;
        let kept = self.flags() - can_change;
        self.flags.store((kept | (flags & can_change)).bits(), Ordering::Relaxed);
    }
}
