//! What is measured inside the program. What each case is for stands in the table of rows of `xtask`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::processes::{Member, ring};
use crate::sys;

const PAGE: usize = 4096;
/// Pages of one mapping in the cases that touch pages.
const PAGES: u64 = 1024;

/// One thing to measure.
pub struct Case {
    /// Its name, which the table of rows knows too.
    pub name: &'static str,
    /// Does it `n` times and says how long that took; what comes before and after is not counted.
    pub run: fn(n: u64) -> Duration,
}

/// All of them.
pub const ALL: &[Case] = &[
    Case { name: "getpid", run: getpid },
    Case { name: "clock", run: clock },
    Case { name: "pread-4k", run: pread },
    Case { name: "stat", run: stat },
    Case { name: "mmap-munmap", run: mmap_munmap },
    Case { name: "page-touch", run: page_touch },
    Case { name: "file-page", run: file_page },
    Case { name: "fork-wait", run: fork_wait },
    Case { name: "fork-exec-wait", run: fork_exec_wait },
    Case { name: "pipe-ping-pong", run: pipe_ping_pong },
    Case { name: "futex-ping-pong", run: futex_ping_pong },
    Case { name: "switch-2", run: |n| ring(n, 2, Member::Forked) },
    Case { name: "switch-8", run: |n| ring(n, 8, Member::Forked) },
    Case { name: "switch-64", run: |n| ring(n, 64, Member::Forked) },
    Case { name: "switch-8-exec", run: |n| ring(n, 8, Member::Executed) },
];

/// How long `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn getpid(n: u64) -> Duration {
    timed(|| {
        for _ in 0..n {
            black_box(sys::getpid());
        }
    })
}

fn clock(n: u64) -> Duration {
    timed(|| {
        for _ in 0..n {
            black_box(Instant::now());
        }
    })
}

fn pread(n: u64) -> Duration {
    let file = sys::Scratch::new(PAGE);
    let mut buf = [0; PAGE];
    timed(|| (0..n).for_each(|_| file.read(black_box(&mut buf))))
}

fn stat(n: u64) -> Duration {
    let file = sys::Scratch::new(PAGE);
    timed(|| (0..n).for_each(|_| assert_eq!(black_box(file.stat_size()), PAGE as i64, "stat")))
}

fn mmap_munmap(n: u64) -> Duration {
    timed(|| (0..n).for_each(|_| drop(black_box(sys::Mapping::anonymous(PAGE)))))
}

/// The mapping counts, as a touch is no use without one.
fn page_touch(n: u64) -> Duration {
    timed(|| in_chunks(n, |pages| sys::Mapping::anonymous(pages * PAGE).write_each(PAGE)))
}

/// Likewise with pages of a file that is in memory, read through a private mapping.
fn file_page(n: u64) -> Duration {
    let file = sys::Scratch::new(PAGES as usize * PAGE);
    timed(|| in_chunks(n, |pages| sys::Mapping::of(&file, pages * PAGE).read_each(PAGE)))
}

/// `n` pages, [`PAGES`] at a time.
fn in_chunks(n: u64, work: impl Fn(usize)) {
    let mut left = n;
    while left > 0 {
        let now = left.min(PAGES);
        work(now as usize);
        left -= now;
    }
}

fn fork_wait(n: u64) -> Duration {
    timed(|| (0..n).for_each(|_| sys::wait(sys::fork(|| {}))))
}

fn fork_exec_wait(n: u64) -> Duration {
    timed(|| (0..n).for_each(|_| sys::wait(sys::fork(|| sys::exec_self(c"exit")))))
}

fn pipe_ping_pong(n: u64) -> Duration {
    let (there, back) = (sys::pipe(), sys::pipe());
    let child = sys::fork(|| (0..n).for_each(|_| sys::put(back.1, sys::get(there.0))));
    let took = timed(|| {
        for _ in 0..n {
            sys::put(there.1, 1);
            sys::get(back.0);
        }
    });
    sys::wait(child);
    [there.0, there.1, back.0, back.1].into_iter().for_each(sys::close);
    took
}

/// One word in memory that two processes share says whose turn it is.
fn futex_ping_pong(n: u64) -> Duration {
    let shared = sys::Mapping::shared(PAGE);
    let turn = shared.word();
    let play = |mine: u32, other: u32| {
        while turn.load(Ordering::Acquire) != mine {
            sys::futex_wait(turn, other);
        }
        hand_over(turn, other);
    };
    let child = sys::fork(|| (0..n).for_each(|_| play(1, 0)));
    let took = timed(|| {
        (0..n).for_each(|_| play(0, 1));
        while turn.load(Ordering::Acquire) != 0 {
            sys::futex_wait(turn, 1);
        }
    });
    sys::wait(child);
    took
}

fn hand_over(turn: &AtomicU32, to: u32) {
    turn.store(to, Ordering::Release);
    sys::futex_wake(turn);
}
