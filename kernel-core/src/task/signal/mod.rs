//! Signals: pending ones, masks, actions; sending, delivery, stops. Source: `signal(7)`.
//!
//! A process's signal lock ([`crate::task::Process`]'s `signals`) is taken first, then those of its threads. Whoever changes
//! what is pending or blocked says so to the thread with its attention flag, still under the lock; the thread looks at
//! the flag before it goes back to the guest and before it sleeps.

pub mod action;
pub mod deliver;
pub mod pending;
pub mod places;
pub mod send;
pub mod stop;

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use crate::host::Host;
use crate::task::Task;
use crate::task::process::ExitStatus;
use crate::task::siginfo::SigInfo;
use crate::task::trace::trap;
use pending::Pending;

/// The bit of a signal in a mask.
pub const fn bit(signal: u8) -> u64 {
    if signal == 0 || signal > 64 { 0 } else { 1 << (signal - 1) }
}

/// SIGKILL as the type that signals have here.
pub const SIGKILL: u8 = sys::SIGKILL as u8;
/// SIGSTOP, likewise.
pub const SIGSTOP: u8 = sys::SIGSTOP as u8;
/// SIGCONT.
pub const SIGCONT: u8 = sys::SIGCONT as u8;
/// SIGCHLD.
pub const SIGCHLD: u8 = sys::SIGCHLD as u8;
/// SIGHUP.
pub const SIGHUP: u8 = sys::SIGHUP as u8;
/// SIGSEGV.
pub const SIGSEGV: u8 = sys::SIGSEGV as u8;

/// What can never be blocked.
pub const UNBLOCKABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);
/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
pub const STOPS: u64 =
    bit(SIGSTOP) | bit(sys::SIGTSTP as u8) | bit(sys::SIGTTIN as u8) | bit(sys::SIGTTOU as u8);

/// `sigaltstack`'s stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes; 0: there is none.
    pub size: u64,
    /// `SS_AUTODISARM`: forgotten while a handler runs on it.
    pub auto_disarm: bool,
}

impl AltStack {
    /// Whether a stack pointer is on it.
    pub fn contains(&self, sp: u64) -> bool {
        !self.auto_disarm && self.size != 0 && sp > self.base && sp - self.base <= self.size
    }
}

/// A thread's part of the signal state.
#[derive(Default)]
pub struct TaskSignals {
    /// Sent to this thread alone.
    pub pending: Pending,
    /// Blocked signals.
    pub blocked: u64,
    /// The mask to go back to once a signal was handled or none is left: `sigsuspend`, `ppoll`.
    pub saved: Option<u64>,
    /// Alternative stack.
    pub alt_stack: AltStack,
    /// The signal that ends the process, whatever a handler or a tracer would do about it (`SA_IMMUTABLE` in Linux).
    pub inescapable: Option<u8>,
}

/// The thread group's part.
pub struct GroupSignals<H: Host> {
    /// Sent to the process.
    pub(crate) pending: Pending,
    /// Threads that have not ended, the first one first.
    pub(crate) threads: Vec<Arc<Task<H>>>,
    /// The process ends, with this.
    pub(crate) ending: Option<ExitStatus>,
    /// Exec: all threads but this one end.
    pub(crate) sole_survivor: Option<u32>,
    /// It is stopped, or stopping, by this signal.
    pub(crate) stop: Option<u8>,
    /// Threads that have yet to stop before the stop is complete.
    pub(crate) to_stop: usize,
    /// All have stopped: the parent was told, or its tracer.
    pub(crate) stop_complete: bool,
    /// It was stopped and goes on, and the parent has not heard of it yet.
    pub(crate) continued: bool,
    /// The signal that an instruction of a thread caused and that may end even PID 1.
    pub(crate) forced: Option<u8>,
}

impl<H: Host> Default for GroupSignals<H> {
    fn default() -> Self {
        GroupSignals {
            pending: Pending::default(),
            threads: Vec::new(),
            ending: None,
            sole_survivor: None,
            stop: None,
            to_stop: 0,
            stop_complete: false,
            continued: false,
            forced: None,
        }
    }
}

impl<H: Host> GroupSignals<H> {
    /// Whether this thread has to end.
    pub(crate) fn ends(&self, tid: u32) -> bool {
        self.ending.is_some() || self.sole_survivor.is_some_and(|survivor| survivor != tid)
    }
}

impl<H: Host> Task<H> {
    /// Whether a call should end early: a signal is to be delivered, or the task has to stop or end.
    pub fn signal_pending(&self) -> bool {
        self.needs_attention()
    }

    /// Whether the task has to end.
    pub fn is_ending(&self) -> bool {
        self.needs_attention() && self.process.signals.lock().ends(self.tid())
    }

    /// Works out [`Task::needs_attention`] anew, under the group's lock.
    pub(crate) fn update_attention(&self, group: &GroupSignals<H>) {
        let signals = self.signals.lock();
        let deliverable = (signals.pending.set() | group.pending.set()) & !signals.blocked;
        let stops = match self.is_traced() {
            true => self.has_trap(trap::STOP | trap::NOTIFY),
            false => group.stop.is_some(),
        };
        self.set_attention(deliverable != 0 || stops || group.ends(self.tid()));
    }

    /// The blocked signals.
    pub fn blocked(&self) -> u64 {
        self.signals.lock().blocked
    }

    /// Changes the mask and gives the old one.
    pub fn set_blocked(&self, change: impl FnOnce(u64) -> u64) -> u64 {
        let group = self.process.signals.lock();
        let old = {
            let mut signals = self.signals.lock();
            let old = signals.blocked;
            signals.blocked = change(old) & !UNBLOCKABLE;
            old
        };
        self.update_attention(&group);
        old
    }

    /// Blocks `mask` for the length of one call (`ppoll`, `sigsuspend`). The mask comes back when the call's result is
    /// known: at once with [`Task::restore_mask`], or when a signal that interrupted it was handled.
    pub fn set_mask_for_call(&self, mask: u64) {
        let old = self.set_blocked(|_| mask);
        self.signals.lock().saved = Some(old);
    }

    /// Ends [`Task::set_mask_for_call`].
    pub fn restore_mask(&self) {
        let saved = self.signals.lock().saved.take();
        if let Some(saved) = saved {
            self.set_blocked(|_| saved);
        }
    }

    /// Whether a signal would have no effect now.
    pub fn is_blocked_or_ignored(&self, signal: u8) -> bool {
        self.blocked() & bit(signal) != 0 || self.process.actions().ignores(signal)
    }

    /// Takes a pending signal of `mask`, the thread's own before the process's.
    pub fn take_signal(&self, mask: u64) -> Option<SigInfo> {
        let mut info = {
            let mut group = self.process.signals.lock();
            let own = self.signals.lock().pending.take(mask);
            let info = own.or_else(|| group.pending.take(mask));
            self.update_attention(&group);
            info
        }?;
        self.process.timers.complete(&mut info);
        Some(info)
    }

    /// Whether a signal of `mask` is pending.
    pub fn has_signal(&self, mask: u64) -> bool {
        self.pending() & mask != 0
    }

    /// The signals that are pending for the thread or its process.
    pub fn pending(&self) -> u64 {
        let group = self.process.signals.lock();
        self.signals.lock().pending.set() | group.pending.set()
    }
}
