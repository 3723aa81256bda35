//! What a handler works with: the kernel, the calling task, its memory and files, and the one way to wait.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::RefCell;

use smallvec::SmallVec;

use crate::errno::{EAGAIN, EINTR, Result};
use crate::host::{Host, Suspend, UserContext};
use crate::io::UserMemory;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::mm::user::User;
use crate::sched::timers::TimerToken;
use crate::sched::wait::{Events, WaitQueue, WaitToken, Wake};
use crate::services::Services;
use crate::sync::assert_no_guards;
use crate::syscall::args::RawFd;
use crate::syscall::{Restart, SysError, SysResult};
use crate::task::Task;
use crate::task::cred::Cred;
use crate::task::namespaces::Namespaces;
use crate::task::pid_ns::PidNs;
use crate::task::session::Session;
use crate::task::siginfo::SigInfo;
use crate::task::thread::Resources;
use crate::vfs::caller::Caller;
use crate::vfs::context::FsContext;
use crate::vfs::fd::{FdTable, OnExec};
use crate::vfs::file::{Op, OpenFile, OpenFlags};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait<T> {
    /// The condition gave this.
    Ready(T),
    /// The deadline came first.
    TimedOut,
    /// A signal came first.
    Interrupted,
}

/// Which signals end a wait early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruptible {
    /// Any that is to be delivered.
    AnySignal,
    /// Only what ends the task.
    FatalOnly,
    /// Not even that.
    Never,
}

/// A running task in the kernel.
pub struct Cx<'a, H: Host> {
    /// The kernel.
    pub kernel: &'a Arc<Kernel<H>>,
    /// The calling task.
    pub task: &'a Arc<Task<H>>,
    /// Its address space.
    pub mm: Arc<Mm<H>>,
    /// Its descriptors.
    pub files: Arc<FdTable>,
    /// Its root, working directory and umask.
    pub fs: Arc<FsContext>,
    /// Its registers.
    pub context: &'a RefCell<UserContext>,
    suspend: &'a dyn Suspend,
}

