//! `cargo xtask soak`: a mix of work for minutes or hours, and a look at what it leaves behind on the host.

mod sample;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::bench::machine::Machine;
use crate::bench::program::{Programs, Root};
use crate::cargo::{self, Profile};
use sample::{Report, Sample};

/// How long, and on what.
#[derive(clap::Args)]
#[command(after_help = "\
Runs rounds of processes, pipes, files, memory and signals, and one class of stress-ng's programs a round if the root file
system has /usr/bin/stress-ng. After each round, when the guest is idle, it counts the host's processes, memory, mappings and
descriptors, and the guest's. Exits 1 if they grew after the first rounds, or if a round went wrong.

Examples:
  cargo xtask soak --minutes 5                                  both backends, the default userland
  cargo xtask soak --minutes 60 --backend skas --root DIR       with what DIR has
  cargo xtask soak --forks 1000000 --backend skas               children that end at once, in 20 rounds")]
pub struct Args {
    /// How long on each backend; every round is finished
    #[arg(long, value_name = "M", default_value_t = 10)]
    minutes: u64,
    /// Instead of the mix, so many children that end at once, one after another, in 20 rounds
    #[arg(long, value_name = "N", conflicts_with = "root")]
    forks: Option<u64>,
    /// The backends
    #[arg(long, value_enum, default_value = "both")]
    backend: Backend,
    /// The root file system, as `lodger run` takes it; it needs the usual commands
    #[arg(long, value_name = "ROOT")]
    root: Option<PathBuf>,
    /// The guest's memory
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    mem: String,
    /// A lodger to take instead of one that is built
    #[arg(long, value_name = "FILE")]
    lodger: Option<PathBuf>,
    /// Print the samples as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    /// Every guest process in a host address space of its own
    Skas,
    /// Kernel and guests in one host address space
    Tt,
    /// The one after the other
    Both,
}

/// The name and version of the JSON that `--json` prints.
const SCHEMA: &str = "lodger-soak/1";
/// The guest's part.
const MIX: &str = include_str!("soak/mix.sh");
/// So many rounds bring everything to its size: each class of stress-ng has run once.
const WARM_UP: usize = 11;

/// How many rounds the children of `--forks` are made in.
const FORK_ROUNDS: u64 = 20;

/// After a round, until all that is done in the background is done: memory is given back when nothing else happens.
const PAUSE: Duration = Duration::from_secs(3);

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    let lodger = match &args.lodger {
        Some(lodger) => lodger.clone(),
        None => cargo::build_lodger(Profile::Release)?,
    };
    let programs = Programs::build(&[Root::Bench])?;
    let backends: &[&str] = match args.backend {
        Backend::Skas => &["skas"],
        Backend::Tt => &["tt"],
        Backend::Both => &["skas", "tt"],
    };
    let mut complaints = Vec::new();
    for backend in backends {
        let mut report = Report::default();
        let ended = soak(args, backend, &lodger, &programs, &mut report);
        if args.json {
            println!("{}", as_json(&report, backend, args)?);
        } else if !report.samples.is_empty() {
            println!("{}", report.table(backend));
        }
        let mut found = report.complaints(WARM_UP);
        found.extend(ended.err().map(|error| format!("{error:#}")));
        complaints.extend(found.into_iter().map(|line| format!("{backend}: {line}")));
    }
    if !complaints.is_empty() {
        bail!("not as it was:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

fn as_json(report: &Report, backend: &str, args: &Args) -> Result<serde_json::Value> {
    let machine = Machine::here()?;
    Ok(json!({
        "schema": SCHEMA,
        "date": machine.date,
        "machine": machine.line(),
        "backend": backend,
        "minutes": args.minutes,
        "forks": args.forks,
        "faults": report.faults,
        "stress": report.stress,
        "samples": report.samples.iter().map(Sample::json).collect::<Vec<_>>(),
    }))
}

/// Runs rounds as long as `args` say, or until one fails, and adds what came of them to the report.
fn soak(args: &Args, backend: &str, lodger: &Path, programs: &Programs, report: &mut Report) -> Result<()> {
    let mut guest = Guest::start(args, backend, lodger, programs)?;
    let start = Instant::now();
    let is_over = |rounds: usize| match args.forks {
        Some(_) => rounds as u64 == FORK_ROUNDS,
        None => rounds >= 2 && start.elapsed() >= Duration::from_secs(60 * args.minutes),
    };
    while !is_over(report.samples.len()) {
        let mut sample = guest.round(report)?;
        std::thread::sleep(PAUSE);
        sample.host(guest.child.id(), &programs.bench())?;
        sample.minutes = start.elapsed().as_secs_f64() / 60.0;
        eprintln!("{backend}, round {}: {}", report.samples.len() + 1, sample.line());
        report.samples.push(sample);
    }
    guest.end()
}

/// A running instance.
struct Guest {
    child: Child,
    go: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    /// What starts a round.
    word: String,
}

impl Guest {
    fn start(args: &Args, backend: &str, lodger: &Path, programs: &Programs) -> Result<Guest> {
        let mut command = Command::new(lodger);
        command.args(["run", "--log", "warn", "--backend", backend, "--mem", &args.mem]);
        let word = match args.forks {
            Some(forks) => {
                command.arg("--root").arg(programs.folder(Root::Bench)?).args(["--", "/bench", "rounds"]);
                forks.div_ceil(FORK_ROUNDS).to_string()
            }
            None => {
                command.args(args.root.iter().flat_map(|root| [OsStr::new("--root"), root.as_os_str()]));
                command.args(["--", "sh", "-c", MIX]);
                "go".to_owned()
            }
        };
        command.env("LODGER_USERLAND", &programs.userland);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", lodger.display()))?;
        let (go, said) = (child.stdin.take(), child.stdout.take().context("it has no output")?);
        Ok(Guest { child, go, said: BufReader::new(said), word })
    }

    /// One round, and what the guest says of itself.
    fn round(&mut self, report: &mut Report) -> Result<Sample> {
        let go = self.go.as_mut().context("its input is closed")?;
        writeln!(go, "{}", self.word).context("the guest is gone")?;
        let mut sample = Sample::default();
        let mut line = String::new();
        loop {
            line.clear();
            if self.said.read_line(&mut line)? == 0 {
                let status = self.child.wait().context("cannot wait for the guest")?;
                bail!("the guest ended in the middle of a round, `{}`: {status}", sample.class);
            }
            match line.trim_end().split_once(": ") {
                _ if line == "over\n" => return Ok(sample),
                Some(("fault", what)) => report.faults.push(what.to_owned()),
                Some(("stress", what)) => report.stress.push(what.to_owned()),
                Some(("class", class)) => class.clone_into(&mut sample.class),
                Some((name, value)) => sample.guest(name, value),
                None => {}
            }
        }
    }

    fn end(mut self) -> Result<()> {
        drop(self.go.take());
        let status = self.child.wait().context("cannot wait for the guest")?;
        ensure!(status.success(), "lodger ended badly: {status}");
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
