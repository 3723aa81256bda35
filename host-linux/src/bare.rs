//! System calls with nothing in between: for the last steps of a process in which nothing may be trusted any more but its
//! read-only pages. No C library, no thread-local `errno`, no lock, no heap.

use std::arch::asm;
use std::ffi::{c_int, c_long};

/// A system call with three arguments. Returns what the host returns; a failure is a negative errno.
///
/// # Safety
///
/// As for the call itself.
#[inline(always)]
pub unsafe fn syscall3(nr: c_long, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: the instruction changes these registers only; what the call does is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Writes to standard error, as far as that can take it.
#[inline(always)]
pub fn say(text: &'static str) {
    // SAFETY: the text lives; the call reads it.
    unsafe { syscall3(libc::SYS_write, libc::STDERR_FILENO as usize, text.as_ptr() as usize, text.len()) };
}

/// Ends all threads of this process. No destructor and no exit handler runs.
#[inline(always)]
pub fn exit(status: c_int) -> ! {
    loop {
        // SAFETY: the call has no preconditions, and does not return.
        unsafe { syscall3(libc::SYS_exit_group, status as usize, 0, 0) };
    }
}
