//! `/proc/PID/smaps` and `smaps_rollup`: the mappings of a process, and how much of each is in RAM. Source:
//! `proc_pid_smaps(5)`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::source::TaskView;
use super::task::map_line;
use crate::errno::Result;
use crate::host::{PAGE_SIZE, Prot};
use crate::mm::info::{Amounts, MapInfo, VmaFlags};
use crate::task::access::Ids;
use crate::vfs::caller::Caller;

/// `smaps`.
pub(super) fn smaps(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem)?;
    let root = view.fs().map(|context| context.root());
    let mut out = Vec::new();
    for (map, amounts) in view.amounts() {
        map_line(&map, root.as_ref(), &mut out)?;
        let mut text = String::new();
        line(&mut text, "Size", map.range.end - map.range.start);
        line(&mut text, "KernelPageSize", PAGE_SIZE);
        line(&mut text, "MMUPageSize", PAGE_SIZE);
        lines(&mut text, &amounts, &[]);
        let _ = writeln!(text, "{:<16}{:>8}", "THPeligible:", 0);
        let _ = writeln!(text, "VmFlags: {}", flags(&map));
        out.extend_from_slice(text.as_bytes());
    }
    Ok(out)
}

/// `smaps_rollup`.
pub(super) fn rollup(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem)?;
    let maps = view.amounts();
    let mut sum = Amounts::default();
    maps.iter().for_each(|(_, amounts)| sum.add(amounts));
    let start = maps.first().map_or(0, |(map, _)| map.range.start);
    let end = maps.last().map_or(0, |(map, _)| map.range.end);
    let head = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0");
    let mut text = format!("{head:<73}[rollup]\n");
    let file = sum.proportional - sum.proportional_anonymous - sum.proportional_shared_memory;
    let parts = [
        ("Pss_Anon", sum.proportional_anonymous),
        ("Pss_File", file),
        ("Pss_Shmem", sum.proportional_shared_memory),
    ];
    lines(&mut text, &sum, &parts);
    Ok(text.into_bytes())
}

fn line(text: &mut String, name: &str, bytes: u64) {
    // Numbers end in the same column.
    let width = 23 - name.len();
    let _ = writeln!(text, "{name}:{:>width$} kB", bytes / 1024);
}

/// What both files have; `parts` are those of `Pss`.
fn lines(text: &mut String, amounts: &Amounts, parts: &[(&str, u64)]) {
    line(text, "Rss", amounts.resident());
    line(text, "Pss", amounts.proportional);
    line(text, "Pss_Dirty", amounts.proportional_dirty);
    parts.iter().for_each(|(name, bytes)| line(text, name, *bytes));
    for (name, bytes) in [
        ("Shared_Clean", amounts.shared_clean),
        ("Shared_Dirty", amounts.shared_dirty),
        ("Private_Clean", amounts.private_clean),
        ("Private_Dirty", amounts.private_dirty),
        // Nothing is mapped before it is used.
        ("Referenced", amounts.resident()),
        ("Anonymous", amounts.anonymous),
        ("LazyFree", 0),
        ("AnonHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", 0),
        ("Private_Hugetlb", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", amounts.locked),
    ] {
        line(text, name, bytes);
    }
}

/// What a mapping is like, in words of two letters.
fn flags(map: &MapInfo) -> String {
    let of_prot = [(Prot::READ, "rd "), (Prot::WRITE, "wr "), (Prot::EXEC, "ex ")];
    let of_flags = [
        (VmaFlags::SHARED, "sh "),
        (VmaFlags::MAY_WRITE, "mw "),
        (VmaFlags::GROWS_DOWN, "gd "),
        (VmaFlags::LOCKED, "lo "),
        (VmaFlags::DONT_FORK, "dc "),
        (VmaFlags::NO_RESERVE, "nr "),
        (VmaFlags::WIPE_ON_FORK, "wf "),
        (VmaFlags::DONT_DUMP, "dd "),
    ];
    let prot = of_prot.iter().filter(|(prot, _)| map.prot.contains(*prot)).map(|(_, word)| *word);
    let flags = of_flags.iter().filter(|(flag, _)| map.flags.contains(*flag)).map(|(_, word)| *word);
    // Everything may be made readable and executable.
    prot.chain(["mr ", "me "]).chain(flags).collect()
}
