//! Page faults.

use crate::host::{Access, Host};
use crate::mm::Mm;

/// Why a fault cannot be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// The thread gets a signal: SIGSEGV or SIGBUS, with `si_code` and the address as `si_addr`.
    Signal {
        /// Its number.
        signal: u8,
        /// `SEGV_MAPERR`, `SEGV_ACCERR` or `BUS_ADRERR`.
        code: i32,
    },
    /// RAM is used up.
    OutOfMemory,
    /// The host lost the space: the process gets SIGKILL.
    Dead,
}

impl<H: Host> Mm<H> {
    /// Serves a page fault of a guest thread whose instruction pointer is `rip`; the thread then tries again.
    pub fn fault(&self, addr: u64, access: Access, rip: u64) -> Result<(), FaultError> {
        let _ = (addr, access, rip);
        Err(FaultError::Dead)
    }
}
