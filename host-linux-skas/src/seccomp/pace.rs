//! Where a guest thread runs: on the vCPU's processor, or on another one.
//!
//! On one processor, vCPU and guest thread take turns; each turn puts one to sleep and wakes the other, which costs
//! microseconds, always the same. On two, each looks at a word in memory for the other's sign, which takes a tenth of a
//! microsecond; but whoever looks in vain burns a processor, and whoever sleeps there is slow to wake, three times slower
//! than on one. So a thread goes to another processor once it has made many calls in quick succession, and comes back when
//! the vCPU has looked in vain.

use host_linux::clock;

/// A turn that is longer than this is not quick, in nanoseconds.
const QUICK_NS: u64 = 30_000;
/// How many quick turns in a row it takes to go.
const FIRST: u32 = 24;
/// And at most, if going did not pay.
const LAST: u32 = 1 << 14;
/// How many turns away pay for the way there and back.
const PAYS: u32 = 64;

/// The pace of one guest thread.
pub struct Pace {
    /// Quick turns in a row, or turns away.
    turns: u32,
    /// How many quick turns it takes to go.
    needed: u32,
    /// When the last turn ended.
    last_ns: u64,
    away: bool,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { turns: 0, needed: FIRST, last_ns: 0, away: false }
    }
}

impl Pace {
    /// Whether the thread is on another processor than the vCPU.
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// Whether it has made a turn there.
    pub fn has_settled(&self) -> bool {
        self.away && self.turns > 0
    }

    /// A turn has ended. Whether the thread should go to another processor.
    pub fn turn(&mut self) -> bool {
        if self.away {
            self.turns = self.turns.saturating_add(1);
            return false;
        }
        let now = clock::monotonic_ns();
        let quick = now.saturating_sub(self.last_ns) < QUICK_NS;
        self.last_ns = now;
        self.turns = if quick { self.turns + 1 } else { 0 };
        self.turns >= self.needed
    }

    /// It has gone.
    pub fn go(&mut self) {
        (self.away, self.turns) = (true, 0);
    }

    /// There is nowhere to go.
    pub fn cannot_go(&mut self) {
        (self.needed, self.turns) = (LAST, 0);
    }

    /// It comes back.
    pub fn come_back(&mut self) {
        self.needed = if self.turns >= PAYS { FIRST } else { (self.needed * 4).min(LAST) };
        (self.away, self.turns) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns until it should go.
    fn turns(pace: &mut Pace) -> u32 {
        (1..=LAST).find(|_| pace.turn()).expect("quick turns")
    }

    #[test]
    fn what_did_not_pay_is_tried_later() {
        let mut pace = Pace::default();
        assert!(turns(&mut pace) > FIRST / 2);
        pace.go();
        pace.come_back();
        assert!(turns(&mut pace) > 2 * FIRST);
        pace.go();
        (0..PAYS).for_each(|_| assert!(!pace.turn()));
        pace.come_back();
        assert_eq!(pace.needed, FIRST);
    }
}
