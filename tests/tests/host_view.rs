//! What the backends claim, asked of the host while a guest runs. Of address spaces: on SKAS every guest process has one of
//! its own, with nothing in it of the kernel; on TT the kernel and all guest tasks have one together. Of idle guests: they
//! use no processor. Of sparse memory: it takes few of the host's mappings.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lodger_tests::backend::{self, Backend};
use lodger_tests::host::{self, Mapping};
use lodger_tests::roots;
use lodger_tests::run::{in_the_end, lodger, words};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

/// A shell that waits for a line, with three children that sleep; init is the fifth process.
const SCRIPT: &str = "for i in 1 2 3; do sleep 1000 & done; echo ready; read x";
const GUESTS: usize = 5;
/// How long they may take until all of them run.
const PATIENCE: Duration = Duration::from_secs(10);

const RAM: &str = "/memfd:lodger-ram";
const REQUESTS: &str = "/memfd:lodger-requests";
const DATA: &str = "/memfd:lodger-data";

fn main() -> ExitCode {
    backend::run("host_view", |trials| {
        trials.each("fixed_address_programs", |on| {
            let root = roots::busybox()?;
            claims(on, &words(on, root.path(), &[], &["/bin/sh", "-c", SCRIPT]))
        });
        trials.each("the_kernel_process_is_locked_down", the_kernel_process_is_locked_down);
        trials.each("an_idle_guest_uses_nothing", an_idle_guest_uses_nothing);
        trials.each("sparse_memory_takes_few_mappings", sparse_memory_takes_few_mappings);
        trials.each("programs_that_go_anywhere", |on| {
            let programs = ["/bin/sh", "/bin/sleep"].map(Path::new);
            let root = roots::dynamic(&programs)?;
            claims(on, &words(on, root.path(), &[], &["/bin/sh", "-c", SCRIPT]))
        });
    })
}

/// Capabilities to read files as root does, which a directory needs: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH.
const TO_READ: u64 = 0b110;

fn the_kernel_process_is_locked_down(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let open = tempfile::NamedTempFile::new()?;
    // Without O_CLOEXEC: whatever is started meanwhile inherits it.
    let _inherited = nix::fcntl::open(open.path(), OFlag::O_RDONLY, Mode::empty())?;
    let instance = Instance::start(&words(on, root.path(), &[], &["/bin/sh", "-c", SCRIPT]))?;
    let kernel = instance.pid();
    for fd in std::fs::read_dir(format!("/proc/{kernel}/fd"))? {
        let file = std::fs::read_link(fd?.path()).unwrap_or_default();
        ensure!(file != open.path(), "a descriptor is left open that was inherited");
    }
    for thread in std::fs::read_dir(format!("/proc/{kernel}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        ensure!(
            host::field(&status, "NoNewPrivs")? == "1" && host::field(&status, "Seccomp")? == "2",
            "{status}"
        );
        for set in ["CapPrm", "CapEff"] {
            ensure!(u64::from_str_radix(host::field(&status, set)?, 16)? & !TO_READ == 0, "{status}");
        }
        for set in ["CapInh", "CapAmb"] {
            ensure!(u64::from_str_radix(host::field(&status, set)?, 16)? == 0, "{status}");
        }
    }
    let limits = std::fs::read_to_string(format!("/proc/{kernel}/limits"))?;
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).context("a limit")?;
    ensure!(core.split_whitespace().take(2).all(|limit| ["0", "1"].contains(&limit)), "core dumps: {core}");
    for stub in family(kernel)?.into_iter().skip(1).filter(|_| on != Backend::Tt) {
        // One that is not needed any more may end meanwhile.
        let Ok(status) = std::fs::read_to_string(format!("/proc/{stub}/status")) else { continue };
        ensure!(u64::from_str_radix(host::field(&status, "CapPrm")?, 16)? == 0, "{status}");
    }
    Ok(())
}

/// How long an idle guest is watched, and what it may use meanwhile: nanoseconds on processors, and switches to threads.
const IDLE: Duration = Duration::from_secs(3);
const IDLE_NS: u64 = 1_500_000;
const IDLE_SWITCHES: u64 = 15;

fn an_idle_guest_uses_nothing(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let instance = Instance::start(&words(on, root.path(), &[], &["/bin/sh", "-c", SCRIPT]))?;
    until_all_run(|| Ok(family(instance.pid())?.len()))?;
    let used = || {
        family(instance.pid())?.into_iter().try_fold((0, 0), |sum, process| {
            let (ns, times) = host::usage(process)?;
            anyhow::Ok((sum.0 + ns, sum.1 + times))
        })
    };
    // What it still does after it has said that it is ready is no matter.
    std::thread::sleep(Duration::from_secs(1));
    let before = used()?;
    std::thread::sleep(IDLE);
    let after = used()?;
    let (ns, times) = (after.0 - before.0, after.1 - before.1);
    ensure!(ns < IDLE_NS && times < IDLE_SWITCHES, "{ns} ns and {times} switches in {IDLE:?}");
    Ok(())
}

/// The most mappings of the host that a process may have for 65,536 pages here and there; by default the host allows 65,530.
const FEW: usize = 6000;

/// A program touches one byte in every 64 KiB of 4 GiB, in random order.
fn sparse_memory_takes_few_mappings(on: Backend) -> Result<()> {
    // On TT, those at a fixed address share less room than that.
    let root = roots::with_abi(&lodger_tests::abi_pie()?)?;
    let instance = Instance::start(&words(on, root.path(), &["--mem", "8G"], &["/abi", "sparse"]))?;
    for process in family(instance.pid())? {
        let count = host::mappings(process)?.len();
        ensure!(count < FEW, "{process} has {count} mappings");
    }
    Ok(())
}

