//! The code that runs in a stub whose guest threads are trapped by a filter of system calls.
//!
//! The stub has two threads. The first one becomes the *mapper*: it makes the changes that the kernel asks for, and nothing
//! else. The other one carries guest threads. What a guest does to enter the kernel is turned into a signal by the host,
//! whose handler posts and waits; the frame that the host wrote for the signal has the guest's registers.
//!
//! There is no stack and no thread-local storage. After each wait nothing in a register is trusted: a guest can jump
//! anywhere in here with registers of its choice, and wait in the place of the handler.

use std::arch::global_asm;

use host_linux::vcpu::KICK_SIGNAL;
use host_linux::vm::TASK_END;
use kernel_core::host::PAGE_SIZE;

use crate::layout::{
    CODE, CODE_SIZE, CONSTANTS, DATA, DATA_FD, DATA_SIZE, DONE_FD, REQUESTS, REQUESTS_FD, SITE_COUNT,
    SITE_SIZE, SITE_TABLE, SITE_TABLE_OFFSET, SITES, SITES_OFFSET,
};
use crate::requests::{HEADER_SIZE, REQUEST_SIZE};
use crate::seccomp::constants;
use crate::seccomp::{data, frame};

/// As `seccomp(2)` wants it: a filter that does not also slow speculation down (SECCOMP_FILTER_FLAG_SPEC_ALLOW).
const FILTER_FLAGS: u64 = 4;
/// SECCOMP_SET_MODE_FILTER.
const SET_FILTER: u64 = 1;

