//! [`SkasHost`]: what keeps its spaces, and how it starts.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use host_linux::backend::{Settings, Trap};
use host_linux::host::{Keeper, LinuxHost, Machine};
use host_linux::lockdown::calls::{self, Call, Sysno, Test};
use host_linux::ram::RamFile;
use host_linux::vcpu::Vcpu;
use host_linux::vm;
use host_linux::xstate::Format;
use kernel_core::host::{CallCode, Frames, HostError, Phys};

use crate::clock_image::ClockImage;
use crate::error::StartError;
use crate::layout::{self, CLOCK_CODE, CODE, CONSTANTS};
use crate::pool::Pool;
use crate::ptrace;
use crate::seccomp::{self, Seccomp};
use crate::space::{Skas, SkasSpace};
use crate::spawner::Spawner;

/// The host that keeps every guest address space in a stub process.
pub type SkasHost = LinuxHost<Skas>;

impl Keeper for Skas {
    type Space = SkasSpace;
    type Refusal = StartError;

    /// Starts the helper processes and reserves guest RAM.
    ///
    /// Call it early: the spawner is forked here, and what this process has in memory by now, it has too.
    fn start(settings: &Settings) -> Result<Skas, StartError> {
        match settings.trap {
            Some(trap) => start(settings, trap),
            None => start(settings, Trap::Seccomp).or_else(|refusal| match refusal {
                StartError::Seccomp(_) => {
                    log::info!("{refusal}");
                    start(settings, Trap::Ptrace)
                }
                _ => Err(refusal),
            }),
        }
    }

    fn trap(&self) -> Trap {
        if self.pool.sites().is_some() { Trap::Seccomp } else { Trap::Ptrace }
    }

    fn calls(&self) -> &'static [Call] {
        match self.trap() {
            Trap::Seccomp => FOR_SECCOMP,
            Trap::Ptrace => FOR_PTRACE,
        }
    }

    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn new_space(self: &Arc<Skas>, _: Range<u64>) -> Result<SkasSpace, HostError> {
        Ok(SkasSpace::new(self.clone(), self.pool.take()?))
    }

    fn clock_image(&self) -> Option<u64> {
        self.clock_image
    }

    fn rewrite(&self, at: u64, code: CallCode) -> Option<CallCode> {
        self.pool.sites()?.rewrite(at, code)
    }

    fn is_rewritten(&self, at: u64, code: CallCode) -> bool {
        self.pool.sites().is_some_and(|sites| sites.is_rewritten(at, code))
    }

    fn let_go(&self) {
        self.pool.clear();
    }
}

fn start(settings: &Settings, trap: Trap) -> Result<Skas, StartError> {
    if trap == Trap::Seccomp && !host_linux::cpu::has_fsgsbase() {
        return Err(StartError::Seccomp("the processor or the system has no FSGSBASE".into()));
    }
    let ram = RamFile::new(c"lodger-ram", settings.ram_size).map_err(StartError::Ram)?;
    let clocks = ClockImage::find();
    let clock_code = clocks.as_ref().map_or(0, |clocks| clocks.code.len() as u64);
    let requests = RamFile::new(c"lodger-requests", CLOCK_CODE + clock_code).map_err(StartError::Ram)?;
    let files = (trap == Trap::Seccomp).then(seccomp::Files::new).transpose().map_err(StartError::Ram)?;
    let spawner = Spawner::start(&ram, &requests, clocks.as_ref(), files.as_ref());
    let spawner = spawner.map_err(StartError::Spawner)?;
    let requests = Arc::new(requests.map().map_err(StartError::Ram)?);
    match trap {
        Trap::Ptrace => requests.write(Phys(0), ptrace::code::bytes()),
        Trap::Seccomp => {
            requests.write(Phys(0), seccomp::code::bytes());
            requests.write(Phys(CONSTANTS - CODE), &seccomp::constants::bytes());
        }
    }
    if let Some(clocks) = &clocks {
        requests.write(Phys(CLOCK_CODE), &clocks.code);
    }
    let ram = Arc::new(ram.map().map_err(StartError::Ram)?);
    let vcpu = Vcpu::default();
    let watcher = vcpu.watcher().map_err(StartError::Thread)?;
    let can_patch = vm::lowest_address() <= layout::SITE_TABLE && is_x86_feature_detected!("xsaveopt");
    let patch = settings.patch && can_patch;
    let seccomp =
        files.map(|files| Seccomp::new(files, requests.clone(), &vcpu, &watcher, patch).map(Arc::new));
    let pool = Pool::new(spawner, seccomp.transpose().map_err(StartError::Ram)?);
    let first = First::of(&pool)?;
    Ok(Skas {
        machine: Machine { ram, vcpu, format: first.format, watcher },
        pool,
        requests,
        limits: layout::limits(),
        max_mappings: vm::max_mappings(),
        clock_image: clocks.filter(|_| first.has_clocks).map(|clocks| clocks.code_place()),
    })
}

/// Stubs are seen, and ended, by descriptors of them.
const FOR_SECCOMP: &[Call] = &[calls::any(Sysno::pidfd_open), calls::any(Sysno::pidfd_send_signal)];
const FOR_PTRACE: &[Call] =
    &[calls::any(Sysno::ptrace), calls::only(Sysno::kill, "SIGKILL", &[Test::is(1, libc::SIGKILL as u64)])];

/// What is learned from the first stub: what the host refuses is known before anything starts.
struct First {
    format: Format,
    /// Whether the stub has the host's clocks.
    has_clocks: bool,
}

impl First {
    fn of(pool: &Pool) -> Result<First, StartError> {
        let refused = |error: HostError| StartError::Spawner(io::Error::other(format!("{error:?}")));
        let mut stub = pool.take().map_err(refused)?;
        let format = stub.learn()?;
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", stub.pid)).unwrap_or_default();
        pool.end_first(stub);
        Ok(First { format, has_clocks: maps.contains("[vvar]") })
    }
}
