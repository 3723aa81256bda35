//! What the host allows of an address space: `/proc/sys/vm`.

use kernel_core::host::PAGE_SIZE;

/// The end of what a process can map with four levels of page tables, and without asking for more with five.
pub const TASK_END: u64 = 0x7fff_ffff_f000;

/// The lowest address that a process may map.
pub fn lowest_address() -> u64 {
    let lowest = number("/proc/sys/vm/mmap_min_addr").unwrap_or(0x1_0000);
    lowest.clamp(PAGE_SIZE, 0x10_0000).next_multiple_of(PAGE_SIZE)
}

/// How many mappings a process may have.
pub fn max_mappings() -> usize {
    number("/proc/sys/vm/max_map_count").and_then(|count| count.try_into().ok()).unwrap_or(65_530)
}

/// How many mappings a process has; the most there can be if the host does not say.
pub fn count_mappings(pid: i32) -> usize {
    let maps = std::fs::read(format!("/proc/{pid}/maps"));
    maps.map_or(usize::MAX, |maps| maps.iter().filter(|byte| **byte == b'\n').count())
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
