//! Credentials: user and group ids, capabilities. Source: `credentials(7)`, `setresuid(2)`, `capabilities(7)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{EFAULT, EINVAL, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::{ALL_CAPS, Caps, Cred};

/// What "leave it" is for an id.
const KEEP: u32 = u32::MAX;
/// `NGROUPS_MAX`.
const GROUPS_MAX: usize = 65536;

/// Sets credentials; the process's other threads keep theirs, as on Linux (the C library tells them).
fn set<H: Host>(cx: &Cx<'_, H>, cred: Cred) {
    if cx.task.with_cred(|now| cred.is_other_than(now)) {
        let process = &cx.task.process;
        process.dumpable.store(0, core::sync::atomic::Ordering::Relaxed);
        process.parent_death_signal.store(0, core::sync::atomic::Ordering::Relaxed);
    }
    cx.task.process.uid.store(cred.uid, core::sync::atomic::Ordering::Relaxed);
    cx.task.set_cred(cred);
}

fn copy<H: Host>(cx: &Cx<'_, H>) -> Cred {
    Cred::clone(&cx.cred())
}

/// `setuid(2)`.
pub fn setuid<H: Host>(cx: &Cx<'_, H>, uid: u32) -> SysResult {
    if uid == KEEP {
        return Err(EINVAL.into());
    }
    let mut cred = copy(cx);
    let before = cred.clone();
    let uid = cred.user_ns.uid(uid).ok_or(EINVAL)?;
    if cred.capable_here(Caps::SETUID) {
        (cred.uid, cred.suid) = (uid, uid);
    } else if uid != cred.uid && uid != cred.suid {
        return Err(EPERM.into());
    }
    (cred.euid, cred.fsuid) = (uid, uid);
    cred.after_uid_change(&before);
    set(cx, cred);
    Ok(0)
}

/// `setgid(2)`.
pub fn setgid<H: Host>(cx: &Cx<'_, H>, gid: u32) -> SysResult {
    if gid == KEEP {
        return Err(EINVAL.into());
    }
    let mut cred = copy(cx);
    let gid = cred.user_ns.gid(gid).ok_or(EINVAL)?;
    if cred.capable_here(Caps::SETGID) {
        (cred.gid, cred.sgid) = (gid, gid);
    } else if gid != cred.gid && gid != cred.sgid {
        return Err(EPERM.into());
    }
    (cred.egid, cred.fsgid) = (gid, gid);
    set(cx, cred);
    Ok(0)
}

/// `setreuid(2)`.
pub fn setreuid<H: Host>(cx: &Cx<'_, H>, real: u32, effective: u32) -> SysResult {
    let mut cred = copy(cx);
    let before = cred.clone();
    let privileged = cred.capable_here(Caps::SETUID);
    let (real, effective) = (user_id(&cred, real)?, user_id(&cred, effective)?);
    if real != KEEP && !privileged && real != before.uid && real != before.euid
        || effective != KEEP && !privileged && ![before.uid, before.euid, before.suid].contains(&effective)
    {
        return Err(EPERM.into());
    }
    if real != KEEP {
        cred.uid = real;
    }
    if effective != KEEP {
        cred.euid = effective;
    }
    if real != KEEP || effective != KEEP && effective != before.uid {
        cred.suid = cred.euid;
    }
    cred.fsuid = cred.euid;
    cred.after_uid_change(&before);
    set(cx, cred);
    Ok(0)
}

/// `setregid(2)`.
pub fn setregid<H: Host>(cx: &Cx<'_, H>, real: u32, effective: u32) -> SysResult {
    let mut cred = copy(cx);
    let before = cred.clone();
    let privileged = cred.capable_here(Caps::SETGID);
    let (real, effective) = (group_id(&cred, real)?, group_id(&cred, effective)?);
    if real != KEEP && !privileged && real != before.gid && real != before.egid
        || effective != KEEP && !privileged && ![before.gid, before.egid, before.sgid].contains(&effective)
    {
        return Err(EPERM.into());
    }
    if real != KEEP {
        cred.gid = real;
    }
    if effective != KEEP {
        cred.egid = effective;
    }
    if real != KEEP || effective != KEEP && effective != before.gid {
        cred.sgid = cred.egid;
    }
    cred.fsgid = cred.egid;
    set(cx, cred);
    Ok(0)
}

