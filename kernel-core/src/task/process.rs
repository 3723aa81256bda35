//! A process: what the threads of a thread group share.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::host::Host;
use crate::ipc::pidfd::ExitState;
use crate::ipc::posix_timer::ProcessTimers;
use crate::sched::wait::WaitQueue;
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::Task;
use crate::task::cgroup::Group;
use crate::task::cgroup::member::Membership;
use crate::task::heap::HeapShare;
use crate::task::pid_ns::PidNs;
use crate::task::rlimit::Rlimits;
use crate::task::session::Session;
use crate::task::signal::GroupSignals;
use crate::task::signal::action::SignalActions;
use crate::task::signal::places::Places;
use crate::task::user_ns::UserNs;
use crate::vfs::file::OpenFile;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called exit; the low eight bits.
    Exited(u8),
    /// A signal ended it.
    Signaled {
        /// 1 to 64.
        signal: u8,
        /// Whether a core file was written.
        core: bool,
    },
}

impl core::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "exit status {code}"),
            ExitStatus::Signaled { signal, .. } => {
                write!(f, "killed by {}", crate::debug::names::signal((*signal).into()))
            }
        }
    }
}

impl ExitStatus {
    /// As `wait4` reports it.
    pub fn wait_status(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => i32::from(code) << 8,
            ExitStatus::Signaled { signal, core } => i32::from(signal) | if core { 0x80 } else { 0 },
        }
    }

    /// Status or signal, as siginfo tells it.
    pub fn number(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => code.into(),
            ExitStatus::Signaled { signal, .. } => signal.into(),
        }
    }

    /// As a shell reports it.
    pub fn shell_status(self) -> u8 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Signaled { signal, .. } => 128u8.saturating_add(signal),
        }
    }
}

/// Sums of what [`Process::counts`] gives.
#[derive(Default)]
pub(crate) struct Counts([AtomicU64; 3]);

impl Counts {
    /// Adds to each.
    pub fn add(&self, counts: [u64; 3]) {
        for (sum, count) in self.0.iter().zip(counts) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The sums.
    pub fn get(&self) -> [u64; 3] {
        self.0.each_ref().map(|sum| sum.load(Ordering::Relaxed))
    }
}

/// What a new process belongs to.
pub struct Relations {
    /// Process group id.
    pub group: u32,
    /// The session.
    pub session: Arc<Session>,
    /// The control group, which does not count it yet.
    pub cgroup: Arc<Group>,
}

/// A thread group.
pub struct Process<H: Host> {
    /// Process id: the thread id of its first thread.
    pub pid: u32,
    /// The namespace that it and its threads are in.
    pub pid_ns: PidNs,
    /// Its own number there.
    pub own_pid: u32,
    /// Signals for the group, its threads, stops and its end.
    pub(crate) signals: Mutex<GroupSignals<H>>,
    actions: Mutex<Arc<SignalActions>>,
    session: Mutex<Arc<Session>>,
    group: AtomicU32,
    /// Its control group.
    pub(crate) cgroup: Membership,
    /// The signal the parent gets at the end; 0 for none.
    pub(crate) exit_signal: AtomicU8,
    /// `PR_SET_PDEATHSIG`; 0 for none.
    pub(crate) parent_death_signal: AtomicU8,
    /// What it ends with once all others of the PID namespace whose first process it is are gone.
    pub(crate) ending_last: Mutex<Option<ExitStatus>>,
    /// Woken when a child may be waited for.
    pub child_queue: WaitQueue,
    /// Woken when a signal was sent: for signalfd, sigtimedwait.
    pub signal_queue: Arc<WaitQueue>,
    /// Woken when a stopped group continues.
    pub(crate) continue_queue: WaitQueue,
    /// For pidfds.
    pub exited: Arc<ExitState>,
    limits: Mutex<Rlimits>,
    /// What exec ran, for /proc/PID/exe.
    pub(crate) exe: Mutex<Option<Arc<OpenFile>>>,
    /// CPU time of threads that ended, in nanoseconds: in the guest, in the kernel.
    pub(crate) ended_user_ns: AtomicU64,
    pub(crate) ended_system_ns: AtomicU64,
    /// CPU time of children that were waited for.
    pub(crate) children_user_ns: AtomicU64,
    pub(crate) children_system_ns: AtomicU64,
    /// Counts ([`Process::counts`]) of threads that ended, and of children that were waited for.
    pub(crate) ended_counts: Counts,
    pub(crate) children_counts: Counts,
    /// Real user id, as siginfo tells it when no thread is left.
    pub(crate) uid: AtomicU32,
    /// `PR_SET_DUMPABLE`, `PR_SET_NO_NEW_PRIVS`, `PR_SET_CHILD_SUBREAPER`.
    pub(crate) dumpable: AtomicU8,
    /// `/proc/PID/oom_score_adj`.
    pub(crate) oom_score_adj: AtomicI32,
    /// `/proc/PID/coredump_filter`.
    pub(crate) coredump_filter: AtomicU32,
    /// Name of the thread that ended last.
    last_comm: Mutex<[u8; 16]>,
    /// Monotonic nanoseconds at its start.
    pub(crate) start_ns: u64,
    pub(crate) no_new_privs: AtomicU8,
    pub(crate) child_subreaper: AtomicU8,
    /// `PR_SET_THP_DISABLE`, `PR_MCE_KILL`, `PR_SET_PTRACER`.
    pub(crate) no_huge_pages: AtomicU8,
    pub(crate) memory_error_policy: AtomicU8,
    pub(crate) ptracer: AtomicU64,
    /// Where places for its signals are counted.
    pub(crate) places: Arc<Places>,
    /// What it made the kernel allocate.
    pub(crate) heap: HeapShare,
    /// Timers that signal.
    pub timers: ProcessTimers,
}

impl<H: Host> Process<H> {
    /// A process without threads.
    pub fn new(
        pid: u32,
        pid_ns: PidNs,
        relations: Relations,
        actions: Arc<SignalActions>,
        limits: Rlimits,
        services: &Services,
    ) -> Arc<Process<H>> {
        Arc::new(Process {
            pid,
            own_pid: pid_ns.shown(pid),
            pid_ns,
            signals: Mutex::new(GroupSignals::default()),
            actions: Mutex::new(actions),
            session: Mutex::new(relations.session),
            group: AtomicU32::new(relations.group),
            cgroup: Membership::new(relations.cgroup),
            exit_signal: AtomicU8::new(0),
            parent_death_signal: AtomicU8::new(0),
            ending_last: Mutex::new(None),
            child_queue: WaitQueue::new(),
            signal_queue: Arc::default(),
            continue_queue: WaitQueue::new(),
            exited: Arc::default(),
            limits: Mutex::new(limits),
            exe: Mutex::new(None),
            ended_user_ns: AtomicU64::new(0),
            ended_system_ns: AtomicU64::new(0),
            children_user_ns: AtomicU64::new(0),
            children_system_ns: AtomicU64::new(0),
            ended_counts: Counts::default(),
            children_counts: Counts::default(),
            uid: AtomicU32::new(0),
            dumpable: AtomicU8::new(1),
            oom_score_adj: AtomicI32::new(0),
            coredump_filter: AtomicU32::new(0x33),
            last_comm: Mutex::default(),
            start_ns: services.clock.uptime_ns(),
            no_new_privs: AtomicU8::new(0),
            child_subreaper: AtomicU8::new(0),
            no_huge_pages: AtomicU8::new(0),
            memory_error_policy: AtomicU8::new(2),
            ptracer: AtomicU64::new(0),
            places: services.places.clone(),
            heap: HeapShare::default(),
            timers: ProcessTimers::new(pid, services),
        })
    }

