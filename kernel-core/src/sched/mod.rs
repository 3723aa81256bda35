//! Scheduling: who runs, who waits, and until when.
pub mod timers;
pub mod wait;