/// `setresuid(2)`.
pub fn setresuid<H: Host>(cx: &Cx<'_, H>, ids: [u32; 3]) -> SysResult {
    let mut cred = copy(cx);
    let [real, effective, saved] = ids;
    let ids = [user_id(&cred, real)?, user_id(&cred, effective)?, user_id(&cred, saved)?];
    let before = cred.clone();
    let own = [before.uid, before.euid, before.suid];
    if !before.capable_here(Caps::SETUID) && ids.iter().any(|id| *id != KEEP && !own.contains(id)) {
        return Err(EPERM.into());
    }
    for (place, id) in [&mut cred.uid, &mut cred.euid, &mut cred.suid].into_iter().zip(ids) {
        if id != KEEP {
            *place = id;
        }
    }
    cred.fsuid = cred.euid;
    cred.after_uid_change(&before);
    set(cx, cred);
    Ok(0)
}

/// `setresgid(2)`.
pub fn setresgid<H: Host>(cx: &Cx<'_, H>, ids: [u32; 3]) -> SysResult {
    let mut cred = copy(cx);
    let [real, effective, saved] = ids;
    let ids = [group_id(&cred, real)?, group_id(&cred, effective)?, group_id(&cred, saved)?];
    let own = [cred.gid, cred.egid, cred.sgid];
    if !cred.capable_here(Caps::SETGID) && ids.iter().any(|id| *id != KEEP && !own.contains(id)) {
        return Err(EPERM.into());
    }
    for (place, id) in [&mut cred.gid, &mut cred.egid, &mut cred.sgid].into_iter().zip(ids) {
        if id != KEEP {
            *place = id;
        }
    }
    cred.fsgid = cred.egid;
    set(cx, cred);
    Ok(0)
}

/// `setfsuid(2)`: gives the old one, whatever happens.
pub fn setfsuid<H: Host>(cx: &Cx<'_, H>, uid: u32) -> SysResult {
    let mut cred = copy(cx);
    let old = cred.user_ns.shown_uid(cred.fsuid);
    if let Some(uid) = cred.user_ns.uid(uid)
        && (cred.capable_here(Caps::SETUID) || [cred.uid, cred.euid, cred.suid, cred.fsuid].contains(&uid))
    {
        let before = cred.clone();
        cred.fsuid = uid;
        cred.after_fsuid_change(&before);
        set(cx, cred);
    }
    Ok(u64::from(old))
}

/// `setfsgid(2)`: gives the old one, whatever happens.
pub fn setfsgid<H: Host>(cx: &Cx<'_, H>, gid: u32) -> SysResult {
    let mut cred = copy(cx);
    let old = cred.user_ns.shown_gid(cred.fsgid);
    if let Some(gid) = cred.user_ns.gid(gid)
        && (cred.capable_here(Caps::SETGID) || [cred.gid, cred.egid, cred.sgid, cred.fsgid].contains(&gid))
    {
        cred.fsgid = gid;
        set(cx, cred);
    }
    Ok(u64::from(old))
}

/// An argument that is a user id, as the kernel has it, or says to keep what is there. EINVAL: it is not mapped.
fn user_id(cred: &Cred, id: u32) -> Result<u32> {
    if id == KEEP { Ok(KEEP) } else { cred.user_ns.uid(id).ok_or(EINVAL) }
}

/// The same for a group id.
fn group_id(cred: &Cred, id: u32) -> Result<u32> {
    if id == KEEP { Ok(KEEP) } else { cred.user_ns.gid(id).ok_or(EINVAL) }
}

/// `getresuid(2)`.
pub fn getresuid<H: Host>(cx: &Cx<'_, H>, addrs: [u64; 3]) -> SysResult {
    let cred = cx.cred();
    get_three(cx, [cred.uid, cred.euid, cred.suid].map(|id| cred.user_ns.shown_uid(id)), addrs)
}

/// `getresgid(2)`.
pub fn getresgid<H: Host>(cx: &Cx<'_, H>, addrs: [u64; 3]) -> SysResult {
    let cred = cx.cred();
    get_three(cx, [cred.gid, cred.egid, cred.sgid].map(|id| cred.user_ns.shown_gid(id)), addrs)
}

fn get_three<H: Host>(cx: &Cx<'_, H>, values: [u32; 3], addrs: [u64; 3]) -> SysResult {
    for (addr, value) in addrs.into_iter().zip(values) {
        cx.user().set(addr, &value)?;
    }
    Ok(0)
}