    /// The process group's id.
    pub fn group(&self) -> u32 {
        self.group.load(Ordering::Relaxed)
    }

    /// The session.
    pub fn session(&self) -> Arc<Session> {
        self.session.lock().clone()
    }

    /// Moves it. Under the tree's lock.
    pub(crate) fn set_group(&self, group: u32) {
        self.group.store(group, Ordering::Relaxed);
    }

    /// Moves it. Under the tree's lock.
    pub(crate) fn set_session(&self, session: Arc<Session>) {
        *self.session.lock() = session;
    }

    /// What its signals do.
    pub fn actions(&self) -> Arc<SignalActions> {
        self.actions.lock().clone()
    }

    /// Replaces what its signals do (exec with shared actions).
    pub(crate) fn set_actions(&self, actions: Arc<SignalActions>) {
        *self.actions.lock() = actions;
    }

    /// The name of a zombie.
    pub fn last_comm(&self) -> [u8; 16] {
        *self.last_comm.lock()
    }

    /// A thread ended.
    pub(crate) fn set_last_comm(&self, comm: [u8; 16]) {
        *self.last_comm.lock() = comm;
    }

    /// Its threads that have not ended.
    pub fn threads(&self) -> Vec<Arc<Task<H>>> {
        self.signals.lock().threads.clone()
    }

    /// The user namespace of its threads; the initial one if none is left.
    pub fn user_ns(&self) -> UserNs {
        let group = self.signals.lock();
        group.threads.first().map_or(UserNs::INITIAL, |task| task.with_cred(|cred| cred.user_ns.clone()))
    }

    /// Whether others with its credentials may look into it, and it leaves core dumps (`SUID_DUMP_USER`).
    pub fn is_dumpable(&self) -> bool {
        self.dumpable.load(Ordering::Relaxed) == 1
    }

    /// The soft limit of a resource.
    pub fn rlimit(&self, resource: u32) -> u64 {
        self.limits.lock().soft(resource)
    }

    /// Whether it is the first of a PID namespace that is not the initial one.
    pub fn is_namespace_init(&self) -> bool {
        self.own_pid == 1 && !self.pid_ns.is_initial()
    }

    /// All limits.
    pub fn rlimits(&self) -> Rlimits {
        self.limits.lock().clone()
    }

    /// Changes limits.
    pub(crate) fn with_rlimits<R>(&self, change: impl FnOnce(&mut Rlimits) -> R) -> R {
        change(&mut self.limits.lock())
    }

    /// Faults that all its threads had served, and how often they stopped running: as they waited for something, and as
    /// others could run.
    pub fn counts(&self) -> [u64; 3] {
        let threads = self.threads();
        let counts = threads.iter().map(|thread| thread.counts());
        counts.fold(self.ended_counts.get(), |sum, one| [0, 1, 2].map(|at: usize| sum[at] + one[at]))
    }

    /// CPU time of all its threads in nanoseconds: in the guest, in the kernel.
    pub fn cpu_ns(&self) -> (u64, u64) {
        let group = self.signals.lock();
        let (mut user, mut system) =
            (self.ended_user_ns.load(Ordering::Relaxed), self.ended_system_ns.load(Ordering::Relaxed));
        for thread in &group.threads {
            user += thread.user_ns.load(Ordering::Relaxed);
            system += thread.system_ns.load(Ordering::Relaxed);
        }
        (user, system)
    }
}
