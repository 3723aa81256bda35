//! The end of a kernel that a guest has wrecked. On TT every guest can write wherever the kernel can, so a fault of the
//! kernel is a guest's doing: it is said in one sentence, the terminal is given back, and all ends with status 125.
//!
//! Whatever this process may write may hold anything by then, so the handler uses read-only pages only: its code, its
//! sentence, and the terminal's modes in [`host_linux::sealed`]. It makes its system calls itself, runs on the signal
//! stack that the language's runtime gives every thread (which it does not read), and does not return. Traced threads
//! end with the thread that traces them. That the handler is reached at all needs [`crate::rseq`].

use std::ffi::c_int;

use host_linux::{bare, sealed, terminal};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};

use crate::watchdog;

/// What is said of a kernel that goes wrong.
pub const SENTENCE: &str = "the guest overwrote kernel memory; TT cannot prevent this";

/// What is said of a panic, which may as well be our own.
pub const OF_A_PANIC: &str =
    "the guest overwrote kernel memory; TT cannot prevent this (if it did not, this is a bug in Lodger)";

/// The sentence as a line of its own.
const LINE: &str = "lodger: the guest overwrote kernel memory; TT cannot prevent this\n";

/// The same of a kernel that does not get on, which may as well be our own fault.
const LINE_OF_A_HANG: &str = "lodger: the guest overwrote kernel memory; TT cannot prevent this (the kernel hangs; if the \
    guest did nothing, this is a bug in Lodger)\n";

/// The status of lodger's own failures.
const STATUS: c_int = 125;

/// From now on a fault of this process is its end, with a sentence; so is a hang, once a [`Watchdog`] has started. Call it
/// before guests run and before a terminal is made raw.
///
/// [`Watchdog`]: crate::watchdog::Watchdog
pub fn install() {
    terminal::faults_are_taken();
    let end = SigAction::new(SigHandler::Handler(on_fault), SaFlags::SA_ONSTACK, SigSet::all());
    let flags = SaFlags::SA_ONSTACK | SaFlags::SA_RESTART;
    let look = SigAction::new(SigHandler::Handler(watchdog::on_tick), flags, SigSet::empty());
    let actions = terminal::FAULTS.iter().map(|fault| (*fault, end)).chain([(watchdog::TICK, look)]);
    for (signal, action) in actions {
        // SAFETY: neither handler uses anything that could be in use.
        let done = unsafe { sigaction(signal, &action) };
        debug_assert!(done.is_ok(), "{signal} can be handled");
    }
}

extern "C" fn on_fault(_: c_int) {
    end(LINE);
}

/// The kernel computes for ever: its end, with a sentence. May be called from a signal handler.
pub(crate) fn of_a_hang() -> ! {
    end(LINE_OF_A_HANG)
}

#[inline(always)]
fn end(line: &'static str) -> ! {
    sealed::restore_terminal();
    bare::say(line);
    bare::exit(STATUS);
}

#[cfg(test)]
mod tests;
