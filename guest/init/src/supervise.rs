//! The life of PID 1 after the command has started: forward signals, reap, and clean up behind the command.
//!
//! All signals of interest are blocked before the command is forked and are taken with sigtimedwait(2), so there is
//! no handler and no window in which one could be lost. (Linux drops signals to PID 1 that have the default action,
//! but keeps those that are blocked.)

use std::time::{Duration, Instant};

use crate::sys::{self, Errno, Reaped, Signals};

/// How long processes that the command left behind have to end after SIGTERM.
const GRACE: Duration = Duration::from_millis(200);

/// Signals that go to the command alone.
const TO_COMMAND: [i32; 3] = [libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// Signals that go to the command's whole group, as a terminal would send them: a shell that waits for a program
/// acts on SIGINT only if the program got it too.
const TO_GROUP: [i32; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGWINCH];

/// The signals that must be blocked before the command starts.
pub fn signals() -> Signals {
    let mut all = vec![libc::SIGCHLD];
    all.extend(TO_COMMAND);
    all.extend(TO_GROUP);
    Signals::of(&all)
}

/// Stays until the command `child` has ended, and returns its exit status.
pub fn until_end_of(child: i32, signals: &Signals) -> i32 {
    loop {
        match signals.wait(None) {
            Ok(libc::SIGCHLD) => {
                if let Some(status) = reap_all(child) {
                    return status;
                }
            }
            Ok(signal) => forward(child, signal),
            // Only EINTR is possible: a stop and continue.
            Err(_) => {}
        }
    }
}

/// Several children may have ended behind one SIGCHLD, so all are reaped.
fn reap_all(child: i32) -> Option<i32> {
    let mut found = None;
    while let Reaped::Child(pid, status) = sys::reap() {
        if pid == child {
            found = Some(status);
        }
    }
    found
}

/// A command that ended meanwhile is no error: its status is about to be reaped.
fn forward(child: i32, signal: i32) {
    if TO_GROUP.contains(&signal) {
        match sys::kill(-child, signal) {
            // The child has not reached its setsid(2) yet. Its signals are blocked until it has.
            Err(Errno(libc::ESRCH)) => {}
            _ => return,
        }
    }
    let _ = sys::kill(child, signal);
}

/// Ends what the command left behind: SIGTERM, a short grace, SIGKILL. Only for PID 1, to whom all processes belong and
/// whose children are all that is left.
pub fn end_the_rest(signals: &Signals) {
    for (signal, grace) in [(libc::SIGTERM, GRACE), (libc::SIGKILL, GRACE)] {
        if !anything_left() {
            return;
        }
        let _ = sys::kill(-1, signal);
        // A stopped process must run to die of SIGTERM.
        let _ = sys::kill(-1, libc::SIGCONT);
        let deadline = Instant::now() + grace;
        while anything_left() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let _ = signals.wait(Some(left));
        }
    }
}

fn anything_left() -> bool {
    loop {
        match sys::reap() {
            Reaped::Child(..) => {}
            Reaped::NoneYet => return true,
            Reaped::NoChildren => return false,
        }
    }
}
