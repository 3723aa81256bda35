//! How much memory a tree of host processes takes: the proportional set size of every address space in it.
//!
//! The processes are found by parentage, from the one that was started. Several of them may share one address space, as
//! all do on TT; it counts once (`kcmp(KCMP_VM)` tells, asked by the bench program).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{limited, tree};

/// The proportional set size of `root` and all its descendants, in bytes; `program` is the bench program.
pub fn of_tree(root: u32, program: &Path) -> Result<u64> {
    let pids = tree::of(root)?;
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

/// The line `Pss:     123 kB`, in bytes.
fn pss(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollup_has_one_pss() {
        let text = "00400000-7fff0000 ---p 00000000 00:00 0  [rollup]\nRss:   100 kB\nPss:    12 kB\nPss_Dirty: 4 kB\n";
        assert_eq!(pss(text), Some(12 * 1024));
        assert_eq!(pss("Rss: 1 kB\n"), None);
    }
}
