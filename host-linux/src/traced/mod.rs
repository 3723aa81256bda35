//! Guests as traced threads of the host: `ptrace(2)` with PTRACE_SYSEMU, which stops a thread at each system call before
//! the host looks at it.
//!
//! * [`tracee`]: the requests; [`trap`]: what a stop means for the guest; [`xstate`]: vector state.
//! * [`carrier`]: a traced thread, and which guest thread's state it has.
//! * [`host`]: the host that all of this makes, but for how address spaces are kept.
//! * [`vcpu`]: who runs on the vCPU, how that is interrupted, and on which processor.

pub mod carrier;
pub mod host;
pub mod tracee;
pub mod trap;
pub mod vcpu;
pub mod xstate;
