//! A traced thread that carries guest threads: it keeps the state of the last one for as long as that one comes back.

use std::ops::Range;
use std::sync::{Arc, Weak};

use kernel_core::host::{Exit, Fpu, Registers, UserContext};
use nix::errno::Errno;

use crate::traced::tracee::{KICK_SIGNAL, Stop, Tracee};
use crate::traced::trap;
use crate::traced::vcpu::Signals;
use crate::traced::xstate::Format;

/// A traced thread, and whose state it has.
pub struct Carrier {
    /// The thread. Whoever changes its registers calls [`Carrier::forget_registers`].
    pub tracee: Tracee,
    /// The registers that it has, if known and good to go on with.
    loaded: Option<Registers>,
    /// Whose vector state it has: the owner's, as of that generation.
    fpu: Option<(Weak<Fpu>, u64)>,
}

/// Why a guest could not be run.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// The thread is dead and reaped: its number may soon be another's.
    Reaped,
    /// The host refused a request.
    Refused(Errno),
}

impl From<Errno> for Lost {
    fn from(errno: Errno) -> Lost {
        Lost::Refused(errno)
    }
}

impl Carrier {
    /// A stopped thread that carries nobody yet.
    pub fn new(tracee: Tracee) -> Carrier {
        Carrier { tracee, loaded: None, fpu: None }
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
        self.load_fpu(format, &ctx.fpu)?;
        let tracee = self.tracee;
        if self.loaded != Some(ctx.regs) {
            tracee.set_registers(&ctx.regs)?;
        }
        let Some(running) = signals.enter(tracee.pid()) else {
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
                Stop::Signal(signal) => trap::at_signal(signal, &tracee.signal_info()?, &stopped, limits),
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
        match &self.fpu {
            Some((here, _)) if std::ptr::eq(here.as_ptr(), Arc::as_ptr(owner)) => self.save_fpu(),
            _ => Ok(()),
        }
    }

    /// Makes the vector state of the thread that of `fpu`, after saving another owner's.
    fn load_fpu(&mut self, format: &Format, fpu: &Arc<Fpu>) -> Result<(), Errno> {
        if let Some((owner, generation)) = &self.fpu {
            let same = std::ptr::eq(owner.as_ptr(), Arc::as_ptr(fpu));
            if same && fpu.read(|_, now| now == *generation) {
                return Ok(());
            }
            if !same {
                self.save_fpu()?;
            }
        }
        self.fpu = None;
        let generation = fpu.read(|area, now| format.load(&self.tracee, area).map(|()| now))?;
        self.fpu = Some((Arc::downgrade(fpu), generation));
        Ok(())
    }

    /// Copies the vector state of the thread to its owner, unless that has been given another since.
    fn save_fpu(&self) -> Result<(), Errno> {
        let Some((owner, generation)) = &self.fpu else { return Ok(()) };
        let Some(owner) = owner.upgrade() else { return Ok(()) };
        if owner.read(|_, now| now != *generation) {
            return Ok(());
        }
        let mut result = Ok(0);
        owner.store(|area| result = self.tracee.xstate(area));
        result.map(drop)
    }
}
