//! Tracing over forks, threads, programs and ends; and who may. ptrace(2).

use std::ffi::c_void;
use std::ptr::null_mut;

use libc::{c_int, c_long, pid_t};

use crate::cases;
use crate::support::*;
use crate::tracing::*;

pub const CASES: &[Case] = cases![
    forks_are_followed,
    vforks_are_followed,
    clones_are_followed,
    exec_is_told,
    exec_by_another_thread,
    exit_is_told,
    threads_are_waited_for,
    the_tracer_ends,
    the_tracer_ends_and_so_does_its_tracee,
    the_parent_waits_after_the_tracer,
    kill_ends_a_stopped_tracee,
    strangers_are_refused,
    set_id_bits_do_not_count,
    a_tracer_who_comes_during_exec_is_left,
];

unsafe fn forks_are_followed() -> Done {
    for seized in [false, true] {
        let option = libc::PTRACE_O_TRACEFORK as c_long;
        let body = || {
            let child = spawn(|| libc::_exit(3))?;
            eq(status(child)?, 0x300)
        };
        let pid = if seized {
            let (pid, go_ahead) = untraced(body)?;
            req(libc::PTRACE_SEIZE, pid, 0, option as u64)?;
            put(go_ahead, b"x")?;
            pid
        } else {
            let pid = tracee(option, body)?;
            go(pid, libc::PTRACE_CONT, 0)?;
            pid
        };
        stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_FORK << 8)?;
        let child = message(pid)? as pid_t;
        stops(child, if seized { libc::SIGTRAP | EVENT_STOP << 8 } else { libc::SIGSTOP })?;
        eq(regs(child)?.rax, 0)?;
        go(child, libc::PTRACE_CONT, 0)?;
        go(pid, libc::PTRACE_CONT, 0)?;
        eq(status(child)?, 0x300)?;
        // Its parent gets SIGCHLD once the tracer has waited.
        stops(pid, libc::SIGCHLD)?;
        go(pid, libc::PTRACE_CONT, 0)?;
        ends_well(pid)?;
    }
    Ok(())
}

unsafe fn vforks_are_followed() -> Done {
    let options = libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACEVFORKDONE;
    let pid = tracee(options as c_long, || {
        let child = ok(libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0))?;
        if child == 0 {
            libc::_exit(3);
        }
        eq(status(child as pid_t)?, 0x300)
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_VFORK << 8)?;
    let child = message(pid)? as pid_t;
    stops(child, libc::SIGSTOP)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    go(child, libc::PTRACE_CONT, 0)?;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut word = 0;
        let who = ok(libc::waitpid(-1, &mut word, libc::__WALL))?;
        seen.push((who == pid, word >> 8));
    }
    seen.sort_unstable();
    eq(seen, [(false, 3), (true, libc::SIGTRAP | libc::PTRACE_EVENT_VFORK_DONE << 8)])?;
    eq(message(pid)? as pid_t, child)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGCHLD)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

const THREAD: c_int =
    libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;

unsafe fn thread(body: extern "C" fn(*mut c_void) -> c_int, arg: *mut c_void) -> Done<pid_t> {
    const STACK: usize = 256 << 10;
    let stack = memory(STACK)?;
    ok(libc::clone(body, stack.add(STACK).cast(), THREAD, arg))
}

extern "C" fn thread_exits(_: *mut c_void) -> c_int {
    // SAFETY: only this thread ends.
    unsafe {
        libc::syscall(libc::SYS_exit, 4);
    }
    0
}

