//! Rounds of forks, for `cargo xtask soak --forks`: for each line of standard input so many children that end at once, one
//! after another, then what the system says of itself, with a line `over` behind it.

use std::fs;
use std::io::stdin;

use crate::sys;

/// Runs them until standard input ends.
pub fn run() {
    for line in stdin().lines().map_while(Result::ok) {
        let count = line.trim().parse().unwrap_or(0);
        (0..count).for_each(|_: u64| sys::wait(sys::fork(|| {})));
        report();
    }
}

fn report() {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let row = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let memory = text("/proc/meminfo");
    println!("forks: {}", row(&text("/proc/stat"), "processes "));
    println!("used: {}", (row(&memory, "MemTotal:") - row(&memory, "MemFree:")) << 10);
    println!("kernel: {}", row(&memory, "Slab:") << 10);
    let names = fs::read_dir("/proc").map(|all| all.filter_map(Result::ok).map(|entry| entry.file_name()));
    let is_process =
        |name: &std::ffi::OsString| name.to_string_lossy().starts_with(|c: char| c.is_ascii_digit());
    println!("tasks: {}", names.map_or(0, |names| names.filter(is_process).count()));
    println!("over");
}
