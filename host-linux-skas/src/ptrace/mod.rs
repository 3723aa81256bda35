//! Stubs whose guest threads are trapped by tracing: `ptrace(2)`, PTRACE_SYSEMU. The reference for what is right, and what
//! is left where a machine refuses filters of system calls.
//!
//! A stub has one thread. Stopped, it can be set to the stub's own code, which makes the changes of a batch.
//!
//! What SYSEMU does not catch is the vsyscall page at the top of the address space, where the host has one: a guest can
//! call the three clock functions there and gets the host's time. They read and write nothing but the guest's memory.

pub mod code;

use std::ops::Range;
use std::sync::Arc;

use host_linux::host::Machine;
use host_linux::traced::carrier::{Carrier, format_of};
use host_linux::traced::tracee::{Stop, Tracee, kill_and_reap};
use host_linux::trap::Lost;
use host_linux::vcpu::KICK_SIGNAL;
use host_linux::xstate::Format;
use kernel_core::host::{Exit, Fpu, Registers, UserContext};
use nix::errno::Errno;

use crate::error::StartError;
use crate::layout::REQUESTS;
use crate::requests::HEADER_SIZE;
use crate::stub::Failure;

/// A stub that is or will be traced by the vCPU's thread.
pub struct Traced {
    pid: i32,
    /// When it was moved to the vCPU's processor, see `Vcpu::adopt`.
    moves: u32,
    /// How the vCPU thread reaches it; `None` before it was attached.
    carrier: Option<Carrier>,
}

impl Traced {
    /// A fresh stub.
    pub fn new(pid: i32) -> Traced {
        Traced { pid, moves: 0, carrier: None }
    }

    /// Whether it was attached: then only its tracer can use it.
    pub fn is_attached(&self) -> bool {
        self.carrier.is_some()
    }

    /// Learns what the host allows, and the format of vector state.
    pub fn learn(&mut self) -> Result<Format, StartError> {
        // One that cannot be attached ends with the spawner, which ends with the pool.
        let tracee = Tracee::attach(self.pid).map_err(|errno| match errno {
            Errno::ESRCH => StartError::Stub,
            _ => StartError::Ptrace(errno.into()),
        })?;
        self.carrier = Some(Carrier::new(tracee));
        format_of(&tracee).map_err(|errno| StartError::Xstate(errno.into()))
    }

    /// What runs guest threads in it, attached when it is used for the first time: the vCPU thread has to do that.
    pub fn carrier(&mut self, machine: &Machine) -> Result<&mut Carrier, Lost> {
        if self.carrier.is_none() {
            // One that ended before was reaped by the spawner.
            self.carrier = Some(Carrier::new(Tracee::attach(self.pid).map_err(|_| Lost::Reaped)?));
        }
        machine.vcpu.adopt(&[self.pid], &mut self.moves);
        self.carrier.as_mut().ok_or(Lost::Refused(Errno::ESRCH))
    }

    /// Runs a guest thread, whose memory is within `limits`, until something happens.
    pub fn run(
        &mut self,
        machine: &Machine,
        limits: &Range<u64>,
        ctx: &mut UserContext,
    ) -> Result<Exit, Lost> {
        self.carrier(machine)?.run(&machine.format, &machine.vcpu.signals, limits, ctx)
    }

    /// See [`kernel_core::host::Host::save_fpu`].
    pub fn save_fpu(&self, owner: &Arc<Fpu>) {
        if let Some(carrier) = &self.carrier {
            // A stub that is dead by now took the state with it; its thread will never run again either.
            let _ = carrier.save_fpu_of(owner);
        }
    }

    /// Has the stub make the changes in the first `bytes` of its requests.
    pub fn change(&mut self, machine: &Machine, bytes: u64) -> Result<(), Failure> {
        let carrier = self.carrier(machine)?;
        carrier.forget_registers();
        perform(carrier.tracee, bytes)
    }

    /// Kills it, and waits until it is gone. It has to be attached.
    pub fn kill(&self) {
        kill_and_reap(self.pid);
    }
}

fn perform(tracee: Tracee, bytes: u64) -> Result<(), Failure> {
    let lost = |errno| Err(Failure::Stub(Lost::Refused(errno)));
    let first = REQUESTS + HEADER_SIZE;
    let (rip, rbx, rbp) = (code::batch_entry(), first, first + bytes);
    tracee.set_registers(&Registers { rip, rbx, rbp, rflags: 0x202, ..Registers::default() })?;
    loop {
        tracee.run_stub()?;
        match tracee.wait() {
            Stop::Signal(libc::SIGTRAP) => return Ok(()),
            Stop::Signal(libc::SIGILL) => {
                let rax = tracee.registers()?.regs.rax;
                return Err(Failure::Change(Errno::from_raw((rax as i32).saturating_neg())));
            }
            // A kick that came late.
            Stop::Signal(KICK_SIGNAL) | Stop::Other => {}
            // One that somebody sent is no matter; one that the stub's own code raised would come again and again.
            Stop::Signal(_) => {
                if tracee.signal_info()?.code > 0 {
                    return lost(Errno::EFAULT);
                }
            }
            Stop::Syscall => return lost(Errno::EFAULT),
            Stop::Died => return Err(Failure::Stub(Lost::Reaped)),
        }
    }
}
