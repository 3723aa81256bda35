//! Scheduling: who runs, who waits, and until when.
//!
//! N vCPUs are N host threads in [`vcpu`]'s loop; they share one [`Scheduler`], a queue of tasks that can run. Kernel code
//! is not preempted; a guest that computes is taken back at the end of its time slice ([`nice`]).

pub mod nice;
pub mod state;
pub mod timers;
pub mod vcpu;
pub mod wait;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
}

impl<H: Host> Scheduler<H> {
    /// An empty queue.
    pub fn new(host: Arc<H>) -> Arc<Scheduler<H>> {
        Arc::new(Scheduler {
            host,
            runnable: Mutex::default(),
            len: AtomicUsize::new(0),
            idle: AtomicU64::new(0),
        })
    }

    /// Puts a task at the end of the queue; its state says queued. Gets an idle vCPU going, if there is one.
    pub(crate) fn enqueue(&self, task: Arc<Task<H>>) {
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

    /// The next task to run.
    pub(crate) fn dequeue(&self) -> Option<Arc<Task<H>>> {
        if !self.has_runnable() {
            return None;
        }
        let mut runnable = self.runnable.lock();
        let task = runnable.pop_front();
        self.len.store(runnable.len(), Ordering::SeqCst);
        task
    }

    /// Whether any task waits for a vCPU.
    pub fn has_runnable(&self) -> bool {
        self.len.load(Ordering::SeqCst) != 0
    }

    /// Number of tasks that wait for a vCPU.
    pub fn runnable(&self) -> usize {
        self.len.load(Ordering::Relaxed)
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
