//! Signals that are sent: masks, queues, what handlers are told, restarts, stops. signal(7), sigaction(2).

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

use libc::{c_int, c_void, siginfo_t};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    blocked_is_pending_until_unblocked,
    ordinary_signals_merge,
    realtime_signals_queue_in_order,
    siginfo_of_kill,
    siginfo_of_tgkill,
    siginfo_of_sigqueue,
    siginfo_of_child,
    siginfo_of_killed_child,
    forged_siginfo_is_refused,
    mask_of_the_handler,
    nodefer_nests,
    resethand_resets,
    handler_mask_is_restored,
    sigaction_tells_the_old,
    sigaction_refuses,
    sigprocmask_refuses,
    kill_and_stop_cannot_be_blocked,
    ignoring_discards_pending,
    default_ignored_signals,
    default_deadly_signals,
    fork_clears_pending_keeps_mask,
    read_restarts,
    read_is_interrupted,
    write_is_cut_short,
    nanosleep_tells_the_rest,
    stop_does_not_interrupt,
    sigsuspend_waits,
    pause_ends_with_eintr,
    sigtimedwait_takes,
    sigtimedwait_times_out,
    sigtimedwait_is_interrupted,
    stop_discards_cont_and_back,
    cont_wakes_even_when_blocked,
    kill_ends_a_stopped_process,
    chld_tells_of_stops,
    nocldstop_is_quiet,
    kill_reaches_the_group,
    lowest_number_comes_first,
    handler_sees_context_mask,
    pending_is_reported,
];

fn count() -> usize {
    SIGNALS.load(SeqCst)
}

fn last() -> (c_int, c_int, c_int) {
    (LAST_SIGNAL.load(SeqCst), LAST_CODE.load(SeqCst), LAST_PID.load(SeqCst))
}

/// Sends this process a signal once it sleeps in a system call.
unsafe fn later(signal: c_int) -> Done<c_int> {
    let me = libc::getpid();
    spawn(|| {
        asleep(me);
        ok(libc::kill(me, signal)).map(drop)
    })
}

unsafe fn blocked_is_pending_until_unblocked() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    block(&[libc::SIGUSR1])?;
    ok(libc::raise(libc::SIGUSR1))?;
    eq(count(), 0)?;
    unblock(&[libc::SIGUSR1])?;
    eq(count(), 1)
}

unsafe fn ordinary_signals_merge() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    block(&[libc::SIGUSR1])?;
    for _ in 0..3 {
        ok(libc::kill(libc::getpid(), libc::SIGUSR1))?;
    }
    unblock(&[libc::SIGUSR1])?;
    eq(count(), 1)
}

static ORDER: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

extern "C" fn take_order(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: SA_SIGINFO.
    let value = unsafe { (*info).si_value().sival_ptr as usize };
    ORDER[SIGNALS.fetch_add(1, SeqCst) % 8].store(signal as usize * 100 + value, SeqCst);
}

unsafe fn queue(pid: c_int, signal: c_int, value: usize) -> c_int {
    libc::sigqueue(pid, signal, libc::sigval { sival_ptr: value as *mut c_void })
}

unsafe fn realtime_signals_queue_in_order() -> Done {
    // The handlers block all, so that each runs to its end before the next is delivered.
    for signal in [40, 41] {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = take_order as Handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigfillset(&mut action.sa_mask);
        ok(libc::sigaction(signal, &action, null_mut()))?;
    }
    block(&[40, 41])?;
    for (signal, value) in [(41, 1), (40, 2), (41, 3), (40, 4)] {
        ok(queue(libc::getpid(), signal, value))?;
    }
    unblock(&[40, 41])?;
    let seen: Vec<usize> = ORDER[..count()].iter().map(|one| one.load(SeqCst)).collect();
    eq(seen, [4002, 4004, 4101, 4103])
}

unsafe fn siginfo_of_kill() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let me = libc::getpid();
    let pid = spawn(|| ok(libc::kill(me, libc::SIGUSR1)).map(drop))?;
    join(pid)?;
    eq(last(), (libc::SIGUSR1, libc::SI_USER, pid))
}

unsafe fn siginfo_of_tgkill() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    let me = libc::getpid();
    ok(libc::syscall(libc::SYS_tgkill, me, me, libc::SIGUSR1))?;
    eq(last(), (libc::SIGUSR1, libc::SI_TKILL, me))
}

