//! `shmget(2)`, `shmat(2)`, `shmdt(2)`, `shmctl(2)`.

use linux_raw_sys::general as sys;

use super::{INFO, RMID, SET, STAT, meant, namespace, shown};
use crate::abi::sysv::ShmidDs;
use crate::errno::{EINVAL, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::ipc::sysv::ids::Which;
use crate::ipc::sysv::perm::{READ, WRITE};
use crate::ipc::sysv::shm::{Attachment, Locking, Stat};
use crate::mm::map::Object;
use crate::mm::shm::Place;
use crate::syscall::{Cx, SysResult};
use crate::vfs::file::OpenFlags;

const RDONLY: u32 = 0o10000;
const RND: u32 = 0o20000;
const REMAP: u32 = 0o40000;
const EXEC: u32 = 0o100000;

const LOCK: i32 = 11;
const UNLOCK: i32 = 12;
const STAT_PLACE: i32 = 13;
const SHM_INFO: i32 = 14;
const STAT_ANY: i32 = 15;

/// `shmget(2)`.
pub fn shmget<H: Host>(cx: &Cx<'_, H>, key: i32, size: u64, flags: u32) -> SysResult {
    let ipc = namespace(cx);
    Ok(ipc.shm.get(&ipc.limits, cx, cx.services(), (key, size, flags))? as u64)
}

fn place(addr: u64, flags: u32) -> Result<Place> {
    if addr == 0 {
        return if flags & REMAP != 0 { Err(EINVAL) } else { Ok(Place::Free) };
    }
    let start = if flags & RND != 0 { addr - addr % PAGE_SIZE } else { addr };
    if !start.is_multiple_of(PAGE_SIZE) || start == 0 && flags & REMAP != 0 {
        return Err(EINVAL);
    }
    Ok(if flags & REMAP != 0 { Place::Instead(start) } else { Place::At(start) })
}

/// `shmat(2)`.
pub fn shmat<H: Host>(cx: &Cx<'_, H>, id: i32, addr: u64, flags: u32) -> SysResult {
    if id < 0 {
        return Err(EINVAL.into());
    }
    let place = place(addr, flags)?;
    let (mut prot, mut wanted, mut open) = (sys::PROT_READ, READ, OpenFlags::empty());
    if flags & RDONLY == 0 {
        (prot, wanted, open) = (prot | sys::PROT_WRITE, READ | WRITE, OpenFlags::RDWR);
    }
    if flags & EXEC != 0 {
        (prot, wanted) = (prot | sys::PROT_EXEC, wanted | 0o111);
    }
    let (file, pages) = namespace(cx).shm.attach(id, cx, cx.services(), (wanted, open))?;
    let attachment = Attachment::of(&file).ok_or(EINVAL)?;
    let size = attachment.size();
    if let Place::At(addr) = place {
        addr.checked_add(size).ok_or(EINVAL)?;
    }
    let object = Object::File { pages, file: Some(file.clone()), offset: 0 };
    let addr = cx.mm.attach(place, prot, size, object)?;
    attachment.note_mapped();
    Ok(addr)
}

/// `shmdt(2)`.
pub fn shmdt<H: Host>(cx: &Cx<'_, H>, addr: u64) -> SysResult {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(EINVAL.into());
    }
    cx.mm.detach(addr)?;
    Ok(0)
}

/// `shmctl(2)`.
pub fn shmctl<H: Host>(cx: &Cx<'_, H>, id: i32, command: i32, buf: u64) -> SysResult {
    if id < 0 || command < 0 {
        return Err(EINVAL.into());
    }
    let ipc = namespace(cx);
    let (shm, cred) = (&ipc.shm, cx.cred());
    match command {
        INFO => {
            let (limits, highest) = shm.limits(&ipc.limits);
            cx.user().set(buf, &limits)?;
            Ok(highest.into())
        }
        SHM_INFO => {
            let (info, highest) = shm.info();
            cx.user().set(buf, &info)?;
            Ok(highest.into())
        }
        STAT | STAT_PLACE | STAT_ANY => {
            let which = if command == STAT { Which::Id(id) } else { Which::Place(id) };
            let Stat { id: found, ds, .. } = shm.stat(which, (command != STAT_ANY).then_some(&*cred))?;
            let [cpid, lpid] = [ds.cpid, ds.lpid].map(|pid| cx.shown_pid(pid));
            cx.user().set(buf, &ShmidDs { perm: shown(cx, ds.perm), cpid, lpid, ..ds })?;
            Ok(if command == STAT { 0 } else { found as u64 })
        }
        SET => {
            let new: ShmidDs = cx.user().get(buf)?;
            shm.set(id, &cred, &meant(cx, new.perm)?, cx.services())?;
            Ok(0)
        }
        RMID => {
            shm.remove(id, &cred)?;
            Ok(0)
        }
        LOCK | UNLOCK => {
            shm.lock(id, cx, if command == LOCK { Locking::Lock } else { Locking::Unlock })?;
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}
