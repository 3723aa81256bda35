//! What it means for the guest that its thread stopped, whichever way the host told.

use std::ops::Range;

use kernel_core::host::{Access, Exit, Registers, Trap};
use nix::errno::Errno;

use crate::vm::TASK_END;

/// Selectors of user code and data, the same on every x86-64 Linux.
pub const USER_CS: u64 = 0x33;
/// See [`USER_CS`].
pub const USER_SS: u64 = 0x2b;

// `si_code` values of <asm-generic/siginfo.h>.
const SI_KERNEL: i32 = 0x80;
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const FPE_INTDIV: i32 = 1;
const FPE_INTOVF: i32 = 2;
const BUS_ADRALN: i32 = 1;

// Bits of a page fault's error code (Intel SDM volume 3, 4.7).
const PAGE_FAULT_WRITE: u64 = 1 << 1;
const PAGE_FAULT_FETCH: u64 = 1 << 4;

/// Registers of a guest thread that stopped, with what shows how it entered the host.
pub struct Stopped {
    /// The guest's registers. `rax` is not yet the number of the call.
    pub regs: Registers,
    /// Number of the system call, or negative.
    pub orig_rax: u64,
    /// Code selector: a guest may have left 64-bit mode.
    pub cs: u64,
}

impl Stopped {
    /// Whether it runs 64-bit code.
    pub fn is_64_bit(&self) -> bool {
        self.cs == USER_CS
    }
}

/// A signal, as `siginfo_t` describes it.
pub struct Raised {
    /// Its number.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`, if the signal has one.
    pub addr: u64,
    /// The processor's error code of a page fault, if the host tells.
    pub page_fault: Option<u64>,
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

/// A base of FS or GS that can be set: one that user code cannot have by a system call (it can with WRFSBASE) becomes 0.
pub fn segment_base(base: u64) -> u64 {
    if base < TASK_END { base } else { 0 }
}

/// The exit for a stop at a system call, with the registers as the boundary wants them.
///
/// `syscall` leaves the address behind it in `rcx`; the legacy `int 0x80` does not, and means a 32-bit call with other
/// numbers. Neither that nor 32-bit code is offered: both are a general protection fault, as on a kernel without them.
/// A guest that forges `rcx` only chooses which call it makes.
pub fn at_syscall(stopped: &mut Stopped) -> Exit {
    if !stopped.is_64_bit() || stopped.regs.rcx != stopped.regs.rip {
        stopped.regs.rip = stopped.regs.rip.wrapping_sub(2);
        stopped.regs.rax = stopped.orig_rax;
        return Exit::Trap(Trap::GeneralProtection);
    }
    stopped.regs.rax = stopped.orig_rax;
    Exit::Syscall
}

/// The exit for a signal that the guest's own instruction raised; `None` for one that somebody sent.
///
/// `limits` are the addresses that the guest may have something at.
pub fn at_signal(raised: &Raised, stopped: &Stopped, limits: &Range<u64>) -> Option<Exit> {
    let Raised { signal, code, addr, .. } = *raised;
    if code <= 0 {
        return None;
    }
    if !stopped.is_64_bit() {
        return Some(Exit::Trap(Trap::GeneralProtection));
    }
    match signal {
        libc::SIGSEGV if code == SEGV_MAPERR || code == SEGV_ACCERR => {
            Some(Exit::Fault { addr, access: access(raised, stopped.regs.rip) })
        }
        // Also what the guest brought about itself with protection keys, which no mapping would cure.
        libc::SIGSEGV => Some(Exit::Trap(Trap::GeneralProtection)),
        libc::SIGBUS if code == BUS_ADRALN => Some(Exit::Trap(Trap::AlignmentCheck)),
        // The host has no memory for a page of RAM, or the page is broken. To fault again would not help.
        libc::SIGBUS if limits.contains(&addr) => Some(Exit::Died),
        // Not RAM: the host's data of clocks has pages that are not always there.
        libc::SIGBUS => Some(Exit::Fault { addr, access: Access::Unknown }),
        libc::SIGILL => Some(Exit::Trap(Trap::InvalidOpcode)),
        libc::SIGFPE => Some(Exit::Trap(match code {
            FPE_INTDIV => Trap::DivideError,
            FPE_INTOVF => Trap::Overflow,
            _ => Trap::FloatingPoint(code),
        })),
        libc::SIGTRAP if code == SI_KERNEL => Some(Exit::Trap(Trap::Breakpoint)),
        libc::SIGTRAP => Some(Exit::Trap(Trap::Debug)),
        _ => None,
    }
}

/// What a page fault tried.
fn access(raised: &Raised, rip: u64) -> Access {
    match raised.page_fault {
        Some(error) if error & PAGE_FAULT_FETCH != 0 => Access::Exec,
        Some(error) if error & PAGE_FAULT_WRITE != 0 => Access::Write,
        Some(_) => Access::Read,
        None if raised.addr == rip => Access::Exec,
        None => Access::Unknown,
    }
}
