//! Pending signals: a set, and what came with each.

use alloc::collections::VecDeque;

use linux_raw_sys::general as sys;

use super::bit;
use crate::task::siginfo::{Payload, SigInfo};

/// Signals that an instruction caused; delivered before others, so that their handlers see the registers as they were.
const SYNCHRONOUS: u64 = bit(sys::SIGSEGV as u8)
    | bit(sys::SIGBUS as u8)
    | bit(sys::SIGILL as u8)
    | bit(sys::SIGTRAP as u8)
    | bit(sys::SIGFPE as u8)
    | bit(sys::SIGSYS as u8);

/// The first real-time signal: from here on each one sent is queued.
const FIRST_REAL_TIME: u8 = 32;

/// Signals that were sent and not taken yet.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    set: u64,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// Bit n-1 is signal n.
    pub fn set(&self) -> u64 {
        self.set
    }

    /// Number of queued signals.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// The queued signal with that index, in the order they came.
    pub fn get(&self, index: usize) -> Option<SigInfo> {
        self.queue.get(index).copied()
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Adds a signal: a standard one once, a real-time one each time. `false`: no place was left for the information of a
    /// real-time signal, and it is not pending for that. `limit` is the number of queued signals allowed.
    pub fn push(&mut self, info: SigInfo, limit: u64) -> bool {
        if info.signal < FIRST_REAL_TIME && self.set & bit(info.signal) != 0 {
            return true;
        }
        if info.signal >= FIRST_REAL_TIME && self.queue.len() as u64 >= limit {
            return false;
        }
        self.set |= bit(info.signal);
        self.queue.push_back(info);
        true
    }

    /// Whether a signal of POSIX timer `id` is among them.
    pub fn has_timer(&self, id: i32) -> bool {
        self.queue.iter().any(|info| matches!(info.payload, Payload::Timer { id: other, .. } if other == id))
    }

    /// Takes the next signal of `mask`: synchronous ones first, then by number, those of one number in the order they came.
    pub fn take(&mut self, mask: u64) -> Option<SigInfo> {
        let candidates = self.set & mask;
        let first = if candidates & SYNCHRONOUS != 0 { candidates & SYNCHRONOUS } else { candidates };
        if first == 0 {
            return None;
        }
        let signal = first.trailing_zeros() as u8 + 1;
        let index = self.queue.iter().position(|info| info.signal == signal)?;
        let info = self.queue.remove(index)?;
        if !self.queue.iter().any(|other| other.signal == signal) {
            self.set &= !bit(signal);
        }
        Some(info)
    }

    /// Forgets all signals of `mask`.
    pub fn remove(&mut self, mask: u64) {
        if self.set & mask != 0 {
            self.set &= !mask;
            self.queue.retain(|info| bit(info.signal) & mask == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_queueing_are_linux() {
        let mut pending = Pending::default();
        for signal in [34, 10, 10, 34, 2, 11] {
            assert!(pending.push(SigInfo::kernel(signal), 100));
        }
        let order: alloc::vec::Vec<u8> =
            core::iter::from_fn(|| pending.take(!0)).map(|info| info.signal).collect();
        assert_eq!(order, [11, 2, 10, 34, 34]);
        assert!(pending.is_empty());
    }

    #[test]
    fn the_limit_refuses_real_time_signals_only() {
        let mut pending = Pending::default();
        assert!(pending.push(SigInfo::kernel(40), 1));
        assert!(!pending.push(SigInfo::kernel(40), 1));
        assert!(pending.push(SigInfo::kernel(2), 1));
    }
}
