//! How processes are related: numbers, parents and children, process groups, sessions, zombies.
//!
//! One lock around all of it, as Linux has its task list lock: relations change rarely, and always several at once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::host::Host;
use crate::task::process::ExitStatus;
use crate::task::trace::relation::Tracing;
use crate::task::{Process, Task};

/// The largest process or thread id (`/proc/sys/kernel/pid_max` is one more).
pub const PID_LAST: u32 = 32767;

/// The first id tried after the numbers went round; low ones stay with what started at boot.
const PID_AFTER_WRAP: u32 = 300;

/// What a parent can hear of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// It ended.
    Exited(ExitStatus),
    /// A signal stopped it.
    Stopped(u8),
    /// It goes on.
    Continued,
    /// It has stopped for its tracer; the code is a signal and, above it, an event.
    Trapped(u32),
}

/// A process in the tree.
pub struct Node<H: Host> {
    /// The process.
    pub process: Arc<Process<H>>,
    /// Its parent's process id; 0 for PID 1.
    pub parent: u32,
    /// The thread of the parent that made it: for `PR_SET_PDEATHSIG` and `__WNOTHREAD`.
    pub parent_thread: u32,
    /// Process ids of its children.
    pub children: BTreeSet<u32>,
    /// It ended and waits to be waited for.
    pub zombie: Option<ExitStatus>,
    /// A stop or continuation that nobody has waited for.
    pub unreported: Option<StateChange>,
    /// Set by its first exec: `setpgid` by the parent is refused from then on.
    pub has_execed: bool,
}

/// All processes and threads.
pub struct ProcessTree<H: Host> {
    nodes: BTreeMap<u32, Node<H>>,
    threads: BTreeMap<u32, Arc<Task<H>>>,
    /// Who is traced, by thread id. What has ended and was not waited for by its tracer is here too.
    pub(crate) traced: BTreeMap<u32, Tracing<H>>,
    /// Numbers of tasks that are being made.
    reserved: BTreeSet<u32>,
    /// Ids of groups and sessions in use stay taken after their process is gone.
    last: u32,
}

impl<H: Host> Default for ProcessTree<H> {
    fn default() -> Self {
        ProcessTree {
            nodes: BTreeMap::new(),
            threads: BTreeMap::new(),
            traced: BTreeMap::new(),
            reserved: BTreeSet::new(),
            last: 0,
        }
    }
}

impl<H: Host> ProcessTree<H> {
    /// A number for a new process or thread, which nobody else gets until it is added or [released](Self::release);
    /// `None` if there are too many.
    pub fn allocate(&mut self) -> Option<u32> {
        for _ in 0..=PID_LAST {
            self.last = if self.last >= PID_LAST { PID_AFTER_WRAP } else { self.last + 1 };
            let id = self.last;
            if !self.is_used(id) && self.reserved.insert(id) {
                return Some(id);
            }
        }
        None
    }

    /// The same for a number that somebody has chosen; `None` if it is in use.
    pub fn reserve(&mut self, id: u32) -> Option<u32> {
        let is_free = !self.is_process_or_thread(id) && !self.is_group_or_session(id);
        (is_free && self.reserved.insert(id)).then_some(id)
    }

    /// A number is free again: what it was for was not added.
    pub fn release(&mut self, id: u32) {
        self.reserved.remove(&id);
    }

    /// The number given last.
    pub fn last(&self) -> u32 {
        self.last
    }

    fn is_used(&self, id: u32) -> bool {
        // Only after the numbers went round can a group or session outlive the process it is named after.
        let went_round = || self.nodes.last_key_value().is_some_and(|(highest, _)| *highest >= id);
        self.is_process_or_thread(id) || went_round() && self.is_group_or_session(id)
    }

    /// Whether a process or thread, zombies among them, has the number.
    fn is_process_or_thread(&self, id: u32) -> bool {
        self.nodes.contains_key(&id) || self.threads.contains_key(&id) || self.traced.contains_key(&id)
    }

    fn is_group_or_session(&self, id: u32) -> bool {
        self.nodes.values().any(|node| node.process.group() == id || node.process.session().id == id)
    }

