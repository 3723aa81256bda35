//! Filters of system calls. seccomp(2), prctl(2).

use std::ptr::null_mut;

use libc::{c_int, c_long, sock_filter, sock_fprog};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    arguments_are_checked,
    actions_that_there_are,
    privileges_or_none_to_come,
    bad_programs_are_refused,
    strict_mode_kills,
    strict_mode_allows,
    gives_errors,
    sees_arguments,
    sees_the_address,
    traps,
    kills_the_process,
    kills_though_handled,
    kills_a_thread_alone,
    allows_and_logs,
    nobody_traces,
    strictest_of_several_wins,
    newest_of_equals_wins,
    children_and_programs_inherit,
    threads_have_their_own,
    threads_get_the_same,
    threads_that_differ_are_named,
    mode_is_told,
    filters_add_up_to_a_limit,
];

const SET_MODE_STRICT: c_long = 0;
const SET_MODE_FILTER: c_long = 1;
const GET_ACTION_AVAIL: c_long = 2;
const TSYNC: c_long = 1;
const TSYNC_ESRCH: c_long = 16;

pub const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
pub const ERRNO: u32 = 0x0005_0000;
pub const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// `ld [k]` of `struct seccomp_data`, `jeq #k`, `ret #k`.
const fn load(k: u32) -> sock_filter {
    op(0x20, 0, 0, k)
}
const fn equal(k: u32, jt: u8, jf: u8) -> sock_filter {
    op(0x15, jt, jf, k)
}
const fn ret(k: u32) -> sock_filter {
    op(0x06, 0, 0, k)
}

/// A call that none of the cases needs, and a program that gives it a result.
const VICTIM: c_long = libc::SYS_getpgrp;
pub fn victim_gives(result: u32) -> [sock_filter; 4] {
    [load(0), equal(VICTIM as u32, 0, 1), ret(result), ret(ALLOW)]
}

unsafe fn try_filter(program: &[sock_filter], flags: c_long) -> c_long {
    let program = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program)
}

unsafe fn no_new_privs() -> Done {
    ok(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).map(drop)
}

pub unsafe fn filter(program: &[sock_filter]) -> Done {
    no_new_privs()?;
    eq(ok(try_filter(program, 0))?, 0)
}

pub unsafe fn victim() -> c_long {
    libc::syscall(VICTIM)
}

unsafe fn arguments_are_checked() -> Done {
    let seccomp = |a: c_long, b: c_long, c: *mut u8| libc::syscall(libc::SYS_seccomp, a, b, c);
    fails(seccomp(99, 0, null_mut()), libc::EINVAL)?;
    fails(seccomp(SET_MODE_STRICT, 1, null_mut()), libc::EINVAL)?;
    fails(seccomp(SET_MODE_STRICT, 0, std::ptr::dangling_mut::<u8>()), libc::EINVAL)?;
    fails(seccomp(SET_MODE_FILTER, 1 << 20, null_mut()), libc::EINVAL)?;
    fails(seccomp(SET_MODE_FILTER, 0, null_mut()), libc::EFAULT)?;
    fails(libc::prctl(libc::PR_SET_SECCOMP, 3, 0, 0, 0), libc::EINVAL)?;
    fails(libc::prctl(libc::PR_SET_SECCOMP, 2, 8, 0, 0), libc::EFAULT)
}

unsafe fn actions_that_there_are() -> Done {
    for action in [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW] {
        eq(ok(libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action))?, 0)?;
    }
    let none = ERRNO | 1;
    fails(libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const none), libc::EOPNOTSUPP)?;
    fails(libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 1, &raw const none), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, 8), libc::EFAULT)
}

unsafe fn privileges_or_none_to_come() -> Done {
    drop_root()?;
    fails(try_filter(&[ret(ALLOW)], 0), libc::EACCES)?;
    no_new_privs()?;
    eq(ok(try_filter(&[ret(ALLOW)], 0))?, 0)
}

