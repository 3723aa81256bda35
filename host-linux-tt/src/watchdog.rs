//! The end of a kernel that a guest has wrecked so that it computes for ever: it waits for a lock whose word was
//! overwritten, or walks along a list that has become a circle.
//!
//! A timer of the host counts the processor time of the vCPU's thread, so that neither a loaded machine nor a slow disk
//! is taken for that. Its handler looks at whether a guest has run, or the kernel has waited for something to do, since
//! it looked last. The numbers that it compares may have been overwritten too, but nobody changes them while the kernel
//! is stuck; and where they lie is written in its code.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use host_linux::timer::Timer;
use host_linux::vcpu;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigevNotify, Signal};
use nix::time::ClockId;
use nix::unistd::gettid;

use crate::last_words;

/// The signal of the timer.
pub const TICK: Signal = Signal::SIGVTALRM;
/// How much processor time lies between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// So many looks in a row without a change are the end. The longest that a guest can have the kernel compute is a call
/// that copies 2 GiB, which takes two seconds.
const LOOKS: u32 = 8;

/// What was seen at the last look, and at how many before it.
static SEEN: AtomicU64 = AtomicU64::new(0);
static UNCHANGED: AtomicU32 = AtomicU32::new(0);

/// Watches the thread that it was started on, until it is dropped.
pub struct Watchdog {
    /// Nothing where the host gives none (`ulimit -i 0`); everything else works without.
    _timer: Option<Timer>,
}

impl Watchdog {
    /// Watches the calling thread, which is a vCPU about to run its first guest.
    pub fn start() -> Watchdog {
        Watchdog::with_period(PERIOD)
    }

    fn with_period(period: Duration) -> Watchdog {
        let timer = timer(period).inspect_err(|errno| {
            log::warn!("a kernel that a guest makes compute for ever is not ended: {errno}");
        });
        Watchdog { _timer: timer.ok() }
    }
}

/// Ticks on the calling thread.
fn timer(period: Duration) -> Result<Timer, Errno> {
    SigSet::from(TICK).thread_unblock()?;
    let notify = SigevNotify::SigevThreadId { signal: TICK, thread_id: gettid().as_raw(), si_value: 0 };
    Timer::start(ClockId::CLOCK_THREAD_CPUTIME_ID, notify, period, period)
}

/// The handler of [`TICK`]. It uses nothing that could be in use.
pub extern "C" fn on_tick(_: c_int) {
    let turns = vcpu::turns();
    if SEEN.swap(turns, Ordering::Relaxed) != turns {
        UNCHANGED.store(0, Ordering::Relaxed);
    } else if UNCHANGED.fetch_add(1, Ordering::Relaxed) >= LOOKS - 1 {
        last_words::of_a_hang();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use host_linux::vcpu::Vcpu;

    use super::*;

    const HOW: &str = "LODGER_TEST_STUCK";
    const SHORT: Duration = Duration::from_millis(10);

    /// In the process that a test starts: computes for ten times as long as the end takes, or takes turns meanwhile.
    #[test]
    fn compute() {
        let Ok(how) = std::env::var(HOW) else { return };
        last_words::install();
        let _watchdog = Watchdog::with_period(SHORT);
        let end = Instant::now() + SHORT * LOOKS * 10;
        while Instant::now() < end {
            if how == "turns" {
                Vcpu::default().wait(Some(0));
            }
        }
    }

    fn ended(how: &str) -> (Option<i32>, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "watchdog::tests::compute"]).env(HOW, how);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn who_computes_without_a_turn_is_ended_with_a_sentence() {
        let (status, text) = ended("spins");
        assert_eq!(status, Some(125), "{text}");
        assert!(text.contains(last_words::SENTENCE), "{text}");
    }

    #[test]
    fn who_takes_turns_goes_on() {
        let (status, text) = ended("turns");
        assert_eq!(status, Some(0), "{text}");
    }
}
