//! Seccomp: filters that a task has put over its own system calls. Source: `seccomp(2)`.
//!
//! A task's filters are a list, the oldest first. Lists are immutable and shared: a child has its parent's, and whoever
//! adds a filter gets a list of its own. Which tasks have any is told by [`Watch::SECCOMP`], so that all others pay
//! nothing.

pub mod bpf;

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, ENOMEM, ENOSYS, Errno, Result};
use crate::host::Host;
use crate::syscall::{Args, Cx};
use crate::task::Task;
use crate::task::process::ExitStatus;
use crate::task::siginfo::{Payload, SigInfo};
use crate::task::signal::SIGKILL;
use crate::task::trace::Event;
use crate::task::watched::Watch;
use bpf::{DATA_WORDS, Program};

/// `AUDIT_ARCH_X86_64`.
pub const ARCH: u32 = 0xc000_003e;

/// The most instructions of all filters together, each filter counting for some more (`MAX_INSNS_PER_PATH`). Linux counts
/// what it translates them to, which is up to twice as many.
const MAX_TOTAL: usize = 32768;
const FILTER_COST: usize = 4;

/// The largest error number that a filter can give.
const MAX_ERRNO: u32 = 4095;

/// `si_code` of SIGSYS.
const SYS_SECCOMP: i32 = 1;

/// Ends the process; `SECCOMP_RET_*`, as the others.
pub const KILL_PROCESS: u32 = 0x8000_0000;
/// Ends the thread.
pub const KILL_THREAD: u32 = 0;
/// SIGSYS.
pub const TRAP: u32 = 0x0003_0000;
/// An error.
pub const ERRNO: u32 = 0x0005_0000;
/// Asks a tracer.
pub const TRACE: u32 = 0x7ff0_0000;
/// Allows, and writes it down.
pub const LOG: u32 = 0x7ffc_0000;
/// Allows.
pub const ALLOW: u32 = 0x7fff_0000;

/// The actions that there are.
pub const ACTIONS: [u32; 7] = [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW];

const ACTION: u32 = 0xffff_0000;
const DATA: u32 = 0x0000_ffff;

/// A filter, and whether what it does but allow is logged.
#[derive(Debug)]
pub struct Filter {
    program: Program,
    log: bool,
}

impl Filter {
    /// A filter of a checked program.
    pub fn new(program: Program, log: bool) -> Arc<Filter> {
        Arc::new(Filter { program, log })
    }
}

/// What a task may call.
#[derive(Clone, Debug, Default)]
pub enum Seccomp {
    /// Anything.
    #[default]
    Off,
    /// read, write, exit and rt_sigreturn.
    Strict,
    /// What all filters allow.
    Filtered(Arc<[Arc<Filter>]>),
}

impl Seccomp {
    /// As `PR_GET_SECCOMP` and `/proc/PID/status` tell it.
    pub fn mode(&self) -> u8 {
        match self {
            Seccomp::Off => 0,
            Seccomp::Strict => 1,
            Seccomp::Filtered(_) => 2,
        }
    }

    /// The filters, the oldest first.
    pub fn filters(&self) -> &[Arc<Filter>] {
        match self {
            Seccomp::Filtered(filters) => filters,
            _ => &[],
        }
    }

    /// This with one more filter. EINVAL in strict mode; ENOMEM if there are too many instructions.
    fn with(&self, filter: Arc<Filter>) -> Result<Seccomp> {
        if matches!(self, Seccomp::Strict) {
            return Err(EINVAL);
        }
        let cost = |filter: &Arc<Filter>| filter.program.len() + FILTER_COST;
        // The new one counts without its own surcharge.
        if self.filters().iter().map(cost).sum::<usize>() + filter.program.len() > MAX_TOTAL {
            return Err(ENOMEM);
        }
        let filters: Vec<Arc<Filter>> = self.filters().iter().cloned().chain([filter]).collect();
        Ok(Seccomp::Filtered(filters.into()))
    }

    /// Whether `other` has these filters, or these and more on top.
    fn is_below(&self, other: &Seccomp) -> bool {
        let own = self.filters();
        match (self, own.last()) {
            (Seccomp::Strict, _) => false,
            (_, None) => true,
            // A filter is added once, so it is always at the same place above the same others.
            (_, Some(last)) => other.filters().get(own.len() - 1).is_some_and(|it| Arc::ptr_eq(it, last)),
        }
    }

    /// The strictest result of all filters, of equal ones the newest filter's, and whether it is to be logged.
    fn ask(&self, data: &[u32; DATA_WORDS]) -> (u32, bool) {
        let mut strictest = (ALLOW, false);
        for filter in self.filters().iter().rev() {
            let result = filter.program.run(data);
            if precedence(result) < precedence(strictest.0) {
                strictest = (result, filter.log);
            }
        }
        strictest
    }
}

/// The order of actions, the strictest first.
fn precedence(result: u32) -> i32 {
    (result & ACTION).cast_signed()
}

/// Whether the tracer was asked about a call already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It was not.
    First,
    /// It was, and it may be another call now.
    AfterTracer,
}

/// What becomes of a call.
pub(crate) enum Verdict {
    /// It is made.
    Made,
    /// It is not; the result is in the registers.
    Skipped,
}

