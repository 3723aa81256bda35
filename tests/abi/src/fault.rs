//! Signals that instructions raise, and what a signal frame keeps: registers, vectors, the red zone. signal(7),
//! sigaction(2); the frame is that of the x86-64 kernel.

use std::arch::asm;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use libc::{c_int, c_void, siginfo_t, ucontext_t};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    read_of_nothing,
    write_to_read_only,
    read_of_prot_none,
    run_of_data,
    non_canonical_address,
    kernel_address,
    privileged_instruction,
    undefined_instruction,
    division_by_zero,
    breakpoint,
    single_step,
    float_exception,
    beyond_the_end_of_a_file,
    fault_error_code,
    handler_repairs_the_mapping,
    blocked_fault_kills,
    ignored_fault_kills,
    fault_without_handler_kills,
    core_file_holds_the_memory,
    core_file_is_not_for_all,
    stack_overflow_on_altstack,
    registers_survive_a_handler,
    changed_registers_take_effect,
    vectors_survive_a_handler,
    mxcsr_survives_a_handler,
    red_zone_survives_a_handler,
    handler_starts_clean,
    syscall_keeps_registers,
    bad_frame_kills,
    flags_are_as_at_the_fault,
];

/// By how much a faulting instruction is skipped; -1 means: it was a call to `rip`.
static SKIP: AtomicI64 = AtomicI64::new(0);
static RIP: AtomicU64 = AtomicU64::new(0);
static ERROR: AtomicU64 = AtomicU64::new(0);

unsafe fn registers<'a>(context: *mut c_void) -> &'a mut [i64; 23] {
    &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs
}

extern "C" fn step_over(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    note(signal, info, context);
    // SAFETY: SA_SIGINFO passes a context, and the case says how long its instruction is.
    unsafe {
        let regs = registers(context);
        RIP.store(regs[libc::REG_RIP as usize] as u64, SeqCst);
        ERROR.store(regs[libc::REG_ERR as usize] as u64, SeqCst);
        match SKIP.load(SeqCst) {
            -1 => {
                regs[libc::REG_RIP as usize] = *(regs[libc::REG_RSP as usize] as *const i64);
                regs[libc::REG_RSP as usize] += 8;
            }
            n => regs[libc::REG_RIP as usize] += n,
        }
    }
}

/// Catches `signal`, expecting it from an instruction of `len` bytes.
fn expect(signal: c_int, len: i64) -> Done {
    SKIP.store(len, SeqCst);
    on(signal, step_over, libc::SA_NODEFER)
}

unsafe fn load(at: u64) {
    asm!("mov al, byte ptr [rdi]", in("rdi") at, out("al") _); // two bytes
}

unsafe fn store(at: u64) {
    asm!("mov byte ptr [rdi], al", in("rdi") at, in("al") 1u8); // two bytes
}

/// Fails unless one signal came, with that code and address.
#[track_caller]
fn came(signal: c_int, code: c_int, at: u64) -> Done {
    eq(SIGNALS.load(SeqCst), 1)?;
    let got = (LAST_SIGNAL.load(SeqCst), LAST_CODE.load(SeqCst), LAST_ADDR.load(SeqCst));
    eq(got, (signal, code, at))
}

const MAPERR: c_int = 1;
const ACCERR: c_int = 2;
const SI_KERNEL: c_int = 0x80;

unsafe fn read_of_nothing() -> Done {
    expect(libc::SIGSEGV, 2)?;
    let page = memory(PAGE)? as u64;
    ok(libc::munmap(page as *mut c_void, PAGE))?;
    load(page + 123);
    came(libc::SIGSEGV, MAPERR, page + 123)?;
    SIGNALS.store(0, SeqCst);
    load(8);
    came(libc::SIGSEGV, MAPERR, 8)
}

