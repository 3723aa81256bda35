//! What a tracer sees and changes: calls, registers, memory, steps. ptrace(2).

use std::arch::naked_asm;
use std::sync::atomic::Ordering::SeqCst;

use libc::{c_int, c_long, pid_t};

use crate::cases;
use crate::support::*;
use crate::tracing::*;

pub const CASES: &[Case] = cases![
    requests_want_a_tracee,
    attaching_is_checked,
    traceme_stops_at_exec,
    calls_stop_twice,
    calls_tell_about_themselves,
    a_call_is_skipped,
    a_call_is_changed,
    a_result_is_changed,
    an_emulated_call_is_not_made,
    memory_is_read_and_written,
    program_text_is_written,
    often_executed_calls_are_as_they_were,
    registers_by_offset,
    register_sets,
    vector_registers,
    debug_registers,
    steps_go_by_one_instruction,
    steps_go_over_calls,
    steps_go_into_handlers,
    a_filter_asks,
    a_filter_sees_what_the_tracer_made,
    a_filter_kills_unseen,
];

unsafe fn requests_want_a_tracee() -> Done {
    fails(request(libc::PTRACE_CONT, libc::getppid(), 0, 0), libc::ESRCH)?;
    fails(request(libc::PTRACE_PEEKDATA, libc::getpid(), 0, 0), libc::ESRCH)?;
    fails(request(99999, libc::getpid(), 0, 0), libc::ESRCH)?;
    let pid = sleeper()?;
    fails(request(libc::PTRACE_CONT, pid, 0, 0), libc::ESRCH)?;
    fails(request(libc::PTRACE_INTERRUPT, pid, 0, 0), libc::ESRCH)?;
    req(libc::PTRACE_SEIZE, pid, 0, 0)?;
    // It runs.
    fails(request(libc::PTRACE_CONT, pid, 0, 0), libc::ESRCH)?;
    fails(request(libc::PTRACE_SETOPTIONS, pid, 0, 0), libc::ESRCH)?;
    req(libc::PTRACE_INTERRUPT, pid, 0, 0)?;
    stops(pid, libc::SIGTRAP | EVENT_STOP << 8)?;
    fails(request(99999, pid, 0, 0), libc::EIO)?;
    fails(request(libc::PTRACE_CONT, pid, 0, 65), libc::EIO)?;
    fails(request(libc::PTRACE_SETOPTIONS, pid, 0, 1 << 30), libc::EINVAL)?;
    kill_and_reap(pid)
}

unsafe fn attaching_is_checked() -> Done {
    fails(request(libc::PTRACE_ATTACH, libc::getpid(), 0, 0), libc::EPERM)?;
    fails(request(libc::PTRACE_ATTACH, 0x3fff_ffff, 0, 0), libc::ESRCH)?;
    fails(request(libc::PTRACE_ATTACH, -1, 0, 0), libc::ESRCH)?;
    let pid = sleeper()?;
    fails(request(libc::PTRACE_SEIZE, pid, 8, 0), libc::EIO)?;
    fails(request(libc::PTRACE_SEIZE, pid, 0, 1 << 30), libc::EIO)?;
    req(libc::PTRACE_SEIZE, pid, 0, 0)?;
    fails(request(libc::PTRACE_SEIZE, pid, 0, 0), libc::EPERM)?;
    fails(request(libc::PTRACE_ATTACH, pid, 0, 0), libc::EPERM)?;
    kill_and_reap(pid)?;
    let pid = spawn(|| Ok(()))?;
    soon("it ends", || state(pid) == 'Z' || state(pid) == ' ')?;
    fails(request(libc::PTRACE_ATTACH, pid, 0, 0), libc::EPERM)?;
    join(pid)?;
    in_child(|| {
        req(libc::PTRACE_TRACEME, 0, 0, 0)?;
        fails(request(libc::PTRACE_TRACEME, 0, 0, 0), libc::EPERM)
    })
}

unsafe fn traceme_stops_at_exec() -> Done {
    let pid = spawn(|| {
        req(libc::PTRACE_TRACEME, 0, 0, 0)?;
        exec(&own_path(), &[c"exit", c"5"], &[])
    })?;
    stops(pid, libc::SIGTRAP)?;
    let mut info: libc::siginfo_t = std::mem::zeroed();
    req(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64)?;
    eq((info.si_signo, info.si_code, info.si_pid()), (libc::SIGTRAP, 0, pid))?;
    go(pid, libc::PTRACE_CONT, 0)?;
    eq(wait_for(pid)?, 0x500)
}

