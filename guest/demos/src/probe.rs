//! Pointers to anywhere: a read or write that may fault and says whether it did.
//!
//! All of it goes through one copying instruction. The handler of SIGSEGV sees by the instruction pointer that it was this
//! one, and lets the program go on behind it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a page.
pub const PAGE: u64 = 4096;

std::arch::global_asm!(
    ".globl demo_copy",
    "demo_copy:", // rdi: to, rsi: from, rdx: how many; returns 1, or 0 if it faulted
    "mov rcx, rdx",
    ".globl demo_copy_here",
    "demo_copy_here:",
    "rep movsb",
    "mov eax, 1",
    "ret",
    ".globl demo_copy_faulted",
    "demo_copy_faulted:",
    "xor eax, eax",
    "ret",
);

unsafe extern "C" {
    fn demo_copy(to: u64, from: u64, len: u64) -> u32;
    fn demo_copy_here();
    fn demo_copy_faulted();
}

/// Pointers that were followed, and those among them that faulted.
static TRIED: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// Survives faults of this module's functions from now on. Every other fault is the program's end, as ever.
pub fn survive() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: sigaction is plain memory and zero is a valid value of each field; the handler has the type that
        // SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Takes SIGSEGV as it comes from now on.
pub fn survive_no_more() {
    // SAFETY: the default action needs no handler.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
}

extern "C" fn on_fault(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the interrupted context, which only this handler uses now.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let rip = &mut registers[libc::REG_RIP as usize];
    if *rip == demo_copy_here as *const () as i64 {
        *rip = demo_copy_faulted as *const () as i64;
        FAULTS.fetch_add(1, Ordering::Relaxed);
    } else {
        // SAFETY: the default action needs no handler. The instruction is tried again, and ends the program.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Copies what is at `address`; false if it faults, and then the buffer holds anything.
pub fn read_into(address: u64, buffer: &mut [u8]) -> bool {
    TRIED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the buffer is valid; reading anywhere else is what this is for, and a fault of it is survived.
    unsafe { demo_copy(buffer.as_mut_ptr() as u64, address, buffer.len() as u64) == 1 }
}

/// Whether a byte can be read there.
pub fn answers(address: u64) -> bool {
    read_into(address, &mut [0])
}

/// Writes bytes to `address`; false if it faults.
///
/// # Safety
///
/// None is possible: whatever of this program lies there is overwritten. Callers write to what is not theirs.
pub unsafe fn write(address: u64, bytes: &[u8]) -> bool {
    TRIED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a fault is survived; the rest is the caller's promise.
    unsafe { demo_copy(address, bytes.as_ptr() as u64, bytes.len() as u64) == 1 }
}

/// How many pointers were followed so far, and how many of them faulted.
pub fn counts() -> (u64, u64) {
    (TRIED.load(Ordering::Relaxed), FAULTS.load(Ordering::Relaxed))
}
