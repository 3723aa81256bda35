//! What the cases about tracing share: requests, stops, tracees. ptrace(2).

use libc::{c_int, c_long, pid_t, user_regs_struct};

use crate::support::*;

pub const EVENT_STOP: c_int = 128;

pub const SYSGOOD: c_long = libc::PTRACE_O_TRACESYSGOOD as c_long;

pub unsafe fn request(request: libc::c_uint, pid: pid_t, addr: u64, data: u64) -> c_long {
    libc::syscall(libc::SYS_ptrace, request, pid, addr, data)
}

#[track_caller]
pub unsafe fn req(what: libc::c_uint, pid: pid_t, addr: u64, data: u64) -> Done {
    ok(request(what, pid, addr, data)).map(drop)
}

#[track_caller]
pub unsafe fn wait_for(pid: pid_t) -> Done<c_int> {
    status(pid)
}

/// Waits for a stop with that signal and event, written as `signal | event << 8`.
#[track_caller]
pub unsafe fn stops(pid: pid_t, code: c_int) -> Done {
    let word = wait_for(pid)?;
    if word & 0xff == 0x7f && word >> 8 == code {
        return Ok(());
    }
    fail(format!("status word {word:#x}, want a stop with {code:#x}"))
}

#[track_caller]
pub unsafe fn go(pid: pid_t, what: libc::c_uint, signal: c_int) -> Done {
    req(what, pid, 0, signal as u64)
}

pub unsafe fn regs(pid: pid_t) -> Done<user_regs_struct> {
    let mut regs: user_regs_struct = std::mem::zeroed();
    req(libc::PTRACE_GETREGS, pid, 0, &raw mut regs as u64)?;
    Ok(regs)
}

pub unsafe fn set_regs(pid: pid_t, regs: &user_regs_struct) -> Done {
    req(libc::PTRACE_SETREGS, pid, 0, &raw const *regs as u64)
}

pub unsafe fn message(pid: pid_t) -> Done<u64> {
    let mut message = 0u64;
    req(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut message as u64)?;
    Ok(message)
}

/// A child that has itself traced, stops, and then runs `body`; it is stopped when this returns.
pub unsafe fn tracee(options: c_long, body: impl FnOnce() -> Done) -> Done<pid_t> {
    let pid = spawn(|| {
        req(libc::PTRACE_TRACEME, 0, 0, 0)?;
        ok(libc::raise(libc::SIGSTOP))?;
        body()
    })?;
    stops(pid, libc::SIGSTOP)?;
    req(libc::PTRACE_SETOPTIONS, pid, 0, (options | libc::PTRACE_O_EXITKILL as c_long) as u64)?;
    Ok(pid)
}

/// A child that nobody traces and that runs `body`, after the tracer writes a byte.
pub unsafe fn untraced(body: impl FnOnce() -> Done) -> Done<(pid_t, c_int)> {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        libc::close(w);
        let _ = get(r)?;
        body()
    })?;
    libc::close(r);
    Ok((pid, w))
}

/// A child that sleeps until it is killed.
pub unsafe fn sleeper() -> Done<pid_t> {
    let pid = spawn(|| {
        loop {
            libc::pause();
        }
    })?;
    asleep(pid);
    Ok(pid)
}

pub unsafe fn kill_and_reap(pid: pid_t) -> Done {
    ok(libc::kill(pid, libc::SIGKILL))?;
    let mut word = 0;
    while libc::waitpid(pid, &mut word, libc::__WALL) == pid && libc::WIFSTOPPED(word) {}
    eq(word & 0x7f, libc::SIGKILL)
}

#[track_caller]
pub unsafe fn ends_well(pid: pid_t) -> Done {
    eq(wait_for(pid)?, 0)
}

pub const CALL: c_long = libc::SYS_getpgrp;

pub unsafe fn call() -> c_long {
    libc::syscall(CALL)
}

/// Lets it run to the next side of a call.
#[track_caller]
pub unsafe fn to_call(pid: pid_t) -> Done {
    go(pid, libc::PTRACE_SYSCALL, 0)?;
    stops(pid, libc::SIGTRAP | 0x80)
}

/// Lets it run to the entry of call `number`.
#[track_caller]
pub unsafe fn to_entry(pid: pid_t, number: c_long) -> Done {
    for _ in 0..200 {
        to_call(pid)?;
        if message(pid)? == 1 && regs(pid)?.orig_rax == number as u64 {
            return Ok(());
        }
    }
    fail("the call did not come")
}
