//! The first stack of a program: arguments, environment, auxiliary vector. Source: `getauxval(3)`, System V ABI.

use alloc::vec::Vec;

use crate::errno::{ENOSYS, Result};
use crate::host::Host;
use crate::mm::Mm;
use crate::mm::elf::Image;

/// What the auxiliary vector says of process and machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuxInfo {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Whether exec changed credentials (`AT_SECURE`).
    pub secure: bool,
    /// `CPUID.1:EDX` (`AT_HWCAP`).
    pub hwcap: u64,
    /// Bit 1: `rdfsbase` may be used (`AT_HWCAP2`).
    pub hwcap2: u64,
    /// Bytes that a signal frame needs at least (`AT_MINSIGSTKSZ`).
    pub min_signal_stack: u64,
}

/// What a program is started with.
pub struct Start<'a> {
    /// Arguments; Linux gives a program without any one empty string.
    pub args: &'a [Vec<u8>],
    /// Environment.
    pub env: &'a [Vec<u8>],
    /// The path that was executed (`AT_EXECFN`).
    pub path: &'a [u8],
    /// Process and machine.
    pub aux: AuxInfo,
}

/// Checks sizes as `execve` does before anything is changed: E2BIG if one string has 128 KiB or all have more
/// than a quarter of the stack limit (at most 6 MiB).
pub fn check_size(start: &Start<'_>, stack_limit: u64) -> Result<()> {
    let _ = (start, stack_limit);
    Ok(())
}

/// Maps the stack, fills it, and gives the stack pointer. E2BIG as [`check_size`], ENOMEM.
pub fn build<H: Host>(mm: &Mm<H>, image: &Image, start: &Start<'_>) -> Result<u64> {
    let _ = (mm, image, start);
    Err(ENOSYS)
}
