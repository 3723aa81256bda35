//! Guest threads that hide from kicks. A guest can load registers of its choice, and with them a mask of signals, so that
//! the signal by which it is interrupted stays pending for ever.
//!
//! An honest thread has that signal blocked only in the handler, from its entry to the post: it uses next to no time there,
//! and does not sleep. Time alone says nothing, as the host may not have run it. So a thread that was kicked is looked at
//! now and then: if the signal is blocked, and it has used more time than that or sleeps, its stub is ended.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host_linux::vcpu::{KICK_SIGNAL, Kicked, Signals, ThreadId};
use host_linux::watcher::{Watched, Watcher};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::seccomp::deaths::Deaths;

/// When to look at a thread that was kicked, and again.
const LATER: Duration = Duration::from_millis(20);
/// Time on a processor that no way through the handler takes, in nanoseconds.
pub const HIDING_NS: u64 = 10_000_000;

/// Keeps watch over threads that were kicked.
pub struct Overdue {
    _watched: Arc<Watched>,
}

impl Overdue {
    /// Starts the watch over the vCPU of `signals`.
    pub fn watch(watcher: &Watcher, signals: &Arc<Signals>, deaths: Arc<Deaths>) -> io::Result<Overdue> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = Arc::new(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        let fd: OwnedFd = timer.as_fd().try_clone_to_owned()?;
        let again = timer.clone();
        signals.on_sent(move || arm(&timer));
        let (signals, suspect) = (signals.clone(), Mutex::new(None));
        let look = move || {
            let _ = nix::unistd::read(again.as_fd(), &mut [0; 8]);
            let mut suspect = suspect.lock().unwrap_or_else(PoisonError::into_inner);
            *suspect = signals.kicked().and_then(|kicked| {
                arm(&again);
                inspect(&deaths, kicked, *suspect)
            });
        };
        Ok(Overdue { _watched: watcher.attend(fd, look) })
    }
}

fn arm(timer: &TimerFd) {
    // The time is valid, so this cannot fail.
    let _ = timer.set(Expiration::OneShot(TimeSpec::from_duration(LATER)), TimerSetTimeFlags::empty());
}

/// A thread that had the signal blocked when it was looked at.
#[derive(Clone, Copy)]
struct Suspect {
    kicked: Kicked,
    state: State,
}

/// What the host says of a thread.
#[derive(Clone, Copy)]
struct State {
    sleeps: bool,
    used_ns: u64,
}

/// Looks at a thread that was kicked, and ends its stub if it hides.
fn inspect(deaths: &Deaths, kicked: Kicked, before: Option<Suspect>) -> Option<Suspect> {
    let state = blocked(kicked.thread).filter(|_| deaths.has_posted(kicked.thread.process) == Some(false))?;
    let Some(before) = before.filter(|before| before.kicked == kicked) else {
        return Some(Suspect { kicked, state });
    };
    let used_ns = state.used_ns.saturating_sub(before.state.used_ns);
    if used_ns > HIDING_NS || (state.sleeps && before.state.sleeps && used_ns == 0) {
        log::info!("a guest hides from interrupts: its process is ended");
        deaths.end(kicked.thread.process);
    }
    Some(before)
}

/// The state of a thread that has the signal blocked; `None` if it has not, or is gone.
fn blocked(thread: ThreadId) -> Option<State> {
    let status = std::fs::read_to_string(format!("/proc/{}/task/{}/status", thread.process, thread.thread));
    let status = status.ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mask = u64::from_str_radix(field("SigBlk:")?, 16).ok()?;
    if mask & 1 << (KICK_SIGNAL - 1) == 0 {
        return None;
    }
    Some(State { sleeps: field("State:")?.starts_with('S'), used_ns: used_ns(thread)? })
}

/// How long a thread has been on a processor, in nanoseconds; `None` if it is gone.
pub fn used_ns(thread: ThreadId) -> Option<u64> {
    let used = std::fs::read_to_string(format!("/proc/{}/task/{}/schedstat", thread.process, thread.thread));
    used.ok()?.split_whitespace().next()?.parse().ok()
}