unsafe fn siginfo_of_sigqueue() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    ok(queue(libc::getpid(), libc::SIGUSR1, 0x1234_5678_9abc))?;
    eq(last(), (libc::SIGUSR1, libc::SI_QUEUE, libc::getpid()))?;
    eq(LAST_VALUE.load(SeqCst), 0x1234_5678_9abc)
}

static LAST_STATUS: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note_status(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: installed for SIGCHLD with SA_SIGINFO.
    LAST_STATUS.store(unsafe { (*info).si_status() }, SeqCst);
    note(signal, info, context);
}

unsafe fn siginfo_of_child() -> Done {
    on(libc::SIGCHLD, note_status, libc::SA_RESTART)?;
    let pid = spawn(|| libc::_exit(9))?;
    eq(libc::WEXITSTATUS(status(pid)?), 9)?;
    eq(last(), (libc::SIGCHLD, libc::CLD_EXITED, pid))?;
    eq(LAST_STATUS.load(SeqCst), 9)
}

unsafe fn siginfo_of_killed_child() -> Done {
    on(libc::SIGCHLD, note_status, libc::SA_RESTART)?;
    let pid = sleeping()?;
    ok(libc::kill(pid, libc::SIGTERM))?;
    status(pid)?;
    eq(last(), (libc::SIGCHLD, libc::CLD_KILLED, pid))?;
    eq(LAST_STATUS.load(SeqCst), libc::SIGTERM)
}

unsafe fn forged_siginfo_is_refused() -> Done {
    let mut info: siginfo_t = std::mem::zeroed();
    let send =
        |pid: c_int, info: &siginfo_t| libc::syscall(libc::SYS_rt_sigqueueinfo, pid, libc::SIGUSR1, info);
    on(libc::SIGUSR1, note, 0)?;
    let pid = sleeping()?;
    for code in [libc::SI_USER, libc::SI_TKILL, 5] {
        info.si_code = code;
        fails(send(pid, &info), libc::EPERM)?;
    }
    ok(send(libc::getpid(), &info))?; // to oneself anything goes
    eq(last().1, 5)?;
    ok(libc::kill(pid, libc::SIGKILL)).map(drop)
}

static DEPTH: AtomicI32 = AtomicI32::new(0);
static DEEPEST: AtomicI32 = AtomicI32::new(0);

extern "C" fn raise_again(signal: c_int, _: *mut siginfo_t, _: *mut c_void) {
    let depth = DEPTH.fetch_add(1, SeqCst) + 1;
    DEEPEST.fetch_max(depth, SeqCst);
    if SIGNALS.fetch_add(1, SeqCst) < 2 {
        // SAFETY: no memory is involved.
        unsafe { libc::syscall(libc::SYS_tkill, libc::getpid(), signal) };
    }
    DEPTH.fetch_sub(1, SeqCst);
}

unsafe fn mask_of_the_handler() -> Done {
    on(libc::SIGUSR1, raise_again, 0)?;
    ok(libc::raise(libc::SIGUSR1))?;
    eq((count(), DEEPEST.load(SeqCst)), (3, 1))
}

unsafe fn nodefer_nests() -> Done {
    on(libc::SIGUSR1, raise_again, libc::SA_NODEFER)?;
    ok(libc::raise(libc::SIGUSR1))?;
    eq((count(), DEEPEST.load(SeqCst)), (3, 3))
}

unsafe fn resethand_resets() -> Done {
    let pid = spawn(|| {
        on(libc::SIGUSR1, note, libc::SA_RESETHAND)?;
        ok(libc::raise(libc::SIGUSR1))?;
        eq(count(), 1)?;
        ok(libc::raise(libc::SIGUSR1)).map(drop)
    })?;
    dies_of(pid, libc::SIGUSR1)
}

unsafe fn mask() -> u64 {
    let mut mask = 0u64;
    libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0, &mut mask, 8);
    mask
}

static MASK_SEEN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

extern "C" fn take_mask(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: asks only.
    MASK_SEEN.store(unsafe { mask() }, SeqCst);
}

unsafe fn handler_mask_is_restored() -> Done {
    let mut action: libc::sigaction = std::mem::zeroed();
    action.sa_sigaction = take_mask as Handler as usize;
    action.sa_flags = libc::SA_SIGINFO;
    action.sa_mask = set(&[libc::SIGUSR2, libc::SIGKILL]);
    ok(libc::sigaction(libc::SIGUSR1, &action, null_mut()))?;
    ok(libc::syscall(libc::SYS_tkill, libc::getpid(), libc::SIGUSR1))?;
    let bit = |signal: c_int| 1u64 << (signal - 1);
    eq(MASK_SEEN.load(SeqCst), bit(libc::SIGUSR1) | bit(libc::SIGUSR2))?;
    eq(mask(), 0)
}

