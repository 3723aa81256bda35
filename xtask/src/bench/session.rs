//! One session of measurements: every row in every column and placement, several times, by turns.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::column::Column;
use super::exposure;
use super::machine::Machine;
use super::measure::{self, Effort};
use super::placement::{Placement, Processors};
use super::program::{Programs, Root};
use super::report::{Absent, Cell, Head, Line, Party, Report};
use super::rows::{How, Row, Unit};
use super::samples::Samples;
use crate::demo;

/// What is to be measured.
pub struct Plan {
    /// The rows.
    pub rows: Vec<&'static Row>,
    /// The columns, the native one first.
    pub columns: Vec<Column>,
    /// The placements; each of them is a report.
    pub placements: Vec<Placement>,
    /// How much of it.
    pub effort: Effort,
    /// How often at most.
    pub runs: usize,
}

/// What is built before.
struct Tools {
    programs: Programs,
    demos: Option<demo::Built>,
    effort: Effort,
}

impl Plan {
    /// Measures all of it; columns that nothing runs in are left out. A report for each placement.
    pub fn carry_out(self, processors: &Processors) -> Result<Vec<Report>> {
        let Some(&first) = self.placements.first() else { bail!("there is no placement to measure in") };
        let (rows, left_out) = self.possible();
        let programs = Programs::build(&roots(&rows, &self.columns))?;
        let demos =
            if rows.iter().any(|row| matches!(row.how, How::Demo(_))) { Some(demo::build()?) } else { None };
        let tools = Tools { programs, demos, effort: self.effort };
        let machine = Machine::here()?;
        processors.stay(first)?;
        let (present, absent) = probed(self.columns, &tools.programs);
        let blank = |placement: &Placement| Report {
            columns: present.iter().map(head).collect(),
            absent: absent.clone(),
            lines: blank(&rows, &present, *placement),
            left_out: left_out.clone(),
            runs: 0,
            placement: *placement,
            machine: machine.clone(),
        };
        let mut reports: Vec<Report> = self.placements.iter().map(blank).collect();
        let wanted = self.runs.max(1);
        let bar = progress(&reports, wanted);
        let start = Instant::now();
        // How long the last run took, without what is done in the first one alone.
        let mut last = Duration::ZERO;
        for run in 0..wanted {
            if run > 0 && start.elapsed() + last > self.effort.budget {
                eprintln!(
                    "only {run} of {wanted} runs: another one would end after {} s",
                    self.effort.budget.as_secs()
                );
                break;
            }
            let (begun, mut once) = (Instant::now(), Duration::ZERO);
            for report in &mut reports {
                processors.stay(report.placement)?;
                if !std::io::stderr().is_terminal() {
                    eprintln!("run {} of {wanted} {}", run + 1, report.placement.phrase());
                }
                once += one_run(report, &present, &tools, &bar);
            }
            last = begun.elapsed().saturating_sub(once);
        }
        bar.finish_and_clear();
        Ok(reports)
    }

    /// The rows that this machine has programs for, and the others.
    fn possible(&self) -> (Vec<&'static Row>, Vec<(&'static str, String)>) {
        let (mut rows, mut left_out) = (Vec::new(), Vec::new());
        for row in &self.rows {
            let lacking = if let How::Work(job) = row.how { job.lacks() } else { None };
            match lacking {
                None => rows.push(*row),
                Some(why) => left_out.push((row.name, why)),
            }
        }
        (rows, left_out)
    }
}

/// One run over all rows. Returns the time that went into those of which one run is enough.
fn one_run(report: &mut Report, columns: &[Column], tools: &Tools, bar: &ProgressBar) -> Duration {
    let mut once = Duration::ZERO;
    for line in &mut report.lines {
        if report.runs > 0 && line.row.once() {
            continue;
        }
        let begun = Instant::now();
        // By turns, so that a machine that changes its speed harms all alike.
        for (column, cell) in columns.iter().zip(&mut line.cells) {
            bar.set_message(format!("{} on {}, {}", line.row.name, column.name, report.placement.phrase()));
            // What failed once is not tried again.
            let Cell::Measured(samples) = cell else { continue };
            let done = match (line.row.how, &tools.demos) {
                (How::Demo(name), Some(demos)) => exposure::tried(demos, name, column.name).map(Some),
                _ => {
                    measure::measure(line.row, column, &tools.programs, tools.effort, samples).map(|()| None)
                }
            };
            match done {
                Ok(Some(tried)) => *cell = tried,
                Ok(None) => {}
                Err(error) => *cell = Cell::Failed(format!("{error:#}")),
            }
        }
        if line.row.once() {
            once += begun.elapsed();
        }
        bar.inc(1);
    }
    report.runs += 1;
    once
}

/// The columns that something runs in, and the others.
fn probed(columns: Vec<Column>, programs: &Programs) -> (Vec<Column>, Vec<Absent>) {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for column in columns {
        match column.probe(programs) {
            Ok(()) => present.push(column),
            Err(error) => {
                let why = format!("{error:#}").trim_start_matches("lodger: ").to_owned();
                absent.push(Absent { name: column.name, why, party: head(&column).party });
            }
        }
    }
    (present, absent)
}

fn head(column: &Column) -> Head {
    let party = if column.is_peer() { Party::Peer } else { Party::Own };
    Head { name: column.name, what: column.what.clone(), party }
}

/// The root file systems that are needed.
fn roots(rows: &[&Row], columns: &[Column]) -> Vec<Root> {
    let mut roots = vec![Root::Bench];
    let of_rows = rows.iter().filter_map(|row| match row.how {
        How::Work(job) => Some(job.root()),
        _ => None,
    });
    // Other kernels have no init of their own.
    for root in of_rows.chain(columns.iter().any(Column::is_peer).then_some(Root::Work)) {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    roots
}

/// The lines of a placement, before anything is measured.
fn blank(rows: &[&'static Row], columns: &[Column], placement: Placement) -> Vec<Line> {
    let cell = |row: &Row, column: &Column| match row.unit() {
        Unit::Exposure if column.is_native() => Cell::Senseless,
        _ if column.is_peer() && !row.is_for_peers() => Cell::Senseless,
        _ => Cell::Measured(Samples::default()),
    };
    let fitting = rows.iter().filter(|row| row.fits(placement));
    fitting.map(|row| Line { row, cells: columns.iter().map(|column| cell(row, column)).collect() }).collect()
}

fn progress(reports: &[Report], runs: usize) -> ProgressBar {
    let lines = reports.iter().flat_map(|report| &report.lines);
    let steps: usize = lines.map(|line| if line.row.once() { 1 } else { runs }).sum();
    // It is not drawn unless somebody watches.
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {elapsed} so far") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
