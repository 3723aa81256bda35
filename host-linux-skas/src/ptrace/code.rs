//! The code that runs in a traced stub. It is entered twice: once to turn a fresh process into a stub, and then for each batch
//! of requests. It has no stack, since everything of the process it came from is unmapped, and needs none.

use std::arch::global_asm;

use host_linux::vm::TASK_END;
use kernel_core::host::PAGE_SIZE;

use crate::layout::{CODE, CODE_SIZE, REQUESTS, REQUESTS_FD};
use crate::requests::REQUEST_SIZE;

global_asm!(
    ".pushsection .text.lodger_stub,\"ax\",@progbits",
    ".globl lodger_stub_start, lodger_stub_enter, lodger_stub_batch, lodger_stub_end",
    "lodger_stub_start:",
    // In the image that the spawner was forked with; r12 is the offset of the request page in its file, r13 where the
    // pages begin that are kept below the code. Maps code and requests where they belong and goes on there.
    "lodger_stub_enter:",
    "mov eax, {mmap}",
    "movabs rdi, {code}",
    "mov esi, {code_size}",
    "mov edx, {read_exec}",
    "mov r10d, {shared_fixed}",
    "mov r8d, {file}",
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
    "lea rax, [rip + 2f]",
    "lea rcx, [rip + lodger_stub_start]",
    "sub rax, rcx",
    "add rax, [rip + 5f]",
    "jmp rax",
    "5: .quad {code}",
    // At its own place: gives up all that came with the fork, and stops for the tracer.
    "2:",
    "mov eax, {close}",
    "mov edi, {file}",
    "syscall",
    "mov eax, {munmap}",
    "xor edi, edi",
    "mov rsi, r13",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    "mov eax, {munmap}",
    "movabs rdi, {requests} + {page}",
    "movabs rsi, {end} - {requests} - {page}",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    "mov eax, {getpid}",
    "syscall",
    "mov edi, eax",
    "mov esi, {stop}",
    "mov eax, {kill}",
    "syscall",
    // Whoever continues a stub sets its registers first.
    "9:",
    "mov eax, {exit}",
    "mov edi, 1",
    "syscall",
    "ud2",
    // A batch: rbx is the first request, rbp the end of the last. int3 says that all succeeded; ud2 says that the one
    // at rbx failed with rax.
    "lodger_stub_batch:",
    "cmp rbx, rbp",
    "je 3f",
    "mov rax, [rbx]",
    "mov rdi, [rbx + 8]",
    "mov rsi, [rbx + 16]",
    "mov rdx, [rbx + 24]",
    "mov r10, [rbx + 32]",
    "mov r8, [rbx + 40]",
    "mov r9, [rbx + 48]",
    "syscall",
    "cmp rax, -4095",
    "jae 4f",
    "add rbx, {request}",
    "jmp lodger_stub_batch",
    "3:",
    "int3",
    "4:",
    "ud2",
    "lodger_stub_end:",
    ".popsection",
    mmap = const libc::SYS_mmap,
    munmap = const libc::SYS_munmap,
    close = const libc::SYS_close,
    getpid = const libc::SYS_getpid,
    kill = const libc::SYS_kill,
    exit = const libc::SYS_exit_group,
    stop = const libc::SIGSTOP,
    read = const libc::PROT_READ,
    read_exec = const libc::PROT_READ | libc::PROT_EXEC,
    shared_fixed = const libc::MAP_SHARED | libc::MAP_FIXED,
    file = const REQUESTS_FD,
    page = const PAGE_SIZE,
    code_size = const CODE_SIZE,
    code = const CODE,
    requests = const REQUESTS,
    end = const TASK_END,
    request = const REQUEST_SIZE,
);

unsafe extern "C" {
    static lodger_stub_start: u8;
    static lodger_stub_batch: u8;
    static lodger_stub_end: u8;
}

/// The bytes of the code.
pub fn bytes() -> &'static [u8] {
    // SAFETY: the labels enclose the assembled code above, which is never written.
    unsafe {
        let start = &raw const lodger_stub_start;
        std::slice::from_raw_parts(start, (&raw const lodger_stub_end).offset_from_unsigned(start))
    }
}

/// Where a batch begins, in the stub.
pub fn batch_entry() -> u64 {
    CODE + (&raw const lodger_stub_batch).addr() as u64 - (&raw const lodger_stub_start).addr() as u64
}

/// Turns this process into a stub whose request page is at `offset` of its file. What is mapped from `kept` to the code
/// stays.
///
/// # Safety
/// The process has no other thread, and nothing of it is needed any more.
pub unsafe fn enter(offset: u64, kept: u64) -> ! {
    // SAFETY: the code above takes its arguments in r12 and r13 and never returns.
    unsafe { std::arch::asm!("jmp lodger_stub_enter", in("r12") offset, in("r13") kept, options(noreturn)) }
}
