//! Counts that may only shrink: `xtask/ratchet.txt`, one `WHAT NUMBER` a line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Finding;
use crate::cargo;

const FILE: &str = "xtask/ratchet.txt";

/// What was counted, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    counts: BTreeMap<String, usize>,
}

impl Counts {
    /// Counts `n` more of something.
    pub fn add(&mut self, name: &str, n: usize) {
        *self.counts.entry(name.to_owned()).or_default() += n;
    }

    /// How many there are.
    pub fn get(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

/// The most that is allowed.
pub struct Ratchet {
    most: Counts,
}

impl Ratchet {
    /// Reads the file; without it, nothing is allowed.
    pub fn read() -> Result<Ratchet> {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        Ratchet::parse(&text).with_context(|| format!("{FILE} is damaged"))
    }

    fn parse(text: &str) -> Result<Ratchet> {
        let mut most = Counts::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, number) = line.rsplit_once(' ').with_context(|| format!("no number in `{line}`"))?;
            most.add(name, number.parse().with_context(|| format!("no number in `{line}`"))?);
        }
        Ok(Ratchet { most })
    }

    /// Finds what there is too much of.
    pub fn check(&self, counts: &Counts, findings: &mut Vec<Finding>) {
        for (name, count) in &counts.counts {
            let most = self.most.get(name);
            if *count > most {
                let what = format!("`{name}` is {count}, and the ratchet allows {most}");
                findings.push(Finding { path: FILE.into(), line: 0, what });
            }
        }
    }

    /// Writes the smaller number of each; with `raise` the one that was counted.
    pub fn update(self, counts: &Counts, raise: bool) -> Result<()> {
        let mut text = String::from(
            "# What `cargo xtask tidy` counts; the numbers may only shrink. `cargo xtask tidy --update` lowers them.\n",
        );
        for (name, count) in counts.counts.iter().filter(|(_, count)| **count > 0) {
            let count = if raise { *count } else { (*count).min(self.most.get(name)) };
            writeln!(text, "{name} {count}")?;
        }
        std::fs::write(path(), text).with_context(|| format!("cannot write {FILE}"))
    }
}

fn path() -> PathBuf {
    cargo::root().join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_allowed_is_found() {
        let ratchet = Ratchet::parse("# x\nunsafe host-linux 3\nlines a b.rs 700\n").unwrap();
        let mut counts = Counts::default();
        counts.add("unsafe host-linux", 3);
        counts.add("lines a b.rs", 700);
        let mut findings = Vec::new();
        ratchet.check(&counts, &mut findings);
        assert!(findings.is_empty());
        counts.add("unsafe host-linux", 1);
        counts.add("new", 1);
        ratchet.check(&counts, &mut findings);
        assert_eq!(findings.len(), 2);
        assert!(Ratchet::parse("nonsense").is_err());
    }
}
