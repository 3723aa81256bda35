//! What the host says of processes: parentage, mappings, whether two share an address space (kcmp(2), proc(5)).

use std::fs;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use crate::Missing;

/// `KCMP_VM` of kcmp(2).
const KCMP_VM: libc::c_int = 1;

/// Whether two processes have one address space.
pub fn share_memory(one: Pid, other: Pid) -> Result<bool> {
    // SAFETY: kcmp only compares.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, one.as_raw(), other.as_raw(), KCMP_VM, 0, 0) };
    match Errno::result(order) {
        Ok(order) => Ok(order == 0),
        Err(Errno::ENOSYS) => Err(Missing("the host has no kcmp(2)".into()).into()),
        Err(errno) => Err(errno).with_context(|| format!("cannot compare {one} and {other}")),
    }
}

/// The children of a process, whichever of its threads made them.
pub fn children(pid: Pid) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children"))?;
        for child in children.split_whitespace() {
            found.push(Pid::from_raw(child.parse()?));
        }
    }
    Ok(found)
}

/// What a process has used: nanoseconds on a processor, and how often its threads were switched to.
pub fn usage(pid: Pid) -> Result<(u64, u64)> {
    let mut used = (0, 0);
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let mut numbers = schedstat.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(ns)), _, Some(Ok(times))) = (numbers.next(), numbers.next(), numbers.next()) else {
            bail!("what is `{schedstat}`?")
        };
        used = (used.0 + ns, used.1 + times);
    }
    Ok(used)
}

/// A field of `/proc/PID/status`.
pub fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map(str::trim).with_context(|| format!("no {name} in `{status}`"))
}

/// A mapping of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The one behind the last.
    pub end: u64,
    /// `rwxs` or `rwxp`, with `-` for what it is not.
    pub modes: String,
    /// The file, or the host's own name for it.
    pub name: String,
}

/// The mappings of a process, lowest first.
pub fn mappings(pid: Pid) -> Result<Vec<Mapping>> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    text.lines().map(|line| mapping(line).with_context(|| format!("what is `{line}`?"))).collect()
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let modes = words.next()?.to_string();
    let name = words.nth(3).unwrap_or_default().to_string();
    Some(Mapping { start: number(start)?, end: number(end)?, modes, name })
}
