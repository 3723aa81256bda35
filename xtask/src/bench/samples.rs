//! Samples and their medians.

use anyhow::{Context, Result, bail};

/// What was measured of one row in one column, in the row's unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

/// The middle and the least of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The middle one; of an even number, the mean of the middle two.
    pub median: f64,
    /// The least one.
    pub best: f64,
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Adds what the bench program printed for the case of that name: `NAME NANOSECONDS` a line.
    pub fn read(&mut self, name: &str, text: &str) -> Result<()> {
        if text.is_empty() {
            bail!("the bench program printed nothing");
        }
        for line in text.lines() {
            let ns = line.strip_prefix(name).and_then(|rest| rest.trim().parse().ok());
            self.add(ns.with_context(|| format!("the bench program printed `{line}`"))?);
        }
        Ok(())
    }

    /// All of them, in the order in which they were taken.
    pub fn all(&self) -> &[f64] {
        &self.0
    }

    /// The figure, if there is a sample.
    pub fn figure(&self) -> Option<Figure> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0,
            _ => *sorted.get(middle)?,
        };
        Some(Figure { median, best: *sorted.first()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_a_median_and_a_best() {
        let mut samples = Samples::default();
        assert_eq!(samples.figure(), None);
        samples.read("b", "b 3.0\nb 1.0\nb 2.5\n").unwrap();
        assert_eq!(samples.figure(), Some(Figure { median: 2.5, best: 1.0 }));
        samples.add(2.0);
        assert_eq!(samples.figure(), Some(Figure { median: 2.25, best: 1.0 }));
    }

    #[test]
    fn other_text_is_no_sample() {
        for text in ["", "nonsense", "a 3.0", "b", "b x"] {
            assert!(Samples::default().read("b", text).is_err(), "{text}");
        }
    }
}
