//! Control messages: descriptors and credentials beside the bytes of a message. Sources: `cmsg(3)`, `unix(7)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::net as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{EFAULT, EINVAL, ENOBUFS, EPERM, ESRCH, Result};
use crate::host::Host;
use crate::ipc::unix::Ancillary;
use crate::ipc::unix::message::Credentials;
use crate::ipc::unix::rights::MOST_RIGHTS;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, anon};
use crate::task::cred::Caps;
use crate::vfs::fd::OnExec;
use crate::vfs::file::OpenFile;

/// The most bytes of control messages that are read (`/proc/sys/net/core/optmem_max`).
const MOST_CONTROL: u64 = 128 << 10;
/// Bytes of a `struct cmsghdr`; data and the next one begin at multiples of 8.
const HEADER_SIZE: u64 = 16;

/// `struct cmsghdr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    len: u64,
    level: u32,
    kind: u32,
}

/// Reads what goes with a message: EINVAL for what is malformed or unknown, EBADF, EPERM, ETOOMANYREFS, ENOBUFS.
pub fn read<H: Host>(cx: &Cx<'_, H>, (addr, len): (u64, u64), ancillary: &mut Ancillary) -> Result<()> {
    if len > MOST_CONTROL {
        return Err(ENOBUFS);
    }
    let user = cx.user();
    let mut files: Vec<Arc<OpenFile>> = Vec::new();
    let mut offset = 0;
    while len - offset >= HEADER_SIZE {
        let at = addr.checked_add(offset).ok_or(EFAULT)?;
        let header: Header = user.get(at)?;
        if header.len < HEADER_SIZE || header.len > len - offset {
            return Err(EINVAL);
        }
        let (data, data_len) = (at + HEADER_SIZE, header.len - HEADER_SIZE);
        match (header.level, header.kind) {
            (sys::SOL_SOCKET, sys::SCM_RIGHTS) => {
                let count = data_len / size_of::<RawFd>() as u64;
                if files.len() as u64 + count > MOST_RIGHTS as u64 {
                    return Err(EINVAL);
                }
                for index in 0..count {
                    let fd: RawFd = user.get(data + index * size_of::<RawFd>() as u64)?;
                    files.push(cx.file_or_path(fd)?);
                }
            }
            (sys::SOL_SOCKET, sys::SCM_CREDENTIALS) => {
                if data_len != size_of::<[u32; 3]>() as u64 {
                    return Err(EINVAL);
                }
                let [pid, uid, gid] = user.get::<[u32; 3]>(data)?;
                let user_ns = &cx.cred().user_ns;
                let uid = user_ns.uid(uid).ok_or(EINVAL)?;
                let gid = user_ns.gid(gid).ok_or(EINVAL)?;
                let pid = cx.kernel_pid(pid).ok_or(ESRCH)?;
                ancillary.credentials = checked(cx, Credentials { pid, uid, gid })?;
            }
            (sys::SOL_SOCKET, _) => return Err(EINVAL),
            _ => {}
        }
        offset = offset.saturating_add(header.len.next_multiple_of(8)).min(len);
    }
    if !files.is_empty() {
        ancillary.rights = Some(cx.kernel.ipc.unix.flight().send(files, cx.caller())?);
    }
    Ok(())
}

/// Whether the caller may say that it is this: EPERM, and ESRCH for a process that is not there.
fn checked<H: Host>(cx: &Cx<'_, H>, claimed: Credentials) -> Result<Credentials> {
    let cred = cx.cred();
    let own_uid = [cred.uid, cred.euid, cred.suid].contains(&claimed.uid);
    let own_gid = [cred.gid, cred.egid, cred.sgid].contains(&claimed.gid);
    let own_pid = claimed.pid == cx.caller().pid();
    if !(own_pid || cred.capable_in(&cx.task.process.pid_ns.user_ns(), Caps::SYS_ADMIN))
        || !(own_uid || cred.capable_here(Caps::SETUID))
        || !(own_gid || cred.capable_here(Caps::SETGID))
    {
        return Err(EPERM);
    }
    if !own_pid && cx.kernel.tree.lock().process(claimed.pid).is_none() {
        return Err(ESRCH);
    }
    Ok(claimed)
}

/// The guest's room for control messages, filled from the front.
pub struct Control {
    addr: u64,
    len: u64,
    used: u64,
    truncated: bool,
}

impl Control {
    /// Room of `len` bytes; none if `addr` is 0.
    pub fn new(addr: u64, len: u64) -> Control {
        let len = if addr == 0 { 0 } else { len };
        Control { addr, len, used: 0, truncated: false }
    }

    /// Bytes filled.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Whether something did not fit.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    fn left(&self) -> u64 {
        self.len - self.used
    }

    /// Puts a message, cut to what fits.
    fn put<H: Host>(&mut self, cx: &Cx<'_, H>, kind: u32, data: &[u8]) -> Result<()> {
        let left = self.left();
        if left < HEADER_SIZE {
            self.truncated = true;
            return Ok(());
        }
        let len = HEADER_SIZE + data.len() as u64;
        self.truncated |= len > left;
        let len = len.min(left);
        let at = self.addr.checked_add(self.used).ok_or(EFAULT)?;
        let header = Header { len, level: sys::SOL_SOCKET, kind };
        cx.user().set(at, &header)?;
        let fits = usize::try_from(len - HEADER_SIZE).unwrap_or(0).min(data.len());
        cx.user().write_bytes(at + HEADER_SIZE, &data[..fits])?;
        self.used += len.next_multiple_of(8).min(left);
        Ok(())
    }

    /// Puts the sender's credentials.
    pub fn put_credentials<H: Host>(&mut self, cx: &Cx<'_, H>, who: Credentials) -> Result<()> {
        let user_ns = &cx.cred().user_ns;
        let (uid, gid) = (user_ns.shown_uid(who.uid), user_ns.shown_gid(who.gid));
        self.put(
            cx,
            sys::SCM_CREDENTIALS,
            [cx.shown_pid(who.pid), uid, gid].map(u32::to_ne_bytes).as_flattened(),
        )
    }

    /// Gives the caller descriptors of `files`, as many as fit and it may have; the others are closed. Of `flags`
    /// MSG_CMSG_CLOEXEC counts.
    pub fn put_files<H: Host>(
        &mut self,
        cx: &Cx<'_, H>,
        files: Vec<Arc<OpenFile>>,
        flags: u32,
    ) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let room = self.left().saturating_sub(HEADER_SIZE) / size_of::<RawFd>() as u64;
        let on_exec = if flags & sys::MSG_CMSG_CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep };
        let total = files.len();
        let mut reserved = Vec::new();
        for file in files.into_iter().take(usize::try_from(room).unwrap_or(usize::MAX)) {
            // No more descriptors: the rest is lost, which the guest is told.
            let Ok(fd) = anon::reserve(cx) else { break };
            reserved.push((fd, file));
        }
        self.truncated |= reserved.len() < total;
        if reserved.is_empty() {
            return Ok(());
        }
        let fds: Vec<u8> = reserved.iter().flat_map(|(fd, _)| fd.fd().to_ne_bytes()).collect();
        self.put(cx, sys::SCM_RIGHTS, &fds)?;
        for (fd, file) in reserved {
            fd.commit(file, on_exec);
        }
        Ok(())
    }
}
