//! The whole kernel with guests that do anything, on a host that fails: deterministic, so that a seed is all that is needed
//! to see a fault again.
//!
//! ```text
//! cargo run --release -p kernel-core --features fake-host --example sim [FIRST [SEEDS [STEPS]]]
//! ```
//!
//! A single seed is run with all calls printed, as `lodger run --strace` shows them. Time is virtual, there is one vCPU, and
//! every choice comes from the seed. Guest programs ([`guest`]) make calls with arguments of the right kinds or of none, touch
//! memory, jump, and raise exceptions. The host ([`machine`]) has no room for a space or a mapping now and then, loses spaces,
//! kicks for no reason, and says that the kernel's heap is large. While they run and after the end, [`invariants`] are
//! checked. A panic anywhere in the kernel is a fault as well.

mod guest;
mod invariants;
mod machine;
mod random;
mod simulation;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use kernel_core::kernel::TraceSink;

use random::Random;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let mut number = |default: u64| match words.next().map(|word| word.parse()) {
        None => Ok(default),
        Some(number) => number,
    };
    let (Ok(first), Ok(seeds), Ok(steps)) = (number(1), number(100), number(10_000)) else {
        eprintln!("sim [FIRST SEED [NUMBER OF SEEDS [STEPS OF EACH]]]");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let (mut faults, mut calls) = (0, 0);
    for seed in first..first.saturating_add(seeds) {
        match catch_unwind(AssertUnwindSafe(|| simulate(seed, steps, seeds == 1))) {
            Ok(Ok(made)) => calls += made,
            Ok(Err(fault)) => {
                faults += 1;
                println!("seed {seed}: {fault}");
            }
            // What is wrong was printed.
            Err(_) => {
                faults += 1;
                println!("seed {seed}: the kernel panicked");
            }
        }
    }
    println!(
        "{seeds} seeds from {first} on, {steps} steps each: {faults} faults; {calls} system calls, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the instance of a seed.
fn simulate(seed: u64, steps: u64, traced: bool) -> Result<u64, String> {
    let trace = traced.then(|| -> TraceSink { Arc::new(|line| eprintln!("{line}")) });
    simulation::run(Random::new(seed), &[4, 8, 16, 64], steps, trace)
}
