//! Descriptors for events: eventfd(2), timerfd_create(2), signalfd(2), pidfd_open(2), inotify(7).

use std::ptr::null_mut;

use libc::{c_int, itimerspec};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    eventfd_adds_and_clears,
    eventfd_semaphore,
    eventfd_limits,
    eventfd_wakes,
    timerfd_counts_expirations,
    timerfd_absolute_and_disarm,
    timerfd_refuses,
    signalfd_reads_siginfo,
    signalfd_changes_its_mask,
    signalfd_polls,
    pidfd_is_ready_at_the_end,
    pidfd_signals,
    proc_directory_is_a_pidfd,
    pidfd_refuses,
    pidfd_getfd_takes,
    inotify_tells,
    inotify_refuses,
    positions_are_always_the_start,
];

/// The number that such a descriptor yields.
fn number(fd: c_int) -> Done<u64> {
    let bytes = get8(fd)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn get8(fd: c_int) -> Done<[u8; 8]> {
    let mut bytes = [0u8; 8];
    // SAFETY: eight bytes fit.
    eq(ok(unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), 8) })?, 8)?;
    Ok(bytes)
}

unsafe fn ready(fd: c_int, ms: c_int) -> Done<bool> {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    ok(libc::poll(&mut one, 1, ms))?;
    Ok(one.revents == libc::POLLIN)
}

unsafe fn eventfd_adds_and_clears() -> Done {
    let fd = ok(libc::eventfd(3, libc::EFD_NONBLOCK))?;
    put(fd, &4u64.to_ne_bytes())?;
    check(ready(fd, 0)?, "readable")?;
    eq(number(fd)?, 7)?;
    let mut eight = [0u8; 8];
    fails(libc::read(fd, eight.as_mut_ptr().cast(), 8), libc::EAGAIN)?;
    fails(libc::read(fd, eight.as_mut_ptr().cast(), 7), libc::EINVAL)
}

unsafe fn eventfd_semaphore() -> Done {
    let fd = ok(libc::eventfd(2, libc::EFD_SEMAPHORE | libc::EFD_NONBLOCK))?;
    eq((number(fd)?, number(fd)?), (1, 1))?;
    check(!ready(fd, 0)?, "used up")
}

unsafe fn eventfd_limits() -> Done {
    let fd = ok(libc::eventfd(0, libc::EFD_NONBLOCK))?;
    fails(libc::write(fd, u64::MAX.to_ne_bytes().as_ptr().cast(), 8), libc::EINVAL)?;
    put(fd, &(u64::MAX - 1).to_ne_bytes())?;
    fails(libc::write(fd, 1u64.to_ne_bytes().as_ptr().cast(), 8), libc::EAGAIN)?;
    fails(libc::write(fd, [0u8; 4].as_ptr().cast(), 4), libc::EINVAL)?;
    eq(number(fd)?, u64::MAX - 1)?;
    fails(libc::eventfd(0, 64), libc::EINVAL)
}

unsafe fn eventfd_wakes() -> Done {
    let fd = ok(libc::eventfd(0, 0))?;
    let pid = spawn(|| eq(number(fd)?, 5))?;
    asleep(pid);
    put(fd, &5u64.to_ne_bytes())?;
    join(pid)
}

fn every(ms: i64, interval: i64) -> itimerspec {
    itimerspec { it_value: span(ms), it_interval: span(interval) }
}

unsafe fn timerfd_counts_expirations() -> Done {
    let fd = ok(libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK))?;
    let mut eight = [0u8; 8];
    fails(libc::read(fd, eight.as_mut_ptr().cast(), 8), libc::EAGAIN)?;
    ok(libc::timerfd_settime(fd, 0, &every(20, 10), null_mut()))?;
    check(!ready(fd, 0)?, "not yet")?;
    check(ready(fd, 2000)?, "now")?;
    sleep_ms(50);
    let n = number(fd)?;
    check((3..200).contains(&n), "several were missed and counted")?;
    let mut left = every(0, 0);
    ok(libc::timerfd_gettime(fd, &mut left))?;
    eq(left.it_interval.tv_nsec, 10_000_000)?;
    check(left.it_value.tv_nsec <= 10_000_000, "the rest")
}

unsafe fn timerfd_absolute_and_disarm() -> Done {
    let fd = ok(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0))?;
    ok(libc::timerfd_settime(fd, libc::TFD_TIMER_ABSTIME, &every(1, 0), null_mut()))?; // long ago
    eq(number(fd)?, 1)?;
    ok(libc::timerfd_settime(fd, 0, &every(5000, 0), null_mut()))?;
    let mut old = every(0, 0);
    ok(libc::timerfd_settime(fd, 0, &every(0, 0), &mut old))?;
    check(old.it_value.tv_sec == 4 || old.it_value.tv_sec == 5, "the old one is told")?;
    ok(libc::timerfd_gettime(fd, &mut old))?;
    eq((old.it_value.tv_sec, old.it_value.tv_nsec), (0, 0))?;
    check(!ready(fd, 20)?, "disarmed")
}

