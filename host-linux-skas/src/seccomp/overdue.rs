//! Guest threads that hide from kicks. A guest can load registers of its choice, and with them a mask of signals, so that
//! the signal by which it is interrupted stays pending for ever. Or it jumps to where the stub waits for the kernel, which
//! waits for it.
//!
//! An honest thread has that signal blocked only in the handler, from its entry to the post: it uses next to no time there,
//! and does not sleep before the post. Time alone says nothing, as the host may not have run it. So a thread that was kicked
//! is looked at now and then: if it sleeps, or has used more time than it needs to see the signal, its stub is ended.

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
const BLOCKED_NS: u64 = 10_000_000;
/// Time on a processor in which a signal that is not blocked is seen, whatever the host does for the thread meanwhile.
const SEEN_NS: u64 = 1_000_000_000;

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

/// A thread that had not stopped when it was looked at.
#[derive(Clone, Copy)]
struct Suspect {
    kicked: Kicked,
    state: State,
}

/// What the host says of a thread.
#[derive(Clone, Copy)]
struct State {
    /// Whether it has the signal blocked.
    blocked: bool,
    sleeps: bool,
    used_ns: u64,
}

/// Looks at a thread that was kicked, and ends its stub if it hides.
fn inspect(deaths: &Deaths, kicked: Kicked, before: Option<Suspect>) -> Option<Suspect> {
    let state = state(kicked.thread).filter(|_| deaths.has_posted(kicked.thread.process) == Some(false))?;
    let Some(before) = before.filter(|before| before.kicked == kicked) else {
        return Some(Suspect { kicked, state });
    };
    let used_ns = state.used_ns.saturating_sub(before.state.used_ns);
    let enough_ns = if state.blocked && before.state.blocked { BLOCKED_NS } else { SEEN_NS };
    if used_ns > enough_ns || (state.sleeps && before.state.sleeps && used_ns == 0) {
        log::info!("a guest hides from interrupts: its process is ended");
        deaths.end(kicked.thread.process);
    }
    Some(before)
}

/// The state of a thread; `None` if it is gone.
fn state(thread: ThreadId) -> Option<State> {
    let folder = format!("/proc/{}/task/{}", thread.process, thread.thread);
    let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mask = u64::from_str_radix(field("SigBlk:")?, 16).ok()?;
    let used = std::fs::read_to_string(format!("{folder}/schedstat")).ok()?;
    Some(State {
        blocked: mask & 1 << (KICK_SIGNAL - 1) != 0,
        sleeps: field("State:")?.starts_with('S'),
        used_ns: used.split_whitespace().next()?.parse().ok()?,
    })
}