global_asm!(
    ".pushsection .text.lodger_seccomp,\"ax\",@progbits",
    ".globl lodger_seccomp_start, lodger_seccomp_end, lodger_seccomp_enter, lodger_seccomp_handler",
    ".globl lodger_seccomp_trampoline, lodger_seccomp_post, lodger_seccomp_go",
    ".globl lodger_seccomp_wake, lodger_seccomp_wait, lodger_seccomp_return",
    ".globl lodger_seccomp_mapper_wait, lodger_seccomp_map, lodger_seccomp_done",
    "lodger_seccomp_start:",
    //
    // In the image that the spawner was forked with; r12 is the offset of the request page in its file, r13 that of the
    // data, r14 where the pages begin that are kept below the code. Maps what is the stub's and goes on there.
    "lodger_seccomp_enter:",
    "mov eax, {mmap}",
    "movabs rdi, {code}",
    "mov esi, {code_size}",
    "mov edx, {read_exec}",
    "mov r10d, {shared_fixed}",
    "mov r8d, {requests_fd}",
    "xor r9d, r9d",
    "syscall",
    "cmp rax, rdi",
    "jne 9f",
    "mov eax, {mmap}",
    "movabs rdi, {requests}",
    "mov esi, {page}",
    "mov edx, {read}",
    "mov r9, r12",
    "syscall",
    "cmp rax, rdi",
    "jne 9f",
    "mov eax, {mmap}",
    "movabs rdi, {data}",
    "mov esi, {data_size}",
    "mov edx, {read_write}",
    "mov r8d, {data_fd}",
    "mov r9, r13",
    "syscall",
    "cmp rax, rdi",
    "jne 9f",
    "lea rax, [rip + 2f]",
    "lea rcx, [rip + lodger_seccomp_start]",
    "sub rax, rcx",
    "movabs rcx, {code}",
    "add rax, rcx",
    "jmp rax",
    // At its own place: gives up all that came with the fork.
    "2:",
    "mov eax, {munmap}",
    "xor edi, edi",
    "mov rsi, r14",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    "mov eax, {munmap}",
    "movabs rdi, {data} + {data_size}",
    "movabs rsi, {end} - {data} - {data_size}",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    // The sites, and the table of them, if the host has a place for it: without it, nobody asks for sites.
    "mov eax, {mmap}",
    "movabs rdi, {sites}",
    "mov esi, {sites_size}",
    "mov edx, {read_exec}",
    "mov r10d, {shared_fixed}",
    "mov r8d, {requests_fd}",
    "mov r9d, {sites_offset}",
    "syscall",
    "cmp rax, rdi",
    "jne 9f",
    "mov eax, {mmap}",
    "mov edi, {site_table}",
    "mov esi, {site_table_size}",
    "mov edx, {read}",
    "mov r9d, {site_table_offset}",
    "syscall",
    "mov eax, {close}",
    "mov edi, {requests_fd}",
    "syscall",
    "mov eax, {close}",
    "mov edi, {data_fd}",
    "syscall",
    // One handler for every signal that a guest or a kick can raise.
    "movabs r15, {constants}",
    "lea r12, [r15 + {signals}]",
    "3: mov edi, [r12]",
    "test edi, edi",
    "jz 4f",
    "mov eax, {rt_sigaction}",
    "lea rsi, [r15 + {action}]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    "add r12, 4",
    "jmp 3b",
    "4: mov eax, {clone}",
    "mov edi, {thread}",
    "xor esi, esi",
    "xor edx, edx",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "syscall",
    "test rax, rax",
    "js 9f",
    "jnz 5f",
    // The thread of guests. Its first system call under the filter says that it is ready.
    "mov eax, {gettid}",
    "syscall",
    "movabs rbx, {data}",
    "mov [rbx + {tid}], rax",
    "mov eax, {sigaltstack}",
    "lea rdi, [r15 + {stack}]",
    "xor esi, esi",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    "mov eax, {seccomp}",
    "mov edi, {set_filter}",
    "mov esi, {filter_flags}",
    "lea rdx, [r15 + {guest_program}]",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    "mov eax, {gettid}",
    "syscall",
    "ud2",
    // The mapper: takes no signal, and is filtered too.
    "5: mov eax, {rt_sigprocmask}",
    "mov edi, {setmask}",
    "lea rsi, [r15 + {all}]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "mov eax, {seccomp}",
    "mov edi, {set_filter}",
    "mov esi, {filter_flags}",
    "lea rdx, [r15 + {mapper_program}]",
    "syscall",
    "test rax, rax",
    "jz 6f",
    "9: mov eax, {exit}",
    "mov edi, 1",
    "syscall",
    "ud2",
    //
    // The mapper's loop: ebx is the last request that is done. The page of requests has the number of the newest, the bytes
    // of its changes, and the changes.
    "6: movabs r12, {requests}",
    "xor ebx, ebx",
    "7: mov eax, [r12]",
    "cmp eax, ebx",
    "jne 8f",
    "mov rdi, r12",
    "xor esi, esi",
    "mov edx, ebx",
    "xor r10d, r10d",
    "mov eax, {futex}",
    "syscall",
    "lodger_seccomp_mapper_wait:",
    "jmp 7b",
    "8: mov ebx, eax",
    "lea r13, [r12 + {header}]",
    "mov r14, [r12 + 8]",
    "add r14, r13",
    "2: xor eax, eax",
    "cmp r13, r14",
    "je 3f",
    "mov rax, [r13]",
    "mov rdi, [r13 + 8]",
    "mov rsi, [r13 + 16]",
    "mov rdx, [r13 + 24]",
    "mov r10, [r13 + 32]",
    "mov r8, [r13 + 40]",
    "mov r9, [r13 + 48]",
    "syscall",
    "lodger_seccomp_map:",
    "add r13, {request}",
    "cmp rax, -4095",
    "jb 2b",
    "neg rax",
    // Says which errno ended it, or 0, by a counter that no guest thread can write to.
    "3: lea rsi, [r15 + rax * 8 + {codes}]",
    "mov edi, {done_fd}",
    "mov edx, 8",
    "mov eax, {write}",
    "syscall",
    "lodger_seccomp_done:",
    "jmp 7b",
    //
    // Where a rewritten call site goes, with the address behind it in rcx. All other registers are the guest's, and so are
    // the flags and the 128 bytes below its stack pointer.
    ".balign 64",
    "lodger_seccomp_trampoline:",
    "mov [rip + lodger_seccomp_start + {here} + 0], rax",
    "mov [rip + lodger_seccomp_start + {here} + 16], rdx",
    "mov [rip + lodger_seccomp_start + {here} + 24], rbx",
    "mov [rip + lodger_seccomp_start + {here} + 32], rsp",
    "mov [rip + lodger_seccomp_start + {here} + 40], rbp",
    "mov [rip + lodger_seccomp_start + {here} + 48], rsi",
    "mov [rip + lodger_seccomp_start + {here} + 56], rdi",
    "mov [rip + lodger_seccomp_start + {here} + 64], r8",
    "mov [rip + lodger_seccomp_start + {here} + 72], r9",
    "mov [rip + lodger_seccomp_start + {here} + 80], r10",
    "mov [rip + lodger_seccomp_start + {here} + 96], r12",
    "mov [rip + lodger_seccomp_start + {here} + 104], r13",
    "mov [rip + lodger_seccomp_start + {here} + 112], r14",
    "mov [rip + lodger_seccomp_start + {here} + 120], r15",
    "mov [rip + lodger_seccomp_start + {here} + 128], rcx",
    "lea rsp, [rip + lodger_seccomp_start + {here} + 144]",
    "pushfq",
    "cld",
    // To where a signal's frame has it too.
    "movabs rbx, {constants}",
    "mov eax, [rbx + {vector_mask}]",
    "mov edx, [rbx + {vector_mask} + 4]",
    "mov rcx, [rbx + {vector}]",
    "xsaveopt64 [rcx]",
    "movabs rbx, {data}",
    "mov dword ptr [rbx + {at_site}], 1",
    "jmp 1f",
    //
    // The handler, on the signal stack; all signals are blocked.
    ".balign 64",
    "lodger_seccomp_handler:",
    "movabs rbx, {data}",
    "cmp edi, {kick}",
    "jne 7f",
    // A kick that comes between a site and the post, or between the post and the go, is late: the thread has stopped, or
    // is about to. It goes back to where it was, by the frame that the host has just written.
    "mov rax, [rdx + {frame_rip}]",
    "lea rcx, [rip + lodger_seccomp_trampoline]",
    "cmp rax, rcx",
    "jb 7f",
    "lea rcx, [rip + lodger_seccomp_handler]",
    "cmp rax, rcx",
    "jb 6f",
    "lea rcx, [rip + lodger_seccomp_post]",
    "cmp rax, rcx",
    "jb 7f",
    "lea rcx, [rip + lodger_seccomp_go]",
    "cmp rax, rcx",
    "jae 7f",
    "cmp dword ptr [rbx + {go}], 0",
    "je 6f",
    // The go that it did not follow is void.
    "7: mov dword ptr [rbx + {go}], 0",
    "mov [rbx + {context}], rdx",
    "mov dword ptr [rbx + {at_site}], 0",
    "lodger_seccomp_post:",
    "1: rdfsbase rax",
    "mov [rbx + {fs}], rax",
    "rdgsbase rax",
    "mov [rbx + {gs}], rax",
    "mov eax, 1",
    "xchg [rbx + {posted}], eax",
    "cmp dword ptr [rbx + {kernel_sleeps}], 0",
    "je 2f",
    "lea rdi, [rbx + {posted}]",
    "mov esi, {futex_wake}",
    "mov edx, 1",
    "mov eax, {futex}",
    "syscall",
    "lodger_seccomp_wake:",
    // Waits until the kernel says go: for a while by looking, then asleep.
    "2: movabs rbx, {data}",
    "mov ecx, [rbx + {spins}]",
    "3: cmp dword ptr [rbx + {go}], 0",
    "jne lodger_seccomp_go",
    "dec ecx",
    "js 4f",
    "cmp dword ptr [rbx + {spins}], 0",
    "je 4f",
    "pause",
    "jmp 3b",
    "4: mov eax, 1",
    "xchg [rbx + {stub_sleeps}], eax",
    "lea rdi, [rbx + {go}]",
    "xor esi, esi",
    "xor edx, edx",
    "xor r10d, r10d",
    "mov eax, {futex}",
    "syscall",
    "lodger_seccomp_wait:",
    "movabs rbx, {data}",
    "mov dword ptr [rbx + {stub_sleeps}], 0",
    "jmp 2b",
    "lodger_seccomp_go:",
    "mov dword ptr [rbx + {go}], 0",
    "mov ecx, [rbx + {mode}]",
    "mov rax, [rbx + {fs}]",
    "wrfsbase rax",
    "mov rax, [rbx + {gs}]",
    "wrgsbase rax",
    "cmp ecx, {from_registers}",
    "je 5f",
    "ja 8f",
    "movabs rdx, {constants} + {frame}",
    "mov rdx, [rdx]",
    "6: mov rsp, rdx",
    "mov eax, {rt_sigreturn}",
    "syscall",
    "lodger_seccomp_return:",
    "ud2",
    "8: movabs rbx, {constants}",
    "mov eax, [rbx + {vector_mask}]",
    "mov edx, [rbx + {vector_mask} + 4]",
    "mov rcx, [rbx + {vector}]",
    "xrstor64 [rcx]",
    "5: lea rsp, [rip + lodger_seccomp_start + {here} + 136]",
    "popfq",
    "mov rax, [rip + lodger_seccomp_start + {here} + 0]",
    "mov rcx, [rip + lodger_seccomp_start + {here} + 8]",
    "mov rdx, [rip + lodger_seccomp_start + {here} + 16]",
    "mov rbx, [rip + lodger_seccomp_start + {here} + 24]",
    "mov rsp, [rip + lodger_seccomp_start + {here} + 32]",
    "mov rbp, [rip + lodger_seccomp_start + {here} + 40]",
    "mov rsi, [rip + lodger_seccomp_start + {here} + 48]",
    "mov rdi, [rip + lodger_seccomp_start + {here} + 56]",
    "mov r8, [rip + lodger_seccomp_start + {here} + 64]",
    "mov r9, [rip + lodger_seccomp_start + {here} + 72]",
    "mov r10, [rip + lodger_seccomp_start + {here} + 80]",
    "mov r11, [rip + lodger_seccomp_start + {here} + 88]",
    "mov r12, [rip + lodger_seccomp_start + {here} + 96]",
    "mov r13, [rip + lodger_seccomp_start + {here} + 104]",
    "mov r14, [rip + lodger_seccomp_start + {here} + 112]",
    "mov r15, [rip + lodger_seccomp_start + {here} + 120]",
    "jmp [rip + lodger_seccomp_start + {here} + 128]",
    "lodger_seccomp_end:",
    ".popsection",
    mmap = const libc::SYS_mmap,
    munmap = const libc::SYS_munmap,
    close = const libc::SYS_close,
    clone = const libc::SYS_clone,
    exit = const libc::SYS_exit_group,
    futex = const libc::SYS_futex,
    gettid = const libc::SYS_gettid,
    rt_sigaction = const libc::SYS_rt_sigaction,
    rt_sigprocmask = const libc::SYS_rt_sigprocmask,
    rt_sigreturn = const libc::SYS_rt_sigreturn,
    seccomp = const libc::SYS_seccomp,
    sigaltstack = const libc::SYS_sigaltstack,
    write = const libc::SYS_write,
    thread = const THREAD,
    setmask = const libc::SIG_SETMASK,
    futex_wake = const libc::FUTEX_WAKE,
    set_filter = const SET_FILTER,
    filter_flags = const FILTER_FLAGS,
    read = const libc::PROT_READ,
    read_exec = const libc::PROT_READ | libc::PROT_EXEC,
    read_write = const libc::PROT_READ | libc::PROT_WRITE,
    shared_fixed = const libc::MAP_SHARED | libc::MAP_FIXED,
    requests_fd = const REQUESTS_FD,
    data_fd = const DATA_FD,
    done_fd = const DONE_FD,
    page = const PAGE_SIZE,
    code = const CODE,
    code_size = const CODE_SIZE,
    requests = const REQUESTS,
    data = const DATA,
    data_size = const DATA_SIZE,
    end = const TASK_END,
    header = const HEADER_SIZE,
    request = const REQUEST_SIZE,
    constants = const CONSTANTS,
    frame = const constants::FRAME,
    all = const constants::ALL_SIGNALS,
    action = const constants::ACTION,
    stack = const constants::STACK,
    guest_program = const constants::GUEST_PROGRAM,
    mapper_program = const constants::MAPPER_PROGRAM,
    signals = const constants::SIGNALS,
    codes = const constants::CODES,
    posted = const data::POSTED,
    go = const data::GO,
    kernel_sleeps = const data::KERNEL_SLEEPS,
    stub_sleeps = const data::STUB_SLEEPS,
    spins = const data::SPINS,
    fs = const data::FS_BASE,
    gs = const data::GS_BASE,
    context = const data::CONTEXT,
    mode = const data::MODE,
    vector_mask = const constants::VECTOR_MASK,
    vector = const constants::VECTOR,
    from_registers = const data::FROM_REGISTERS,
    at_site = const data::AT_SITE,
    here = const DATA + data::REGISTERS - CODE,
    kick = const KICK_SIGNAL,
    frame_rip = const frame::RIP,
    sites = const SITES,
    sites_size = const SITE_SIZE * SITE_COUNT,
    sites_offset = const SITES_OFFSET,
    site_table = const SITE_TABLE,
    site_table_size = const 8 * SITE_COUNT,
    site_table_offset = const SITE_TABLE_OFFSET,
    tid = const data::THREAD,
);

