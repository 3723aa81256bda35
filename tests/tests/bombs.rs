//! Guests that make as much of one kind of thing as they can: they are refused more or killed, the instance goes on as if
//! nothing had been, and lodger stays small meanwhile. What each does is in `tests/abi/src/bombs`.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, ensure};
use lodger_tests::backend::{self, Backend};
use lodger_tests::roots;
use lodger_tests::run::{Running, lodger, words};

/// The guest's memory, and what lodger may have of its own then: half of that again for what guests make it keep, stacks of
/// the kernel, and its own.
const MEMORY: &str = "64M";
const MOST_KIB: u64 = 128 << 10;

/// A guest looks after its bomb for 40 seconds at most, and is through with all else soon after.
const LIMIT: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    backend::run("bombs", |trials| match names() {
        Ok(names) => {
            for name in names {
                let body = name.clone();
                trials.on(places(&name), &name, move |on| bomb(on, &[], &body).map(drop));
            }
            trials.on(&[Backend::Skas, Backend::Tt], "forks-of-few", forks_of_few);
        }
        Err(error) => trials.once("bombs", || Err(error)),
    })
}

/// Where a bomb is tried: on TT a thread takes the host milliseconds, and thousands of them too long.
fn places(name: &str) -> &'static [Backend] {
    if name == "futexes" { &[Backend::Skas] } else { &[Backend::Skas, Backend::Tt] }
}

/// The bombs that `/abi` has.
fn names() -> Result<Vec<String>> {
    let list = Command::new(lodger_tests::abi()?).arg("bomb").output()?;
    let names: Vec<String> = String::from_utf8(list.stdout)?.lines().map(str::to_owned).collect();
    ensure!(!names.is_empty(), "/abi knows no bombs");
    Ok(names)
}

/// Runs a bomb; gives what it said.
fn bomb(on: Backend, flags: &[&str], name: &str) -> Result<String> {
    let root = roots::abi()?;
    let flags = [&["--mem", MEMORY], flags].concat();
    let command = lodger(&words(on, root.path(), &flags, &["/abi", "bomb", name]))?;
    let running = Running::start(command, Vec::new())?;
    let largest_kib = running.watch_memory();
    let ran = running.wait(LIMIT)?;
    ensure!(!ran.late && ran.status == 0, "status {}: {}{}", ran.status, ran.text(), ran.err);
    ensure!(!ran.err.contains("panicked"), "{}", ran.err);
    let largest_kib = largest_kib.join().unwrap_or(u64::MAX);
    ensure!(largest_kib < MOST_KIB, "lodger grew to {largest_kib} KiB: {}", ran.text());
    Ok(ran.text())
}

/// With few processes there is memory for all, and forks fail.
fn forks_of_few(on: Backend) -> Result<()> {
    let said = bomb(on, &["--pids", "50"], "forks")?;
    ensure!(said.contains("forks, then") && said.contains("errno 11"), "{said}");
    Ok(())
}
