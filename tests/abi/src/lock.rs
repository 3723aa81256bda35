//! Locks on files: POSIX, open file description, flock. fcntl(2), flock(2).

use libc::{c_int, c_short, flock};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    posix_locks_exclude,
    posix_locks_split_and_merge,
    posix_locks_end_with_any_close,
    posix_locks_are_not_inherited,
    posix_lock_waits,
    posix_wait_is_interrupted,
    posix_deadlock_is_found,
    posix_locks_need_access,
    errors_of_locks_come_in_order,
    ofd_locks_belong_to_the_file,
    flock_excludes,
    flock_is_shared_by_dup,
    flock_converts,
    lease_and_odd_commands,
];

unsafe fn lock(fd: c_int, command: c_int, kind: c_int, start: i64, len: i64) -> c_int {
    let mut lock: flock = std::mem::zeroed();
    lock.l_type = kind as c_short;
    lock.l_start = start;
    lock.l_len = len;
    libc::fcntl(fd, command, &mut lock)
}

/// Who holds a lock in the way of a write lock there: (kind, start, length, pid).
unsafe fn holder(fd: c_int, start: i64, len: i64) -> Done<(c_int, i64, i64, c_int)> {
    let mut lock: flock = std::mem::zeroed();
    lock.l_type = libc::F_WRLCK as c_short;
    lock.l_start = start;
    lock.l_len = len;
    ok(libc::fcntl(fd, libc::F_GETLK, &mut lock))?;
    Ok((c_int::from(lock.l_type), lock.l_start, lock.l_len, lock.l_pid))
}

unsafe fn posix_locks_exclude() -> Done {
    let (fd, me) = (file(c"f", b"0123456789")?, libc::getpid());
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 2, 3))?;
    ok(lock(fd, libc::F_SETLK, libc::F_RDLCK, 7, 0))?;
    in_child(|| {
        fails(lock(fd, libc::F_SETLK, libc::F_RDLCK, 0, 3), libc::EAGAIN)?;
        ok(lock(fd, libc::F_SETLK, libc::F_RDLCK, 8, 1))?;
        fails(lock(fd, libc::F_SETLK, libc::F_WRLCK, 100, 1), libc::EAGAIN)?; // length 0 is to the end of time
        eq(holder(fd, 0, 0)?, (libc::F_WRLCK, 2, 3, me))?;
        eq(holder(fd, 0, 2)?.0, libc::F_UNLCK)?;
        ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 5, 2)).map(drop)
    })
}

unsafe fn posix_locks_split_and_merge() -> Done {
    let fd = file(c"f", b"")?;
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 10))?;
    ok(lock(fd, libc::F_SETLK, libc::F_UNLCK, 4, 2))?;
    in_child(|| {
        eq(holder(fd, 0, 0)?.2, 4)?;
        eq(holder(fd, 5, 0)?.1, 6)?;
        ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 4, 2)).map(drop)
    })?;
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 4, 2))?;
    in_child(|| eq(holder(fd, 0, 0)?.2, 10))
}

unsafe fn posix_locks_end_with_any_close() -> Done {
    let fd = file(c"f", b"")?;
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0))?;
    ok(libc::close(ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?))?;
    in_child(|| ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0)).map(drop))
}

unsafe fn posix_locks_are_not_inherited() -> Done {
    let fd = file(c"f", b"")?;
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0))?;
    in_child(|| {
        fails(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0), libc::EAGAIN)?;
        ok(lock(fd, libc::F_SETLK, libc::F_UNLCK, 0, 0)).map(drop) // touches the child's own only
    })?;
    in_child(|| eq(holder(fd, 0, 0)?.0, libc::F_WRLCK))
}

unsafe fn posix_lock_waits() -> Done {
    let (fd, ready) = (file(c"f", b"")?, counter()?);
    let pid = spawn(|| {
        ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0))?;
        ready.store(1, std::sync::atomic::Ordering::SeqCst);
        sleep_ms(60);
        Ok(()) // its end unlocks
    })?;
    soon("the child has it", || ready.load(std::sync::atomic::Ordering::SeqCst) == 1)?;
    let begin = now_ms();
    ok(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 0))?;
    check(now_ms() - begin >= 20, "it waited")?;
    join(pid)
}

unsafe fn posix_wait_is_interrupted() -> Done {
    let fd = file(c"f", b"")?;
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0))?;
    let pid = spawn(|| {
        on(libc::SIGUSR1, note, 0)?;
        fails(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 0), libc::EINTR)
    })?;
    asleep(pid);
    ok(libc::kill(pid, libc::SIGUSR1))?;
    join(pid)
}