unsafe fn clones_are_followed() -> Done {
    let pid = tracee(libc::PTRACE_O_TRACECLONE as c_long, || {
        thread(thread_exits, null_mut())?;
        sleep_ms(20);
        Ok(())
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_CLONE << 8)?;
    let tid = message(pid)? as pid_t;
    stops(tid, libc::SIGSTOP)?;
    go(tid, libc::PTRACE_CONT, 0)?;
    // A thread that is traced is waited for.
    eq(status(tid)?, 0x400)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn exec_is_told() -> Done {
    let pid =
        tracee(libc::PTRACE_O_TRACEEXEC as c_long | SYSGOOD, || exec(&own_path(), &[c"exit", c"5"], &[]))?;
    to_entry(pid, libc::SYS_execve)?;
    go(pid, libc::PTRACE_SYSCALL, 0)?;
    stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_EXEC << 8)?;
    eq(message(pid)? as pid_t, pid)?;
    to_call(pid)?;
    let at = regs(pid)?;
    eq((at.orig_rax, at.rax, message(pid)?), (libc::SYS_execve as u64, 0, 2))?;
    go(pid, libc::PTRACE_CONT, 0)?;
    eq(wait_for(pid)?, 0x500)
}

extern "C" fn thread_executes(_: *mut c_void) -> c_int {
    // SAFETY: the process becomes another program.
    unsafe {
        let _ = exec(&own_path(), &[c"exit", c"6"], &[]);
        libc::_exit(1)
    }
}

unsafe fn exec_by_another_thread() -> Done {
    let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACECLONE;
    let pid = tracee(options as c_long, || {
        thread(thread_executes, null_mut())?;
        loop {
            libc::pause();
        }
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_CLONE << 8)?;
    let tid = message(pid)? as pid_t;
    stops(tid, libc::SIGSTOP)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    go(tid, libc::PTRACE_CONT, 0)?;
    // The thread is the first one now, and tells who it was; the first one is gone without a word.
    stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_EXEC << 8)?;
    eq(message(pid)? as pid_t, tid)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    eq(wait_for(pid)?, 0x600)?;
    fails(libc::waitpid(-1, null_mut(), libc::__WALL), libc::ECHILD)
}

unsafe fn exit_is_told() -> Done {
    let pid = tracee(libc::PTRACE_O_TRACEEXIT as c_long, || libc::_exit(9))?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8)?;
    eq(message(pid)?, 0x900)?;
    // There is still something to look at.
    let mut word = 0u64;
    req(libc::PTRACE_PEEKDATA, pid, CASES.as_ptr() as u64, &raw mut word as u64)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    eq(wait_for(pid)?, 0x900)?;
    let pid = tracee(libc::PTRACE_O_TRACEEXIT as c_long, || {
        libc::raise(libc::SIGTERM);
        Ok(())
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTERM)?;
    go(pid, libc::PTRACE_CONT, libc::SIGTERM)?;
    stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8)?;
    eq(message(pid)?, libc::SIGTERM as u64)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    eq(wait_for(pid)?, libc::SIGTERM)
}

extern "C" fn thread_waits(word: *mut c_void) -> c_int {
    // SAFETY: the word lives as long as the process.
    unsafe {
        while word.cast::<c_int>().read_volatile() == 0 {
            libc::sched_yield();
        }
        libc::syscall(libc::SYS_exit, 4);
    }
    0
}

unsafe fn threads_are_waited_for() -> Done {
    let word = shared(PAGE)?.cast::<c_int>();
    let (pid, go_ahead) = untraced(|| {
        let tid = thread(thread_waits, word.cast())?;
        word.add(1).write_volatile(tid);
        loop {
            libc::pause();
        }
    })?;
    put(go_ahead, b"x")?;
    soon("the thread is there", || word.add(1).read_volatile() != 0)?;
    let tid = word.add(1).read_volatile();
    // Only that thread.
    req(libc::PTRACE_SEIZE, tid, 0, 0)?;
    req(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
    stops(tid, libc::SIGTRAP | EVENT_STOP << 8)?;
    check(state(pid) != 't', "the other thread runs on")?;
    go(tid, libc::PTRACE_CONT, 0)?;
    word.write_volatile(1);
    eq(status(tid)?, 0x400)?;
    fails(libc::waitpid(tid, null_mut(), libc::__WALL), libc::ECHILD)?;
    kill_and_reap(pid)
}

unsafe fn the_tracer_ends() -> Done {
    let pid = sleeper()?;
    let seconds = spawn(|| {
        req(libc::PTRACE_SEIZE, pid, 0, 0)?;
        req(libc::PTRACE_INTERRUPT, pid, 0, 0)?;
        stops(pid, libc::SIGTRAP | EVENT_STOP << 8)
    })?;
    join(seconds)?;
    soon("it runs again", || state(pid) == 'S')?;
    ok(libc::kill(pid, libc::SIGTERM))?;
    dies_of(pid, libc::SIGTERM)
}

unsafe fn the_tracer_ends_and_so_does_its_tracee() -> Done {
    let pid = sleeper()?;
    join(spawn(|| req(libc::PTRACE_SEIZE, pid, 0, libc::PTRACE_O_EXITKILL as u64))?)?;
    dies_of(pid, libc::SIGKILL)
}

unsafe fn the_parent_waits_after_the_tracer() -> Done {
    let (pid, go_ahead) = untraced(|| libc::_exit(3))?;
    let (r, w) = pipe()?;
    let (r2, w2) = pipe()?;
    let tracer = spawn(|| {
        req(libc::PTRACE_SEIZE, pid, 0, 0)?;
        put(w, b"a")?;
        let _ = get(r2)?;
        eq(status(pid)?, 0x300)?;
        fails(libc::waitpid(pid, null_mut(), libc::__WALL), libc::ECHILD)
    })?;
    let _ = get(r)?;
    put(go_ahead, b"x")?;
    soon("it ends", || state(pid) == 'Z')?;
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG), 0)?;
    put(w2, b"b")?;
    eq(status(pid)?, 0x300)?;
    join(tracer)
}

