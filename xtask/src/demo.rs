//! `cargo xtask demo`: builds the demos, the guest's programs among them, and shows one on the backends that are asked for.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cargo::{self, Profile};
use crate::guest;

/// Which demo, and where.
#[derive(clap::Args)]
#[command(after_help = "\
Exits 0 if every outcome is the one that its backend promises, 1 if one is not, 125 if a demo could not be shown.
docs/tt-exposure.md explains what is seen.")]
pub struct Args {
    /// The demo to show, or `all`; without it, they are listed
    name: Option<String>,
    /// The backend to show it on
    #[arg(long, value_enum, default_value = "both")]
    backend: Backend,
    /// The folder that gets pictures
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print nothing but the outcomes, as a line of JSON each
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

/// The exit status of a demo that could not be shown.
const FAILURE: u8 = 125;

/// Shows it; the exit status is the worst of its backends.
pub fn run(args: &Args) -> ExitCode {
    let status = show(args).unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        FAILURE
    });
    ExitCode::from(status)
}

fn show(args: &Args) -> Result<u8> {
    let built = build()?;
    let binaries: &[&str] = match args.backend {
        // One list is enough.
        _ if args.name.is_none() => &["lodger-demo"],
        Backend::Skas => &["lodger-demo"],
        Backend::Tt => &["lodger-demo-tt"],
        Backend::Both => &["lodger-demo-tt", "lodger-demo"],
    };
    let mut worst = 0;
    for name in binaries {
        let mut command = built.command(name);
        command.args(&args.name).args(args.json.then_some("--json"));
        if let Some(folder) = &args.out {
            command.arg("--out").arg(folder);
        }
        let status = command.status().with_context(|| format!("cannot start {name}"))?;
        worst = worst.max(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILURE));
    }
    Ok(worst)
}

/// What a demo needs.
pub struct Built {
    /// The folder with the frontend's programs and `lodger`.
    pub binaries: PathBuf,
    /// What `LODGER_USERLAND` names.
    pub userland: PathBuf,
    /// The guest's root file system, what `LODGER_DEMOS` names.
    pub root: PathBuf,
}

impl Built {
    /// The frontend's program of that name: `lodger-demo`, `lodger-demo-tt`.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command.env("LODGER_USERLAND", &self.userland).env("LODGER_DEMOS", &self.root);
        command
    }
}

/// Builds everything.
pub fn build() -> Result<Built> {
    let lodger = cargo::build_lodger(Profile::Release)?;
    cargo::check(&mut cargo::cargo(&["build", "--quiet", "--release", "--package", "lodger-demos"]))?;
    let userland = guest::build(&guest::Options::default())?.dir;
    let binaries = lodger.parent().map(PathBuf::from).unwrap_or_default();
    Ok(Built { binaries, userland, root: build_programs()? })
}

/// Builds the guest's programs and makes a root file system that holds nothing else.
fn build_programs() -> Result<PathBuf> {
    let target = cargo::target_dir().join("demos");
    cargo::check(cargo_for_programs(&["build", "--release", "--quiet"]).arg("--target-dir").arg(&target))?;
    let root = target.join("root");
    for folder in ["dev", "proc", "sys", "tmp"] {
        std::fs::create_dir_all(root.join(folder)).context("cannot make the demos' root file system")?;
    }
    let program = target.join(cargo::TARGET).join("release/demo");
    std::fs::copy(program, root.join("demo")).context("cannot copy the demos' program")?;
    Ok(root)
}

/// Runs the unit tests of the guest's programs, on the host.
pub fn test_programs() -> Result<()> {
    let target = cargo::target_dir().join("demos");
    cargo::check(cargo_for_programs(&["test", "--quiet"]).arg("--target-dir").arg(target))
}

/// A call of cargo in their package. Flags and target are in its folder; what is set for the host's programs must not
/// override them.
fn cargo_for_programs(words: &[&str]) -> Command {
    let mut command = cargo::cargo(words);
    command.arg("--locked").current_dir(cargo::root().join("guest/demos"));
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
}
