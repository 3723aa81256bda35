//! Waiting for children and what is reported of them. wait(2), wait4(2), waitid(2).

use std::ptr::null_mut;

use libc::{c_int, siginfo_t};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    status_words,
    signal_status_has_no_core_bit_for_term,
    nobody_to_wait_for,
    nohang_returns_zero,
    options_are_checked,
    waits_for_a_group,
    rusage_of_the_child,
    waitid_fills_siginfo,
    waitid_reports_signals,
    waitid_nowait_keeps_the_zombie,
    waitid_nohang_clears_siginfo,
    waitid_needs_options,
    waitid_takes_a_pidfd,
    zombie_can_be_signalled,
    stop_and_continue_are_reported,
    ignored_sigchld_reaps,
    nocldwait_reaps,
    status_pointer_may_be_bad,
    oldest_kind_of_wait,
    wait_is_interrupted,
    orphaned_group_is_not_stopped,
];

unsafe fn exits(n: c_int) -> Done<c_int> {
    spawn(|| libc::_exit(n))
}

unsafe fn status_words() -> Done {
    eq(status(exits(0)?)?, 0)?;
    eq(status(exits(255)?)?, 0xff00)?;
    eq(status(exits(256 + 3)?)?, 0x0300)?;
    let pid = sleeping()?;
    ok(libc::kill(pid, libc::SIGKILL))?;
    eq(status(pid)?, libc::SIGKILL)
}

unsafe fn signal_status_has_no_core_bit_for_term() -> Done {
    let pid = sleeping()?;
    ok(libc::kill(pid, libc::SIGTERM))?;
    eq(status(pid)?, 15)
}

unsafe fn nobody_to_wait_for() -> Done {
    fails(libc::waitpid(-1, null_mut(), 0), libc::ECHILD)?;
    fails(libc::waitpid(libc::getppid(), null_mut(), libc::WNOHANG), libc::ECHILD)?;
    fails(libc::waitpid(c_int::MIN, null_mut(), 0), libc::ESRCH)
}

unsafe fn nohang_returns_zero() -> Done {
    let pid = sleeping()?;
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG), 0)?;
    ok(libc::kill(pid, libc::SIGKILL))?;
    dies_of(pid, libc::SIGKILL)
}

unsafe fn options_are_checked() -> Done {
    fails(libc::waitpid(-1, null_mut(), 0x0080_0000), libc::EINVAL)
}

unsafe fn waits_for_a_group() -> Done {
    let other = sleeping()?;
    let pid = exits(3)?;
    libc::setpgid(pid, 0);
    let (mut word, group) = (0, libc::getpgid(other));
    eq(libc::waitpid(-pid, &mut word, 0), pid)?;
    eq(word, 0x300)?;
    eq(libc::waitpid(0, &mut word, libc::WNOHANG), 0)?;
    eq(libc::waitpid(-group, &mut word, libc::WNOHANG), 0)?;
    ok(libc::kill(other, libc::SIGKILL))?;
    eq(libc::waitpid(0, &mut word, 0), other)
}

unsafe fn rusage_of_the_child() -> Done {
    let pid = exits(0)?;
    let mut usage: libc::rusage = std::mem::zeroed();
    usage.ru_maxrss = -1;
    eq(libc::wait4(pid, null_mut(), 0, &mut usage), pid)?;
    check(usage.ru_maxrss >= 0, "it was filled in")
}

unsafe fn waitid(kind: libc::idtype_t, id: c_int, info: &mut siginfo_t, options: c_int) -> c_int {
    libc::waitid(kind, id as u32, info, options)
}

unsafe fn waitid_fills_siginfo() -> Done {
    let mut info: siginfo_t = std::mem::zeroed();
    let pid = exits(7)?;
    eq(waitid(libc::P_PID, pid, &mut info, libc::WEXITED), 0)?;
    eq((info.si_signo, info.si_code, info.si_errno), (libc::SIGCHLD, libc::CLD_EXITED, 0))?;
    eq((info.si_pid(), info.si_status(), info.si_uid()), (pid, 7, libc::getuid()))
}

unsafe fn waitid_reports_signals() -> Done {
    let mut info: siginfo_t = std::mem::zeroed();
    let pid = sleeping()?;
    ok(libc::kill(pid, libc::SIGUSR1))?;
    eq(waitid(libc::P_ALL, 0, &mut info, libc::WEXITED), 0)?;
    eq((info.si_code, info.si_status(), info.si_pid()), (libc::CLD_KILLED, libc::SIGUSR1, pid))
}

unsafe fn waitid_nowait_keeps_the_zombie() -> Done {
    let mut info: siginfo_t = std::mem::zeroed();
    let pid = exits(1)?;
    for _ in 0..2 {
        eq(waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT), 0)?;
        eq(info.si_pid(), pid)?;
    }
    eq(status(pid)?, 0x100)
}

