//! Who traces whom: how that begins, and how it ends.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use super::{Event, TraceOptions, trap};
use crate::arch::x86_64::FLAG_TF;
use crate::errno::{EPERM, Result};
use crate::host::Host;
use crate::kernel::Kernel;
use crate::sched::wait::{Events, Wake};
use crate::syscall::Cx;
use crate::task::clone::CloneFlags;
use crate::task::cred::Caps;
use crate::task::process::ExitStatus;
use crate::task::siginfo::{Payload, SigInfo};
use crate::task::signal::action::{ActionFlags, IGNORE};
use crate::task::signal::stop::child_code;
use crate::task::signal::{SIGCHLD, SIGKILL, SIGSTOP};
use crate::task::tree::{ProcessTree, StateChange};
use crate::task::watched::Watch;
use crate::task::{Process, Task};

/// An entry of `tree.traced`, by the tracee's thread id.
pub struct Tracing<H: Host> {
    /// The thread that traces.
    pub(crate) tracer: Arc<Task<H>>,
    /// The thread that is traced.
    pub(crate) tracee: Arc<Task<H>>,
    /// It ended with this, and the tracer has not waited for it. Of a process only if the tracer is not the parent, who would
    /// find it in the tree.
    pub(crate) zombie: Option<ExitStatus>,
}

impl<H: Host> ProcessTree<H> {
    /// Makes `tracer` trace `tracee`. EPERM if somebody does already, or it has ended.
    pub(crate) fn trace(
        &mut self,
        tracer: &Arc<Task<H>>,
        tracee: &Arc<Task<H>>,
        seized: bool,
        options: TraceOptions,
    ) -> Result<()> {
        let tid = tracee.tid();
        let lives = self.thread(tid).is_some_and(|task| Arc::ptr_eq(&task, tracee));
        if !lives || self.traced.contains_key(&tid) {
            return Err(EPERM);
        }
        self.traced.insert(tid, Tracing { tracer: tracer.clone(), tracee: tracee.clone(), zombie: None });
        let group = tracee.process.signals.lock();
        {
            let mut trace = tracee.trace.lock();
            trace.seized = seized;
            trace.options = options;
            trace.message = 0;
            tracee.set_watch(Watch::TRACED, true);
        }
        // A process that has stopped already stops for the tracer now.
        if group.stop.is_some() {
            tracee.set_trap(trap::STOP);
        }
        tracee.update_attention(&group);
        Ok(())
    }

    /// Ends it, and lets the tracee go with a signal. Wake it afterwards.
    pub(crate) fn untrace(&mut self, tid: u32, signal: u8) -> Option<Tracing<H>> {
        let tracing = self.traced.remove(&tid)?;
        let tracee = &tracing.tracee;
        let group = tracee.process.signals.lock();
        {
            let mut trace = tracee.trace.lock();
            trace.options = TraceOptions::empty();
            trace.resume(signal);
            tracee.set_watch(Watch::TRACED | Watch::CALLS | Watch::EMULATE | Watch::STEP, false);
        }
        tracee.take_trap(trap::STOP | trap::NOTIFY);
        tracee.update_attention(&group);
        drop(group);
        let tid_of_own = tid != tracee.process.pid;
        if tid_of_own && self.thread(tid).is_none() {
            tracee.process.pid_ns.leave(tid);
        }
        Some(tracing)
    }

    /// Whether a process has ended, but its parent does not hear of it before its tracer has.
    pub(crate) fn is_held(&self, pid: u32) -> bool {
        let parent = self.node(pid).map(|node| node.parent);
        self.traced.get(&pid).is_some_and(|tracing| Some(tracing.tracer.process.pid) != parent)
    }
}

impl<H: Host> Kernel<H> {
    /// Process id and real user id of a tracee's tracer, as the tracee sees them; zeroes if there is none any more.
    pub(crate) fn tracer_ids(&self, tracee: &Task<H>) -> (u32, u32) {
        let tree = self.tree.lock();
        tree.traced.get(&tracee.tid()).map_or((0, 0), |tracing| {
            let tracer = &tracing.tracer;
            let uid = tracee.cred().user_ns.shown_uid(tracer.cred().uid);
            (tracee.process.pid_ns.shown(tracer.process.pid), uid)
        })
    }

