//! Sets of bytes: sorted ranges that do not touch.

use std::ops::Range;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Ranges {
        let mut sorted: Vec<Range<u64>> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_unstable_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        Ranges(joined)
    }
}

impl Ranges {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// The first byte.
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.start)
    }

    /// What both have.
    pub fn intersection(&self, other: &Ranges) -> Ranges {
        let mut both = Vec::new();
        for range in &self.0 {
            let from = other.0.partition_point(|other| other.end <= range.start);
            let touching = other.0[from..].iter().take_while(|other| other.start < range.end);
            both.extend(touching.map(|other| other.start.max(range.start)..other.end.min(range.end)));
        }
        Ranges(both)
    }

    /// What only `self` has.
    pub fn difference(&self, other: &Ranges) -> Ranges {
        let mut rest = Vec::new();
        for range in &self.0 {
            let mut at = range.start;
            for cut in Ranges(vec![range.clone()]).intersection(other).0 {
                rest.push(at..cut.start);
                at = cut.end;
            }
            rest.push(at..range.end);
        }
        rest.into_iter().collect()
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_sets_of_numbers() {
        let mut seed = 3u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for _ in 0..500 {
            let mut pick = || -> Vec<Range<u64>> {
                let ranges = (0..random(5)).map(|_| (random(30), random(8)));
                ranges.map(|(start, len)| start..start + len).collect()
            };
            let (a, b) = (pick(), pick());
            let (set, other): (Ranges, Ranges) = (a.iter().cloned().collect(), b.iter().cloned().collect());
            let has = |ranges: &[Range<u64>], at: u64| ranges.iter().any(|range| range.contains(&at));
            let numbers = |ranges: &Ranges| -> Vec<u64> { ranges.iter().cloned().flatten().collect() };
            let both: Vec<u64> = (0..40).filter(|at| has(&a, *at) && has(&b, *at)).collect();
            let only: Vec<u64> = (0..40).filter(|at| has(&a, *at) && !has(&b, *at)).collect();
            assert_eq!(numbers(&set.intersection(&other)), both);
            assert_eq!(numbers(&set.difference(&other)), only);
            assert_eq!(set.difference(&other).bytes(), only.len() as u64);
            assert_eq!(set.first(), (0..40).find(|at| has(&a, *at)));
        }
    }
}
