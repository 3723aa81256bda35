//! The TT host (traced threads): the kernel, all guest RAM and every guest process in one host address space.
//!
//! No MMU stands between guests, or between a guest and the kernel: any of them reads and writes whatever is mapped. It
//! is here to be compared with SKAS and to show what that means. What still holds is that a guest makes no system call
//! of the host: each guest thread is a thread of the host that the vCPU thread traces (PTRACE_SYSEMU).
//!
//! Every guest address space has a *window* of the one address space. Programs that go anywhere get a window each, and so
//! all of them are there at once. Spaces that need the same addresses (parent and child after a fork, programs linked
//! for an address) share a window and take turns in it: before one runs, what differs from the last one is mapped anew,
//! as hardware without address space identifiers flushes its TLB. The files:
//!
//! * [`host`](TtHost): what keeps the spaces, and how it starts.
//! * `windows`: how the address space is cut up, and who is resident where; `mappings`: what a space has mapped, and the
//!   difference of two.
//! * `space`: one guest address space.
//! * `threads`: the traced threads; `thread_code`: how one begins.
//! * [`last_words`]: what is said when a guest has wrecked the kernel; `watchdog`: when it computes for ever since;
//!   [`rseq`]: what would keep it from being said.
//!
//! Historically (Linux 2.2 to 2.6.22 as a port to itself), each process of that mode was a host process of its own, with
//! the kernel and all RAM mapped writable in each. One address space for all is the stricter form of the same thing.

mod error;
mod host;
pub mod last_words;
mod mappings;
pub mod rseq;
mod space;
mod thread_code;
mod threads;
mod watchdog;
mod windows;

pub use error::StartError;
pub use host::TtHost;
pub use space::{Tt, TtSpace};