unsafe fn timerfd_refuses() -> Done {
    fails(libc::timerfd_create(99, 0), libc::EINVAL)?;
    fails(libc::timerfd_create(libc::CLOCK_MONOTONIC, 1), libc::EINVAL)?;
    let fd = ok(libc::timerfd_create(libc::CLOCK_REALTIME, 0))?;
    let mut bad = every(0, 0);
    bad.it_value.tv_nsec = 1_000_000_000;
    fails(libc::timerfd_settime(fd, 0, &bad, null_mut()), libc::EINVAL)?;
    fails(libc::timerfd_settime(fd, 64, &every(1, 0), null_mut()), libc::EINVAL)?;
    fails(libc::timerfd_settime(2, 0, &every(1, 0), null_mut()), libc::EINVAL)?;
    fails(libc::timerfd_gettime(999, &mut bad), libc::EBADF)
}

unsafe fn signalfd_reads_siginfo() -> Done {
    block(&[libc::SIGUSR1, 40])?;
    let fd = ok(libc::signalfd(-1, &set(&[libc::SIGUSR1, 40]), libc::SFD_NONBLOCK))?;
    let mut info: libc::signalfd_siginfo = std::mem::zeroed();
    let read = |info: &mut libc::signalfd_siginfo, len: usize| libc::read(fd, (&raw mut *info).cast(), len);
    fails(read(&mut info, 128), libc::EAGAIN)?;
    ok(libc::kill(libc::getpid(), libc::SIGUSR1))?;
    fails(read(&mut info, 127), libc::EINVAL)?;
    eq(read(&mut info, 128), 128)?;
    eq((info.ssi_signo, info.ssi_code, info.ssi_pid), (10, 0, libc::getpid() as u32))?;
    ok(libc::sigqueue(libc::getpid(), 40, libc::sigval { sival_ptr: 99 as *mut libc::c_void }))?;
    eq(read(&mut info, 128), 128)?;
    eq((info.ssi_signo, info.ssi_ptr), (40, 99))
}

unsafe fn signalfd_changes_its_mask() -> Done {
    block(&[libc::SIGUSR1, libc::SIGUSR2])?;
    let fd = ok(libc::signalfd(-1, &set(&[libc::SIGUSR1]), libc::SFD_NONBLOCK))?;
    ok(libc::raise(libc::SIGUSR2))?;
    check(!ready(fd, 0)?, "not its signal")?;
    eq(libc::signalfd(fd, &set(&[libc::SIGUSR2]), 0), fd)?;
    check(ready(fd, 0)?, "its signal now")?;
    fails(libc::signalfd(2, &set(&[]), 0), libc::EINVAL)?;
    fails(libc::signalfd(-1, &set(&[]), 64), libc::EINVAL)
}

unsafe fn signalfd_polls() -> Done {
    block(&[libc::SIGCHLD])?;
    let fd = ok(libc::signalfd(-1, &set(&[libc::SIGCHLD]), 0))?;
    let pid = spawn(|| {
        sleep_ms(20);
        Ok(())
    })?;
    check(ready(fd, 3000)?, "the child's end is told")?;
    eq(get(fd)?.len(), 128)?;
    join(pid)
}

unsafe fn pidfd(pid: c_int) -> c_int {
    libc::syscall(libc::SYS_pidfd_open, pid, 0) as c_int
}

unsafe fn pidfd_is_ready_at_the_end() -> Done {
    let pid = spawn(|| {
        sleep_ms(30);
        Ok(())
    })?;
    let fd = ok(pidfd(pid))?;
    check(!ready(fd, 0)?, "it lives")?;
    check(ready(fd, 3000)?, "it ended")?;
    join(pid)
}

unsafe fn pidfd_signals() -> Done {
    let pid = spawn(|| {
        sleep_ms(5000);
        Ok(())
    })?;
    let fd = ok(pidfd(pid))?;
    let send = |signal: c_int, flags: c_int| libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, 0, flags);
    ok(send(0, 0))?;
    fails(send(65, 0), libc::EINVAL)?;
    fails(send(0, 1 << 20), libc::EINVAL)?;
    ok(send(libc::SIGKILL, 0))?;
    dies_of(pid, libc::SIGKILL)?;
    fails(send(0, 0), libc::ESRCH)
}