unsafe fn write_to_read_only() -> Done {
    expect(libc::SIGSEGV, 2)?;
    let page = memory(PAGE)?;
    *page = 5;
    ok(libc::mprotect(page.cast(), PAGE, libc::PROT_READ))?;
    load(page as u64);
    eq(SIGNALS.load(SeqCst), 0)?;
    store(page as u64 + 7);
    came(libc::SIGSEGV, ACCERR, page as u64 + 7)?;
    eq(*page, 5)
}

unsafe fn read_of_prot_none() -> Done {
    expect(libc::SIGSEGV, 2)?;
    let page = map(PAGE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    load(page as u64);
    came(libc::SIGSEGV, ACCERR, page as u64)
}

unsafe fn run_of_data() -> Done {
    expect(libc::SIGSEGV, -1)?;
    let page = memory(PAGE)?;
    *page = 0xc3; // ret
    asm!("call {}", in(reg) page, clobber_abi("C"));
    came(libc::SIGSEGV, ACCERR, page as u64)?;
    eq(RIP.load(SeqCst), page as u64)
}

unsafe fn non_canonical_address() -> Done {
    expect(libc::SIGSEGV, 2)?;
    load(0x8000_0000_0000_0000 >> 8);
    came(libc::SIGSEGV, SI_KERNEL, 0)
}

unsafe fn kernel_address() -> Done {
    expect(libc::SIGSEGV, 2)?;
    load(0xffff_ffff_8000_0000);
    came(libc::SIGSEGV, MAPERR, 0xffff_ffff_8000_0000)
}

unsafe fn privileged_instruction() -> Done {
    expect(libc::SIGSEGV, 1)?;
    asm!("hlt");
    came(libc::SIGSEGV, SI_KERNEL, 0)
}

unsafe fn undefined_instruction() -> Done {
    expect(libc::SIGILL, 2)?;
    asm!("ud2");
    let code = LAST_CODE.load(SeqCst);
    came(libc::SIGILL, code, RIP.load(SeqCst))?;
    eq(code, 2) // ILL_ILLOPN
}

unsafe fn division_by_zero() -> Done {
    expect(libc::SIGFPE, 2)?;
    asm!("div ecx", in("ecx") 0, inout("eax") 1 => _, inout("edx") 0 => _);
    came(libc::SIGFPE, 1, RIP.load(SeqCst)) // FPE_INTDIV
}

unsafe fn breakpoint() -> Done {
    expect(libc::SIGTRAP, 0)?;
    let after: u64;
    asm!("int3", "lea {}, [rip - 7]", out(reg) after);
    eq(LAST_CODE.load(SeqCst), SI_KERNEL)?;
    eq(SIGNALS.load(SeqCst), 1)?;
    eq(RIP.load(SeqCst), after) // it is reported behind the instruction
}

extern "C" fn stop_stepping(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    note(signal, info, context);
    // SAFETY: SA_SIGINFO; clears the trap flag.
    unsafe { registers(context)[libc::REG_EFL as usize] &= !0x100 };
}

unsafe fn single_step() -> Done {
    on(libc::SIGTRAP, stop_stepping, 0)?;
    asm!("sub rsp, 128", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop", "add rsp, 128");
    eq(SIGNALS.load(SeqCst), 1)?;
    eq(LAST_CODE.load(SeqCst), 2) // TRAP_TRACE
}

unsafe fn float_exception() -> Done {
    expect(libc::SIGFPE, 4)?;
    let unmasked: u32 = 0x1f80 & !0x200; // division by zero traps
    let usual: u32 = 0x1f80;
    asm!(
        "ldmxcsr [{unmasked}]", "divss xmm0, xmm1", "ldmxcsr [{usual}]",
        unmasked = in(reg) &unmasked, usual = in(reg) &usual,
        inout("xmm0") 1.0f32 => _, in("xmm1") 0.0f32,
    );
    came(libc::SIGFPE, 3, RIP.load(SeqCst)) // FPE_FLTDIV
}

unsafe fn beyond_the_end_of_a_file() -> Done {
    expect(libc::SIGBUS, 2)?;
    let fd = file(c"f", b"short")?;
    let two = map(2 * PAGE, libc::PROT_READ, libc::MAP_SHARED, fd)?;
    eq(*two.add(5), 0)?; // the rest of the last page reads as zeros
    load(two as u64 + 4096 + 9);
    came(libc::SIGBUS, 2, two as u64 + 4096 + 9) // BUS_ADRERR
}

unsafe fn fault_error_code() -> Done {
    expect(libc::SIGSEGV, 2)?;
    let page = map(PAGE, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    eq(page.read_volatile(), 0)?;
    store(page as u64);
    if ERROR.load(SeqCst) == 0 {
        return skip("the fault's error code is not known here");
    }
    eq(ERROR.load(SeqCst), 7)?; // a write, by a program, to what is there
    let page = page as u64;
    ok(libc::munmap(page as *mut c_void, PAGE))?;
    store(page);
    eq(ERROR.load(SeqCst), 6)?;
    load(page);
    eq(ERROR.load(SeqCst), 4)?;
    load(0xffff_ffff_8000_0000);
    eq(ERROR.load(SeqCst), 5)?;
    expect(libc::SIGSEGV, -1)?;
    asm!("call {}", in(reg) page, clobber_abi("C"));
    eq(ERROR.load(SeqCst), 20)?;
    // Of no page.
    expect(libc::SIGSEGV, 1)?;
    asm!("hlt");
    eq(ERROR.load(SeqCst), 0)
}

extern "C" fn repair(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    note(signal, info, context);
    let page = LAST_ADDR.load(SeqCst) & !4095;
    // SAFETY: the page is the case's.
    unsafe { libc::mprotect(page as *mut c_void, PAGE, libc::PROT_READ | libc::PROT_WRITE) };
}

unsafe fn handler_repairs_the_mapping() -> Done {
    on(libc::SIGSEGV, repair, 0)?;
    let pages = map(4 * PAGE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    for i in 0..4 {
        pages.add(i * PAGE + 3).write_volatile(i as u8);
    }
    eq(SIGNALS.load(SeqCst), 4)?;
    eq(*pages.add(3 * PAGE + 3), 3)
}

fn no_core() -> Done {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit lives.
    ok(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }).map(drop)
}

unsafe fn blocked_fault_kills() -> Done {
    let pid = spawn(|| {
        no_core()?;
        expect(libc::SIGSEGV, 2)?;
        block(&[libc::SIGSEGV])?;
        load(8);
        Ok(())
    })?;
    dies_of(pid, libc::SIGSEGV)
}

unsafe fn ignored_fault_kills() -> Done {
    let pid = spawn(|| {
        no_core()?;
        dispose(libc::SIGILL, libc::SIG_IGN)?;
        asm!("ud2");
        Ok(())
    })?;
    dies_of(pid, libc::SIGILL)
}

unsafe fn fault_without_handler_kills() -> Done {
    let pid = spawn(|| {
        no_core()?;
        dispose(libc::SIGSEGV, libc::SIG_DFL)?; // the language's runtime has one
        load(8);
        Ok(())
    })?;
    dies_of(pid, libc::SIGSEGV)
}

/// The status of a child with that limit that dies of a bad load, after `before`.
unsafe fn dies_with_core_limit(limit: u64, before: impl FnOnce() -> Done) -> Done<c_int> {
    let told = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
    if told("/proc/sys/kernel/core_pattern").trim() != "core"
        || told("/proc/sys/kernel/core_uses_pid").trim() == "1"
    {
        return skip("core files go elsewhere here");
    }
    let pid = spawn(|| {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        ok(libc::setrlimit(libc::RLIMIT_CORE, &limit))?;
        before()?;
        load(8);
        Ok(())
    })?;
    let word = status(pid)?;
    check(libc::WIFSIGNALED(word) && libc::WTERMSIG(word) == libc::SIGSEGV, "it died of SIGSEGV")?;
    Ok(word)
}

unsafe fn core_file_holds_the_memory() -> Done {
    let page =
        map(2 * PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    page.add(PAGE + 5).write(0);
    let word = dies_with_core_limit(64 << 20, || {
        page.add(PAGE + 5).write(77);
        Ok(())
    })?;
    check(libc::WCOREDUMP(word), "a core file was written")?;
    let core = std::fs::read("core").unwrap_or_default();
    let half = |at: usize| core.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let long = |at: usize| {
        core.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default())) as usize
    };
    check(core.starts_with(b"\x7fELF") && half(16) == 4, "it is an ELF core file")?;
    let headers: Vec<usize> = (0..half(56).into()).map(|n: usize| long(32) + n * 56).collect();
    let (kind, offset, addr, size) = (half, |at| long(at + 8), |at| long(at + 16), |at| long(at + 32));
    // The first note tells of the thread: struct elf_prstatus, whose current signal is at 12.
    let Some(notes) = headers.iter().find(|at| kind(**at) == 4) else { return fail("it has no notes") };
    eq(half(offset(*notes) + 8), 1)?;
    eq(half(offset(*notes) + 12 + 8 + 12), libc::SIGSEGV as u16)?;
    let wanted = page as usize + PAGE + 5;
    let holds = |at: &&usize| kind(**at) == 1 && (addr(**at)..addr(**at) + size(**at)).contains(&wanted);
    let Some(part) = headers.iter().find(holds) else { return fail("the page is not in it") };
    eq(core.get(offset(*part) + wanted - addr(*part)).copied(), Some(77))
}

unsafe fn core_file_is_not_for_all() -> Done {
    let word = dies_with_core_limit(0, || Ok(()))?;
    check(!libc::WCOREDUMP(word), "the limit forbids it")?;
    let undumpable = || ok(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)).map(drop);
    let word = dies_with_core_limit(64 << 20, undumpable)?;
    check(!libc::WCOREDUMP(word), "it may not be dumped")?;
    check(!std::path::Path::new("core").exists(), "there is none")?;
    // A link must not lead elsewhere: what has the name goes.
    std::fs::write("kept", "kept").map_or_else(fail, Ok)?;
    ok(libc::symlink(c"kept".as_ptr(), c"core".as_ptr()))?;
    let word = dies_with_core_limit(64 << 20, || Ok(()))?;
    check(libc::WCOREDUMP(word), "a core file was written")?;
    eq(std::fs::read("kept").unwrap_or_default(), b"kept")
}

extern "C" fn leave(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: SA_SIGINFO; leaves the process.
    unsafe { libc::_exit(if (*info).si_code == MAPERR || (*info).si_code == ACCERR { 12 } else { 13 }) };
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let big = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + big[7] }
}

