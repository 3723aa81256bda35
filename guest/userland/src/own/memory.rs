//! `free`: how much memory there is, from /proc/meminfo (proc(5)).

use std::ffi::OsString;

use super::{fail, plain, usage};

/// `free [-b|-k|-m|-g|-h]`.
pub fn free(words: &[OsString]) -> i32 {
    let mut unit = Some(1024);
    for word in words {
        unit = match word.to_str() {
            Some("-b") => Some(1),
            Some("-k") => Some(1 << 10),
            Some("-m") => Some(1 << 20),
            Some("-g") => Some(1 << 30),
            Some("-h") => None,
            _ => return usage("free [-b|-k|-m|-g|-h]"),
        };
    }
    let info = match std::fs::read_to_string("/proc/meminfo") {
        Ok(info) => info,
        Err(error) => return fail("free", format!("/proc/meminfo: {}", plain(&error))),
    };
    let show = |name: &str| amount(bytes(&info, name), unit);
    let (total, idle) = (bytes(&info, "MemTotal"), bytes(&info, "MemFree"));
    let cached = ["Buffers", "Cached", "SReclaimable"].iter().map(|name| bytes(&info, name)).sum::<u64>();
    // As procps counts it: what is not available to new programs is in use.
    let used = total.saturating_sub(bytes(&info, "MemAvailable").max(idle));
    println!(
        "{:7}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "", "total", "used", "free", "shared", "buff/cache", "available"
    );
    println!(
        "{:7}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "Mem:",
        amount(total, unit),
        amount(used, unit),
        amount(idle, unit),
        show("Shmem"),
        amount(cached, unit),
        show("MemAvailable"),
    );
    let (swap, swap_free) = (bytes(&info, "SwapTotal"), bytes(&info, "SwapFree"));
    let swap_used = swap.saturating_sub(swap_free);
    println!(
        "{:7}{:>12}{:>12}{:>12}",
        "Swap:",
        amount(swap, unit),
        amount(swap_used, unit),
        amount(swap_free, unit)
    );
    0
}

/// A line of /proc/meminfo in bytes; 0 if it is not there.
fn bytes(info: &str, name: &str) -> u64 {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0).saturating_mul(1024)
}

/// In units of that many bytes, or as people like it.
fn amount(bytes: u64, unit: Option<u64>) -> String {
    if let Some(unit) = unit {
        return (bytes / unit).to_string();
    }
    let mut value = bytes as f64;
    for suffix in ["B", "Ki", "Mi", "Gi"] {
        if value < 1024.0 {
            return if value < 10.0 { format!("{value:.1}{suffix}") } else { format!("{value:.0}{suffix}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1}Ti")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown() {
        assert_eq!(bytes("MemTotal:  10 kB\nMemFree: 4 kB\n", "MemFree"), 4096);
        assert_eq!(bytes("MemTotal:  10 kB\n", "Mem"), 0);
        assert_eq!(amount(3 << 20, Some(1 << 20)), "3");
        assert_eq!((amount(1536, None), amount(512 << 20, None)), ("1.5Ki".to_owned(), "512Mi".to_owned()));
    }
}
