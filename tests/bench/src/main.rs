//! The program that `cargo xtask bench` and `cargo xtask compare` measure with: one static program, the same natively
//! and in a guest, so that the quotient is the price of the guest.
//!
//! | words | what it does |
//! |---|---|
//! | `run CASE[,CASE...] SAMPLES MS` | prints `NAME NANOSECONDS` for each sample of each case, per operation |
//! | `echo WORDS` | prints the words: the shortest program, whose whole life is measured from outside |
//! | `work NAME SAMPLES PROGRAM WORDS` | prints `NAME NANOSECONDS` for each run of another program |
//! | `rounds` | for each line of standard input, so many children that end at once, and a report |
//! | `sleepers N` | says `ready` when N processes sleep, and ends with its standard input |
//! | `spaces PID...` | prints, for each process, the first of the list that has the same address space |
//! | `exit`, `relay`, `sleep` | what its own children do |
//!
//! A sample repeats an operation until the clock does not matter; the caller says how many milliseconds that takes.

mod cases;
mod crowd;
mod files;
mod processes;
mod rounds;
mod signals;
mod streams;
mod sys;
mod work;

use std::time::Duration;

use cases::{Case, Repeat};

/// Seconds after which a run that hangs ends.
const LIMIT: u32 = 120;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["exit"] => {}
        ["echo", words @ ..] => println!("{}", words.join(" ")),
        ["relay"] => processes::relay(0, 1),
        ["rounds"] => rounds::run(),
        ["sleep"] => processes::sleep(),
        ["sleepers", n] => processes::sleepers(number(n)),
        ["work", name, samples, program, words @ ..] => {
            sys::end_after(LIMIT);
            work::run(name, number(samples), program, words);
        }
        ["spaces", pids @ ..] => processes::spaces(&pids.iter().map(|pid| number(pid)).collect::<Vec<i32>>()),
        ["run", names, samples, ms] => {
            sys::end_after(LIMIT);
            let least = Duration::from_millis(number(ms));
            // All names first: a wrong one must not end a run in its middle.
            let chosen: Vec<&Case> = names.split(',').map(case).collect();
            chosen.into_iter().for_each(|case| measure(case, number(samples), least));
        }
        _ => fail(
            "usage: bench run CASE[,CASE...] SAMPLES MS | work NAME SAMPLES PROGRAM WORDS... | echo WORDS | sleepers N | \
             spaces PID...",
        ),
    }
}

/// Prints the samples of a case, each of which takes about `least`.
fn measure(case: &Case, samples: u32, least: Duration) {
    let n = repetitions(case, least);
    for _ in 0..samples {
        let ns = (case.run)(n).as_nanos() as f64 / n as f64;
        println!("{} {ns:.1}", case.name);
    }
}

/// How many repetitions make a sample.
fn repetitions(case: &Case, least: Duration) -> u64 {
    if let Repeat::Exactly(n) = case.repeat {
        return n;
    }
    let mut n = 1;
    loop {
        let took = (case.run)(n);
        if took >= least || n >= 1 << 24 {
            return n;
        }
        // Grow towards the aim, but not by one noisy measurement.
        let factor = least.as_nanos() / took.as_nanos().max(1) + 1;
        n *= factor.clamp(2, 10) as u64;
    }
}

fn case(name: &str) -> &'static Case {
    let found = cases::ALL.iter().find(|case| case.name == name);
    found.unwrap_or_else(|| fail(&format!("there is no case `{name}`")))
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| fail(&format!("`{word}` is no number that fits")))
}

fn fail(why: &str) -> ! {
    eprintln!("bench: {why}");
    std::process::exit(2)
}
