//! `bench [FILTER] [SAMPLES]`: prints `NAME NANOSECONDS` for each sample of each case, per operation.
//!
//! The same static program runs natively and in a guest, so that the quotient is the price of the guest. A sample repeats
//! an operation often enough for the clock not to matter. `bench echo WORDS` prints the words: the shortest program, whose
//! whole life `cargo xtask bench` measures from outside.

mod sys;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The least that a sample takes.
const SAMPLE: Duration = Duration::from_millis(20);
/// Samples of each case, unless told otherwise.
const SAMPLES: usize = 7;
const PAGE: usize = 4096;

/// One thing to measure.
struct Case {
    name: &'static str,
    /// Does it `n` times and says how long that took; what comes before and after is not counted.
    run: fn(n: u64) -> Duration,
}

const CASES: [Case; 7] = [
    Case { name: "getpid", run: getpid },
    Case { name: "pread-4k", run: pread },
    Case { name: "page-touch", run: page_touch },
    Case { name: "pipe-ping-pong", run: ping_pong },
    Case { name: "fork-wait", run: fork_wait },
    Case { name: "fork-exec-wait", run: fork_exec_wait },
    Case { name: "mmap-munmap", run: mmap_munmap },
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("exit") => return,
        Some("echo") => return println!("{}", words[1..].join(" ")),
        _ => {}
    }
    let filter = words.first().map_or("", String::as_str);
    let samples = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(SAMPLES);
    for case in CASES.iter().filter(|case| case.name.contains(filter)) {
        let n = repetitions(case);
        for _ in 0..samples {
            let ns = (case.run)(n).as_nanos() as f64 / n as f64;
            println!("{} {ns:.1}", case.name);
        }
    }
}

/// How many repetitions make a sample.
fn repetitions(case: &Case) -> u64 {
    let mut n = 1;
    loop {
        let took = (case.run)(n);
        if took >= SAMPLE || n >= 1 << 24 {
            return n;
        }
        // Grow towards the aim, but not by one noisy measurement.
        let factor = SAMPLE.as_nanos() / took.as_nanos().max(1) + 1;
        n *= factor.clamp(2, 10) as u64;
    }
}

fn timed(work: impl FnOnce()) -> Duration {
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

/// 4 KiB of a file in memory: /dev/shm natively, any file in a guest.
fn pread(n: u64) -> Duration {
    let file = sys::Scratch::new(PAGE);
    let mut buf = [0; PAGE];
    timed(|| (0..n).for_each(|_| file.read(black_box(&mut buf))))
}

/// The first write to a page of anonymous memory, 1024 pages a mapping; the mapping counts, as it is no use alone.
fn page_touch(n: u64) -> Duration {
    const PAGES: u64 = 1024;
    let mut left = n;
    timed(|| {
        while left > 0 {
            let now = left.min(PAGES);
            let memory = sys::Mapping::new(now as usize * PAGE);
            memory.touch(PAGE);
            left -= now;
        }
    })
}

fn mmap_munmap(n: u64) -> Duration {
    timed(|| (0..n).for_each(|_| drop(black_box(sys::Mapping::new(PAGE)))))
}

/// A byte to another process and one back.
fn ping_pong(n: u64) -> Duration {
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

fn fork_wait(n: u64) -> Duration {
    timed(|| (0..n).for_each(|_| sys::wait(sys::fork(|| {}))))
}

fn fork_exec_wait(n: u64) -> Duration {
    timed(|| (0..n).for_each(|_| sys::wait(sys::fork(|| sys::exec(c"/proc/self/exe", c"exit")))))
}
