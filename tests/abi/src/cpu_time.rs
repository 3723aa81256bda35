//! Timers and sleeps of CPU time.

use std::sync::atomic::Ordering::SeqCst;

use libc::{c_int, clockid_t, timespec};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    timer_of_a_process,
    timer_of_a_thread,
    timer_does_not_count_sleep,
    periodic_timer,
    timer_of_another_process,
    unknown_clocks,
    sleep_on_another_process,
    sleep_arguments,
    sleep_is_interrupted,
];

const PROCESS: clockid_t = libc::CLOCK_PROCESS_CPUTIME_ID;
const THREAD: clockid_t = libc::CLOCK_THREAD_CPUTIME_ID;

/// Computes until that is so, for two seconds at most.
fn spin(mut holds: impl FnMut() -> bool) {
    let end = now_ms() + 2000;
    while !holds() && now_ms() < end {
        std::hint::black_box((0..10_000).fold(0u64, |sum, n| sum.wrapping_mul(31) ^ n));
    }
}

#[track_caller]
unsafe fn cpu_ms(clock: clockid_t) -> Done<i64> {
    let mut now = span(0);
    ok(libc::clock_gettime(clock, &mut now))?;
    Ok(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
}

/// A timer that sends SIGUSR1, which is taken down.
#[track_caller]
unsafe fn timer(clock: clockid_t) -> Done<c_int> {
    on(libc::SIGUSR1, note, 0)?;
    let mut event: libc::sigevent = std::mem::zeroed();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR1;
    let mut id = 0;
    ok(libc::syscall(libc::SYS_timer_create, clock, &mut event, &mut id))?;
    Ok(id)
}

#[track_caller]
unsafe fn arm(id: c_int, flags: c_int, first: i64, period: i64) -> Done {
    let spec = libc::itimerspec { it_interval: span(period), it_value: span(first) };
    ok(libc::syscall(libc::SYS_timer_settime, id, flags, &spec, 0)).map(drop)
}

fn signals() -> usize {
    SIGNALS.load(SeqCst)
}

unsafe fn timer_of_a_process() -> Done {
    let id = timer(PROCESS)?;
    let begin = cpu_ms(PROCESS)?;
    arm(id, 0, 30, 0)?;
    let mut left: libc::itimerspec = std::mem::zeroed();
    ok(libc::syscall(libc::SYS_timer_gettime, id, &mut left))?;
    check(left.it_value.tv_sec == 0 && left.it_value.tv_nsec > 0, "something is left")?;
    spin(|| signals() > 0);
    eq((signals(), LAST_CODE.load(SeqCst)), (1, libc::SI_TIMER))?;
    check(cpu_ms(PROCESS)? - begin >= 29, "not too early")?;
    // By its absolute time: which is over.
    arm(id, libc::TIMER_ABSTIME, 1, 0)?;
    spin(|| signals() > 1);
    eq(signals(), 2)
}

unsafe fn timer_of_a_thread() -> Done {
    let id = timer(THREAD)?;
    arm(id, 0, 20, 0)?;
    spin(|| signals() > 0);
    eq(signals(), 1)?;
    ok(libc::syscall(libc::SYS_timer_delete, id)).map(drop)
}

unsafe fn timer_does_not_count_sleep() -> Done {
    let id = timer(PROCESS)?;
    // Long, as a guest's processor time goes on while the host runs something else.
    arm(id, 0, 150, 0)?;
    sleep_ms(200);
    eq(signals(), 0)?;
    arm(id, 0, 0, 0)?;
    let begin = now_ms();
    spin(|| now_ms() - begin > 160);
    eq(signals(), 0)
}

unsafe fn periodic_timer() -> Done {
    let id = timer(PROCESS)?;
    arm(id, 0, 15, 15)?;
    spin(|| signals() >= 3);
    check(signals() >= 3, "again and again")
}

/// The CPU time clock of a process.
unsafe fn clock_of(pid: c_int) -> clockid_t {
    !pid << 3 | 2
}

/// A child that computes until it is killed.
fn computes() -> Done<c_int> {
    spawn(|| {
        spin(|| false);
        spin(|| false);
        Ok(())
    })
}

unsafe fn timer_of_another_process() -> Done {
    let child = computes()?;
    let id = timer(clock_of(child))?;
    arm(id, 0, 30, 0)?;
    soon("the child has used its time", || signals() > 0)?;
    check(cpu_ms(clock_of(child))? >= 29, "not too early")?;
    end(child)
}

unsafe fn unknown_clocks() -> Done {
    let mut id = 0;
    fails(libc::syscall(libc::SYS_timer_create, 99, 0, &mut id), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_timer_create, clock_of(0x0fff_fff0), 0, &mut id), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_timer_create, PROCESS, 0, 8), libc::EFAULT)
}

unsafe fn nanosleep(clock: clockid_t, flags: c_int, time: &timespec, left: *mut timespec) -> libc::c_long {
    libc::syscall(libc::SYS_clock_nanosleep, clock, flags, time, left)
}

unsafe fn sleep_on_another_process() -> Done {
    let child = computes()?;
    let begin = cpu_ms(clock_of(child))?;
    eq(nanosleep(clock_of(child), 0, &span(30), std::ptr::null_mut()), 0)?;
    let used = cpu_ms(clock_of(child))?;
    check(used - begin >= 29, "not too early")?;
    eq(nanosleep(clock_of(child), libc::TIMER_ABSTIME, &span(used + 20), std::ptr::null_mut()), 0)?;
    check(cpu_ms(clock_of(child))? >= used + 19, "not too early")?;
    eq(nanosleep(clock_of(child), libc::TIMER_ABSTIME, &span(1), std::ptr::null_mut()), 0)?;
    end(child)
}

unsafe fn sleep_arguments() -> Done {
    fails(nanosleep(THREAD, 0, &span(1), std::ptr::null_mut()), libc::EOPNOTSUPP)?;
    // Its own, by its number.
    fails(nanosleep(!libc::getpid() << 3 | 6, 0, &span(1), std::ptr::null_mut()), libc::EINVAL)?;
    let bad = timespec { tv_sec: 0, tv_nsec: -1 };
    fails(nanosleep(PROCESS, 0, &bad, std::ptr::null_mut()), libc::EINVAL)
}

unsafe fn sleep_is_interrupted() -> Done {
    for flags in [0, libc::TIMER_ABSTIME] {
        let child = spawn(|| {
            on(libc::SIGUSR1, note, 0)?;
            let mut left = span(0);
            fails(nanosleep(PROCESS, flags, &span(5000), &mut left), libc::EINTR)?;
            check(flags != 0 || left.tv_sec > 3, "what is left is told")
        })?;
        asleep(child);
        ok(libc::kill(child, libc::SIGUSR1))?;
        join(child)?;
    }
    Ok(())
}
