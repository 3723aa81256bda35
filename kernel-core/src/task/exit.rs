//! The end of threads and processes. Source: `_exit(2)`, `exit_group(2)`, `credentials(7)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::host::Host;
use crate::kernel::{Kernel, Shutdown};
use crate::sched::wait::{Events, Wake};
use crate::syscall::{Cx, futex};
use crate::task::cgroup::Changes;
use crate::task::pid_ns::PidNs;
use crate::task::process::ExitStatus;
use crate::task::siginfo::{Payload, SigInfo};
use crate::task::signal::action::{ActionFlags, IGNORE};
use crate::task::signal::stop::child_code;
use crate::task::signal::{SIGCHLD, SIGCONT, SIGHUP, SIGKILL};
use crate::task::trace::trap;
use crate::task::tree::{StateChange, release_numbers};
use crate::task::{Process, Task};
use crate::tty::Tty;

/// Clock ticks a second, as `times(2)` and siginfo count.
pub const TICK_NS: u64 = 10_000_000;

impl<H: Host> Cx<'_, H> {
    /// What a task does last with its memory at hand: robust futexes, the word that `pthread_join` waits on.
    pub(crate) fn before_exit(&self) {
        // Whoever starts to wait for a futex of this task from here on sees that it ends.
        self.task.leaves_futexes.store(true, Ordering::SeqCst);
        let list = *self.task.robust_list.lock();
        if list.head != 0 {
            futex::exit_robust_list(self, list.head);
        }
        self.kernel.ipc.pi_futexes.owner_died(self.task.futex_owner());
        let address = self.task.clear_child_tid.swap(0, Ordering::Relaxed);
        if address != 0 {
            // The address may be gone: then nobody waits there.
            let _ = self.user().set(address, &0u32);
            futex::wake_at(self, address, 1);
        }
        self.task.finish_vfork();
    }

    /// Lets go of what is to be undone on System V semaphores; the last who shares it undoes it.
    pub(crate) fn leave_undo_list(&self) {
        let list = self.task.sem_undo.lock().take();
        if let Some(list) = list.and_then(Arc::into_inner) {
            list.undo(self.task.process.pid, self.services());
        }
    }

    /// Closes the files if no other task has them.
    pub(crate) fn leave_files(&self) {
        // The task's reference and this one.
        if Arc::strong_count(&self.files) <= 2 {
            self.files.close_all(self);
        }
    }
}

impl<H: Host> Task<H> {
    /// Lets a `vfork` parent go on: this task uses its memory no more.
    pub(crate) fn finish_vfork(&self) {
        let vfork = self.vfork.lock().take();
        if let Some(completion) = vfork {
            completion.complete();
        }
    }
}

impl<H: Host> Kernel<H> {
    /// Removes a task that has left its loop. Its memory and files go first, so that whoever hears of the end finds them
    /// gone. `status` is what the process ends with if this was its last thread.
    pub(crate) fn finish(&self, task: &Arc<Task<H>>, status: ExitStatus) {
        task.finish_vfork();
        drop(task.take_resources());
        let process = &task.process;
        process.set_last_comm(task.comm());
        self.signal_children_of_thread(task);
        let watched;
        let (mut gone, mut changes) = (None, Changes::default());
        let is_last = {
            // Together, so that a thread that executes a program finds the id of the first thread free once it is alone.
            let mut tree = self.tree.lock();
            let mut group = process.signals.lock();
            tree.remove_thread(task.tid());
            // The number of a thread that is traced stays until its tracer has waited for it.
            if task.tid() != process.pid && !tree.traced.contains_key(&task.tid()) {
                process.pid_ns.leave(task.tid());
            }
            // With the thread, so that its time is never counted twice or not at all.
            self.settle(task);
            process.ended_user_ns.fetch_add(task.user_ns.load(Ordering::Relaxed), Ordering::Relaxed);
            process.ended_system_ns.fetch_add(task.system_ns.load(Ordering::Relaxed), Ordering::Relaxed);
            group.threads.retain(|thread| thread.tid() != task.tid());
            if task.tid() != process.pid {
                process.cgroup.group().remove_tasks(1);
            }
            if group.threads.is_empty() {
                process.cgroup.leave(&mut changes);
            }
            if task.take_trap(trap::PARTICIPATE) {
                group.to_stop = group.to_stop.saturating_sub(1);
            }
            watched = !tree.traced.is_empty();
            if group.sole_survivor.is_some() && task.tid() == process.pid {
                // The thread that takes its place takes its id, too.
                gone = tree.traced.remove(&process.pid);
            }
            if !group.threads.is_empty() { None } else { Some(group.ending.unwrap_or(status)) }
        };
        changes.tell();
        process.ended_counts.add(task.counts());
        if watched {
            self.leave_tracees(task);
            let killed = ExitStatus::Signaled { signal: SIGKILL, core: false };
            let ending = process.signals.lock().ending;
            self.keep_ended_thread(task, ending.or(task.exit_status()).unwrap_or(killed));
            if let Some(tracing) = gone {
                tracing.tracer.process.child_queue.wake(Events::IN);
            }
        }
        // Exec may wait to be the only thread.
        process.child_queue.wake(Events::IN);
        if let Some(status) = is_last {
            // What has gone with it, before its parent answers for the rest.
            self.charge_heap(process);
            if process.is_namespace_init() && self.end_namespace(process, status) {
                return;
            }
            self.end_process(process, status);
        }
    }