unsafe fn proc_directory_is_a_pidfd() -> Done {
    let pid = spawn(|| {
        sleep_ms(5000);
        Ok(())
    })?;
    let directory = |path: String| {
        let path = std::ffi::CString::new(path).unwrap_or_default();
        ok(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY))
    };
    let (process, thread) =
        (directory(format!("/proc/{pid}"))?, directory(format!("/proc/{pid}/task/{pid}"))?);
    let send = |fd: c_int, signal: c_int| libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, 0, 0);
    ok(send(process, 0))?;
    fails(send(thread, 0), libc::EBADF)?;
    fails(send(ok(libc::open(c"/".as_ptr(), libc::O_RDONLY))?, 0), libc::EBADF)?;
    ok(send(process, libc::SIGKILL))?;
    dies_of(pid, libc::SIGKILL)?;
    fails(send(process, 0), libc::ESRCH)
}

unsafe fn pidfd_refuses() -> Done {
    fails(pidfd(0), libc::EINVAL)?;
    fails(pidfd(-1), libc::EINVAL)?;
    fails(pidfd(0x3fff_fff0), libc::ESRCH)?;
    fails(libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 1 << 20), libc::EINVAL)?;
    eq(libc::fcntl(ok(pidfd(libc::getpid()))?, libc::F_GETFD), libc::FD_CLOEXEC)
}

unsafe fn pidfd_getfd_takes() -> Done {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        ok(libc::dup2(w, 70))?;
        sleep_ms(5000);
        Ok(())
    })?;
    sleep_ms(30);
    let fd = ok(pidfd(pid))?;
    let taken = libc::syscall(libc::SYS_pidfd_getfd, fd, 70, 0);
    if taken == -1 && [libc::ENOSYS, libc::EPERM].contains(&errno()) {
        return skip("pidfd_getfd is not allowed here");
    }
    put(ok(taken)? as c_int, b"x")?;
    eq(get(r)?, b"x")?;
    fails(libc::syscall(libc::SYS_pidfd_getfd, fd, 71, 0), libc::EBADF)?;
    ok(libc::kill(pid, libc::SIGKILL)).map(drop)
}

unsafe fn inotify_tells() -> Done {
    let fd = libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC);
    if fd == -1 && errno() == libc::ENOSYS {
        return skip("no inotify here");
    }
    let mask = libc::IN_CREATE | libc::IN_DELETE | libc::IN_MODIFY | libc::IN_CLOSE_WRITE;
    let watch = ok(libc::inotify_add_watch(ok(fd)?, c".".as_ptr(), mask))?;
    ok(libc::close(file(c"f", b"x")?))?;
    ok(libc::unlink(c"f".as_ptr()))?;
    let (bytes, mut at, mut masks) = (get(fd)?, 0, Vec::new());
    while at + 16 <= bytes.len() {
        let word = |i: usize| u32::from_ne_bytes(bytes[at + i..at + i + 4].try_into().unwrap_or_default());
        eq(word(0), watch as u32)?;
        check(bytes[at + 16..].starts_with(b"f\0"), "the name")?;
        masks.push(word(4));
        at += 16 + word(12) as usize;
    }
    eq(masks, [libc::IN_CREATE, libc::IN_MODIFY, libc::IN_CLOSE_WRITE, libc::IN_DELETE])
}

unsafe fn inotify_refuses() -> Done {
    let fd = libc::inotify_init1(libc::IN_NONBLOCK);
    if fd == -1 && errno() == libc::ENOSYS {
        return skip("no inotify here");
    }
    fails(libc::inotify_add_watch(ok(fd)?, c"none".as_ptr(), libc::IN_CREATE), libc::ENOENT)?;
    fails(libc::inotify_add_watch(fd, c".".as_ptr(), 0), libc::EINVAL)?;
    fails(libc::inotify_rm_watch(fd, 99), libc::EINVAL)?;
    let mut bytes = [0u8; 64];
    fails(libc::read(fd, bytes.as_mut_ptr().cast(), 64), libc::EAGAIN)?;
    fails(libc::inotify_init1(1), libc::EINVAL)
}

unsafe fn positions_are_always_the_start() -> Done {
    let mask = set(&[]);
    let descriptors = [
        libc::eventfd(0, 0),
        libc::timerfd_create(libc::CLOCK_MONOTONIC, 0),
        libc::signalfd(-1, &mask, 0),
        libc::epoll_create1(0),
        libc::inotify_init1(0),
    ];
    let mut eight = [0u8; 8];
    for fd in descriptors {
        ok(fd)?;
        for whence in [libc::SEEK_SET, libc::SEEK_CUR, libc::SEEK_END, libc::SEEK_HOLE] {
            eq(ok(libc::lseek(fd, 13, whence))?, 0)?;
        }
        fails(libc::lseek(fd, 0, 5), libc::EINVAL)?;
        fails(libc::pread(fd, eight.as_mut_ptr().cast(), 8, 0), libc::ESPIPE)?;
    }
    Ok(())
}
