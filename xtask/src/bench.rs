//! `cargo xtask bench`: what a guest costs. The same static program runs natively and in a guest, by turns, on one
//! processor; the table has the medians and their quotients.

mod program;
mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Profile};
use crate::guest;
use program::{Program, Samples};
use table::Row;

/// How to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Only cases whose name contains this
    #[arg(long, value_name = "F", default_value = "")]
    filter: String,
    /// How often the program runs on each side
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// The processor to stay on; without it, the first one that is allowed
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
}

/// The life of the shortest program, measured from outside.
const BOOT: &str = "boot-echo";
/// Lives measured in each run: they are noisier than what is measured inside.
const LIVES: usize = 5;

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    let lodger = cargo::build_lodger(Profile::Release)?;
    let userland = guest::build(&guest::Options::default())?;
    let program = Program::build()?;
    let cpu = pin(args.cpu)?;
    let guest = |words: &[&str]| {
        let mut command = Command::new(&lodger);
        command.args(["run", "--root"]).arg(&program.root).args(["--", "/bench"]).args(words);
        command.env("LODGER_USERLAND", &userland.dir);
        command
    };
    let native = |words: &[&str]| {
        let mut command = Command::new(program.root.join("bench"));
        command.args(words);
        command
    };
    let (mut natively, mut in_guest) = (Samples::default(), Samples::default());
    for run in 1..=args.runs.max(1) {
        eprintln!("run {run} of {}", args.runs.max(1));
        // By turns, so that a machine that changes its speed harms both alike.
        measure(&native, &args.filter, &mut natively)?;
        measure(&guest, &args.filter, &mut in_guest)?;
    }
    let rows: Vec<Row> = natively.names().map(|name| Row::new(name, &natively, &in_guest)).collect();
    if rows.is_empty() {
        bail!("no case has `{}` in its name", args.filter);
    }
    if args.json {
        println!("{}", table::json(&rows, cpu));
    } else {
        println!("{}", table::table(&rows));
        println!("Medians (best in brackets) of {} runs on processor {cpu}.", args.runs.max(1));
    }
    Ok(())
}

/// Runs the program once, and its shortest life a few times.
fn measure(command: &dyn Fn(&[&str]) -> Command, filter: &str, samples: &mut Samples) -> Result<()> {
    if BOOT.contains(filter) {
        for _ in 0..LIVES {
            let start = Instant::now();
            let text = output(&mut command(&["echo", "hello"]))?;
            samples.add(BOOT, start.elapsed().as_nanos() as f64);
            if text != "hello\n" {
                bail!("echo said {text:?}");
            }
        }
    }
    if filter == BOOT {
        return Ok(());
    }
    let text = output(&mut command(&[filter]))?;
    samples.read(&text).context("the bench program's output is damaged")
}

/// What a command prints; it must succeed.
fn output(command: &mut Command) -> Result<String> {
    let shown = cargo::display(command);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

/// Where the program's package and its build are.
pub(crate) fn package() -> (PathBuf, PathBuf) {
    (cargo::root().join("tests/bench"), cargo::target_dir().join("bench"))
}
