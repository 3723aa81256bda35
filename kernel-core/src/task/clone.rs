//! Making threads and processes. Source: `clone(2)`.

use alloc::sync::Arc;
use core::cell::RefCell;
use core::sync::atomic::Ordering;

use crate::errno::{EAGAIN, EEXIST, EINVAL, ENOMEM, EPERM, Result};
use crate::host::{Fpu, Host, Registers, UserContext};
use crate::ipc::pidfd::PidFd;
use crate::ipc::sysv::sem::UndoList;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::sched::wait::{Events, Wake};
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult, Wait};
use crate::task::cgroup::Changes;
use crate::task::cgroup::member::Joining;
use crate::task::cgroup::members::Unit;
use crate::task::cred::Caps;
use crate::task::pid_ns::PidNs;
use crate::task::process::{ExitStatus, Relations};
use crate::task::signal::{AltStack, TaskSignals};
use crate::task::thread::{Completion, NewTask, Resources};
use crate::task::trace::{Event, trap};
use crate::task::tree::PID_LAST;
use crate::task::{Process, Task};
use crate::vfs::anon::AnonKind;
use crate::vfs::fd::OnExec;
use crate::vfs::file::{OpenFile, OpenFlags};

bitflags::bitflags! {
    /// `CLONE_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CloneFlags: u64 {
        /// Share memory.
        const VM = 0x100;
        /// Share root, working directory and umask.
        const FS = 0x200;
        /// Share descriptors.
        const FILES = 0x400;
        /// Share signal actions.
        const SIGHAND = 0x800;
        /// Give the parent a pidfd.
        const PIDFD = 0x1000;
        /// Let a tracer trace the child too.
        const PTRACE = 0x2000;
        /// Wait until the child is done with the memory.
        const VFORK = 0x4000;
        /// The child's parent is the caller's parent.
        const PARENT = 0x8000;
        /// A thread of the same process.
        const THREAD = 0x1_0000;
        /// A mount namespace.
        const NEWNS = 0x2_0000;
        /// Share System V semaphore undo values.
        const SYSVSEM = 0x4_0000;
        /// Set the thread pointer.
        const SETTLS = 0x8_0000;
        /// Store the id in the parent's memory.
        const PARENT_SETTID = 0x10_0000;
        /// Clear the id in the child's memory when it ends.
        const CHILD_CLEARTID = 0x20_0000;
        /// Ignored.
        const DETACHED = 0x40_0000;
        /// No tracer may follow.
        const UNTRACED = 0x80_0000;
        /// Store the id in the child's memory.
        const CHILD_SETTID = 0x100_0000;
        /// A cgroup namespace.
        const NEWCGROUP = 0x0200_0000;
        /// A UTS namespace.
        const NEWUTS = 0x0400_0000;
        /// An IPC namespace.
        const NEWIPC = 0x0800_0000;
        /// A user namespace.
        const NEWUSER = 0x1000_0000;
        /// A PID namespace for the child.
        const NEWPID = 0x2000_0000;
        /// A network namespace.
        const NEWNET = 0x4000_0000;
        /// All signal handlers become the default (clone3).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// The child starts in another control group (clone3).
        const INTO_CGROUP = 0x2_0000_0000;
    }
}

/// Namespaces and the like that are not there: refused as Linux refuses them where they are not configured.
const UNSUPPORTED: u64 = CloneFlags::NEWNET.bits() | 0x8000_0000 | 0x80;

/// What is asked of a clone.
#[derive(Clone, Copy, Debug)]
pub struct CloneArgs<'a> {
    /// What is shared and stored.
    pub flags: CloneFlags,
    /// The signal for the parent at the end; 0 for none.
    pub exit_signal: u8,
    /// Stack pointer of the child; 0: the parent's.
    pub stack: u64,
    /// Where the child's id goes in the parent's memory.
    pub parent_tid: u64,
    /// Where it goes, and is cleared, in the child's.
    pub child_tid: u64,
    /// Thread pointer.
    pub tls: u64,
    /// Where the pidfd goes.
    pub pidfd: u64,
    /// The directory of the control group, for [`CloneFlags::INTO_CGROUP`].
    pub cgroup: RawFd,
    /// Numbers for the child, from its PID namespace outwards; the kernel chooses the rest.
    pub set_tid: &'a [u32],
}