    /// Gives up all tasks where they are, with their memory and files: for the end, when no vCPU runs any more.
    pub fn give_up_tasks(&self) {
        let tree = core::mem::take(&mut *self.tree.lock());
        for task in tree.threads() {
            // What it has on its stack goes with that.
            let fiber = task.fiber.lock().take();
            drop(fiber);
            drop(task.take_resources());
            task.take_restart();
            let process = &task.process;
            process.timers.clear();
            let exe = process.exe.lock().take();
            let threads = core::mem::take(&mut process.signals.lock().threads);
            drop((exe, threads));
        }
        self.scheduler.forget_all();
        self.cgroups.forget_all();
    }

    /// `PR_SET_PDEATHSIG` of children that this very thread made.
    fn signal_children_of_thread(&self, task: &Task<H>) {
        let due: Vec<Arc<Process<H>>> = {
            let tree = self.tree.lock();
            let Some(node) = tree.node(task.process.pid) else { return };
            let children = node.children.iter().filter_map(|pid| tree.node(*pid));
            children
                .filter(|child| child.parent_thread == task.tid())
                .map(|child| child.process.clone())
                .collect()
        };
        for child in due {
            let signal = child.parent_death_signal.load(Ordering::Relaxed);
            if signal != 0 {
                let uid = task.cred().uid;
                let user_ns = child.user_ns();
                let pid = child.pid_ns.shown(task.process.pid);
                let info = SigInfo::sent(signal, 0, pid, user_ns.shown_uid(uid));
                let _ = child.send(info);
            }
        }
    }

    fn end_process(&self, process: &Arc<Process<H>>, status: ExitStatus) {
        process.timers.clear();
        *process.exe.lock() = None;
        if process.pid == 1 {
            self.shut_down(Shutdown::InitEnded(status));
        }
        self.leave_terminal(process);
        let (orphaned, new_children) = self.give_children_away(process);
        for group in orphaned {
            self.hang_up_if_stopped(group);
        }
        let reaped = {
            let mut tree = self.tree.lock();
            if let Some(node) = tree.node_mut(process.pid) {
                node.zombie = Some(status);
                node.unreported = None;
            }
            self.is_reaped_at_once(&tree, process.pid)
        };
        process.exited.set_exited();
        if !self.keep_ended_process(process, status) {
            self.notify_parent(process, StateChange::Exited(status));
            if reaped {
                let _ = self.reap(process.pid);
            }
        }
        // The new parent may have zombies to wait for.
        if let Some(reaper) = new_children {
            for pid in self.zombies_of(reaper.pid) {
                self.adopt_zombie(&reaper, pid);
            }
        }
    }

    /// A session leader that ends takes the terminal from its session.
    fn leave_terminal(&self, process: &Arc<Process<H>>) {
        let session = process.session();
        if session.id == process.pid {
            Tty::session_leader_exited(&session, &*self.services.processes);
        }
    }

    /// Children go to the nearest subreaper or PID 1. Gives the groups that this may have orphaned and the new parent.
    fn give_children_away(&self, process: &Arc<Process<H>>) -> (Vec<u32>, Option<Arc<Process<H>>>) {
        let mut tree = self.tree.lock();
        let reaper = tree.reaper(process.pid);
        let mut groups: Vec<u32> = Vec::new();
        let candidates = [process.group()];
        let children: Vec<u32> = tree
            .node_mut(process.pid)
            .map_or(Vec::new(), |node| core::mem::take(&mut node.children).into_iter().collect());
        // A group is newly orphaned if it was not before: the ended process, or its being a parent, kept it from that.
        for group in candidates {
            if !tree.is_orphaned(group) && tree.is_orphaned_without(group, Some(process.pid)) {
                groups.push(group);
            }
        }
        for pid in &children {
            let group = tree.node(*pid).map(|child| child.process.group());
            let before = group.is_some_and(|group| tree.is_orphaned(group));
            if let Some(child) = tree.node_mut(*pid) {
                child.parent = reaper;
                child.parent_thread = reaper;
                // Whatever signal it was made with: nobody may send the new parent others.
                child.process.exit_signal.store(SIGCHLD, Ordering::Relaxed);
            }
            if let Some(group) = group
                && !before
                && tree.is_orphaned(group)
                && !groups.contains(&group)
            {
                groups.push(group);
            }
        }
        let Some(node) = tree.node_mut(reaper) else { return (groups, None) };
        node.children.extend(children.iter());
        let adopted = (!children.is_empty()).then(|| node.process.clone());
        (groups, adopted)
    }

