//! Waiting for several files: poll(2), select(2), epoll(7).

use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::SeqCst;

use libc::{c_int, epoll_event, pollfd};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    poll_reports_pipes,
    poll_leaves_events_alone,
    poll_bad_and_negative_descriptors,
    poll_times_out,
    poll_wakes_on_write,
    poll_regular_file_is_ready,
    poll_too_many,
    poll_is_interrupted_for_good,
    ppoll_swaps_the_mask,
    ppoll_updates_the_timeout,
    ppoll_checks_arguments,
    select_reports_and_clears,
    select_bad_descriptor,
    select_updates_the_timeout,
    pselect_swaps_the_mask,
    epoll_level_repeats,
    epoll_edge_reports_once,
    epoll_oneshot_disarms,
    epoll_ctl_errors,
    epoll_refuses_files,
    epoll_nests,
    epoll_refuses_loops,
    epoll_forgets_closed,
    epoll_dup_keeps_watching,
    epoll_wait_arguments,
    epoll_hangup_comes_unasked,
    epoll_is_fair,
    epoll_pwait_swaps_the_mask,
    epoll_shared_with_a_child,
    epoll_out_after_drain,
];

fn polled(fd: c_int, events: i16) -> pollfd {
    pollfd { fd, events, revents: 0 }
}

unsafe fn events_of(fd: c_int, events: i16) -> Done<i16> {
    let mut one = polled(fd, events);
    ok(libc::poll(&mut one, 1, 0))?;
    Ok(one.revents)
}

unsafe fn poll_reports_pipes() -> Done {
    let (r, w) = pipe()?;
    eq(events_of(r, libc::POLLIN)?, 0)?;
    eq(events_of(w, libc::POLLOUT)?, libc::POLLOUT)?;
    put(w, b"x")?;
    eq(events_of(r, libc::POLLIN | libc::POLLOUT)?, libc::POLLIN)?;
    ok(libc::close(w))?;
    eq(events_of(r, libc::POLLIN)?, libc::POLLIN | libc::POLLHUP)?;
    get(r)?;
    eq(events_of(r, libc::POLLIN)?, libc::POLLHUP)?;
    let (r, w) = pipe()?;
    ok(libc::close(r))?;
    eq(events_of(w, libc::POLLOUT)?, libc::POLLOUT | libc::POLLERR)
}

unsafe fn poll_leaves_events_alone() -> Done {
    let (r, w) = pipe()?;
    let page = memory(PAGE)?.cast::<pollfd>();
    *page = pollfd { fd: r, events: libc::POLLIN, revents: 0x7f };
    eq(libc::poll(page, 1, 0), 0)?;
    eq(((*page).fd, (*page).events, (*page).revents), (r, libc::POLLIN, 0))?;
    put(w, b"x")?;
    eq(libc::poll(page, 1, 0), 1)?;
    eq(((*page).events, (*page).revents), (libc::POLLIN, libc::POLLIN))
}

unsafe fn poll_bad_and_negative_descriptors() -> Done {
    let mut list = [polled(999, libc::POLLIN), polled(-1, libc::POLLIN), polled(-5, 0)];
    eq(libc::poll(list.as_mut_ptr(), 3, 0), 1)?;
    eq(list.map(|one| one.revents), [libc::POLLNVAL, 0, 0])
}

unsafe fn poll_times_out() -> Done {
    let begin = now_ms();
    eq(libc::poll(null_mut(), 0, 50), 0)?;
    let took = now_ms() - begin;
    check((49..1000).contains(&took), "it took 50 ms")
}

unsafe fn poll_wakes_on_write() -> Done {
    let (r, w) = pipe()?;
    let me = libc::getpid();
    let pid = spawn(|| {
        asleep(me);
        put(w, b"x")
    })?;
    let mut one = polled(r, libc::POLLIN);
    eq(libc::poll(&mut one, 1, 5000), 1)?;
    join(pid)
}

unsafe fn poll_regular_file_is_ready() -> Done {
    let fd = file(c"f", b"")?;
    eq(events_of(fd, libc::POLLIN | libc::POLLOUT)?, libc::POLLIN | libc::POLLOUT)?;
    let null = ok(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR))?;
    eq(events_of(null, libc::POLLIN | libc::POLLOUT)?, libc::POLLIN | libc::POLLOUT)
}

