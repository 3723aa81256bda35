//! Tasks as `/proc` shows them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::errno::{EACCES, Result};
use crate::fs::nsfs::AnyNs;
use crate::fs::proc::locks::{HeldLock, LockSort};
use crate::fs::proc::source::{ProcessSource, SignalSets, System, TaskMemory, TaskStat, TaskView};
use crate::host::Host;
use crate::ipc::pidfd::ExitState;
use crate::kernel::{Kernel, KernelLink};
use crate::mm::Mm;
use crate::mm::info::{Amounts, Layout, MapInfo, Usage};
use crate::syscall::system::{RELEASE, VERSION};
use crate::task::access::{Ids, may_look};
use crate::task::cgroup::Group;
use crate::task::cred::Cred;
use crate::task::namespaces::{NsCounts, NsKind};
use crate::task::oom::EXEMPT;
use crate::task::pid_ns::PidNs;
use crate::task::signal::action::{DEFAULT, IGNORE};
use crate::task::signal::bit;
use crate::task::thread::Resources;
use crate::task::{Process, Task};
use crate::vfs::caller::Caller;
use crate::vfs::context::FsContext;
use crate::vfs::fd::FdTable;
use crate::vfs::locks::{LOCK_END, LockOwner, LockRange};
use crate::vfs::path::Path;

/// A process, or one thread of it.
pub(crate) struct View<H: Host> {
    kernel: Arc<Kernel<H>>,
    process: Arc<Process<H>>,
    /// The thread shown: of a process its first; `None` for a zombie.
    task: Option<Arc<Task<H>>>,
    /// Numbers are those of all threads together.
    whole: bool,
    /// Whose numbers of processes it tells.
    seen_from: PidNs,
    /// What the task used when it was looked into; else it is what it uses now.
    looked: Option<Resources<H>>,
}

impl<H: Host> ProcessSource for KernelLink<H> {
    fn pids(&self, seen_from: &PidNs) -> Vec<u32> {
        let Some(kernel) = self.upgrade() else { return Vec::new() };
        let tree = kernel.tree.lock();
        let shown = tree.nodes().map(|node| seen_from.shown(node.process.pid));
        let mut pids: Vec<u32> = shown.filter(|pid| *pid != 0).collect();
        if !seen_from.is_initial() {
            pids.sort_unstable();
        }
        pids
    }

    fn threads(&self, seen_from: &PidNs, pid: u32) -> Vec<u32> {
        let find = |kernel: Arc<Kernel<H>>| kernel.tree.lock().process(seen_from.outside(pid)?);
        let Some(process) = self.upgrade().and_then(find) else { return Vec::new() };
        let shown = |task: &Arc<Task<H>>| seen_from.shown(task.tid());
        let mut tids: Vec<u32> = process.threads().iter().map(shown).collect();
        if !tids.contains(&pid) {
            tids.push(pid);
        }
        tids.sort_unstable();
        tids
    }

    fn process(&self, seen_from: &PidNs, pid: u32) -> Option<Arc<dyn TaskView>> {
        let view = View::of(self.upgrade()?, seen_from.outside(pid)?)?;
        Some(Arc::new(View { seen_from: seen_from.clone(), ..view }))
    }

    fn thread(&self, seen_from: &PidNs, pid: u32, tid: u32) -> Option<Arc<dyn TaskView>> {
        let kernel = self.upgrade()?;
        let (pid, tid) = (seen_from.outside(pid)?, seen_from.outside(tid)?);
        let process = kernel.tree.lock().process(pid)?;
        let task = process.threads().into_iter().find(|task| task.tid() == tid);
        if task.is_none() && tid != pid {
            return None;
        }
        Some(Arc::new(View {
            kernel,
            process,
            task,
            whole: false,
            seen_from: seen_from.clone(),
            looked: None,
        }))
    }

    fn aio(&self) -> (u64, u64) {
        self.upgrade().map_or((0, 0), |kernel| kernel.ipc.aio.get())
    }

