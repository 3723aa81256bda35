//! Delivery: what happens to a task's signals on its way back to the guest, and what becomes of the call they interrupted.

use super::action::{ActionFlags, DEFAULT, DefaultAction, IGNORE, SignalAction, default_action};
use super::{SIGSEGV, UNBLOCKABLE, bit};
use crate::arch::x86_64::{SYSCALL_LEN, signal_frame};
use crate::errno::EINTR;
use crate::host::Host;
use crate::syscall::{Cx, Restart};
use crate::task::process::ExitStatus;
use crate::task::siginfo::SigInfo;
use crate::task::trace::trap;

/// A call that a signal interrupted.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    /// Its number.
    pub number: u64,
    /// When it starts again.
    pub restart: Restart,
}

impl<H: Host> Cx<'_, H> {
    /// Handles stops, the end and all pending signals, and settles what `interrupted` ends with. Afterwards the task may go
    /// back to the guest, unless it is ending.
    pub(crate) fn deliver_signals(&self, mut interrupted: Option<Interrupted>) {
        loop {
            let (ends, stopped) = {
                let group = self.task.process.signals.lock();
                (group.ends(self.task.tid()), group.stop.is_some())
            };
            if ends {
                return;
            }
            let traced = self.task.is_traced();
            if traced && self.task.has_trap(trap::STOP | trap::NOTIFY) {
                self.stop_by_trap(&mut interrupted);
                continue;
            }
            if stopped && !traced {
                self.stay_stopped();
                continue;
            }
            self.report_continued();
            let Some(mut info) = self.next_signal() else { break };
            let inescapable = self.task.signals.lock().inescapable == Some(info.signal);
            if traced && !inescapable {
                match self.stop_for_signal(info, &mut interrupted) {
                    Some(instead) => info = instead,
                    None => continue,
                }
            }
            let actions = self.task.process.actions();
            let action = if inescapable { SignalAction::default() } else { actions.get(info.signal) };
            match action.handler {
                IGNORE => {}
                DEFAULT => self.default_action(&info, &action),
                _ => {
                    if action.flags.contains(ActionFlags::RESETHAND) {
                        actions.set(info.signal, SignalAction { handler: DEFAULT, ..action });
                    }
                    if let Some(call) = interrupted.take() {
                        self.settle_with_handler(call, &action);
                    }
                    self.run_handler(&info, &action);
                }
            }
        }
        if let Some(call) = interrupted {
            self.start_again(call);
        }
        self.task.restore_mask();
    }

    /// Takes the next signal that is not blocked.
    fn next_signal(&self) -> Option<SigInfo> {
        let blocked = self.task.blocked();
        let info = self.task.take_signal(!blocked)?;
        Some(info)
    }

    fn default_action(&self, info: &SigInfo, action: &SignalAction) {
        let process = &self.task.process;
        let forced = process.signals.lock().forced.take_if(|signal| *signal == info.signal).is_some();
        // What cannot be blocked was let through on purpose.
        let forced = forced || process.is_namespace_init() && bit(info.signal) & UNBLOCKABLE != 0;
        if !forced && process.is_protected(action, info.signal) {
            return;
        }
        match default_action(info.signal) {
            DefaultAction::Ignore | DefaultAction::Continue => {}
            DefaultAction::Stop => self.begin_stop(info.signal),
            DefaultAction::Terminate => {
                process.end(ExitStatus::Signaled { signal: info.signal, core: false });
            }
            DefaultAction::Core => {
                let core = self.dump_core(info);
                // If somebody else ends the process, or all threads but one, it is as they say.
                if !self.task.is_ending() {
                    process.end(ExitStatus::Signaled { signal: info.signal, core });
                }
            }
        }
    }

    /// A handler runs: the call ends with EINTR, or starts again when the handler returns.
    fn settle_with_handler(&self, call: Interrupted, action: &SignalAction) {
        let again = match call.restart {
            Restart::Always => true,
            Restart::WithFlag => action.flags.contains(ActionFlags::RESTART),
            Restart::WithoutHandler | Restart::Kept => false,
        };
        if again {
            self.start_again(call);
        } else {
            self.context.borrow_mut().regs.rax = i64::from(-EINTR.code()) as u64;
        }
    }

    /// Puts the registers back to before the call.
    fn start_again(&self, call: Interrupted) {
        let regs = &mut self.context.borrow_mut().regs;
        regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
        regs.rax = match call.restart {
            Restart::Kept => u64::from(linux_raw_sys::general::__NR_restart_syscall),
            _ => call.number,
        };
    }

    /// Makes the guest run a handler, by a frame on its stack.
    fn run_handler(&self, info: &SigInfo, action: &SignalAction) {
        self.interrupt_rseq();
        self.end_step();
        let (mask, stack) = {
            let mut signals = self.task.signals.lock();
            (signals.saved.take().unwrap_or(signals.blocked), signals.alt_stack)
        };
        match signal_frame::push(self, info, action, mask, stack) {
            Ok(()) => {
                if stack.auto_disarm {
                    self.task.signals.lock().alt_stack = Default::default();
                }
                let own = if action.flags.contains(ActionFlags::NODEFER) { 0 } else { bit(info.signal) };
                self.task.set_blocked(|blocked| (blocked | action.mask | own) & !UNBLOCKABLE);
                self.stop_at_handler();
            }
            // No room for the frame: SIGSEGV, which ends the process if it was SIGSEGV that found none.
            Err(_) => {
                if info.signal == SIGSEGV {
                    self.task.process.actions().set(SIGSEGV, SignalAction::default());
                }
                self.task.force(SigInfo::kernel(SIGSEGV));
            }
        }
    }
}
