//! Guests that misbehave, and instances that end badly: what a guest may take is bounded, and nothing is left behind.

use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use lodger_tests::backend::{self, Backend};
use lodger_tests::run::{LIMIT, Ran, Running, first_line, lodger, run, words};
use lodger_tests::{demos, roots};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// Tells this program to watch over a lodger instead of testing: see [`keep`].
const KEEPER: &str = "LODGER_TESTS_KEEPER";

type Test = fn(Backend) -> Result<()>;

fn main() -> ExitCode {
    if std::env::var_os(KEEPER).is_some() {
        return keep();
    }
    let each: &[(&str, Test)] = &[
        ("guest_that_eats_memory", guest_that_eats_memory),
        ("guest_that_has_the_kernel_eat_memory", guest_that_has_the_kernel_eat_memory),
        ("guest_that_hoards_kernel_objects", guest_that_hoards_kernel_objects),
        ("guest_that_forks_much", guest_that_forks_much),
        ("garbage_calls_do_no_harm", garbage_calls_do_no_harm),
        ("nothing_is_left_after_kill", nothing_is_left_after_kill),
        ("nothing_is_left_after_the_end", nothing_is_left_after_the_end),
    ];
    backend::run("hostile", |trials| {
        each.iter().for_each(|(name, body)| trials.each(name, *body));
        trials.once("tt::nothing_is_left_of_a_wrecked_kernel", nothing_is_left_of_a_wrecked_kernel);
    })
}

/// Runs a command of the root with `/abi`.
fn abi(on: Backend, flags: &[&str], command: &[&str]) -> Result<Ran> {
    let root = roots::abi()?;
    run(&words(on, root.path(), flags, command))
}

fn guest_that_eats_memory(on: Backend) -> Result<()> {
    let ran = abi(on, &["--mem", "128M"], &["/abi", "eat-memory"])?;
    ensure!(!ran.late, "it ends in time");
    // Refused, or killed for want of memory; in no case lodger's own failure.
    ensure!([0, 128 + 9, 128 + 7, 128 + 11].contains(&ran.status), "status {}: {}", ran.status, ran.err);
    Ok(())
}

/// What a guest makes the kernel keep for it is bounded: it is killed, and lodger stays small meanwhile.
fn guest_that_hoards_kernel_objects(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let command = lodger(&words(on, root.path(), &["--mem", "64M"], &["/abi", "hoard"]))?;
    let running = Running::start(command, Vec::new())?;
    let largest_kib = running.watch_memory();
    let ran = running.wait(LIMIT)?;
    ensure!(!ran.late && [0, 128 + 9].contains(&ran.status), "status {}: {}", ran.status, ran.err);
    let largest_kib = largest_kib.join().unwrap_or(u64::MAX);
    ensure!(largest_kib < 160 << 10, "lodger grew to {largest_kib} KiB");
    Ok(())
}

fn guest_that_forks_much(on: Backend) -> Result<()> {
    let ran = abi(on, &["--mem", "128M"], &["/abi", "fork-bomb", "200"])?.expect(0)?;
    ensure!(ran.text().starts_with("made "), "{}", ran.text());
    Ok(())
}

fn garbage_calls_do_no_harm(on: Backend) -> Result<()> {
    for seed in ["1", "2"] {
        let root = roots::abi()?;
        let flags = ["--env", "ABI_IN_LODGER=1"];
        let command = lodger(&words(on, root.path(), &flags, &["/abi", "garbage", seed]))?;
        let ran = Running::start(command, Vec::new())?.wait(Duration::from_secs(120))?.expect(0)?;
        ensure!(ran.text().starts_with("garbage: "), "{}", ran.text());
        ensure!(!ran.err.contains("panicked"), "{}", ran.err);
    }
    Ok(())
}

/// Runs this program again as a keeper of `lodger WORDS`: it adopts whatever lodger leaves behind.
fn kept(words: &[&str], how: &str) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).env(KEEPER, how).env("LODGER_BIN", lodger_tests::lodger()?).stdout(Stdio::piped());
    Running::start(command, Vec::new())?.wait(LIMIT)?.expect(0).map(drop)
}

/// The keeper: as a subreaper starts lodger with these words, kills it after its first output when told to, and
/// succeeds if all of its processes end within five seconds.
fn keep() -> ExitCode {
    match keep_it() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn keep_it() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let out = tempfile::NamedTempFile::new()?;
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let mut command = Command::new(lodger_tests::lodger()?);
    let mut child = command.args(words).stdin(Stdio::null()).stdout(out.reopen()?).spawn()?;
    first_line(out.path())?;
    if std::env::var_os(KEEPER).is_some_and(|how| how == "kill") {
        child.kill()?;
    }
    child.wait()?;
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(()),
            Ok(WaitStatus::StillAlive) if Instant::now() > end => {
                let left = fs::read_to_string("/proc/thread-self/children")?;
                for pid in left.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL)?;
                }
                bail!("processes were left behind: {left}");
            }
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(10)),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn nothing_is_left_after_kill(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let script = "sleep 100 & sleep 100 & echo ready; while :; do :; done";
    kept(&words(on, root.path(), &[], &["/bin/sh", "-c", script]), "kill")
}

fn nothing_is_left_after_the_end(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    kept(&words(on, root.path(), &[], &["/bin/sh", "-c", "sleep 100 & echo ready"]), "wait")
}

/// A guest writes over the kernel: lodger ends, and so do the traced threads.
fn nothing_is_left_of_a_wrecked_kernel() -> Result<()> {
    let root = demos()?;
    kept(&words(Backend::Tt, &root, &[], &["/demo", "scene", "crash"]), "wait")
}

/// RAM that runs out while the kernel copies is no bad address: who takes it is killed, and who else waits goes on.
fn guest_that_has_the_kernel_eat_memory(on: Backend) -> Result<()> {
    let ran = abi(on, &["--mem", "64M"], &["/abi", "eat-by-read"])?;
    ensure!(ran.status == 128 + 9, "status {}: {}{}", ran.status, ran.text(), ran.err);
    Ok(())
}
