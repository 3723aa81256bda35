//! Chance that can be had again: splitmix64, or bytes of a fuzzer and then that.

use std::cell::Cell;

/// A sequence that its seed determines, or what it begins with.
pub struct Random {
    state: Cell<u64>,
    /// Choices that somebody made; the next one is at the end.
    chosen: Cell<Vec<u8>>,
}

impl Random {
    /// The sequence of a seed. It starts anywhere: those of neighbours have nothing in common.
    pub fn new(seed: u64) -> Random {
        Random { state: Cell::new(mix(seed)), chosen: Cell::default() }
    }

    /// A sequence that begins with these bytes: each choice takes as many as it needs to.
    #[allow(dead_code, reason = "the simulation has seeds only")]
    pub fn of(bytes: &[u8]) -> Random {
        let chosen = bytes.iter().rev().copied().collect();
        Random { state: Cell::default(), chosen: Cell::new(chosen) }
    }

    /// Any number.
    pub fn next(&self) -> u64 {
        self.chosen(u64::MAX).unwrap_or_else(|| {
            self.state.set(self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
            mix(self.state.get())
        })
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.chosen(end - 1).unwrap_or_else(|| self.next()) % end
    }

    /// A place among so many, or 0 if there is none.
    pub fn place(&self, count: usize) -> usize {
        self.below(count.max(1) as u64) as usize
    }

    /// A number from the bytes that are left, as many as one up to `most` takes.
    fn chosen(&self, most: u64) -> Option<u64> {
        let mut bytes = self.chosen.take();
        let len = (8 - most.leading_zeros() as usize / 8).max(1);
        let number = bytes.pop().map(|first| {
            (1..len).fold(first.into(), |sum: u64, _| sum << 8 | u64::from(bytes.pop().unwrap_or(0)))
        });
        self.chosen.set(bytes);
        number
    }

    /// True once in `times`.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.place(of.len())]
    }
}

fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
