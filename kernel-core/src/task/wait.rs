//! Waiting for children. Source: `wait4(2)`, `waitid(2)`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use crate::errno::{ECHILD, Result};
use crate::host::Host;
use crate::kernel::Kernel;
use crate::sched::wait::Events;
use crate::syscall::{Cx, Restart, SysError, Wait};
use crate::task::siginfo::SigInfo;
use crate::task::signal::SIGCHLD;
use crate::task::signal::stop::child_code;
use crate::task::tree::{Node, ProcessTree, StateChange};
use crate::task::{Process, Task};

/// Which children are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any.
    Any,
    /// The child with this process id.
    Pid(u32),
    /// Any in this group.
    Group(u32),
}

bitflags::bitflags! {
    /// `W*` and `__W*` options.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WaitOptions: u32 {
        /// Do not block.
        const NOHANG = 1;
        /// Children that stopped.
        const STOPPED = 2;
        /// Children that ended.
        const EXITED = 4;
        /// Children that went on.
        const CONTINUED = 8;
        /// Leave the child as it is.
        const NOWAIT = 0x0100_0000;
        /// Only children of this thread.
        const NOTHREAD = 0x2000_0000;
        /// All children, whatever signal they end with.
        const ALL = 0x4000_0000;
        /// Only children that end with another signal than SIGCHLD.
        const CLONE = 0x8000_0000;
    }
}

/// What a wait found.
pub struct Found<H: Host> {
    /// The child.
    pub process: Arc<Process<H>>,
    /// Its number as the caller has it, or that of the thread that is traced.
    pub shown_pid: u32,
    /// What it did.
    pub change: StateChange,
    /// Its times in nanoseconds, with those of its own children: user, system.
    pub cpu_ns: (u64, u64),
    /// As `waitid` tells it.
    pub info: SigInfo,
}

impl<H: Host> Cx<'_, H> {
    /// Waits for a child. `Ok(None)`: NOHANG, and none has anything to tell. ECHILD: no such child.
    pub fn wait_for_child(&self, target: Target, options: WaitOptions) -> Result<Option<Found<H>>, SysError> {
        let mut look = || match self.kernel.look_at_children(self, target, options) {
            Ok(Some(found)) => Some(Ok(Some(found))),
            Ok(None) if options.contains(WaitOptions::NOHANG) => Some(Ok(None)),
            Ok(None) => None,
            Err(errno) => Some(Err(errno)),
        };
        match self.wait_until(&[(&self.task.process.child_queue, Events::IN)], None, &mut look) {
            Wait::Ready(result) => result.map_err(SysError::from),
            Wait::Interrupted | Wait::TimedOut => Err(SysError::Restart(Restart::WithFlag)),
        }
    }
}

impl<H: Host> Kernel<H> {
    fn look_at_children(
        &self,
        cx: &Cx<'_, H>,
        target: Target,
        options: WaitOptions,
    ) -> Result<Option<Found<H>>> {
        let mut tree = self.tree.lock();
        let Some(parent) = tree.node(cx.task.process.pid) else { return Err(ECHILD) };
        let mut any = false;
        let mut found = None;
        let children = parent.children.clone();
        for pid in children {
            let tracer = tree.traced.get(&pid).map(|tracing| tracing.tracer.process.pid);
            let Some(child) = tree.node_mut(pid) else { continue };
            let traces = tracer == Some(cx.task.process.pid);
            let options = if traces { options | WaitOptions::ALL } else { options };
            if !is_meant(child, cx.task.tid(), target, options) {
                continue;
            }
            any = true;
            // Its tracer hears of the end first, and a tracer hears of each thread's stops.
            let hidden = match child.zombie {
                Some(_) => tracer.is_some() && !traces,
                None => traces && matches!(child.unreported, Some(StateChange::Stopped(_))),
            };
            if !hidden && let Some(change) = take_change(child, options) {
                found = Some((child.process.clone(), change));
                break;
            }
        }
        let tracee = match found {
            None => look_at_tracees(&tree, cx.task, target, options, &mut any),
            Some(_) => None,
        };
        drop(tree);
        if let Some((task, change)) = tracee {
            return self.found_tracee(cx, &task, change, options);
        }
        let Some((process, change)) = found else {
            return if any { Ok(None) } else { Err(ECHILD) };
        };
        let (user, system) = process.cpu_ns();
        let user = user + process.children_user_ns.load(Ordering::Relaxed);
        let system = system + process.children_system_ns.load(Ordering::Relaxed);
        // Its number is free once it is reaped.
        let shown_pid = cx.shown_pid(process.pid);
        let info = self.child_info(&process, change, SIGCHLD, &cx.task.process);
        if matches!(change, StateChange::Exited(_)) && !options.contains(WaitOptions::NOWAIT) {
            // Another thread may have been quicker: then this one has found nothing, and looks again.
            if self.reap(process.pid).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(Found { process, shown_pid, change, cpu_ns: (user, system), info }))
    }

