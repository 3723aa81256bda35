//! `cargo xtask compare`: both backends beside native Linux, in one run: what they cost and what they protect.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::column::Column;
use super::measure::Effort;
use super::report::Report;
use super::{chosen, fail_for_failures, publish, run_all, show, table, write_files};
use crate::cargo::{self, Profile};

/// How to compare.
#[derive(clap::Args)]
#[group(id = "compare")]
#[command(after_help = "\
Runs the same programs natively and in guests on both backends, by turns, on one processor, and then the demos of what
each backend exposes. Takes less than three minutes after the builds; a machine that does nothing else gives the best
figures.")]
pub struct Args {
    #[command(flatten)]
    measure: super::Args,
    /// Also write the results into the documentation: docs/comparison.* and the table in README.md
    #[arg(long, conflicts_with_all = ["out", "filter"])]
    publish: bool,
}

/// The name and version of the JSON that `--json` prints.
const SCHEMA: &str = "lodger-compare/1";
/// The name of the files that `--out` gets.
const FILES: &str = "comparison";

/// Short enough for three minutes.
const EFFORT: Effort = Effort { samples: 5, ms: 10, lives: 5, budget: Duration::from_secs(170) };

/// What the front page shows.
const FRONT_PAGE: [&str; 12] = [
    "boot-echo",
    "getpid",
    "pread-4k",
    "page-touch",
    "fork-exec-wait",
    "pipe-ping-pong",
    "switch-8-exec",
    "1000-true",
    "idle-memory",
    "demo-peek",
    "demo-root",
    "demo-crash",
];

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    let rows = chosen(&args.measure, |_| true)?;
    let lodger = cargo::build_lodger(Profile::Release)?;
    let guests = ["skas", "tt"].map(|backend| Column::lodger(backend, lodger.clone()));
    let columns = [Column::native()].into_iter().chain(guests).collect();
    let report = run_all(&args.measure, EFFORT, rows, columns)?;
    show(&args.measure, &report, SCHEMA)?;
    let docs = cargo::root().join("docs");
    let folder: Option<&PathBuf> = if args.publish { Some(&docs) } else { args.measure.out.as_ref() };
    if let Some(folder) = folder {
        write_files(&report, folder, FILES, SCHEMA)?;
    }
    if args.publish {
        let readme = cargo::root().join("README.md");
        publish::write_part(&readme, &front_page(&report))
            .context("cannot write the table of the front page")?;
    }
    fail_for_failures(&report)
}

/// What the front page gets: a short table, where it was measured, and the picture.
fn front_page(report: &Report) -> String {
    format!(
        "{}\n\nMedians, the better guest in bold; measured on {} with `cargo xtask compare`:\n{}.\n\n\
         ![Bars for each case: the guests' times as multiples of the native ones](docs/{FILES}.svg)\n",
        table::short(report, &FRONT_PAGE),
        report.machine.date,
        report.machine.line()
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn the_front_page_shows_rows_that_are_there() {
        let known = |name: &&str| super::super::rows::ALL.iter().any(|row| row.name == *name);
        assert!(FRONT_PAGE.iter().all(known));
        let page = front_page(&report());
        assert!(page.contains("| getpid ") && page.contains("(docs/comparison.svg)"), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with('|')).count(), 2 + FRONT_PAGE.len());
    }
}
