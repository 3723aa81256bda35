//! The tracee's side: where it stops, and what it goes on with.

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as sys;

use super::{Event, Phase, SIGTRAP, SYSGOOD_BIT, Stopped, TraceOptions, trap};
use crate::arch::x86_64::FLAG_TF;
use crate::host::Host;
use crate::sched::wait::{Events, Wake};
use crate::syscall::{Cx, Restart, cx::Interruptible};
use crate::task::process::ExitStatus;
use crate::task::siginfo::{Payload, SigInfo};
use crate::task::signal::deliver::Interrupted;
use crate::task::signal::{GroupSignals, SIGKILL, bit};
use crate::task::tree::StateChange;
use crate::task::watched::Watch;
use crate::task::{Process, Task};

/// A stop that is about to be made.
struct Stop {
    code: u32,
    info: Option<SigInfo>,
    /// What goes with an event.
    message: Option<u64>,
    /// For the stop of the whole process.
    with_process: bool,
    /// Whether the end of the process ends it.
    killable: Interruptible,
}

/// What a tracee goes on with.
pub(crate) struct Resumed {
    /// The signal that the tracer gives it; 0 for none.
    pub signal: u8,
    /// What is known of the signal that it stopped for; the tracer may have changed it.
    pub info: Option<SigInfo>,
}

/// How a call that was interrupted shows in `rax` until it is settled (`ERESTART*`).
const RESTARTS: [(i64, Restart); 4] = [
    (-512, Restart::WithFlag),
    (-513, Restart::Always),
    (-514, Restart::WithoutHandler),
    (-516, Restart::Kept),
];

/// See [`RESTARTS`].
pub(crate) fn restart_code(restart: Restart) -> i64 {
    RESTARTS.iter().find(|(_, other)| *other == restart).map_or(-512, |(code, _)| *code)
}

impl<H: Host> Task<H> {
    /// Whether somebody traces it.
    pub(crate) fn is_traced(&self) -> bool {
        self.watch().contains(Watch::TRACED)
    }

    /// Sets what it has to do, see [`trap`]. Whether it was not set before. Under its process's signal lock.
    pub(crate) fn set_trap(&self, which: u8) -> bool {
        self.traps.fetch_or(which, Ordering::Relaxed) & which != which
    }

    /// Clears it. Whether it was set. Under its process's signal lock.
    pub(crate) fn take_trap(&self, which: u8) -> bool {
        self.traps.fetch_and(!which, Ordering::Relaxed) & which != 0
    }

    /// Whether any of these is set.
    pub(crate) fn has_trap(&self, which: u8) -> bool {
        self.traps.load(Ordering::Relaxed) & which != 0
    }

    /// The state of the process changed: a tracee that was seized tells its tracer. Under its process's signal lock.
    pub(crate) fn notify_trap(&self) {
        let mut trace = self.trace.lock();
        if self.is_traced() && trace.seized {
            self.set_trap(trap::NOTIFY);
            trace.end_listening();
        }
    }
}

impl<H: Host> Process<H> {
    /// Lets go of all threads that are stopped for a tracer.
    pub(crate) fn end_trace_stops(&self) {
        for thread in self.threads() {
            thread.trace.lock().resume(0);
            thread.wake(Events::empty());
        }
    }
}

