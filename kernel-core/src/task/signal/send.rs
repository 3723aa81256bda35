//! Sending signals.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as sys;

use super::{GroupSignals, SIGCONT, SIGKILL, STOPS, UNBLOCKABLE, bit};
use crate::errno::{EAGAIN, Result};
use crate::host::Host;
use crate::sched::wait::{Events, Wake};
use crate::task::process::ExitStatus;
use crate::task::siginfo::SigInfo;
use crate::task::signal::action::{DEFAULT, DefaultAction, SignalAction, default_action};
use crate::task::trace::trap;
use crate::task::{Process, Task};

/// Why a real-time signal may not find a place in the queue.
const SIGPENDING: u32 = sys::RLIMIT_SIGPENDING;

impl<H: Host> Process<H> {
    /// Sends a signal to the process: any thread that does not block it may take it. EAGAIN: the queue is full.
    pub fn send(&self, info: SigInfo) -> Result<()> {
        self.send_to(None, info)
    }

    /// Sends a signal to one thread of it.
    pub fn send_to_thread(&self, task: &Task<H>, info: SigInfo) -> Result<()> {
        self.send_to(Some(task), info)
    }

    fn send_to(&self, target: Option<&Task<H>>, info: SigInfo) -> Result<()> {
        let mut wake = Vec::new();
        let sent = {
            let mut group = self.signals.lock();
            let continued = self.before_sending(&mut group, info.signal);
            if continued {
                wake.extend(group.threads.iter().cloned());
            }
            // To the first process of a namespace these can come from outside only.
            let forced =
                self.is_namespace_init() && info.is_from_outside() && bit(info.signal) & UNBLOCKABLE != 0;
            if group.threads.is_empty() || !forced && self.is_futile(&group, target, info.signal) {
                Ok(())
            } else if info.signal == SIGKILL {
                group.end(ExitStatus::Signaled { signal: SIGKILL, core: false }, &mut wake);
                Ok(())
            } else {
                let place = || {
                    let own = self.timers.place(&info);
                    own.or_else(|| {
                        self.places.take(self.uid.load(Ordering::Relaxed), self.rlimit(SIGPENDING))
                    })
                };
                let queued = match target {
                    Some(task) => task.signals.lock().pending.push(info, place),
                    None => group.pending.push(info, place),
                };
                match target {
                    Some(_) if queued => wake.extend(group.threads.iter().find(|t| same(t, target)).cloned()),
                    None if queued => wake.extend(group.taker(info.signal)),
                    _ => {}
                }
                for task in &wake {
                    task.update_attention(&group);
                }
                if queued { Ok(()) } else { Err(EAGAIN) }
            }
        };
        for task in wake {
            task.wake(Events::empty());
            task.interrupt();
        }
        self.signal_queue.wake(Events::IN);
        sent
    }

    /// What sending does whether or not the signal is taken: SIGCONT continues, stop signals and it cancel each other.
    /// Gives whether all threads have to look at it.
    fn before_sending(&self, group: &mut GroupSignals<H>, signal: u8) -> bool {
        let cancelled = match signal {
            SIGCONT => STOPS,
            _ if bit(signal) & STOPS != 0 => bit(SIGCONT),
            _ => return false,
        };
        group.pending.remove(cancelled);
        for thread in &group.threads {
            thread.signals.lock().pending.remove(cancelled);
        }
        if signal != SIGCONT {
            return false;
        }
        let continues = group.stop.take().is_some();
        group.to_stop = 0;
        group.continued |= continues;
        let mut told = false;
        for thread in &group.threads {
            thread.take_trap(trap::PARTICIPATE);
            thread.notify_trap();
            told |= thread.has_trap(trap::NOTIFY);
            thread.update_attention(group);
        }
        continues || told
    }