unsafe fn waitid_nohang_clears_siginfo() -> Done {
    let mut info: siginfo_t = std::mem::zeroed();
    info.si_signo = 99;
    let pid = sleeping()?;
    eq(waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOHANG), 0)?;
    eq((info.si_signo, info.si_pid()), (0, 0))?;
    ok(libc::kill(pid, libc::SIGKILL)).map(drop)
}

unsafe fn waitid_needs_options() -> Done {
    let mut info: siginfo_t = std::mem::zeroed();
    fails(waitid(libc::P_ALL, 0, &mut info, 0), libc::EINVAL)?;
    fails(waitid(libc::P_ALL, 0, &mut info, libc::WNOHANG), libc::EINVAL)?;
    fails(waitid(77, 0, &mut info, libc::WEXITED), libc::EINVAL)?;
    fails(waitid(libc::P_PID, 0, &mut info, libc::WEXITED), libc::EINVAL)?;
    fails(waitid(libc::P_ALL, 0, &mut info, libc::WEXITED), libc::ECHILD)
}

unsafe fn waitid_takes_a_pidfd() -> Done {
    let mut info: siginfo_t = std::mem::zeroed();
    let pid = exits(6)?;
    let fd = ok(libc::syscall(libc::SYS_pidfd_open, pid, 0))? as c_int;
    eq(waitid(libc::P_PIDFD, fd, &mut info, libc::WEXITED), 0)?;
    eq(info.si_status(), 6)?;
    fails(waitid(libc::P_PIDFD, 2, &mut info, libc::WEXITED), libc::EBADF)
}

unsafe fn zombie_can_be_signalled() -> Done {
    let pid = exits(0)?;
    let mut info: siginfo_t = std::mem::zeroed();
    ok(waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT))?;
    ok(libc::kill(pid, 0))?;
    ok(libc::kill(pid, libc::SIGKILL))?;
    eq(status(pid)?, 0)?;
    fails(libc::kill(pid, 0), libc::ESRCH)
}

unsafe fn stop_and_continue_are_reported() -> Done {
    let pid = sleeping()?;
    ok(libc::kill(pid, libc::SIGSTOP))?;
    let mut word = 0;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
    check(libc::WIFSTOPPED(word) && libc::WSTOPSIG(word) == libc::SIGSTOP, "stopped by SIGSTOP")?;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED | libc::WNOHANG), 0)?; // reported once
    ok(libc::kill(pid, libc::SIGCONT))?;
    eq(libc::waitpid(pid, &mut word, libc::WCONTINUED), pid)?;
    eq(word, 0xffff)?;
    ok(libc::kill(pid, libc::SIGKILL))?;
    dies_of(pid, libc::SIGKILL)
}

unsafe fn ignored_sigchld_reaps() -> Done {
    dispose(libc::SIGCHLD, libc::SIG_IGN)?;
    let pid = exits(0)?;
    fails(libc::waitpid(pid, null_mut(), 0), libc::ECHILD)
}

unsafe fn nocldwait_reaps() -> Done {
    on(libc::SIGCHLD, note, libc::SA_NOCLDWAIT | libc::SA_RESTART)?;
    let pid = exits(0)?;
    fails(libc::waitpid(pid, null_mut(), 0), libc::ECHILD)?;
    soon("SIGCHLD comes all the same", || SIGNALS.load(std::sync::atomic::Ordering::SeqCst) == 1)
}

unsafe fn status_pointer_may_be_bad() -> Done {
    let pid = exits(0)?;
    fails(libc::syscall(libc::SYS_wait4, pid, 8usize, 0, 0), libc::EFAULT)?;
    fails(libc::waitpid(pid, null_mut(), 0), libc::ECHILD) // it was reaped before the copy failed
}

unsafe fn oldest_kind_of_wait() -> Done {
    let (first, second) = (exits(1)?, exits(2)?);
    let (mut a, mut b) = (0, 0);
    let got = [libc::wait(&mut a), libc::wait(&mut b)];
    check(got.contains(&first) && got.contains(&second), "both were found")?;
    eq(a + b, 0x300)
}

unsafe fn wait_is_interrupted() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    let (me, pid) = (libc::getpid(), sleeping()?);
    let killer = spawn(|| {
        asleep(me);
        ok(libc::kill(me, libc::SIGUSR1)).map(drop)
    })?;
    fails(libc::waitpid(pid, null_mut(), 0), libc::EINTR)?;
    join(killer)?;
    ok(libc::kill(pid, libc::SIGKILL)).map(drop)
}

unsafe fn orphaned_group_is_not_stopped() -> Done {
    // The parent of the case's group leader is in another session: SIGTSTP is dropped.
    let mut info: siginfo_t = std::mem::zeroed();
    let pid = spawn(|| {
        ok(libc::setsid())?;
        ok(libc::raise(libc::SIGTSTP))?;
        libc::_exit(0)
    })?;
    eq(waitid(libc::P_PID, pid, &mut info, libc::WSTOPPED | libc::WEXITED), 0)?;
    eq(info.si_code, libc::CLD_EXITED)
}