impl<H: Host> Cx<'_, H> {
    /// About a stop of tracing's own: this task sends it to itself.
    fn own_info(&self, signal: u8, code: u32) -> SigInfo {
        SigInfo {
            signal,
            errno: 0,
            code: code.cast_signed(),
            payload: Payload::Sender { pid: self.task.own_tid(), uid: self.cred().shown_uid(), value: 0 },
        }
    }

    /// Stops until the tracer lets it go. `None`: it did not stop, as nobody traces it or it is being killed.
    fn stop_for_tracer(&self, stop: Stop) -> Option<Resumed> {
        let process = &self.task.process;
        let (mut regs, fpu) = {
            let context = self.context.borrow();
            self.kernel.host.save_fpu(self.mm.space(), &context);
            (context.regs, context.fpu.clone())
        };
        let completed = {
            let mut group = process.signals.lock();
            if stop.killable == Interruptible::FatalOnly && group.ends(self.task.tid()) {
                return None;
            }
            let mut trace = self.task.trace.lock();
            if !self.task.is_traced() {
                return None;
            }
            if core::mem::take(&mut trace.stepping) {
                regs.rflags &= !FLAG_TF;
            }
            if let Some(message) = stop.message {
                trace.message = message;
            }
            trace.phase = Phase::Stopped(Box::new(Stopped {
                code: stop.code,
                is_reported: false,
                info: stop.info,
                regs,
                call: self.task.call(),
                fpu,
                is_listening: false,
                signal: 0,
            }));
            drop(trace);
            // Any stop is the one that was asked for; only one that tells of the process's state tells that.
            self.task.take_trap(trap::STOP);
            if stop.code >> 8 == Event::Stop as u32 {
                self.task.take_trap(trap::NOTIFY);
            }
            let completed = stop.with_process && self.participate(&mut group);
            self.task.update_attention(&group);
            completed.then_some(group.stop).flatten()
        };
        self.kernel.tell_tracer(self.task, stop.code, stop.with_process);
        if let Some(signal) = completed
            && self.kernel.is_traced_by_stranger(self.task)
        {
            self.kernel.report(process, StateChange::Stopped(signal));
        }
        self.wait_for_tracer(stop.killable, || {
            (!matches!(self.task.trace.lock().phase, Phase::Stopped(_))).then_some(())
        });
        self.go_on()
    }

    /// Takes the registers back.
    fn go_on(&self) -> Option<Resumed> {
        let (stopped, let_go) = {
            let mut trace = self.task.trace.lock();
            let (mut stopped, let_go) = match core::mem::take(&mut trace.phase) {
                Phase::Resumed(stopped) => (stopped, true),
                Phase::Stopped(stopped) => (stopped, false),
                Phase::Running => return None,
            };
            if self.task.watch().contains(Watch::STEP) && stopped.regs.rflags & FLAG_TF == 0 {
                stopped.regs.rflags |= FLAG_TF;
                trace.stepping = true;
            }
            (stopped, let_go)
        };
        self.context.borrow_mut().regs = stopped.regs;
        self.task.set_call(stopped.call);
        self.interrupt_rseq();
        let_go.then_some(Resumed { signal: stopped.signal, info: stopped.info })
    }

    /// The thread stops with its process. Whether it was the last one that had to.
    pub(crate) fn participate(&self, group: &mut GroupSignals<H>) -> bool {
        if self.task.take_trap(trap::PARTICIPATE) {
            group.to_stop = group.to_stop.saturating_sub(1);
        }
        let completes = group.to_stop == 0 && group.stop.is_some() && !group.stop_complete;
        group.stop_complete |= completes;
        completes
    }

    /// The call that a tracee was interrupted in, as its registers say after the tracer had them.
    pub(crate) fn interrupted_call(&self) -> Option<Interrupted> {
        let (number, rax) = (self.task.call(), self.context.borrow().regs.rax.cast_signed());
        let (_, restart) = RESTARTS.iter().find(|(code, _)| *code == rax)?;
        (number as u32 != u32::MAX).then_some(Interrupted { number, restart: *restart })
    }

    /// A stop on the way back to the guest; the tracer sees, and may change, how the call ends that was interrupted.
    fn stop_on_return(&self, interrupted: &mut Option<Interrupted>, stop: Stop) -> Option<Resumed> {
        if let Some(call) = interrupted {
            self.context.borrow_mut().regs.rax = restart_code(call.restart).cast_unsigned();
            self.task.set_call(call.number);
        }
        let resumed = self.stop_for_tracer(stop);
        *interrupted = self.interrupted_call();
        resumed
    }

    /// Stops because the tracer asked for it or with its process.
    pub(crate) fn stop_by_trap(&self, interrupted: &mut Option<Interrupted>) {
        let (signal, seized) = {
            let group = self.task.process.signals.lock();
            (group.stop, self.task.trace.lock().seized)
        };
        let stop = match signal {
            _ if seized => {
                let signal = signal.unwrap_or(SIGTRAP);
                let code = Event::Stop.code(signal);
                Stop { info: Some(self.own_info(signal, code)), ..Stop::new(code) }
            }
            Some(signal) => Stop::new(signal.into()),
            None => {
                // It goes on again.
                let group = self.task.process.signals.lock();
                self.task.take_trap(trap::STOP | trap::NOTIFY);
                self.task.update_attention(&group);
                return;
            }
        };
        let _ = self.stop_on_return(interrupted, Stop { with_process: true, ..stop });
    }

    /// Shows the tracer a signal before it is delivered. Gives what is to be delivered instead, if anything.
    pub(crate) fn stop_for_signal(
        &self,
        info: SigInfo,
        interrupted: &mut Option<Interrupted>,
    ) -> Option<SigInfo> {
        let stop = Stop { info: Some(info), ..Stop::new(info.signal.into()) };
        let Some(resumed) = self.stop_on_return(interrupted, stop) else {
            return Some(info).filter(|_| !self.task.is_ending());
        };
        let signal = resumed.signal;
        if signal == 0 {
            return None;
        }
        let info = match resumed.info {
            Some(info) if info.signal == signal => info,
            _ => {
                let (pid, uid) = self.kernel.tracer_ids(self.task);
                SigInfo::sent(signal, sys::SI_USER as i32, pid, uid)
            }
        };
        if self.task.blocked() & bit(signal) != 0 || signal == SIGKILL {
            let _ = self.task.process.send_to_thread(self.task, info);
            return None;
        }
        Some(info)
    }

    /// Stops at a call, on the side that `message` says.
    pub(crate) fn stop_at_call(&self, message: u64) {
        let good = self.task.trace.lock().options.contains(TraceOptions::SYSGOOD);
        let code = u32::from(SIGTRAP) | if good { SYSGOOD_BIT } else { 0 };
        let info = Some(self.own_info(SIGTRAP, code));
        let resumed = self.stop_for_tracer(Stop { info, message: Some(message), ..Stop::new(code) });
        if let Some(signal) = resumed.map(|resumed| resumed.signal).filter(|signal| *signal != 0) {
            let _ = self.task.process.send_to_thread(self.task, SigInfo::kernel(signal));
        }
    }

    /// Whether the tracer wants to hear of such an event.
    pub(crate) fn is_awaited(&self, event: Event) -> bool {
        self.task.is_traced() && self.task.trace.lock().options.contains(event.option())
    }

    /// Stops for an event, if the tracer wants to hear of it.
    pub(crate) fn stop_for_event(&self, event: Event, message: u64) {
        if self.is_awaited(event) {
            let code = event.code(SIGTRAP);
            let info = Some(self.own_info(SIGTRAP, code));
            self.stop_for_tracer(Stop { info, message: Some(message), ..Stop::new(code) });
        }
    }

    /// A program was executed by the thread that the tracer had as `former`.
    pub(crate) fn stop_after_exec(&self, former: u32) {
        if self.is_awaited(Event::Exec) {
            self.stop_for_event(Event::Exec, former.into());
        } else if self.task.is_traced() && !self.task.trace.lock().seized {
            let process = &self.task.process;
            let info = SigInfo::sent(SIGTRAP, sys::SI_USER as i32, process.own_pid, self.cred().shown_uid());
            let _ = process.send_to_thread(self.task, info);
        }
    }

    /// Before the end, while there is something to look at; but what is killed by SIGKILL ends.
    pub(crate) fn stop_before_exit(&self) {
        if !self.is_awaited(Event::Exit) {
            return;
        }
        let status = {
            let group = self.task.process.signals.lock();
            group.ending.or(self.task.exit_status())
        };
        let killed = ExitStatus::Signaled { signal: SIGKILL, core: false };
        if status == Some(killed) {
            return;
        }
        let code = Event::Exit.code(SIGTRAP);
        let info = Some(self.own_info(SIGTRAP, code));
        let message = Some(status.unwrap_or(killed).wait_status() as u64);
        self.stop_for_tracer(Stop { info, message, killable: Interruptible::Never, ..Stop::new(code) });
    }

    /// A handler's frame was made while the tracer makes single steps: the tracer sees its first instruction.
    pub(crate) fn stop_at_handler(&self) {
        if self.task.watch().contains(Watch::STEP) {
            let info = Some(self.own_info(SIGTRAP, SIGTRAP.into()));
            self.stop_for_tracer(Stop { info, message: Some(0), ..Stop::new(SIGTRAP.into()) });
        }
    }

    /// Takes the trap flag out of the registers if it was set for the tracer. Whether it was.
    pub(crate) fn end_step(&self) -> bool {
        let stepped = core::mem::take(&mut self.task.trace.lock().stepping);
        if stepped {
            self.context.borrow_mut().regs.rflags &= !FLAG_TF;
        }
        stepped
    }
}

impl Stop {
    fn new(code: u32) -> Stop {
        Stop { code, info: None, message: None, with_process: false, killable: Interruptible::FatalOnly }
    }
}
