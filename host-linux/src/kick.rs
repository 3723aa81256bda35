//! The sticky token of a vCPU: a kick ends its present or else its next run or sleep.
//!
//! No kick is lost: whoever kicks first sets the token and then looks for a guest to interrupt, and whoever runs first
//! names the guest and then looks at the token (all sequentially consistent), so at least one of them sees the other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock;

const CLEAR: u32 = 0;
const KICKED: u32 = 1;

/// A token of one vCPU. Any thread kicks; only the vCPU's thread takes and sleeps.
#[derive(Default)]
pub struct Token {
    state: AtomicU32,
}

impl Token {
    /// Sets the token and wakes the sleeper. True if it was not set before: then the caller has to interrupt a guest
    /// that runs, which is so done once for any number of kicks.
    pub fn kick(&self) -> bool {
        if self.state.swap(KICKED, Ordering::SeqCst) == KICKED {
            return false;
        }
        // SAFETY: FUTEX_WAKE only uses the address as a key.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.state.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            )
        };
        true
    }

    /// Takes the token; true if it was set.
    pub fn take(&self) -> bool {
        self.state.swap(CLEAR, Ordering::SeqCst) == KICKED
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.state.load(Ordering::SeqCst) == KICKED
    }

    /// Sleeps until the token is set, and takes it; or until the monotonic clock reaches `deadline_ns`.
    pub fn wait(&self, deadline_ns: Option<u64>) {
        while !self.take() {
            if deadline_ns.is_some_and(|deadline| clock::monotonic_ns() >= deadline) {
                return;
            }
            self.sleep(deadline_ns);
        }
    }

    /// One futex wait; comes back early for any reason.
    fn sleep(&self, deadline_ns: Option<u64>) {
        let until = deadline_ns.map(|deadline| {
            let deadline = Duration::from_nanos(deadline);
            libc::timespec { tv_sec: deadline.as_secs() as i64, tv_nsec: i64::from(deadline.subsec_nanos()) }
        });
        let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word lives as long as `self`, the time (absolute and monotonic for this operation) until the
        // end of this function; a null time means no limit.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.state.as_ptr(),
                operation,
                CLEAR,
                until,
                std::ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_kick_before_the_wait_ends_it_and_is_used_up() {
        let token = Token::default();
        assert!(token.kick());
        assert!(!token.kick());
        token.wait(None);
        let start = clock::monotonic_ns();
        token.wait(Some(start + 20_000_000));
        assert!(clock::monotonic_ns() >= start + 20_000_000);
    }

    #[test]
    fn a_kick_wakes_a_sleeper() {
        let token = Arc::new(Token::default());
        let other = token.clone();
        let kicker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            other.kick();
        });
        token.wait(None);
        kicker.join().unwrap();
    }
}
