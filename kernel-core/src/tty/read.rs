//! Reading a terminal: lines in canonical mode, VMIN and VTIME in the other.
//!
//! Files do not block, so the timers of VTIME live with the terminal: an attempt that has to wait starts one, which wakes
//! the queue when it is over, and the next attempt of the same thread gives what there is. A timer that goes off while
//! nobody waits is forgotten. Two differences to Linux remain: a signal that ends a wait leaves bytes below VMIN in the
//! terminal instead of giving them as a short read, and does not start VTIME anew for the next read.

use alloc::sync::{Arc, Weak};

use linux_raw_sys::general as sys;

use crate::errno::{EAGAIN, Result};
use crate::io::Sink;
use crate::sched::timers::TimerToken;
use crate::sched::wait::{Events, Wake};
use crate::tty::tty::{READABLE, State, Tty};

/// The unit of VTIME, in nanoseconds.
const TENTH_NS: u64 = 100_000_000;

/// A wait for VTIME.
pub(super) struct ReadTimer {
    /// The thread that waits.
    tid: u32,
    /// How many bytes there were when it started: another one starts it anew.
    seen: usize,
    token: TimerToken,
    deadline_ns: u64,
    expired: bool,
}

/// Goes off when VTIME is over.
struct TimeUp(Weak<Tty>);

impl Wake for TimeUp {
    fn wake(&self, _: Events) {
        let Some(tty) = self.0.upgrade() else { return };
        {
            let now = tty.services.clock.monotonic_ns();
            let mut state = tty.state.lock();
            // An older timer may have been replaced while it went off.
            match &mut state.read_timer {
                Some(timer) if timer.deadline_ns <= now => timer.expired = true,
                _ => return,
            }
            if tty.queue.is_empty() {
                state.read_timer = None;
            }
        }
        tty.queue.wake(READABLE);
    }
}

/// Who reads, and whether it would wait.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub tid: u32,
    /// O_NONBLOCK is set.
    pub nonblocking: bool,
    /// What its file was opened under.
    pub hangups: u64,
}

/// What a read may do now.
enum Now {
    Take,
    End,
    Wait,
    /// Wait, but not longer than VTIME.
    WaitFor(u64),
}

impl State {
    /// Whether `poll` says that a read would not wait. In raw mode VMIN bytes are needed for that, unless VTIME is set.
    pub fn poll_readable(&self) -> bool {
        if self.ldisc.reads_lines() {
            return self.ldisc.has_input() || self.console.input_ended;
        }
        let termios = self.ldisc.termios();
        let minimum = match termios.control(sys::VTIME) {
            0 => usize::from(termios.control(sys::VMIN)).max(1),
            _ => 1,
        };
        self.ldisc.readable() >= minimum || self.console.input_ended
    }

    fn decide(&self, reader: &Reader, wanted: usize) -> Now {
        if self.hangups != reader.hangups {
            return Now::End;
        }
        if self.ldisc.reads_lines() {
            return match self.ldisc.has_input() {
                true => Now::Take,
                false if self.console.input_ended => Now::End,
                false => Now::Wait,
            };
        }
        let termios = self.ldisc.termios();
        let minimum = usize::from(termios.control(sys::VMIN));
        let time_ns = u64::from(termios.control(sys::VTIME)) * TENTH_NS;
        let have = self.ldisc.readable();
        let timer = self.read_timer.as_ref().filter(|timer| timer.tid == reader.tid && timer.seen == have);
        let expired = timer.is_some_and(|timer| timer.expired);
        if have > 0 && (have >= minimum.min(wanted) || reader.nonblocking || expired) {
            Now::Take
        } else if self.console.input_ended {
            if have > 0 { Now::Take } else { Now::End }
        } else if have == 0 && minimum == 0 && (time_ns == 0 || expired) {
            Now::End
        } else if time_ns > 0 && !reader.nonblocking && (have > 0 || minimum == 0) {
            Now::WaitFor(time_ns)
        } else {
            Now::Wait
        }
    }
}

impl Tty {
    /// Reads for an open file. EAGAIN: wait; 0: the end of a file, a hangup, or nothing within VTIME.
    pub(super) fn read_input(&self, reader: &Reader, dst: &mut dyn Sink) -> Result<usize> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.update(|state, effects| {
            let now = state.decide(reader, dst.remaining());
            if let Now::WaitFor(time_ns) = now {
                self.start_timer(state, reader, time_ns);
                return Err(EAGAIN);
            }
            if let Some(timer) = state.read_timer.take_if(|timer| timer.tid == reader.tid) {
                self.services.timers.cancel(timer.token);
            }
            match now {
                Now::End => Ok(0),
                Now::Wait | Now::WaitFor(_) => Err(EAGAIN),
                Now::Take => {
                    let count = state.ldisc.read(dst)?;
                    state.feed(effects);
                    // Who sends input may have waited for the room.
                    effects.wake_master |= super::tty::WRITABLE;
                    Ok(count)
                }
            }
        })
    }

    /// Makes sure that a timer runs for what `reader` waits for.
    fn start_timer(&self, state: &mut State, reader: &Reader, time_ns: u64) {
        let seen = state.ldisc.readable();
        let runs = |timer: &ReadTimer| timer.tid == reader.tid && timer.seen == seen && !timer.expired;
        if state.read_timer.as_ref().is_some_and(runs) {
            return;
        }
        if let Some(old) = state.read_timer.take() {
            self.services.timers.cancel(old.token);
        }
        let deadline_ns = self.services.clock.after(time_ns);
        let token = self.services.timers.add(deadline_ns, Arc::new(TimeUp(self.me.clone())));
        state.read_timer = Some(ReadTimer { tid: reader.tid, seen, token, deadline_ns, expired: false });
    }
}
