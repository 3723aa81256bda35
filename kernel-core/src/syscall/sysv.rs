//! System V IPC: arguments are checked here, the work is in [`crate::ipc::sysv`].

pub mod msg;
pub mod sem;
pub mod shm;

use alloc::sync::Arc;

use crate::abi::sysv::IpcPerm;
use crate::errno::{EINVAL, Result};
use crate::host::Host;
use crate::ipc::sysv::IpcNamespace;
use crate::ipc::sysv::perm::shown_in;
use crate::syscall::Cx;

/// Commands that all kinds of objects have (`IPC_*`).
const RMID: i32 = 0;
const SET: i32 = 1;
const STAT: i32 = 2;
const INFO: i32 = 3;

/// The caller's namespace.
fn namespace<H: Host>(cx: &Cx<'_, H>) -> Arc<IpcNamespace> {
    cx.task.namespaces().ipc.clone()
}

/// Permissions with ids as the caller sees them.
fn shown<H: Host>(cx: &Cx<'_, H>, perm: IpcPerm) -> IpcPerm {
    shown_in(&cx.cred().user_ns, perm)
}

/// Permissions that the caller sets, with ids as the kernel has them: EINVAL.
fn meant<H: Host>(cx: &Cx<'_, H>, perm: IpcPerm) -> Result<IpcPerm> {
    let user_ns = &cx.cred().user_ns;
    let (uid, gid) = (user_ns.uid(perm.uid).ok_or(EINVAL)?, user_ns.gid(perm.gid).ok_or(EINVAL)?);
    Ok(IpcPerm { uid, gid, ..perm })
}
