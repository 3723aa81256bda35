//! Several processes at once: a ring that passes a byte round, and sleepers.

use std::io::Read;
use std::time::Duration;

use crate::cases::timed;
use crate::sys;

/// The byte that goes round, and the one that ends the ring.
const TOKEN: u8 = 1;
const END: u8 = 0;

/// What the members of a ring are, beside the first one.
#[derive(Clone, Copy)]
pub enum Member {
    /// Copies of the first one, at the same addresses.
    Forked,
    /// Programs of their own.
    Executed,
}

/// `n` hops round a ring of `members` processes, as lmbench's `lat_ctx` has it; each hop is a write, a switch to the
/// next process and its read. One round before the clock starts brings all of them to their first read.
pub fn ring(n: u64, members: usize, member: Member) -> Duration {
    let (mut input, first) = sys::pipe();
    let mut children = Vec::with_capacity(members);
    // The first process keeps two ends, however long the ring is.
    for _ in 1..members {
        let (next, output) = sys::pipe();
        children.push(sys::fork(|| match member {
            Member::Forked => relay(input, output),
            Member::Executed => {
                sys::become_stream(input, 0);
                sys::become_stream(output, 1);
                sys::exec_self(c"relay");
            }
        }));
        sys::close(input);
        sys::close(output);
        input = next;
    }
    let round = |byte| {
        sys::put(first, byte);
        sys::get(input);
    };
    round(TOKEN);
    let rounds = n.div_ceil(members as u64);
    let took = timed(|| (0..rounds).for_each(|_| round(TOKEN)));
    round(END);
    children.into_iter().for_each(sys::wait);
    sys::close(first);
    sys::close(input);
    took.mul_f64(n as f64 / (rounds * members as u64) as f64)
}

/// Passes bytes on, the one that ends the ring last.
pub fn relay(input: i32, output: i32) {
    loop {
        let byte = sys::get(input);
        sys::put(output, byte);
        if byte == END {
            return;
        }
    }
}

/// Starts `n` programs that sleep, says so when all do, and ends them when its own input ends.
pub fn sleepers(n: usize) {
    let (up, down) = (sys::pipe(), sys::pipe());
    let children: Vec<i32> = (0..n)
        .map(|_| {
            sys::fork(|| {
                sys::become_stream(down.0, 0);
                sys::become_stream(up.1, 1);
                sys::exec_self(c"sleep");
            })
        })
        .collect();
    for _ in 0..n {
        sys::get(up.0);
    }
    println!("ready");
    // How much comes, and what, does not matter.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    sys::close(down.1);
    children.into_iter().for_each(sys::wait);
}

/// Says on its output that it is there, and sleeps until its input ends.
pub fn sleep() {
    sys::put(1, TOKEN);
    let _ = std::io::stdin().read(&mut [0]);
}

/// Prints, for each process, the first of the list that has the same address space.
pub fn spaces(pids: &[i32]) {
    for pid in pids {
        let first = pids.iter().find(|first| *first == pid || sys::same_space(**first, *pid));
        println!("{}", first.unwrap_or(pid));
    }
}
