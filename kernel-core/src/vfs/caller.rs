//! What a file may know of the task that uses it. Files do not know the host, so they see a task through this.

use alloc::sync::Arc;

use crate::io::UserMemory;
use crate::task::cred::Cred;
use crate::task::namespaces::Namespaces;
use crate::task::pid_ns::PidNs;
use crate::task::session::Session;
use crate::vfs::file::AsyncOwner;

/// The task on whose behalf a file operation runs.
pub trait Caller {
    /// Process id.
    fn pid(&self) -> u32;
    /// Thread id.
    fn tid(&self) -> u32;
    /// Process group id.
    fn process_group(&self) -> u32;
    /// The session, which knows its controlling terminal.
    fn session(&self) -> Arc<Session>;
    /// Credentials now.
    fn cred(&self) -> Arc<Cred>;
    /// Its memory.
    fn memory(&self) -> &dyn UserMemory;
    /// Whether `signal` would have no effect on it: blocked or ignored.
    fn is_blocked_or_ignored(&self, signal: u8) -> bool;
    /// The soft limit of a resource, `RLIMIT_*`.
    fn rlimit(&self, resource: u32) -> u64;
    /// For signals by descriptor: takes a pending signal of `mask` (bit n-1 is signal n) off the queue.
    fn take_signal(&self, mask: u64) -> Option<crate::task::siginfo::SigInfo>;
    /// Woken with [`Events::IN`](crate::sched::wait::Events::IN) when a signal becomes pending for it, blocked or not.
    fn signal_queue(&self) -> Arc<crate::sched::wait::WaitQueue>;
    /// Whether a signal of `mask` is pending.
    fn has_signal(&self, mask: u64) -> bool;
    /// The PID namespace that it is in.
    fn pid_ns(&self) -> PidNs {
        PidNs::INITIAL
    }
    /// Its namespaces; `None`: those at boot.
    fn namespaces(&self) -> Option<Arc<Namespaces>> {
        None
    }
}

/// What the kernel does to processes for terminals, timers and files that signal. Held as an `Arc` by those.
pub trait Processes: Send + Sync {
    /// Sends a signal of the kernel to every process of a group.
    fn signal_group(&self, pgid: u32, signal: u8);
    /// Sends a signal with its information to a process, if it still exists.
    fn signal_process(&self, pid: u32, info: crate::task::siginfo::SigInfo);
    /// Sends a signal with its information to one thread of a process, if it still exists.
    fn signal_thread(&self, pid: u32, tid: u32, info: crate::task::siginfo::SigInfo);
    /// Sends a signal to the owner of an open file, as far as the user who has named it may.
    fn signal_owner(&self, owner: &AsyncOwner, info: crate::task::siginfo::SigInfo) {
        let _ = (owner, info);
    }
    /// Whether no process of the group has a parent in another group of the same session (`setpgid(2)`).
    fn is_orphaned(&self, pgid: u32) -> bool;
    /// The id of the session that process group `pgid` is in; `None`: there is no such group.
    fn session_of_group(&self, pgid: u32) -> Option<u32>;
}
