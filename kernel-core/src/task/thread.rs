//! A task: one thread of a guest program.

use crate::sync::atomic::{
    AtomicBool, AtomicI8, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use crate::host::{Host, VcpuId};
use crate::ipc::pi_futex::Who;
use crate::ipc::sysv::sem::UndoList;
use crate::mm::Mm;
use crate::sched::Scheduler;
use crate::sched::nice::Nice;
use crate::sched::policy::Policy;
use crate::sched::state::State;
use crate::sched::wait::{Events, WaitQueue, Wake};
use crate::sync::Mutex;
use crate::syscall::prctl::TIMER_SLACK_NS;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Cred;
use crate::task::namespaces::Namespaces;
use crate::task::process::{ExitStatus, Process};
use crate::task::seccomp::Seccomp;
use crate::task::signal::TaskSignals;
use crate::task::trace::Tracee;
use crate::task::user_dispatch::UserDispatch;
use crate::task::watched::NO_CALL;
use crate::vfs::context::FsContext;
use crate::vfs::fd::FdTable;

/// What a restarted call goes on with, see [`Cx::restart_with`].
pub type Again<H> = Box<dyn FnOnce(&Cx<'_, H>) -> SysResult + Send>;

/// What a task may share with others, each on its own (`CLONE_VM`, `CLONE_FILES`, `CLONE_FS`).
pub struct Resources<H: Host> {
    /// Address space.
    pub mm: Arc<Mm<H>>,
    /// Descriptors.
    pub files: Arc<FdTable>,
    /// Root, working directory, umask.
    pub fs: Arc<FsContext>,
}

impl<H: Host> Clone for Resources<H> {
    fn clone(&self) -> Self {
        Resources { mm: self.mm.clone(), files: self.files.clone(), fs: self.fs.clone() }
    }
}

/// Something that happens once and is waited for: a `vfork` child that has let go of its parent's memory.
#[derive(Default)]
pub struct Completion {
    /// Woken when it has happened.
    pub queue: WaitQueue,
    done: AtomicBool,
}

impl Completion {
    /// Says that it has happened.
    pub fn complete(&self) {
        self.done.store(true, Ordering::Release);
        self.queue.wake(Events::IN);
    }

    /// Whether it has happened.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

/// The list of robust futexes that a task registered (`set_robust_list`).
#[derive(Clone, Copy, Debug, Default)]
pub struct RobustList {
    /// Address of `struct robust_list_head`, or 0.
    pub head: u64,
    /// Its size in bytes.
    pub len: u64,
}

/// A registered `struct rseq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rseq {
    /// Address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// Signature that stands before abort handlers.
    pub signature: u32,
}

/// A thread.
pub struct Task<H: Host> {
    tid: AtomicU32,
    /// Its number in its PID namespace.
    own_tid: AtomicU32,
    /// Its thread group.
    pub process: Arc<Process<H>>,
    /// Where it stands between running and waiting.
    pub(crate) state: State,
    /// Its kernel stack; out while a vCPU runs it.
    pub(crate) fiber: Mutex<Option<H::Fiber>>,
    /// Mask, private pending signals, alternative stack. Taken after the process's signal lock.
    pub(crate) signals: Mutex<TaskSignals>,
    /// Set when the task has to look at signals, stops or its end before it goes back to the guest.
    attention: AtomicBool,
    /// See [`Task::watch`].
    pub(super) watch: AtomicU8,
    /// See [`Task::call`].
    pub(super) call: AtomicU64,
    /// See [`trap`](crate::task::trace::trap).
    pub(super) traps: AtomicU8,
    /// What its tracer knows of it. Taken after the process's signal lock.
    pub(crate) trace: Mutex<Tracee>,
    /// What it may call. Changes under the process's signal lock.
    pub(crate) seccomp: Mutex<Seccomp>,
    /// Which of its calls become signals.
    pub(crate) user_dispatch: Mutex<Option<UserDispatch>>,
    /// Set when [`Resources`] were replaced, so that a [`Cx`] made before is old.
    stale: AtomicBool,
    resources: Mutex<Option<Resources<H>>>,
    cred: Mutex<Arc<Cred>>,
    namespaces: Mutex<Arc<Namespaces>>,
    restart: Mutex<Option<Again<H>>>,
    exit_status: Mutex<Option<ExitStatus>>,
    /// Whether `exit_status` is set; looked at before each entry into the guest.
    exited: AtomicBool,
    /// `CLONE_CHILD_CLEARTID`, `set_tid_address`: zeroed and woken as a futex when the task ends; 0 if none.
    pub(crate) clear_child_tid: AtomicU64,
    pub(crate) robust_list: Mutex<RobustList>,
    pub(crate) rseq: Mutex<Option<Rseq>>,
    /// What System V semaphores get back when the last who shares it ends.
    pub(crate) sem_undo: Mutex<Option<Arc<UndoList>>>,
    comm: Mutex<[u8; 16]>,
    nice: AtomicI8,
    /// A [`Policy`] by its number.
    policy: AtomicU8,
    /// `SCHED_RESET_ON_FORK`.
    reset_on_fork: AtomicBool,
    /// Bit n: it may run on vCPU n; 0 for all.
    affinity: AtomicU64,
    io_priority: AtomicU16,
    /// `PR_SET_TIMERSLACK`, in nanoseconds; no timer here is ever late on purpose.
    pub(crate) timer_slack_ns: AtomicU64,
    /// `personality(2)`.
    pub(crate) personality: AtomicU32,
    /// What the processor says of the last fault that became a signal.
    pub(crate) fault_error: AtomicU8,
    /// Set before the futexes that it owns are given up at its end.
    pub(crate) leaves_futexes: AtomicBool,
    /// Faults served, and how often it stopped running: as it waited for something, and as others could run.
    pub(crate) faults: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) preemptions: AtomicU64,
    /// For a `vfork` child: completed when it lets go of the memory.
    pub(crate) vfork: Mutex<Option<Arc<Completion>>>,
    /// Nanoseconds spent in the guest.
    pub(crate) user_ns: AtomicU64,
    /// Nanoseconds spent in the kernel.
    pub(crate) system_ns: AtomicU64,
    /// Monotonic nanoseconds at its start.
    pub start_ns: u64,
    vcpu: AtomicUsize,
    scheduler: Arc<Scheduler<H>>,
    this: Weak<Task<H>>,
}

/// What a new task starts with.
pub struct NewTask<H: Host> {
    /// Thread id.
    pub tid: u32,
    /// Thread group.
    pub process: Arc<Process<H>>,
    /// Memory, files, directories.
    pub resources: Resources<H>,
    /// Credentials.
    pub cred: Arc<Cred>,
    /// Namespaces.
    pub namespaces: Arc<Namespaces>,
    /// Signal mask and alternative stack.
    pub signals: TaskSignals,
    /// Name.
    pub comm: [u8; 16],
    /// Its share of the vCPUs.
    pub nice: Nice,
    /// Monotonic nanoseconds now.
    pub start_ns: u64,
}

impl<H: Host> Task<H> {
    /// A task that does not run yet.
    pub fn new(scheduler: &Arc<Scheduler<H>>, new: NewTask<H>) -> Arc<Task<H>> {
        Arc::new_cyclic(|this| Task {
            tid: AtomicU32::new(new.tid),
            own_tid: AtomicU32::new(new.process.pid_ns.shown(new.tid)),
            process: new.process,
            state: State::parked(),
            fiber: Mutex::new(None),
            signals: Mutex::new(new.signals),
            attention: AtomicBool::new(false),
            watch: AtomicU8::new(0),
            call: AtomicU64::new(NO_CALL),
            traps: AtomicU8::new(0),
            trace: Mutex::default(),
            seccomp: Mutex::default(),
            user_dispatch: Mutex::default(),
            stale: AtomicBool::new(false),
            resources: Mutex::new(Some(new.resources)),
            cred: Mutex::new(new.cred),
            namespaces: Mutex::new(new.namespaces),
            restart: Mutex::new(None),
            exit_status: Mutex::new(None),
            exited: AtomicBool::new(false),
            clear_child_tid: AtomicU64::new(0),
            robust_list: Mutex::default(),
            rseq: Mutex::new(None),
            sem_undo: Mutex::new(None),
            comm: Mutex::new(new.comm),
            nice: AtomicI8::new(new.nice.value()),
            policy: AtomicU8::new(0),
            reset_on_fork: AtomicBool::new(false),
            affinity: AtomicU64::new(0),
            io_priority: AtomicU16::new(0),
            timer_slack_ns: AtomicU64::new(TIMER_SLACK_NS),
            personality: AtomicU32::new(0),
            fault_error: AtomicU8::new(0),
            leaves_futexes: AtomicBool::new(false),
            faults: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            preemptions: AtomicU64::new(0),
            vfork: Mutex::new(None),
            user_ns: AtomicU64::new(0),
            system_ns: AtomicU64::new(0),
            start_ns: new.start_ns,
            vcpu: AtomicUsize::new(0),
            scheduler: scheduler.clone(),
            this: this.clone(),
        })
    }

    /// Thread id.
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Thread id as the thread itself sees it.
    pub fn own_tid(&self) -> u32 {
        self.own_tid.load(Ordering::Relaxed)
    }

    /// Gives it another id: a thread that executes a program takes its process's. Under the tree's lock.
    pub(crate) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
        self.own_tid.store(self.process.pid_ns.shown(tid), Ordering::Relaxed);
    }

    /// Ends this thread alone: it leaves its loop before it would go back to the guest.
    pub(crate) fn exit(&self, status: ExitStatus) {
        *self.exit_status.lock() = Some(status);
        self.exited.store(true, Ordering::Relaxed);
    }

    /// Whether it leaves its loop: it called exit, or its process ends.
    pub(crate) fn is_leaving(&self) -> bool {
        self.exited.load(Ordering::Relaxed) || self.is_ending()
    }

    /// What the thread called exit with.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit_status.lock()
    }

    /// Memory, files and directories; `None` once the task has ended.
    pub fn resources(&self) -> Option<Resources<H>> {
        self.resources.lock().clone()
    }

    /// Takes the resources away: the task ends.
    pub(crate) fn take_resources(&self) -> Option<Resources<H>> {
        self.resources.lock().take()
    }

    /// Changes what the task uses from its next entry into the guest on.
    pub(crate) fn replace_resources(&self, change: impl FnOnce(&mut Resources<H>)) {
        if let Some(resources) = self.resources.lock().as_mut() {
            change(resources);
        }
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Whether resources were replaced since this was asked last.
    pub(crate) fn take_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed) && self.stale.swap(false, Ordering::Relaxed)
    }

    /// Credentials now.
    pub fn cred(&self) -> Arc<Cred> {
        self.cred.lock().clone()
    }

    /// Looks at the credentials, under their lock: for calls that are made often.
    pub(crate) fn with_cred<R>(&self, look: impl FnOnce(&Cred) -> R) -> R {
        look(&self.cred.lock())
    }

    /// Replaces the credentials.
    pub(crate) fn set_cred(&self, cred: Cred) {
        *self.cred.lock() = Arc::new(cred);
    }

    /// Its namespaces, but those of mounts and users.
    pub fn namespaces(&self) -> Arc<Namespaces> {
        self.namespaces.lock().clone()
    }

    /// Replaces its namespaces.
    pub(crate) fn set_namespaces(&self, namespaces: Arc<Namespaces>) {
        let old = core::mem::replace(&mut *self.namespaces.lock(), namespaces);
        drop(old);
    }

    /// The name, zero-terminated.
    pub fn comm(&self) -> [u8; 16] {
        *self.comm.lock()
    }

    /// Sets the name, cut to 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; 16];
        for (to, from) in comm.iter_mut().take(15).zip(name) {
            *to = *from;
        }
        *self.comm.lock() = comm;
    }

    /// Its share of the vCPUs.
    pub fn nice(&self) -> Nice {
        Nice::clamped(self.nice.load(Ordering::Relaxed).into())
    }

    /// Changes its share of the vCPUs, from its next entry into the guest on.
    pub(crate) fn set_nice(&self, nice: Nice) {
        self.nice.store(nice.value(), Ordering::Relaxed);
    }

    /// What it is for futexes with an owner.
    pub(crate) fn futex_owner(&self) -> Who {
        Who { tid: self.own_tid(), pid_ns: self.process.pid_ns.ino() }
    }

    /// As [`Process::counts`], its own.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [&self.faults, &self.waits, &self.preemptions].map(|count| count.load(Ordering::Relaxed))
    }

    /// Its policy.
    pub fn policy(&self) -> Policy {
        Policy::new(self.policy.load(Ordering::Relaxed).into(), 0).unwrap_or_default()
    }

    /// Whether its children get no more than is usual (`SCHED_RESET_ON_FORK`).
    pub fn resets_on_fork(&self) -> bool {
        self.reset_on_fork.load(Ordering::Relaxed)
    }

    /// Changes its policy, from its next entry into the guest on.
    pub(crate) fn set_policy(&self, policy: Policy, reset_on_fork: bool) {
        self.policy.store(policy.number() as u8, Ordering::Relaxed);
        self.reset_on_fork.store(reset_on_fork, Ordering::Relaxed);
    }

    /// What its turns are as long as: its nice value, or the nicest.
    pub(crate) fn effective_nice(&self) -> Nice {
        if self.policy() == Policy::Idle { Nice::clamped(i32::MAX) } else { self.nice() }
    }

    /// Takes over how its maker is scheduled, and its personality.
    pub(crate) fn inherit_scheduling(&self, parent: &Task<H>) {
        self.affinity.store(parent.affinity(), Ordering::Relaxed);
        self.set_io_priority(parent.io_priority());
        self.timer_slack_ns.store(parent.timer_slack_ns.load(Ordering::Relaxed), Ordering::Relaxed);
        self.personality.store(parent.personality.load(Ordering::Relaxed), Ordering::Relaxed);
        self.set_policy(parent.policy(), false);
        if parent.resets_on_fork() && self.nice() < Nice::default() {
            self.set_nice(Nice::default());
        }
    }

    /// Which vCPUs it may run on, bit n for vCPU n; 0 for all.
    pub(crate) fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    /// Says which vCPUs it may run on, from when it is next queued on.
    pub(crate) fn set_affinity(&self, mask: u64) {
        self.affinity.store(mask, Ordering::Relaxed);
    }

    /// Whether it may run on a vCPU.
    pub(crate) fn may_run_on(&self, vcpu: VcpuId) -> bool {
        let mask = self.affinity();
        mask == 0 || mask >> vcpu.0 & 1 != 0
    }

    /// `ioprio_set(2)`.
    pub(crate) fn set_io_priority(&self, value: u16) {
        self.io_priority.store(value, Ordering::Relaxed);
    }

    /// `ioprio_get(2)`.
    pub(crate) fn io_priority(&self) -> u16 {
        self.io_priority.load(Ordering::Relaxed)
    }

    /// Keeps what `restart_syscall` is to go on with.
    pub(crate) fn keep_restart(&self, again: Again<H>) {
        *self.restart.lock() = Some(again);
    }

    /// Takes what was kept.
    pub(crate) fn take_restart(&self) -> Option<Again<H>> {
        self.restart.lock().take()
    }

    /// Whether it has to look at signals before it goes back to the guest.
    pub(crate) fn needs_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// Sets or clears [`Task::needs_attention`]. Under the process's signal lock.
    pub(crate) fn set_attention(&self, needed: bool) {
        self.attention.store(needed, Ordering::Release);
    }

    /// The vCPU that runs it, or did last.
    pub(crate) fn vcpu(&self) -> VcpuId {
        VcpuId(self.vcpu.load(Ordering::Relaxed))
    }

    pub(crate) fn set_vcpu(&self, vcpu: VcpuId) {
        self.vcpu.store(vcpu.0, Ordering::Relaxed);
    }

    /// Interrupts the guest if it runs on another vCPU, so that it comes into the kernel.
    pub(crate) fn interrupt(&self) {
        if self.state.is_running() {
            self.scheduler.interrupt(self.vcpu());
        }
    }
}

impl<H: Host> Wake for Task<H> {
    fn wake(&self, _: Events) {
        if self.state.wake()
            && let Some(task) = self.this.upgrade()
        {
            self.scheduler.enqueue(task);
        }
    }
}
