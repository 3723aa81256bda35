//! How much memory a tree of host processes takes: the proportional set size of every address space in it.
//!
//! The processes are found by parentage, from the one that was started. Several of them may share one address space, as
//! all do on TT; it counts once (`kcmp(KCMP_VM)` tells, asked by the bench program).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::limited;

/// The proportional set size of `root` and all its descendants, in bytes; `program` is the bench program.
pub fn of_tree(root: u32, program: &Path) -> Result<u64> {
    let pids = descendants(root, &parents()?);
    let mut spaces = Command::new(program);
    spaces.arg("spaces").args(pids.iter().map(u32::to_string));
    let listed = limited::run(&mut spaces, Duration::from_secs(10))?.text;
    let firsts: Vec<u32> = listed.lines().map(str::parse).collect::<Result<_, _>>()?;
    if firsts.len() != pids.len() {
        bail!("the bench program printed `{listed}` for {} processes", pids.len());
    }
    let mut sum = 0;
    for (pid, _) in pids.iter().zip(&firsts).filter(|(pid, first)| pid == first) {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        sum += pss(&text).with_context(|| format!("{path} has no Pss"))?;
    }
    Ok(sum)
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

/// The line `Pss:     123 kB`, in bytes.
fn pss(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
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

    #[test]
    fn the_rollup_has_one_pss() {
        let text = "00400000-7fff0000 ---p 00000000 00:00 0  [rollup]\nRss:   100 kB\nPss:    12 kB\nPss_Dirty: 4 kB\n";
        assert_eq!(pss(text), Some(12 * 1024));
        assert_eq!(pss("Rss: 1 kB\n"), None);
    }
}