unsafe fn kill_ends_a_stopped_tracee() -> Done {
    let pid = tracee(0, || Ok(()))?;
    kill_and_reap(pid)?;
    let pid = tracee(0, || Ok(()))?;
    req(libc::PTRACE_KILL, pid, 0, 0)?;
    dies_of(pid, libc::SIGKILL)
}

unsafe fn strangers_are_refused() -> Done {
    need_root()?;
    let other = sleeper()?;
    let undumpable = spawn(|| {
        drop_root()?;
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
        sleep_ms(8000);
        Ok(())
    })?;
    asleep(undumpable);
    in_child(|| {
        drop_root()?;
        fails(request(libc::PTRACE_ATTACH, other, 0, 0), libc::EPERM)?;
        fails(request(libc::PTRACE_SEIZE, undumpable, 0, 0), libc::EPERM)
    })?;
    kill_and_reap(other)?;
    kill_and_reap(undumpable)
}

/// A copy of this program that becomes root's, where an ordinary user can execute it: `./set-id`.
unsafe fn set_id_program() -> Done {
    need_root()?;
    let bytes = std::fs::read(std::env::current_exe().map_err(|e| Stop::Failed(e.to_string()))?);
    let copy = file(c"set-id", &bytes.map_err(|e| Stop::Failed(e.to_string()))?)?;
    ok(libc::fchmod(copy, 0o4755))?;
    libc::close(copy);
    ok(libc::chmod(c".".as_ptr(), 0o755)).map(drop)
}

unsafe fn set_id_bits_do_not_count() -> Done {
    set_id_program()?;
    let ran = |traced: bool| {
        let pid = spawn(|| {
            drop_root()?;
            if traced {
                req(libc::PTRACE_TRACEME, 0, 0, 0)?;
            }
            exec(c"./set-id", &[c"exit-by-euid"], &[])
        })?;
        Done::Ok(pid)
    };
    let pid = ran(false)?;
    if status(pid)? != 0 {
        return skip("set-id bits mean nothing here");
    }
    // The tracer is one who may not look into what is root's.
    let tracer = spawn(|| {
        drop_root()?;
        let pid = ran(true)?;
        stops(pid, libc::SIGTRAP)?;
        go(pid, libc::PTRACE_CONT, 0)?;
        eq(wait_for(pid)?, 0x100)
    })?;
    join(tracer)
}

extern "C" fn executes_set_id(word: *mut c_void) -> c_int {
    // SAFETY: the word lives as long as the process, which becomes another program.
    unsafe {
        word.cast::<c_int>().write_volatile(libc::syscall(libc::SYS_gettid) as c_int);
        let _ = exec(c"./set-id", &[c"exit-by-euid"], &[]);
        libc::_exit(2)
    }
}

unsafe fn a_tracer_who_comes_during_exec_is_left() -> Done {
    set_id_program()?;
    let word = shared(PAGE)?.cast::<c_int>();
    let pid = spawn(|| {
        drop_root()?;
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        let (pid, go_ahead) = untraced(|| {
            thread(executes_set_id, word.cast())?;
            loop {
                libc::pause();
            }
        })?;
        // The first thread stops before its end, so the other one, which executes, waits for that.
        req(libc::PTRACE_SEIZE, pid, 0, libc::PTRACE_O_TRACEEXIT as u64)?;
        put(go_ahead, b"x")?;
        stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8)?;
        // On Linux this one waits for the program, and is refused then.
        let tid = word.read_volatile();
        let late = spawn(|| {
            let _ = request(libc::PTRACE_SEIZE, tid, 0, 0);
            word.add(1).write_volatile(1);
            while word.add(2).read_volatile() == 0 {
                sleep_ms(1);
            }
            fails(request(libc::PTRACE_INTERRUPT, pid, 0, 0), libc::ESRCH)
        })?;
        asleep(late);
        sleep_ms(50);
        go(pid, libc::PTRACE_CONT, 0)?;
        soon("the late one is done", || word.add(1).read_volatile() != 0)?;
        let ended = wait_for(pid)?;
        word.add(2).write_volatile(1);
        join(late)?;
        // 0: the program is root's; 1: set-id bits mean nothing here.
        check(ended == 0 || ended == 0x100, &format!("status {ended:#x}"))
    })?;
    join(pid)
}
