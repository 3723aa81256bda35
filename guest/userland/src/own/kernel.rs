//! What one asks the kernel as a whole: its log, its name, how long it runs, and to stop.

use std::ffi::OsString;
use std::io::Write;

use super::{fail, last_error, plain, usage};

// Actions of syslog(2).
const READ_ALL: i32 = 3;
const CLEAR: i32 = 5;
const CONSOLE_LEVEL: i32 = 8;
const SIZE_BUFFER: i32 = 10;

/// `dmesg [-c] [-C] [-r] [-n LEVEL]`.
pub fn dmesg(words: &[OsString]) -> i32 {
    const USAGE: &str = "dmesg [-c] [-C] [-r] [-n LEVEL]";
    let (mut print, mut clear, mut raw) = (true, false, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-c") => clear = true,
            Some("-C") => (print, clear) = (false, true),
            Some("-r") => raw = true,
            Some("-n") => {
                let Some(level) = words.next().and_then(|level| level.to_str()?.parse().ok()) else {
                    return usage(USAGE);
                };
                return match klogctl(CONSOLE_LEVEL, &mut [], level) {
                    Ok(_) => 0,
                    Err(why) => fail("dmesg", why),
                };
            }
            _ => return usage(USAGE),
        }
    }
    if print {
        let size = klogctl(SIZE_BUFFER, &mut [], 0).unwrap_or(1 << 17);
        let mut buffer = vec![0; size];
        match klogctl(READ_ALL, &mut buffer, i32::try_from(size).unwrap_or(i32::MAX)) {
            Ok(length) => {
                let text = &buffer[..length.min(size)];
                let text = if raw { text.to_vec() } else { without_levels(text) };
                let _ = std::io::stdout().write_all(&text);
            }
            Err(why) => return fail("dmesg", why),
        }
    }
    match if clear { klogctl(CLEAR, &mut [], 0) } else { Ok(0) } {
        Ok(_) => 0,
        Err(why) => fail("dmesg", why),
    }
}

/// `syslog(2)`, which glibc calls klogctl. The length is the buffer's, or the level to set.
fn klogctl(action: i32, buffer: &mut [u8], length: i32) -> Result<usize, String> {
    // SAFETY: the kernel writes at most `length` bytes, and only READ_ALL writes: its caller gives that many.
    let done = unsafe { libc::klogctl(action, buffer.as_mut_ptr().cast(), length) };
    usize::try_from(done).map_err(|_| last_error())
}

/// Takes the `<6>` from the start of each line.
fn without_levels(log: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(log.len());
    for line in log.split_inclusive(|&b| b == b'\n') {
        let end = line.iter().position(|&b| b == b'>').filter(|_| line.starts_with(b"<"));
        let digits = |end: &usize| line[1..*end].iter().all(u8::is_ascii_digit);
        plain.extend(end.filter(digits).map_or(line, |end| &line[end + 1..]));
    }
    plain
}

/// `hostname [NAME]`.
pub fn hostname(words: &[OsString]) -> i32 {
    match words {
        [name] if !name.to_string_lossy().starts_with('-') => {
            let name = name.as_encoded_bytes();
            // SAFETY: the buffer is valid for its length.
            if unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) } != 0 {
                return fail("hostname", last_error());
            }
            0
        }
        _ if words.iter().all(|word| word == "-s" || word == "-f") => {
            match std::fs::read_to_string("/proc/sys/kernel/hostname") {
                Ok(name) => println!("{}", name.trim_end()),
                Err(error) => return fail("hostname", plain(&error)),
            }
            0
        }
        _ => usage("hostname [NAME]"),
    }
}

/// `uptime`.
pub fn uptime(_words: &[OsString]) -> i32 {
    let up = match std::fs::read_to_string("/proc/uptime") {
        Ok(up) => up,
        Err(error) => return fail("uptime", format!("/proc/uptime: {}", plain(&error))),
    };
    let seconds = up.split('.').next().and_then(|whole| whole.parse::<u64>().ok()).unwrap_or(0);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    println!("up {}, load average: {}", duration(seconds), load.join(", "));
    0
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours}:{minutes:02}"),
        _ => format!("{days} days, {hours}:{minutes:02}"),
    }
}

/// `poweroff`.
pub fn poweroff(words: &[OsString]) -> i32 {
    stop("poweroff", libc::RB_POWER_OFF, words)
}

/// `halt`.
pub fn halt(words: &[OsString]) -> i32 {
    stop("halt", libc::RB_HALT_SYSTEM, words)
}

/// `reboot`.
pub fn reboot(words: &[OsString]) -> i32 {
    stop("reboot", libc::RB_AUTOBOOT, words)
}

/// There are no services to stop first, so the kernel is told at once; `-f` says just that.
fn stop(applet: &str, how: i32, words: &[OsString]) -> i32 {
    if words.iter().any(|word| word != "-f") {
        return usage(&format!("{applet} [-f]"));
    }
    // SAFETY: neither call has preconditions.
    unsafe {
        libc::sync();
        libc::reboot(how);
    }
    fail(applet, last_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_cut_and_other_brackets_stay() {
        assert_eq!(without_levels(b"<6>[ 0.1] up\n<b> x\nend"), b"[ 0.1] up\n<b> x\nend");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(
            (duration(7), duration(3599), duration(90061)),
            ("7 s".into(), "59 min".into(), "1 days, 1:01".into())
        );
    }
}
