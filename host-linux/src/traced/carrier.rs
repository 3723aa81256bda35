//! A traced thread that carries guest threads: it keeps the state of the last one for as long as that one comes back.

use std::ops::Range;
use std::sync::Arc;

use kernel_core::host::{Exit, Fpu, Registers, UserContext};
use nix::errno::Errno;

use crate::resident::Resident;
use crate::traced::tracee::{Stop, Tracee};
use crate::trap::{self, Lost};
use crate::vcpu::{KICK_SIGNAL, Signals, ThreadId};
use crate::xstate::Format;

/// A traced thread, and whose state it has.
pub struct Carrier {
    /// The thread. Whoever changes its registers calls [`Carrier::forget_registers`].
    pub tracee: Tracee,
    /// The registers that it has, if known and good to go on with.
    loaded: Option<Registers>,
    /// Whose vector state it has.
    fpu: Resident,
}

impl Carrier {
    /// A stopped thread that carries nobody yet.
    pub fn new(tracee: Tracee) -> Carrier {
        Carrier { tracee, loaded: None, fpu: Resident::default() }
    }

    /// The registers are not those of a guest thread any more.
    pub fn forget_registers(&mut self) {
        self.loaded = None;
    }

    /// Runs the guest thread `ctx`, whose memory is within `limits`, until something happens. [`Exit::Interrupted`] if the
    /// vCPU is kicked.
    pub fn run(
        &mut self,
        format: &Format,
        signals: &Signals,
        limits: &Range<u64>,
        ctx: &mut UserContext,
    ) -> Result<Exit, Lost> {
        let tracee = self.tracee;
        let save = |area: &mut [u8]| tracee.xstate(area).map(drop);
        self.fpu.switch_to(&ctx.fpu, save, |area| load(&tracee, format, area))?;
        if self.loaded != Some(ctx.regs) {
            tracee.set_registers(&ctx.regs)?;
        }
        let Some(running) = signals.enter(ThreadId::alone(tracee.pid())) else {
            self.loaded = Some(ctx.regs);
            return Ok(Exit::Interrupted);
        };
        self.loaded = None;
        loop {
            tracee.run_guest()?;
            let stop = tracee.wait();
            if stop == Stop::Died {
                return Err(Lost::Reaped);
            }
            let mut stopped = tracee.registers()?;
            let exit = match stop {
                Stop::Syscall => Some(trap::at_syscall(&mut stopped)),
                Stop::Signal(KICK_SIGNAL) => running.take_kick().then_some(Exit::Interrupted),
                Stop::Signal(_) => trap::at_signal(&tracee.signal_info()?, &stopped, limits),
                Stop::Other | Stop::Died => None,
            };
            if let Some(exit) = exit {
                ctx.regs = stopped.regs;
                // After a call the thread's own `rax` and `orig_rax` are those of the call: both have to be set anew.
                self.loaded = (stop != Stop::Syscall).then_some(ctx.regs);
                return Ok(exit);
            }
        }
    }

    /// Makes `owner`'s area in memory current, if its state is here.
    pub fn save_fpu_of(&self, owner: &Arc<Fpu>) -> Result<(), Errno> {
        self.fpu.save_of(owner, |area| self.tracee.xstate(area).map(drop))
    }
}

/// Loads `area`, made valid; or the initial state if the host still refuses it.
fn load(tracee: &Tracee, format: &Format, area: &[u8]) -> Result<(), Errno> {
    let mut valid = vec![0; format.size()];
    format.copy_valid(area, &mut valid);
    match tracee.set_xstate(&valid) {
        Err(Errno::EINVAL) => {
            format.copy_valid(&[], &mut valid);
            tracee.set_xstate(&valid)
        }
        result => result,
    }
}

/// The largest area asked for: with AMX tiles it has 11 KiB.
const LARGEST: usize = 32 * 1024;

/// The format of areas on this machine, as a stopped tracee has it.
pub fn format_of(tracee: &Tracee) -> Result<Format, Errno> {
    let mut area = vec![0; LARGEST];
    let size = tracee.xstate(&mut area)?;
    Format::of(area.get(..size).ok_or(Errno::ENODEV)?).ok_or(Errno::ENODEV)
}
