//! Restartable sequences: a registered thread finds its CPU number in memory, and a critical section that was interrupted
//! starts again at its abort handler. Source: Linux `include/uapi/linux/rseq.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{EFAULT, Result};
use crate::host::Host;
use crate::syscall::Cx;
use crate::task::siginfo::SigInfo;
use crate::task::signal::SIGSEGV;
use crate::task::thread::Rseq;

/// Where `struct rseq` points at the critical section.
const SECTION_AT: u64 = 8;

/// `struct rseq_cs`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Section {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

impl<H: Host> Cx<'_, H> {
    /// Tells the thread which CPU it runs on.
    pub(crate) fn update_rseq_cpu(&self) -> Result<()> {
        let Some(Rseq { addr, .. }) = *self.task.rseq.lock() else { return Ok(()) };
        let cpu = self.task.vcpu().0 as u32;
        self.user().set(addr, &[cpu, cpu])
    }

    /// The thread was preempted, or a signal handler is about to run: a critical section it is in is aborted.
    pub(crate) fn interrupt_rseq(&self) {
        let registered = *self.task.rseq.lock();
        let Some(rseq) = registered else { return };
        if self.update_rseq_cpu().and_then(|()| self.abort_section(rseq)).is_err() {
            self.task.force(SigInfo::kernel(SIGSEGV));
        }
    }

    fn abort_section(&self, rseq: Rseq) -> Result<()> {
        let pointer = rseq.addr + SECTION_AT;
        let addr: u64 = self.user().get(pointer)?;
        if addr == 0 {
            return Ok(());
        }
        let section: Section = self.user().get(addr)?;
        if section.version > 0 || section.abort.wrapping_sub(section.start) < section.length {
            return Err(EFAULT);
        }
        self.user().set(pointer, &0u64)?;
        let rip = self.context.borrow().regs.rip;
        if rip.wrapping_sub(section.start) >= section.length {
            return Ok(());
        }
        let signature: u32 = self.user().get(section.abort.wrapping_sub(4))?;
        if signature != rseq.signature {
            return Err(EFAULT);
        }
        self.context.borrow_mut().regs.rip = section.abort;
        Ok(())
    }
}
