//! Cases about signals and their handlers.

use std::arch::asm;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cases::{PAGE, timed};
use crate::sys;

/// How often [`count`] ran.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// How long the instruction in [`touch`] is, in bytes.
const TOUCH: i64 = 2;

/// A signal that a process sends to itself, and its handler.
pub fn to_self(n: u64) -> Duration {
    sys::handle(libc::SIGUSR1, count);
    let me = std::process::id() as i32;
    let before = CAUGHT.load(Ordering::Relaxed);
    let took = timed(|| (0..n).for_each(|_| sys::kill(me, libc::SIGUSR1)));
    assert_eq!(CAUGHT.load(Ordering::Relaxed) - before, n, "signals caught");
    took
}

/// An access to memory that may not be touched, and the handler that goes on after it.
pub fn segv(n: u64) -> Duration {
    sys::handle(libc::SIGSEGV, skip);
    let forbidden = sys::Mapping::forbidden(PAGE);
    timed(|| (0..n).for_each(|_| touch(forbidden.start())))
}

extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut c_void) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn skip(_: i32, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: a handler that asks for it gets a context, and nobody else has it.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] += TOUCH;
}

fn touch(at: *const u8) {
    // SAFETY: the read faults, and the handler goes on behind it; the register is given up.
    unsafe { asm!("mov al, byte ptr [rdi]", in("rdi") at, out("al") _, options(nostack, readonly)) };
}