unsafe fn poll_too_many() -> Done {
    let mut one = polled(0, 0);
    fails(libc::poll(&mut one, libc::nfds_t::MAX / 2, 0), libc::EINVAL)?;
    fails(libc::poll(8 as *mut pollfd, 1, 0), libc::EFAULT)
}

/// Signals this process once it sleeps.
unsafe fn signal_when_asleep(signal: c_int) -> Done<c_int> {
    let me = libc::getpid();
    spawn(|| {
        asleep(me);
        ok(libc::kill(me, signal)).map(drop)
    })
}

unsafe fn poll_is_interrupted_for_good() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    fails(libc::poll(null_mut(), 0, 5000), libc::EINTR)?; // SA_RESTART does not matter
    join(pid)
}

unsafe fn ppoll_swaps_the_mask() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    block(&[libc::SIGUSR1])?;
    ok(libc::raise(libc::SIGUSR1))?;
    eq(SIGNALS.load(SeqCst), 0)?;
    fails(libc::ppoll(null_mut(), 0, &span(5000), &set(&[])), libc::EINTR)?;
    eq(SIGNALS.load(SeqCst), 1)?;
    ok(libc::raise(libc::SIGUSR1))?;
    eq(SIGNALS.load(SeqCst), 1) // blocked again
}

unsafe fn ppoll_updates_the_timeout() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    let mut left = span(5000);
    fails(libc::syscall(libc::SYS_ppoll, 0, 0, &mut left, 0, 8), libc::EINTR)?;
    check(left.tv_sec < 5 && left.tv_sec >= 1, "the rest of the time was written")?;
    join(pid)
}

unsafe fn ppoll_checks_arguments() -> Done {
    let bad = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(libc::syscall(libc::SYS_ppoll, 0, 0, &bad, 0, 8), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_ppoll, 0, 0, &span(0), &set(&[]), 4), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_ppoll, 0, 0, 8usize, 0, 8), libc::EFAULT)
}

unsafe fn fd_set(fds: &[c_int]) -> libc::fd_set {
    let mut set = std::mem::zeroed();
    fds.iter().for_each(|fd| libc::FD_SET(*fd, &mut set));
    set
}

unsafe fn select_reports_and_clears() -> Done {
    let (r, w) = pipe()?;
    let (other, _keep) = pipe()?;
    put(w, b"x")?;
    let (mut reads, mut writes) = (fd_set(&[r, other]), fd_set(&[w]));
    let mut zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    eq(libc::select(100, &mut reads, &mut writes, null_mut(), &mut zero), 2)?;
    check(libc::FD_ISSET(r, &reads) && !libc::FD_ISSET(other, &reads), "only the ready one is left")?;
    check(libc::FD_ISSET(w, &writes), "the writer is ready")
}

unsafe fn select_bad_descriptor() -> Done {
    let mut reads = fd_set(&[900]);
    let mut zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // Linux looks only up to the size of the descriptor table, so ask within it.
    let fd = ok(libc::dup(2))?;
    ok(libc::close(fd))?;
    let mut closed = fd_set(&[fd]);
    fails(libc::select(fd + 1, &mut closed, null_mut(), null_mut(), &mut zero), libc::EBADF)?;
    fails(libc::select(-1, &mut reads, null_mut(), null_mut(), &mut zero), libc::EINVAL)
}

unsafe fn select_updates_the_timeout() -> Done {
    let (r, w) = pipe()?;
    let me = libc::getpid();
    let pid = spawn(|| {
        asleep(me);
        put(w, b"x")
    })?;
    let mut left = libc::timeval { tv_sec: 5, tv_usec: 0 };
    eq(libc::select(r + 1, &mut fd_set(&[r]), null_mut(), null_mut(), &mut left), 1)?;
    check(left.tv_sec < 5, "the rest of the time was written")?;
    join(pid)
}

unsafe fn pselect_swaps_the_mask() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    block(&[libc::SIGUSR1])?;
    ok(libc::raise(libc::SIGUSR1))?;
    let (time, empty) = (span(5000), set(&[]));
    fails(libc::pselect(0, null_mut(), null_mut(), null_mut(), &time, &empty), libc::EINTR)?;
    eq(SIGNALS.load(SeqCst), 1)
}