    /// Whether the signal is dropped here: ignored and not blocked, or one that PID 1 is protected from.
    fn is_futile(&self, group: &GroupSignals<H>, target: Option<&Task<H>>, signal: u8) -> bool {
        // A blocked signal is kept, for PID 1 too: the action may change before it is unblocked, or sigtimedwait takes it.
        // So is one of a tracee: its tracer sees it first.
        let traced = match target {
            Some(task) => task.is_traced(),
            None => group.threads.iter().any(|thread| thread.is_traced()),
        };
        let blocked = match target {
            Some(task) => task.signals.lock().blocked & bit(signal) != 0,
            None => group.threads.iter().all(|thread| thread.signals.lock().blocked & bit(signal) != 0),
        };
        let actions = self.actions();
        !blocked && !traced && (self.is_protected(&actions.get(signal), signal) || actions.ignores(signal))
    }

    /// PID 1 gets only signals that it has a handler for.
    pub(super) fn is_protected(&self, action: &SignalAction, signal: u8) -> bool {
        self.own_pid == 1
            && (bit(signal) & UNBLOCKABLE != 0
                || action.handler == DEFAULT
                    && !matches!(default_action(signal), DefaultAction::Ignore | DefaultAction::Continue))
    }

    /// Forgets pending signals of `mask`, in all threads.
    pub(crate) fn forget_pending(&self, mask: u64) {
        let mut group = self.signals.lock();
        group.pending.remove(mask);
        for thread in &group.threads {
            thread.signals.lock().pending.remove(mask);
        }
        for thread in &group.threads {
            thread.update_attention(&group);
        }
    }

    /// Ends the process: all threads leave as soon as they look.
    pub fn end(&self, status: ExitStatus) {
        let mut wake = Vec::new();
        self.signals.lock().end(status, &mut wake);
        for task in wake {
            task.wake(Events::empty());
            task.interrupt();
        }
    }
}

fn same<H: Host>(a: &Arc<Task<H>>, b: Option<&Task<H>>) -> bool {
    b.is_some_and(|b| core::ptr::eq(&**a, b))
}

impl<H: Host> GroupSignals<H> {
    /// Makes all threads end with `status`, unless the process ends already; they are added to `wake`.
    pub(crate) fn end(&mut self, status: ExitStatus, wake: &mut Vec<Arc<Task<H>>>) {
        if self.ending.is_none() {
            self.ending = Some(status);
        }
        self.stop = None;
        for thread in &self.threads {
            thread.set_attention(true);
            wake.push(thread.clone());
        }
    }

    /// A thread that does not block the signal: the first one if it can.
    fn taker(&self, signal: u8) -> Option<Arc<Task<H>>> {
        let takes = |task: &&Arc<Task<H>>| task.signals.lock().blocked & bit(signal) == 0;
        self.threads.iter().find(takes).cloned()
    }
}

impl<H: Host> Task<H> {
    /// Sends a signal that the task's own instruction caused. It cannot be put off: if it is blocked or ignored, it gets
    /// its default action, which ends the process. Source: `force_sig` in Linux.
    pub fn force(&self, info: SigInfo) {
        self.force_with(info, false);
    }

    /// As [`Task::force`], and neither a handler nor a tracer helps.
    pub(crate) fn force_default(&self, info: SigInfo) {
        self.force_with(info, true);
    }

    fn force_with(&self, info: SigInfo, default: bool) {
        let mut group = self.process.signals.lock();
        let actions = self.process.actions();
        let mut signals = self.signals.lock();
        let action = actions.get(info.signal);
        if default || action.handler == super::action::IGNORE || signals.blocked & bit(info.signal) != 0 {
            actions.set(info.signal, SignalAction::default());
        }
        signals.blocked &= !bit(info.signal);
        if signals.pending.set() & bit(info.signal) != 0 {
            signals.pending.remove(bit(info.signal));
        }
        signals.pending.put(info, None);
        if default {
            signals.inescapable = Some(info.signal);
        }
        drop(signals);
        group.forced = Some(info.signal);
        self.update_attention(&group);
    }
}