unsafe fn stack_overflow_on_altstack() -> Done {
    let pid = spawn(|| {
        no_core()?;
        let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: libc::RLIM_INFINITY };
        ok(libc::setrlimit(libc::RLIMIT_STACK, &limit))?;
        let stack = libc::stack_t { ss_sp: memory(16 * PAGE)?.cast(), ss_flags: 0, ss_size: 16 * PAGE };
        ok(libc::sigaltstack(&stack, std::ptr::null_mut()))?;
        on(libc::SIGSEGV, leave, libc::SA_ONSTACK)?;
        recurse(0);
        Ok(())
    })?;
    eq(libc::WEXITSTATUS(status(pid)?), 12)
}

/// Calls tkill(self, SIGUSR1) with known registers, and returns what is in them afterwards.
unsafe fn signal_with_registers() -> [u64; 6] {
    let pid = libc::getpid();
    let mut regs = [0u64; 6];
    asm!(
        "mov r8, 8", "mov r9, 9", "mov r10, 10", "mov r12, 12", "mov r14, 14", "mov r15, 15",
        "syscall",
        "mov [{out} + 0], r8", "mov [{out} + 8], r9", "mov [{out} + 16], r10",
        "mov [{out} + 24], r12", "mov [{out} + 32], r14", "mov [{out} + 40], r15",
        out = in(reg) regs.as_mut_ptr(),
        inout("rax") libc::SYS_tkill => _, in("rdi") pid, in("rsi") libc::SIGUSR1,
        out("rcx") _, out("r11") _, out("r8") _, out("r9") _, out("r10") _,
        out("r12") _, out("r14") _, out("r15") _,
    );
    regs
}

