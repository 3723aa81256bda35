//! Why a host cannot start: one sentence each, for people.

use std::io;

/// What is missing on this machine.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No memfd of that size, or no room to map it.
    #[error("cannot reserve address space for guest memory ({0}): raise or lift `ulimit -v`")]
    Ram(io::Error),
    /// The process that makes guests' processes could not be started.
    #[error(
        "cannot start the processes that hold guests ({0}): is the limit of processes (`ulimit -u`) reached?"
    )]
    Spawner(io::Error),
    /// They end before they hold anything.
    #[error(
        "the processes that hold guests end at once: this machine does not let them give up the memory they start with"
    )]
    Stub,
    /// `ptrace` is refused.
    #[error(
        "this machine does not let Lodger trace its own processes ({0}): a container needs seccomp rules that allow \
         ptrace, /proc/sys/kernel/yama/ptrace_scope must be 0 or 1, and no debugger may follow its children"
    )]
    Ptrace(io::Error),
    /// Filters of system calls are refused, or something that they need is missing.
    #[error("this machine does not allow --trap seccomp ({0}): use --trap ptrace")]
    Seccomp(String),
    /// No XSAVE state: a processor or virtual machine without it.
    #[error("this machine does not give access to vector registers ({0}): a processor with XSAVE is needed")]
    Xstate(io::Error),
    /// The helper thread could not be started.
    #[error("cannot start a helper thread ({0})")]
    Thread(io::Error),
}