unsafe fn posix_deadlock_is_found() -> Done {
    let (fd, ready) = (file(c"f", b"")?, counter()?);
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 1))?;
    let pid = spawn(|| {
        ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 1, 1))?;
        ready.store(1, std::sync::atomic::Ordering::SeqCst);
        ok(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 1)).map(drop)
    })?;
    soon("the child has its own", || ready.load(std::sync::atomic::Ordering::SeqCst) == 1)?;
    asleep(pid);
    fails(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 1, 1), libc::EDEADLK)?;
    ok(lock(fd, libc::F_SETLK, libc::F_UNLCK, 0, 1))?;
    join(pid)
}

unsafe fn posix_locks_need_access() -> Done {
    ok(libc::close(file(c"f", b"")?))?;
    let fd = ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?;
    fails(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0), libc::EBADF)?;
    fails(lock(fd, libc::F_SETLK, 77, 0, 0), libc::EINVAL)?;
    fails(lock(fd, libc::F_SETLK, libc::F_RDLCK, -1, 0), libc::EINVAL)
}

unsafe fn errors_of_locks_come_in_order() -> Done {
    let fd = file(c"f", b"")?;
    // Asked for, the kind counts before the range; to be set, after it.
    fails(lock(fd, libc::F_GETLK, libc::F_UNLCK, i64::MAX, 2), libc::EINVAL)?;
    fails(lock(fd, libc::F_GETLK, libc::F_RDLCK, i64::MAX, 2), libc::EOVERFLOW)?;
    fails(lock(fd, libc::F_SETLK, 9, i64::MAX, 2), libc::EOVERFLOW)?;
    fails(lock(fd, libc::F_SETLK, 9, 0, 2), libc::EINVAL)?;
    fails(lock(fd, libc::F_SETLK, libc::F_RDLCK, 1, -2), libc::EINVAL)
}

unsafe fn ofd_locks_belong_to_the_file() -> Done {
    let fd = file(c"f", b"")?;
    let other = ok(libc::open(c"f".as_ptr(), libc::O_RDWR))?;
    ok(lock(fd, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 0))?;
    fails(lock(other, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 0), libc::EAGAIN)?; // the same process
    in_child(|| ok(lock(fd, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 5)).map(drop))?; // shared by fork
    ok(libc::close(fd))?;
    ok(lock(other, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 0)).map(drop)
}

unsafe fn flock_excludes() -> Done {
    let fd = file(c"f", b"")?;
    let other = ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?;
    ok(libc::flock(fd, libc::LOCK_EX))?;
    fails(libc::flock(other, libc::LOCK_EX | libc::LOCK_NB), libc::EAGAIN)?;
    ok(libc::flock(fd, libc::LOCK_SH))?;
    ok(libc::flock(other, libc::LOCK_SH | libc::LOCK_NB))?;
    fails(libc::flock(other, 0), libc::EINVAL)?;
    ok(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0)).map(drop) // another kind of lock
}

unsafe fn flock_is_shared_by_dup() -> Done {
    let fd = file(c"f", b"")?;
    let (copy, other) = (ok(libc::dup(fd))?, ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?);
    ok(libc::flock(fd, libc::LOCK_EX))?;
    ok(libc::flock(copy, libc::LOCK_EX | libc::LOCK_NB))?;
    ok(libc::close(fd))?;
    fails(libc::flock(other, libc::LOCK_EX | libc::LOCK_NB), libc::EAGAIN)?;
    ok(libc::close(copy))?;
    ok(libc::flock(other, libc::LOCK_EX | libc::LOCK_NB)).map(drop)
}

unsafe fn flock_converts() -> Done {
    let fd = file(c"f", b"")?;
    ok(libc::flock(fd, libc::LOCK_EX))?;
    let pid = spawn(|| {
        let other = ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?;
        ok(libc::flock(other, libc::LOCK_SH)).map(drop)
    })?;
    asleep(pid);
    ok(libc::flock(fd, libc::LOCK_SH))?; // wakes the reader
    join(pid)
}

unsafe fn lease_and_odd_commands() -> Done {
    let fd = file(c"f", b"")?;
    let mut wrong: flock = std::mem::zeroed();
    wrong.l_type = libc::F_RDLCK as c_short;
    wrong.l_whence = 9;
    fails(libc::fcntl(fd, libc::F_SETLK, &wrong), libc::EINVAL)?;
    fails(libc::fcntl(fd, libc::F_SETLK, 8usize), libc::EFAULT)
}