extern "C" fn clobber(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    SIGNALS.fetch_add(1, SeqCst);
    // SAFETY: the registers are declared.
    unsafe {
        asm!(
            "xor r8d, r8d", "xor r9d, r9d", "xor r10d, r10d", "pxor xmm0, xmm0", "pxor xmm7, xmm7",
            "pxor xmm15, xmm15",
            out("r8") _, out("r9") _, out("r10") _, out("xmm0") _, out("xmm7") _, out("xmm15") _,
        );
        if is_x86_feature_detected!("avx") {
            asm!("vzeroall", out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
                out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _,
                out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _);
        }
        let down: u32 = 0x3f80; // rounds down
        asm!("ldmxcsr [{}]", in(reg) &down);
    }
}

unsafe fn registers_survive_a_handler() -> Done {
    on(libc::SIGUSR1, clobber, 0)?;
    eq(signal_with_registers(), [8, 9, 10, 12, 14, 15])?;
    eq(SIGNALS.load(SeqCst), 1)
}

extern "C" fn change_registers(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: SA_SIGINFO.
    let regs = unsafe { registers(context) };
    regs[libc::REG_R12 as usize] = 1212;
    regs[libc::REG_R9 as usize] = 99;
}

unsafe fn changed_registers_take_effect() -> Done {
    on(libc::SIGUSR1, change_registers, 0)?;
    eq(signal_with_registers(), [8, 99, 10, 1212, 14, 15])
}