    /// Adds a process as a child of `parent`.
    pub fn add(&mut self, process: Arc<Process<H>>, parent: u32, parent_thread: u32) {
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.children.insert(process.pid);
        }
        let node = Node {
            parent,
            parent_thread,
            children: BTreeSet::new(),
            zombie: None,
            unreported: None,
            has_execed: false,
            process: process.clone(),
        };
        self.reserved.remove(&process.pid);
        self.nodes.insert(process.pid, node);
    }

    /// Adds a thread.
    pub fn add_thread(&mut self, task: Arc<Task<H>>) {
        let tid = task.tid();
        self.reserved.remove(&tid);
        self.threads.insert(tid, task);
    }

    /// Removes a thread that ended.
    pub fn remove_thread(&mut self, tid: u32) {
        self.threads.remove(&tid);
    }

    /// Removes a process that was waited for.
    pub fn remove(&mut self, pid: u32) -> Option<Node<H>> {
        let node = self.nodes.remove(&pid)?;
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children.remove(&pid);
        }
        Some(node)
    }

    /// A process, zombies among them.
    pub fn node(&self, pid: u32) -> Option<&Node<H>> {
        self.nodes.get(&pid)
    }

    /// See [`ProcessTree::node`].
    pub fn node_mut(&mut self, pid: u32) -> Option<&mut Node<H>> {
        self.nodes.get_mut(&pid)
    }

    /// All processes, by number.
    pub fn nodes(&self) -> impl Iterator<Item = &Node<H>> {
        self.nodes.values()
    }

    /// A process, zombies among them.
    pub fn process(&self, pid: u32) -> Option<Arc<Process<H>>> {
        self.nodes.get(&pid).map(|node| node.process.clone())
    }

    /// A thread that has not ended.
    pub fn thread(&self, tid: u32) -> Option<Arc<Task<H>>> {
        self.threads.get(&tid).cloned()
    }

    /// All threads that have not ended.
    pub fn threads(&self) -> impl Iterator<Item = &Arc<Task<H>>> {
        self.threads.values()
    }

    /// Number of processes, zombies among them.
    pub fn process_count(&self) -> usize {
        self.nodes.len()
    }

    /// Number of threads that have not ended.
    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    /// Number of threads that have not ended and belong to a real user id, for RLIMIT_NPROC.
    pub fn count_of_user(&self, uid: u32) -> usize {
        self.threads.values().filter(|task| task.with_cred(|cred| cred.uid == uid)).count()
    }

    /// Processes of a group, zombies among them.
    pub fn group(&self, group: u32) -> Vec<Arc<Process<H>>> {
        self.nodes
            .values()
            .filter(|node| node.process.group() == group)
            .map(|node| node.process.clone())
            .collect()
    }

    /// The session that a group is in: all its members are in the same one.
    pub fn session_of_group(&self, group: u32) -> Option<u32> {
        let member = self.nodes.values().find(|node| node.process.group() == group)?;
        Some(member.process.session().id)
    }

    /// Whether no member of a group has a parent in another group of the same session: nobody would continue it if it
    /// stopped. PID 1 does not count as a parent.
    pub fn is_orphaned(&self, group: u32) -> bool {
        self.is_orphaned_without(group, None)
    }

    /// As [`ProcessTree::is_orphaned`], as if process `leaving` were gone.
    pub fn is_orphaned_without(&self, group: u32, leaving: Option<u32>) -> bool {
        !self.nodes.values().any(|node| {
            let process = &node.process;
            process.group() == group
                && node.zombie.is_none()
                && Some(process.pid) != leaving
                && node.parent > 1
                && self.nodes.get(&node.parent).is_some_and(|parent| {
                    parent.process.group() != group && parent.process.session().id == process.session().id
                })
        })
    }

    /// Whether a group has a stopped member.
    pub fn has_stopped(&self, group: u32) -> bool {
        self.nodes.values().any(|node| {
            node.process.group() == group
                && node.zombie.is_none()
                && node.process.signals.lock().stop.is_some()
        })
    }

    /// The process that gets the children of `pid`: its nearest subreaper in the same PID namespace, else the first process
    /// of that. The children of that one itself stay with it until it is gone.
    pub fn reaper(&self, pid: u32) -> u32 {
        let Some(of) = self.nodes.get(&pid) else { return 1 };
        let pid_ns = &of.process.pid_ns;
        let init = pid_ns.init();
        let mut ancestor = of.parent;
        while let Some(node) = self.nodes.get(&ancestor) {
            if pid == init || ancestor == init || node.process.pid_ns != *pid_ns {
                return init;
            }
            let subreaper = node.process.child_subreaper.load(core::sync::atomic::Ordering::Relaxed) != 0;
            if ancestor <= 1
                || subreaper && node.zombie.is_none() && !node.process.signals.lock().threads.is_empty()
            {
                return ancestor;
            }
            ancestor = node.parent;
        }
        init
    }
}

/// Takes numbers that nothing has any more from the PID namespace of `process` and those around: its own once it is gone,
/// those of groups and sessions once their last member is.
pub fn release_numbers<H: Host>(tree: &ProcessTree<H>, process: &Process<H>, numbers: &[u32]) {
    for &number in numbers {
        if process.pid_ns.has(number)
            && !tree.is_process_or_thread(number)
            && !tree.is_group_or_session(number)
        {
            process.pid_ns.leave(number);
        }
    }
}
