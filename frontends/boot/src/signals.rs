//! Signals that the host sends to Lodger: SIGINT, SIGTERM and SIGHUP are the guest's, and a second SIGTERM within five
//! seconds ends the instance.
//!
//! They are blocked in every thread and taken by one with sigwait(3): no handler, and so nothing that must be safe in one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// SIGTERM's number, as exit statuses have it.
const SIGTERM: u8 = 15;

/// Within this time, a second SIGTERM ends the instance.
const INSIST: Duration = Duration::from_secs(5);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Pass it to PID 1.
    Pass(u8),
    /// End the instance with this exit status.
    End(u8),
}

/// The signals, blocked.
pub struct Signals {
    set: SigSet,
}

impl Signals {
    /// Blocks them in this thread and all that it starts from now on.
    pub fn block() -> Result<Signals> {
        let set = Signals::set();
        set.thread_block().context("cannot block signals")?;
        Ok(Signals { set })
    }

    fn set() -> SigSet {
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
    }

    /// Waits for signals and hands on what they ask for, for as long as the process lives.
    pub fn serve(self, mut act: impl FnMut(Request)) {
        let mut insistence = Insistence::default();
        loop {
            if let Ok(signal) = self.set.wait() {
                act(insistence.take(signal, Instant::now()));
            }
        }
    }
}

/// Counts SIGTERMs.
#[derive(Debug, Default)]
struct Insistence {
    last: Option<Instant>,
}

impl Insistence {
    fn take(&mut self, signal: Signal, now: Instant) -> Request {
        match signal {
            Signal::SIGTERM => match self.last.replace(now) {
                Some(last) if now.duration_since(last) <= INSIST => Request::End(128 + SIGTERM),
                _ => Request::Pass(SIGTERM),
            },
            signal => Request::Pass(signal as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_sigterm_soon_after_the_first_ends_the_instance() {
        let (mut insistence, start) = (Insistence::default(), Instant::now());
        let mut at = |signal, seconds| insistence.take(signal, start + Duration::from_secs(seconds));
        assert_eq!(at(Signal::SIGTERM, 0), Request::Pass(SIGTERM));
        assert_eq!(at(Signal::SIGINT, 1), Request::Pass(2));
        assert_eq!(at(Signal::SIGTERM, 6), Request::Pass(SIGTERM), "too late to insist");
        assert_eq!(at(Signal::SIGTERM, 10), Request::End(143));
    }
}
