//! x86-64: system call convention, flags, vector state, signal frames.

pub mod signal_frame;
pub mod xsave;

use crate::host::{Access, Registers};
use crate::syscall::Args;

/// Bytes of the `syscall` instruction.
pub const SYSCALL_LEN: u64 = 2;

/// The user code and stack segment selectors, as Linux has them.
pub const USER_CS: u16 = 0x33;
/// See [`USER_CS`].
pub const USER_SS: u16 = 0x2b;

/// Carry, parity, adjust, zero, sign, trap, direction, overflow, resume and alignment check: what a signal frame may set.
pub const USER_FLAGS: u64 = 0x0005_0dd5;
/// Direction flag.
pub const FLAG_DF: u64 = 1 << 10;
/// Trap flag.
pub const FLAG_TF: u64 = 1 << 8;
/// Resume flag.
pub const FLAG_RF: u64 = 1 << 16;
/// What is set in every guest thread: interrupts, and the bit that is always one.
pub const FLAGS_FIXED: u64 = 0x202;

/// The highest address a guest may name, plus one: what Linux calls TASK_SIZE.
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Arguments of the call that the registers describe.
pub fn syscall_args(regs: &Registers) -> Args {
    Args([regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9])
}

/// Registers of a program that starts at `entry` with its stack pointer at `stack`.
pub fn start_registers(entry: u64, stack: u64) -> Registers {
    Registers { rip: entry, rsp: stack, rflags: FLAGS_FIXED, ..Registers::default() }
}

/// Whether an address is one that FS or GS base may have: canonical, and in the lower half.
pub fn is_user_base(addr: u64) -> bool {
    addr < USER_END
}

/// The error code of a page fault of a program at `addr`; 0 if the host cannot tell. The kernel's addresses are all said to be
/// there, as Linux has it.
pub fn page_fault_error(access: Access, is_mapped: bool, addr: u64) -> u8 {
    const PRESENT: u8 = 1;
    const WRITE: u8 = 2;
    const USER: u8 = 4;
    const FETCH: u8 = 16;
    let kind = match access {
        Access::Read => 0,
        Access::Write => WRITE,
        Access::Exec => FETCH,
        Access::Unknown => return 0,
    };
    let present = if is_mapped || addr >= USER_END { PRESENT } else { 0 };
    USER | present | kind
}
