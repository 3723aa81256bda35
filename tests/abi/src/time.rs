//! Clocks, sleeps and interval timers. clock_gettime(2), nanosleep(2), setitimer(2), timer_create(2).

use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

use libc::{c_int, itimerval, timespec, timeval};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    monotonic_does_not_go_back,
    clocks_agree,
    a_clock_is_one_by_call_and_by_library,
    clock_errors,
    clock_getres_is_fine,
    cpu_clocks_count,
    nanosleep_sleeps,
    nanosleep_refuses,
    clock_nanosleep_absolute,
    clock_nanosleep_errors,
    alarm_rings,
    alarm_tells_the_rest,
    itimer_repeats,
    itimer_virtual_counts_work,
    itimer_refuses,
    posix_timer_signals,
    posix_timer_overruns,
    overruns_count_until_the_signal_is_taken,
    posix_timer_refuses,
    timers_are_not_inherited,
    settime_needs_root,
    time_and_gettimeofday,
];

unsafe fn clock(id: c_int) -> Done<i64> {
    let mut now = span(0);
    ok(libc::clock_gettime(id, &mut now))?;
    Ok(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

unsafe fn monotonic_does_not_go_back() -> Done {
    let mut last = clock(libc::CLOCK_MONOTONIC)?;
    for _ in 0..10_000 {
        let now = clock(libc::CLOCK_MONOTONIC)?;
        check(now >= last, "time goes on")?;
        last = now;
    }
    let mut raw = span(0);
    ok(libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut raw))?;
    let called = raw.tv_sec * 1_000_000_000 + raw.tv_nsec;
    check(called >= last && called - last < 1_000_000_000, "the call agrees with the library")
}

unsafe fn clocks_agree() -> Done {
    let (a, b) = (clock(libc::CLOCK_REALTIME)?, clock(libc::CLOCK_REALTIME_COARSE)?);
    check((a - b).abs() < 100_000_000, "coarse is near")?;
    check(clock(libc::CLOCK_BOOTTIME)? >= clock(libc::CLOCK_MONOTONIC)? - 1_000_000_000, "boot time")?;
    clock(libc::CLOCK_MONOTONIC_RAW)?;
    clock(libc::CLOCK_TAI).map(drop)
}

unsafe fn a_clock_is_one_by_call_and_by_library() -> Done {
    let coarse = [libc::CLOCK_REALTIME_COARSE, libc::CLOCK_MONOTONIC_COARSE];
    for id in
        [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_MONOTONIC_RAW].into_iter().chain(coarse)
    {
        let call = || -> Done<i64> {
            let mut now = span(0);
            ok(libc::syscall(libc::SYS_clock_gettime, id, &mut now))?;
            Ok(now.tv_sec * 1_000_000_000 + now.tv_nsec)
        };
        for _ in 0..100 {
            let (before, read, after) = (call()?, clock(id)?, call()?);
            check(before <= read && read <= after, &format!("clock {id}: {before} {read} {after}"))?;
        }
    }
    Ok(())
}

unsafe fn clock_errors() -> Done {
    let mut now = span(0);
    let get = |id: c_int, at: usize| libc::syscall(libc::SYS_clock_gettime, id, at);
    fails(get(99, &raw mut now as usize), libc::EINVAL)?;
    fails(get(libc::CLOCK_REALTIME, 8), libc::EFAULT)
}

unsafe fn clock_getres_is_fine() -> Done {
    let mut res = span(0);
    ok(libc::clock_getres(libc::CLOCK_MONOTONIC, &mut res))?;
    eq((res.tv_sec, res.tv_nsec), (0, 1))?;
    ok(libc::syscall(libc::SYS_clock_getres, libc::CLOCK_MONOTONIC, 0))?;
    fails(libc::clock_getres(99, &mut res), libc::EINVAL)
}

unsafe fn cpu_clocks_count() -> Done {
    let begin = clock(libc::CLOCK_PROCESS_CPUTIME_ID)?;
    sleep_ms(60);
    check(clock(libc::CLOCK_PROCESS_CPUTIME_ID)? - begin < 50_000_000, "sleep does not count")?;
    let (thread, end) = (clock(libc::CLOCK_THREAD_CPUTIME_ID)?, now_ms() + 60);
    while now_ms() < end {}
    check(clock(libc::CLOCK_THREAD_CPUTIME_ID)? - thread > 10_000_000, "work counts")
}

unsafe fn nanosleep_sleeps() -> Done {
    let begin = clock(libc::CLOCK_MONOTONIC)?;
    ok(libc::nanosleep(&span(30), null_mut()))?;
    let took = clock(libc::CLOCK_MONOTONIC)? - begin;
    check((30_000_000..1_000_000_000).contains(&took), "30 ms, never less")?;
    ok(libc::nanosleep(&span(0), null_mut())).map(drop)
}

unsafe fn nanosleep_refuses() -> Done {
    let bad = |s: i64, ns: i64| libc::nanosleep(&timespec { tv_sec: s, tv_nsec: ns }, null_mut());
    fails(bad(0, 1_000_000_000), libc::EINVAL)?;
    fails(bad(0, -1), libc::EINVAL)?;
    fails(bad(-1, 0), libc::EINVAL)
}

unsafe fn clock_nanosleep_absolute() -> Done {
    let begin = now_ms();
    let sleep = |id: c_int, time: timespec| libc::clock_nanosleep(id, libc::TIMER_ABSTIME, &time, null_mut());
    eq(sleep(libc::CLOCK_MONOTONIC, span(begin + 40)), 0)?;
    check((39..1000).contains(&(now_ms() - begin)), "it took 40 ms")?;
    eq(sleep(libc::CLOCK_REALTIME, span(1000)), 0) // long ago
}

unsafe fn clock_nanosleep_errors() -> Done {
    eq(libc::clock_nanosleep(99, 0, &span(0), null_mut()), libc::EINVAL)?;
    eq(libc::clock_nanosleep(libc::CLOCK_THREAD_CPUTIME_ID, 0, &span(0), null_mut()), libc::EINVAL)?;
    on(libc::SIGALRM, note, libc::SA_RESTART)?;
    arm(libc::ITIMER_REAL, 20, 0)?;
    let mut left = span(0);
    eq(libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &span(5000), &mut left), libc::EINTR)?;
    check(left.tv_sec == 4, "the rest was written")
}

