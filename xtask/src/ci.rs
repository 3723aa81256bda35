//! `cargo xtask ci`: what must hold beside the tests, with the time of each stage.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo;
use crate::conformance;
use crate::demo;
use crate::fuzz;
use crate::guest;
use crate::model;
use crate::sim;
use crate::tidy;

/// How to check.
#[derive(clap::Args)]
pub struct Args {
    /// Only stages whose name contains this
    filter: Option<String>,
}

/// Packages outside the workspace, with a lock file and flags of their own.
pub const OUTSIDE: [&str; 5] = ["guest", "guest/demos", "tests/abi", "tests/bench", "tests/fuzz"];

/// One stage.
struct Stage {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STAGES: [Stage; 9] = [
    Stage { name: "format", run: format },
    Stage { name: "clippy", run: clippy },
    Stage { name: "tidy", run: || tidy::run(&tidy::Args::default()) },
    Stage { name: "guest", run: guest },
    Stage { name: "model", run: model::sample },
    Stage { name: "simulation", run: || sim::run(&sim::SAMPLE) },
    Stage { name: "fuzz", run: fuzz::sample },
    Stage { name: "conformance", run: conformance::sample },
    Stage { name: "debian", run: conformance::smoke },
];

/// Runs all stages, whatever becomes of those before, and prints what each took and came to.
pub fn run(args: &Args) -> Result<()> {
    let filter = args.filter.as_deref().unwrap_or("");
    let mut results = Vec::new();
    for stage in STAGES.iter().filter(|stage| stage.name.contains(filter)) {
        println!("== {}", stage.name);
        let start = Instant::now();
        let result = (stage.run)();
        if let Err(error) = &result {
            println!("{}: {error:#}", stage.name);
        }
        results.push((stage.name, start.elapsed().as_secs_f64(), result.is_ok()));
    }
    println!("== summary");
    for (name, seconds, passed) in &results {
        println!("{name:<12} {seconds:>7.1} s  {}", if *passed { "passed" } else { "failed" });
    }
    let failed = results.iter().filter(|(_, _, passed)| !passed).count();
    if failed > 0 {
        bail!("{failed} of {} stages failed", results.len());
    }
    Ok(())
}

fn guest() -> Result<()> {
    guest::test()?;
    demo::test_programs()
}

fn format() -> Result<()> {
    everywhere(&["fmt", "--all", "--check"], &[])
}

fn clippy() -> Result<()> {
    everywhere(&["clippy", "--quiet", "--workspace", "--all-targets"], &["--", "-D", "warnings"])
}

/// Calls cargo in the workspace and in each package outside of it.
fn everywhere(args: &[&str], last: &[&str]) -> Result<()> {
    let mut failed = Vec::new();
    for folder in std::iter::once(".").chain(OUTSIDE) {
        if !cargo::root().join(folder).join("Cargo.toml").exists() {
            continue;
        }
        let mut command = cargo::cargo(args);
        command.current_dir(cargo::root().join(folder)).args(last);
        if folder != "." {
            command.env("CARGO_TARGET_DIR", cargo::target_dir().join("check").join(Path::new(folder)));
        }
        if cargo::check(&mut command).is_err() {
            failed.push(folder);
        }
    }
    if !failed.is_empty() {
        bail!("failed in {}", failed.join(", "));
    }
    Ok(())
}