    /// POSIX: a newly orphaned group with a stopped member gets SIGHUP and SIGCONT.
    fn hang_up_if_stopped(&self, group: u32) {
        let members = {
            let tree = self.tree.lock();
            if tree.has_stopped(group) { tree.group(group) } else { Vec::new() }
        };
        for member in members {
            let _ = member.send(SigInfo::kernel(SIGHUP));
            let _ = member.send(SigInfo::kernel(SIGCONT));
        }
    }

    fn zombies_of(&self, pid: u32) -> Vec<u32> {
        let tree = self.tree.lock();
        let Some(node) = tree.node(pid) else { return Vec::new() };
        let is_zombie = |child: &&u32| {
            tree.node(**child).is_some_and(|child| child.zombie.is_some()) && !tree.is_held(**child)
        };
        node.children.iter().filter(is_zombie).copied().collect()
    }

    /// A zombie got a new parent, which may not have heard of it.
    pub(crate) fn adopt_zombie(&self, parent: &Arc<Process<H>>, pid: u32) {
        let (zombie, reaped) = {
            let tree = self.tree.lock();
            let Some(node) = tree.node(pid) else { return };
            let Some(status) = node.zombie else { return };
            ((node.process.clone(), status), self.is_reaped_at_once(&tree, pid))
        };
        self.notify_parent(&zombie.0, StateChange::Exited(zombie.1));
        if reaped {
            let _ = self.reap(pid);
        }
        parent.child_queue.wake(Events::IN);
    }

    /// Whether the parent does not want to wait: it ignores SIGCHLD, or set SA_NOCLDWAIT.
    fn is_reaped_at_once(&self, tree: &crate::task::tree::ProcessTree<H>, pid: u32) -> bool {
        let Some(node) = tree.node(pid) else { return false };
        let Some(parent) = tree.node(node.parent) else { return node.parent != 0 };
        if parent.process.ending_last.lock().is_some() {
            return true;
        }
        if node.process.exit_signal.load(Ordering::Relaxed) != SIGCHLD {
            return false;
        }
        let action = parent.process.actions().get(SIGCHLD);
        action.handler == IGNORE || action.flags.contains(ActionFlags::NOCLDWAIT)
    }

    /// Removes a zombie. Its CPU time is added to its parent's.
    pub(crate) fn reap(&self, pid: u32) -> Option<Arc<Process<H>>> {
        let mut tree = self.tree.lock();
        tree.node(pid)?.zombie?;
        let node = tree.remove(pid)?;
        tree.traced.remove(&pid);
        let parent = tree.process(node.parent);
        let process = node.process;
        release_numbers(&tree, &process, &[process.pid, process.group(), process.session().id]);
        let (user, system) = process.cpu_ns();
        process.cgroup.forget([user, system]);
        drop(tree);
        process.exited.set_reaped();
        if let Some(parent) = parent {
            parent.heap.inherit(&process.heap);
            let user = user + process.children_user_ns.load(Ordering::Relaxed);
            let system = system + process.children_system_ns.load(Ordering::Relaxed);
            parent.children_counts.add(process.counts());
            parent.children_counts.add(process.children_counts.get());
            parent.children_user_ns.fetch_add(user, Ordering::Relaxed);
            parent.children_system_ns.fetch_add(system, Ordering::Relaxed);
        }
        self.finish_namespaces(&process.pid_ns);
        Some(process)
    }

