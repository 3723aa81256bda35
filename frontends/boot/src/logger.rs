//! Kernel messages on standard error: what `--log` asks for, one line each.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{LevelFilter, Log, Metadata, Record};

/// The terminal is raw: a line feed alone does not go to the start of the line.
static RAW: AtomicBool = AtomicBool::new(false);

struct Stderr;

/// Prints messages of `level` and above from now on. Once in a process.
pub fn install(level: LevelFilter) {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
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

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say(&format!("{}: {}", record.level().as_str().to_lowercase(), record.args()));
        }
    }

    fn flush(&self) {}
}
