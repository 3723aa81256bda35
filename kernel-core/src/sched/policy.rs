//! Scheduling policies. Source: `sched(7)`.
//!
//! All tasks share one queue and take turns. `SCHED_BATCH` is `SCHED_OTHER` for a task that is never favoured when it
//! wakes up, and here none is. An idle task's turns are as short as turns can be. Real-time policies are refused: nothing
//! here makes a task wait for another one's priority.

use crate::errno::{EINVAL, EPERM, Result};

/// `SCHED_RESET_ON_FORK`.
pub const RESET_ON_FORK: u32 = 0x4000_0000;

/// A policy that a task can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_OTHER`.
    #[default]
    Other,
    /// `SCHED_BATCH`.
    Batch,
    /// `SCHED_IDLE`.
    Idle,
}

impl Policy {
    /// As programs name it.
    pub fn number(self) -> u32 {
        match self {
            Policy::Other => 0,
            Policy::Batch => 3,
            Policy::Idle => 5,
        }
    }

    /// The policy with a number and a priority: EINVAL, and EPERM for real-time policies, which nobody may have.
    pub fn new(number: u32, priority: i32) -> Result<Policy> {
        match (number, priority) {
            (0, 0) => Ok(Policy::Other),
            (3, 0) => Ok(Policy::Batch),
            (5, 0) => Ok(Policy::Idle),
            (1 | 2, 1..=99) => Err(EPERM),
            _ => Err(EINVAL),
        }
    }
}
