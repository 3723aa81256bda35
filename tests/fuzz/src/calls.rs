//! Any system calls, by any number of processes, on a host that fails: the simulation (`cargo xtask sim`), with choices that
//! come from the bytes.

use crate::random::Random;
use crate::{instance, simulation};

/// The bytes are the choices.
pub fn run(data: &[u8]) {
    // A step takes about ten choices.
    let steps = 60 + data.len().min(8192) as u64 / 4;
    match simulation::run(Random::of(data), &[4, 8, 16], steps, instance::trace()) {
        Ok(calls) => assert!(calls > 0, "PID 1 makes calls"),
        Err(fault) => panic!("{fault}"),
    }
}