unsafe fn epoll() -> Done<c_int> {
    ok(libc::epoll_create1(libc::EPOLL_CLOEXEC))
}

unsafe fn ctl(ep: c_int, op: c_int, fd: c_int, events: c_int) -> c_int {
    let mut event = epoll_event { events: events as u32, u64: fd as u64 };
    libc::epoll_ctl(ep, op, fd, &mut event)
}

/// The descriptors and events that are ready within `ms`.
#[track_caller]
fn ready(ep: c_int, ms: c_int) -> Done<Vec<(c_int, c_int)>> {
    let mut list = [epoll_event { events: 0, u64: 0 }; 8];
    // SAFETY: eight events fit.
    let n = ok(unsafe { libc::epoll_wait(ep, list.as_mut_ptr(), 8, ms) })?;
    Ok(list[..n as usize].iter().map(|event| (event.u64 as c_int, event.events as c_int)).collect())
}

unsafe fn epoll_level_repeats() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN))?;
    eq(ready(ep, 0)?, [])?;
    put(w, b"x")?;
    eq(ready(ep, 0)?, [(r, libc::EPOLLIN)])?;
    eq(ready(ep, 0)?, [(r, libc::EPOLLIN)])?;
    get(r)?;
    eq(ready(ep, 0)?, [])
}

unsafe fn epoll_edge_reports_once() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    put(w, b"before")?;
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN | libc::EPOLLET))?;
    eq(ready(ep, 0)?.len(), 1)?; // ready when it is added
    eq(ready(ep, 0)?, [])?;
    put(w, b"more")?;
    eq(ready(ep, 0)?.len(), 1)?; // new data is an edge, though the old was not read
    eq(ready(ep, 0)?, [])?;
    ok(ctl(ep, libc::EPOLL_CTL_MOD, r, libc::EPOLLIN | libc::EPOLLET))?;
    eq(ready(ep, 0)?.len(), 1) // MOD looks again
}

unsafe fn epoll_oneshot_disarms() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN | libc::EPOLLONESHOT))?;
    put(w, b"x")?;
    eq(ready(ep, 0)?.len(), 1)?;
    put(w, b"y")?;
    eq(ready(ep, 0)?, [])?;
    ok(ctl(ep, libc::EPOLL_CTL_MOD, r, libc::EPOLLIN | libc::EPOLLONESHOT))?;
    eq(ready(ep, 0)?.len(), 1)
}

unsafe fn epoll_ctl_errors() -> Done {
    let ((r, _w), ep) = (pipe()?, epoll()?);
    fails(ctl(ep, libc::EPOLL_CTL_MOD, r, libc::EPOLLIN), libc::ENOENT)?;
    fails(ctl(ep, libc::EPOLL_CTL_DEL, r, 0), libc::ENOENT)?;
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN))?;
    fails(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN), libc::EEXIST)?;
    fails(ctl(ep, 77, r, libc::EPOLLIN), libc::EINVAL)?;
    fails(ctl(ep, libc::EPOLL_CTL_ADD, 999, libc::EPOLLIN), libc::EBADF)?;
    fails(ctl(r, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN), libc::EINVAL)?;
    fails(ctl(ep, libc::EPOLL_CTL_ADD, ep, libc::EPOLLIN), libc::EINVAL)?;
    fails(libc::epoll_ctl(ep, libc::EPOLL_CTL_MOD, r, 8 as *mut epoll_event), libc::EFAULT)?;
    ok(libc::epoll_ctl(ep, libc::EPOLL_CTL_DEL, r, null_mut()))?;
    fails(libc::epoll_create1(1), libc::EINVAL)?;
    fails(libc::epoll_create(0), libc::EINVAL)
}

unsafe fn epoll_refuses_files() -> Done {
    let (fd, ep) = (file(c"f", b"")?, epoll()?);
    fails(ctl(ep, libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN), libc::EPERM)
}

unsafe fn epoll_nests() -> Done {
    let ((r, w), inner, outer) = (pipe()?, epoll()?, epoll()?);
    ok(ctl(inner, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN))?;
    ok(ctl(outer, libc::EPOLL_CTL_ADD, inner, libc::EPOLLIN))?;
    eq(ready(outer, 0)?, [])?;
    put(w, b"x")?;
    eq(ready(outer, 0)?, [(inner, libc::EPOLLIN)])?;
    eq(events_of(outer, libc::POLLIN)?, libc::POLLIN)
}

