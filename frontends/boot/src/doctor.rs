//! `lodger doctor`: what this machine lets Lodger do, and how far it locks itself down.

use std::fmt::Write;
use std::sync::Arc;

use anyhow::Result;
use host_linux::backend::{Backend, Settings, Trap};
use host_linux::lockdown::calls::{self, Call};
use host_linux::{cpu, vm};

use crate::cli;
use crate::lockdown::Lockdown;

/// Guest RAM of the hosts that are tried.
const RAM: u64 = 1 << 30;

/// The words behind `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Doctor {
    /// Print the system calls of the host that lodger still makes while guests run
    #[arg(long)]
    pub syscalls: bool,
    /// Print it for programs
    #[arg(long)]
    pub json: bool,
    /// The backend to look at; without it, skas
    #[arg(long, value_enum)]
    pub backend: Option<cli::Backend>,
    /// The trap to look at; without it, the one that would be used
    #[arg(long, value_enum)]
    pub trap: Option<cli::Trap>,
}

/// Lines of a table: what, and how it is.
type Lines = Vec<(&'static str, String)>;

/// Looks, and gives the text to print. This process is locked down when it returns.
pub fn run<B: Backend>(doctor: &Doctor) -> Result<String> {
    let lockdown = Lockdown::begin(false, true);
    let machine = machine();
    // Before anything is given up, which traps could be refused for.
    let mut traps: Lines = [Trap::Seccomp, Trap::Ptrace].map(|trap| (word(trap), try_trap::<B>(trap))).into();
    let rest = lockdown.first(std::iter::empty())?;
    let host = match start::<B>(doctor.trap.map(Into::into)) {
        Ok(host) => host,
        Err(error) => {
            if !doctor.syscalls {
                // What is known so far tells why.
                crate::print(&show(&[("this machine", machine), ("traps", traps)], doctor.json));
            }
            return Err(error);
        }
    };
    if doctor.syscalls {
        let calls = calls::join(&[calls::BASE, calls::DIRECTORIES, calls::CHANGES, host.calls()]);
        return Ok(list(&calls, &calls::join(&[calls::BASE, host.calls()]), doctor.json));
    }
    let locked = rest.last(&*host)?;
    let used = host.trap();
    traps.push(("used", format!("{}, {}", word(used), why(used, doctor.trap.is_some()))));
    Ok(show(
        &[("this machine", machine), ("traps", traps), ("given up before guests run", locked)],
        doctor.json,
    ))
}

fn word(trap: Trap) -> &'static str {
    match trap {
        Trap::Seccomp => "seccomp",
        Trap::Ptrace => "ptrace",
    }
}

/// Why this trap is used.
fn why(used: Trap, asked: bool) -> &'static str {
    match used {
        _ if asked => "as asked for",
        Trap::Seccomp => "the faster one",
        Trap::Ptrace => "the only one that works",
    }
}

fn start<B: Backend>(trap: Option<Trap>) -> Result<Arc<B>> {
    Ok(B::start(&Settings { trap, ..Settings::new(RAM) })?)
}

fn try_trap<B: Backend>(trap: Trap) -> String {
    match start::<B>(Some(trap)) {
        Ok(host) if host.trap() == trap => "works".into(),
        Ok(_) => "not for this backend".into(),
        Err(error) => format!("refused: {error}"),
    }
}

/// What the host allows.
fn machine() -> Lines {
    let yes = |yes: bool| String::from(if yes { "yes" } else { "no" });
    let number = |path: &str| -> String {
        std::fs::read_to_string(path).map_or("unknown".into(), |text| text.trim().into())
    };
    let overcommit = match number("/proc/sys/vm/overcommit_memory").as_str() {
        "0" => "0 (by a guess)".into(),
        "1" => "1 (always)".into(),
        "2" => "2 (never)".into(),
        other => String::from(other),
    };
    vec![
        ("Linux", number("/proc/sys/kernel/osrelease")),
        ("FSGSBASE", yes(cpu::has_fsgsbase())),
        ("filters of calls (seccomp)", number("/proc/sys/kernel/seccomp/actions_avail")),
        (
            "tracing (Yama ptrace_scope)",
            number("/proc/sys/kernel/yama/ptrace_scope").replace("unknown", "no Yama"),
        ),
        ("user namespaces (not needed)", number("/proc/sys/user/max_user_namespaces")),
        ("mappings a process", vm::max_mappings().to_string()),
        ("overcommit_memory", overcommit),
    ]
}

fn show(tables: &[(&str, Lines)], json: bool) -> String {
    let mut text = String::new();
    if json {
        let tables: serde_json::Map<_, _> = tables
            .iter()
            .map(|(name, lines)| {
                let lines: serde_json::Map<_, _> =
                    lines.iter().map(|(what, how)| ((*what).into(), how.as_str().into())).collect();
                ((*name).into(), lines.into())
            })
            .collect();
        return format!("{}\n", serde_json::json!({ "schema": "lodger-doctor/1", "tables": tables }));
    }
    let width = tables.iter().flat_map(|(_, lines)| lines).map(|(what, _)| what.len()).max().unwrap_or(0);
    for (name, lines) in tables {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}");
        for (what, how) in lines {
            let _ = writeln!(text, "  {what:width$}   {how}");
        }
    }
    text
}

/// All calls; those that are not in `always` are for directories of the host's.
fn list(all: &[Call], always: &[Call], json: bool) -> String {
    let when = |call: &Call| match always.iter().find(|other| other.call == call.call) {
        Some(other) => other.only,
        None => "with a directory of the host's",
    };
    if json {
        let calls: serde_json::Map<_, _> =
            all.iter().map(|call| (call.call.name().into(), when(call).into())).collect();
        return format!("{}\n", serde_json::json!({ "schema": "lodger-syscalls/1", "calls": calls }));
    }
    let line = |call: &Call| match when(call) {
        "" => format!("{}\n", call.call.name()),
        when => format!("{:18} {when}\n", call.call.name()),
    };
    all.iter().map(line).collect()
}
