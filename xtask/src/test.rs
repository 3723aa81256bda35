//! `cargo xtask test`: unit tests, then whole systems through the real command line.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Profile};
use crate::demo;
use crate::guest;

/// How to test.
#[derive(clap::Args)]
pub struct Args {
    /// Only unit tests: needs neither the userland nor a built lodger
    #[arg(long)]
    unit: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Runs the tests and prints the closing line; fails if a test did.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let mut count = unit_tests(args)?;
    if !args.unit {
        let system = system_tests(args)?;
        count = Count { passed: count.passed + system.passed, failed: count.failed + system.failed };
    }
    println!("{} passed, {} failed in {} s", count.passed, count.failed, start.elapsed().as_secs());
    if count.failed > 0 {
        bail!("{} tests failed", count.failed);
    }
    Ok(())
}

fn unit_tests(args: &Args) -> Result<Count> {
    let packages = ["--workspace", "--exclude", "lodger-tests"];
    let nextest =
        cargo::cargo(&["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let mut command = if nextest.is_ok_and(|status| status.success()) {
        let mut command = cargo::cargo(&["nextest", "run", "--no-fail-fast", "--no-tests", "pass"]);
        command.args(["--status-level", "fail", "--final-status-level", "fail"]).args(packages);
        command
    } else {
        let mut command = cargo::cargo(&["test", "--no-fail-fast", "--bins", "--lib", "--tests"]);
        command.args(packages);
        command
    };
    command.args(&args.filter);
    counted(&mut command)
}

fn system_tests(args: &Args) -> Result<Count> {
    let lodger = cargo::build_lodger(Profile::Release)?;
    let userland = guest::build(&guest::Options::default())?;
    let demos = demo::build()?;
    let mut command = cargo::cargo(&["test", "--no-fail-fast", "--package", "lodger-tests"]);
    command.env("LODGER_BIN", lodger).env("LODGER_USERLAND", userland.dir);
    command.env("LODGER_DEMOS", demos.root);
    command.env("LODGER_ABI", build_abi("abi", "static")?);
    command.env("LODGER_ABI_PIE", build_abi("abi-pie", "pie")?);
    command.arg("--").args(&args.filter);
    counted(&mut command)
}

/// Builds the ABI cases as a static program of that relocation model; their folder is outside the workspace, with its own
/// flags.
fn build_abi(folder: &str, model: &str) -> Result<PathBuf> {
    let package = cargo::root().join("tests/abi");
    let target = cargo::target_dir().join(folder);
    let mut command = cargo::cargo(&["build", "--release", "--quiet", "--target", cargo::TARGET]);
    command.current_dir(package).arg("--target-dir").arg(&target);
    command.env("RUSTFLAGS", format!("-C target-feature=+crt-static -C relocation-model={model}"));
    cargo::check(&mut command)?;
    Ok(target.join(cargo::TARGET).join("release/abi"))
}

/// Runs a test command, passes its output on, and adds up the summaries in it. A command that fails without having
/// counted a failed test (it did not compile, it crashed) is an error.
fn counted(command: &mut Command) -> Result<Count> {
    let shown = cargo::display(command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| anyhow::anyhow!("cannot start {shown}: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let count = std::thread::scope(|scope| {
        let err =
            scope.spawn(move || err.map_or(Ok(Count::default()), |err| pass_on(err, std::io::stderr())));
        let out = out.map_or(Ok(Count::default()), |out| pass_on(out, std::io::stdout()))?;
        let err = err.join().map_err(|_| anyhow::anyhow!("a reader died"))??;
        anyhow::Ok(Count { passed: out.passed + err.passed, failed: out.failed + err.failed })
    })?;
    let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    if !status.success() && count.failed == 0 {
        bail!("{shown} failed ({status})");
    }
    Ok(count)
}

fn pass_on(from: impl Read, mut to: impl Write) -> Result<Count> {
    let mut count = Count::default();
    for line in BufReader::new(from).split(b'\n') {
        let line = line?;
        to.write_all(&line)?;
        to.write_all(b"\n")?;
        if let Some(found) = summary(&String::from_utf8_lossy(&line)) {
            count = Count { passed: count.passed + found.passed, failed: count.failed + found.failed };
        }
    }
    Ok(count)
}

/// Reads the summary line of libtest (`test result: ok. 3 passed; 0 failed; ...`) or of nextest
/// (`Summary [0.1s] 3 tests run: 2 passed, 1 failed, 0 skipped`).
fn summary(line: &str) -> Option<Count> {
    // What nextest shows of a failed test is indented, and has a summary of its own.
    let of_nextest = line.trim_start().starts_with("Summary ") && line.contains("tests run:");
    if !of_nextest && !line.starts_with("test result: ") {
        return None;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let before = |kind: &str| -> u64 {
        let found = words.windows(2).find(|pair| pair[1].trim_end_matches([',', ';']) == kind);
        found.and_then(|pair| pair[0].trim_start_matches('(').parse().ok()).unwrap_or(0)
    };
    Some(Count { passed: before("passed"), failed: before("failed") + before("timed") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_runners_are_read() {
        let libtest = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!(summary(libtest), Some(Count { passed: 12, failed: 3 }));
        let nextest = "     Summary [   0.011s] 7 tests run: 5 passed (1 slow), 2 failed, 4 skipped";
        assert_eq!(summary(nextest), Some(Count { passed: 5, failed: 2 }));
        assert_eq!(summary("test a ... ok"), None);
    }
}