    fn locks(&self) -> Vec<HeldLock> {
        let Some(kernel) = self.upgrade() else { return Vec::new() };
        let processes: Vec<_> = kernel.tree.lock().nodes().map(|node| node.process.clone()).collect();
        let (mut all, mut seen, mut whole) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        for process in processes {
            let first = process.threads().first().cloned();
            let Some(files) = first.and_then(|task| task.resources()).map(|resources| resources.files) else {
                continue;
            };
            let mut from = 0;
            while let Some((fd, file)) = files.next_open(from) {
                from = fd as usize + 1;
                let Some(locks) = file.inode.locks() else { continue };
                if seen.insert(core::ptr::from_ref(locks).addr()) {
                    let meta = file.inode.metadata();
                    let held = |sort, pid, kind, range| HeldLock {
                        sort,
                        kind,
                        pid,
                        device: meta.dev,
                        ino: meta.ino,
                        range,
                    };
                    let (records, others) = locks.all();
                    all.extend(records.iter().map(|lock| {
                        let sort = match lock.owner {
                            LockOwner::Process(_) => LockSort::Process,
                            LockOwner::File(_) => LockSort::OpenFile,
                        };
                        held(sort, lock.pid, lock.kind, lock.range)
                    }));
                    let range = LockRange { start: 0, end: LOCK_END };
                    whole.extend(
                        others.iter().map(|(key, kind)| (*key, held(LockSort::Whole, 0, *kind, range))),
                    );
                }
                // Whoever has the open file has its lock.
                all.extend(whole.remove(&file.lock_key()).map(|lock| HeldLock { pid: process.pid, ..lock }));
            }
        }
        all
    }

    fn system(&self) -> System {
        let Some(kernel) = self.upgrade() else { return System::default() };
        let (tasks, last_pid) = {
            let tree = kernel.tree.lock();
            (tree.thread_count() as u32, tree.last())
        };
        let (user_ns, system_ns, idle_ns) = kernel.vcpu_times();
        System {
            release: RELEASE.as_bytes().to_vec(),
            version: VERSION.as_bytes().to_vec(),
            command_line: kernel.command_line.clone(),
            cpus: kernel.vcpus() as u32,
            processor: kernel.processor.clone(),
            load: kernel.load.averages(kernel.now_ns(), user_ns + system_ns),
            running: kernel.scheduler.runnable() as u32 + 1,
            tasks,
            max_tasks: kernel.max_tasks as u32,
            last_pid,
            forks: kernel.forks(),
            switches: kernel.switches(),
            user_ns,
            system_ns,
            idle_ns,
            heap_bytes: kernel.host.heap_bytes(),
        }
    }

    fn cgroups(&self) -> usize {
        self.upgrade().map_or(0, |kernel| kernel.cgroups.count())
    }

    fn ns_counts(&self) -> Option<Arc<NsCounts>> {
        Some(self.upgrade()?.ns_counts.clone())
    }

    fn log_record(&self, from: u64) -> Option<(u64, Vec<u8>)> {
        let line = self.upgrade()?.log.line(from)?;
        let mut text = alloc::format!("{},{},{},-;", line.priority, line.sequence, line.time_us).into_bytes();
        text.extend_from_slice(&line.text);
        text.push(b'\n');
        Some((line.sequence, text))
    }

    fn log(&self, line: &[u8]) {
        if let Some(kernel) = self.upgrade() {
            let time_us = kernel.services.clock.uptime_ns() / 1000;
            kernel.log.add(4, time_us, line);
        }
    }
}

impl<H: Host> TaskMemory for Mm<H> {
    fn peek(&self, addr: u64, buf: &mut [u8]) -> usize {
        Mm::peek(self, addr, buf)
    }

    fn poke(&self, addr: u64, bytes: &[u8]) -> usize {
        Mm::poke(self, addr, bytes)
    }

    fn keep_code(&self) {
        Mm::keep_code(self);
    }
}

impl<H: Host> View<H> {
    /// A process, given its id or that of one of its threads.
    pub(crate) fn of(kernel: Arc<Kernel<H>>, pid: u32) -> Option<View<H>> {
        let process = {
            let tree = kernel.tree.lock();
            tree.process(pid).or_else(|| tree.thread(pid).map(|task| task.process.clone()))?
        };
        let task = process.threads().first().cloned();
        Some(View { kernel, process, task, whole: true, seen_from: PidNs::INITIAL, looked: None })
    }

    /// Ids of its threads.
    pub(crate) fn thread_ids(&self) -> Vec<u32> {
        self.process.threads().iter().map(|task| task.tid()).collect()
    }

    /// Memory, files and directories; `None` of a zombie.
    pub(crate) fn resources(&self) -> Option<Resources<H>> {
        self.looked.clone().or_else(|| self.task.as_ref()?.resources())
    }

    /// `R`, `S`, `T`, `t` or `Z`.
    fn state(&self) -> u8 {
        match &self.task {
            None => b'Z',
            Some(task) if task.is_trace_stopped() => b't',
            Some(task) if !task.is_traced() && self.process.signals.lock().stop.is_some() => b'T',
            Some(task) if task.state.is_parked() => b'S',
            Some(_) => b'R',
        }
    }
}

