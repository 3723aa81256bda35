//! How a traced thread begins: a thread of the kernel's address space, but of a process of its own, so that it can be
//! traced by this one.
//!
//! It has no stack and no thread-local storage of its own, so the code between its creation and its first stop is written
//! down here, and uses neither.

use std::arch::global_asm;

use nix::errno::Errno;

global_asm!(
    ".pushsection .text.lodger_thread,\"ax\",@progbits",
    ".globl lodger_thread_start",
    // (pid of the kernel) -> pid of the thread, or -errno
    "lodger_thread_start:",
    "push r12",
    "mov r12d, edi",
    "mov eax, {clone}",
    "mov edi, {clone_vm}",
    "xor esi, esi", // no stack: it goes on with this one, and does not touch it
    "xor edx, edx",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "syscall",
    "test rax, rax",
    "jz 2f",
    "pop r12",
    "ret",
    // The thread.
    "2:",
    // No signal is blocked, or a kick would be.
    "mov eax, {sigprocmask}",
    "mov edi, {setmask}",
    "lea rsi, [rip + 5f]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    // The terminal's signals are not for it.
    "mov eax, {setsid}",
    "syscall",
    "mov eax, {prctl}",
    "mov edi, {pdeathsig}",
    "mov esi, {sigkill}",
    "syscall",
    "mov eax, {getppid}",
    "syscall",
    "cmp eax, r12d",
    "jne 9f", // the kernel ended before the call above
    // A host without this call leaves it descriptors, which it cannot use: all its calls are caught.
    "mov eax, {close_range}",
    "xor edi, edi",
    "mov esi, -1",
    "xor edx, edx",
    "syscall",
    "mov eax, {prctl}",
    "mov edi, {set_name}",
    "lea rsi, [rip + 6f]",
    "syscall",
    "mov eax, {getpid}",
    "syscall",
    "mov edi, eax",
    "mov esi, {sigstop}",
    "mov eax, {kill}",
    "syscall",
    // Whoever continues it sets its registers first.
    "9:",
    "mov eax, {exit}",
    "mov edi, 1",
    "syscall",
    "ud2",
    ".balign 8",
    "5: .quad 0",
    "6: .asciz \"lodger-guest\"",
    ".popsection",
    clone = const libc::SYS_clone,
    clone_vm = const libc::CLONE_VM,
    sigprocmask = const libc::SYS_rt_sigprocmask,
    setmask = const libc::SIG_SETMASK,
    setsid = const libc::SYS_setsid,
    prctl = const libc::SYS_prctl,
    pdeathsig = const libc::PR_SET_PDEATHSIG,
    set_name = const libc::PR_SET_NAME,
    sigkill = const libc::SIGKILL,
    sigstop = const libc::SIGSTOP,
    getppid = const libc::SYS_getppid,
    getpid = const libc::SYS_getpid,
    close_range = const libc::SYS_close_range,
    kill = const libc::SYS_kill,
    exit = const libc::SYS_exit_group,
);

unsafe extern "C" {
    fn lodger_thread_start(kernel: i32) -> i64;
}

/// Starts a thread, which stops itself, and says its process id. It ends with the calling thread.
pub fn start() -> Result<i32, Errno> {
    // SAFETY: the calling thread gets back what the C ABI promises. The new one has copies of its registers, and touches
    // neither the stack nor thread-local storage.
    let result = unsafe { lodger_thread_start(libc::getpid()) };
    if result < 0 { Err(Errno::from_raw((result as i32).saturating_neg())) } else { Ok(result as i32) }
}
