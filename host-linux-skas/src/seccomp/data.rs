//! What a stub shares with the kernel: a page of words, then the signal stack, with a signal frame at a fixed place.
//!
//! All of it can be written by the guest. What the kernel reads from it is a guest's registers, or a hint.

use crate::layout::{DATA, DATA_SIZE};
use kernel_core::host::PAGE_SIZE;

/// 1 once the guest thread has stopped; 0 while it runs. The kernel sleeps on it.
pub const POSTED: u64 = 0;
/// 1 when it may go on. It sleeps on it.
pub const GO: u64 = 64;
/// To which a sleeper on [`GO`] is moved as a proof that it sleeps.
pub const SPARE: u64 = 128;
/// Whether the kernel sleeps on [`POSTED`], and has to be woken.
pub const KERNEL_SLEEPS: u64 = 192;
/// Whether the thread sleeps on [`GO`], and has to be woken.
pub const STUB_SLEEPS: u64 = 196;
/// How the thread goes on: [`FROM_FRAME`], [`FROM_REGISTERS`] or [`FROM_REGISTERS_AND_VECTOR`].
pub const MODE: u64 = 204;
/// From the signal's frame.
pub const FROM_FRAME: u32 = 0;
/// From the [`REGISTERS`] here; its vector state is still in it.
pub const FROM_REGISTERS: u32 = 1;
/// From the [`REGISTERS`] here, and the vector state that is in the frame.
pub const FROM_REGISTERS_AND_VECTOR: u32 = 2;
/// How often the thread looks at [`GO`] before it sleeps; with 0 it stops looking at once.
pub const SPINS: u64 = 200;
/// The guest's FS base.
pub const FS_BASE: u64 = 208;
/// The guest's GS base.
pub const GS_BASE: u64 = 216;
/// Where the host put the context of the last signal (`ucontext`). The place is the same for all; the kernel looks here once.
pub const CONTEXT: u64 = 224;
/// The number of the thread; looked at before it ran a guest.
pub const THREAD: u64 = 232;

/// Whether the thread has stopped at a call site that was rewritten, with its registers in [`REGISTERS`].
pub const AT_SITE: u64 = 240;
/// Sixteen registers by the processor's numbers, then `rip` and the flags.
pub const REGISTERS: u64 = 256;

/// The signal stack.
pub const STACK: u64 = DATA + PAGE_SIZE;
/// Bytes of it.
pub const STACK_SIZE: u64 = DATA_SIZE - PAGE_SIZE;
