//! A stub: the process that holds one guest address space. What it does for the kernel is the same for both traps.

use std::sync::Arc;

use host_linux::trap::Lost;
use host_linux::xstate::Format;
use kernel_core::host::{Exit, Fpu, Frames, PAGE_SIZE, Phys, UserContext};
use nix::errno::Errno;

use crate::error::StartError;
use crate::layout;
use crate::ptrace::Traced;
use crate::requests::{self, HEADER_SIZE};
use crate::seccomp::Filtered;
use crate::space::Skas;

/// A stub process. It belongs to one space or the pool.
pub struct Stub {
    /// Process id.
    pub pid: i32,
    /// Number of its page in the file of requests, and of its area in that of data.
    pub slot: u32,
    /// Whether mappings of another space are in it.
    pub used: bool,
    kind: Kind,
}

enum Kind {
    Traced(Traced),
    Filtered(Box<Filtered>),
}

/// Why changes were not made.
#[derive(Debug)]
pub enum Failure {
    /// The host refused a change.
    Change(Errno),
    /// The stub cannot be reached, or does not do what its code says.
    Stub(Lost),
}

impl Failure {
    /// What it means for a space that has to run.
    pub fn lost(self) -> Lost {
        match self {
            Failure::Change(errno) => Lost::Refused(errno),
            Failure::Stub(lost) => lost,
        }
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Failure {
        Failure::Stub(lost)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Stub(Lost::Refused(errno))
    }
}

impl Stub {
    /// A fresh one that is traced.
    pub fn traced(pid: i32, slot: u32) -> Stub {
        Stub { pid, slot, used: false, kind: Kind::Traced(Traced::new(pid)) }
    }

    /// A fresh one of the seccomp trap.
    pub fn filtered(pid: i32, slot: u32, filtered: Filtered) -> Stub {
        Stub { pid, slot, used: false, kind: Kind::Filtered(Box::new(filtered)) }
    }

    /// Learns from the first stub of all what the host allows, and the format of vector state.
    pub fn learn(&mut self) -> Result<Format, StartError> {
        match &mut self.kind {
            Kind::Traced(traced) => traced.learn(),
            Kind::Filtered(filtered) => filtered.learn(),
        }
    }

    /// Runs a guest thread until something happens.
    pub fn run(&mut self, skas: &Skas, ctx: &mut UserContext) -> Result<Exit, Lost> {
        match &mut self.kind {
            Kind::Traced(traced) => traced.run(&skas.machine, &skas.limits, ctx),
            Kind::Filtered(filtered) => filtered.run(&skas.machine, &skas.limits, ctx),
        }
    }

    /// See [`kernel_core::host::Host::save_fpu`].
    pub fn save_fpu(&self, owner: &Arc<Fpu>) {
        match &self.kind {
            Kind::Traced(traced) => traced.save_fpu(owner),
            Kind::Filtered(filtered) => filtered.save_fpu(owner),
        }
    }

    /// Makes the changes of one page of requests.
    pub fn change(&mut self, skas: &Skas, page: &[u8]) -> Result<(), Failure> {
        let at = layout::request_page(self.slot);
        skas.requests.write(Phys(at.0 + HEADER_SIZE), page);
        let bytes = page.len() as u64;
        match &mut self.kind {
            Kind::Traced(traced) => traced.change(&skas.machine, bytes),
            Kind::Filtered(filtered) => filtered.change(&skas.machine, bytes),
        }
    }

    /// Whether no guest thread of it can run before the kernel lets one. Only then may changes wait that take something
    /// from the guest.
    pub fn is_still(&mut self) -> bool {
        match &mut self.kind {
            Kind::Traced(_) => true,
            Kind::Filtered(filtered) => filtered.is_still(),
        }
    }

    /// Whether it can be used for another space, by the calling thread; nothing of the last one is left in it then but
    /// mappings.
    pub fn can_be_used_again(&mut self, skas: &Skas) -> bool {
        self.settles(skas)
            // That the mappings go has to be done some time, and gives the thread of a filtered one time to fall asleep.
            || (self.is_filtered()
                && self.change(skas, &requests::page(&[skas.unmap_all()])).is_ok()
                && self.settles(skas))
    }

    fn is_filtered(&self) -> bool {
        matches!(self.kind, Kind::Filtered(_))
    }

    fn settles(&mut self, skas: &Skas) -> bool {
        match &mut self.kind {
            Kind::Traced(traced) => !traced.is_attached() || skas.machine.vcpu.is_here(),
            Kind::Filtered(filtered) => filtered.settle(&skas.machine),
        }
    }

    /// Makes it ready for another space.
    pub fn clean(&mut self, skas: &Skas) {
        // The requests tell where things were in the last guest.
        let at = layout::request_page(self.slot);
        skas.requests.zero(Phys(at.0 + HEADER_SIZE), PAGE_SIZE - HEADER_SIZE);
        if let Kind::Filtered(filtered) = &mut self.kind {
            filtered.clean();
        }
    }

    /// Whether it was never used, so that whoever takes it need not do anything first.
    pub fn is_fresh(&self) -> bool {
        match &self.kind {
            Kind::Traced(traced) => !traced.is_attached(),
            Kind::Filtered(filtered) => filtered.is_fresh(),
        }
    }

    /// Kills it, and waits until none of its threads runs any more.
    pub fn kill(&self) {
        match &self.kind {
            Kind::Traced(traced) => traced.kill(),
            Kind::Filtered(filtered) => filtered.kill(),
        }
    }
}
