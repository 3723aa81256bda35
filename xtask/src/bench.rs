//! `cargo xtask bench`: what a guest costs. The same programs run natively and in a guest, by turns, on one processor;
//! the table has the medians and their quotients.
//!
//! This is the harness: a table of [`rows`], a list of [`column`]s, and a run over both that ends in a [`report`].
//! `cargo xtask compare` is the same run with all rows, one column more, and pages to write.

mod chart;
mod column;
mod exposure;
mod limited;
mod machine;
mod measure;
mod memory;
mod program;
mod publish;
mod report;
mod rows;
mod samples;
mod svg;
mod table;

pub mod compare;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cargo::{self, Profile};
use crate::demo;
use column::Column;
use machine::Machine;
use measure::Effort;
use program::Programs;
use report::{Cell, Line, Report};
use rows::{How, Row};
use samples::Samples;
use table::Markup;

/// How to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Only cases whose name contains this
    #[arg(long, value_name = "F", default_value = "")]
    filter: String,
    /// How often each case runs in each column
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Print the table as Markdown, with what each row is and why its figures are as they are
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Also write all of it to this folder: a picture, JSON and Markdown
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The processor to stay on; without it, the first one that is allowed
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
}

/// The name and version of the JSON that `--json` prints.
const SCHEMA: &str = "lodger-bench/2";
/// The name of the files that `--out` gets.
const FILES: &str = "bench";

/// Each sample long enough for a busy machine.
const EFFORT: Effort = Effort { samples: 7, ms: 20, lives: 5, budget: Duration::from_secs(600) };

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    let rows = chosen(args, |row| !matches!(row.how, How::Demo(_)))?;
    let lodger = cargo::build_lodger(Profile::Release)?;
    let columns = vec![Column::native(), Column::lodger("skas", lodger)];
    let report = run_all(args, EFFORT, rows, columns)?;
    show(args, &report, SCHEMA)?;
    if let Some(folder) = &args.out {
        write_files(&report, folder, FILES, SCHEMA)?;
    }
    fail_for_failures(&report)
}

/// The rows that are asked for.
fn chosen(args: &Args, fits: impl Fn(&Row) -> bool) -> Result<Vec<&'static Row>> {
    let named = |row: &&Row| row.name.contains(&args.filter) && fits(row);
    let rows: Vec<&Row> = rows::ALL.iter().filter(named).collect();
    if rows.is_empty() {
        bail!("no case has `{}` in its name", args.filter);
    }
    Ok(rows)
}

/// Runs every row in every column, as often as asked for; columns that nothing runs in are left out.
fn run_all(args: &Args, effort: Effort, rows: Vec<&'static Row>, columns: Vec<Column>) -> Result<Report> {
    let programs = Programs::build()?;
    let shown = rows.iter().any(|row| matches!(row.how, How::Demo(_)));
    let demos = if shown { Some(demo::build()?) } else { None };
    let machine = Machine::here()?;
    let cpu = pin(args.cpu)?;
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for column in columns {
        match column.probe(&programs) {
            Ok(()) => present.push(column),
            Err(error) => {
                let why = format!("{error:#}");
                absent.push((column.name, why.trim_start_matches("lodger: ").to_owned()));
            }
        }
    }
    let mut lines: Vec<Line> = rows
        .into_iter()
        .map(|row| Line { row, cells: present.iter().map(|column| empty(row, column)).collect() })
        .collect();
    let wanted = args.runs.max(1);
    let (bar, start) = (progress(wanted * lines.len()), Instant::now());
    let mut runs = 0;
    // The first run is the longest: demos are shown once.
    let after_one_more = |runs: usize| start.elapsed().mul_f64(1.0 + 1.0 / runs.max(1) as f64);
    while runs < wanted && after_one_more(runs) < effort.budget {
        runs += 1;
        if !std::io::stderr().is_terminal() {
            eprintln!("run {runs} of {wanted}");
        }
        for line in &mut lines {
            bar.set_message(line.row.name);
            // By turns, so that a machine that changes its speed harms all alike.
            for (column, cell) in present.iter().zip(&mut line.cells) {
                let Cell::Measured(samples) = cell else { continue };
                // What failed once is not tried again, and what a demo says is no matter of chance.
                let done = match (line.row.how, &demos) {
                    (How::Demo(name), Some(demos)) => exposure::tried(demos, name, column.name).map(Some),
                    _ => measure::measure(line.row, column, &programs, effort, samples).map(|()| None),
                };
                match done {
                    Ok(Some(tried)) => *cell = tried,
                    Ok(None) => {}
                    Err(error) => *cell = Cell::Failed(format!("{error:#}")),
                }
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    if runs < wanted {
        eprintln!("only {runs} of {wanted} runs: another one would end after {} s", effort.budget.as_secs());
    }
    Ok(Report {
        columns: present.iter().map(|column| column.name).collect(),
        absent,
        lines,
        runs,
        cpu,
        machine,
    })
}

/// The cell of a row in a column, before anything is measured.
fn empty(row: &Row, column: &Column) -> Cell {
    match row.how {
        How::Demo(_) if column.is_native() => Cell::Senseless,
        _ => Cell::Measured(Samples::default()),
    }
}

fn progress(steps: usize) -> ProgressBar {
    // It is not drawn unless somebody watches.
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {elapsed} so far") {
        bar.set_style(style);
    }
    bar
}

/// Prints a report as it is asked for.
fn show(args: &Args, report: &Report, schema: &str) -> Result<()> {
    if args.json {
        println!("{}", table::json(report, schema));
    } else if args.markdown {
        println!("{}", page(report));
    } else {
        println!("{}", table::text(report, Markup::Plain));
    }
    Ok(())
}

/// Writes a report to `folder`, in files of that name.
fn write_files(report: &Report, folder: &Path, name: &str, schema: &str) -> Result<()> {
    let json = serde_json::to_string_pretty(&table::json(report, schema)).context("cannot write JSON")?;
    publish::write(&folder.join(format!("{name}.json")), &format!("{json}\n"))?;
    publish::write(&folder.join(format!("{name}.svg")), &chart::draw(report))?;
    let picture =
        format!("![Bars for each case: the guests' times as multiples of the native ones]({name}.svg)");
    publish::write_part(&folder.join(format!("{name}.md")), &format!("{}\n{picture}\n", page(report)))
}

/// All of a report that is not a picture, as Markdown.
fn page(report: &Report) -> String {
    let (text, reasons) = (table::text(report, Markup::Markdown), table::reasons(report));
    format!("{text}\nWhat each row is, and why its figures are as they are:\n\n{reasons}")
}

/// An error if a column or a cell that should have figures has none.
fn fail_for_failures(report: &Report) -> Result<()> {
    if let Some((column, _)) = report.absent.first() {
        bail!("nothing was measured on {column}");
    }
    match report.failures().len() {
        0 => Ok(()),
        1 => bail!("one figure is missing"),
        more => bail!("{more} figures are missing"),
    }
}

/// Keeps this process, and so what it starts, on one processor, and says which.
fn pin(cpu: Option<usize>) -> Result<usize> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let me = nix::unistd::Pid::from_raw(0);
    let allowed = sched_getaffinity(me).context("cannot ask for the processors")?;
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let cpu = cpu.or(first).context("no processor is allowed")?;
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("there is no processor {cpu}"))?;
    sched_setaffinity(me, &set).with_context(|| format!("cannot stay on processor {cpu}"))?;
    Ok(cpu)
}
