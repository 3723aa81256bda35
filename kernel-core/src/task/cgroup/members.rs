//! What a group has of processes and does to them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::member::Joining;
use super::pids::Charge;
use super::{Changes, Group};
use crate::errno::{EBADF, ENODEV, ENOENT, EOPNOTSUPP, ESRCH, Result};
use crate::host::Host;
use crate::kernel::{Kernel, KernelLink};
use crate::sched::wait::{Events, Wake};
use crate::syscall::Cx;
use crate::syscall::args::RawFd;
use crate::task::cred::Cred;
use crate::task::pid_ns::PidNs;
use crate::task::process::ExitStatus;
use crate::task::signal::SIGKILL;
use crate::task::tree::ProcessTree;
use crate::task::{Process, Task};
use crate::vfs::caller::Caller;
use crate::vfs::permission::{self, Access};

/// What is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A process.
    Process,
    /// A thread, which stays with its process.
    Thread,
}

/// Who moves something, or opened the file by which it is done.
pub struct Mover<'a> {
    /// Its credentials.
    pub cred: &'a Cred,
    /// The root of its cgroup namespace.
    pub root: &'a Group,
}

/// The processes of an instance, as groups know them.
pub trait Members: Send + Sync {
    /// The processes in just this group that have not ended, with the numbers that they have for `seen_from`; 0: it does not
    /// see them.
    fn processes(&self, group: &Group, seen_from: &PidNs) -> Vec<u32>;
    /// The same of threads.
    fn threads(&self, group: &Group, seen_from: &PidNs) -> Vec<u32>;
    /// Moves what has the number `pid` for `caller`; 0 is itself. ESRCH, ENODEV, and what forbids it.
    fn attach(
        &self,
        group: &Arc<Group>,
        pid: u32,
        unit: Unit,
        caller: &dyn Caller,
        mover: &Mover<'_>,
    ) -> Result<()>;
    /// Ends all in the group and below it.
    fn kill(&self, group: &Group, caller: &dyn Caller);
    /// CPU time of all that was ever in the group and below it, in nanoseconds: in guests, in the kernel.
    fn cpu_ns(&self, group: &Group) -> [u64; 2];
}

/// Whether `mover` may take something from `from` to `to`: it must be allowed to write `cgroup.procs` of the group around both
/// (EACCES), and where namespaces are boundaries, to see both (ENOENT).
fn check_move(from: &Group, to: &Group, mover: &Mover<'_>) -> Result<()> {
    permission::check(from.around(to).procs_owner(), mover.cred, Access::WRITE)?;
    if from.delegates() && !(from.is_within(mover.root) && to.is_within(mover.root)) {
        return Err(ENOENT);
    }
    to.check_may_enter()
}

/// Tasks of a process that count: its threads, and its first one until it was waited for.
fn tasks_of<H: Host>(process: &Process<H>, threads: &[Arc<Task<H>>]) -> usize {
    threads.iter().filter(|thread| thread.tid() != process.pid).count() + 1
}

/// The processes in the group and below it.
fn within<'a, H: Host>(
    tree: &'a ProcessTree<H>,
    group: &'a Group,
) -> impl Iterator<Item = &'a Arc<Process<H>>> {
    // Each group is asked once: it may be deep, and have many processes.
    let mut known = BTreeMap::new();
    tree.nodes().map(|node| &node.process).filter(move |process| {
        let own = process.cgroup.group();
        *known.entry(own.id).or_insert_with(|| own.is_within(group))
    })
}

impl<H: Host> Kernel<H> {
    fn members_of(&self, group: &Group) -> Vec<Arc<Process<H>>> {
        let tree = self.tree.lock();
        let own = tree.nodes().map(|node| &node.process).filter(|process| process.cgroup.is_in(group));
        own.cloned().collect()
    }
}

impl<H: Host> Members for KernelLink<H> {
    fn processes(&self, group: &Group, seen_from: &PidNs) -> Vec<u32> {
        let Some(kernel) = self.upgrade() else { return Vec::new() };
        let all = kernel.members_of(group);
        let live = all.iter().filter(|process| !process.signals.lock().threads.is_empty());
        live.map(|process| seen_from.shown(process.pid)).collect()
    }

    fn threads(&self, group: &Group, seen_from: &PidNs) -> Vec<u32> {
        let Some(kernel) = self.upgrade() else { return Vec::new() };
        let all = kernel.members_of(group);
        all.iter().flat_map(|process| process.threads()).map(|task| seen_from.shown(task.tid())).collect()
    }

