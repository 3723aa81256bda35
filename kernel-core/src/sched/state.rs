//! Where a task stands between running and waiting: four states, and the token that keeps a wake-up from being lost.
//!
//! ```text
//!            wake                    taken by a vCPU
//!   Parked ---------> Queued ------------------------> Running <---+
//!     ^                 ^                                |  |      | (taken again)
//!     |                 |  suspended, token was there    |  | wake |
//!     |                 +----------- Woken <-------------+--+      |
//!     +------------------------------------------------ suspended without token
//! ```
//!
//! A task that is woken while it runs keeps a token (Woken): when it then suspends it is queued again at once. So a
//! wake-up between a waiter's last look at its condition and its suspension counts.

use crate::sync::atomic::{AtomicU8, Ordering};

const RUNNING: u8 = 0;
const WOKEN: u8 = 1;
const PARKED: u8 = 2;
const QUEUED: u8 = 3;

/// A task's scheduling state.
#[derive(Debug)]
pub(crate) struct State(AtomicU8);

impl State {
    /// Waiting.
    pub fn parked() -> State {
        State(AtomicU8::new(PARKED))
    }

    /// Wakes; `true`: the caller has to queue the task.
    pub fn wake(&self) -> bool {
        let mut now = self.0.load(Ordering::SeqCst);
        loop {
            let next = match now {
                RUNNING => WOKEN,
                PARKED => QUEUED,
                _ => return false,
            };
            match self.0.compare_exchange_weak(now, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return next == QUEUED,
                Err(found) => now = found,
            }
        }
    }

    /// A vCPU took the task from the queue and runs it.
    pub fn run(&self) {
        self.0.store(RUNNING, Ordering::SeqCst);
    }

    /// The task suspended itself; `true`: it was woken meanwhile, and the caller has to queue it.
    pub fn park(&self) -> bool {
        if self.0.compare_exchange(RUNNING, PARKED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return false;
        }
        self.0.store(QUEUED, Ordering::SeqCst);
        true
    }

    /// Whether a vCPU runs it.
    pub fn is_running(&self) -> bool {
        matches!(self.0.load(Ordering::SeqCst), RUNNING | WOKEN)
    }

    /// Whether it waits for something to happen (and not for a vCPU).
    pub fn is_parked(&self) -> bool {
        self.0.load(Ordering::SeqCst) == PARKED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_before_the_suspension_counts() {
        let state = State::parked();
        assert!(state.wake(), "a parked task is queued");
        assert!(!state.wake(), "once");
        state.run();
        assert!(!state.wake(), "a running task keeps a token");
        assert!(state.park(), "and is queued when it suspends");
        state.run();
        assert!(!state.park(), "without a token it parks");
        assert!(state.wake());
    }
}