unsafe fn sigaction_tells_the_old() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART | libc::SA_NODEFER)?;
    let mut old: libc::sigaction = std::mem::zeroed();
    ok(libc::sigaction(libc::SIGUSR1, null(), &mut old))?;
    eq(old.sa_sigaction, note as Handler as usize)?;
    eq(old.sa_flags & !0x0400_0000, libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_NODEFER)?;
    ok(libc::sigaction(libc::SIGKILL, null(), &mut old))?;
    eq(old.sa_sigaction, libc::SIG_DFL)
}

unsafe fn sigaction_refuses() -> Done {
    let action = [0u64; 4];
    let call =
        |signal: c_int, new: usize, size: usize| libc::syscall(libc::SYS_rt_sigaction, signal, new, 0, size);
    let good = action.as_ptr() as usize;
    for signal in [0, -1, 65, libc::SIGKILL, libc::SIGSTOP] {
        fails(call(signal, good, 8), libc::EINVAL)?;
    }
    fails(call(libc::SIGUSR1, good, 16), libc::EINVAL)?;
    fails(call(libc::SIGUSR1, 8, 8), libc::EFAULT)
}

unsafe fn sigprocmask_refuses() -> Done {
    let mask = 0u64;
    let call =
        |how: c_int, set: usize, size: usize| libc::syscall(libc::SYS_rt_sigprocmask, how, set, 0, size);
    let good = &raw const mask as usize;
    fails(call(99, good, 8), libc::EINVAL)?;
    ok(call(99, 0, 8))?; // `how` does not matter without a set
    fails(call(libc::SIG_BLOCK, good, 128), libc::EINVAL)?;
    fails(call(libc::SIG_BLOCK, 8, 8), libc::EFAULT)
}

unsafe fn kill_and_stop_cannot_be_blocked() -> Done {
    let all = u64::MAX;
    ok(libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &all, 0, 8))?;
    eq(!mask(), 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1))
}

unsafe fn ignoring_discards_pending() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    block(&[libc::SIGUSR1])?;
    ok(libc::raise(libc::SIGUSR1))?;
    dispose(libc::SIGUSR1, libc::SIG_IGN)?;
    on(libc::SIGUSR1, note, 0)?;
    unblock(&[libc::SIGUSR1])?;
    eq(count(), 0)
}

unsafe fn default_ignored_signals() -> Done {
    for signal in [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT] {
        ok(libc::raise(signal))?;
    }
    Ok(())
}

unsafe fn default_deadly_signals() -> Done {
    let core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    ok(libc::setrlimit(libc::RLIMIT_CORE, &core))?;
    for signal in (1..=64).filter(|n| ![17, 18, 19, 20, 21, 22, 23, 28, 32, 33].contains(n)) {
        let pid = spawn(|| {
            libc::syscall(libc::SYS_tkill, libc::getpid(), signal);
            Ok(())
        })?;
        dies_of(pid, signal)?;
    }
    Ok(())
}

unsafe fn fork_clears_pending_keeps_mask() -> Done {
    block(&[libc::SIGUSR1])?;
    ok(libc::raise(libc::SIGUSR1))?;
    in_child(|| {
        let mut pending = set(&[]);
        ok(libc::sigpending(&mut pending))?;
        eq(libc::sigismember(&pending, libc::SIGUSR1), 0)?;
        eq(mask(), 1 << (libc::SIGUSR1 - 1))
    })
}

unsafe fn read_restarts() -> Done {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        on(libc::SIGUSR1, note, libc::SA_RESTART)?;
        eq(get(r)?, b"x")?;
        eq(count(), 1)
    })?;
    asleep(pid);
    ok(libc::kill(pid, libc::SIGUSR1))?;
    sleep_ms(20);
    put(w, b"x")?;
    join(pid)
}

unsafe fn read_is_interrupted() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    let (r, _w) = pipe()?;
    let pid = later(libc::SIGUSR1)?;
    let mut byte = 0u8;
    fails(libc::read(r, (&raw mut byte).cast(), 1), libc::EINTR)?;
    eq(count(), 1)?;
    join(pid)
}

