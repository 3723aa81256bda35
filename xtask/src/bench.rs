//! `cargo xtask bench`: what a guest costs. The same programs run natively and in guests, by turns, on one processor and
//! on all; the tables have the medians and their quotients.
//!
//! This is the harness: [`rows`], [`column`]s, [`placement`]s, and a [`session`] over all of them that ends in a
//! [`report`] for each placement. `cargo xtask compare` is the same with fewer rows, one placement, and demos.

mod chart;
mod column;
mod exposure;
mod limited;
pub mod machine;
mod means;
mod measure;
pub mod memory;
mod pages;
mod peers;
mod placement;
mod plots;
pub mod program;
mod publish;
mod report;
mod rows;
mod samples;
mod session;
mod svg;
mod table;
pub mod tree;
mod work;

pub mod compare;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;

use crate::cargo::{self, Profile};
use column::{Column, GUESTS};
use measure::Effort;
use pages::Beside;
use placement::{Placement, Processors};
use report::Report;
use rows::{How, Row};
use session::Plan;
use table::Markup;

/// How to measure.
#[derive(clap::Args)]
#[group(id = "bench")]
#[command(after_help = "\
Examples:
  cargo xtask bench                            all rows, natively and on Lodger; ten minutes after the builds
  cargo xtask bench --filter fork --on one     only forks, only on one processor
  cargo xtask bench --columns skas,skas-seccomp --filter getpid
  cargo xtask bench --peers --out DIR          beside User-mode Linux, gVisor and proot, with pictures: 45 minutes
  cargo xtask bench --peers --publish          the same into the documentation

Peers are taken from the PATH, or else downloaded with apt-get into $XDG_CACHE_HOME/lodger/packages; nothing is
installed. One that cannot be had or does not start is named with the reason. Fails if a figure of Lodger's is missing.
Use a machine that does nothing else.")]
pub struct Args {
    #[command(flatten)]
    measure: Measure,
    /// The columns beside the native one; skas has the trap that Lodger would choose
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "skas,skas-ptrace,tt")]
    #[arg(value_parser = PossibleValuesParser::new(GUESTS.map(|(name, ..)| name)))]
    columns: Vec<String>,
    /// The processors that everything stays on, natively and in guests
    #[arg(long, value_enum, default_value = "both")]
    on: On,
    /// Also measure other kernels, and print what was recorded of the newest ones
    #[arg(long)]
    peers: bool,
    /// Also write the results into the documentation: docs/performance.* and its pictures
    #[arg(long, conflicts_with_all = ["out", "filter", "on", "columns"])]
    publish: bool,
}

/// How to measure, for `compare` too.
#[derive(clap::Args)]
#[group(skip)]
pub struct Measure {
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
    /// Also write all of it to this folder: pictures, JSON and Markdown
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The processor to stay on; without it, the first one that is allowed
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
}

/// Which placements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum On {
    /// One processor, then all
    Both,
    /// One processor
    One,
    /// All processors
    All,
}

/// The name of the files that `--out` gets.
const FILES: &str = "bench";
/// The name of the files of the documentation.
const PUBLISHED: &str = "performance";

/// Short enough for ten minutes.
const EFFORT: Effort = Effort { samples: 5, ms: 10, lives: 5, budget: Duration::from_secs(560) };
/// Other kernels start slowly.
const WITH_PEERS: Effort = Effort { budget: Duration::from_secs(2700), ..EFFORT };

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    let Args { measure, publish, .. } = args;
    let processors = Processors::here()?;
    let reports = plan(args, placements(args, &processors)?)?.carry_out(&processors)?;
    let beside = if args.peers { Beside::Peers } else { Beside::Nobody };
    if measure.json {
        println!("{}", pages::json(&reports, beside));
    } else if measure.markdown {
        println!("{}", pages::markdown(&reports, beside));
    } else {
        println!("{}", pages::text(&reports, beside, Markup::Plain));
    }
    if *publish {
        pages::write(&reports, beside, &cargo::root().join("docs"), PUBLISHED)?;
    } else if let Some(folder) = &measure.out {
        pages::write(&reports, beside, folder, FILES)?;
    }
    complain(&reports)
}

/// What is asked for.
fn plan(args: &Args, placements: Vec<Placement>) -> Result<Plan> {
    // Demos have a verb of their own, and 1000-true is the same as sh-1000-true with a larger program.
    let fits = |row: &Row| !matches!(row.how, How::Demo(_) | How::Script);
    let rows = chosen(&args.measure.filter, fits)?;
    let lodger = cargo::build_lodger(Profile::Release)?;
    let mut columns = vec![Column::native()];
    for name in &args.columns {
        columns.push(Column::lodger(name, lodger.clone())?);
    }
    if args.peers {
        columns.extend(peers::columns()?);
    }
    let effort = if args.peers { WITH_PEERS } else { EFFORT };
    Ok(Plan { rows, columns, placements, effort, runs: args.measure.runs })
}

fn placements(args: &Args, processors: &Processors) -> Result<Vec<Placement>> {
    let (one, all) = (processors.one(args.measure.cpu)?, processors.all());
    Ok(match args.on {
        // There is nothing else to see on a machine of one processor.
        On::Both if all == Placement::All(1) => vec![one],
        On::Both => vec![one, all],
        On::One => vec![one],
        On::All => vec![all],
    })
}

/// The rows that have this in their names and fit.
fn chosen(filter: &str, fits: impl Fn(&Row) -> bool) -> Result<Vec<&'static Row>> {
    let rows: Vec<&Row> = rows::all().filter(|row| row.name.contains(filter) && fits(row)).collect();
    if rows.is_empty() {
        let names: Vec<&str> = rows::all().filter(|row| fits(row)).map(|row| row.name).collect();
        bail!("no case has `{filter}` in its name; there are {}", names.join(", "));
    }
    Ok(rows)
}

/// An error if a column or a cell that should have figures has none.
fn complain(reports: &[Report]) -> Result<()> {
    match reports.iter().find_map(Report::complaint) {
        Some(complaint) => bail!("{complaint}"),
        None => Ok(()),
    }
}