/// A thread of the same process, without a stack or exit signal of its own.
const THREAD: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM;

/// Defines a function that gives the address, in a stub, of a label above.
macro_rules! address {
    ($(#[$doc:meta])* $name:ident = $label:ident) => {
        $(#[$doc])*
        pub fn $name() -> u64 {
            unsafe extern "C" {
                static $label: u8;
            }
            in_stub(&raw const $label)
        }
    };
}

address! {
    /// The handler of signals.
    handler = lodger_seccomp_handler
}
address! {
    /// Where the code of a site goes.
    trampoline = lodger_seccomp_trampoline
}
address! {
    /// From here on, the registers of the guest are those that the kernel has set last.
    go = lodger_seccomp_go
}
address! {
    /// Behind the instruction that wakes the kernel.
    wake = lodger_seccomp_wake
}
address! {
    /// Behind the instruction that waits for the kernel.
    wait = lodger_seccomp_wait
}
address! {
    /// Behind the instruction that goes back to the guest.
    sigreturn = lodger_seccomp_return
}
address! {
    /// Behind the instruction by which the mapper waits for requests.
    mapper_wait = lodger_seccomp_mapper_wait
}
address! {
    /// Behind the instruction by which the mapper makes a change.
    map = lodger_seccomp_map
}
address! {
    /// Behind the instruction by which the mapper says that it is done.
    done = lodger_seccomp_done
}

unsafe extern "C" {
    static lodger_seccomp_start: u8;
    static lodger_seccomp_end: u8;
}

fn in_stub(label: *const u8) -> u64 {
    CODE + label.addr() as u64 - (&raw const lodger_seccomp_start).addr() as u64
}

/// The bytes of the code.
pub fn bytes() -> &'static [u8] {
    // SAFETY: the labels enclose the assembled code above, which is never written.
    unsafe {
        let start = &raw const lodger_seccomp_start;
        std::slice::from_raw_parts(start, (&raw const lodger_seccomp_end).offset_from_unsigned(start))
    }
}

/// Turns this process into a stub whose request page and data are at these offsets of their files. What is mapped from
/// `kept` to the code stays.
///
/// # Safety
/// The process has no other thread, and nothing of it is needed any more.
pub unsafe fn enter(requests: u64, data: u64, kept: u64) -> ! {
    // SAFETY: the code above takes its arguments in r12 to r14 and never returns.
    unsafe {
        std::arch::asm!("jmp lodger_seccomp_enter", in("r12") requests, in("r13") data, in("r14") kept,
            options(noreturn));
    }
}
