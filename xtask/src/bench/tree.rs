//! Processes by parentage: those that came of one that was started here.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Between two looks at processes that were killed.
const MOMENT: Duration = Duration::from_millis(2);

/// `root` first, then all its descendants.
pub fn of(root: u32) -> Result<Vec<u32>> {
    Ok(descendants(root, &parents()?))
}

/// Makes this process the parent of all that its children leave behind, so that it can be found and ended.
pub fn adopt_strays() -> Result<()> {
    prctl::set_child_subreaper(true).context("cannot adopt what other kernels leave behind")
}

/// Kills what hangs: the process and its descendants, and who was adopted.
pub fn kill_all(root: u32) {
    let adopted = matches!(prctl::get_child_subreaper(), Ok(true));
    let root = if adopted { std::process::id() } else { root };
    for pid in of(root).unwrap_or_default().into_iter().filter(|pid| *pid != std::process::id()) {
        // It may have ended since.
        let _ = kill(pid_of(pid), Signal::SIGKILL);
    }
}

/// Ends and reaps whatever is left of what was started here; for a process that waits for no child at that time.
pub fn end_strays() {
    loop {
        kill_all(std::process::id());
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            // Who is killed ends soon, but not at once, and may have started another one before.
            Ok(WaitStatus::StillAlive) => std::thread::sleep(MOMENT),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

/// The parent of each process of the machine.
fn parents() -> Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        parents.extend(parent(&stat).map(|parent| (pid, parent)));
    }
    Ok(parents)
}

/// The fourth field; the second one, a name in parentheses, may hold spaces and parentheses.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// `root` first.
fn descendants(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&at) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| **parent == at).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_all_descendants_and_nobody_else() {
        let parents = [(1, 0), (10, 1), (11, 10), (12, 11), (13, 10), (20, 1)].into();
        assert_eq!(descendants(10, &parents), [10, 11, 13, 12]);
    }

    #[test]
    fn names_of_processes_may_be_strange() {
        assert_eq!(parent("7 (a) (b c) S 3 7 7 0"), Some(3));
        assert_eq!(parent("7"), None);
    }
}
