//! What a stop of a stub means for the guest.

use std::ops::Range;

use kernel_core::host::{Access, Exit, Trap};

use crate::traced::tracee::Stopped;

// `si_code` values of <asm-generic/siginfo.h>.
const SI_KERNEL: i32 = 0x80;
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const FPE_INTDIV: i32 = 1;
const FPE_INTOVF: i32 = 2;
const BUS_ADRALN: i32 = 1;

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
/// The host does not tell whether a fault was a load or a store. `limits` are the addresses that the guest may have
/// something at.
pub fn at_signal(
    signal: i32,
    info: &libc::siginfo_t,
    stopped: &Stopped,
    limits: &Range<u64>,
) -> Option<Exit> {
    let code = info.si_code;
    if code <= 0 {
        return None;
    }
    if !stopped.is_64_bit() {
        return Some(Exit::Trap(Trap::GeneralProtection));
    }
    // SAFETY: the signals below carry an address when their code is positive.
    let addr = unsafe { info.si_addr() }.addr() as u64;
    match signal {
        libc::SIGSEGV if code == SEGV_MAPERR || code == SEGV_ACCERR => {
            let access = if addr == stopped.regs.rip { Access::Exec } else { Access::Unknown };
            Some(Exit::Fault { addr, access })
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