impl CloneArgs<'_> {
    /// What `fork` is.
    pub fn fork() -> Self {
        CloneArgs {
            flags: CloneFlags::empty(),
            exit_signal: crate::task::signal::SIGCHLD,
            stack: 0,
            parent_tid: 0,
            child_tid: 0,
            tls: 0,
            pidfd: 0,
            cgroup: -1,
            set_tid: &[],
        }
    }

    /// What `vfork` is.
    pub fn vfork() -> Self {
        CloneArgs { flags: CloneFlags::VM | CloneFlags::VFORK, ..CloneArgs::fork() }
    }

    /// Flags from a register: EINVAL for what does not exist here.
    pub fn flags_from(bits: u64) -> Result<CloneFlags> {
        if bits & UNSUPPORTED != 0 {
            return Err(EINVAL);
        }
        CloneFlags::from_bits(bits).ok_or(EINVAL)
    }

    fn check(&self) -> Result<()> {
        let has = |flags| self.flags.contains(flags);
        let bad = has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND)
            || has(CloneFlags::SIGHAND) && !has(CloneFlags::VM)
            || has(CloneFlags::SIGHAND) && has(CloneFlags::CLEAR_SIGHAND)
            || has(CloneFlags::FS) && (has(CloneFlags::NEWNS) || has(CloneFlags::NEWUSER))
            || has(CloneFlags::THREAD) && (has(CloneFlags::NEWUSER) || has(CloneFlags::NEWPID))
            || has(CloneFlags::SYSVSEM) && has(CloneFlags::NEWIPC)
            || has(CloneFlags::PIDFD) && (has(CloneFlags::THREAD) || has(CloneFlags::DETACHED));
        if bad { Err(EINVAL) } else { Ok(()) }
    }
}