unsafe fn write_is_cut_short() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let (_r, w) = pipe()?;
    let pid = later(libc::SIGUSR1)?;
    let data = vec![0u8; 1 << 20];
    eq(ok(libc::write(w, data.as_ptr().cast(), data.len()))?, 65536)?; // what fitted
    join(pid)
}

unsafe fn nanosleep_tells_the_rest() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let pid = later(libc::SIGUSR1)?;
    let mut left = span(0);
    fails(libc::nanosleep(&span(5000), &mut left), libc::EINTR)?;
    check((3..5).contains(&left.tv_sec), "the rest was written")?;
    join(pid)
}

unsafe fn stop_does_not_interrupt() -> Done {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        on(libc::SIGCONT, note, libc::SA_RESTART)?;
        let begin = now_ms();
        ok(libc::nanosleep(&span(100), null_mut())).or(Done::Ok(0))?;
        eq(get(r)?, b"x")?;
        check(now_ms() - begin < 5000, "in time")
    })?;
    asleep(pid);
    ok(libc::kill(pid, libc::SIGSTOP))?;
    let mut word = 0;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    put(w, b"x")?;
    join(pid)?;
    // Without a handler for SIGCONT, a sleep goes on to its end.
    let pid = spawn(|| ok(libc::nanosleep(&span(150), null_mut())).map(drop))?;
    asleep(pid);
    ok(libc::kill(pid, libc::SIGSTOP))?;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    join(pid)
}

unsafe fn sigsuspend_waits() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    block(&[libc::SIGUSR1])?;
    let pid = later(libc::SIGUSR1)?;
    fails(libc::sigsuspend(&set(&[libc::SIGUSR2])), libc::EINTR)?;
    eq(count(), 1)?;
    eq(mask(), 1 << (libc::SIGUSR1 - 1))?;
    join(pid)
}

unsafe fn pause_ends_with_eintr() -> Done {
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let pid = later(libc::SIGUSR1)?;
    fails(libc::pause(), libc::EINTR)?;
    join(pid)
}

unsafe fn sigtimedwait_takes() -> Done {
    block(&[libc::SIGUSR1, 40])?;
    ok(queue(libc::getpid(), 40, 77))?;
    let mut info: siginfo_t = std::mem::zeroed();
    eq(libc::sigtimedwait(&set(&[40, libc::SIGUSR1]), &mut info, &span(0)), 40)?;
    eq((info.si_signo, info.si_code, info.si_value().sival_ptr as usize), (40, libc::SI_QUEUE, 77))?;
    let pid = later(libc::SIGUSR1)?;
    eq(libc::sigtimedwait(&set(&[libc::SIGUSR1]), &mut info, &span(5000)), libc::SIGUSR1)?;
    eq(info.si_pid(), pid)?;
    join(pid)
}

unsafe fn sigtimedwait_times_out() -> Done {
    block(&[libc::SIGUSR1])?;
    let begin = now_ms();
    fails(libc::sigtimedwait(&set(&[libc::SIGUSR1]), null_mut(), &span(50)), libc::EAGAIN)?;
    check(now_ms() - begin >= 49, "it took 50 ms")?;
    let bad = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    fails(libc::sigtimedwait(&set(&[libc::SIGUSR1]), null_mut(), &bad), libc::EINVAL)
}

unsafe fn sigtimedwait_is_interrupted() -> Done {
    on(libc::SIGUSR2, note, libc::SA_RESTART)?;
    block(&[libc::SIGUSR1])?;
    let pid = later(libc::SIGUSR2)?;
    fails(libc::sigtimedwait(&set(&[libc::SIGUSR1]), null_mut(), &span(5000)), libc::EINTR)?;
    join(pid)
}

unsafe fn pending_has(signal: c_int) -> Done<bool> {
    let mut pending = set(&[]);
    ok(libc::sigpending(&mut pending))?;
    Ok(libc::sigismember(&pending, signal) == 1)
}

unsafe fn stop_discards_cont_and_back() -> Done {
    block(&[libc::SIGCONT, libc::SIGTSTP])?;
    ok(libc::raise(libc::SIGCONT))?;
    ok(libc::raise(libc::SIGTSTP))?;
    eq((pending_has(libc::SIGCONT)?, pending_has(libc::SIGTSTP)?), (false, true))?;
    ok(libc::raise(libc::SIGCONT))?;
    eq((pending_has(libc::SIGCONT)?, pending_has(libc::SIGTSTP)?), (true, false))
}

unsafe fn stopped(pid: c_int) -> Done {
    let mut word = 0;
    ok(libc::kill(pid, libc::SIGSTOP))?;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
    check(libc::WIFSTOPPED(word), "it stopped")
}