/// `getgroups(2)`.
pub fn getgroups<H: Host>(cx: &Cx<'_, H>, size: i32, list: u64) -> SysResult {
    let groups = cx.cred().groups.clone();
    let size = usize::try_from(size).map_err(|_| EINVAL)?;
    if size != 0 {
        if groups.len() > size {
            return Err(EINVAL.into());
        }
        let cred = cx.cred();
        let shown: Vec<u32> = groups.iter().map(|gid| cred.user_ns.shown_gid(*gid)).collect();
        cx.user().write_bytes(list, shown.as_bytes())?;
    }
    Ok(groups.len() as u64)
}

/// `setgroups(2)`.
pub fn setgroups<H: Host>(cx: &Cx<'_, H>, size: i32, list: u64) -> SysResult {
    if !cx.cred().capable_here(Caps::SETGID) || !cx.cred().user_ns.may_setgroups() {
        return Err(EPERM.into());
    }
    let size = usize::try_from(size).ok().filter(|size| *size <= GROUPS_MAX).ok_or(EINVAL)?;
    let mut groups: Vec<u32> = alloc::vec![0; size];
    cx.user().read_bytes(list, groups.as_mut_slice().as_mut_bytes())?;
    let mut cred = copy(cx);
    for group in &mut groups {
        *group = cred.user_ns.gid(*group).ok_or(EINVAL)?;
    }
    groups.sort_unstable();
    cred.groups = Arc::from(groups);
    cx.task.set_cred(cred);
    Ok(0)
}

/// `struct __user_cap_header_struct`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// Number of 32-bit words for the header's version. EINVAL, and the version we prefer is stored, for unknown ones.
fn cap_words<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<(CapHeader, usize)> {
    let header: CapHeader = cx.user().get(addr)?;
    match header.version {
        VERSION_1 => Ok((header, 1)),
        VERSION_2 | VERSION_3 => Ok((header, 2)),
        _ => {
            cx.user().set(addr, &VERSION_3)?;
            Err(EINVAL)
        }
    }
}

/// `capget(2)`.
pub fn capget<H: Host>(cx: &Cx<'_, H>, header: u64, data: u64) -> SysResult {
    let (head, words) = match cap_words(cx, header) {
        // Asking with no data is how programs learn the version.
        Err(EINVAL) if data == 0 => return Ok(0),
        other => other?,
    };
    let cred = match u32::try_from(head.pid).map_err(|_| EINVAL)? {
        0 => cx.cred(),
        pid => cx.thread_numbered(pid).ok_or(ESRCH)?.cred(),
    };
    if data == 0 {
        return Err(EFAULT.into());
    }
    for word in 0..words {
        let part = |caps: Caps| (caps.bits() >> (32 * word)) as u32;
        let value = CapData {
            effective: part(cred.effective),
            permitted: part(cred.permitted),
            inheritable: part(cred.inheritable),
        };
        cx.user().set(data + (word * size_of::<CapData>()) as u64, &value)?;
    }
    Ok(0)
}

/// `capset(2)`.
pub fn capset<H: Host>(cx: &Cx<'_, H>, header: u64, data: u64) -> SysResult {
    let (head, words) = cap_words(cx, header)?;
    if head.pid != 0 && u32::try_from(head.pid).ok() != Some(cx.task.own_tid()) {
        return Err(EPERM.into());
    }
    let (mut effective, mut permitted, mut inheritable) = (0u64, 0u64, 0u64);
    for word in 0..words {
        let value: CapData = cx.user().get(data.wrapping_add((word * size_of::<CapData>()) as u64))?;
        effective |= u64::from(value.effective) << (32 * word);
        permitted |= u64::from(value.permitted) << (32 * word);
        inheritable |= u64::from(value.inheritable) << (32 * word);
    }
    let caps = |bits: u64| Caps::from_bits_retain(bits) & ALL_CAPS;
    let (effective, permitted, inheritable) = (caps(effective), caps(permitted), caps(inheritable));
    let mut cred = copy(cx);
    let gains = !cred.permitted.contains(permitted)
        || !permitted.contains(effective)
        || !(cred.inheritable | cred.permitted).contains(inheritable) && !cred.capable_here(Caps::SETPCAP)
        || !(cred.inheritable | cred.bounding).contains(inheritable);
    if gains {
        return Err(EPERM.into());
    }
    (cred.effective, cred.permitted, cred.inheritable) = (effective, permitted, inheritable);
    cred.ambient &= permitted & inheritable;
    cx.task.set_cred(cred);
    Ok(0)
}