unsafe fn vectors_survive_a_handler() -> Done {
    on(libc::SIGUSR1, clobber, 0)?;
    let pid = libc::getpid();
    let (before, mut after) = ([0x1122_3344_5566_7788u64, 2, 3, 4], [0u64; 12]);
    if is_x86_feature_detected!("avx") {
        asm!(
            "vmovdqu ymm0, [{i}]", "vmovdqu ymm7, [{i}]", "vmovdqu ymm15, [{i}]", "syscall",
            "vmovdqu [{o}], ymm0", "vmovdqu [{o} + 32], ymm7", "vmovdqu [{o} + 64], ymm15",
            i = in(reg) before.as_ptr(), o = in(reg) after.as_mut_ptr(),
            inout("rax") libc::SYS_tkill => _, in("rdi") pid, in("rsi") libc::SIGUSR1,
            out("rcx") _, out("r11") _, out("xmm0") _, out("xmm7") _, out("xmm15") _,
        );
        eq(after.as_slice(), [before, before, before].concat().as_slice())?;
    }
    asm!(
        "movdqu xmm0, [{i}]", "movdqu xmm15, [{i}]", "syscall", "movdqu [{o}], xmm0", "movdqu [{o} + 16], xmm15",
        i = in(reg) before.as_ptr(), o = in(reg) after.as_mut_ptr(),
        inout("rax") libc::SYS_tkill => _, in("rdi") pid, in("rsi") libc::SIGUSR1,
        out("rcx") _, out("r11") _, out("xmm0") _, out("xmm15") _,
    );
    eq(&after[..4], [before[0], 2, before[0], 2])
}

unsafe fn mxcsr_survives_a_handler() -> Done {
    on(libc::SIGUSR1, clobber, 0)?;
    let (up, mut now, usual): (u32, u32, u32) = (0x5f80, 0, 0x1f80);
    asm!("ldmxcsr [{}]", in(reg) &up);
    libc::syscall(libc::SYS_tkill, libc::getpid(), libc::SIGUSR1);
    asm!("stmxcsr [{}]", in(reg) &mut now);
    asm!("ldmxcsr [{}]", in(reg) &usual);
    eq(SIGNALS.load(SeqCst), 1)?;
    eq(now, up)
}

