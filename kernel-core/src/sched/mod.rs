//! Scheduling: who runs, who waits, and until when.
//!
//! N vCPUs are N host threads in [`vcpu`]'s loop; they share one [`Scheduler`], a queue of tasks that can run, and those
//! that may not run everywhere (`sched_setaffinity`) wait in a queue of one vCPU. Kernel code is not preempted; a guest that computes is taken back at the end of its time slice ([`nice`]).

pub mod load;
pub mod nice;
pub mod policy;
pub mod state;
pub mod timers;
pub mod vcpu;
pub mod wait;

use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::host::{Host, VcpuId};
use crate::sync::Mutex;
use crate::task::Task;

/// The run queue and who serves it.
pub struct Scheduler<H: Host> {
    host: Arc<H>,
    runnable: Mutex<VecDeque<Arc<Task<H>>>>,
    /// Length of the queue, so that an empty one costs one load.
    len: AtomicUsize,
    /// Bit n: vCPU n waits, or is about to.
    idle: AtomicU64,
    /// Tasks that may not run on every vCPU, by the one that they wait for.
    pinned: Vec<Pinned<H>>,
    /// How many those are in all.
    pinned_len: AtomicUsize,
}

/// Tasks that wait for one vCPU.
struct Pinned<H: Host> {
    queue: Mutex<VecDeque<Arc<Task<H>>>>,
    len: AtomicUsize,
    /// Whether one of these came last, and one of all is due.
    was_last: AtomicBool,
}

impl<H: Host> Scheduler<H> {
    /// An empty queue for so many vCPUs.
    pub fn new(host: Arc<H>, vcpus: usize) -> Arc<Scheduler<H>> {
        let pinned =
            || Pinned { queue: Mutex::default(), len: AtomicUsize::new(0), was_last: AtomicBool::new(false) };
        Arc::new(Scheduler {
            host,
            runnable: Mutex::default(),
            len: AtomicUsize::new(0),
            idle: AtomicU64::new(0),
            pinned: (0..vcpus).map(|_| pinned()).collect(),
            pinned_len: AtomicUsize::new(0),
        })
    }

    /// Empties the queues: there is nobody to run any more.
    pub(crate) fn forget_all(&self) {
        let mut all = core::mem::take(&mut *self.runnable.lock());
        self.len.store(0, Ordering::SeqCst);
        for pinned in &self.pinned {
            all.append(&mut pinned.queue.lock());
            pinned.len.store(0, Ordering::SeqCst);
        }
        self.pinned_len.store(0, Ordering::SeqCst);
        drop(all);
    }

    /// Puts a task at the end of the queue; its state says queued. Gets an idle vCPU going, if there is one.
    pub(crate) fn enqueue(&self, task: Arc<Task<H>>) {
        let mask = task.affinity();
        if mask != 0 {
            return self.enqueue_pinned(task, mask);
        }
        let mut runnable = self.runnable.lock();
        runnable.push_back(task);
        // Sequentially consistent, as `idle` is: either we see the vCPU idle, or it sees the queue longer.
        self.len.store(runnable.len(), Ordering::SeqCst);
        drop(runnable);
        let idle = self.idle.load(Ordering::SeqCst);
        if idle != 0 {
            self.host.kick(VcpuId(idle.trailing_zeros() as usize));
        }
    }

    /// Puts a task at the end of the queue of a vCPU in `mask`: one that waits, or else that with the shortest queue.
    fn enqueue_pinned(&self, task: Arc<Task<H>>, mask: u64) {
        let idle = self.idle.load(Ordering::SeqCst);
        let length = |(vcpu, pinned): &(usize, &Pinned<H>)| {
            (idle >> vcpu & 1 == 0, pinned.len.load(Ordering::Relaxed))
        };
        let allowed = self.pinned.iter().enumerate().filter(|(vcpu, _)| mask >> vcpu & 1 != 0);
        let Some((vcpu, pinned)) = allowed.min_by_key(length) else { return };
        let mut queue = pinned.queue.lock();
        queue.push_back(task);
        let is_first = queue.len() == 1;
        pinned.len.store(queue.len(), Ordering::SeqCst);
        self.pinned_len.fetch_add(1, Ordering::SeqCst);
        drop(queue);
        // It may wait, or run a guest that nobody was to take it back from. It only does so having seen the queue empty, and
        // who puts in the first after that kicks it: there is nothing to tell it with the others.
        if is_first {
            self.host.kick(VcpuId(vcpu));
        }
    }

    /// The next task for a vCPU to run: of those for all and those for it, in turn.
    pub(crate) fn dequeue(&self, vcpu: VcpuId) -> Option<Arc<Task<H>>> {
        if self.pinned_len.load(Ordering::SeqCst) == 0 {
            return self.dequeue_any();
        }
        let pinned = self.pinned.get(vcpu.0)?;
        if pinned.was_last.swap(false, Ordering::Relaxed)
            && let Some(task) = self.dequeue_any()
        {
            return Some(task);
        }
        let mut queue = pinned.queue.lock();
        let Some(task) = queue.pop_front() else {
            drop(queue);
            return self.dequeue_any();
        };
        pinned.len.store(queue.len(), Ordering::SeqCst);
        self.pinned_len.fetch_sub(1, Ordering::SeqCst);
        pinned.was_last.store(true, Ordering::Relaxed);
        Some(task)
    }

    fn dequeue_any(&self) -> Option<Arc<Task<H>>> {
        if self.len.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut runnable = self.runnable.lock();
        let task = runnable.pop_front();
        self.len.store(runnable.len(), Ordering::SeqCst);
        task
    }

    /// Whether any task waits that a vCPU may run.
    pub fn has_runnable(&self, vcpu: VcpuId) -> bool {
        self.len.load(Ordering::SeqCst) != 0
            || self.pinned_len.load(Ordering::SeqCst) != 0
                && self.pinned.get(vcpu.0).is_some_and(|pinned| pinned.len.load(Ordering::SeqCst) != 0)
    }

    /// Number of tasks that wait for a vCPU.
    pub fn runnable(&self) -> usize {
        self.len.load(Ordering::Relaxed) + self.pinned_len.load(Ordering::Relaxed)
    }

    /// Says that a vCPU is about to wait. Look at the queue after it.
    pub(crate) fn set_idle(&self, vcpu: VcpuId) {
        self.idle.fetch_or(1 << vcpu.0, Ordering::SeqCst);
    }

    /// Says that a vCPU does not wait any more.
    pub(crate) fn clear_idle(&self, vcpu: VcpuId) {
        self.idle.fetch_and(!(1 << vcpu.0), Ordering::SeqCst);
    }

    /// Makes a vCPU come out of the guest or of its wait.
    pub(crate) fn interrupt(&self, vcpu: VcpuId) {
        self.host.kick(vcpu);
    }
}