unsafe fn bad_programs_are_refused() -> Done {
    no_new_privs()?;
    for program in [
        &[][..],
        &[load(0)],
        &[load(2), ret(ALLOW)],
        &[load(64), ret(ALLOW)],
        &[op(0x28, 0, 0, 0), ret(ALLOW)],
        &[op(0x05, 0, 0, 1), ret(ALLOW)],
        &[equal(0, 1, 0), ret(ALLOW)],
        &[op(0x60, 0, 0, 0), ret(ALLOW)],
        &[op(0x02, 0, 0, 16), ret(ALLOW)],
        &[op(0x34, 0, 0, 0), ret(ALLOW)],
        &[op(0x94, 0, 0, 3), ret(ALLOW)],
        &[op(0xffff, 0, 0, 0), ret(ALLOW)],
    ] {
        fails(try_filter(program, 0), libc::EINVAL)?;
    }
    let long = [ret(ALLOW); 4097];
    fails(try_filter(&long, 0), libc::EINVAL)?;
    eq(ok(try_filter(&long[1..], 0))?, 0)
}

unsafe fn strict_mode_kills() -> Done {
    let pid = spawn(|| {
        eq(libc::prctl(libc::PR_GET_SECCOMP), 0)?;
        ok(libc::prctl(libc::PR_SET_SECCOMP, 1))?;
        victim();
        libc::syscall(libc::SYS_exit, 3);
        Ok(())
    })?;
    dies_of(pid, libc::SIGKILL)
}

unsafe fn strict_mode_allows() -> Done {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        ok(libc::prctl(libc::PR_SET_SECCOMP, 1))?;
        libc::syscall(libc::SYS_write, w, c"a".as_ptr(), 1);
        libc::syscall(libc::SYS_exit, 3);
        Ok(())
    })?;
    eq(status(pid)?, 0x300)?;
    eq(get(r)?, b"a")
}

unsafe fn gives_errors() -> Done {
    filter(&victim_gives(ERRNO | 77))?;
    fails(victim(), 77)?;
    filter(&victim_gives(ERRNO))?;
    eq(victim(), 0)?;
    ok(libc::syscall(libc::SYS_getpgid, 0)).map(drop)
}

unsafe fn sees_arguments() -> Done {
    // The high half of the third argument of the victim: 5 is refused.
    filter(&[
        load(0),
        equal(VICTIM as u32, 0, 3),
        load(16 + 2 * 8 + 4),
        equal(5, 0, 1),
        ret(ERRNO | 7),
        ret(ALLOW),
    ])?;
    fails(libc::syscall(VICTIM, 0, 0, 5u64 << 32), 7)?;
    ok(libc::syscall(VICTIM, 5, 5, 5u64)).map(drop)
}

unsafe fn sees_the_address() -> Done {
    // The architecture is x86-64, and the address is not 0.
    filter(&[
        load(0),
        equal(VICTIM as u32, 0, 5),
        load(4),
        equal(0xc000_003e, 0, 3),
        load(8),
        op(0x25, 0, 1, 0),
        ret(ERRNO | 9),
        ret(ALLOW),
    ])?;
    fails(victim(), 9)
}

unsafe fn traps() -> Done {
    static mut SEEN: (c_int, c_int, u64, c_int, u32, i64, u64) = (0, 0, 0, 0, 0, 0, 0);
    extern "C" fn handler(_: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the kernel passes a siginfo and a context, which this handler may change.
        unsafe {
            let words = info.cast::<u32>();
            let context = context.cast::<libc::ucontext_t>();
            let regs = &(*context).uc_mcontext.gregs;
            let (rax, rip) = (regs[libc::REG_RAX as usize], regs[libc::REG_RIP as usize] as u64);
            let addr = (*info).si_addr() as u64;
            let (nr, arch) = (words.add(6).read().cast_signed(), words.add(7).read());
            SEEN = ((*info).si_code, (*info).si_errno, addr, nr, arch, rax, rip);
            (*context).uc_mcontext.gregs[libc::REG_RAX as usize] = 1234;
        }
    }
    on(libc::SIGSYS, handler, 0)?;
    filter(&victim_gives(TRAP | 55))?;
    eq(victim(), 1234)?;
    let (code, errno, addr, nr, arch, rax, rip) = SEEN;
    eq((code, errno, nr, arch, rax), (1, 55, VICTIM as c_int, 0xc000_003e, VICTIM))?;
    eq(addr, rip)
}