    /// Whether a task is traced, and not by its parent.
    pub(crate) fn is_traced_by_stranger(&self, tracee: &Task<H>) -> bool {
        let tree = self.tree.lock();
        let parent = tree.node(tracee.process.pid).map(|node| node.parent);
        let tracer = tree.traced.get(&tracee.tid()).map(|tracing| tracing.tracer.process.pid);
        tracer.is_some() && tracer != parent
    }

    /// Signals the tracer that a tracee has stopped, and wakes its waits.
    pub(super) fn tell_tracer(&self, tracee: &Task<H>, code: u32, with_process: bool) {
        let tracer = self.tree.lock().traced.get(&tracee.tid()).map(|it| it.tracer.process.clone());
        let Some(tracer) = tracer else { return };
        let action = tracer.actions().get(SIGCHLD);
        if action.handler != IGNORE && !action.flags.contains(ActionFlags::NOCLDSTOP) {
            let why = if with_process { sys::CLD_STOPPED } else { sys::CLD_TRAPPED };
            let status = (code & 0x7f).cast_signed();
            let _ = tracer.send(self.trace_info(&tracer, tracee, why as i32, status));
        }
        tracer.child_queue.wake(Events::IN);
    }

    /// What `waitid`, or SIGCHLD, tells a tracer of a tracee.
    pub(crate) fn trace_info(
        &self,
        tracer: &Process<H>,
        tracee: &Task<H>,
        code: i32,
        status: i32,
    ) -> SigInfo {
        let uid = tracer.user_ns().shown_uid(tracee.cred().uid);
        let pid = tracer.pid_ns.shown(tracee.tid());
        SigInfo {
            signal: SIGCHLD,
            errno: 0,
            code,
            payload: Payload::Child { pid, uid, status, utime: 0, stime: 0 },
        }
    }

    /// A thread that is traced has ended, and its process goes on: the tracer may wait for it. The first thread of a process
    /// is heard of when the whole process ends.
    pub(crate) fn keep_ended_thread(&self, task: &Task<H>, status: ExitStatus) {
        if task.tid() == task.process.pid {
            return;
        }
        let tracer = {
            let mut tree = self.tree.lock();
            let tid = task.tid();
            let Some(tracing) = tree.traced.get_mut(&tid) else { return };
            let tracer = tracing.tracer.process.clone();
            if ignores_children(&tracer) {
                tree.untrace(tid, 0);
            } else {
                tracing.zombie = Some(status);
            }
            tracer
        };
        let code = child_code(StateChange::Exited(status));
        let _ = tracer.send(self.trace_info(&tracer, task, code, status.number()));
        tracer.child_queue.wake(Events::IN);
    }

    /// A process has ended: if somebody traces it who is not its parent, that one hears of it first. Whether somebody does.
    pub(crate) fn keep_ended_process(&self, process: &Arc<Process<H>>, status: ExitStatus) -> bool {
        let tracer = {
            let mut tree = self.tree.lock();
            if !tree.is_held(process.pid) {
                return false;
            }
            let Some(tracing) = tree.traced.get_mut(&process.pid) else { return false };
            let tracer = tracing.tracer.process.clone();
            if ignores_children(&tracer) {
                tree.untrace(process.pid, 0);
                return false;
            }
            tracing.zombie = Some(status);
            tracer
        };
        let _ = tracer.send(self.child_info(process, StateChange::Exited(status), SIGCHLD, &tracer));
        tracer.child_queue.wake(Events::IN);
        true
    }

    /// The tracer has waited for a tracee that ended, or ends itself: now the parent of a process may hear of it. `false`:
    /// another thread was quicker.
    pub(crate) fn release_ended(&self, tid: u32) -> bool {
        let parent = {
            let mut tree = self.tree.lock();
            if tree.traced.get(&tid).is_none_or(|tracing| tracing.zombie.is_none()) {
                return false;
            }
            tree.untrace(tid, 0);
            tree.node(tid).and_then(|node| tree.process(node.parent))
        };
        if let Some(parent) = parent {
            self.adopt_zombie(&parent, tid);
        }
        true
    }

