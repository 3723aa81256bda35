//! `cargo xtask sim`: the kernel on a simulated host that fails, with guests that do anything.

use anyhow::Result;

use crate::cargo;

/// Which seeds.
#[derive(clap::Args)]
#[command(after_help = "\
Every choice comes from the seed, so a seed that finds a fault finds it again: `cargo xtask sim --from SEED --seeds 1` runs it with all
its calls printed. Built with overflow checks and debug assertions. Exits 1 if there is a fault.")]
pub struct Args {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The first one
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// Steps of each: what guests do between two entries into the kernel
    #[arg(long, value_name = "M", default_value_t = 10_000)]
    steps: u64,
}

/// What `cargo xtask ci` runs.
pub const SAMPLE: Args = Args { seeds: 100, from: 1, steps: 10_000 };

/// Runs them.
pub fn run(args: &Args) -> Result<()> {
    let mut command = cargo::cargo(&[
        "run",
        "--quiet",
        "--package",
        "kernel-core",
        "--features",
        "fake-host",
        "--example",
        "sim",
        "--",
    ]);
    command.args([args.from, args.seeds, args.steps].map(|number| number.to_string()));
    cargo::check(&mut command)
}
