//! `cargo xtask model`: wait queues, run queue, futexes, pipes, signals, and the hand-off to guest threads, under the model
//! checker.

use anyhow::Result;

use crate::cargo;

/// How much.
#[derive(clap::Args)]
#[command(after_help = "\
Runs the tests of kernel-core/src/model.rs and host-linux-skas/src/seccomp/turns/model.rs with the locks, atomics and
threads of shuttle, which tries many orders of what the vCPUs and guest threads do. A test that fails, or in which nobody can
go on, prints its schedule; with LODGER_SCHEDULE set to that it is run again.

Examples:
  cargo xtask model                          as ci does
  cargo xtask model --times 100 a_pipe       more of one test")]
pub struct Args {
    /// How many times the usual number of schedules
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: u32,
    /// Only tests whose names begin with this
    #[arg(value_name = "NAME", default_value = "")]
    name: String,
}

/// What `cargo xtask ci` runs.
pub fn sample() -> Result<()> {
    run(&Args { times: 1, name: String::new() })
}

/// Builds a kernel for the model checker, and runs the tests of it and of the hand-off.
pub fn run(args: &Args) -> Result<()> {
    let name = format!("model::{}", args.name);
    let test = ["test", "--quiet", "--lib", "--package"];
    let mut kernel =
        cargo::cargo(&[&test[..], &["kernel-core", "--features", "fake-host", "--", &name]].concat());
    kernel.env("RUSTFLAGS", "--cfg shuttle").env("CARGO_TARGET_DIR", cargo::target_dir().join("model"));
    let hand_off = cargo::cargo(&[&test[..], &["host-linux-skas", "--", &name]].concat());
    [kernel, hand_off].iter_mut().try_for_each(|command| {
        command.env("LODGER_SCHEDULES", args.times.to_string());
        cargo::check(command)
    })
}
