//! `cargo xtask fuzz`: what reads data of others, and the system calls, under libFuzzer; or with the inputs that are kept.
//!
//! The targets are in `tests/fuzz`. Coverage is a pass of any stable compiler, so all that libFuzzer needs beside cargo is a
//! C++ compiler, for its own code.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// What to try, and for how long.
#[derive(clap::Args)]
#[command(after_help = "\
Inputs that lead to new code are kept in target/fuzz/corpus/TARGET, where the next run begins; what fails is written to
tests/fuzz/crashes/TARGET, and is tried again by every replay. One input again, with the calls it makes:

  LODGER_FUZZ=TARGET LODGER_FUZZ_TRACE=1 target/fuzz/x86_64-unknown-linux-gnu/release/fuzz FILE

Exits 1 if there is a fault.")]
pub struct Args {
    /// Only this target; all one after the other without it
    target: Option<String>,
    /// Seconds for each
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time: u64,
    /// Without libFuzzer: the inputs that are kept, then changes of them for as long as --time says
    #[arg(long)]
    replay: bool,
    /// The most memory of a target, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    memory: u64,
}

/// What `cargo xtask ci` runs: what is kept, and one change of it for each target but `native`, so that it says the same every
/// time.
pub fn sample() -> Result<()> {
    replay(None, 0)
}

/// Runs them.
pub fn run(args: &Args) -> Result<()> {
    let targets = targets()?;
    if let Some(wanted) = &args.target
        && !targets.contains(wanted)
    {
        bail!("there is no target `{wanted}`; there are {}", targets.join(", "));
    }
    if args.replay {
        return replay(args.target.as_deref(), args.time);
    }
    let program = build()?;
    let mut failed = Vec::new();
    for target in targets.iter().filter(|name| args.target.as_ref().is_none_or(|wanted| wanted == *name)) {
        if !fuzz(&program, target, args)? {
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("faults in {}", failed.join(", "));
    }
    println!("fuzz: no faults");
    Ok(())
}

fn package() -> PathBuf {
    cargo::root().join("tests/fuzz")
}

/// The names of all targets: each has a corpus.
fn targets() -> Result<Vec<String>> {
    let folders = fs::read_dir(package().join("corpus")).context("tests/fuzz/corpus cannot be read")?;
    let names = folders.map(|folder| Ok(folder?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

/// Runs what is kept, and changes of it.
fn replay(target: Option<&str>, seconds: u64) -> Result<()> {
    let mut command = cargo::cargo(&["test", "--quiet", "--test", "replay"]);
    command.current_dir(package()).env("CARGO_TARGET_DIR", cargo::target_dir().join("fuzz"));
    command.env("LODGER_FUZZ_SECONDS", seconds.to_string());
    if let Some(target) = target {
        command.args(["--", "--exact", target]);
    }
    cargo::check(&mut command)
}

/// What makes the compiler count what is executed, and tell of comparisons.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds the program of libFuzzer.
fn build() -> Result<PathBuf> {
    let compiler = Command::new("c++").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !compiler.is_ok_and(|status| status.success()) {
        bail!(
            "libFuzzer needs a C++ compiler: install g++, or try what is kept with `cargo xtask fuzz --replay`"
        );
    }
    let dir = cargo::target_dir().join("fuzz");
    let mut command = cargo::cargo(&["build", "--release", "--features", "libfuzzer", "--bin", "fuzz"]);
    // With a target of its own, what runs while it is built is not counted.
    command.args(["--target", cargo::TARGET]).current_dir(package());
    command.env("CARGO_TARGET_DIR", &dir).env("RUSTFLAGS", COVERAGE.join(" "));
    cargo::check(&mut command)?;
    Ok(dir.join(cargo::TARGET).join("release/fuzz"))
}

/// Runs one target until its time is over or something fails, and says what came of it.
fn fuzz(program: &Path, target: &str, args: &Args) -> Result<bool> {
    let grown = cargo::target_dir().join("fuzz/corpus").join(target);
    let crashes = package().join("crashes").join(target);
    for folder in [&grown, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command.env("LODGER_FUZZ", target).arg(&grown).arg(package().join("corpus").join(target)).arg(&crashes);
    command.arg(format!("-artifact_prefix={}/", crashes.display()));
    command.arg(format!("-max_total_time={}", args.time)).arg(format!("-rss_limit_mb={}", args.memory));
    command.args(["-timeout=60", "-print_final_stats=1"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().context("cannot start the fuzzer")?;
    let output = child.stderr.take().map(BufReader::new);
    let mut report = Report::new(target);
    for line in output.into_iter().flat_map(|output| output.split(b'\n')) {
        report.take(&String::from_utf8_lossy(&line?));
    }
    let passed = child.wait()?.success();
    // Each goes only where it is empty: where nothing failed, now or before.
    let _ = fs::remove_dir(&crashes);
    let _ = fs::remove_dir(package().join("crashes"));
    report.end(passed, start.elapsed().as_secs());
    Ok(passed)
}

/// What libFuzzer says, cut down to what matters.
struct Report<'a> {
    target: &'a str,
    watched: bool,
    stats: BTreeMap<String, String>,
    /// The last lines, for when it fails.
    last: Vec<String>,
}

impl<'a> Report<'a> {
    fn new(target: &'a str) -> Report<'a> {
        Report { target, watched: std::io::stderr().is_terminal(), stats: BTreeMap::new(), last: Vec::new() }
    }

    /// A line: `#123 NEW cov: 45 ...`, `stat::name: 67`, or what a panic says.
    fn take(&mut self, line: &str) {
        if let Some((name, value)) = line.strip_prefix("stat::").and_then(|stat| stat.split_once(':')) {
            self.stats.insert(name.into(), value.trim().into());
        } else if line.starts_with('#') {
            let words: Vec<&str> = line.split_whitespace().collect();
            for name in ["cov", "corp"] {
                if let Some(pair) = words.windows(2).find(|pair| pair[0].strip_suffix(':') == Some(name)) {
                    self.stats.insert(name.into(), pair[1].into());
                }
            }
            if self.watched {
                eprint!("\r{}: {} executions, coverage {} ", self.target, words[0], self.stat("cov"));
                let _ = std::io::stderr().flush();
            }
        } else if !line.starts_with("INFO:") && !line.starts_with("WARNING: Failed to find function") {
            self.last.push(line.into());
            if self.last.len() > 200 {
                self.last.remove(0);
            }
        }
    }

    fn stat(&self, name: &str) -> &str {
        self.stats.get(name).map_or("0", |value| value.as_str())
    }

    fn end(&self, passed: bool, seconds: u64) {
        if self.watched {
            eprint!("\r\x1b[K");
        }
        if !passed {
            println!("{}", self.last.join("\n"));
        }
        println!(
            "{:<12} {:>9} executions in {seconds} s, coverage {}, {} inputs, {} MiB: {}",
            self.target,
            self.stat("number_of_executed_units"),
            self.stat("cov"),
            self.stat("corp"),
            self.stat("peak_rss_mb"),
            if passed { "no fault" } else { "FAULT" }
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let mut report = Report::new("x");
        report.take("#39361\tDONE   cov: 6469 ft: 9362 corp: 263/96Kb lim: 828 exec/s: 3027 rss: 47Mb");
        report.take("stat::number_of_executed_units: 39361");
        report.take("thread 'x' panicked");
        assert_eq!((report.stat("cov"), report.stat("corp")), ("6469", "263/96Kb"));
        assert_eq!(report.stat("number_of_executed_units"), "39361");
        assert_eq!(report.last, ["thread 'x' panicked"]);
    }
}