impl<H: Host> Cx<'_, H> {
    /// `clone(2)` in all its forms.
    pub fn clone_task(&self, args: CloneArgs<'_>) -> SysResult {
        args.check()?;
        let flags = args.flags;
        if flags.contains(CloneFlags::PARENT)
            && self.task.process.own_pid == 1
            && !flags.contains(CloneFlags::THREAD)
        {
            return Err(EINVAL.into());
        }
        let kernel = self.kernel;
        kernel.check_task_limits(self)?;
        let namespaces = self.new_namespaces(flags)?;
        let is_thread = flags.contains(CloneFlags::THREAD);
        let unit = if is_thread { Unit::Thread } else { Unit::Process };
        let joining =
            self.join_group(flags.contains(CloneFlags::INTO_CGROUP).then_some(args.cgroup), unit)?;
        let others = namespaces.others.unwrap_or_else(|| self.task.namespaces());
        if is_thread && others.pid_for_children != self.task.process.pid_ns {
            return Err(EINVAL.into());
        }
        let pid_ns = &others.pid_for_children;
        let number = self.take_number(pid_ns, args.set_tid)?;
        let tid = number.pid;
        let mut resources = Resources {
            mm: if flags.contains(CloneFlags::VM) { self.mm.clone() } else { self.fork_memory(tid)? },
            files: if flags.contains(CloneFlags::FILES) { self.files.clone() } else { self.files.copy() },
            fs: if flags.contains(CloneFlags::FS) { self.fs.clone() } else { self.fs.copy() },
        };
        if let Some(fs) = namespaces.fs {
            resources.fs = fs;
        }
        let process = if flags.contains(CloneFlags::THREAD) {
            self.task.process.clone()
        } else {
            self.new_process(tid, pid_ns, &args)
        };
        let task = Task::new(
            &kernel.scheduler,
            NewTask {
                tid,
                process: process.clone(),
                resources,
                cred: namespaces.cred.unwrap_or_else(|| self.task.cred()),
                namespaces: others.clone(),
                signals: self.child_signals(flags),
                comm: self.task.comm(),
                nice: self.task.nice(),
                start_ns: kernel.services.clock.uptime_ns(),
            },
        );
        task.inherit_scheduling(self.task);
        if flags.contains(CloneFlags::CHILD_CLEARTID) {
            task.clear_child_tid.store(args.child_tid, Ordering::Relaxed);
        }
        if !flags.contains(CloneFlags::VM) {
            *task.rseq.lock() = *self.task.rseq.lock();
        }
        if flags.contains(CloneFlags::SYSVSEM) {
            let list =
                self.task.sem_undo.lock().get_or_insert_with(|| UndoList::new(self.services())).clone();
            *task.sem_undo.lock() = Some(list);
        }
        let completion = flags.contains(CloneFlags::VFORK).then(Arc::<Completion>::default);
        task.vfork.lock().clone_from(&completion);
        let context = self.child_context(&args);
        let fiber = kernel.new_task_fiber(task.clone(), context)?;
        // From here on nothing fails but copies to the guest, which must not undo what they tell of.
        let pidfd = match flags.contains(CloneFlags::PIDFD) {
            true => {
                let reserved =
                    self.files.reserve(0, process.rlimit(linux_raw_sys::general::RLIMIT_NOFILE))?;
                self.user().set(args.pidfd, &reserved.fd())?;
                Some(reserved)
            }
            false => None,
        };
        if flags.contains(CloneFlags::PARENT_SETTID) {
            let _ = self.user().set(args.parent_tid, &self.shown_pid(tid));
        }
        if flags.contains(CloneFlags::CHILD_SETTID)
            && let Some(resources) = task.resources()
        {
            let _ = resources.mm.user().set(args.child_tid, &task.own_tid());
        }
        let changes = self.add_to_tree(&task, fiber, flags, joining)?;
        changes.tell();
        number.keep();
        // The child may be gone, and its number with it, when the caller goes on.
        let shown = self.shown_pid(tid);
        if let Some(pidfd) = pidfd {
            pidfd.commit(self.pidfd_file(&process, OpenFlags::empty()), OnExec::Close);
        }
        let event = self.follow(&task, flags, args.exit_signal);
        let told = if self.task.is_traced() { self.pid_for_tracer(tid) } else { 0 };
        task.wake(Events::empty());
        if let Some(event) = event {
            self.stop_for_event(event, told.into());
        }
        if let Some(completion) = completion {
            // The parent waits for the child to let go, or for its own end.
            let _: Wait<()> =
                self.wait_killable(&[(&completion.queue, Events::IN)], || completion.is_done().then_some(()));
            self.stop_for_event(Event::VforkDone, told.into());
        }
        Ok(u64::from(shown))
    }

    /// A copy of the memory, for process `child`.
    fn fork_memory(&self, child: u32) -> Result<Arc<Mm<H>>> {
        let hot = {
            let regs = &self.context.borrow().regs;
            [regs.fs_base, regs.rsp]
        };
        // The task's reference and this one, or else another thread runs in it.
        let alone = Arc::strong_count(&self.mm) <= 2;
        self.mm.fork(child, if alone { &hot } else { &[] })
    }

    /// An open pidfd.
    pub(crate) fn pidfd_file(&self, process: &Process<H>, flags: OpenFlags) -> Arc<OpenFile> {
        let services = self.services();
        let inode =
            services.anon.inode(AnonKind::Other("[pidfd]"), &self.cred(), services.clock.realtime_ns());
        let ops = Arc::new(PidFd { pid: process.pid, exit: process.exited.clone() });
        OpenFile::new(ops, inode, None, OpenFlags::RDWR | flags)
    }

    /// Puts the new task where others find it, with its fiber, which keeps it: a task that does not come so far has none.
    /// EAGAIN: the process ends meanwhile, or its maker; ENOMEM: its PID namespace does; ENODEV: its control group is gone.
    fn add_to_tree(
        &self,
        task: &Arc<Task<H>>,
        fiber: H::Fiber,
        flags: CloneFlags,
        joining: Joining,
    ) -> Result<Changes> {
        let process = &task.process;
        let mut tree = self.kernel.tree.lock();
        let (mut joining, mut changes) = (Some(joining), Changes::default());
        if !flags.contains(CloneFlags::THREAD) {
            if process.pid_ns.is_ending() {
                return Err(ENOMEM);
            }
            let maker = &self.task.process;
            if maker.signals.lock().ending.is_some() {
                return Err(EAGAIN);
            }
            if let Some(joining) = joining.take() {
                changes = joining.process(process, maker)?;
            }
        }
        {
            let mut group = process.signals.lock();
            if flags.contains(CloneFlags::THREAD) && (group.ending.is_some() || group.sole_survivor.is_some())
            {
                return Err(EAGAIN);
            }
            // Before anyone can wake it.
            *task.fiber.lock() = Some(fiber);
            task.set_seccomp(self.task.seccomp.lock().clone());
            group.threads.push(task.clone());
            if group.stop.is_some() {
                task.set_trap(trap::PARTICIPATE);
                group.to_stop += 1;
                task.set_attention(true);
            }
        }
        if let Some(joining) = joining {
            joining.thread(process);
        }
        tree.add_thread(task.clone());
        self.kernel.forks.fetch_add(1, Ordering::Relaxed);
        if !flags.contains(CloneFlags::THREAD) {
            let own = self.task.process.pid;
            let (parent, thread) = match flags.contains(CloneFlags::PARENT) {
                true => tree.node(own).map_or((1, 1), |node| (node.parent, node.parent_thread)),
                false => (own, self.task.tid()),
            };
            tree.add(process.clone(), parent, thread);
        }
        Ok(changes)
    }

    fn new_process(&self, pid: u32, pid_ns: &PidNs, args: &CloneArgs<'_>) -> Arc<Process<H>> {
        let parent = &self.task.process;
        let actions = parent.actions();
        let actions = if args.flags.contains(CloneFlags::SIGHAND) {
            actions
        } else if args.flags.contains(CloneFlags::CLEAR_SIGHAND) {
            Arc::new(actions.without_handlers())
        } else {
            Arc::new(actions.copy())
        };
        let (pid_ns, limits) = (pid_ns.clone(), parent.rlimits());
        let relations =
            Relations { group: parent.group(), session: parent.session(), cgroup: parent.cgroup.group() };
        let process = Process::new(pid, pid_ns, relations, actions, limits, self.services());
        let inherit = |to: &core::sync::atomic::AtomicU8, from: &core::sync::atomic::AtomicU8| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        inherit(&process.dumpable, &parent.dumpable);
        inherit(&process.no_new_privs, &parent.no_new_privs);
        inherit(&process.no_huge_pages, &parent.no_huge_pages);
        inherit(&process.memory_error_policy, &parent.memory_error_policy);
        process.oom_score_adj.store(parent.oom_score_adj.load(Ordering::Relaxed), Ordering::Relaxed);
        process.coredump_filter.store(parent.coredump_filter.load(Ordering::Relaxed), Ordering::Relaxed);
        let exit_signal = match args.flags.contains(CloneFlags::PARENT) {
            true => parent.exit_signal.load(Ordering::Relaxed),
            false => args.exit_signal,
        };
        process.exit_signal.store(exit_signal, Ordering::Relaxed);
        process.uid.store(self.task.cred().uid, Ordering::Relaxed);
        *process.exe.lock() = parent.exe.lock().clone();
        process
    }

    /// A child has its maker's mask; the alternative stack only where the memory is its own copy (or, for vfork, lent).
    fn child_signals(&self, flags: CloneFlags) -> TaskSignals {
        let signals = self.task.signals.lock();
        let keeps_stack = !flags.contains(CloneFlags::VM) || flags.contains(CloneFlags::VFORK);
        TaskSignals {
            blocked: signals.blocked,
            alt_stack: if keeps_stack { signals.alt_stack } else { AltStack::default() },
            ..TaskSignals::default()
        }
    }

    fn child_context(&self, args: &CloneArgs<'_>) -> UserContext {
        let context = self.context.borrow();
        self.kernel.host.save_fpu(self.mm.space(), &context);
        let regs = context.regs;
        let fs_base = if args.flags.contains(CloneFlags::SETTLS) { args.tls } else { regs.fs_base };
        let rsp = if args.stack != 0 { args.stack } else { regs.rsp };
        UserContext {
            regs: Registers { rax: 0, rsp, fs_base, rflags: self.flags_of_child(regs.rflags), ..regs },
            fpu: Fpu::new(context.fpu.read(|bytes, _| bytes.to_vec())),
        }
    }
}

