//! The program that measures: its build, a root file system that holds nothing else, and what it prints.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cargo;

/// The built program.
pub struct Program {
    /// A folder with `bench` and the empty folders that a guest mounts on.
    pub root: PathBuf,
}

impl Program {
    /// Builds it as a static program.
    pub fn build() -> Result<Program> {
        let (package, target) = super::package();
        let mut command = cargo::cargo(&["build", "--release", "--quiet", "--target", cargo::TARGET]);
        command.current_dir(package).arg("--target-dir").arg(&target);
        command.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
        cargo::check(&mut command)?;
        let root = target.join("root");
        for folder in ["dev", "proc", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(folder)).context("cannot make the bench's root file system")?;
        }
        std::fs::copy(target.join(cargo::TARGET).join("release/bench"), root.join("bench"))
            .context("cannot copy the bench program")?;
        Ok(Program { root })
    }
}

/// Nanoseconds an operation, by the name of the case; the order is the program's.
#[derive(Debug, Default)]
pub struct Samples {
    order: Vec<String>,
    samples: BTreeMap<String, Vec<f64>>,
}

impl Samples {
    /// Adds one sample.
    pub fn add(&mut self, name: &str, ns: f64) {
        if !self.samples.contains_key(name) {
            self.order.push(name.to_owned());
        }
        self.samples.entry(name.to_owned()).or_default().push(ns);
    }

    /// Adds what the program printed: `NAME NANOSECONDS` a line.
    pub fn read(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            let (name, ns) = line.split_once(' ').with_context(|| format!("no number in `{line}`"))?;
            self.add(name, ns.trim().parse().with_context(|| format!("no number in `{line}`"))?);
        }
        Ok(())
    }

    /// The cases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// The median and the least, if there are any.
    pub fn median_and_best(&self, name: &str) -> Option<(f64, f64)> {
        let mut sorted = self.samples.get(name)?.clone();
        sorted.sort_by(f64::total_cmp);
        Some((*sorted.get(sorted.len() / 2)?, *sorted.first()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_a_median_and_a_best() {
        let mut samples = Samples::default();
        samples.read("b 3.0\nb 1.0\nb 2.5\na 7\n").unwrap();
        assert_eq!(samples.names().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(samples.median_and_best("b"), Some((2.5, 1.0)));
        assert_eq!(samples.median_and_best("c"), None);
        assert!(samples.read("nonsense").is_err());
    }
}
