//! Who may look into another task. Source: `ptrace(2)`, "Ptrace access mode checking".

use crate::errno::{EPERM, ESRCH, Result};
use crate::host::Host;
use crate::syscall::Cx;
use crate::task::Task;
use crate::task::cred::{Caps, Cred};
use crate::task::thread::Resources;

/// Which of the caller's ids count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Real ids and permitted capabilities (`PTRACE_MODE_REALCREDS`): for calls that name a process.
    Real,
    /// File system ids and effective capabilities (`PTRACE_MODE_FSCREDS`): for files of `/proc`.
    FileSystem,
}

/// Whether `own` may look into another process with the credentials `other`.
pub fn may_look(own: &Cred, ids: Ids, other: &Cred, is_dumpable: bool) -> bool {
    if own.capable_in(&other.user_ns, Caps::SYS_PTRACE) {
        return true;
    }
    let (uid, gid, caps) = match ids {
        Ids::Real => (own.uid, own.gid, own.permitted),
        Ids::FileSystem => (own.fsuid, own.fsgid, own.effective),
    };
    is_dumpable
        && [other.uid, other.euid, other.suid].iter().all(|id| *id == uid)
        && [other.gid, other.egid, other.sgid].iter().all(|id| *id == gid)
        && own.user_ns.ino() == other.user_ns.ino()
        && caps.contains(other.permitted)
}

impl<H: Host> Cx<'_, H> {
    /// Whether the caller may look into `target` or change it: EPERM.
    pub fn check_access(&self, target: &Task<H>, ids: Ids) -> Result<()> {
        if target.process.pid == self.task.process.pid {
            return Ok(());
        }
        if may_look(&self.cred(), ids, &target.cred(), target.process.is_dumpable()) {
            Ok(())
        } else {
            Err(EPERM)
        }
    }

    /// What a task uses, for a caller that may look into it: EPERM. Together, as a program that is executed changes both;
    /// ESRCH: it has ended.
    pub(crate) fn look_into(&self, target: &Task<H>, ids: Ids) -> Result<Resources<H>> {
        let _tree = self.kernel.tree.lock();
        self.check_access(target, ids)?;
        target.resources().ok_or(ESRCH)
    }
}