unsafe fn arm(which: c_int, ms: i64, interval: i64) -> Done<itimerval> {
    let time = |ms: i64| timeval { tv_sec: ms / 1000, tv_usec: ms % 1000 * 1000 };
    let new = itimerval { it_value: time(ms), it_interval: time(interval) };
    let mut old = std::mem::zeroed();
    ok(libc::syscall(libc::SYS_setitimer, which, &new, &mut old))?;
    Ok(old)
}

unsafe fn alarm_rings() -> Done {
    let pid = spawn(|| {
        libc::alarm(1);
        sleep_ms(5000);
        Ok(())
    })?;
    dies_of(pid, libc::SIGALRM)
}

unsafe fn alarm_tells_the_rest() -> Done {
    eq(libc::alarm(100), 0)?;
    check((99..=100).contains(&libc::alarm(50)), "about a hundred")?;
    check((49..=50).contains(&libc::alarm(0)), "about fifty")?;
    eq(libc::alarm(0), 0)
}

unsafe fn itimer_repeats() -> Done {
    on(libc::SIGALRM, note, libc::SA_RESTART)?;
    arm(libc::ITIMER_REAL, 10, 10)?;
    soon("it rings three times", || SIGNALS.load(SeqCst) >= 3)?;
    eq(LAST_CODE.load(SeqCst), 0x80)?; // SI_KERNEL
    let old = arm(libc::ITIMER_REAL, 0, 0)?;
    eq(old.it_interval.tv_usec, 10_000)?;
    let n = SIGNALS.load(SeqCst);
    sleep_ms(40);
    check(SIGNALS.load(SeqCst) <= n + 1, "it is quiet")
}

unsafe fn itimer_virtual_counts_work() -> Done {
    on(libc::SIGVTALRM, note, libc::SA_RESTART)?;
    arm(libc::ITIMER_VIRTUAL, 20, 0)?;
    sleep_ms(60);
    eq(SIGNALS.load(SeqCst), 0)?; // sleep does not count
    let end = now_ms() + 4000;
    while SIGNALS.load(SeqCst) == 0 && now_ms() < end {
        std::hint::black_box(now_ms());
    }
    eq(SIGNALS.load(SeqCst), 1)
}

unsafe fn itimer_refuses() -> Done {
    let mut value: itimerval = std::mem::zeroed();
    fails(libc::syscall(libc::SYS_setitimer, 9, &value, 0), libc::EINVAL)?;
    value.it_value.tv_usec = 1_000_000;
    fails(libc::syscall(libc::SYS_setitimer, 0, &value, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_getitimer, 9, &mut value), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_getitimer, 0, 8usize), libc::EFAULT)
}