    fn found_tracee(
        &self,
        cx: &Cx<'_, H>,
        task: &Task<H>,
        change: StateChange,
        options: WaitOptions,
    ) -> Result<Option<Found<H>>> {
        let status = match change {
            StateChange::Exited(status) => status.number(),
            StateChange::Trapped(code) => code.cast_signed(),
            StateChange::Stopped(_) | StateChange::Continued => 0,
        };
        // Its number is free once it is released.
        let shown_pid = cx.shown_pid(task.tid());
        let info = self.trace_info(&cx.task.process, task, child_code(change), status);
        let ended = matches!(change, StateChange::Exited(_)) && !options.contains(WaitOptions::NOWAIT);
        if ended && !self.release_ended(task.tid()) {
            return Ok(None);
        }
        let cpu_ns = (task.user_ns.load(Ordering::Relaxed), task.system_ns.load(Ordering::Relaxed));
        Ok(Some(Found { process: task.process.clone(), shown_pid, change, cpu_ns, info }))
    }
}

/// What a tracee of the caller's process has to tell; `any` becomes true if there is one that is meant.
fn look_at_tracees<H: Host>(
    tree: &ProcessTree<H>,
    caller: &Task<H>,
    target: Target,
    options: WaitOptions,
    any: &mut bool,
) -> Option<(Arc<Task<H>>, StateChange)> {
    for (tid, tracing) in &tree.traced {
        let (tracer, tracee) = (&tracing.tracer, &tracing.tracee);
        let is_target = match target {
            Target::Any => true,
            Target::Pid(pid) => *tid == pid,
            Target::Group(group) => tracee.process.group() == group,
        };
        let is_ours = tracer.process.pid == caller.process.pid
            && (!options.contains(WaitOptions::NOTHREAD) || tracer.tid() == caller.tid());
        if !is_target || !is_ours {
            continue;
        }
        *any = true;
        if let Some(status) = tracing.zombie {
            if options.contains(WaitOptions::EXITED) {
                return Some((tracee.clone(), StateChange::Exited(status)));
            }
            continue;
        }
        if let Some(stopped) = tracee.trace.lock().stopped().filter(|stopped| !stopped.is_reported) {
            stopped.is_reported = !options.contains(WaitOptions::NOWAIT);
            return Some((tracee.clone(), StateChange::Trapped(stopped.code)));
        }
    }
    None
}

fn is_meant<H: Host>(child: &Node<H>, tid: u32, target: Target, options: WaitOptions) -> bool {
    let matches = match target {
        Target::Any => true,
        Target::Pid(pid) => child.process.pid == pid,
        Target::Group(group) => child.process.group() == group,
    };
    let is_clone = child.process.exit_signal.load(Ordering::Relaxed) != SIGCHLD;
    matches
        && (options.contains(WaitOptions::ALL) || is_clone == options.contains(WaitOptions::CLONE))
        && (!options.contains(WaitOptions::NOTHREAD) || child.parent_thread == tid)
}

fn take_change<H: Host>(child: &mut Node<H>, options: WaitOptions) -> Option<StateChange> {
    if let Some(status) = child.zombie {
        return options.contains(WaitOptions::EXITED).then_some(StateChange::Exited(status));
    }
    let wanted = match child.unreported? {
        StateChange::Stopped(_) => WaitOptions::STOPPED,
        StateChange::Continued => WaitOptions::CONTINUED,
        StateChange::Exited(_) => WaitOptions::EXITED,
        StateChange::Trapped(_) => return None,
    };
    if !options.contains(wanted) {
        return None;
    }
    if options.contains(WaitOptions::NOWAIT) { child.unreported } else { child.unreported.take() }
}
