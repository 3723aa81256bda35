//! Locks on files: the lock commands of `fcntl(2)`, and `flock(2)`.

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{EAGAIN, EBADF, EINVAL, ENOLCK, EOVERFLOW, Result};
use crate::host::Host;
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait};
use crate::vfs::file::OpenFile;
use crate::vfs::locks::{FileLocks, LOCK_END, LockKind, LockOwner, LockRange, RecordLock};

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

const LOCK_SH: u32 = 1;
const LOCK_EX: u32 = 2;
const LOCK_NB: u32 = 4;
const LOCK_UN: u32 = 8;

/// `struct flock`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Flock {
    kind: i16,
    whence: i16,
    pad: i32,
    start: i64,
    len: i64,
    pid: i32,
    pad2: i32,
}

/// Whether to wait for whoever is in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Wait,
    Fail,
}

/// The lock commands of `fcntl(2)`.
pub fn record_lock<H: Host>(cx: &Cx<'_, H>, fd: RawFd, file: &OpenFile, command: u32, arg: u64) -> SysResult {
    let mut flock: Flock = cx.user().get(arg)?;
    let locks = file.inode.locks().ok_or(ENOLCK)?;
    let by_file = matches!(command, sys::F_OFD_GETLK | sys::F_OFD_SETLK | sys::F_OFD_SETLKW);
    let asks = matches!(command, sys::F_GETLK | sys::F_OFD_GETLK);
    if asks && !matches!(flock.kind, F_RDLCK | F_WRLCK) {
        return Err(EINVAL.into());
    }
    let range = range_of(file, &flock)?;
    let kind = match flock.kind {
        F_RDLCK => Some(LockKind::Read),
        F_WRLCK => Some(LockKind::Write),
        F_UNLCK => None,
        _ => return Err(EINVAL.into()),
    };
    if by_file && flock.pid != 0 {
        return Err(EINVAL.into());
    }
    let owner = if by_file { LockOwner::File(file.lock_key()) } else { cx.files.lock_owner() };
    let wanted = |kind| RecordLock { owner, pid: cx.caller().pid(), kind, range };
    if let (true, Some(kind)) = (asks, kind) {
        match locks.conflict(&wanted(kind)) {
            Some(other) => flock = described(cx, &other, &flock),
            None => flock.kind = F_UNLCK,
        }
        cx.user().set(arg, &flock)?;
        return Ok(0);
    }
    let Some(kind) = kind else {
        locks.release(owner, range)?;
        return Ok(0);
    };
    let allowed = match kind {
        LockKind::Read => file.flags().readable(),
        LockKind::Write => file.flags().writable(),
    };
    if !allowed {
        return Err(EBADF.into());
    }
    let waits = matches!(command, sys::F_SETLKW | sys::F_OFD_SETLKW);
    acquire(cx, locks, wanted(kind), if waits { Patience::Wait } else { Patience::Fail })?;
    // Another thread may have closed the descriptor meanwhile, and with it all locks that were there then.
    let same = cx.files.get_any(fd).is_ok_and(|now| core::ptr::eq(&*now, file));
    if !same && !by_file {
        locks.release(owner, range)?;
        return Err(EBADF.into());
    }
    Ok(0)
}

fn acquire<H: Host>(
    cx: &Cx<'_, H>,
    locks: &FileLocks,
    wanted: RecordLock,
    patience: Patience,
) -> Result<(), SysError> {
    let waits = &cx.fs.namespace().lock_waits;
    loop {
        let Err(other) = locks.acquire(wanted)? else { return Ok(()) };
        if patience == Patience::Fail {
            return Err(EAGAIN.into());
        }
        // Open files are not looked at for circles, as on Linux.
        let watched = matches!((wanted.owner, other.owner), (LockOwner::Process(_), LockOwner::Process(_)));
        if watched {
            waits.begin(wanted.owner, other.owner)?;
        }
        let waited = cx.wait_until(&[(&locks.released, Events::all())], None, || {
            // Whoever is in the way now, if it is not the same any more, is looked at for circles anew.
            match locks.conflict(&wanted) {
                Some(now) if now.owner == other.owner => None,
                _ => Some(()),
            }
        });
        if watched {
            waits.end(wanted.owner, other.owner);
        }
        if let Wait::Interrupted = waited {
            return Err(SysError::Restart(Restart::WithFlag));
        }
    }
}

/// The bytes that a `struct flock` means. EINVAL if they start before the file, EOVERFLOW if they end too far behind.
fn range_of(file: &OpenFile, flock: &Flock) -> Result<LockRange> {
    let base = match flock.whence {
        0 => 0,
        1 => *file.position.lock(),
        2 => file.inode.metadata().size,
        _ => return Err(EINVAL),
    };
    let base = i64::try_from(base).map_err(|_| EOVERFLOW)?;
    let start = base.checked_add(flock.start).ok_or(EOVERFLOW)?;
    let (start, end) = match flock.len {
        0 => (start, LOCK_END as i64),
        len if len > 0 => (start, start.checked_add(len - 1).ok_or(EOVERFLOW)?),
        len => (start.checked_add(len).ok_or(EINVAL)?, start.checked_sub(1).ok_or(EINVAL)?),
    };
    Ok(LockRange {
        start: u64::try_from(start).map_err(|_| EINVAL)?,
        end: u64::try_from(end).map_err(|_| EINVAL)?,
    })
}

fn described<H: Host>(cx: &Cx<'_, H>, lock: &RecordLock, flock: &Flock) -> Flock {
    let len = if lock.range.end == LOCK_END { 0 } else { (lock.range.end - lock.range.start + 1) as i64 };
    Flock {
        kind: match lock.kind {
            LockKind::Read => F_RDLCK,
            LockKind::Write => F_WRLCK,
        },
        whence: 0,
        start: lock.range.start as i64,
        len,
        pid: match lock.owner {
            LockOwner::Process(_) => cx.shown_pid(lock.pid) as i32,
            LockOwner::File(_) => -1,
        },
        ..*flock
    }
}

/// `flock(2)`.
pub fn flock<H: Host>(cx: &Cx<'_, H>, fd: RawFd, operation: u32) -> SysResult {
    let kind = match operation & !LOCK_NB {
        LOCK_SH => Some(LockKind::Read),
        LOCK_EX => Some(LockKind::Write),
        LOCK_UN => None,
        _ => return Err(EINVAL.into()),
    };
    let file = cx.file(fd)?;
    if kind.is_some() && !file.flags().readable() && !file.flags().writable() {
        return Err(EBADF.into());
    }
    let locks = file.inode.locks().ok_or(ENOLCK)?;
    let Some(kind) = kind else {
        locks.unflock(file.lock_key());
        return Ok(0);
    };
    let attempt = || match locks.flock(file.lock_key(), kind) {
        Err(EAGAIN) => None,
        result => Some(result),
    };
    if operation & LOCK_NB != 0 {
        locks.flock(file.lock_key(), kind)?;
        return Ok(0);
    }
    match cx.wait_until(&[(&locks.released, Events::all())], None, attempt) {
        Wait::Ready(result) => Ok(result.map(|()| 0)?),
        Wait::TimedOut | Wait::Interrupted => Err(SysError::Restart(Restart::WithFlag)),
    }
}