    fn attach(
        &self,
        group: &Arc<Group>,
        pid: u32,
        unit: Unit,
        caller: &dyn Caller,
        mover: &Mover<'_>,
    ) -> Result<()> {
        let kernel = self.upgrade().ok_or(ESRCH)?;
        let pid = if pid == 0 { caller.tid() } else { caller.pid_ns().outside(pid).ok_or(ESRCH)? };
        let mut changes = Changes::default();
        {
            let tree = kernel.tree.lock();
            let process = tree.process(pid).or_else(|| tree.thread(pid).map(|task| task.process.clone()));
            let process = process.ok_or(ESRCH)?;
            let threads = process.threads();
            let (user, system) = kernel.process_cpu_ns(&process);
            let _serial = group.serial();
            if group.is_removed() {
                return Err(ENODEV);
            }
            let from = process.cgroup.group();
            check_move(&from, group, mover)?;
            if Arc::ptr_eq(&from, group) {
                return Ok(());
            }
            if unit == Unit::Thread {
                return Err(EOPNOTSUPP);
            }
            // What has ended stays where it was.
            if !threads.is_empty() {
                process.cgroup.move_to(group, tasks_of(&process, &threads), [user, system], &mut changes);
            }
        }
        changes.tell();
        Ok(())
    }

    fn kill(&self, group: &Group, caller: &dyn Caller) {
        let Some(kernel) = self.upgrade() else { return };
        let mut wake = Vec::new();
        {
            // Whoever is being made is either in the tree already, or does not come there, as its maker ends.
            let tree = kernel.tree.lock();
            for process in within(&tree, group) {
                // The first process of a namespace is protected from those in it, and PID 1 from all.
                let protected = process.pid == 1
                    || process.is_namespace_init() && process.pid_ns.shown(caller.pid()) != 0;
                if !protected {
                    let killed = ExitStatus::Signaled { signal: SIGKILL, core: false };
                    process.signals.lock().end(killed, &mut wake);
                }
            }
        }
        for task in wake {
            task.wake(Events::empty());
            task.interrupt();
        }
    }

    fn cpu_ns(&self, group: &Group) -> [u64; 2] {
        let Some(kernel) = self.upgrade() else { return [0; 2] };
        // Under the lock nobody comes, goes or is waited for, so nothing is counted twice or not at all.
        let tree = kernel.tree.lock();
        if group.is_root() {
            tree.threads().for_each(|task| kernel.settle(task));
            let (user, system, _) = kernel.vcpu_times();
            return [user, system];
        }
        let mut sum = group.spent.each_ref().map(|ns| ns.load(Ordering::Relaxed));
        for process in within(&tree, group) {
            let (user, system) = kernel.process_cpu_ns(process);
            let spent = process.cgroup.spent([user, system]);
            sum.iter_mut().zip(spent).for_each(|(sum, ns)| *sum += ns);
        }
        sum
    }
}

impl<H: Host> Cx<'_, H> {
    /// Counts a task that is about to be made, in the caller's group or that of the directory `into`: EAGAIN. EBADF: that is no
    /// group's; ENOENT: it was removed; and what forbids to put a task there.
    pub(crate) fn join_group(&self, into: Option<RawFd>, unit: Unit) -> Result<Joining> {
        let own = self.task.process.cgroup.group();
        let Some(fd) = into else { return Ok(Joining { charge: Charge::new(own)?, into: None }) };
        let file = self.file_or_path(fd).map_err(|_| EBADF)?;
        let group = file.inode.as_any().downcast_ref::<Group>().ok_or(EBADF)?;
        let group = group.this().ok_or(ENOENT)?;
        {
            let _serial = group.serial();
            if group.is_removed() {
                return Err(ENOENT);
            }
            let root = self.task.namespaces().cgroup.root.clone();
            check_move(&own, &group, &Mover { cred: &self.cred(), root: &root })?;
            // `cgroup.procs` of the group itself must be writable, too.
            permission::check(group.procs_owner(), &self.cred(), Access::WRITE)?;
        }
        if unit == Unit::Thread && !Arc::ptr_eq(&own, &group) {
            return Err(EOPNOTSUPP);
        }
        Ok(Joining { charge: Charge::new(group.clone())?, into: Some(group) })
    }
}
