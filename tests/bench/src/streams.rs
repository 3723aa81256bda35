//! Cases about how fast bytes get from one process to another.

use std::time::Duration;

use crate::cases::timed;
use crate::sys;

/// What one write gives away.
const CHUNK: usize = 64 << 10;

/// Through a pipe.
pub fn pipe(n: u64) -> Duration {
    carry(n, sys::pipe())
}

/// Through a pair of Unix sockets.
pub fn socket(n: u64) -> Duration {
    carry(n, sys::socket_pair())
}

/// `n` chunks from this process to a child, until the child has them all and has ended.
fn carry(n: u64, (input, output): (i32, i32)) -> Duration {
    let mut buf = vec![1u8; CHUNK];
    let child = sys::fork(|| {
        let mut left = n * CHUNK as u64;
        while left > 0 {
            left -= sys::read_some(input, &mut buf) as u64;
        }
    });
    let chunk = vec![1u8; CHUNK];
    let took = timed(|| {
        (0..n).for_each(|_| sys::write_all(output, &chunk));
        sys::wait(child);
    });
    [input, output].into_iter().for_each(sys::close);
    took
}