unsafe fn cont_wakes_even_when_blocked() -> Done {
    let pid = spawn(|| {
        block(&[libc::SIGCONT])?;
        sleep_ms(150);
        libc::_exit(4)
    })?;
    sleep_ms(30);
    stopped(pid)?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    eq(status(pid)?, 0x400)
}

unsafe fn kill_ends_a_stopped_process() -> Done {
    let pid = sleeping()?;
    stopped(pid)?;
    ok(libc::kill(pid, libc::SIGTERM))?;
    sleep_ms(20);
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG), 0)?; // pending while it is stopped
    ok(libc::kill(pid, libc::SIGKILL))?;
    dies_of(pid, libc::SIGKILL)
}

unsafe fn chld_tells_of_stops() -> Done {
    on(libc::SIGCHLD, note_status, libc::SA_RESTART)?;
    let pid = sleeping()?;
    stopped(pid)?;
    eq((last().1, last().2, LAST_STATUS.load(SeqCst)), (libc::CLD_STOPPED, pid, libc::SIGSTOP))?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    soon("it is told of the continuing", || last().1 == libc::CLD_CONTINUED)?;
    eq(LAST_STATUS.load(SeqCst), libc::SIGCONT)?;
    ok(libc::kill(pid, libc::SIGKILL))?;
    dies_of(pid, libc::SIGKILL)
}

unsafe fn nocldstop_is_quiet() -> Done {
    on(libc::SIGCHLD, note, libc::SA_NOCLDSTOP | libc::SA_RESTART)?;
    let pid = sleeping()?;
    stopped(pid)?;
    eq(count(), 0)?;
    ok(libc::kill(pid, libc::SIGKILL))?;
    dies_of(pid, libc::SIGKILL)?;
    eq(count(), 1)
}

unsafe fn kill_reaches_the_group() -> Done {
    let seen = counter()?;
    let make = || {
        spawn(|| {
            on(libc::SIGUSR1, note, 0)?;
            seen.fetch_add(1, SeqCst);
            soon("the signal", || count() == 1)
        })
    };
    let (a, b) = (make()?, make()?);
    dispose(libc::SIGUSR1, libc::SIG_IGN)?;
    soon("both are ready", || seen.load(SeqCst) == 2)?;
    ok(libc::kill(0, libc::SIGUSR1))?;
    join(a)?;
    join(b)?;
    fails(libc::kill(-0x3fff_fff0, 0), libc::ESRCH)
}

extern "C" fn take_number(signal: c_int, _: *mut siginfo_t, _: *mut c_void) {
    ORDER[SIGNALS.fetch_add(1, SeqCst) % 8].store(signal as usize, SeqCst);
}

unsafe fn lowest_number_comes_first() -> Done {
    // All frames are pushed at once, the lowest number first: so handlers run in the opposite order.
    let signals = [libc::SIGUSR2, libc::SIGUSR1, libc::SIGTERM];
    for signal in signals {
        on(signal, take_number, 0)?;
    }
    block(&signals)?;
    for signal in signals {
        ok(libc::raise(signal))?;
    }
    unblock(&signals)?;
    let seen: Vec<usize> = ORDER[..3].iter().map(|one| one.load(SeqCst)).collect();
    eq(seen, [15, 12, 10])
}

extern "C" fn block_in_context(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: SA_SIGINFO passes a context; its mask is what is set on return.
    unsafe { libc::sigaddset(&mut (*context.cast::<libc::ucontext_t>()).uc_sigmask, libc::SIGUSR2) };
}

unsafe fn handler_sees_context_mask() -> Done {
    on(libc::SIGUSR1, block_in_context, 0)?;
    ok(libc::syscall(libc::SYS_tkill, libc::getpid(), libc::SIGUSR1))?;
    eq(mask(), 1 << (libc::SIGUSR2 - 1))
}

unsafe fn pending_is_reported() -> Done {
    block(&[libc::SIGUSR1, 45])?;
    ok(libc::raise(libc::SIGUSR1))?;
    ok(libc::kill(libc::getpid(), 45))?;
    eq((pending_has(libc::SIGUSR1)?, pending_has(45)?, pending_has(46)?), (true, true, false))?;
    fails(libc::syscall(libc::SYS_rt_sigpending, 8usize, 8), libc::EFAULT)?;
    fails(libc::syscall(libc::SYS_rt_sigpending, 0, 9), libc::EINVAL)
}