unsafe fn red_zone_survives_a_handler() -> Done {
    on(libc::SIGUSR1, clobber, 0)?;
    let pid = libc::getpid();
    let (first, last): (u64, u64);
    asm!(
        "sub rsp, 512", "mov qword ptr [rsp - 8], 111", "mov qword ptr [rsp - 128], 222", "syscall",
        "mov {first}, [rsp - 8]", "mov {last}, [rsp - 128]", "add rsp, 512",
        first = out(reg) first, last = out(reg) last,
        inout("rax") libc::SYS_tkill => _, in("rdi") pid, in("rsi") libc::SIGUSR1,
        out("rcx") _, out("r11") _,
    );
    eq((first, last), (111, 222))
}

static ALIGNED: AtomicU64 = AtomicU64::new(1);
static DIRECTION: AtomicU64 = AtomicU64::new(1);

extern "C" fn look(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let flags: u64;
    // SAFETY: reads the flags through the stack, past the red zone.
    unsafe { asm!("lea rsp, [rsp - 128]", "pushfq", "pop {}", "lea rsp, [rsp + 128]", out(reg) flags) };
    DIRECTION.store(flags & 0x400, SeqCst);
    // struct rt_sigframe: a return address, then the context; the frame is 16n + 8, as after a call.
    ALIGNED.store((context as u64 - 8) % 16, SeqCst);
}

unsafe fn handler_starts_clean() -> Done {
    on(libc::SIGUSR1, look, 0)?;
    let pid = libc::getpid();
    asm!(
        "std", "syscall", "cld",
        inout("rax") libc::SYS_tkill => _, in("rdi") pid, in("rsi") libc::SIGUSR1,
        out("rcx") _, out("r11") _,
    );
    eq(DIRECTION.load(SeqCst), 0)?; // the direction flag is clear in a handler
    eq(ALIGNED.load(SeqCst), 8)
}

unsafe fn syscall_keeps_registers() -> Done {
    let (nr, ret, rdi, rsi, rdx, rcx, r11): (i64, i64, u64, u64, u64, u64, u64);
    nr = libc::SYS_getpid;
    let next: u64;
    asm!(
        "syscall", "lea {next}, [rip - 7]",
        next = out(reg) next,
        inout("rax") nr => ret, inout("rdi") 1u64 => rdi, inout("rsi") 2u64 => rsi, inout("rdx") 3u64 => rdx,
        out("rcx") rcx, out("r11") r11,
    );
    eq(ret, i64::from(libc::getpid()))?;
    eq((rdi, rsi, rdx), (1, 2, 3))?;
    eq(rcx, next)?; // where the program goes on
    eq(r11 & 0x202, 0x202) // and its flags
}

unsafe fn bad_frame_kills() -> Done {
    let pid = spawn(|| {
        no_core()?;
        asm!("mov rsp, 4096", "mov eax, 15", "syscall", "ud2", options(noreturn));
    })?;
    dies_of(pid, libc::SIGSEGV)
}

extern "C" fn take_flags(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: SA_SIGINFO.
    ERROR.store(unsafe { registers(context)[libc::REG_EFL as usize] } as u64, SeqCst);
    note(signal, info, context);
    // SAFETY: as above; skips ud2.
    unsafe { registers(context)[libc::REG_RIP as usize] += 2 };
}

unsafe fn flags_are_as_at_the_fault() -> Done {
    on(libc::SIGILL, take_flags, 0)?;
    asm!("stc", "ud2");
    eq(ERROR.load(SeqCst) & 1, 1)?; // carry
    asm!("clc", "ud2");
    eq(ERROR.load(SeqCst) & 1, 0)
}
