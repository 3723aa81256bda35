//! Why a host cannot start: one sentence each, for people.

use std::io;

/// What is missing on this machine.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No memfd of that size, or no room to map it.
    #[error("cannot reserve address space for guest memory ({0}): raise or lift `ulimit -v`")]
    Ram(io::Error),
    /// The host limits the size of address spaces.
    #[error("cannot reserve 69 TiB of addresses for guests ({0}): lift `ulimit -v`, or use --backend skas")]
    Windows(io::Error),
    /// Something lies where guests are to be: the host maps libraries at low addresses.
    #[error("the addresses of guests are taken: limit the stack (`ulimit -s 8192`), or use --backend skas")]
    Taken,
    /// `clone` is refused.
    #[error("cannot start a thread for guests ({0}): is the limit of processes (`ulimit -u`) reached?")]
    Thread(io::Error),
    /// `ptrace` is refused.
    #[error(
        "this machine does not let Lodger trace its own threads ({0}): a container needs seccomp rules that allow \
         ptrace, /proc/sys/kernel/yama/ptrace_scope must be 0 or 1, and no debugger may follow its children"
    )]
    Ptrace(io::Error),
    /// No XSAVE state: a processor or virtual machine without it.
    #[error("this machine does not give access to vector registers ({0}): a processor with XSAVE is needed")]
    Xstate(io::Error),
    /// The helper thread could not be started.
    #[error("cannot start a helper thread ({0})")]
    Helper(io::Error),
}
