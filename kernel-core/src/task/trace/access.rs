//! Who may look into whom: tracing, `/proc/PID`, another's memory. Source: `ptrace(2)`, "Ptrace access mode checking".

use core::sync::atomic::Ordering;

use crate::host::Host;
use crate::syscall::Cx;
use crate::task::Task;
use crate::task::cred::{Caps, Cred};

/// Which of the looker's ids and capabilities count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Those of its files: `/proc`.
    Fs,
    /// Those that are its own: `ptrace`, `process_vm_readv`.
    Real,
}

/// Whether `own` may look into a process with `other`'s credentials.
pub fn may_look(own: &Cred, by: By, other: &Cred, is_dumpable: bool) -> bool {
    if own.capable_in(&other.user_ns, Caps::SYS_PTRACE) {
        return true;
    }
    let (uid, gid, caps) = match by {
        By::Fs => (own.fsuid, own.fsgid, own.effective),
        By::Real => (own.uid, own.gid, own.permitted),
    };
    is_dumpable
        && [other.uid, other.euid, other.suid].iter().all(|id| *id == uid)
        && [other.gid, other.egid, other.sgid].iter().all(|id| *id == gid)
        && own.user_ns == other.user_ns
        && caps.contains(other.permitted)
}

impl<H: Host> Cx<'_, H> {
    /// Whether this task may look into another one, as [`By::Real`].
    pub(crate) fn may_look_into(&self, task: &Task<H>) -> bool {
        let is_dumpable = task.process.dumpable.load(Ordering::Relaxed) == 1;
        alloc::sync::Arc::ptr_eq(&task.process, &self.task.process)
            || may_look(&self.cred(), By::Real, &task.cred(), is_dumpable)
    }
}