impl<H: Host> TaskView for View<H> {
    fn look(&self, caller: &dyn Caller, ids: Ids) -> Result<Arc<dyn TaskView>> {
        let own = caller.cred();
        let looked = {
            // As in `Cx::look_into`.
            let _tree = self.kernel.tree.lock();
            if self.process.pid != caller.pid() && !may_look(&own, ids, &self.cred(), self.is_dumpable()) {
                return Err(EACCES);
            }
            self.task.as_ref().and_then(|task| task.resources())
        };
        Ok(Arc::new(View {
            kernel: self.kernel.clone(),
            process: self.process.clone(),
            task: self.task.clone(),
            whole: self.whole,
            seen_from: self.seen_from.clone(),
            looked,
        }))
    }

    fn is_dumpable(&self) -> bool {
        self.process.is_dumpable()
    }

    fn exit(&self) -> Arc<ExitState> {
        self.process.exited.clone()
    }

    fn stat(&self) -> TaskStat {
        let process = &self.process;
        let (ppid, status, tracer) = {
            let tree = self.kernel.tree.lock();
            let tracing = self.task.as_ref().and_then(|task| tree.traced.get(&task.tid()));
            let (ppid, status) = tree.node(process.pid).map_or((0, None), |node| (node.parent, node.zombie));
            (ppid, status, tracing.map_or(0, |tracing| tracing.tracer.tid()))
        };
        let session = process.session();
        let tty = session.tty.lock().clone();
        let (user_ns, system_ns) = match &self.task {
            Some(task) if !self.whole => self.kernel.thread_cpu_ns(task),
            _ => self.kernel.process_cpu_ns(process),
        };
        let shown = |pid: u32| self.seen_from.shown(pid);
        let own_counts = self.task.as_ref().map_or([0; 3], |task| task.counts());
        let [faults, ..] = if self.whole { process.counts() } else { own_counts };
        let [children_faults, ..] = process.children_counts.get();
        let [_, waits, preemptions] = own_counts;
        let comm = self.task.as_ref().map_or_else(|| process.last_comm(), |task| task.comm());
        TaskStat {
            tracer: shown(tracer),
            pid: shown(process.pid),
            tid: shown(self.task.as_ref().map_or(process.pid, |task| task.tid())),
            ppid: shown(ppid),
            pgid: shown(process.group()),
            sid: shown(session.id),
            tty: tty.as_ref().map_or(0, |tty| tty.device.raw()),
            tty_pgid: tty.and_then(|tty| tty.foreground()).map_or(-1, |group| shown(group) as i32),
            state: self.state(),
            comm: comm.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
            threads: process.threads().len() as u32,
            user_ns,
            system_ns,
            children_user_ns: process.children_user_ns.load(Ordering::Relaxed),
            children_system_ns: process.children_system_ns.load(Ordering::Relaxed),
            start_ns: process.start_ns,
            cpu: self.task.as_ref().map_or(0, |task| task.vcpu().0 as u32),
            exit_signal: process.exit_signal.load(Ordering::Relaxed),
            exit_code: status.map_or(0, |status| status.wait_status()),
            oom_score_adj: process.oom_score_adj.load(Ordering::Relaxed),
            no_new_privs: process.no_new_privs.load(Ordering::Relaxed),
            seccomp: self.task.as_ref().map_or((0, 0), |task| {
                let seccomp = task.seccomp.lock();
                (seccomp.mode(), seccomp.filters().len())
            }),
            nice: self.task.as_ref().map_or(0, |task| task.nice().value().into()),
            personality: self.task.as_ref().map_or(0, |task| task.personality.load(Ordering::Relaxed)),
            cpus: self.kernel.vcpus() as u32,
            affinity: self.task.as_ref().map_or(0, |task| task.affinity()),
            faults,
            children_faults,
            switches: (waits, preemptions),
        }
    }

    fn cred(&self) -> Arc<Cred> {
        self.task.as_ref().map_or_else(|| Arc::new(Cred::root()), |task| task.cred())
    }

    fn signals(&self) -> SignalSets {
        let group = self.process.signals.lock();
        let actions = self.process.actions();
        let with = |wanted: fn(u64) -> bool| -> u64 {
            (1..=64u8).filter(|signal| wanted(actions.get(*signal).handler)).map(bit).sum()
        };
        let (pending, blocked) = self.task.as_ref().map_or((0, 0), |task| {
            let own = task.signals.lock();
            (own.pending.set(), own.blocked)
        });
        SignalSets {
            pending,
            shared_pending: group.pending.set(),
            blocked,
            ignored: with(|handler| handler == IGNORE),
            caught: with(|handler| handler != IGNORE && handler != DEFAULT),
            queued: self.process.places.taken(self.process.uid.load(Ordering::Relaxed)) as u32,
        }
    }

    fn limits(&self) -> [(u64, u64); 16] {
        let limits = self.process.rlimits();
        core::array::from_fn(|resource| {
            limits.get(resource as u32).map_or((0, 0), |limit| (limit.soft, limit.hard))
        })
    }

