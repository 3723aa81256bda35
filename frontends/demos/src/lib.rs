//! The demos: attacks on the kernel and between guests, run on one backend, each with the outcome that this backend
//! promises. There is a binary for each backend: `lodger-demo` (skas) and `lodger-demo-tt`.
//!
//! An attack is made by guest programs alone (`guest/demos`), in an instance of the command that everybody uses
//! ([`instance`]): nothing here tells the attacker anything, on any backend. This side reads what the programs say
//! ([`script`]), and compares in the end what the attacker claims with what the victim knows ([`judge`]). All demos stand in
//! [`table`]. [`map`] is no attack: it boots a kernel in this process and draws what is mapped where.

pub mod instance;
pub mod judge;
pub mod map;
pub mod print;
pub mod script;
pub mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use host_linux::backend::Backend;

use crate::judge::{Outcome, Verdict};
use crate::print::say;
use crate::table::{DEMOS, Demo, Show};

/// The exit status of what goes wrong before there is an outcome: wrong words, no guest.
pub const FAILURE: u8 = 125;

/// Which backend a binary has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every guest process in a host address space of its own.
    Skas,
    /// Kernel and all guests in one host address space.
    Tt,
}

impl Kind {
    /// As `--backend` has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Skas => "skas",
            Kind::Tt => "tt",
        }
    }

    /// What this backend promises of every attack.
    pub fn promise(self) -> Outcome {
        match self {
            Kind::Skas => Outcome::Refused,
            Kind::Tt => Outcome::Exposed,
        }
    }
}

/// Where a demo finds what it needs.
pub struct Scene {
    /// The backend.
    pub kind: Kind,
    /// The folder that is the guest's root file system; it holds `/demo`, the program of `guest/demos`.
    pub root: PathBuf,
    /// The command `lodger`.
    pub lodger: PathBuf,
}

impl Scene {
    /// The root is what `$LODGER_DEMOS` names, or where a build of the work tree has it; `lodger` is beside this program.
    fn find(kind: Kind) -> Result<Scene> {
        let executable = std::env::current_exe().context("cannot find out where this program is")?;
        let folder = executable.parent().unwrap_or(Path::new("/"));
        let named = std::env::var_os("LODGER_DEMOS").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let root = named.unwrap_or_else(|| folder.join("../demos/root"));
        if !root.join("demo").exists() {
            bail!(
                "the guest's part of the demos is not built (no {}): `cargo xtask demo` builds it",
                root.join("demo").display()
            );
        }
        Ok(Scene { kind, root, lodger: folder.join("lodger") })
    }
}

/// Shows what a backend protects, by attacking it. Exits 0 only if the outcome is what the backend promises, 1 if it is
/// another one, 125 if the demo could not be shown.
#[derive(Parser)]
#[command(name = "lodger-demo", version)]
struct Cli {
    /// The demo to show, or `all`; without it, they are listed
    name: Option<String>,
    /// The folder that gets pictures
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print nothing but the outcome, as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The whole life of a binary.
pub fn main<B: Backend>(kind: Kind) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { FAILURE } else { 0 };
            // A reader that went away has what it wanted.
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    match show::<B>(kind, &cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            lodger::logger::say(&format!("{error:#}"));
            ExitCode::from(FAILURE)
        }
    }
}

/// Shows what was asked for. Whether every outcome is the promised one.
fn show<B: Backend>(kind: Kind, cli: &Cli) -> Result<bool> {
    let Some(name) = &cli.name else {
        list();
        return Ok(true);
    };
    let wanted: Vec<&Demo> = DEMOS.iter().filter(|demo| demo.name == name || name == "all").collect();
    if wanted.is_empty() {
        let known: Vec<&str> = DEMOS.iter().map(|demo| demo.name).collect();
        bail!("there is no demo `{name}`; there are {}, and `all`", known.join(", "));
    }
    let scene = Scene::find(kind)?;
    let mut as_promised = true;
    for demo in wanted {
        as_promised &= show_one::<B>(demo, &scene, cli)?;
    }
    Ok(as_promised)
}

fn show_one<B: Backend>(demo: &Demo, scene: &Scene, cli: &Cli) -> Result<bool> {
    let (kind, start) = (scene.kind, Instant::now());
    if !cli.json {
        println!("{} on {}: {}", demo.name, kind.name(), demo.about);
        say("promised", &format!("{}: {}", kind.promise().name(), demo.promise(kind).seen));
        println!();
    }
    let verdict = match demo.show {
        Show::Attack(judge) => {
            let report = instance::run(scene, demo.name, |line| {
                if !cli.json {
                    say(line.who, line.text);
                }
            })?;
            judge(&report)
        }
        Show::Map => {
            let shown = map::run::<B>(scene, cli.out.as_deref())?;
            if !cli.json {
                print!("{}", shown.text);
            }
            shown.verdict
        }
    };
    let as_promised = verdict.outcome == Some(kind.promise());
    if cli.json {
        let outcome = verdict.outcome.map(Outcome::name);
        let line = serde_json::json!({
            "schema": "lodger-demo/1", "demo": demo.name, "backend": kind.name(), "outcome": outcome,
            "as_promised": as_promised, "why": verdict.why, "seconds": start.elapsed().as_secs_f64(),
        });
        println!("{line}");
    } else {
        conclude(demo, kind, &verdict, start);
    }
    Ok(as_promised)
}

fn list() {
    println!("What guest programs can do to each other and to the kernel, tried on both backends.");
    for demo in &DEMOS {
        println!();
        println!("  {:<12} {}", demo.name, demo.about);
        for kind in [Kind::Skas, Kind::Tt] {
            println!("  {:<12} {:<5} {}", "", kind.name(), demo.promise(kind).seen);
        }
    }
    println!();
    println!("docs/tt-exposure.md explains them.");
}

fn conclude(demo: &Demo, kind: Kind, verdict: &Verdict, start: Instant) {
    println!();
    say("checked", &verdict.why);
    let kept = verdict.outcome == Some(kind.promise());
    if kept {
        say("because", demo.promise(kind).because);
    }
    let outcome = verdict.outcome.map_or("neither exposed nor refused", Outcome::name);
    let kept = if kept { "as promised" } else { "NOT as promised" };
    say("outcome", &format!("{outcome}, {kept} ({:.1} s)", start.elapsed().as_secs_f64()));
    println!();
}
