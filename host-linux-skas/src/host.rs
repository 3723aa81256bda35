//! [`SkasHost`]: what keeps its spaces, and how it starts.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use host_linux::ram::RamFile;
use host_linux::traced::host::{Keeper, Machine, TracedHost};
use host_linux::traced::tracee::Tracee;
use host_linux::traced::xstate::Format;
use host_linux::vm;
use kernel_core::host::{Frames, HostError, Phys};
use nix::errno::Errno;

use crate::clock_image::ClockImage;
use crate::error::StartError;
use crate::layout::{CLOCK_CODE, CODE};
use crate::pool::Pool;
use crate::space::{Skas, SkasSpace};
use crate::spawner::Spawner;
use crate::{layout, stub_code};

/// The host that keeps every guest address space in a stub process.
pub type SkasHost = TracedHost<Skas>;

impl Keeper for Skas {
    type Space = SkasSpace;
    type Refusal = StartError;

    /// Starts the helper processes and reserves guest RAM.
    ///
    /// Call it early: the spawner is forked here, and what this process has in memory by now, it has too.
    fn start(ram_size: u64) -> Result<Skas, StartError> {
        let ram = RamFile::new(c"lodger-ram", ram_size).map_err(StartError::Ram)?;
        let clocks = ClockImage::find();
        let clock_code = clocks.as_ref().map_or(0, |clocks| clocks.code.len() as u64);
        let requests = RamFile::new(c"lodger-requests", CLOCK_CODE + clock_code).map_err(StartError::Ram)?;
        let spawner = Spawner::start(&ram, &requests, clocks.as_ref()).map_err(StartError::Spawner)?;
        let requests = requests.map().map_err(StartError::Ram)?;
        requests.write(Phys(0), stub_code::bytes());
        if let Some(clocks) = &clocks {
            requests.write(Phys(CLOCK_CODE), &clocks.code);
        }
        let pool = Pool::new(spawner);
        let ram = Arc::new(ram.map().map_err(StartError::Ram)?);
        let (format, has_clocks) = try_stub(&pool)?;
        let clocks = clocks.filter(|_| has_clocks);
        Ok(Skas {
            machine: Machine::new(ram, format).map_err(StartError::Thread)?,
            pool,
            requests,
            limits: layout::limits(clocks.as_ref().map_or(CODE, ClockImage::place)),
            max_mappings: vm::max_mappings(),
            clock_image: clocks.map(|clocks| clocks.code_place()),
        })
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

    fn let_go(&self) {
        self.pool.clear();
    }
}

/// Makes a stub, traces it and ends it: what the host refuses is known before anything starts. Says whether the stub has
/// the host's clocks.
fn try_stub(pool: &Pool) -> Result<(Format, bool), StartError> {
    let refused = |error: HostError| StartError::Spawner(io::Error::other(format!("{error:?}")));
    let mut stub = pool.take().map_err(refused)?;
    // One that cannot be attached ends with the spawner, which ends with `pool`.
    let tracee = Tracee::attach(stub.pid).map_err(|errno| match errno {
        Errno::ESRCH => StartError::Stub,
        _ => StartError::Ptrace(errno.into()),
    })?;
    stub.tracee = Some(tracee);
    let format = Format::of(&tracee).map_err(|errno| StartError::Xstate(errno.into()));
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", stub.pid)).unwrap_or_default();
    pool.kill(stub);
    Ok((format?, maps.contains("[vvar]")))
}
