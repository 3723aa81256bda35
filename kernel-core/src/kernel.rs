//! The kernel of one instance: what all of it shares. There are no statics: several kernels can live in one process.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use hashbrown::HashSet;

use crate::block::Disks;
use crate::errno::Errno;
use crate::host::{Host, Space, VcpuId};
use crate::ipc::Ipc;
use crate::log_ring::LogRing;
use crate::mm::MmLimits;
use crate::sched::Scheduler;
use crate::sched::load::LoadAverages;
use crate::sched::nice::{self, Nice};
use crate::services::{Clock, Device, Services};
use crate::sync::Mutex;
use crate::syscall::Cx;
use crate::task::cgroup::Group;
use crate::task::cred::{Caps, Cred};
use crate::task::heap::HeapWatch;
use crate::task::namespaces::{Namespaces, NsCounts};
use crate::task::process::ExitStatus;
use crate::task::times::Account;
use crate::task::tree::ProcessTree;
use crate::task::{Process, Task, siginfo::SigInfo};
use crate::vfs::caller::Processes;
use crate::vfs::file::AsyncOwner;
use crate::vfs::mount::Namespace;

/// Why an instance is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// PID 1 ended.
    InitEnded(ExitStatus),
    /// PID 1's program could not be executed.
    NoInit(Errno),
    /// The guest asked for it (`reboot`).
    PowerOff,
    /// The guest asked to be started again.
    Restart,
    /// The guest asked for a halt.
    Halt,
    /// The frontend ended it.
    Ended,
}

/// Takes the lines of `--strace`.
pub type TraceSink = Arc<dyn Fn(&str) + Send + Sync>;

/// The kernel of an instance.
pub struct Kernel<H: Host> {
    /// The machine.
    pub host: Arc<H>,
    /// Time, timers, RAM, signals: what leaf objects need.
    pub services: Arc<Services>,
    /// Who runs.
    pub scheduler: Arc<Scheduler<H>>,
    /// How processes are related.
    pub tree: Mutex<ProcessTree<H>>,
    /// Futexes, local sockets, epoll.
    pub ipc: Ipc,
    /// The tree of mounts.
    pub namespace: Arc<Namespace>,
    /// Disks.
    pub(crate) disks: Arc<Disks>,
    /// What PID 1 starts with of the other namespaces.
    pub namespaces: Arc<Namespaces>,
    /// The root of control groups.
    pub(crate) cgroups: Arc<Group>,
    /// How many namespaces there are of whom.
    pub ns_counts: Arc<NsCounts>,
    /// The command line that `/proc/cmdline` shows.
    pub command_line: Vec<u8>,
    /// Kernel messages, for `dmesg`.
    pub log: Arc<LogRing>,
    /// Takes traced calls.
    pub(crate) trace: Option<TraceSink>,
    /// XSAVE components that guests have.
    pub(crate) fpu_features: u64,
    /// The most threads there can be.
    pub(crate) max_tasks: usize,
    /// Numbers of calls that were asked for and are not there: each is logged once.
    unknown_calls: Mutex<HashSet<u64>>,
    /// What the host says of its processor.
    pub(crate) processor: Arc<[(String, String)]>,
    /// How busy it was.
    pub(crate) load: LoadAverages,
    /// How large the kernel itself is.
    pub(crate) heap: HeapWatch,
    /// What each vCPU does for the task that it runs.
    accounts: Vec<Account>,
    devices: Mutex<Arc<[Arc<dyn Device>]>>,
    pub(crate) forks: AtomicU64,
    pub(crate) switches: AtomicU64,
    pub(crate) user_ns: AtomicU64,
    pub(crate) system_ns: AtomicU64,
    pub(crate) idle_ns: AtomicU64,
    over: AtomicBool,
    shutdown: Mutex<Option<Shutdown>>,
}

/// What [`Kernel::assemble`] puts together.
pub(crate) struct Parts<H: Host> {
    pub host: Arc<H>,
    pub services: Arc<Services>,
    pub namespace: Arc<Namespace>,
    pub disks: Arc<Disks>,
    pub cgroups: Arc<Group>,
    pub hostname: Vec<u8>,
    pub command_line: Vec<u8>,
    pub log: Arc<LogRing>,
    pub trace: Option<TraceSink>,
    pub vcpus: usize,
    pub max_tasks: usize,
    pub devices: Vec<Arc<dyn Device>>,
}