/// A POSIX timer that queues `signal` with the value 77.
unsafe fn timer(signal: c_int) -> Done<c_int> {
    let mut event: libc::sigevent = std::mem::zeroed();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = 77 as *mut libc::c_void;
    let mut id: c_int = -1;
    if libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut id) == -1 {
        return if errno() == libc::ENOSYS { skip("no timer_create here") } else { fail(name_of(errno())) };
    }
    Ok(id)
}

unsafe fn set_timer(id: c_int, ms: i64, interval: i64) -> libc::c_long {
    let value = libc::itimerspec { it_value: span(ms), it_interval: span(interval) };
    libc::syscall(libc::SYS_timer_settime, id, 0, &value, 0)
}

unsafe fn posix_timer_signals() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let id = timer(libc::SIGUSR1)?;
    ok(set_timer(id, 10, 0))?;
    soon("it signals", || SIGNALS.load(SeqCst) == 1)?;
    eq((LAST_CODE.load(SeqCst), LAST_VALUE.load(SeqCst)), (libc::SI_TIMER, 77))?;
    ok(libc::syscall(libc::SYS_timer_delete, id))?;
    fails(set_timer(id, 10, 0), libc::EINVAL)
}

unsafe fn posix_timer_overruns() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let id = timer(libc::SIGUSR1)?;
    block(&[libc::SIGUSR1])?;
    ok(set_timer(id, 40, 40))?;
    // Half a period before the next one.
    sleep_ms(220);
    unblock(&[libc::SIGUSR1])?;
    eq(SIGNALS.load(SeqCst), 1)?; // one signal for them all
    check(ok(libc::syscall(libc::SYS_timer_getoverrun, id))? >= 3, "the others were counted")
}

/// `si_overrun` of a signal that is taken now.
unsafe fn taken_overrun(signal: c_int) -> Done<c_int> {
    let mut info: libc::siginfo_t = std::mem::zeroed();
    eq(libc::sigtimedwait(&set(&[signal]), &mut info, &span(3000)), signal)?;
    eq(info.si_code, libc::SI_TIMER)?;
    // Behind the timer's id, which comes first in the union.
    let words = (&raw const info).cast::<c_int>();
    Ok(words.add(5).read())
}

unsafe fn overruns_count_until_the_signal_is_taken() -> Done {
    let id = timer(libc::SIGUSR1)?;
    block(&[libc::SIGUSR1])?;
    ok(set_timer(id, 40, 40))?;
    sleep_ms(220);
    eq(libc::syscall(libc::SYS_timer_getoverrun, id), 0)?; // no signal was taken yet
    let first = taken_overrun(libc::SIGUSR1)?;
    check(first >= 3, "the signal tells of those before it was taken")?;
    eq(libc::syscall(libc::SYS_timer_getoverrun, id), first.into())?;
    sleep_ms(60);
    // What the next signal will tell of is not told before.
    eq(libc::syscall(libc::SYS_timer_getoverrun, id), first.into())?;
    ok(set_timer(id, 0, 0))?;
    eq(libc::syscall(libc::SYS_timer_getoverrun, id), 0)
}

unsafe fn posix_timer_refuses() -> Done {
    let mut id: c_int = 0;
    let mut create = |clock: c_int| libc::syscall(libc::SYS_timer_create, clock, 0, &raw mut id);
    if create(99) == -1 && errno() == libc::ENOSYS {
        return skip("no timer_create here");
    }
    fails(create(99), libc::EINVAL)?;
    fails(set_timer(12345, 1, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_timer_delete, 12345), libc::EINVAL)
}

unsafe fn timers_are_not_inherited() -> Done {
    libc::alarm(100);
    in_child(|| eq(libc::alarm(0), 0))?;
    check(libc::alarm(0) > 0, "the parent's goes on")
}

unsafe fn settime_needs_root() -> Done {
    in_child(|| {
        drop_root()?;
        fails(libc::clock_settime(libc::CLOCK_REALTIME, &span(1000)), libc::EPERM)?;
        fails(libc::clock_settime(libc::CLOCK_MONOTONIC, &span(1000)), libc::EINVAL)
    })
}

unsafe fn time_and_gettimeofday() -> Done {
    let mut now = timeval { tv_sec: 0, tv_usec: 0 };
    ok(libc::syscall(libc::SYS_gettimeofday, &mut now, 0))?;
    let seconds = libc::syscall(libc::SYS_time, 0);
    check((seconds - now.tv_sec).abs() <= 1, "they agree")?;
    check(seconds > 1_600_000_000, "and make sense")?;
    fails(libc::syscall(libc::SYS_gettimeofday, 8usize, 0), libc::EFAULT)
}