    fn exe(&self) -> Option<Path> {
        let file = self.process.exe.lock().clone();
        file.and_then(|file| file.path.clone())
    }

    fn fs(&self) -> Option<Arc<FsContext>> {
        self.resources().map(|resources| resources.fs)
    }

    fn files(&self) -> Option<Arc<FdTable>> {
        self.resources().map(|resources| resources.files)
    }

    fn maps(&self) -> Vec<MapInfo> {
        self.resources().map_or(Vec::new(), |resources| resources.mm.maps())
    }

    fn amounts(&self) -> Vec<(MapInfo, Amounts)> {
        self.resources().map_or(Vec::new(), |resources| resources.mm.amounts())
    }

    fn usage(&self) -> Usage {
        self.resources().map_or_else(Usage::default, |resources| resources.mm.usage())
    }

    fn children(&self) -> Vec<u32> {
        let Some(task) = &self.task else { return Vec::new() };
        let tree = self.kernel.tree.lock();
        let Some(node) = tree.node(self.process.pid) else { return Vec::new() };
        let own = |pid: &&u32| tree.node(**pid).is_some_and(|child| child.parent_thread == task.tid());
        node.children.iter().filter(own).map(|pid| self.seen_from.shown(*pid)).collect()
    }

    fn oom_score(&self) -> u64 {
        // As Linux reckons, in pages: what it has, moved by thousandths of all RAM.
        let total = (self.kernel.services.ram.total() / 4096).max(1) as i64;
        let adj = i64::from(self.process.oom_score_adj.load(Ordering::Relaxed));
        if self.task.is_none() || adj == i64::from(EXEMPT) {
            return 0;
        }
        let usage = self.usage();
        let pages = ((usage.resident_anonymous + usage.resident_file) / 4096) as i64;
        let points = pages + adj * total / 1000;
        ((1000 + points * 1000 / total) * 2 / 3).max(0) as u64
    }

    fn kernel_pid(&self) -> u32 {
        self.process.pid
    }

    fn ns_numbers(&self) -> [Vec<u32>; 4] {
        let process = &self.process;
        let tid = self.task.as_ref().map_or(process.pid, |task| task.tid());
        [process.pid, tid, process.group(), process.session().id]
            .map(|number| process.pid_ns.all_shown(number, &self.seen_from))
    }

    fn pid_for_children(&self) -> Option<PidNs> {
        Some(self.task.as_ref()?.namespaces().pid_for_children.clone())
    }

    fn namespace(&self, kind: NsKind) -> Option<AnyNs> {
        let task = self.task.as_ref()?;
        Some(match kind {
            NsKind::Mnt => AnyNs::Mnt(task.resources()?.fs.namespace().clone()),
            NsKind::User => AnyNs::User(task.cred().user_ns.clone()),
            NsKind::Uts => AnyNs::Uts(task.namespaces().uts.clone()),
            NsKind::Cgroup => AnyNs::Cgroup(task.namespaces().cgroup.clone()),
            NsKind::Pid => AnyNs::Pid(self.process.pid_ns.clone()),
            NsKind::Ipc => AnyNs::Ipc(task.namespaces().ipc.clone()),
            NsKind::Net => return None,
        })
    }

    fn cgroup(&self) -> Arc<Group> {
        self.process.cgroup.group()
    }

    fn layout(&self) -> Option<Layout> {
        self.resources().map(|resources| resources.mm.layout())
    }

    fn memory(&self) -> Option<Weak<dyn TaskMemory>> {
        let mm = Arc::downgrade(&self.resources()?.mm);
        Some(mm)
    }

    fn read_memory(&self, addr: u64, buf: &mut [u8]) -> usize {
        let Some(resources) = self.resources() else { return 0 };
        let Ok(mut source) = resources.mm.user().reader(addr, buf.len() as u64) else { return 0 };
        crate::io::Source::take(&mut source, buf).unwrap_or(0)
    }

    fn set_comm(&self, name: &[u8]) {
        if let Some(task) = &self.task {
            task.set_comm(name);
        }
    }

    fn coredump_filter(&self) -> u32 {
        self.process.coredump_filter.load(Ordering::Relaxed)
    }

    fn set_coredump_filter(&self, value: u32) {
        self.process.coredump_filter.store(value, Ordering::Relaxed);
    }

    fn timer_slack_ns(&self) -> u64 {
        self.task.as_ref().map_or(0, |task| task.timer_slack_ns.load(Ordering::Relaxed))
    }

    fn set_timer_slack_ns(&self, ns: u64) {
        if let Some(task) = &self.task {
            task.timer_slack_ns.store(ns, Ordering::Relaxed);
        }
    }

    fn set_oom_score_adj(&self, value: i32) {
        self.process.oom_score_adj.store(value, Ordering::Relaxed);
    }
}
