//! Who may look into another task. Source: `ptrace(2)`, "Ptrace access mode checking".

use core::sync::atomic::Ordering;

use crate::errno::{EPERM, Result};
use crate::host::Host;
use crate::syscall::Cx;
use crate::task::Task;
use crate::task::cred::Caps;

/// Which of the caller's ids count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Real ids and permitted capabilities (`PTRACE_MODE_REALCREDS`): for calls that name a process.
    Real,
    /// File system ids and effective capabilities (`PTRACE_MODE_FSCREDS`): for files of `/proc`.
    FileSystem,
}

impl<H: Host> Cx<'_, H> {
    /// Whether the caller may look into `target` or change it: EPERM.
    pub fn check_access(&self, target: &Task<H>, ids: Ids) -> Result<()> {
        if target.process.pid == self.task.process.pid {
            return Ok(());
        }
        let (own, other) = (self.cred(), target.cred());
        let (uid, gid, caps) = match ids {
            Ids::Real => (own.uid, own.gid, own.permitted),
            Ids::FileSystem => (own.fsuid, own.fsgid, own.effective),
        };
        let is_same = [other.uid, other.euid, other.suid].iter().all(|id| *id == uid)
            && [other.gid, other.egid, other.sgid].iter().all(|id| *id == gid);
        let is_dumpable = target.process.dumpable.load(Ordering::Relaxed) == 1;
        if own.capable_in(&other.user_ns, Caps::SYS_PTRACE)
            || is_same
                && is_dumpable
                && own.user_ns.ino() == other.user_ns.ino()
                && caps.contains(other.permitted)
        {
            Ok(())
        } else {
            Err(EPERM)
        }
    }
}
