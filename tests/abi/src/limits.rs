//! Limits of what users and files may have of the kernel: getrlimit(2), epoll(7), path_resolution(7).

use std::ptr::null_mut;

use libc::{c_int, epoll_event};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    signals_and_timers_of_a_user_share_a_limit,
    timers_that_nobody_hears_stop_nobody,
    signals_of_timers_are_their_own,
    ways_through_epoll_are_few,
    paths_longer_than_path_max_are_refused,
];

/// A user that nobody else is.
const USER: u32 = 54_321;

unsafe fn queue(pid: c_int) -> c_int {
    libc::sigqueue(pid, 40, libc::sigval { sival_ptr: null_mut() })
}

unsafe fn timer(signal: c_int, id: &mut c_int) -> libc::c_long {
    let mut event: libc::sigevent = std::mem::zeroed();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &mut event, id)
}

/// The first number of `SigQ` in /proc/self/status.
fn queued() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("SigQ:"))?;
    line.split_once('/')?.0.trim().parse().ok()
}

unsafe fn signals_and_timers_of_a_user_share_a_limit() -> Done {
    need_root()?;
    in_child(|| {
        block(&[40, 41])?;
        let limit = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
        ok(libc::setrlimit(libc::RLIMIT_SIGPENDING, &limit))?;
        ok(libc::setresuid(USER, USER, USER))?;
        let mut id = 0;
        ok(queue(libc::getpid()))?;
        ok(timer(41, &mut id))?;
        ok(queue(libc::getpid()))?;
        eq(queued(), Some(3))?;
        fails(queue(libc::getpid()), libc::EAGAIN)?;
        fails(timer(41, &mut 0), libc::EAGAIN)?;
        // Those of other processes of the user count, too.
        in_child(|| {
            fails(queue(libc::getpid()), libc::EAGAIN)?;
            fails(timer(41, &mut 0), libc::EAGAIN)
        })?;
        // A signal without a value is not refused for that.
        ok(libc::kill(libc::getpid(), libc::SIGURG))?;
        ok(libc::kill(libc::getpid(), 40))?;
        ok(libc::syscall(libc::SYS_timer_delete, id))?;
        ok(queue(libc::getpid()))?;
        fails(queue(libc::getpid()), libc::EAGAIN)?;
        let only = set(&[40]);
        eq(ok(libc::sigwaitinfo(&only, null_mut()))?, 40)?;
        ok(timer(41, &mut id))?;
        eq(queued(), Some(3))
    })
}

/// A standard signal that is pending already takes no timer its own.
unsafe fn signals_of_timers_are_their_own() -> Done {
    block(&[libc::SIGUSR1])?;
    ok(libc::kill(libc::getpid(), libc::SIGUSR1))?;
    let mut ids = [0; 2];
    for id in &mut ids {
        ok(timer(libc::SIGUSR1, id))?;
        let often = [0i64, 5_000_000, 0, 5_000_000];
        ok(libc::syscall(libc::SYS_timer_settime, *id, 0, often.as_ptr(), 0))?;
    }
    sleep_ms(30);
    let only = set(&[libc::SIGUSR1]);
    let mut info: libc::siginfo_t = std::mem::zeroed();
    for code in [libc::SI_USER, libc::SI_TIMER, libc::SI_TIMER, libc::SI_TIMER, libc::SI_TIMER] {
        eq(ok(libc::sigtimedwait(&only, &mut info, &span(2000)))?, libc::SIGUSR1)?;
        eq(info.si_code, code)?;
    }
    ids.iter().try_for_each(|id| ok(libc::syscall(libc::SYS_timer_delete, *id)).map(drop))
}

/// Periodic timers whose signals are blocked, ignored and taken, as often as can be.
unsafe fn timers_that_nobody_hears_stop_nobody() -> Done {
    block(&[40])?;
    dispose(41, libc::SIG_IGN)?;
    let mut ids = Vec::new();
    for n in 0..400 {
        let mut id: c_int = 0;
        ok(timer(40 + n % 2, &mut id))?;
        let often = [0i64, 1, 0, 1];
        ok(libc::syscall(libc::SYS_timer_settime, id, 0, often.as_ptr(), 0))?;
        ids.push(id);
    }
    for _ in 0..10 {
        sleep_ms(1);
        let only = set(&[40]);
        let no_time = span(0);
        eq(ok(libc::sigtimedwait(&only, null_mut(), &no_time))?, 40)?;
    }
    // Ignored and blocked again, what was queued is gone, and comes again.
    dispose(40, libc::SIG_IGN)?;
    dispose(40, libc::SIG_DFL)?;
    sleep_ms(50);
    for id in ids {
        ok(libc::syscall(libc::SYS_timer_delete, id))?;
    }
    Ok(())
}

unsafe fn ways_through_epoll_are_few() -> Done {
    let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    let watch = |epoll: c_int, fd: c_int| {
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event)
    };
    let file = ok(libc::eventfd(0, 0))?;
    let middle = ok(libc::epoll_create1(0))?;
    ok(watch(middle, file))?;
    for _ in 0..500 {
        ok(watch(ok(libc::epoll_create1(0))?, middle))?;
    }
    let last = ok(libc::epoll_create1(0))?;
    fails(watch(last, middle), libc::EINVAL)?;
    // Another file in the middle has as many ways; the same by another way has one too many.
    ok(watch(middle, ok(libc::eventfd(0, 0))?))?;
    let another = ok(libc::epoll_create1(0))?;
    ok(watch(last, another))?;
    fails(watch(another, file), libc::EINVAL)?;
    // As many as they like watch the file itself, and what was refused is not there.
    ok(watch(ok(libc::epoll_create1(0))?, file))?;
    ok(libc::eventfd_write(file, 1))?;
    let mut event = epoll_event { events: 0, u64: 0 };
    eq(ok(libc::epoll_wait(last, &mut event, 1, 0))?, 0)?;
    eq(ok(libc::epoll_wait(middle, &mut event, 1, 0))?, 1)
}

unsafe fn paths_longer_than_path_max_are_refused() -> Done {
    let name = std::ffi::CString::new(vec![b'd'; 250]).unwrap_or_default();
    for _ in 0..20 {
        ok(libc::mkdir(name.as_ptr(), 0o700))?;
        ok(libc::chdir(name.as_ptr()))?;
    }
    let mut path = vec![0u8; 16384];
    fails(libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()), libc::ENAMETOOLONG)?;
    if std::path::Path::new("/proc/self").exists() {
        let got = libc::readlink(c"/proc/self/cwd".as_ptr(), path.as_mut_ptr().cast(), path.len());
        fails(got, libc::ENAMETOOLONG)?;
    }
    for _ in 0..20 {
        ok(libc::chdir(c"..".as_ptr()))?;
        ok(libc::rmdir(name.as_ptr()))?;
    }
    Ok(())
}
