//! Kernel messages on standard error: what `--log` asks for, one line each.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kernel_core::log_ring::LogRing;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// The terminal is raw: a line feed alone does not go to the start of the line.
static RAW: AtomicBool = AtomicBool::new(false);

/// Keeps messages for the guest's `dmesg`, and prints the important ones.
struct Logger {
    shown: LevelFilter,
    ring: Arc<LogRing>,
    start: Instant,
}

/// Keeps messages in `ring` from now on, and prints those of `shown` and above. Once in a process.
pub fn install(shown: LevelFilter, ring: Arc<LogRing>) {
    let logger = Logger { shown, ring, start: Instant::now() };
    // Leaked: the log facade wants it for the rest of the process, and lodger installs one.
    if log::set_logger(Box::leak(Box::new(logger))).is_ok() {
        log::set_max_level(shown.max(LevelFilter::Info));
    }
}

/// As syslog counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Tells that standard error is a terminal in raw mode, or no longer.
pub fn terminal_is_raw(raw: bool) {
    RAW.store(raw, Ordering::Relaxed);
}

/// Prints one of lodger's own lines to standard error, as far as that can take it.
pub fn say(text: &str) {
    line(&format!("lodger: {text}"));
}

/// Prints a line to standard error as it is.
pub fn line(text: &str) {
    let end = if RAW.load(Ordering::Relaxed) { "\r\n" } else { "\n" };
    // There is nobody left to tell when standard error is gone.
    let _ = std::io::stderr().write_all(format!("{text}{end}").as_bytes());
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let time_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        if record.level() <= Level::Info {
            self.ring.add(priority(record.level()), time_us, record.args().to_string().as_bytes());
        }
        if record.level() <= self.shown {
            say(&format!("{}: {}", record.level().as_str().to_lowercase(), record.args()));
        }
    }

    fn flush(&self) {}
}
