//! The page of constants that a stub reads, and the only memory of it, besides its code and requests, that a guest cannot
//! write.

use kernel_core::host::PAGE_SIZE;
use libc::sock_filter;

use crate::layout::CONSTANTS;
use crate::seccomp::{code, data, filter};

/// Where the frame is from which a guest thread goes on. Known once the first stub got a signal.
pub const FRAME: u64 = 0;
/// A mask of all signals.
pub const ALL_SIGNALS: u64 = 8;
/// The `sigaction` of the handler, as the system call wants it.
pub const ACTION: u64 = 16;
/// The `stack_t` of the signal stack.
pub const STACK: u64 = 48;
/// The `sock_fprog` of the guest thread's filter.
pub const GUEST_PROGRAM: u64 = 72;
/// The `sock_fprog` of the mapper's filter.
pub const MAPPER_PROGRAM: u64 = 88;
/// Where the frame has the vector state, known as [`FRAME`] is.
pub const VECTOR: u64 = 144;
/// The components of it.
pub const VECTOR_MASK: u64 = 152;
/// The signals that the handler is for, each a word of four bytes; 0 ends them.
pub const SIGNALS: u64 = 104;
/// What the mapper adds to the counter of what is done, for each errno: see [`Done`].
pub const CODES: u64 = 256;
/// The filters.
const FILTERS: usize = CODES as usize + 8 * (ERRNOS + 1);

/// The largest errno that the host knows, rounded up.
const ERRNOS: usize = 255;

/// The signals by which the host tells what a guest thread did.
const HANDLED: [i32; 7] = [
    libc::SIGSYS,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    host_linux::vcpu::KICK_SIGNAL,
];

/// SA_RESTORER: the address behind the flags is that of code which returns from the handler. Ours never does.
const SA_RESTORER: u64 = 0x0400_0000;
/// SS_AUTODISARM: a signal stack that is off while a handler runs, so that each frame lands at its start.
const SS_AUTODISARM: u32 = 1 << 31;

/// What the counter of what is done tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Done {
    /// The mapper made all changes (0), or was refused one with this errno.
    Changes(i32),
    /// A stub died, no matter which.
    Death,
}

impl Done {
    /// What is added to the counter for a death.
    pub const DEATH: u64 = 1 << 32;

    /// What was added for changes: 1, and the errno above it.
    fn code(errno: usize) -> u64 {
        (errno as u64) << 8 | 1
    }

    /// By the sum of what was added since the counter was read last.
    pub fn of(sum: u64) -> Done {
        match sum as u32 {
            0 => Done::Death,
            code => Done::Changes((code >> 8).cast_signed()),
        }
    }
}

/// The bytes of the page, without [`FRAME`], [`VECTOR`] and [`VECTOR_MASK`].
pub fn bytes() -> Vec<u8> {
    let mut page = vec![0; PAGE_SIZE as usize];
    let mut put =
        |at: u64, word: u64| page[at as usize..at as usize + 8].copy_from_slice(&word.to_ne_bytes());
    put(ALL_SIGNALS, u64::MAX);
    let flags = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | SA_RESTORER;
    for (at, word) in (ACTION..).step_by(8).zip([code::handler(), flags, code::sigreturn(), u64::MAX]) {
        put(at, word);
    }
    for (at, word) in (STACK..).step_by(8).zip([data::STACK, u64::from(SS_AUTODISARM), data::STACK_SIZE]) {
        put(at, word);
    }
    for errno in 0..=ERRNOS {
        put(CODES + 8 * errno as u64, Done::code(errno));
    }
    for (at, pair) in (SIGNALS..).step_by(8).zip(HANDLED.chunks(2)) {
        let second = pair.get(1).map_or(0, |signal| u64::from(signal.cast_unsigned()));
        put(at, u64::from(pair[0].cast_unsigned()) | second << 32);
    }
    let mut filters = Vec::new();
    for (program, filter) in [(GUEST_PROGRAM, filter::guest()), (MAPPER_PROGRAM, filter::mapper())] {
        put(program, filter.len() as u64);
        put(program + 8, CONSTANTS + (FILTERS + filters.len()) as u64);
        filters.extend(filter.iter().flat_map(instruction));
    }
    page[FILTERS..FILTERS + filters.len()].copy_from_slice(&filters);
    page
}

/// The eight bytes of an instruction of a filter.
fn instruction(filter: &sock_filter) -> [u8; 8] {
    let word = u64::from(filter.code) | u64::from(filter.jt) << 16 | u64::from(filter.jf) << 24;
    (word | u64::from(filter.k) << 32).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_tells_what_was_added() {
        assert_eq!(Done::of(Done::code(0)), Done::Changes(0));
        assert_eq!(Done::of(Done::code(12) + Done::DEATH), Done::Changes(12));
        assert_eq!(Done::of(3 * Done::DEATH), Done::Death);
    }

    #[test]
    fn everything_fits_into_the_page() {
        let page = bytes();
        assert_eq!(page.len(), PAGE_SIZE as usize);
        assert_eq!(page[SIGNALS as usize + 28..CODES as usize], [0; (CODES - SIGNALS) as usize - 28]);
    }
}
