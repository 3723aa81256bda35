//! Cases that are about size: many processes, large ones, more than one at work.

use std::hint::black_box;
use std::time::Duration;

use crate::cases::{PAGE, timed};
use crate::sys;

/// `n` forks and waits while `asleep` other processes sleep.
pub fn fork_among(n: u64, asleep: usize) -> Duration {
    let (bed, alarm) = sys::pipe();
    let sleepers: Vec<i32> = (0..asleep)
        .map(|_| {
            sys::fork(|| {
                sys::get(bed);
            })
        })
        .collect();
    let took = timed(|| (0..n).for_each(|_| sys::wait(sys::fork(|| {}))));
    sleepers.iter().for_each(|_| sys::put(alarm, 1));
    sleepers.into_iter().for_each(sys::wait);
    [bed, alarm].into_iter().for_each(sys::close);
    took
}

/// `n` forks and waits by a process that has written to so much memory.
pub fn fork_with(n: u64, mebibytes: usize) -> Duration {
    let memory = sys::Mapping::anonymous(mebibytes << 20);
    memory.write_each(PAGE);
    timed(|| (0..n).for_each(|_| sys::wait(sys::fork(|| {}))))
}

/// Two processes that compute at the same time, `n` steps each.
pub fn two_processes(n: u64) -> Duration {
    timed(|| [(); 2].map(|()| sys::fork(|| compute(n))).into_iter().for_each(sys::wait))
}

/// Two threads likewise.
pub fn two_threads(n: u64) -> Duration {
    timed(|| [(); 2].map(|()| sys::Thread::start(move || compute(n))).into_iter().for_each(sys::Thread::join))
}

/// Steps of some microseconds that need nothing but a processor.
fn compute(steps: u64) {
    let mut value = 1u64;
    for _ in 0..steps * 1000 {
        value = black_box(value).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    black_box(value);
}