impl<H: Host> Kernel<H> {
    /// A kernel without processes.
    pub(crate) fn assemble(parts: Parts<H>) -> Kernel<H> {
        let ipc = Ipc::new(&parts.services);
        Kernel {
            scheduler: Scheduler::new(parts.host.clone(), parts.vcpus),
            fpu_features: parts.host.cpu().xstate_features,
            tree: Mutex::default(),
            namespace: parts.namespace,
            namespaces: Namespaces::initial(parts.hostname, ipc.namespace.clone(), parts.cgroups.clone()),
            cgroups: parts.cgroups,
            ipc,
            disks: parts.disks,
            ns_counts: NsCounts::new(u32::try_from(parts.max_tasks / 2).unwrap_or(u32::MAX)),
            command_line: parts.command_line,
            log: parts.log,
            trace: parts.trace,
            max_tasks: parts.max_tasks,
            unknown_calls: Mutex::default(),
            heap: HeapWatch::default(),
            processor: parts.host.processor().into(),
            load: LoadAverages::default(),
            accounts: (0..parts.vcpus).map(|_| Account::default()).collect(),
            devices: Mutex::new(parts.devices.into()),
            forks: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            user_ns: AtomicU64::new(0),
            system_ns: AtomicU64::new(0),
            idle_ns: AtomicU64::new(0),
            over: AtomicBool::new(false),
            shutdown: Mutex::new(None),
            services: parts.services,
            host: parts.host,
        }
    }

    /// Makes everything last that is on disks; for the end, when no vCPU runs.
    pub fn shut_down_file_systems(&self) {
        self.namespace.types.all().iter().for_each(|kind| kind.shut_down());
        self.disks.flush();
    }

    /// Ends the instance, unless it is over already: all vCPUs come back from [`Kernel::run_vcpu`].
    pub fn shut_down(&self, why: Shutdown) {
        self.shutdown.lock().get_or_insert(why);
        self.over.store(true, Ordering::SeqCst);
        for vcpu in 0..self.accounts.len() {
            self.host.kick(VcpuId(vcpu));
        }
    }

    /// Writes everything to where it lasts; once all vCPUs are back, nothing comes after it.
    pub fn write_back(&self) {
        if let Err(error) = self.namespace.table.sync() {
            log::error!("a file system cannot be written back: {error:?}");
        }
        self.services.ram.write_all_back();
    }

    /// Whether the instance is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Why the instance is over, once it is.
    pub fn shutdown(&self) -> Option<Shutdown> {
        *self.shutdown.lock()
    }

    /// Sends a signal to PID 1, as from outside.
    pub fn signal_init(&self, signal: u8) {
        self.services.processes.signal_process(1, SigInfo::kernel(signal));
    }

    /// Processes and threads ever made.
    pub fn forks(&self) -> u64 {
        self.forks.load(Ordering::Relaxed)
    }

    /// Tasks ever taken up by a vCPU.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Nanoseconds of all vCPUs: in guests, in the kernel, waiting.
    pub fn vcpu_times(&self) -> (u64, u64, u64) {
        let [user, system, idle] =
            [&self.user_ns, &self.system_ns, &self.idle_ns].map(|ns| ns.load(Ordering::Relaxed));
        (user, system, idle)
    }

    /// Number of vCPUs.
    pub fn vcpus(&self) -> usize {
        self.accounts.len()
    }

    /// The monotonic clock, which is the host's: what deadlines are in.
    pub(crate) fn now_ns(&self) -> u64 {
        self.host.monotonic_ns()
    }

    /// Devices to look at when the host has news.
    pub(crate) fn devices(&self) -> Arc<[Arc<dyn Device>]> {
        self.devices.lock().clone()
    }

    /// Whether a call that is not there is asked for the first time.
    pub(crate) fn is_first_unknown(&self, number: u64) -> bool {
        // Bounded: a guest can ask for any number.
        let mut unknown = self.unknown_calls.lock();
        unknown.len() < 1024 && unknown.insert(number)
    }

    /// What a vCPU does for the task that it runs.
    pub(crate) fn account(&self, vcpu: VcpuId) -> &Account {
        &self.accounts[vcpu.0]
    }

    /// When the guest on a vCPU, which runs in `space`, has to come back: for the next timer, and after its time slice if
    /// others can run.
    pub(crate) fn guest_deadline(&self, vcpu: VcpuId, nice: Nice, space: &H::Space) -> Option<u64> {
        let timer = self.services.timers.next().map(|timer| timer.max(self.least_turn_end(vcpu, space)));
        if !self.scheduler.has_runnable(vcpu) {
            return timer;
        }
        let slice_ns = nice.time_slice_after_ns(space.switch_cost_ns());
        let slice = self.account(vcpu).slice_start_ns().saturating_add(slice_ns);
        Some(timer.map_or(slice, |timer| timer.min(slice)))
    }

    /// Before then nothing takes the vCPU from the guest in `space`: what wakes often would have it switch for ever.
    pub(crate) fn least_turn_end(&self, vcpu: VcpuId, space: &H::Space) -> u64 {
        self.account(vcpu).slice_start_ns().saturating_add(nice::least_turn_ns(space.switch_cost_ns()))
    }

