//! Pending signals: a set, and what came with each.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use super::bit;
use super::places::Place;
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
#[derive(Default)]
pub struct Pending {
    set: u64,
    queue: VecDeque<Queued>,
}

struct Queued {
    info: SigInfo,
    /// Whose limit it counts against.
    _place: Option<Arc<Place>>,
}

impl Pending {
    /// Bit n-1 is signal n.
    pub fn set(&self) -> u64 {
        self.set
    }

    /// The queued signal with that index, in the order they came.
    pub fn get(&self, index: usize) -> Option<SigInfo> {
        self.queue.get(index).map(|queued| queued.info)
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Adds a signal: a standard one once, a real-time one or that of a timer each time, if `place` gives one for it. `false`:
    /// there is none, and it is not pending for that. Standard signals need none, as there are few; those of timers have one.
    pub fn push(&mut self, info: SigInfo, place: impl FnOnce() -> Option<Arc<Place>>) -> bool {
        let is_timers = matches!(info.payload, Payload::Timer { .. });
        if info.signal < FIRST_REAL_TIME && !is_timers && self.set & bit(info.signal) != 0 {
            return true;
        }
        let needs_place = info.signal >= FIRST_REAL_TIME || is_timers;
        let place = if needs_place { place() } else { None };
        if needs_place && place.is_none() {
            return false;
        }
        self.put(info, place);
        true
    }

    /// Adds a signal of the kernel's that may not be lost.
    pub fn put(&mut self, info: SigInfo, place: Option<Arc<Place>>) {
        self.set |= bit(info.signal);
        self.queue.push_back(Queued { info, _place: place });
    }

    /// Takes the next signal of `mask`: synchronous ones first, then by number, those of one number in the order they came.
    pub fn take(&mut self, mask: u64) -> Option<SigInfo> {
        let candidates = self.set & mask;
        let first = if candidates & SYNCHRONOUS != 0 { candidates & SYNCHRONOUS } else { candidates };
        if first == 0 {
            return None;
        }
        let signal = first.trailing_zeros() as u8 + 1;
        let index = self.queue.iter().position(|queued| queued.info.signal == signal)?;
        let info = self.queue.remove(index)?.info;
        if !self.queue.iter().any(|other| other.info.signal == signal) {
            self.set &= !bit(signal);
        }
        Some(info)
    }

    /// Forgets all signals of `mask`.
    pub fn remove(&mut self, mask: u64) {
        if self.set & mask != 0 {
            self.set &= !mask;
            self.queue.retain(|queued| bit(queued.info.signal) & mask == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::signal::places::Places;

    #[test]
    fn order_and_queueing_are_linux() {
        let (mut pending, places) = (Pending::default(), Arc::new(Places::default()));
        for signal in [34, 10, 10, 34, 2, 11] {
            assert!(pending.push(SigInfo::kernel(signal), || places.take(0, 100)));
        }
        let order: alloc::vec::Vec<u8> =
            core::iter::from_fn(|| pending.take(!0)).map(|info| info.signal).collect();
        assert_eq!(order, [11, 2, 10, 34, 34]);
        assert!(pending.is_empty());
    }

    #[test]
    fn the_limit_refuses_real_time_signals_only() {
        let (mut pending, places) = (Pending::default(), Arc::new(Places::default()));
        let place = || places.take(0, 1);
        assert!(pending.push(SigInfo::kernel(40), place));
        assert!(!pending.push(SigInfo::kernel(40), place));
        assert!(pending.push(SigInfo::kernel(2), place));
        assert_eq!(places.taken(0), 1);
        pending.take(!0);
        assert_eq!(pending.take(!0).map(|info| info.signal), Some(40));
        assert_eq!(places.taken(0), 0);
    }
}