/// A number for a new task, given back unless it is kept.
struct Number<'a, H: Host> {
    kernel: &'a Kernel<H>,
    pid: u32,
    pid_ns: Option<&'a PidNs>,
}

impl<H: Host> Number<'_, H> {
    fn keep(mut self) {
        self.pid_ns = None;
    }
}

impl<H: Host> Drop for Number<'_, H> {
    fn drop(&mut self) {
        if let Some(pid_ns) = self.pid_ns {
            if pid_ns.init() == self.pid {
                pid_ns.close();
            }
            pid_ns.leave(self.pid);
            self.kernel.tree.lock().release(self.pid);
        }
    }
}

impl<'a, H: Host> Cx<'a, H> {
    /// A free number, which has one in `pid_ns` and around it too: those of `chosen`, from there outwards, and then any. EAGAIN:
    /// there is none; ENOMEM: no more processes may come there. For one that was chosen EINVAL: there is no such number or
    /// namespace; EPERM: the caller may not; EEXIST: it is in use.
    fn take_number<'b>(&self, pid_ns: &'b PidNs, chosen: &[u32]) -> Result<Number<'b, H>>
    where
        'a: 'b,
    {
        let cred = self.cred();
        let around = core::iter::successors(Some(pid_ns), |at| at.parent());
        if chosen.len() > pid_ns.level() as usize + 1 {
            return Err(EINVAL);
        }
        for (&number, at) in chosen.iter().zip(around) {
            if !(1..=PID_LAST).contains(&number) {
                return Err(EINVAL);
            }
            let may = |cap| cred.capable_in(&at.user_ns(), cap);
            if !may(Caps::CHECKPOINT_RESTORE) && !may(Caps::SYS_ADMIN) {
                return Err(EPERM);
            }
        }
        let kernel = self.kernel;
        let pid = match chosen.get(pid_ns.level() as usize) {
            Some(&number) => kernel.tree.lock().reserve(number).ok_or(EEXIST)?,
            None => kernel.tree.lock().allocate().ok_or(EAGAIN)?,
        };
        pid_ns.enter(pid, chosen).inspect_err(|_| kernel.tree.lock().release(pid))?;
        Ok(Number { kernel, pid, pid_ns: Some(pid_ns) })
    }
}

