//! CPU time of tasks: in the guest, and for it in the kernel.
//!
//! A clock is dear beside a system call. So around each stay in the guest a vCPU only counts the host's ticks
//! ([`Host::ticks`]). They become time when the task suspends, or when somebody asks: what has passed by the clock
//! is split as the ticks say.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::host::{Host, VcpuId};
use crate::kernel::Kernel;
use crate::sync::Mutex;
use crate::syscall::Cx;
use crate::task::{Process, Task};

/// What a vCPU has done for the task that it runs.
#[derive(Default)]
pub(crate) struct Account {
    /// When it took the task up, in monotonic nanoseconds.
    slice_start_ns: AtomicU64,
    /// Ticks that it ever spent in guests; only the vCPU itself changes this and the next.
    guest_ticks: AtomicU64,
    /// The tick at which it entered the guest that it is in; 0 if it is in none.
    entered: AtomicU64,
    open: Mutex<Open>,
}

/// The time that no task has got yet.
#[derive(Default)]
struct Open {
    /// The address of the task; 0 for none.
    task: usize,
    since: Moment,
    guest_ticks: u64,
}

/// A point in time: by the monotonic clock, and in the host's ticks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moment {
    ns: u64,
    ticks: u64,
}

impl Account {
    /// When the vCPU took up what it runs, in monotonic nanoseconds.
    pub fn slice_start_ns(&self) -> u64 {
        self.slice_start_ns.load(Ordering::Relaxed)
    }

    /// Names the present stay in a guest; 0 if there is none.
    pub fn stay(&self) -> u64 {
        self.entered.load(Ordering::SeqCst)
    }

    /// Runs a guest: `run`, between two looks at `ticks`.
    #[inline]
    pub fn in_guest<R>(&self, ticks: impl Fn() -> u64, run: impl FnOnce() -> R) -> R {
        let start = ticks();
        self.entered.store(start, Ordering::Relaxed);
        let result = run();
        let spent = ticks().saturating_sub(start);
        self.guest_ticks.store(self.guest_ticks.load(Ordering::Relaxed) + spent, Ordering::Relaxed);
        self.entered.store(0, Ordering::Relaxed);
        result
    }
}

impl<H: Host> Kernel<H> {
    /// A vCPU takes up a task.
    pub(crate) fn begin_slice(&self, vcpu: VcpuId, task: &Task<H>, now: Moment) {
        let account = self.account(vcpu);
        account.slice_start_ns.store(now.ns, Ordering::Relaxed);
        *account.open.lock() = Open {
            task: core::ptr::from_ref(task).addr(),
            since: now,
            guest_ticks: account.guest_ticks.load(Ordering::Relaxed),
        };
    }

    /// A vCPU has run a task, which now suspended or ended. Gives the time.
    pub(crate) fn end_slice(&self, vcpu: VcpuId, task: &Task<H>) -> Moment {
        self.settle(task);
        let mut open = self.account(vcpu).open.lock();
        open.task = 0;
        open.since
    }

    /// Now.
    pub(crate) fn moment(&self) -> Moment {
        Moment { ns: self.now_ns(), ticks: self.host.ticks() }
    }

    /// Gives a task, if a vCPU runs it, the time that it has spent.
    pub(crate) fn settle(&self, task: &Task<H>) {
        let account = self.account(task.vcpu());
        let mut open = account.open.lock();
        if open.task != core::ptr::from_ref(task).addr() {
            return;
        }
        let now = self.moment();
        let staying = match account.entered.load(Ordering::Relaxed) {
            0 => 0,
            entered => now.ticks.saturating_sub(entered),
        };
        let guest_ticks = account.guest_ticks.load(Ordering::Relaxed).saturating_add(staying);
        let spent_ns = now.ns.saturating_sub(open.since.ns);
        let spent_ticks = now.ticks.saturating_sub(open.since.ticks).max(1);
        let in_guest = guest_ticks.saturating_sub(open.guest_ticks).min(spent_ticks);
        let user_ns = (u128::from(spent_ns) * u128::from(in_guest) / u128::from(spent_ticks)) as u64;
        *open = Open { task: open.task, since: now, guest_ticks };
        task.user_ns.fetch_add(user_ns, Ordering::Relaxed);
        task.system_ns.fetch_add(spent_ns - user_ns, Ordering::Relaxed);
        self.user_ns.fetch_add(user_ns, Ordering::Relaxed);
        self.system_ns.fetch_add(spent_ns - user_ns, Ordering::Relaxed);
    }

    /// CPU time of a thread up to now, in nanoseconds: in the guest, in the kernel.
    pub(crate) fn thread_cpu_ns(&self, task: &Task<H>) -> (u64, u64) {
        self.settle(task);
        (task.user_ns.load(Ordering::Relaxed), task.system_ns.load(Ordering::Relaxed))
    }

    /// CPU time of all threads of a process up to now.
    pub(crate) fn process_cpu_ns(&self, process: &Process<H>) -> (u64, u64) {
        process.threads().iter().for_each(|task| self.settle(task));
        process.cpu_ns()
    }
}

impl<H: Host> Cx<'_, H> {
    /// CPU time of the calling process up to now, in nanoseconds: in the guest, in the kernel.
    pub fn cpu_ns(&self) -> (u64, u64) {
        self.kernel.process_cpu_ns(&self.task.process)
    }
}
