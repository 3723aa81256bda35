//! [`TtHost`]: what keeps its spaces, and how it starts.

use std::ops::Range;
use std::sync::Arc;

use host_linux::backend::{Settings, Trap};
use host_linux::host::{Keeper, LinuxHost, Machine};
use host_linux::lockdown::calls::{self, Call, Sysno, Test};
use host_linux::ram::RamFile;
use host_linux::traced::carrier;
use host_linux::traced::tracee::{Tracee, kill_and_reap};
use host_linux::vcpu::Vcpu;
use host_linux::xstate::Format;
use kernel_core::host::HostError;

use crate::error::StartError;
use crate::space::{Tt, TtSpace};
use crate::windows::Windows;
use crate::{last_words, thread_code};

/// The host that keeps every guest address space in its own.
pub type TtHost = LinuxHost<Tt>;

impl Keeper for Tt {
    type Space = TtSpace;
    type Refusal = StartError;

    const WARNING: Option<&'static str> = Some(
        "--backend tt has no protection between guest processes: each can read and change the others and the kernel",
    );
    const PANIC: &'static str = last_words::OF_A_PANIC;

    /// Reserves the addresses of guests, and guest RAM.
    fn start(settings: &Settings) -> Result<Tt, StartError> {
        last_words::install();
        let ram =
            RamFile::new(c"lodger-ram", settings.ram_size).and_then(RamFile::map).map_err(StartError::Ram)?;
        let ram = Arc::new(ram);
        let windows = Windows::reserve(ram.clone())?;
        let format = try_thread()?;
        let vcpu = Vcpu::default();
        let watcher = vcpu.watcher().map_err(StartError::Helper)?;
        Ok(Tt::new(Machine { ram, vcpu, format, watcher }, windows))
    }

    fn trap(&self) -> Trap {
        Trap::Ptrace
    }

    fn calls(&self) -> &'static [Call] {
        CALLS
    }

    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn new_space(self: &Arc<Tt>, including: Range<u64>) -> Result<TtSpace, HostError> {
        Ok(TtSpace::new(self.clone(), &including))
    }

    fn clock_image(&self) -> Option<u64> {
        None
    }

    fn let_go(&self) {
        self.threads().clear();
    }
}

/// Guests' threads are made while guests run, and have this process's filter: what they ask for until they are traced is
/// here too. Guests' code is mapped here.
const CALLS: &[Call] = &[
    calls::any(Sysno::ptrace),
    calls::only(
        Sysno::kill,
        "SIGKILL, SIGSTOP",
        &[Test::is(1, libc::SIGKILL as u64), Test::is(1, libc::SIGSTOP as u64)],
    ),
    calls::any(Sysno::mmap),
    calls::any(Sysno::mprotect),
    calls::only(Sysno::clone, "CLONE_VM alone", &[Test::is_exactly(0, libc::CLONE_VM as u64)]),
    calls::any(Sysno::timer_delete),
    calls::any(Sysno::setsid),
    calls::any(Sysno::getppid),
    calls::any(Sysno::close_range),
    calls::only(
        Sysno::prctl,
        "PR_SET_PDEATHSIG, PR_SET_NAME",
        &[Test::is(0, libc::PR_SET_PDEATHSIG as u64), Test::is(0, libc::PR_SET_NAME as u64)],
    ),
    // With `getcpu` those of the host's vsyscall page, which no tracer sees: a guest that calls them gets the host's time.
    calls::any(Sysno::gettimeofday),
    calls::any(Sysno::time),
];

/// Starts a thread, traces it and ends it: what the host refuses is known before anything starts.
fn try_thread() -> Result<Format, StartError> {
    let pid = thread_code::start().map_err(|errno| StartError::Thread(errno.into()))?;
    let format = Tracee::attach(pid)
        .map_err(|errno| StartError::Ptrace(errno.into()))
        .and_then(|tracee| carrier::format_of(&tracee).map_err(|errno| StartError::Xstate(errno.into())));
    kill_and_reap(pid);
    format
}
