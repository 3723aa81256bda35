//! Guests as traced threads of the host: `ptrace(2)` with PTRACE_SYSEMU, which stops a thread at each system call before
//! the host looks at it.
//!
//! * [`tracee`]: the requests.
//! * [`carrier`]: a traced thread, and which guest thread's state it has.

pub mod carrier;
pub mod tracee;