unsafe fn epoll_refuses_loops() -> Done {
    let (a, b) = (epoll()?, epoll()?);
    ok(ctl(a, libc::EPOLL_CTL_ADD, b, libc::EPOLLIN))?;
    fails(ctl(b, libc::EPOLL_CTL_ADD, a, libc::EPOLLIN), libc::ELOOP)
}

unsafe fn epoll_forgets_closed() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN))?;
    put(w, b"x")?;
    ok(libc::close(r))?;
    eq(ready(ep, 0)?, [])
}

unsafe fn epoll_dup_keeps_watching() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN))?;
    let again = ok(libc::dup(r))?;
    ok(libc::close(r))?;
    put(w, b"x")?;
    eq(ready(ep, 0)?, [(r, libc::EPOLLIN)])?; // the open file lives on in the duplicate
    fails(ctl(ep, libc::EPOLL_CTL_DEL, r, 0), libc::EBADF)?;
    ok(libc::close(again))?;
    eq(ready(ep, 0)?, [])
}

unsafe fn epoll_wait_arguments() -> Done {
    let ep = epoll()?;
    let mut one = epoll_event { events: 0, u64: 0 };
    fails(libc::epoll_wait(ep, &mut one, 0, 0), libc::EINVAL)?;
    fails(libc::epoll_wait(ep, &mut one, -1, 0), libc::EINVAL)?;
    fails(libc::epoll_wait(999, &mut one, 1, 0), libc::EBADF)?;
    let (r, _w) = pipe()?;
    fails(libc::epoll_wait(r, &mut one, 1, 0), libc::EINVAL)
}

unsafe fn epoll_hangup_comes_unasked() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, 0))?;
    ok(libc::close(w))?;
    eq(ready(ep, 1000)?, [(r, libc::EPOLLHUP)])
}

unsafe fn epoll_is_fair() -> Done {
    let ((a, wa), (b, wb), ep) = (pipe()?, pipe()?, epoll()?);
    ok(ctl(ep, libc::EPOLL_CTL_ADD, a, libc::EPOLLIN))?;
    ok(ctl(ep, libc::EPOLL_CTL_ADD, b, libc::EPOLLIN))?;
    put(wa, b"x")?;
    put(wb, b"x")?;
    let mut one = epoll_event { events: 0, u64: 0 };
    let mut seen = Vec::new();
    for _ in 0..2 {
        eq(libc::epoll_wait(ep, &mut one, 1, 0), 1)?;
        seen.push(one.u64 as c_int);
    }
    seen.sort();
    eq(seen, [a, b])
}

unsafe fn epoll_pwait_swaps_the_mask() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    block(&[libc::SIGUSR1])?;
    ok(libc::raise(libc::SIGUSR1))?;
    let (ep, mut one) = (epoll()?, epoll_event { events: 0, u64: 0 });
    fails(libc::epoll_pwait(ep, &mut one, 1, 5000, &set(&[])), libc::EINTR)?;
    eq(SIGNALS.load(SeqCst), 1)?;
    eq(libc::epoll_pwait(ep, &mut one, 1, 0, null()), 0)
}

unsafe fn epoll_shared_with_a_child() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    ok(ctl(ep, libc::EPOLL_CTL_ADD, r, libc::EPOLLIN))?;
    let pid = spawn(|| eq(ready(ep, 5000)?, [(r, libc::EPOLLIN)]))?;
    asleep(pid);
    put(w, b"x")?;
    join(pid)
}

unsafe fn epoll_out_after_drain() -> Done {
    let ((r, w), ep) = (pipe()?, epoll()?);
    ok(libc::fcntl(w, libc::F_SETFL, libc::O_NONBLOCK))?;
    let block = [0u8; 4096];
    while libc::write(w, block.as_ptr().cast(), block.len()) > 0 {}
    eq(errno(), libc::EAGAIN)?;
    ok(ctl(ep, libc::EPOLL_CTL_ADD, w, libc::EPOLLOUT | libc::EPOLLET))?;
    eq(ready(ep, 0)?, [])?;
    get(r)?;
    eq(ready(ep, 1000)?, [(w, libc::EPOLLOUT)])
}
