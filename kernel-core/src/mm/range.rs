//! A map from ranges of numbers (addresses, offsets) to values that go on within a range, kept as few pieces as
//! can be: neighbours that continue each other are joined, and changes split what they cut through.

use alloc::collections::BTreeMap;
use core::ops::Range;

use smallvec::SmallVec;

/// What a range maps to.
pub trait Value: Copy {
    /// The value for the part of a range that starts `bytes` behind its beginning.
    fn skip(self, bytes: u64) -> Self;
    /// Whether `next` continues `self`, which covers `len`.
    fn joins(&self, len: u64, next: &Self) -> bool;
}

impl Value for () {
    fn skip(self, _: u64) {}
    fn joins(&self, _: u64, (): &()) -> bool {
        true
    }
}

/// A range and its value.
pub type Piece<V> = (Range<u64>, V);

/// Pieces, mostly few.
pub type Pieces<V> = SmallVec<[Piece<V>; 4]>;

/// The part that two ranges have in common; empty (but valid) if none.
pub fn intersect(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// See the module.
pub struct RangeMap<V> {
    /// Start to end and value. Pieces do not overlap, none is empty, no two could be joined.
    pieces: BTreeMap<u64, (u64, V)>,
    covered: u64,
}

impl<V> Default for RangeMap<V> {
    fn default() -> Self {
        RangeMap { pieces: BTreeMap::new(), covered: 0 }
    }
}

impl<V: Value> RangeMap<V> {
    /// Sum of the lengths.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// Number of pieces.
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// The piece that contains `at`.
    pub fn get(&self, at: u64) -> Option<Piece<V>> {
        let (&start, &(end, value)) = self.pieces.range(..=at).next_back()?;
        (at < end).then_some((start..end, value))
    }

    /// The piece that contains `at`, or else the next one.
    pub fn at_or_after(&self, at: u64) -> Option<Piece<V>> {
        self.get(at)
            .or_else(|| self.pieces.range(at..).next().map(|(&start, &(end, value))| (start..end, value)))
    }

    /// The last piece.
    pub fn last(&self) -> Option<Piece<V>> {
        self.pieces.last_key_value().map(|(&start, &(end, value))| (start..end, value))
    }

    /// The pieces in `range`, cut to it.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = Piece<V>> + '_ {
        let from = self.get(range.start).map_or(range.start, |(piece, _)| piece.start);
        let upto = range.end.max(from);
        self.pieces.range(from..upto).filter_map(move |(&start, &(end, value))| {
            let cut = intersect(&(start..end), &range);
            (!cut.is_empty()).then(|| (cut.clone(), value.skip(cut.start - start)))
        })
    }

    /// The longest range around `at`, inside `within`, that has no piece; empty if `at` has one.
    pub fn gap(&self, at: u64, within: &Range<u64>) -> Range<u64> {
        let mut gap = within.clone();
        if let Some((_, &(end, _))) = self.pieces.range(..=at).next_back() {
            if at < end {
                return at..at;
            }
            gap.start = gap.start.max(end);
        }
        if let Some((&start, _)) = self.pieces.range(at..).next() {
            gap.end = gap.end.min(start);
        }
        gap
    }

    /// Takes everything in `range` out.
    pub fn remove(&mut self, range: Range<u64>) -> Pieces<V> {
        let mut removed = Pieces::new();
        if range.is_empty() {
            return removed;
        }
        if let Some((piece, value)) = self.get(range.start)
            && piece.start < range.start
        {
            self.pieces.insert(piece.start, (range.start, value));
            self.pieces.insert(range.start, (piece.end, value.skip(range.start - piece.start)));
        }
        while let Some((&start, &(end, value))) = self.pieces.range(range.clone()).next() {
            self.pieces.remove(&start);
            let cut = end.min(range.end);
            if cut < end {
                self.pieces.insert(cut, (end, value.skip(cut - start)));
            }
            self.covered -= cut - start;
            removed.push((start..cut, value));
        }
        removed
    }

    /// Sets a range, whatever it was before.
    pub fn insert(&mut self, range: Range<u64>, value: V) {
        if range.is_empty() {
            return;
        }
        self.remove(range.clone());
        self.covered += range.end - range.start;
        let (mut range, mut value) = (range, value);
        if let Some((&start, &(end, before))) = self.pieces.range(..range.start).next_back()
            && end == range.start
            && before.joins(end - start, &value)
        {
            self.pieces.remove(&start);
            (range.start, value) = (start, before);
        }
        if let Some(&(end, after)) = self.pieces.get(&range.end)
            && value.joins(range.end - range.start, &after)
        {
            self.pieces.remove(&range.end);
            range.end = end;
        }
        self.pieces.insert(range.start, (range.end, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Linear(u64);

    impl Value for Linear {
        fn skip(self, bytes: u64) -> Self {
            Linear(self.0 + bytes)
        }
        fn joins(&self, len: u64, next: &Self) -> bool {
            self.0 + len == next.0
        }
    }

    #[test]
    fn agrees_with_an_array() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let mut map = RangeMap::default();
        let mut model = [None; 64];
        for _ in 0..5000 {
            let start = random(64);
            let end = start + 1 + random(64 - start);
            if random(2) == 0 {
                let base = random(3) * 64;
                map.insert(start..end, Linear(base + start));
                (start..end).for_each(|at| model[at as usize] = Some(base + at));
            } else {
                map.remove(start..end);
                model[start as usize..end as usize].fill(None);
            }
            let mut pieces = 0;
            for at in 0..64u64 {
                let found = map.get(at).map(|(piece, value)| value.0 + at - piece.start);
                assert_eq!(found, model[at as usize]);
                let before = at.checked_sub(1).and_then(|at| model[at as usize]);
                pieces += usize::from(found.is_some() && before.map(|value| value + 1) != found);
            }
            assert_eq!(map.count(), pieces, "neighbours are joined");
            assert_eq!(map.covered(), model.iter().flatten().count() as u64);
            let gap = map.gap(start, &(0..64));
            assert!(gap.clone().all(|at| model[at as usize].is_none()));
        }
    }
}
