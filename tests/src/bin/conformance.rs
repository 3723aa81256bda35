//! `conformance CACHE REPORT [SUITE]`: runs the suites natively and in a guest, prints both counts and what differs,
//! and writes the report. Called by `cargo xtask conformance`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

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
    let mut words = std::env::args_os().skip(1);
    let usage = "usage: conformance CACHE REPORT [SUITE]";
    let cache = std::path::absolute(PathBuf::from(words.next().context(usage)?))?;
    let report = PathBuf::from(words.next().context(usage)?);
    let only = words.next().map(|word| word.to_string_lossy().into_owned());
    let scores = lodger_tests::conformance::run(&cache, only.as_deref())?;
    let text = lodger_tests::conformance::report(&scores);
    println!("{text}");
    std::fs::write(&report, text).with_context(|| format!("cannot write {}", report.display()))
}
