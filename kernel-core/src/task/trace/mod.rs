//! Tracing: a guest process looks at another one and steers it. Source: `ptrace(2)`.
//!
//! Who traces whom is told by the process tree (`tree.traced`), under its lock. What a tracee has stopped for is in the
//! tracee itself ([`Tracee`]): when it stops, it leaves its registers there, its tracer reads and changes them, and it takes
//! them back when it goes on. [`Watch::TRACED`](crate::task::watched::Watch) says to the tracee that all this concerns it.
//!
//! [`stop`] is the tracee's side, [`relation`] who traces whom and how that ends; the requests of a tracer are in
//! `syscall/ptrace`.

pub mod relation;
pub mod stop;

use alloc::boxed::Box;
use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use crate::host::{Fpu, Host, Registers};
use crate::task::Task;
use crate::task::siginfo::SigInfo;

bitflags::bitflags! {
    /// `PTRACE_O_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct TraceOptions: u32 {
        /// Stops at calls are told from SIGTRAP by bit 7.
        const SYSGOOD = 1;
        /// Stop after fork, and trace the child.
        const FORK = 2;
        /// Stop after vfork, and trace the child.
        const VFORK = 4;
        /// Stop after clone, and trace the child.
        const CLONE = 8;
        /// Stop after exec.
        const EXEC = 0x10;
        /// Stop when a vfork child has let go.
        const VFORK_DONE = 0x20;
        /// Stop before the end.
        const EXIT = 0x40;
        /// Stop where a filter says so.
        const SECCOMP = 0x80;
        /// End the tracee when the tracer ends.
        const EXITKILL = 0x10_0000;
    }
}

/// `PTRACE_EVENT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It forked.
    Fork = 1,
    /// It forked and waits for the child to let go.
    Vfork = 2,
    /// It cloned.
    Clone = 3,
    /// It executed a program.
    Exec = 4,
    /// The child of its vfork has let go.
    VforkDone = 5,
    /// It is about to end.
    Exit = 6,
    /// A filter asks the tracer.
    Seccomp = 7,
    /// Stopped by the tracer, or with its process, or attached without being asked for.
    Stop = 128,
}

impl Event {
    /// The option that asks for it.
    fn option(self) -> TraceOptions {
        match self {
            Event::Fork => TraceOptions::FORK,
            Event::Vfork => TraceOptions::VFORK,
            Event::Clone => TraceOptions::CLONE,
            Event::Exec => TraceOptions::EXEC,
            Event::VforkDone => TraceOptions::VFORK_DONE,
            Event::Exit => TraceOptions::EXIT,
            Event::Seccomp => TraceOptions::SECCOMP,
            Event::Stop => TraceOptions::empty(),
        }
    }

    /// The code of such a stop, for `signal`.
    pub fn code(self, signal: u8) -> u32 {
        u32::from(signal) | (self as u32) << 8
    }
}

/// SIGTRAP as the type that signals have here.
pub const SIGTRAP: u8 = sys::SIGTRAP as u8;

/// What [`TraceOptions::SYSGOOD`] adds to the code of a stop at a call.
pub const SYSGOOD_BIT: u32 = 0x80;

/// `PTRACE_EVENTMSG_SYSCALL_*`: on which side of a call a tracee has stopped.
pub const AT_ENTRY: u64 = 1;
/// See [`AT_ENTRY`].
pub const AT_EXIT: u64 = 2;

/// What a tracee has to do about being traced. Changes under its process's signal lock.
pub mod trap {
    /// Stop: its process does, or the tracer wants it to.
    pub const STOP: u8 = 1;
    /// Tell a tracer that seized it that the state of its process has changed.
    pub const NOTIFY: u8 = 2;
    /// It counts among those that have yet to stop before their process has. Of any thread, traced or not.
    pub const PARTICIPATE: u8 = 4;
}

/// A tracee's state.
#[derive(Default)]
pub struct Tracee {
    /// By `PTRACE_SEIZE`, so that stops are told by events and no SIGSTOP is sent.
    pub seized: bool,
    /// What the tracer wants to hear of.
    pub options: TraceOptions,
    /// What goes with the last event.
    pub message: u64,
    /// The trap flag in its registers was set for the tracer.
    pub stepping: bool,
    /// Whether it is stopped.
    pub phase: Phase,
}

/// Whether a tracee is stopped.
#[derive(Default)]
pub enum Phase {
    /// Not stopped.
    #[default]
    Running,
    /// Stopped: the tracer may look at it.
    Stopped(Box<Stopped>),
    /// Let go by the tracer; it has not noticed yet.
    Resumed(Box<Stopped>),
}

/// A stopped tracee.
pub struct Stopped {
    /// As `wait` tells it: a signal and, above it, an event.
    pub code: u32,
    /// Somebody has waited for it.
    pub is_reported: bool,
    /// The signal it stopped for; `None` in a stop of the whole process.
    pub info: Option<SigInfo>,
    /// General registers.
    pub regs: Registers,
    /// The call that it is in (`orig_rax`).
    pub call: u64,
    /// Vector state.
    pub fpu: Arc<Fpu>,
    /// `PTRACE_LISTEN`: it stays stopped, but is left in peace, until the state of its process changes.
    pub is_listening: bool,
    /// The signal that it goes on with; 0 for none.
    pub signal: u8,
}

impl Tracee {
    /// What it has stopped for, if it has and may be looked at.
    pub fn stopped(&mut self) -> Option<&mut Stopped> {
        match &mut self.phase {
            Phase::Stopped(stopped) if !stopped.is_listening => Some(stopped),
            _ => None,
        }
    }

    /// Lets it go, with a signal. Wake the task afterwards.
    pub fn resume(&mut self, signal: u8) {
        self.phase = match core::mem::take(&mut self.phase) {
            Phase::Stopped(mut stopped) => {
                stopped.signal = signal;
                Phase::Resumed(stopped)
            }
            other => other,
        };
    }

    /// Lets it look at the state of its process again if it only listens. Wake the task afterwards.
    pub fn end_listening(&mut self) {
        if matches!(&self.phase, Phase::Stopped(stopped) if stopped.is_listening) {
            self.resume(0);
        }
    }
}

impl<H: Host> Task<H> {
    /// Whether it is stopped for its tracer.
    pub(crate) fn is_trace_stopped(&self) -> bool {
        matches!(self.trace.lock().phase, Phase::Stopped(_))
    }
}
