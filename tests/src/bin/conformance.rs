//! `conformance CACHE REPORT [SUITE]` and `conformance --sample CACHE`: runs the suites natively and in a guest, and prints
//! both counts and what differs. The first, with all suites, writes the report too. Called by `cargo xtask`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lodger_tests::conformance::{self, Extent};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut words: VecDeque<OsString> = std::env::args_os().skip(1).collect();
    let usage = "usage: conformance CACHE REPORT [SUITE] | conformance --sample CACHE";
    let extent = match words.front().is_some_and(|word| word == "--sample") {
        true => Extent::Sample,
        false => Extent::All,
    };
    if extent == Extent::Sample {
        words.pop_front();
    }
    let cache = std::path::absolute(words.pop_front().context(usage)?)?;
    let report = words.pop_front();
    let only = words.pop_front().map(|word| word.to_string_lossy().into_owned());
    let scores = conformance::run(&cache, only.as_deref(), extent)?;
    let text = conformance::report(&scores);
    println!("{text}");
    if let (Some(report), None) = (report, only) {
        std::fs::write(&report, text).with_context(|| format!("cannot write {}", report.display()))?;
    }
    match conformance::unexplained(&scores) {
        0 => Ok(()),
        cases => bail!("{cases} cases pass natively and not in a guest"),
    }
}