impl<H: Host> Kernel<H> {
    /// RLIMIT_NPROC and the memory that tasks need in the kernel.
    fn check_task_limits(&self, cx: &Cx<'_, H>) -> Result<()> {
        let cred = cx.task.cred();
        let limit = cx.task.process.rlimit(linux_raw_sys::general::RLIMIT_NPROC);
        let tree = self.tree.lock();
        if tree.thread_count().max(tree.process_count()) >= self.max_tasks {
            return Err(EAGAIN);
        }
        let is_privileged = cred.uid == 0 && cred.user_ns.is_initial()
            || cred.capable(Caps::SYS_RESOURCE)
            || cred.capable(Caps::SYS_ADMIN);
        if limit != crate::task::rlimit::INFINITY
            && !is_privileged
            // Of few threads it need not be asked whose they are.
            && tree.thread_count() as u64 >= limit
            && tree.count_of_user(cred.uid) as u64 >= limit
        {
            return Err(EAGAIN);
        }
        Ok(())
    }

    /// A kernel stack for a task that starts in the guest with `context`.
    pub(crate) fn new_task_fiber(
        self: &Arc<Self>,
        task: Arc<Task<H>>,
        context: UserContext,
    ) -> Result<H::Fiber> {
        let kernel = self.clone();
        let body = move |suspend: &dyn crate::host::Suspend| {
            let context = RefCell::new(context);
            let status = crate::task::run::run(&kernel, &task, &context, suspend);
            drop(context);
            kernel.finish(&task, status.unwrap_or(ExitStatus::Exited(0)));
        };
        self.host.new_fiber(alloc::boxed::Box::new(body)).map_err(|_| ENOMEM)
    }
}
