//! What is measured inside the program. What each case is for stands in the table of rows of `xtask`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::processes::{Member, ring};
use crate::{crowd, files, signals, streams, sys};

pub const PAGE: usize = 4096;
/// Pages of one mapping in the cases that touch pages.
const PAGES: u64 = 1024;

/// One thing to measure.
pub struct Case {
    /// Its name, which the table of rows knows too.
    pub name: &'static str,
    /// Does it `n` times and says how long that took; what comes before and after is not counted.
    pub run: fn(n: u64) -> Duration,
    /// How often that is.
    pub repeat: Repeat,
}

/// How often a sample repeats an operation.
#[derive(Clone, Copy)]
pub enum Repeat {
    /// Until the clock does not matter.
    AsNeeded,
    /// So often: what comes before it takes so long that it is no use to try how often would be best.
    Exactly(u64),
}

/// All of them.
pub const ALL: &[Case] = &[
    case("getpid", getpid),
    case("clock", clock),
    case("write-null", files::write_null),
    case("pread-4k", pread),
    case("stat", stat),
    case("open-close", files::open_close),
    case("mmap-munmap", mmap_munmap),
    case("page-touch", page_touch),
    case("file-page", file_page),
    case("write-4k", files::write),
    case("create-unlink", files::create_unlink),
    case("rename", files::rename),
    case("list-100", files::list),
    case("fork-wait", fork_wait),
    case("fork-exec-wait", fork_exec_wait),
    case("posix-spawn", |n| timed(|| (0..n).for_each(|_| sys::wait(sys::spawn_self(c"exit"))))),
    case("thread", |n| timed(|| (0..n).for_each(|_| sys::Thread::start(nothing).join()))),
    case("two-processes", crowd::two_processes),
    case("two-threads", crowd::two_threads),
    case("pipe-ping-pong", pipe_ping_pong),
    case("futex-ping-pong", futex_ping_pong),
    case("signal-self", signals::to_self),
    case("segv-handler", signals::segv),
    case("pipe-64k", streams::pipe),
    case("socket-64k", streams::socket),
    case("switch-2", |n| ring(n, 2, Member::Forked)),
    case("switch-8", |n| ring(n, 8, Member::Forked)),
    case("switch-64", |n| ring(n, 64, Member::Forked)),
    case("switch-8-exec", |n| ring(n, 8, Member::Executed)),
    costly("switch-10", 2000, |n| ring(n, 10, Member::Forked)),
    costly("switch-100", 2000, |n| ring(n, 100, Member::Forked)),
    costly("switch-1000", 2000, |n| ring(n, 1000, Member::Forked)),
    costly("fork-among-1", 20, |n| crowd::fork_among(n, 1)),
    costly("fork-among-10", 20, |n| crowd::fork_among(n, 10)),
    costly("fork-among-100", 20, |n| crowd::fork_among(n, 100)),
    costly("fork-among-1000", 20, |n| crowd::fork_among(n, 1000)),
    costly("fork-1m", 10, |n| crowd::fork_with(n, 1)),
    costly("fork-16m", 10, |n| crowd::fork_with(n, 16)),
    costly("fork-256m", 10, |n| crowd::fork_with(n, 256)),
    costly("dir-100k", 100_000, files::crowded),
    costly("dir-100k-list", 100_000, files::list_crowded),
];

const fn case(name: &'static str, run: fn(u64) -> Duration) -> Case {
    Case { name, run, repeat: Repeat::AsNeeded }
}

const fn costly(name: &'static str, n: u64, run: fn(u64) -> Duration) -> Case {
    Case { name, run, repeat: Repeat::Exactly(n) }
}

/// How long `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// What a thread does whose life alone is of interest.
fn nothing() {}

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
