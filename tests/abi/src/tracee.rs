//! How a tracee stops: for signals, with its process, when asked to; and what becomes of its call. ptrace(2).

use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

use libc::c_long;

use crate::cases;
use crate::support::*;
use crate::tracing::*;

pub const CASES: &[Case] = cases![
    signals_stop_first,
    a_signal_is_taken_away,
    a_signal_is_exchanged,
    signal_information_is_changed,
    pending_signals_are_shown,
    the_mask_is_read_and_set,
    attach_and_detach,
    seize_and_interrupt,
    a_stopped_process_is_attached_to,
    group_stop_of_a_seized_process,
    group_stop_of_an_attached_process,
    an_interrupted_call_starts_again,
    an_interrupted_sleep_goes_on,
    an_interrupted_call_is_called_off,
    waitid_tells_what_wait_tells,
    the_parent_gets_a_signal,
    proc_tells,
    memory_as_a_file,
    memory_of_strangers,
];

unsafe fn signals_stop_first() -> Done {
    let pid = tracee(0, || {
        on(libc::SIGUSR1, note, 0)?;
        // An ignored one is seen by the tracer, too.
        dispose(libc::SIGUSR2, libc::SIG_IGN)?;
        libc::raise(libc::SIGUSR2);
        libc::raise(libc::SIGUSR1);
        eq((SIGNALS.load(SeqCst), LAST_CODE.load(SeqCst)), (1, libc::SI_TKILL))
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGUSR2)?;
    go(pid, libc::PTRACE_CONT, libc::SIGUSR2)?;
    stops(pid, libc::SIGUSR1)?;
    let mut info: libc::siginfo_t = std::mem::zeroed();
    req(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64)?;
    eq((info.si_signo, info.si_code, info.si_pid()), (libc::SIGUSR1, libc::SI_TKILL, pid))?;
    go(pid, libc::PTRACE_CONT, libc::SIGUSR1)?;
    ends_well(pid)
}

unsafe fn a_signal_is_taken_away() -> Done {
    let pid = tracee(0, || {
        libc::raise(libc::SIGTERM);
        Ok(())
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTERM)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn a_signal_is_exchanged() -> Done {
    let pid = tracee(0, || {
        on(libc::SIGUSR2, note, 0)?;
        libc::raise(libc::SIGUSR1);
        eq((SIGNALS.load(SeqCst), LAST_SIGNAL.load(SeqCst)), (1, libc::SIGUSR2))?;
        eq((LAST_CODE.load(SeqCst), LAST_PID.load(SeqCst)), (0, libc::getppid()))?;
        // What comes blocked waits.
        block(&[libc::SIGUSR2])?;
        libc::raise(libc::SIGUSR1);
        eq(SIGNALS.load(SeqCst), 1)?;
        unblock(&[libc::SIGUSR2])?;
        eq(SIGNALS.load(SeqCst), 2)
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGUSR1)?;
    go(pid, libc::PTRACE_CONT, libc::SIGUSR2)?;
    stops(pid, libc::SIGUSR1)?;
    go(pid, libc::PTRACE_CONT, libc::SIGUSR2)?;
    stops(pid, libc::SIGUSR2)?;
    go(pid, libc::PTRACE_CONT, libc::SIGUSR2)?;
    ends_well(pid)
}

unsafe fn signal_information_is_changed() -> Done {
    let pid = tracee(0, || {
        on(libc::SIGUSR1, note, 0)?;
        libc::raise(libc::SIGUSR1);
        eq((LAST_CODE.load(SeqCst), LAST_VALUE.load(SeqCst)), (libc::SI_QUEUE, 99))
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGUSR1)?;
    let mut words = [0u64; 16];
    req(libc::PTRACE_GETSIGINFO, pid, 0, words.as_mut_ptr() as u64)?;
    words[1] = u64::from(libc::SI_QUEUE as u32);
    words[3] = 99;
    req(libc::PTRACE_SETSIGINFO, pid, 0, words.as_mut_ptr() as u64)?;
    go(pid, libc::PTRACE_CONT, libc::SIGUSR1)?;
    ends_well(pid)
}

unsafe fn pending_signals_are_shown() -> Done {
    let pid = tracee(0, || {
        block(&[libc::SIGUSR1, libc::SIGUSR2])?;
        libc::raise(libc::SIGUSR1);
        libc::kill(libc::getpid(), libc::SIGUSR2);
        libc::raise(libc::SIGSTOP);
        Ok(())
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGSTOP)?;
    let peek = |offset: u64, flags: u64, count: u64| {
        let args = [offset, flags | count << 32];
        let mut infos: [libc::siginfo_t; 4] = std::mem::zeroed();
        let found = request(0x4209, pid, args.as_ptr() as u64, infos.as_mut_ptr() as u64);
        (found, infos[0].si_signo)
    };
    eq(peek(0, 0, 4), (1, libc::SIGUSR1))?;
    eq(peek(0, 1, 4), (1, libc::SIGUSR2))?;
    eq(peek(1, 0, 4).0, 0)?;
    eq(peek(0, 2, 4).0, -1)?;
    kill_and_reap(pid)
}

unsafe fn the_mask_is_read_and_set() -> Done {
    let pid = tracee(0, || {
        block(&[libc::SIGUSR1])?;
        libc::raise(libc::SIGUSR1);
        libc::raise(libc::SIGSTOP);
        Ok(())
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGSTOP)?;
    let mut mask = 0u64;
    fails(request(0x420a, pid, 4, &raw mut mask as u64), libc::EINVAL)?;
    req(0x420a, pid, 8, &raw mut mask as u64)?;
    eq(mask, 1 << (libc::SIGUSR1 - 1))?;
    mask = 0;
    req(0x420b, pid, 8, &raw mut mask as u64)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGUSR1)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn attach_and_detach() -> Done {
    let (pid, go_ahead) = untraced(|| Ok(()))?;
    asleep(pid);
    req(libc::PTRACE_ATTACH, pid, 0, 0)?;
    stops(pid, libc::SIGSTOP)?;
    // It was in a call, which shows, and which goes on.
    let at = regs(pid)?;
    eq((at.orig_rax, at.rax as i64), (libc::SYS_read as u64, -512))?;
    fails(request(libc::PTRACE_DETACH, pid, 0, 99), libc::EIO)?;
    req(libc::PTRACE_DETACH, pid, 0, 0)?;
    fails(request(libc::PTRACE_CONT, pid, 0, 0), libc::ESRCH)?;
    put(go_ahead, b"x")?;
    ends_well(pid)?;
    // With a signal.
    let pid = sleeper()?;
    req(libc::PTRACE_ATTACH, pid, 0, 0)?;
    stops(pid, libc::SIGSTOP)?;
    req(libc::PTRACE_DETACH, pid, 0, libc::SIGTERM as u64)?;
    dies_of(pid, libc::SIGTERM)
}

unsafe fn seize_and_interrupt() -> Done {
    let (pid, go_ahead) = untraced(|| Ok(()))?;
    asleep(pid);
    req(libc::PTRACE_SEIZE, pid, 0, SYSGOOD as u64)?;
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG | libc::__WALL), 0)?;
    req(libc::PTRACE_INTERRUPT, pid, 0, 0)?;
    stops(pid, libc::SIGTRAP | EVENT_STOP << 8)?;
    let mut info: libc::siginfo_t = std::mem::zeroed();
    req(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64)?;
    eq((info.si_signo, info.si_code), (libc::SIGTRAP, libc::SIGTRAP | EVENT_STOP << 8))?;
    eq(regs(pid)?.orig_rax, libc::SYS_read as u64)?;
    // The call is made again.
    go(pid, libc::PTRACE_SYSCALL, 0)?;
    stops(pid, libc::SIGTRAP | 0x80)?;
    eq((regs(pid)?.orig_rax, message(pid)?), (libc::SYS_read as u64, 1))?;
    go(pid, libc::PTRACE_CONT, 0)?;
    put(go_ahead, b"x")?;
    ends_well(pid)?;
    let (pid, _keep) = untraced(|| Ok(()))?;
    req(libc::PTRACE_ATTACH, pid, 0, 0)?;
    stops(pid, libc::SIGSTOP)?;
    fails(request(libc::PTRACE_INTERRUPT, pid, 0, 0), libc::EIO)?;
    kill_and_reap(pid)
}

unsafe fn a_stopped_process_is_attached_to() -> Done {
    let pid = sleeper()?;
    let mut word = 0;
    ok(libc::kill(pid, libc::SIGSTOP))?;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
    req(libc::PTRACE_SEIZE, pid, 0, 0)?;
    stops(pid, libc::SIGSTOP | EVENT_STOP << 8)?;
    // Let go, it runs, though its process is stopped; a signal is seen.
    go(pid, libc::PTRACE_CONT, 0)?;
    soon("it sleeps again", || state(pid) == 'S')?;
    ok(libc::kill(pid, libc::SIGUSR1))?;
    stops(pid, libc::SIGUSR1)?;
    // Detached, it is stopped again.
    req(libc::PTRACE_DETACH, pid, 0, 0)?;
    soon("it is stopped", || state(pid) == 'T')?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    soon("it sleeps", || state(pid) == 'S')?;
    kill_and_reap(pid)
}

unsafe fn group_stop_of_a_seized_process() -> Done {
    let pid = sleeper()?;
    req(libc::PTRACE_SEIZE, pid, 0, 0)?;
    ok(libc::kill(pid, libc::SIGSTOP))?;
    stops(pid, libc::SIGSTOP)?;
    fails(request(libc::PTRACE_LISTEN, pid, 0, 0), libc::EIO)?;
    go(pid, libc::PTRACE_CONT, libc::SIGSTOP)?;
    stops(pid, libc::SIGSTOP | EVENT_STOP << 8)?;
    let mut info: libc::siginfo_t = std::mem::zeroed();
    req(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64)?;
    eq((info.si_signo, info.si_code), (libc::SIGSTOP, libc::SIGSTOP | EVENT_STOP << 8))?;
    req(libc::PTRACE_LISTEN, pid, 0, 0)?;
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG), 0)?;
    fails(request(libc::PTRACE_CONT, pid, 0, 0), libc::ESRCH)?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    // That it goes on, and then the signal itself.
    stops(pid, libc::SIGTRAP | EVENT_STOP << 8)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGCONT)?;
    go(pid, libc::PTRACE_CONT, libc::SIGCONT)?;
    soon("it sleeps", || state(pid) == 'S')?;
    kill_and_reap(pid)
}

unsafe fn group_stop_of_an_attached_process() -> Done {
    let pid = tracee(0, || {
        libc::raise(libc::SIGSTOP);
        Ok(())
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGSTOP)?;
    go(pid, libc::PTRACE_CONT, libc::SIGSTOP)?;
    stops(pid, libc::SIGSTOP)?;
    // There is no signal about it: that tells the two apart.
    let mut info: libc::siginfo_t = std::mem::zeroed();
    fails(request(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64), libc::EINVAL)?;
    fails(request(libc::PTRACE_LISTEN, pid, 0, 0), libc::EIO)?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGCONT)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn an_interrupted_call_starts_again() -> Done {
    let (r, w) = pipe()?;
    let pid = tracee(0, || {
        on(libc::SIGUSR1, note, libc::SA_RESTART)?;
        eq(get(r)?, b"x")?;
        eq(SIGNALS.load(SeqCst), 1)
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    asleep(pid);
    // Taken away: the call starts again. Given: it does because of SA_RESTART.
    for signal in [0, libc::SIGUSR1] {
        ok(libc::kill(pid, libc::SIGUSR1))?;
        stops(pid, libc::SIGUSR1)?;
        let at = regs(pid)?;
        eq((at.orig_rax, at.rax as i64), (libc::SYS_read as u64, -512))?;
        go(pid, libc::PTRACE_CONT, signal)?;
        asleep(pid);
    }
    put(w, b"x")?;
    ends_well(pid)
}

unsafe fn an_interrupted_sleep_goes_on() -> Done {
    let pid = tracee(0, || {
        let start = now_ms();
        ok(libc::nanosleep(&span(60), null_mut()))?;
        check(now_ms() - start >= 60, "it slept long enough")
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    asleep(pid);
    ok(libc::kill(pid, libc::SIGUSR1))?;
    stops(pid, libc::SIGUSR1)?;
    let at = regs(pid)?;
    check(matches!(at.orig_rax as c_long, libc::SYS_nanosleep | libc::SYS_clock_nanosleep), "it sleeps")?;
    eq(at.rax as i64, -516)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn an_interrupted_call_is_called_off() -> Done {
    let (r, w) = pipe()?;
    let pid = tracee(0, || {
        let mut byte = 0u8;
        fails(libc::read(r, (&raw mut byte).cast(), 1), libc::EINTR)?;
        eq(libc::read(r, (&raw mut byte).cast(), 1), 1)
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    asleep(pid);
    ok(libc::kill(pid, libc::SIGUSR1))?;
    stops(pid, libc::SIGUSR1)?;
    let mut at = regs(pid)?;
    at.rax = i64::from(-libc::EINTR) as u64;
    set_regs(pid, &at)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    asleep(pid);
    put(w, b"x")?;
    ends_well(pid)
}

unsafe fn waitid_tells_what_wait_tells() -> Done {
    let pid = tracee(SYSGOOD, || Ok(()))?;
    go(pid, libc::PTRACE_SYSCALL, 0)?;
    for options in [libc::WSTOPPED | libc::WNOWAIT, libc::WSTOPPED] {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        ok(libc::waitid(libc::P_PID, pid as u32, &mut info, options | libc::__WALL))?;
        eq((info.si_code, info.si_status(), info.si_pid()), (libc::CLD_TRAPPED, libc::SIGTRAP | 0x80, pid))?;
    }
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG | libc::__WALL), 0)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn the_parent_gets_a_signal() -> Done {
    on(libc::SIGCHLD, note, libc::SA_RESTART)?;
    let pid = tracee(0, || Ok(()))?;
    eq((LAST_SIGNAL.load(SeqCst), LAST_CODE.load(SeqCst)), (libc::SIGCHLD, libc::CLD_TRAPPED))?;
    eq(LAST_PID.load(SeqCst), pid)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn proc_tells() -> Done {
    let pid = tracee(0, || Ok(()))?;
    eq(state(pid), 't')?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    check(text.contains(&format!("TracerPid:\t{}\n", libc::getpid())), "the tracer is told")?;
    check(text.contains("State:\tt (tracing stop)\n"), "so is the state")?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn memory_as_a_file() -> Done {
    static mut WORDS: [u64; 2] = [7, 8];
    let at = &raw mut WORDS as i64;
    let pid = tracee(0, || eq((&raw mut WORDS).read_volatile(), [7, 9]))?;
    let name = std::ffi::CString::new(format!("/proc/{pid}/mem")).unwrap_or_default();
    let fd = ok(libc::open(name.as_ptr(), libc::O_RDWR))?;
    let mut words = [0u64; 2];
    eq(libc::pread(fd, words.as_mut_ptr().cast(), 16, at), 16)?;
    eq(words, [7, 8])?;
    eq(ok(libc::lseek(fd, at + 8, libc::SEEK_SET))?, at + 8)?;
    eq(libc::write(fd, (&raw const NINE).cast(), 8), 8)?;
    eq(libc::lseek(fd, 0, libc::SEEK_CUR), at + 16)?;
    fails(libc::lseek(fd, 0, libc::SEEK_END), libc::EINVAL)?;
    fails(libc::pread(fd, words.as_mut_ptr().cast(), 8, 16), libc::EIO)?;
    fails(libc::pwrite(fd, (&raw const NINE).cast(), 8, 16), libc::EIO)?;
    // Code can be written, too.
    let code = call as *const () as i64;
    eq(libc::pread(fd, words.as_mut_ptr().cast(), 8, code), 8)?;
    eq(libc::pwrite(fd, words.as_ptr().cast(), 8, code), 8)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)?;
    // Nothing is left of it.
    eq(libc::pread(fd, words.as_mut_ptr().cast(), 8, at), 0)
}

static NINE: u64 = 9;

unsafe fn memory_of_strangers() -> Done {
    need_root()?;
    let pid = sleeper()?;
    let name = std::ffi::CString::new(format!("/proc/{pid}/mem")).unwrap_or_default();
    in_child(|| {
        drop_root()?;
        fails(libc::open(name.as_ptr(), libc::O_RDONLY), libc::EACCES)
    })?;
    let fd = ok(libc::open(name.as_ptr(), libc::O_RDONLY))?;
    libc::close(fd);
    kill_and_reap(pid)
}
