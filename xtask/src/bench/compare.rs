//! `cargo xtask compare`: both backends beside native Linux, in one run: what they cost and what they protect.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::column::Column;
use super::measure::Effort;
use super::placement::Processors;
use super::report::Report;
use super::session::Plan;
use super::table::{self, Markup};
use super::{chart, chosen, complain, publish};
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
    measure: super::Measure,
    /// Also write the results into the documentation: docs/comparison.* and the table in README.md
    #[arg(long, conflicts_with_all = ["out", "filter"])]
    publish: bool,
}

/// The name and version of the JSON that `--json` prints.
const SCHEMA: &str = "lodger-compare/1";
/// What writes the generated part of a page.
const COMMAND: &str = "cargo xtask compare";
/// The name of the files that `--out` gets.
const FILES: &str = "comparison";

/// Short enough for three minutes.
const EFFORT: Effort = Effort { samples: 5, ms: 10, lives: 5, budget: Duration::from_secs(170) };

/// What is compared, of all that can be measured.
const ROWS: [&str; 24] = [
    "boot-echo",
    "getpid",
    "clock",
    "pread-4k",
    "stat",
    "mmap-munmap",
    "page-touch",
    "file-page",
    "fork-wait",
    "fork-exec-wait",
    "pipe-ping-pong",
    "futex-ping-pong",
    "switch-2",
    "switch-8",
    "switch-64",
    "switch-8-exec",
    "1000-true",
    "idle-memory",
    "process-memory",
    "demo-peek",
    "demo-poke",
    "demo-kernel-read",
    "demo-root",
    "demo-crash",
];

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
    let Args { measure, publish } = args;
    let rows = chosen(&measure.filter, |row| ROWS.contains(&row.name))?;
    let lodger = cargo::build_lodger(Profile::Release)?;
    let processors = Processors::here()?;
    let plan = Plan {
        rows,
        columns: vec![
            Column::native(),
            Column::lodger("skas", lodger.clone())?,
            Column::lodger("tt", lodger)?,
        ],
        placements: vec![processors.one(measure.cpu)?],
        effort: EFFORT,
        runs: measure.runs,
    };
    let reports = plan.carry_out(&processors)?;
    let report = reports.first().context("nothing was measured")?;
    if measure.json {
        println!("{}", table::json(report, SCHEMA));
    } else if measure.markdown {
        println!("{}", page(report));
    } else {
        println!("{}", table::text(report, Markup::Plain));
    }
    let docs = cargo::root().join("docs");
    let folder: Option<&PathBuf> = if *publish { Some(&docs) } else { measure.out.as_ref() };
    if let Some(folder) = folder {
        write_files(report, folder)?;
    }
    if *publish {
        let readme = cargo::root().join("README.md");
        publish::write_part(&readme, COMMAND, &front_page(report))
            .context("cannot write the table of the front page")?;
    }
    complain(&reports)
}

/// Writes a report to `folder`: a picture, JSON and a page.
fn write_files(report: &Report, folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(&table::json(report, SCHEMA)).context("cannot write JSON")?;
    publish::write(&folder.join(format!("{FILES}.json")), &format!("{json}\n"))?;
    publish::write(&folder.join(format!("{FILES}.svg")), &chart::draw(report))?;
    let picture =
        format!("![Bars for each case: the guests' times as multiples of the native ones]({FILES}.svg)");
    let page = format!("{}\n{picture}\n", page(report));
    publish::write_part(&folder.join(format!("{FILES}.md")), COMMAND, &page)
}

/// All of a report that is not a picture, as Markdown.
fn page(report: &Report) -> String {
    let (text, reasons) = (table::text(report, Markup::Markdown), table::reasons(report));
    format!("{text}\nWhat each row is, and why its figures are as they are:\n\n{reasons}")
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
        let known = |name: &&str| super::super::rows::all().any(|row| row.name == *name);
        assert!(ROWS.iter().all(known) && FRONT_PAGE.iter().all(|name| ROWS.contains(name)));
        let page = front_page(&report());
        assert!(page.contains("| getpid ") && page.contains("(docs/comparison.svg)"), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with('|')).count(), 2 + FRONT_PAGE.len());
    }
}
