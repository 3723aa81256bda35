//! System calls: from a trap to a handler and back.
//!
//! [`table`] lists every call once, with its number, name, argument kinds and handler; dispatch, `--strace` and the
//! compatibility page are made from that list. A handler is a plain function of [`Cx`] and its arguments, in one file a
//! family; it checks arguments and leaves the work to the object they speak to.
//!
//! To add a call: write its handler into the family's file and add a line to the table.

mod aio;
pub mod anon;
pub mod args;
pub mod creds;
pub mod cx;
pub mod deadline;
pub mod epoll;
pub mod eventfds;
pub mod fcntl;
pub mod fd;
pub mod file_attr;
pub mod file_dir;
pub mod file_io;
pub mod file_names;
pub mod file_open;
pub mod file_stat;
pub mod futex;
mod futex_pi;
mod futex_waitv;
pub mod handles;
pub mod ids;
pub mod inotify;
mod ioprio;
pub mod locks;
mod membarrier;
pub mod memory;
pub mod mount;
pub mod mount_api;
pub mod mqueue;
pub mod namespaces;
mod obsolete;
pub mod paths;
pub mod pipe;
pub mod poll;
pub mod prctl;
pub mod priority;
pub mod process;
pub mod ptrace;
mod ptrace_regs;
pub mod quota;
mod remote;
pub mod resource;
pub mod scheduling;
mod scheduling_attr;
pub mod seccomp;
pub mod signals;
pub mod socket;
pub mod socket_control;
pub mod socket_message;
pub mod socket_name;
pub mod splice;
pub mod system;
pub mod sysv;
pub mod table;
mod table_files;
mod table_ipc;
mod table_more;
mod table_sysv;
pub mod time;
pub mod timers;
pub mod xattr;

use crate::errno::{EINTR, ERESTART, Errno};

pub use args::{Arg, Args};
pub use cx::{Cx, Wait};

/// What a system call gives: the value for `rax`, or why there is none.
pub type SysResult = Result<u64, SysError>;

/// Why a call has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysError {
    /// It failed.
    Errno(Errno),
    /// A signal came first. What the guest sees is decided in one place, where the signal is delivered
    /// (`task/signal/deliver`): the call starts again, or ends with EINTR.
    Restart(Restart),
}

/// When an interrupted call starts again. Source: `signal(7)`, "Interruption of system calls".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// If no handler runs, or one with SA_RESTART.
    WithFlag,
    /// Only if no handler runs.
    WithoutHandler,
    /// Always.
    Always,
    /// If no handler runs, through `restart_syscall` and what [`Cx::restart_with`] has kept.
    Kept,
}

impl From<Errno> for SysError {
    /// ERESTART is how file operations, which know nothing of restarts, ask for one.
    fn from(errno: Errno) -> SysError {
        if errno == ERESTART { SysError::Restart(Restart::WithFlag) } else { SysError::Errno(errno) }
    }
}

impl SysError {
    /// What the call ends with if it does not start again.
    pub fn errno(self) -> Errno {
        match self {
            SysError::Errno(errno) => errno,
            SysError::Restart(_) => EINTR,
        }
    }
}
