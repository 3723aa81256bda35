//! The kernel's messages, kept for `dmesg` (`syslog(2)`, `/dev/kmsg`).
//!
//! The frontend installs one `log` logger for the process; it passes each record on to [`LogRing::add`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::sync::Mutex;

/// Bytes kept (Linux's default is 128 KiB).
pub const CAPACITY: usize = 64 << 10;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Counts from 0.
    pub sequence: u64,
    /// Syslog priority: 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// Microseconds since boot.
    pub time_us: u64,
    /// Text without newline.
    pub text: Vec<u8>,
}

impl LogLine {
    /// As `syslog(2)` gives it: `<6>[    1.234567] text` and a newline.
    pub fn show(&self) -> Vec<u8> {
        let (sec, usec) = (self.time_us / 1_000_000, self.time_us % 1_000_000);
        let mut line = alloc::format!("<{}>[{sec:5}.{usec:06}] ", self.priority).into_bytes();
        line.extend_from_slice(&self.text);
        line.push(b'\n');
        line
    }
}

/// Recent lines; old ones give way.
#[derive(Default)]
pub struct LogRing {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: VecDeque<LogLine>,
    bytes: usize,
    next: u64,
    cleared: u64,
}

impl LogRing {
    /// Adds a line; text beyond 1024 bytes is cut off.
    pub fn add(&self, priority: u8, time_us: u64, text: &[u8]) {
        let text = text.get(..1024).unwrap_or(text).to_vec();
        let mut state = self.state.lock();
        state.bytes += text.len();
        let sequence = state.next;
        state.next += 1;
        state.lines.push_back(LogLine { sequence, priority, time_us, text });
        while state.bytes > CAPACITY {
            let Some(old) = state.lines.pop_front() else { break };
            state.bytes -= old.text.len();
        }
    }

    /// The first line kept from `sequence` on.
    pub fn line(&self, sequence: u64) -> Option<LogLine> {
        let state = self.state.lock();
        let first = state.lines.front()?.sequence;
        let index = sequence.max(first) - first;
        state.lines.get(usize::try_from(index).ok()?).cloned()
    }

    /// The sequence number that the next line will have.
    pub fn end(&self) -> u64 {
        self.state.lock().next
    }

    /// Where `dmesg` starts: at the line after the last `dmesg -c`.
    pub fn cleared(&self) -> u64 {
        self.state.lock().cleared
    }

    /// Hides what was logged so far from `dmesg`.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.cleared = state.next;
    }
}