unsafe fn kills_the_process() -> Done {
    for action in [KILL_PROCESS, KILL_THREAD, TRAP, 0x1234_0000] {
        let pid = spawn(|| {
            filter(&victim_gives(action))?;
            victim();
            Ok(())
        })?;
        dies_of(pid, libc::SIGSYS)?;
    }
    Ok(())
}

unsafe fn kills_though_handled() -> Done {
    let pid = spawn(|| {
        on(libc::SIGSYS, note, 0)?;
        filter(&victim_gives(KILL_PROCESS))?;
        victim();
        Ok(())
    })?;
    dies_of(pid, libc::SIGSYS)
}

/// Runs `body` in a thread without the C library's help at its end, and waits until the thread is gone.
unsafe fn in_thread(body: extern "C" fn(*mut libc::c_void) -> c_int, arg: *mut libc::c_void) -> Done<c_int> {
    const STACK: usize = 256 << 10;
    static mut GONE: c_int = 0;
    let stack = memory(STACK)?;
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_CHILD_CLEARTID
        | libc::CLONE_PARENT_SETTID;
    let gone = &raw mut GONE;
    let tid = ok(libc::clone(body, stack.add(STACK).cast(), flags, arg, gone, null_mut::<u8>(), gone))?;
    soon("the thread ends", || gone.read_volatile() == 0)?;
    Ok(tid)
}

unsafe fn kills_a_thread_alone() -> Done {
    extern "C" fn body(_: *mut libc::c_void) -> c_int {
        // SAFETY: the thread shares memory with one that waits for it, and leaves without unwinding.
        unsafe {
            let program = victim_gives(KILL_THREAD);
            if try_filter(&program, 0) == 0 {
                victim();
            }
            libc::_exit(9)
        }
    }
    no_new_privs()?;
    in_thread(body, null_mut())?;
    ok(victim()).map(drop)
}

unsafe fn allows_and_logs() -> Done {
    filter(&victim_gives(LOG))?;
    ok(victim()).map(drop)
}

unsafe fn nobody_traces() -> Done {
    filter(&victim_gives(TRACE | 3))?;
    fails(victim(), libc::ENOSYS)
}

unsafe fn strictest_of_several_wins() -> Done {
    filter(&victim_gives(ERRNO | 1))?;
    filter(&victim_gives(LOG))?;
    filter(&victim_gives(TRACE))?;
    fails(victim(), 1)?;
    let pid = spawn(|| {
        filter(&victim_gives(KILL_PROCESS))?;
        filter(&victim_gives(TRAP))?;
        victim();
        Ok(())
    })?;
    dies_of(pid, libc::SIGSYS)
}

unsafe fn newest_of_equals_wins() -> Done {
    filter(&victim_gives(ERRNO | 1))?;
    filter(&victim_gives(ERRNO | 2))?;
    fails(victim(), 2)
}

unsafe fn children_and_programs_inherit() -> Done {
    let pid = spawn(|| {
        filter(&[load(0), equal(libc::SYS_exit_group as u32, 0, 1), ret(KILL_PROCESS), ret(ALLOW)])?;
        dies_of(spawn(|| Ok(()))?, libc::SIGSYS)?;
        exec(&own_path(), &[c"exit", c"0"], &[])
    })?;
    dies_of(pid, libc::SIGSYS)
}

