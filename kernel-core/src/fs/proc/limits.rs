//! `/proc/sys/user`: how many namespaces each user may have made. Source: `namespaces(7)`.

use alloc::format;
use alloc::vec::Vec;

use super::Facts;
use super::sysctl::number;
use super::tree::Item;
use super::tree::Item::Free;
use crate::errno::{ENOENT, EPERM, Result};
use crate::task::cred::Caps;
use crate::task::namespaces::NsKind;
use crate::vfs::caller::Caller;

pub(super) const USER: &[Item] = &[
    Free("max_cgroup_namespaces", |f, c| show(f, c, NsKind::Cgroup), |f, c, b| set(f, c, b, NsKind::Cgroup)),
    Free("max_ipc_namespaces", |f, c| show(f, c, NsKind::Ipc), |f, c, b| set(f, c, b, NsKind::Ipc)),
    Free("max_mnt_namespaces", |f, c| show(f, c, NsKind::Mnt), |f, c, b| set(f, c, b, NsKind::Mnt)),
    Free("max_net_namespaces", |f, c| show(f, c, NsKind::Net), |f, c, b| set(f, c, b, NsKind::Net)),
    Free("max_pid_namespaces", |f, c| show(f, c, NsKind::Pid), |f, c, b| set(f, c, b, NsKind::Pid)),
    Free("max_user_namespaces", |f, c| show(f, c, NsKind::User), |f, c, b| set(f, c, b, NsKind::User)),
    Free("max_uts_namespaces", |f, c| show(f, c, NsKind::Uts), |f, c, b| set(f, c, b, NsKind::Uts)),
];

fn show(facts: &Facts, caller: &dyn Caller, kind: NsKind) -> Result<Vec<u8>> {
    let counts = facts.source.ns_counts().ok_or(ENOENT)?;
    Ok(format!("{}\n", counts.limit(&caller.cred().user_ns, kind)).into_bytes())
}

/// Each user namespace has limits of its own, which its superuser sets.
fn set(facts: &Facts, caller: &dyn Caller, bytes: &[u8], kind: NsKind) -> Result<()> {
    let cred = caller.cred();
    if !cred.capable_here(Caps::SYS_RESOURCE) {
        return Err(EPERM);
    }
    let limit = number(bytes)?;
    facts.source.ns_counts().ok_or(ENOENT)?.set_limit(&cred.user_ns, kind, limit);
    Ok(())
}
