//! What is counted after each round, and whether it grew.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::Table;
use serde_json::{Value, json};

use crate::bench::{memory, tree};

/// The host and the guest when a round is over.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Since the start.
    pub minutes: f64,
    /// The class of stress-ng's programs that ran, if any.
    pub class: String,
    /// Processes that the guest has started so far.
    pub forks: u64,
    figures: [u64; FIGURES.len()],
}

/// A figure that is to stay as it is.
struct Figure {
    name: &'static str,
    /// In bytes rather than a count.
    bytes: bool,
    /// What it may grow by for reasons that do not add up: a part of it, and so much at least.
    part: f64,
    least: u64,
}

const FIGURES: [Figure; 9] = [
    Figure { name: "host processes", bytes: false, part: 0.0, least: 2 },
    Figure { name: "host memory", bytes: true, part: 0.1, least: 8 << 20 },
    Figure { name: "host mappings of the kernel", bytes: false, part: 0.1, least: 32 },
    Figure { name: "host mappings of guests", bytes: false, part: 0.1, least: 64 },
    Figure { name: "host descriptors", bytes: false, part: 0.0, least: 4 },
    Figure { name: "host threads of the kernel", bytes: false, part: 0.0, least: 1 },
    Figure { name: "guest tasks", bytes: false, part: 0.0, least: 1 },
    Figure { name: "guest memory in use", bytes: true, part: 0.1, least: 8 << 20 },
    Figure { name: "kernel memory", bytes: true, part: 0.1, least: 2 << 20 },
];

impl Sample {
    /// Takes a line of the guest's.
    pub fn guest(&mut self, name: &str, value: &str) {
        let Ok(value) = value.trim().parse::<u64>() else { return };
        match name {
            "forks" => self.forks = value,
            "tasks" => self.figures[6] = value,
            "used" => self.figures[7] = value,
            "kernel" => self.figures[8] = value,
            _ => {}
        }
    }

    /// Counts what the host has for the instance of this process; `bench` is the bench program.
    pub fn host(&mut self, pid: u32, bench: &Path) -> Result<()> {
        let tree = tree::of(pid)?;
        let lines = |pid: u32, file: &str| -> Result<u64> {
            let path = format!("/proc/{pid}/{file}");
            Ok(fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?.lines().count()
                as u64)
        };
        let entries = |folder: &str| -> Result<u64> {
            let path = format!("/proc/{pid}/{folder}");
            Ok(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count() as u64)
        };
        self.figures[0] = tree.len() as u64;
        self.figures[1] = memory::of_tree(pid, bench)?;
        self.figures[2] = lines(pid, "maps")?;
        // One that ends meanwhile has none.
        self.figures[3] = tree.iter().skip(1).map(|&pid| lines(pid, "maps").unwrap_or(0)).sum();
        self.figures[4] = entries("fd")?;
        self.figures[5] = entries("task")?;
        Ok(())
    }

    /// In one line.
    pub fn line(&self) -> String {
        let parts = FIGURES.iter().zip(self.figures).map(|(figure, value)| {
            let words = figure
                .name
                .replace("host ", "")
                .replace("of the kernel", "")
                .replace("of guests", "(guests)");
            format!("{} {}", shown(figure, value), words.trim_end())
        });
        let parts: Vec<String> = parts.collect();
        format!("{:.1} min, {} forks {}; {}", self.minutes, self.forks, self.class, parts.join(", "))
    }

    /// With all figures.
    pub fn json(&self) -> Value {
        let figures: serde_json::Map<String, Value> = FIGURES
            .iter()
            .zip(self.figures)
            .map(|(figure, value)| (figure.name.replace(' ', "_"), json!(value)))
            .collect();
        json!({ "minutes": self.minutes, "class": self.class, "forks": self.forks, "figures": figures })
    }
}

fn shown(figure: &Figure, value: u64) -> String {
    if figure.bytes { format!("{:.1} MiB", value as f64 / f64::from(1 << 20)) } else { value.to_string() }
}

/// All rounds.
#[derive(Debug, Default)]
pub struct Report {
    /// One for each round.
    pub samples: Vec<Sample>,
    /// What the guest found wrong.
    pub faults: Vec<String>,
    /// What stress-ng said.
    pub stress: Vec<String>,
}

impl Report {
    /// What grew after the first `warm_up` rounds (or the first half, if there are fewer than twice as many), and what
    /// went wrong. The middle of the last rounds is taken, as one round may leave something that the next one takes away.
    pub fn complaints(&self, warm_up: usize) -> Vec<String> {
        let (before, after) = self.samples.split_at(warm_up.min(self.samples.len() / 2));
        let mut complaints = self.faults.clone();
        for (n, figure) in FIGURES.iter().enumerate() {
            let most = before.iter().map(|sample| sample.figures[n]).max().unwrap_or(0);
            let mut last: Vec<u64> =
                after.iter().rev().take(before.len().max(1)).map(|sample| sample.figures[n]).collect();
            last.sort_unstable();
            let Some(&middle) = last.get(last.len() / 2) else { continue };
            let room = (most as f64 * figure.part).max(figure.least as f64);
            if middle as f64 > most as f64 + room {
                complaints.push(format!(
                    "{}: {} became {}",
                    figure.name,
                    shown(figure, most),
                    shown(figure, middle)
                ));
            }
        }
        complaints
    }

    /// The figures of a few rounds.
    pub fn table(&self, backend: &str) -> String {
        let last = self.samples.len().saturating_sub(1);
        let mut rounds: Vec<usize> = [0, last / 4, last / 2, 3 * last / 4, last].to_vec();
        rounds.dedup();
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
        let head = rounds.iter().map(|&n| format!("round {}, {:.0} min", n + 1, self.samples[n].minutes));
        table.set_header(std::iter::once(backend.to_owned()).chain(head));
        let forks = rounds.iter().map(|&n| self.samples[n].forks.to_string());
        table.add_row(std::iter::once("processes started".to_owned()).chain(forks));
        for (row, figure) in FIGURES.iter().enumerate() {
            let values = rounds.iter().map(|&n| shown(figure, self.samples[n].figures[row]));
            table.add_row(std::iter::once(figure.name.to_owned()).chain(values));
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(tasks: &[u64]) -> Report {
        let samples = tasks.iter().map(|&tasks| {
            let mut sample = Sample::default();
            sample.guest("tasks", &tasks.to_string());
            sample
        });
        Report { samples: samples.collect(), ..Report::default() }
    }

    #[test]
    fn what_stays_is_fine_and_what_grows_is_not() {
        assert!(rounds(&[5, 6, 5, 6, 5, 5]).complaints(2).is_empty());
        assert!(rounds(&[5, 6, 5, 99, 5, 5]).complaints(2).is_empty(), "gone by the next round");
        assert_eq!(rounds(&[5, 6, 7, 8, 9, 10]).complaints(2), ["guest tasks: 6 became 10"]);
    }
}