    /// A thread ends: nobody is traced by it any more.
    pub(crate) fn leave_tracees(&self, tracer: &Task<H>) {
        let tracees: Vec<(u32, bool)> = {
            let tree = self.tree.lock();
            let own = tree.traced.iter().filter(|(_, it)| core::ptr::eq(&*it.tracer, tracer));
            own.map(|(tid, it)| (*tid, it.zombie.is_some())).collect()
        };
        for (tid, ended) in tracees {
            if ended {
                self.release_ended(tid);
                continue;
            }
            let (kills, tracing) = {
                let mut tree = self.tree.lock();
                let kills = tree
                    .traced
                    .get(&tid)
                    .is_some_and(|it| it.tracee.trace.lock().options.contains(TraceOptions::EXITKILL));
                (kills, tree.untrace(tid, 0))
            };
            let Some(Tracing { tracee, .. }) = tracing else { continue };
            if kills {
                let _ = tracee.process.send(SigInfo::kernel(SIGKILL));
            }
            tracee.wake(Events::empty());
            tracee.interrupt();
        }
    }

    /// `PTRACE_DETACH`. The tracee is stopped.
    pub(crate) fn detach(&self, tracee: &Task<H>, signal: u8) {
        self.tree.lock().untrace(tracee.tid(), signal);
        tracee.wake(Events::empty());
    }
}

/// Whether a process does not want to wait for children.
fn ignores_children<H: Host>(process: &Process<H>) -> bool {
    let action = process.actions().get(SIGCHLD);
    action.handler == IGNORE || action.flags.contains(ActionFlags::NOCLDWAIT)
}

impl<H: Host> Cx<'_, H> {
    /// Has the tracer, if there is one, trace a new task too, if it or the caller wants that; the task does not run yet. Gives
    /// the event to stop for once it does.
    pub(crate) fn follow(&self, child: &Arc<Task<H>>, flags: CloneFlags, exit_signal: u8) -> Option<Event> {
        if !self.task.is_traced() {
            return None;
        }
        let event = match exit_signal {
            _ if flags.contains(CloneFlags::VFORK) => Event::Vfork,
            SIGCHLD => Event::Fork,
            _ => Event::Clone,
        };
        let event = (!flags.contains(CloneFlags::UNTRACED) && self.is_awaited(event)).then_some(event);
        if event.is_none() && !flags.contains(CloneFlags::PTRACE) {
            return None;
        }
        let mut tree = self.kernel.tree.lock();
        let tracer = tree.traced.get(&self.task.tid())?.tracer.clone();
        let (seized, options) = {
            let trace = self.task.trace.lock();
            (trace.seized, trace.options)
        };
        tree.trace(&tracer, child, seized, options).ok()?;
        let group = child.process.signals.lock();
        if seized {
            child.set_trap(trap::STOP);
        } else {
            let stop = SigInfo::sent(SIGSTOP, sys::SI_USER as i32, 0, 0);
            child.signals.lock().pending.put(stop, None);
        }
        child.update_attention(&group);
        drop(group);
        event
    }

    /// The number that the tracer has for what the kernel has as `pid`.
    pub(crate) fn pid_for_tracer(&self, pid: u32) -> u32 {
        let tree = self.kernel.tree.lock();
        tree.traced.get(&self.task.tid()).map_or(0, |it| it.tracer.process.pid_ns.shown(pid))
    }

    /// The flags that a child starts with: without the one that is there for the tracer.
    pub(crate) fn flags_of_child(&self, rflags: u64) -> u64 {
        if self.task.trace.lock().stepping { rflags & !FLAG_TF } else { rflags }
    }

    /// The thread takes the id `pid`: whoever traces it finds it there. Under the tree's lock, before it changes.
    pub(crate) fn move_tracing(&self, tree: &mut ProcessTree<H>, pid: u32) {
        if let Some(tracing) = tree.traced.remove(&self.task.tid()) {
            tree.traced.insert(pid, tracing);
        }
    }

    /// Whether a program may get other credentials by its set-id bits: not before the eyes of a tracer who could not look
    /// into it then.
    pub(crate) fn may_gain(&self) -> bool {
        !self.task.is_traced() || self.may_gain_in(&self.kernel.tree.lock())
    }

    /// As [`Cx::may_gain`], under the tree's lock.
    pub(crate) fn may_gain_in(&self, tree: &ProcessTree<H>) -> bool {
        let tracer = tree.traced.get(&self.task.tid()).map(|it| it.tracer.cred());
        let own = self.cred();
        tracer.is_none_or(|cred| cred.capable_in(&own.user_ns, Caps::SYS_PTRACE))
            || own.capable_here(Caps::SETUID)
    }
}