    /// The first process of a PID namespace is about to end: so does everything in it, and it ends last. Whether there is
    /// something to wait for.
    fn end_namespace(&self, init: &Arc<Process<H>>, status: ExitStatus) -> bool {
        let others: Vec<Arc<Process<H>>> = {
            // Under the lock, so that what has a number already either is in the tree or does not come there.
            let tree = self.tree.lock();
            init.pid_ns.close();
            let members = init.pid_ns.members();
            members.into_iter().filter(|pid| *pid != init.pid).filter_map(|pid| tree.process(pid)).collect()
        };
        if others.is_empty() {
            return false;
        }
        *init.ending_last.lock() = Some(status);
        for process in &others {
            process.end(ExitStatus::Signaled { signal: SIGKILL, core: false });
        }
        // Its zombies are waited for by nobody else now.
        for pid in self.zombies_of(init.pid) {
            let _ = self.reap(pid);
        }
        // They may all have been zombies.
        self.finish_namespaces(&init.pid_ns);
        true
    }

    /// A process of `pid_ns` is gone: lets the first ones of it and of those around end if they waited for that.
    fn finish_namespaces(&self, pid_ns: &PidNs) {
        for pid_ns in pid_ns.with_parents().filter(|at| at.is_closed()) {
            let init = pid_ns.init();
            let (process, others) = {
                let tree = self.tree.lock();
                let others = pid_ns.members().into_iter().any(|pid| pid != init && tree.node(pid).is_some());
                (tree.process(init), others)
            };
            if let Some(process) = process.filter(|_| !others) {
                let status = process.ending_last.lock().take();
                if let Some(status) = status {
                    self.end_process(&process, status);
                }
            }
        }
    }

    /// A process stopped or goes on: its parent may wait for that.
    pub(crate) fn report(&self, process: &Arc<Process<H>>, change: StateChange) {
        if let Some(node) = self.tree.lock().node_mut(process.pid) {
            node.unreported = Some(change);
        }
        self.notify_parent(process, change);
    }

    /// Signals the parent and wakes its waits.
    fn notify_parent(&self, process: &Arc<Process<H>>, change: StateChange) {
        let parent = {
            let tree = self.tree.lock();
            tree.node(process.pid).and_then(|node| tree.process(node.parent))
        };
        let Some(parent) = parent else { return };
        let flags = parent.actions().get(SIGCHLD).flags;
        let wanted = match change {
            StateChange::Exited(_) => true,
            StateChange::Stopped(_) | StateChange::Continued | StateChange::Trapped(_) => {
                !flags.contains(ActionFlags::NOCLDSTOP)
            }
        };
        let signal = match change {
            StateChange::Exited(_) => process.exit_signal.load(Ordering::Relaxed),
            StateChange::Stopped(_) | StateChange::Continued | StateChange::Trapped(_) => SIGCHLD,
        };
        if wanted && signal != 0 {
            let _ = parent.send(self.child_info(process, change, signal, &parent));
        }
        parent.child_queue.wake(Events::IN);
    }

    /// The siginfo that tells `receiver` of a child.
    pub(crate) fn child_info(
        &self,
        process: &Process<H>,
        change: StateChange,
        signal: u8,
        receiver: &Process<H>,
    ) -> SigInfo {
        let status = match change {
            StateChange::Exited(status) => status.number(),
            StateChange::Trapped(code) => code.cast_signed(),
            StateChange::Stopped(signal) => i32::from(signal),
            StateChange::Continued => i32::from(SIGCONT),
        };
        let (user, system) = process.cpu_ns();
        let uid = receiver.user_ns().shown_uid(process.uid.load(Ordering::Relaxed));
        SigInfo {
            signal,
            errno: 0,
            code: child_code(change),
            payload: Payload::Child {
                pid: receiver.pid_ns.shown(process.pid),
                uid,
                status,
                utime: (user / TICK_NS) as i64,
                stime: (system / TICK_NS) as i64,
            },
        }
    }

    /// Makes all other threads of the caller's process end and waits until they have. `None`: somebody else ends it.
    pub(crate) fn become_sole_thread(&self, cx: &Cx<'_, H>) -> Option<()> {
        let process = &cx.task.process;
        let others: Vec<Arc<Task<H>>> = {
            let mut group = process.signals.lock();
            if group.ending.is_some() || group.sole_survivor.is_some() {
                return None;
            }
            group.sole_survivor = Some(cx.task.tid());
            let others: Vec<_> =
                group.threads.iter().filter(|task| task.tid() != cx.task.tid()).cloned().collect();
            for other in &others {
                other.set_attention(true);
            }
            others
        };
        for other in &others {
            other.wake(Events::empty());
            other.interrupt();
        }
        let alone = cx.wait_killable(&[(&process.child_queue, Events::IN)], || {
            (process.signals.lock().threads.len() <= 1).then_some(())
        });
        process.signals.lock().sole_survivor = None;
        match alone {
            crate::syscall::Wait::Ready(()) => Some(()),
            _ => None,
        }
    }
}
