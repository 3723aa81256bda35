//! Runs what nobody here wrote, natively and in a guest, and prints both counts and what differs. Called by `cargo xtask`:
//!
//! * `conformance suites CACHE REPORT BACKEND [SUITE]` updates the report; those that are run inside a Debian find its root
//!   in `$LODGER_DEBIAN`;
//! * `conformance sample CACHE` runs a quick sample of some suites;
//! * `conformance debian CACHE ROOT REPORT [TASK]` does what people do in a Debian, and without TASK writes the report;
//! * `conformance smoke CACHE ROOT` does the shortest of that on each backend;
//! * `conformance trinity CACHE ROOT BACKEND MINUTES` makes random calls for so long as each kind of user.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lodger_tests::backend::Backend;
use lodger_tests::conformance::{self, Extent, debian, fuzz};

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
    let mut next = || words.pop_front().context("see the top of tests/src/bin/conformance.rs for the words");
    let text = |word: OsString| word.to_string_lossy().into_owned();
    let verb = text(next()?);
    let cache = std::path::absolute(next()?)?;
    std::fs::create_dir_all(&cache)?;
    match verb.as_str() {
        "suites" => {
            let report = PathBuf::from(next()?);
            let on = backend(&next()?);
            suites(&cache, Some(&report), next().ok().map(text).as_deref(), Extent::All, on)
        }
        "sample" => suites(&cache, None, None, Extent::Sample, Backend::Skas),
        "debian" => {
            let (root, report) = (PathBuf::from(next()?), PathBuf::from(next()?));
            tasks(&cache, &root, &report, next().ok().map(text).as_deref())
        }
        "smoke" => {
            let root = PathBuf::from(next()?);
            let on = [Backend::Skas, Backend::Tt];
            failed(&on.map(|on| (on, debian::run(debian::SMOKE, on, &root, &cache, ""))))
        }
        "trinity" => {
            let (root, on) = (PathBuf::from(next()?), backend(&next()?));
            let minutes = text(next()?).parse().context("how many minutes?")?;
            for (who, user) in fuzz::USERS {
                let made = fuzz::run(on, &root, user, minutes);
                println!(
                    "trinity on {}, as {who}: {}",
                    on.flag(),
                    made.with_context(|| format!("as {who}"))?
                );
            }
            Ok(())
        }
        _ => bail!("what is `{verb}`?"),
    }
}

fn backend(name: &OsString) -> Backend {
    if name == "tt" { Backend::Tt } else { Backend::Skas }
}

fn suites(
    cache: &Path,
    report: Option<&Path>,
    only: Option<&str>,
    extent: Extent,
    on: Backend,
) -> Result<()> {
    let scores = conformance::run(cache, only, extent, on)?;
    if scores.is_empty() {
        bail!("there is no such suite");
    }
    println!("{}", conformance::updated("", &scores));
    if let Some(report) = report {
        let old = std::fs::read_to_string(report).unwrap_or_default();
        let new = conformance::updated(&old, &scores);
        std::fs::write(report, new).with_context(|| format!("cannot write {}", report.display()))?;
    }
    match conformance::unexplained(&scores) {
        0 => Ok(()),
        cases => bail!("{cases} cases pass natively and not in a guest"),
    }
}

fn tasks(cache: &Path, root: &Path, report: &Path, only: Option<&str>) -> Result<()> {
    let done = [Backend::Skas, Backend::Tt]
        .map(|on| (on, debian::run(debian::TASKS, on, root, cache, only.unwrap_or_default())));
    let text = debian::report(&done);
    println!("{text}");
    if only.is_none() {
        std::fs::write(report, text).with_context(|| format!("cannot write {}", report.display()))?;
    }
    failed(&done)
}

fn failed(done: &[(Backend, debian::Done)]) -> Result<()> {
    let failed = done.iter().flat_map(|(_, tasks)| tasks).filter(|(_, result)| result.is_err()).count();
    match (failed, done.iter().any(|(_, tasks)| !tasks.is_empty())) {
        (_, false) => bail!("there is no such task"),
        (0, true) => Ok(()),
        (failed, true) => bail!("{failed} tasks failed"),
    }
}
