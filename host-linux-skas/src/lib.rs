//! The SKAS host: a host address space of its own for every guest address space.
//!
//! A guest space lives in a *stub*, a process that holds nothing but the guest's mappings of RAM, a page of code and a
//! page of requests. The kernel never shares memory with guests other than guest RAM, and a guest can make no system
//! call of the host: the vCPU thread traces the stub (`ptrace(2)`, PTRACE_SYSEMU), so every call stops it before the
//! host looks at it. The files:
//!
//! * [`host`](SkasHost): what keeps the spaces, and how it starts.
//! * `spawner`: the small process that makes stubs; `stub_code`: what runs in them; `layout`: where.
//! * `clock_image`: clocks that a guest reads without a call.
//! * `pool`: stubs in stock, in use and used up.
//! * `space`: one guest address space; `requests`: its pending changes as the stub reads them.
//!
//! The host itself, and what runs guest threads in a stub, is shared with TT: [`host_linux::traced`].
//!
//! What SYSEMU does not catch is the vsyscall page at the top of the address space, where the host has one: a guest can
//! call the three clock functions there and gets the host's time. They read and write nothing but the guest's memory.

mod clock_image;
mod error;
mod host;
mod layout;
mod pool;
mod requests;
mod space;
mod spawner;
mod stub_code;

pub use error::StartError;
pub use host::SkasHost;
pub use space::{Skas, SkasSpace};