impl<'a, H: Host> Cx<'a, H> {
    /// For the task loop. Made anew when the task replaced its memory, files or directories; `None` if it has none left.
    pub fn new(
        kernel: &'a Arc<Kernel<H>>,
        task: &'a Arc<Task<H>>,
        context: &'a RefCell<UserContext>,
        suspend: &'a dyn Suspend,
    ) -> Option<Cx<'a, H>> {
        let Resources { mm, files, fs } = task.resources()?;
        Some(Cx { kernel, task, mm, files, fs, context, suspend })
    }

    /// The open file of a descriptor; EBADF also for descriptors that only name a path (O_PATH).
    pub fn file(&self, fd: RawFd) -> Result<Arc<OpenFile>> {
        self.files.get(fd)
    }

    /// The open file of a descriptor, those that only name a path among them.
    pub fn file_or_path(&self, fd: RawFd) -> Result<Arc<OpenFile>> {
        self.files.get_any(fd)
    }

    /// A descriptor of an open file, as the value of a call: EMFILE.
    pub fn install_file(&self, file: Arc<OpenFile>, on_exec: OnExec) -> SysResult {
        let limit = self.task.process.rlimit(linux_raw_sys::general::RLIMIT_NOFILE);
        Ok(self.files.install(file, on_exec, limit)? as u64)
    }

    /// The guest's memory.
    pub fn user(&self) -> User<'_, H> {
        User::new(&self.mm)
    }

    /// The task as files see it.
    pub fn caller(&self) -> &dyn Caller {
        self
    }

    /// An operation on `file` for this task.
    pub fn op<'b>(&'b self, file: &'b OpenFile) -> Op<'b> {
        Op { file, caller: self }
    }

    /// Time, timers, RAM and signals.
    pub fn services(&self) -> &Arc<Services> {
        &self.kernel.services
    }

    /// The task's credentials.
    pub fn cred(&self) -> Arc<Cred> {
        self.task.cred()
    }

    /// Whether a signal is to be delivered: the call should end with a [`Restart`].
    pub fn signal_pending(&self) -> bool {
        self.task.signal_pending()
    }

    /// For the restart of a call that has to go on where it was (`nanosleep` with the time that is left): keeps `again`
    /// for `restart_syscall` and gives the error to end with.
    pub fn restart_with(&self, again: impl FnOnce(&Cx<'_, H>) -> SysResult + Send + 'static) -> SysError {
        self.task.keep_restart(Box::new(again));
        SysError::Restart(Restart::Kept)
    }

    /// Waits until `condition` gives a value, `deadline_ns` (monotonic) is over, or a signal comes.
    ///
    /// This is where every blocked call sleeps. The condition is looked at once before anything else, then after each
    /// wake-up of one of `queues` for its events; why no wake-up is lost is said in [`crate::sched::wait`].
    pub fn wait_until<T>(
        &self,
        queues: &[(&WaitQueue, Events)],
        deadline_ns: Option<u64>,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Wait<T> {
        if let Some(value) = condition() {
            return Wait::Ready(value);
        }
        self.wait(queues, deadline_ns, Interruptible::AnySignal, condition)
    }

    /// As [`Cx::wait_until`], for waits that signals with a handler do not end (a `vfork` parent's).
    pub fn wait_killable<T>(
        &self,
        queues: &[(&WaitQueue, Events)],
        condition: impl FnMut() -> Option<T>,
    ) -> Wait<T> {
        self.wait(queues, None, Interruptible::FatalOnly, condition)
    }

    /// Sleeps as a tracee that has stopped. Its tracer changes what `condition` looks at and wakes the task itself.
    pub(crate) fn wait_for_tracer(
        &self,
        interruptible: Interruptible,
        condition: impl FnMut() -> Option<()>,
    ) {
        let _ = self.wait(&[], None, interruptible, condition);
    }

    fn wait<T>(
        &self,
        queues: &[(&WaitQueue, Events)],
        deadline_ns: Option<u64>,
        interruptible: Interruptible,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Wait<T> {
        let clock = &self.kernel.services.clock;
        let _registered = Registered::new(self, queues, deadline_ns);
        loop {
            if let Some(value) = condition() {
                return Wait::Ready(value);
            }
            let interrupted = match interruptible {
                Interruptible::AnySignal => self.task.signal_pending(),
                Interruptible::FatalOnly => self.task.is_ending(),
                Interruptible::Never => false,
            };
            if interrupted {
                return Wait::Interrupted;
            }
            if deadline_ns.is_some_and(|deadline| deadline <= clock.monotonic_ns()) {
                return Wait::TimedOut;
            }
            self.suspend();
        }
    }

    /// Does `attempt` on `file` until it gives something else than EAGAIN; sleeps in between until one of `events`,
    /// unless the file is non-blocking. EAGAIN also when the file's own time limit is over.
    pub fn block_on<T>(
        &self,
        file: &OpenFile,
        events: Events,
        mut attempt: impl FnMut(Op<'_>) -> Result<T>,
    ) -> Result<T, SysError> {
        let op = self.op(file);
        let first = attempt(op);
        let would_block = matches!(first, Err(errno) if errno == EAGAIN);
        if !would_block || file.flags().contains(OpenFlags::NONBLOCK) {
            return first.map_err(SysError::from);
        }
        let caller_queue = file.ops.caller_queue(op);
        let events = events | Events::ERR | Events::HUP;
        let queues: SmallVec<[(&WaitQueue, Events); 2]> = file
            .ops
            .wait_queue()
            .into_iter()
            .chain(caller_queue.as_deref())
            .map(|queue| (queue, events))
            .collect();
        if queues.is_empty() {
            return first.map_err(SysError::from);
        }
        let limit_ns = file.ops.time_limit_ns(events);
        let deadline_ns = limit_ns.map(|ns| self.kernel.services.clock.after(ns));
        let waited = self.wait(&queues, deadline_ns, Interruptible::AnySignal, || match attempt(op) {
            Err(errno) if errno == EAGAIN => None,
            other => Some(other),
        });
        match waited {
            Wait::Ready(result) => result.map_err(SysError::from),
            Wait::TimedOut => Err(EAGAIN.into()),
            Wait::Interrupted if limit_ns.is_some() => Err(EINTR.into()),
            Wait::Interrupted => Err(SysError::Restart(Restart::WithFlag)),
        }
    }

    /// Gives the vCPU to another task that can run, if there is one.
    pub fn yield_now(&self) {
        self.task.wake(Events::empty());
        self.suspend();
    }

    /// The only suspension in the kernel.
    fn suspend(&self) {
        assert_no_guards();
        self.suspend.suspend();
    }
}

/// The registrations of one wait; ends them when dropped.
struct Registered<'a> {
    queues: SmallVec<[(&'a WaitQueue, WaitToken); 4]>,
    timer: Option<(&'a Services, TimerToken)>,
}

impl<'a> Registered<'a> {
    fn new<H: Host>(
        cx: &'a Cx<'_, H>,
        queues: &[(&'a WaitQueue, Events)],
        deadline_ns: Option<u64>,
    ) -> Registered<'a> {
        let task: Arc<dyn Wake> = cx.task.clone();
        let services: &Services = &cx.kernel.services;
        Registered {
            queues: queues
                .iter()
                .map(|(queue, events)| (*queue, queue.register(*events, task.clone())))
                .collect(),
            timer: deadline_ns.map(|deadline| (services, services.timers.add(deadline, task.clone()))),
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        for (queue, token) in &self.queues {
            queue.unregister(*token);
        }
        if let Some((services, token)) = &self.timer {
            services.timers.cancel(*token);
        }
    }
}

impl<H: Host> Caller for Cx<'_, H> {
    fn pid(&self) -> u32 {
        self.task.process.pid
    }

    fn tid(&self) -> u32 {
        self.task.tid()
    }

    fn process_group(&self) -> u32 {
        self.task.process.group()
    }

    fn session(&self) -> Arc<Session> {
        self.task.process.session()
    }

    fn cred(&self) -> Arc<Cred> {
        self.task.cred()
    }

    fn memory(&self) -> &dyn UserMemory {
        &*self.mm
    }

    fn is_blocked_or_ignored(&self, signal: u8) -> bool {
        self.task.is_blocked_or_ignored(signal)
    }

    fn rlimit(&self, resource: u32) -> u64 {
        self.task.process.rlimit(resource)
    }

    fn take_signal(&self, mask: u64) -> Option<SigInfo> {
        self.task.take_signal(mask)
    }

    fn has_signal(&self, mask: u64) -> bool {
        self.task.has_signal(mask)
    }

    fn pid_ns(&self) -> PidNs {
        self.task.process.pid_ns.clone()
    }

    fn namespaces(&self) -> Option<Arc<Namespaces>> {
        Some(self.task.namespaces())
    }

    fn signal_queue(&self) -> Arc<WaitQueue> {
        self.task.process.signal_queue.clone()
    }
}
