//! System V IPC: arguments are checked here, the work is in [`crate::ipc::sysv`].

pub mod msg;
pub mod sem;
pub mod shm;

use alloc::sync::Arc;

use crate::host::Host;
use crate::ipc::sysv::IpcNamespace;
use crate::syscall::Cx;

/// Commands that all kinds of objects have (`IPC_*`).
const RMID: i32 = 0;
const SET: i32 = 1;
const STAT: i32 = 2;
const INFO: i32 = 3;

/// The caller's namespace.
fn namespace<H: Host>(cx: &Cx<'_, H>) -> Arc<IpcNamespace> {
    cx.task.ipc_namespace()
}