unsafe fn calls_stop_twice() -> Done {
    let pid = tracee(0, || {
        call();
        Ok(())
    })?;
    // Without the option they look like SIGTRAP.
    for (side, rax) in [(1, i64::from(-libc::ENOSYS)), (2, i64::from(libc::getpgrp()))] {
        loop {
            go(pid, libc::PTRACE_SYSCALL, 0)?;
            stops(pid, libc::SIGTRAP)?;
            if regs(pid)?.orig_rax == CALL as u64 {
                break;
            }
        }
        let regs = regs(pid)?;
        eq((regs.rax as i64, message(pid)?), (rax, side))?;
    }
    req(libc::PTRACE_SETOPTIONS, pid, 0, SYSGOOD as u64)?;
    go(pid, libc::PTRACE_SYSCALL, 0)?;
    stops(pid, libc::SIGTRAP | 0x80)?;
    let mut info: libc::siginfo_t = std::mem::zeroed();
    req(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64)?;
    eq((info.si_signo, info.si_code, info.si_pid()), (libc::SIGTRAP, libc::SIGTRAP | 0x80, pid))?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn calls_tell_about_themselves() -> Done {
    let pid = tracee(SYSGOOD, || {
        libc::syscall(CALL, 1, 2, 3, 4, 5, 6);
        Ok(())
    })?;
    let told = |size: u64| {
        let mut words = [0u64; 11];
        let len = ok(request(0x420e, pid, size, words.as_mut_ptr() as u64))?;
        Done::Ok((len, words))
    };
    eq(told(88)?.0, 24)?;
    to_entry(pid, CALL)?;
    let (len, words) = told(88)?;
    let regs = regs(pid)?;
    eq((len, words[0]), (80, 1 | 0xc000_003e << 32))?;
    eq(words[1..10].to_vec(), vec![regs.rip, regs.rsp, CALL as u64, 1, 2, 3, 4, 5, 6])?;
    let (len, words) = told(8)?;
    eq((len, words[1]), (80, 0))?;
    to_call(pid)?;
    let (len, words) = told(88)?;
    eq((len, words[0] as u32, words[3], words[4] as u8), (33, 2, libc::getpgrp() as u64, 0))?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn a_call_is_skipped() -> Done {
    let pid = tracee(SYSGOOD, || {
        fails(libc::syscall(libc::SYS_kill, libc::getpid(), libc::SIGKILL), libc::ENOSYS)?;
        eq(libc::syscall(libc::SYS_kill, libc::getpid(), libc::SIGKILL), 77)
    })?;
    for rax in [None, Some(77)] {
        to_entry(pid, libc::SYS_kill)?;
        let mut at = regs(pid)?;
        at.orig_rax = u64::MAX;
        at.rax = rax.unwrap_or(at.rax);
        set_regs(pid, &at)?;
        to_call(pid)?;
    }
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn a_call_is_changed() -> Done {
    let (r, w) = pipe()?;
    let pid = tracee(SYSGOOD, || {
        eq(libc::syscall(CALL, w, c"ab".as_ptr(), 1), 2)?;
        Ok(())
    })?;
    to_entry(pid, CALL)?;
    let mut at = regs(pid)?;
    at.orig_rax = libc::SYS_write as u64;
    at.rdx = 2;
    set_regs(pid, &at)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)?;
    eq(get(r)?, b"ab")
}

unsafe fn a_result_is_changed() -> Done {
    let pid = tracee(SYSGOOD, || eq(call(), 1234))?;
    to_entry(pid, CALL)?;
    to_call(pid)?;
    let mut at = regs(pid)?;
    at.rax = 1234;
    set_regs(pid, &at)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn an_emulated_call_is_not_made() -> Done {
    let pid = tracee(SYSGOOD, || eq(libc::syscall(libc::SYS_kill, libc::getpid(), libc::SIGKILL), 5))?;
    loop {
        go(pid, libc::PTRACE_SYSEMU, 0)?;
        stops(pid, libc::SIGTRAP | 0x80)?;
        let mut at = regs(pid)?;
        if at.orig_rax == libc::SYS_kill as u64 {
            at.rax = 5;
            set_regs(pid, &at)?;
            break;
        }
        eq(at.orig_rax, libc::SYS_getpid as u64)?;
        at.rax = pid as u64;
        set_regs(pid, &at)?;
    }
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn memory_is_read_and_written() -> Done {
    static mut WORDS: [u64; 2] = [0x1122_3344_5566_7788, 5];
    let at = &raw mut WORDS as u64;
    let pid = tracee(0, || {
        let words = (&raw mut WORDS).read_volatile();
        eq(words, [0x1122_3344_5566_7788, 0x600])
    })?;
    let mut word = 0u64;
    req(libc::PTRACE_PEEKDATA, pid, at, &raw mut word as u64)?;
    eq(word, 0x1122_3344_5566_7788)?;
    req(libc::PTRACE_PEEKTEXT, pid, at + 1, &raw mut word as u64)?;
    eq(word, 0x0511_2233_4455_6677)?;
    req(libc::PTRACE_POKEDATA, pid, at + 8, 0x600)?;
    fails(request(libc::PTRACE_PEEKDATA, pid, 8, &raw mut word as u64), libc::EIO)?;
    fails(request(libc::PTRACE_POKEDATA, pid, 8, 1), libc::EIO)?;
    fails(request(libc::PTRACE_PEEKDATA, pid, at, 8), libc::EFAULT)?;
    eq((&raw mut WORDS).read_volatile()[1], 5)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

/// Code with a place for a breakpoint.
#[unsafe(naked)]
unsafe extern "C" fn with_breakpoint() -> u64 {
    naked_asm!("nop", "mov eax, 7", "ret")
}

unsafe fn program_text_is_written() -> Done {
    let at = with_breakpoint as *const () as u64;
    let pid = tracee(0, || eq(with_breakpoint(), 7))?;
    let mut before = 0u64;
    req(libc::PTRACE_PEEKTEXT, pid, at, &raw mut before as u64)?;
    req(libc::PTRACE_POKETEXT, pid, at, before & !0xff | 0xcc)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP)?;
    let mut info: libc::siginfo_t = std::mem::zeroed();
    req(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64)?;
    eq(info.si_code, 0x80)?;
    let mut regs = regs(pid)?;
    eq(regs.rip, at + 1)?;
    // Only the tracee has it.
    eq(with_breakpoint(), 7)?;
    req(libc::PTRACE_POKETEXT, pid, at, before)?;
    regs.rip = at;
    set_regs(pid, &regs)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

#[unsafe(naked)]
unsafe extern "C" fn a_call() -> c_long {
    // getppid
    naked_asm!("mov eax, 110", "syscall", "ret")
}

unsafe fn often_executed_calls_are_as_they_were() -> Done {
    let at = a_call as *const () as u64;
    let (pid, go_ahead) = untraced(|| {
        for _ in 0..2000 {
            eq(a_call(), c_long::from(libc::getppid()))?;
        }
        libc::raise(libc::SIGSTOP);
        for _ in 0..200 {
            eq(a_call(), c_long::from(libc::getppid()))?;
        }
        Ok(())
    })?;
    put(go_ahead, b"x")?;
    let mut word = 0;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
    req(libc::PTRACE_SEIZE, pid, 0, 0)?;
    stops(pid, libc::SIGSTOP | EVENT_STOP << 8)?;
    let mut text = 0u64;
    req(libc::PTRACE_PEEKTEXT, pid, at, &raw mut text as u64)?;
    eq(text.to_le_bytes(), [0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xc3])?;
    // And steps are by its instructions.
    req(libc::PTRACE_POKETEXT, pid, at, text & !0xff | 0xcc)?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    loop {
        go(pid, libc::PTRACE_CONT, 0)?;
        let word = wait_for(pid)?;
        if word >> 8 == libc::SIGTRAP && regs(pid)?.rip == at + 1 {
            break;
        }
    }
    req(libc::PTRACE_POKETEXT, pid, at, text)?;
    let mut regs_now = regs(pid)?;
    regs_now.rip = at;
    set_regs(pid, &regs_now)?;
    for rip in [at + 5, at + 7] {
        go(pid, libc::PTRACE_SINGLESTEP, 0)?;
        stops(pid, libc::SIGTRAP)?;
        eq(regs(pid)?.rip, rip)?;
    }
    eq(regs(pid)?.rax as c_int, libc::getpid())?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn registers_by_offset() -> Done {
    let pid = tracee(0, || Ok(()))?;
    let regs = regs(pid)?;
    let mut word = 0u64;
    let peek =
        |offset: u64, word: &mut u64| request(libc::PTRACE_PEEKUSER, pid, offset, &raw mut *word as u64);
    for (index, value) in [(15, regs.orig_rax), (16, regs.rip), (19, regs.rsp), (17, 0x33), (20, 0x2b)] {
        ok(peek(index * 8, &mut word))?;
        eq((index, word), (index, value))?;
    }
    fails(peek(3, &mut word), libc::EIO)?;
    fails(peek(928, &mut word), libc::EIO)?;
    ok(peek(400, &mut word))?;
    req(libc::PTRACE_POKEUSER, pid, 0, 0x77)?;
    ok(peek(0, &mut word))?;
    eq(word, 0x77)?;
    req(libc::PTRACE_POKEUSER, pid, 0, regs.r15)?;
    fails(request(libc::PTRACE_POKEUSER, pid, 21 * 8, 1 << 63), libc::EIO)?;
    fails(request(libc::PTRACE_POKEUSER, pid, 400, 1), libc::EIO)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn register_sets() -> Done {
    let pid = tracee(0, || Ok(()))?;
    let mut words = [0u64; 40];
    let set = |kind: u64, words: &mut [u64], len: usize, what: libc::c_uint| {
        let mut iov = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: len };
        let result = request(what, pid, kind, &raw mut iov as u64);
        (result, iov.iov_len)
    };
    eq(set(1, &mut words, 320, libc::PTRACE_GETREGSET), (0, 216))?;
    eq((words[16], words[27]), (regs(pid)?.rip, 0))?;
    eq(set(1, &mut words, 16, libc::PTRACE_SETREGSET), (0, 16))?;
    eq(set(1, &mut words, 12, libc::PTRACE_GETREGSET).0, -1)?;
    eq(errno(), libc::EINVAL)?;
    eq(set(0x9999, &mut words, 16, libc::PTRACE_GETREGSET).0, -1)?;
    eq(errno(), libc::EINVAL)?;
    let mut vector = [0u64; 1024];
    eq(set(2, &mut vector, 8192, libc::PTRACE_GETREGSET), (0, 512))?;
    let (result, len) = set(0x202, &mut vector, 8192, libc::PTRACE_GETREGSET);
    check(result == 0 && len >= 576, "the extended state is there")?;
    // The components that there are: x87, SSE and maybe more.
    eq(vector[58] & 3, 3)?;
    eq(set(0x202, &mut vector, len, libc::PTRACE_SETREGSET), (0, len))?;
    eq(set(0x202, &mut vector, 512, libc::PTRACE_SETREGSET).0, -1)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

/// Loads xmm9, raises int3, and gives what is in xmm9 then.
#[unsafe(naked)]
unsafe extern "C" fn keeps_vector(value: u64) -> u64 {
    naked_asm!("movq xmm9, rdi", "int3", "movq rax, xmm9", "ret")
}

unsafe fn vector_registers() -> Done {
    let pid = tracee(0, || {
        eq(keeps_vector(0x1234_5678), 0x4321)?;
        eq(keeps_vector(5), 5)
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP)?;
    let mut vector = [0u64; 64];
    req(libc::PTRACE_GETFPREGS, pid, 0, vector.as_mut_ptr() as u64)?;
    let xmm9 = (160 + 9 * 16) / 8;
    eq(vector[xmm9], 0x1234_5678)?;
    vector[xmm9] = 0x4321;
    req(libc::PTRACE_SETFPREGS, pid, 0, vector.as_mut_ptr() as u64)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn debug_registers() -> Done {
    let pid = tracee(0, || Ok(()))?;
    let mut word = 1u64;
    for index in [0, 3, 6, 7] {
        req(libc::PTRACE_PEEKUSER, pid, 848 + index * 8, &raw mut word as u64)?;
        eq((index, word & 0xf), (index, 0))?;
    }
    req(libc::PTRACE_POKEUSER, pid, 848 + 7 * 8, 0)?;
    fails(request(libc::PTRACE_POKEUSER, pid, 848 + 4 * 8, 1), libc::EIO)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

#[unsafe(naked)]
unsafe extern "C" fn steps() -> u64 {
    naked_asm!("int3", "nop", "xor eax, eax", "inc eax", "mov eax, 110", "syscall", "nop", "ret")
}

unsafe fn to_breakpoint(pid: pid_t) -> Done<u64> {
    go(pid, libc::PTRACE_CONT, 0)?;
    stops(pid, libc::SIGTRAP)?;
    Ok(regs(pid)?.rip)
}

unsafe fn steps_go_by_one_instruction() -> Done {
    let pid = tracee(0, || eq(steps() as c_int, libc::getppid()))?;
    let mut rip = to_breakpoint(pid)?;
    for (len, rax) in [(1, None), (2, Some(0)), (2, Some(1))] {
        go(pid, libc::PTRACE_SINGLESTEP, 0)?;
        stops(pid, libc::SIGTRAP)?;
        rip += len;
        let regs = regs(pid)?;
        eq((regs.rip, rax.unwrap_or(regs.rax)), (rip, regs.rax))?;
        // The flag that does it is not shown.
        eq(regs.eflags & 0x100, 0)?;
        let mut info: libc::siginfo_t = std::mem::zeroed();
        req(libc::PTRACE_GETSIGINFO, pid, 0, &raw mut info as u64)?;
        eq((info.si_code, info.si_addr() as u64), (2, rip))?;
    }
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn steps_go_over_calls() -> Done {
    let pid = tracee(0, || eq(steps() as c_int, libc::getppid()))?;
    let start = to_breakpoint(pid)?;
    for offset in [1, 3, 5, 10, 12, 13] {
        go(pid, libc::PTRACE_SINGLESTEP, 0)?;
        stops(pid, libc::SIGTRAP)?;
        let regs = regs(pid)?;
        eq(regs.rip - start, offset)?;
        if offset >= 12 {
            eq(regs.rax as c_int, libc::getpid())?;
        }
    }
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn steps_go_into_handlers() -> Done {
    let pid = tracee(0, || {
        on(libc::SIGUSR1, note, 0)?;
        eq(steps() as c_int, libc::getppid())?;
        eq(SIGNALS.load(SeqCst), 1)
    })?;
    let start = to_breakpoint(pid)?;
    go(pid, libc::PTRACE_SINGLESTEP, libc::SIGUSR1)?;
    stops(pid, libc::SIGTRAP)?;
    let regs_now = regs(pid)?;
    eq((regs_now.rip, regs_now.rdi), (note as *const () as u64, libc::SIGUSR1 as u64))?;
    go(pid, libc::PTRACE_SINGLESTEP, 0)?;
    stops(pid, libc::SIGTRAP)?;
    check(regs(pid)?.rip != start, "it is in the handler")?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn a_filter_asks() -> Done {
    let options = libc::PTRACE_O_TRACESECCOMP as c_long | SYSGOOD;
    let pid = tracee(options, || {
        crate::seccomp::filter(&crate::seccomp::victim_gives(crate::seccomp::TRACE | 55))?;
        ok(crate::seccomp::victim())?;
        eq(crate::seccomp::victim(), 66)
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    for skips in [false, true] {
        stops(pid, libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8)?;
        let mut at = regs(pid)?;
        eq((message(pid)?, at.orig_rax, at.rax as i64), (55, CALL as u64, i64::from(-libc::ENOSYS)))?;
        let mut words = [0u64; 11];
        eq(ok(request(0x420e, pid, 88, words.as_mut_ptr() as u64))?, 84)?;
        eq((words[0] as u32, words[3], words[10]), (3, CALL as u64, 55))?;
        if skips {
            at.orig_rax = u64::MAX;
            at.rax = 66;
            set_regs(pid, &at)?;
        }
        go(pid, libc::PTRACE_CONT, 0)?;
    }
    ends_well(pid)
}

unsafe fn a_filter_sees_what_the_tracer_made() -> Done {
    let pid = tracee(SYSGOOD, || {
        crate::seccomp::filter(&crate::seccomp::victim_gives(crate::seccomp::ERRNO | 55))?;
        fails(libc::syscall(libc::SYS_getuid), 55)
    })?;
    to_entry(pid, libc::SYS_getuid)?;
    let mut at = regs(pid)?;
    at.orig_rax = CALL as u64;
    set_regs(pid, &at)?;
    to_call(pid)?;
    eq(regs(pid)?.rax as i64, -55)?;
    go(pid, libc::PTRACE_CONT, 0)?;
    ends_well(pid)
}

unsafe fn a_filter_kills_unseen() -> Done {
    let pid = tracee(SYSGOOD, || {
        crate::seccomp::filter(&crate::seccomp::victim_gives(crate::seccomp::KILL_PROCESS))?;
        crate::seccomp::victim();
        Ok(())
    })?;
    go(pid, libc::PTRACE_CONT, 0)?;
    dies_of(pid, libc::SIGSYS)
}
