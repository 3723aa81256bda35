//! The SKAS host: a host address space of its own for every guest address space.
//!
//! A guest space lives in a *stub*, a process that holds nothing but the guest's mappings of RAM and a few pages of the
//! stub's own. The kernel never shares memory with guests other than guest RAM and a stub's data, and a guest can make no
//! system call of the host. There are two ways to see to that, the *traps*: a filter of system calls in the guest's own
//! thread ([`seccomp(2)`](seccomp), the fast one), and tracing ([`ptrace(2)`](ptrace)). The files:
//!
//! * [`host`](SkasHost): what keeps the spaces, and how it starts.
//! * `spawner`: the small process that makes stubs; `layout`: what lies where in them.
//! * `clock_image`: clocks that a guest reads without a call.
//! * `pool`: stubs in stock, in use and used up.
//! * `space`: one guest address space; `requests`: its pending changes as the stub reads them.
//! * `stub`: what a stub does for the kernel, over the two traps: `seccomp`, `ptrace`.
//!
//! The host itself is shared with TT: [`host_linux::host`].

mod clock_image;
mod error;
mod host;
mod layout;
mod pool;
mod ptrace;
mod requests;
mod seccomp;
mod space;
mod spawner;
mod stub;

pub use error::StartError;
pub use host::SkasHost;
pub use space::{Skas, SkasSpace};