impl<H: Host> Cx<'_, H> {
    /// Asks the task's filters about the call that it is about to make.
    pub(crate) fn filter_call(&self, asked: Asked) -> Verdict {
        let seccomp = self.task.seccomp.lock().clone();
        let (number, regs) = (self.task.call(), self.context.borrow().regs);
        match seccomp {
            Seccomp::Off => Verdict::Made,
            Seccomp::Strict if STRICT.contains(&number) => Verdict::Made,
            Seccomp::Strict => {
                self.note_seccomp(number, KILL_THREAD);
                self.task.exit(ExitStatus::Signaled { signal: SIGKILL, core: false });
                Verdict::Skipped
            }
            Seccomp::Filtered(_) => {
                let args = crate::arch::x86_64::syscall_args(&regs);
                let (result, log) = seccomp.ask(&data_of(number, regs.rip, &args));
                self.act(number, result, log, asked)
            }
        }
    }

    fn act(&self, number: u64, result: u32, log: bool, asked: Asked) -> Verdict {
        let data = result & DATA;
        match result & ACTION {
            ALLOW => return Verdict::Made,
            LOG => {
                self.note_seccomp(number, LOG);
                return Verdict::Made;
            }
            ERRNO => self.set_result(-i64::from(data.min(MAX_ERRNO))),
            TRAP => {
                self.set_result(number.cast_signed());
                self.task.force(self.bad_call(number, data));
            }
            // The tracer has let it pass.
            TRACE if asked == Asked::AfterTracer => return Verdict::Made,
            TRACE if self.is_awaited(Event::Seccomp) => {
                self.stop_for_event(Event::Seccomp, data.into());
                // A tracer skips a call by a negative number.
                if self.task.is_leaving() || (self.task.call() as i32) < 0 {
                    return Verdict::Skipped;
                }
                return self.filter_call(Asked::AfterTracer);
            }
            // Nobody wants to know.
            TRACE => self.set_result(i64::from(-ENOSYS.code())),
            action => {
                self.note_seccomp(number, action);
                if action == KILL_THREAD && self.task.process.threads().len() > 1 {
                    self.task.exit(ExitStatus::Signaled { signal: sys::SIGSYS as u8, core: false });
                } else {
                    self.set_result(number.cast_signed());
                    self.task.force_default(self.bad_call(number, data));
                }
                return Verdict::Skipped;
            }
        }
        if log {
            self.note_seccomp(number, result & ACTION);
        }
        Verdict::Skipped
    }

    fn set_result(&self, value: i64) {
        self.context.borrow_mut().regs.rax = value.cast_unsigned();
    }

    fn bad_call(&self, number: u64, data: u32) -> SigInfo {
        let addr = self.context.borrow().regs.rip;
        SigInfo {
            signal: sys::SIGSYS as u8,
            errno: data.cast_signed(),
            code: SYS_SECCOMP,
            payload: Payload::Syscall { addr, nr: number as i32, arch: ARCH },
        }
    }

    fn note_seccomp(&self, number: u64, action: u32) {
        let name = crate::debug::names::syscall(number);
        log::info!("seccomp: process {}: {name}: action {action:#x}", self.task.process.pid);
    }

    /// Adds a filter to the task's own.
    pub(crate) fn add_filter(&self, filter: Arc<Filter>) -> Result<()> {
        let _group = self.task.process.signals.lock();
        let seccomp = self.task.seccomp.lock().with(filter)?;
        self.task.set_seccomp(seccomp);
        Ok(())
    }

    /// Adds a filter, and gives all threads of the process the filters that this one has then. `Err(Ok(tid))`: that thread,
    /// by its own number, has filters that this one has not.
    pub(crate) fn add_filter_to_all(&self, filter: Arc<Filter>) -> Result<(), Result<u32, Errno>> {
        let group = self.task.process.signals.lock();
        let own = self.task.seccomp.lock().clone();
        if let Some(other) = group.threads.iter().find(|thread| !thread.seccomp.lock().is_below(&own)) {
            return Err(Ok(other.own_tid()));
        }
        let seccomp = own.with(filter).map_err(Err)?;
        for thread in &group.threads {
            thread.set_seccomp(seccomp.clone());
        }
        Ok(())
    }

    /// Strict mode; EINVAL if the task has filters.
    pub(crate) fn be_strict(&self) -> Result<()> {
        let _group = self.task.process.signals.lock();
        if matches!(*self.task.seccomp.lock(), Seccomp::Filtered(_)) {
            return Err(EINVAL);
        }
        self.task.set_seccomp(Seccomp::Strict);
        Ok(())
    }
}

/// What strict mode allows.
const STRICT: [u64; 4] =
    [sys::__NR_read as u64, sys::__NR_write as u64, sys::__NR_exit as u64, sys::__NR_rt_sigreturn as u64];

/// `struct seccomp_data`: number, architecture, instruction pointer, arguments.
fn data_of(number: u64, rip: u64, args: &Args) -> [u32; DATA_WORDS] {
    let mut data = [0; DATA_WORDS];
    let head = [number as u32, ARCH, rip as u32, (rip >> 32) as u32];
    let words = args.0.iter().flat_map(|arg| [*arg as u32, (*arg >> 32) as u32]);
    for (to, from) in data.iter_mut().zip(head.into_iter().chain(words)) {
        *to = from;
    }
    data
}

impl<H: Host> Task<H> {
    /// Replaces what it may call; under its process's signal lock, which also keeps new threads from missing it.
    pub(crate) fn set_seccomp(&self, seccomp: Seccomp) {
        let watched = !matches!(seccomp, Seccomp::Off);
        *self.seccomp.lock() = seccomp;
        self.set_watch(Watch::SECCOMP, watched);
    }
}
