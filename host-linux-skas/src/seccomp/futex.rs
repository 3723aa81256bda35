//! `futex(2)` on words in memory that is shared with other processes.

use std::sync::atomic::AtomicU32;

/// Sleeps while the word has this value; comes back early for any reason.
pub fn wait(word: &AtomicU32, value: u32) {
    // SAFETY: the word lives; a null time means no limit.
    unsafe {
        let no_limit = std::ptr::null::<libc::timespec>();
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, no_limit)
    };
}

/// Wakes one sleeper.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the address is only used as a key.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Moves one sleeper from a word, which has the value 0, to another, without waking it. Says how many were moved.
pub fn move_one(from: &AtomicU32, to: &AtomicU32) -> i64 {
    // SAFETY: the addresses are used as keys, and the first is read. Nobody is woken (0), one is moved (1).
    unsafe { libc::syscall(libc::SYS_futex, from.as_ptr(), libc::FUTEX_CMP_REQUEUE, 0, 1, to.as_ptr(), 0) }
}
