//! `cargo xtask model`: wait queues, run queue, futexes, pipes and signals under the model checker.

use anyhow::Result;

use crate::cargo;

/// How much.
#[derive(clap::Args)]
#[command(after_help = "\
Runs the tests of kernel-core/src/model.rs with the locks, atomics and threads of shuttle, which tries many orders of what the vCPUs
do. A test that fails, or in which nobody can go on, prints its schedule; with LODGER_SCHEDULE set to that it is run
again.

Examples:
  cargo xtask model                          as ci does
  cargo xtask model --times 100 pipe         more of one test")]
pub struct Args {
    /// How many times the usual number of schedules
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: u32,
    /// Only tests whose names contain this
    #[arg(value_name = "NAME", default_value = "")]
    name: String,
}

/// What `cargo xtask ci` runs.
pub fn sample() -> Result<()> {
    run(&Args { times: 1, name: String::new() })
}

/// Builds a kernel for the model checker, and runs its tests.
pub fn run(args: &Args) -> Result<()> {
    let mut command = cargo::cargo(&[
        "test",
        "--quiet",
        "--package",
        "kernel-core",
        "--features",
        "fake-host",
        "--lib",
        "--",
    ]);
    command.args([&format!("model::{}", args.name)]);
    command.env("RUSTFLAGS", "--cfg shuttle").env("CARGO_TARGET_DIR", cargo::target_dir().join("model"));
    command.env("LODGER_SCHEDULES", args.times.to_string());
    cargo::check(&mut command)
}
