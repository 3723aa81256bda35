//! Stopping and continuing, and what the parent hears of it.

use linux_raw_sys::general as sys;

use super::SIGSTOP;
use crate::host::Host;
use crate::sched::wait::{Events, Wake};
use crate::syscall::Cx;
use crate::task::trace::trap;
use crate::task::tree::StateChange;

impl<H: Host> Cx<'_, H> {
    /// A stop signal takes effect: all threads of the process stop as soon as they look.
    pub(super) fn begin_stop(&self, signal: u8) {
        let process = &self.task.process;
        if signal != SIGSTOP && self.kernel.tree.lock().is_orphaned(process.group()) {
            return;
        }
        let mut group = process.signals.lock();
        // A SIGCONT or an end that came since the signal was taken wins.
        if group.continued || group.ending.is_some() {
            return;
        }
        // Tracees may be let go while their process is stopped, and then stop once more.
        let again = group.stop.is_some();
        if !again {
            group.stop = Some(signal);
            group.stop_complete = false;
        }
        let threads = group.threads.clone();
        for thread in threads.iter().filter(|thread| !again || thread.is_traced()) {
            if thread.set_trap(trap::PARTICIPATE) {
                group.to_stop += 1;
            }
            if thread.is_traced() {
                thread.set_trap(trap::STOP);
                thread.notify_trap();
            }
            thread.update_attention(&group);
        }
        drop(group);
        for thread in threads.iter().filter(|thread| thread.tid() != self.task.tid()) {
            thread.wake(Events::empty());
            thread.interrupt();
        }
    }

    /// Sleeps while the process is stopped.
    pub(super) fn stay_stopped(&self) {
        let process = &self.task.process;
        let completed = {
            let mut group = process.signals.lock();
            let Some(signal) = group.stop else { return };
            self.participate(&mut group).then_some(signal)
        };
        if let Some(signal) = completed {
            self.kernel.report(process, StateChange::Stopped(signal));
        }
        // A wake-up for whatever reason looks at the stop again; signals but SIGKILL and SIGCONT wait.
        let _ = self.wait_killable(&[(&process.continue_queue, Events::IN)], || {
            (process.signals.lock().stop.is_none() || self.task.is_traced()).then_some(())
        });
    }

    /// Tells the parent that the process goes on, once after each stop.
    pub(super) fn report_continued(&self) {
        let process = &self.task.process;
        let continued = core::mem::take(&mut process.signals.lock().continued);
        if continued {
            self.kernel.report(process, StateChange::Continued);
        }
    }
}

/// The `si_code` of SIGCHLD for a change.
pub fn child_code(change: StateChange) -> i32 {
    let code = match change {
        StateChange::Exited(status) => match status {
            crate::task::process::ExitStatus::Exited(_) => sys::CLD_EXITED,
            crate::task::process::ExitStatus::Signaled { core: true, .. } => sys::CLD_DUMPED,
            crate::task::process::ExitStatus::Signaled { core: false, .. } => sys::CLD_KILLED,
        },
        StateChange::Stopped(_) => sys::CLD_STOPPED,
        StateChange::Continued => sys::CLD_CONTINUED,
        StateChange::Trapped(_) => sys::CLD_TRAPPED,
    };
    code as i32
}