unsafe fn threads_have_their_own() -> Done {
    extern "C" fn body(arg: *mut libc::c_void) -> c_int {
        // SAFETY: `arg` is at words of the thread that waits for this one.
        unsafe {
            let program = victim_gives(ERRNO | 5);
            let set = try_filter(&program, 0);
            arg.cast::<c_long>().write(if set == 0 && victim() == -1 { 1 } else { 2 });
            libc::syscall(libc::SYS_exit, 0);
            0
        }
    }
    no_new_privs()?;
    let mut result: c_long = 0;
    in_thread(body, (&raw mut result).cast())?;
    eq(result, 1)?;
    ok(victim()).map(drop)
}

unsafe fn threads_get_the_same() -> Done {
    extern "C" fn body(arg: *mut libc::c_void) -> c_int {
        // SAFETY: `arg` is at words of the thread that waits for this one.
        unsafe {
            let program = victim_gives(ERRNO | 5);
            arg.cast::<c_long>().write(try_filter(&program, TSYNC));
            libc::syscall(libc::SYS_exit, 0);
            0
        }
    }
    no_new_privs()?;
    let mut result: c_long = -1;
    in_thread(body, (&raw mut result).cast())?;
    eq(result, 0)?;
    fails(victim(), 5)
}

pub unsafe fn threads_that_differ_are_named() -> Done {
    extern "C" fn body(arg: *mut libc::c_void) -> c_int {
        // SAFETY: `arg` is at words of the thread that waits for this one.
        unsafe {
            let results = arg.cast::<c_long>();
            results.write(try_filter(&[ret(ALLOW)], TSYNC));
            let refused = try_filter(&[ret(ALLOW)], TSYNC | TSYNC_ESRCH);
            results.add(1).write(if refused == -1 { errno().into() } else { 0 });
            libc::syscall(libc::SYS_exit, 0);
            0
        }
    }
    // The thread starts with this one, but then the other gets one more.
    extern "C" fn waits(arg: *mut libc::c_void) -> c_int {
        // SAFETY: `arg` is at words of the thread that waits for this one.
        unsafe {
            while arg.cast::<c_long>().read_volatile() == 0 {
                libc::sched_yield();
            }
            body(arg.cast::<c_long>().add(1).cast())
        }
    }
    no_new_privs()?;
    let mut words: [c_long; 3] = [0; 3];
    // The thread is started here and waits: what `in_thread` would do, but in between.
    const STACK: usize = 256 << 10;
    let stack = memory(STACK)?;
    let flags =
        libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    let words_at = &raw mut words;
    ok(libc::clone(waits, stack.add(STACK).cast(), flags, words_at.cast()))?;
    filter(&[ret(ALLOW)])?;
    words_at.cast::<c_long>().write_volatile(1);
    soon("it tried", || words_at.cast::<c_long>().add(2).read_volatile() != 0)?;
    let words = words_at.read_volatile();
    eq((words[1], words[2]), (libc::getpid().into(), libc::ESRCH.into()))
}

unsafe fn mode_is_told() -> Done {
    let told = |name: &str| {
        let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().to_string()
    };
    eq((told("Seccomp:"), libc::prctl(libc::PR_GET_SECCOMP)), ("0".into(), 0))?;
    filter(&[ret(ALLOW)])?;
    filter(&[ret(ALLOW)])?;
    eq((told("Seccomp:"), libc::prctl(libc::PR_GET_SECCOMP)), ("2".into(), 2))?;
    eq(told("Seccomp_filters:"), "2")?;
    fails(libc::prctl(libc::PR_SET_SECCOMP, 1), libc::EINVAL)
}

unsafe fn filters_add_up_to_a_limit() -> Done {
    no_new_privs()?;
    let long = [ret(ALLOW); 4096];
    // The kernel may count more instructions than there are here.
    let added = (0..20).take_while(|_| try_filter(&long, 0) == 0).count();
    check((1..9).contains(&added), "some filters fit, but not many")?;
    fails(try_filter(&long, 0), libc::ENOMEM)
}
