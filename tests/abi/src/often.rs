//! System calls that are made at one place over and over: a kernel may have something faster for them, and nobody may notice.

use std::arch::{asm, global_asm};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use libc::{c_int, c_void, siginfo_t};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    arguments_and_results,
    after_a_fork,
    threads_at_one_place,
    signals_in_the_middle,
    registers_are_kept,
    second_instruction_alone,
    single_steps,
    code_that_is_replaced,
];

/// More than a kernel needs to see that a place is frequent.
const OFTEN: i64 = 1000;

// `lseek(rdi, rsi, rdx)`; its second instruction is a function of its own, for the call whose number is in `rax`.
global_asm!(
    ".pushsection .text",
    ".globl often_lseek, often_any",
    "often_lseek: mov eax, 8",
    "often_any: syscall",
    "ret",
    ".popsection"
);

unsafe extern "C" {
    fn often_lseek(fd: i64, offset: i64, whence: i64) -> i64;
}

#[track_caller]
unsafe fn seek(fd: c_int, times: i64) -> Done {
    for offset in 0..times {
        eq(often_lseek(fd.into(), offset, 0), offset)?;
    }
    eq(often_lseek(-1, 0, 0), -i64::from(libc::EBADF))
}

unsafe fn arguments_and_results() -> Done {
    seek(file(c"f", b"")?, OFTEN)
}

unsafe fn after_a_fork() -> Done {
    let fd = file(c"f", b"")?;
    seek(fd, OFTEN)?;
    // SAFETY: the child has its own copy of everything but the position in the file, and the parent waits.
    in_child(|| unsafe { seek(fd, OFTEN) })?;
    seek(fd, OFTEN)
}

unsafe fn threads_at_one_place() -> Done {
    let files = [file(c"a", b"")?, file(c"b", b"")?, file(c"c", b"")?, file(c"d", b"")?];
    // SAFETY: each thread has a file of its own.
    let threads = files.map(|fd| std::thread::spawn(move || unsafe { seek(fd, 3 * OFTEN) }));
    threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| fail("a thread panicked")))
}

static OTHER: AtomicI64 = AtomicI64::new(-1);
static WRONG: AtomicI64 = AtomicI64::new(0);

extern "C" fn seek_too(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    note(signal, info, context);
    for offset in 0..10 {
        // SAFETY: the call has no pointers.
        if unsafe { often_lseek(OTHER.load(SeqCst), offset, 0) } != offset {
            WRONG.fetch_add(1, SeqCst);
        }
    }
}

unsafe fn signals_in_the_middle() -> Done {
    let fd = file(c"f", b"")?;
    OTHER.store(file(c"g", b"")?.into(), SeqCst);
    on(libc::SIGALRM, seek_too, libc::SA_RESTART)?;
    let each = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: each, it_value: each };
    ok(libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()))?;
    let start = now_ms();
    while SIGNALS.load(SeqCst) < 30 && now_ms() - start < 5000 {
        seek(fd, OFTEN)?;
    }
    eq(WRONG.load(SeqCst), 0)?;
    check(SIGNALS.load(SeqCst) >= 30, "signals came")
}

unsafe fn registers_are_kept() -> Done {
    let fd = file(c"f", b"")?;
    seek(fd, OFTEN)?;
    for turn in 0..OFTEN {
        let (mut rdi, mut rsi, mut rdx, mut r8, mut r9, mut r10) =
            (i64::from(fd), turn, 0_i64, 5_i64, 6_i64, 7_i64);
        let (result, r12, r13, below, equal): (i64, i64, i64, i64, i32);
        asm!(
            "movq xmm7, r12",
            "sub rsp, 128",
            "mov [rsp - 16], r13",
            "cmp r8, r8",
            "mov eax, 8",
            "syscall",
            "setz r11b",
            "mov rcx, [rsp - 16]",
            "add rsp, 128",
            "movq r12, xmm7",
            out("rax") result,
            inout("rdi") rdi, inout("rsi") rsi, inout("rdx") rdx, inout("r8") r8, inout("r9") r9, inout("r10") r10,
            inout("r12") turn + 1 => r12, inout("r13") turn + 2 => r13, out("rcx") below, out("r11") equal,
            out("xmm7") _,
        );
        eq((result, rdi, rsi, rdx), (turn, fd.into(), turn, 0))?;
        eq((r8, r9, r10, r12, r13, below), (5, 6, 7, turn + 1, turn + 2, turn + 2))?;
        check(equal & 1 == 1, "the flags are those from before the call")?;
    }
    Ok(())
}

unsafe fn second_instruction_alone() -> Done {
    seek(file(c"f", b"")?, OFTEN)?;
    for _ in 0..10 {
        let pid: i64;
        asm!("call often_any", inout("rax") libc::SYS_getpid => pid, out("rcx") _, out("r11") _);
        eq(pid, i64::from(libc::getpid()))?;
    }
    Ok(())
}

extern "C" fn step(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    note(signal, info, context);
}

unsafe fn single_steps() -> Done {
    let fd = i64::from(file(c"f", b"")?);
    seek(fd as c_int, OFTEN)?;
    on(libc::SIGTRAP, step, 0)?;
    let result: i64;
    asm!(
        "sub rsp, 128", "pushfq", "or qword ptr [rsp], 0x100", "popfq",
        "call often_lseek",
        "pushfq", "and qword ptr [rsp], ~0x100", "popfq", "add rsp, 128",
        in("rdi") fd, in("rsi") 77, in("rdx") 0, out("rax") result, out("rcx") _, out("r11") _,
    );
    eq(result, 77)?;
    check(SIGNALS.load(SeqCst) >= 3, "steps were told")
}

unsafe fn code_that_is_replaced() -> Done {
    // mov eax, NUMBER; syscall; ret
    let code = |number: u8| [0xb8, number, 0, 0, 0, 0x0f, 0x05, 0xc3];
    let page = memory(PAGE)?;
    for (number, want) in [(libc::SYS_getpid, libc::getpid()), (libc::SYS_getppid, libc::getppid())] {
        ok(libc::mprotect(page.cast(), PAGE, libc::PROT_READ | libc::PROT_WRITE))?;
        page.cast::<[u8; 8]>().write_volatile(code(number as u8));
        ok(libc::mprotect(page.cast(), PAGE, libc::PROT_READ | libc::PROT_EXEC))?;
        let call: extern "C" fn() -> i64 = std::mem::transmute(page);
        for _ in 0..OFTEN {
            eq(call(), i64::from(want))?;
        }
    }
    Ok(())
}