    /// What a process may map.
    pub(crate) fn mm_limits(&self, process: &Process<H>, cred: &Cred) -> MmLimits {
        use linux_raw_sys::general as sys;
        let memlock =
            if cred.capable(Caps::IPC_LOCK) { u64::MAX } else { process.rlimit(sys::RLIMIT_MEMLOCK) };
        MmLimits {
            address_space: process.rlimit(sys::RLIMIT_AS),
            data: process.rlimit(sys::RLIMIT_DATA),
            stack: process.rlimit(sys::RLIMIT_STACK),
            memlock,
        }
    }

    /// Logs a signal that a fault causes, as Linux does for processes without a handler.
    pub(crate) fn note_fault(&self, cx: &Cx<'_, H>, signal: u8, addr: u64) {
        if cx.task.process.actions().get(signal).handler > 1 {
            return;
        }
        let context = cx.context.borrow();
        let comm = cx.task.comm();
        let name =
            String::from_utf8_lossy(comm.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        log::info!(
            "{name}[{}]: signal {signal} at {addr:x} ip {:x} sp {:x}",
            cx.task.tid(),
            context.regs.rip,
            context.regs.rsp
        );
    }
}

/// The host's clocks.
pub(crate) struct HostClock<H: Host> {
    pub host: Arc<H>,
    /// What the host's [`Host::boottime_ns`] said at boot.
    pub boot_ns: u64,
}

impl<H: Host> Clock for HostClock<H> {
    fn monotonic_ns(&self) -> u64 {
        self.host.monotonic_ns()
    }

    fn boottime_ns(&self) -> u64 {
        self.host.boottime_ns()
    }

    fn uptime_ns(&self) -> u64 {
        self.host.boottime_ns().saturating_sub(self.boot_ns)
    }

    fn realtime_ns(&self) -> u64 {
        self.host.realtime_ns()
    }

    fn entropy(&self, buf: &mut [u8]) {
        self.host.entropy(buf);
    }
}

/// The kernel for those that it holds itself, and that are made before it: services, `/proc`.
pub(crate) struct KernelLink<H: Host>(spin::Once<Weak<Kernel<H>>>);

impl<H: Host> Default for KernelLink<H> {
    fn default() -> Self {
        KernelLink(spin::Once::new())
    }
}

impl<H: Host> KernelLink<H> {
    /// The kernel is there.
    pub fn connect(&self, kernel: &Arc<Kernel<H>>) {
        self.0.call_once(|| Arc::downgrade(kernel));
    }

    /// The kernel, unless it is not there yet or no more.
    pub fn upgrade(&self) -> Option<Arc<Kernel<H>>> {
        self.0.get()?.upgrade()
    }
}

impl<H: Host> Processes for KernelLink<H> {
    fn signal_group(&self, pgid: u32, signal: u8) {
        let Some(kernel) = self.upgrade() else { return };
        let members = kernel.tree.lock().group(pgid);
        for process in members {
            let _ = process.send(SigInfo::kernel(signal));
        }
    }

    fn signal_process(&self, pid: u32, info: SigInfo) {
        let Some(kernel) = self.upgrade() else { return };
        let process = kernel.tree.lock().process(pid);
        if let Some(process) = process {
            let _ = process.send(info);
        }
    }

    fn signal_thread(&self, pid: u32, tid: u32, info: SigInfo) {
        let Some(kernel) = self.upgrade() else { return };
        let task = kernel.tree.lock().thread(tid);
        if let Some(task) = task.filter(|task| task.process.pid == pid) {
            let _ = task.process.send_to_thread(&task, info);
        }
    }

    fn signal_owner(&self, owner: &AsyncOwner, info: SigInfo) {
        let Some(kernel) = self.upgrade() else { return };
        let (uid, euid) = owner.named_by;
        // `sigio_perm` of Linux: root, or whoever may send a signal.
        let may = |task: &Task<H>| {
            let cred = task.cred();
            euid == 0 || [cred.uid, cred.suid].iter().any(|theirs| [uid, euid].contains(theirs))
        };
        if owner.kind == AsyncOwner::THREAD {
            let task = kernel.tree.lock().thread(owner.id);
            if let Some(task) = task.filter(|task| may(task)) {
                let _ = task.process.send_to_thread(&task, info);
            }
            return;
        }
        let processes = match owner.kind {
            AsyncOwner::GROUP => kernel.tree.lock().group(owner.id),
            _ => kernel.tree.lock().process(owner.id).into_iter().collect(),
        };
        for process in processes {
            if process.threads().first().is_some_and(|task| may(task)) {
                let _ = process.send(info);
            }
        }
    }

    fn is_orphaned(&self, pgid: u32) -> bool {
        self.upgrade().is_none_or(|kernel| kernel.tree.lock().is_orphaned(pgid))
    }

    fn session_of_group(&self, pgid: u32) -> Option<u32> {
        self.upgrade()?.tree.lock().session_of_group(pgid)
    }
}