/// A process, its children, and theirs.
fn family(pid: Pid) -> Result<Vec<Pid>> {
    let mut all = vec![pid];
    for child in host::children(pid)? {
        all.extend(family(child)?);
    }
    Ok(all)
}

/// An instance whose guest has said that it is ready; it is ended with this.
struct Instance(Child);

impl Instance {
    fn start(words: &[&str]) -> Result<Instance> {
        let mut command = lodger(words)?;
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let mut instance = Instance(child);
        if line != "ready\n" {
            let mut why = String::new();
            let _ = instance.0.stderr.take().map(|mut errors| errors.read_to_string(&mut why));
            anyhow::bail!("the guest said {line:?}: {why}");
        }
        Ok(instance)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn claims(on: Backend, words: &[&str]) -> Result<()> {
    let instance = Instance::start(words)?;
    let kernel = instance.pid();
    let me = Pid::this();
    ensure!(host::share_memory(me, me)? && !host::share_memory(me, kernel)?, "kcmp tells processes apart");
    match on {
        Backend::Skas | Backend::Ptrace => {
            until_all_run(|| Ok(stubs_with_memory(kernel)?.len()))?;
            one_for_each_guest(kernel)
        }
        Backend::Tt => {
            until_all_run(|| Ok(host::children(kernel)?.len()))?;
            one_for_all(kernel)
        }
    }
}

/// Waits until there are at least as many as guest processes, whose children may not have run yet. There may be more: one
/// of a guest process that ended is emptied when it is used again.
fn until_all_run(count: impl Fn() -> Result<usize>) -> Result<()> {
    in_the_end(PATIENCE, || {
        let found = count()?;
        ensure!(found >= GUESTS, "{found} of them for {GUESTS} guest processes");
        Ok(())
    })
}

/// The stubs that hold guest memory; the others are fresh.
fn stubs_with_memory(kernel: Pid) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for helper in host::children(kernel)? {
        for stub in host::children(helper)? {
            // It may end meanwhile.
            let mappings = host::mappings(stub).unwrap_or_default();
            found.extend(mappings.iter().any(|mapping| mapping.name == RAM).then_some(stub));
        }
    }
    Ok(found)
}

fn one_for_each_guest(kernel: Pid) -> Result<()> {
    let helpers = host::children(kernel)?;
    ensure!(helpers.len() == 1, "one helper makes the stubs: {helpers:?}");
    let stubs = host::children(helpers[0])?;
    let all = [&[kernel], &helpers[..], &stubs[..]].concat();
    for (n, one) in all.iter().enumerate() {
        for other in &all[n + 1..] {
            ensure!(!host::share_memory(*one, *other)?, "{one} and {other} share an address space");
        }
    }
    // Fresh ones hold nothing yet but what is their own; one that is just being made still has what the process had that
    // makes it.
    stubs.iter().try_for_each(|stub| in_the_end(PATIENCE, || check_stub(&host::mappings(*stub)?)))
}

/// Guest memory, and what the stub has itself: the code that reads the host's clocks, its own code, its requests, and
/// what rewritten call sites jump to, which cannot be written; and on the seccomp trap the signal stack of its guest thread.
/// `[vsyscall]` is the host's, in every process, and so is the data of the clocks, `[vvar]`.
fn check_stub(mappings: &[Mapping]) -> Result<()> {
    let known = [RAM, REQUESTS, DATA, "[vsyscall]", "[vvar]", "[vvar_vclock]"];
    let strange = mappings.iter().find(|mapping| !known.contains(&mapping.name.as_str()));
    ensure!(strange.is_none(), "not a guest's: {strange:?}");
    let own: Vec<&Mapping> = mappings.iter().filter(|mapping| mapping.name == REQUESTS).collect();
    let read_only = |mapping: &&&Mapping| !mapping.modes.contains('w');
    ensure!(!own.is_empty() && own.iter().filter(read_only).count() == own.len(), "the stub's own: {own:?}");
    let data: Vec<&Mapping> = mappings.iter().filter(|mapping| mapping.name == DATA).collect();
    ensure!(
        data.len() <= 1 && data.iter().all(|mapping| mapping.modes == "rw-s"),
        "its signal stack: {data:?}"
    );
    Ok(())
}

fn one_for_all(kernel: Pid) -> Result<()> {
    let tasks = host::children(kernel)?;
    for task in &tasks {
        ensure!(host::share_memory(kernel, *task)?, "{task} has an address space of its own");
        ensure!(host::children(*task)?.is_empty(), "{task} has children");
    }
    // What a task sees is what the kernel has: its program, its heap, all of guest RAM, every window.
    let mappings = seen_by_both(kernel, tasks[0])?;
    let has = |what: &dyn Fn(&Mapping) -> bool| mappings.iter().any(what);
    ensure!(has(&|at| at.name.ends_with("/lodger-tt") && at.modes.starts_with("rw")), "the kernel's data");
    ensure!(has(&|at| at.name == "[heap]" && at.modes.starts_with("rw")), "the kernel's heap");
    let whole = |at: &Mapping| at.name == RAM && at.modes == "rw-s" && at.end - at.start >= 1 << 40;
    ensure!(has(&whole), "all of guest RAM");
    ensure!(has(&|at| at.name == RAM && !whole(at)), "memory of a guest process");
    Ok(())
}

/// The mappings of two processes, which are the same; while the guest still does something, they are read at two times.
fn seen_by_both(one: Pid, other: Pid) -> Result<Vec<Mapping>> {
    in_the_end(PATIENCE, || {
        let (here, there) = (host::mappings(one)?, host::mappings(other)?);
        let differs = here.iter().zip(&there).find(|(here, there)| here != there);
        ensure!(here == there, "one address space is described in two ways: {differs:?}");
        Ok(here)
    })
}
