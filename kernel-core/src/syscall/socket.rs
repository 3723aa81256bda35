//! Sockets: `socket(2)`, `socketpair(2)`, `shutdown(2)` and options (`socket(7)`). Local ones are the only family.

use alloc::sync::Arc;

use linux_raw_sys::net as sys;

use crate::errno::{EAFNOSUPPORT, EINVAL, ENOPROTOOPT, ENOTSOCK, EOPNOTSUPP, EPROTONOSUPPORT, Result};
use crate::host::Host;
use crate::ipc::unix::socket::Shut;
use crate::ipc::unix::{Kind, UnixSocket};
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult, anon};
use crate::vfs::anon::AnonKind;
use crate::vfs::file::{OpenFile, OpenFlags};

/// Families that Linux has numbers for.
const FAMILIES: i32 = 46;
/// `SOCK_*` numbers are below.
const KINDS: u32 = 11;
/// Bits of a socket's type that name it.
const KIND_MASK: u32 = 0xf;

/// The socket that a descriptor is: EBADF, ENOTSOCK.
pub fn socket_of<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> Result<Arc<OpenFile>> {
    let file = cx.file(fd)?;
    unix_of(&file)?;
    Ok(file)
}

/// The local socket that a file is: ENOTSOCK.
pub fn unix_of(file: &OpenFile) -> Result<&UnixSocket> {
    file.ops.as_any().downcast_ref().ok_or(ENOTSOCK)
}

/// The kind, and the flags for the descriptor.
fn parse_kind(family: i32, kind: u32, protocol: i32) -> Result<(Kind, u32)> {
    let (kind, flags) = (kind & KIND_MASK, kind & !KIND_MASK);
    if flags & !(anon::CLOEXEC | anon::NONBLOCK) != 0 {
        return Err(EINVAL);
    }
    if !(0..FAMILIES).contains(&family) {
        return Err(EAFNOSUPPORT);
    }
    if kind >= KINDS {
        return Err(EINVAL);
    }
    if family != sys::AF_UNIX as i32 {
        return Err(EAFNOSUPPORT);
    }
    if protocol != 0 && protocol != sys::AF_UNIX as i32 {
        return Err(EPROTONOSUPPORT);
    }
    Ok((Kind::from_raw(kind)?, flags))
}

/// `socket(2)`.
pub fn socket<H: Host>(cx: &Cx<'_, H>, family: i32, kind: u32, protocol: i32) -> SysResult {
    let (kind, flags) = parse_kind(family, kind, protocol)?;
    anon::install(cx, UnixSocket::new(kind, &cx.kernel.ipc.unix), AnonKind::Socket, flags)
}

/// `socketpair(2)`.
pub fn socketpair<H: Host>(cx: &Cx<'_, H>, family: i32, kind: u32, protocol: i32, fds: u64) -> SysResult {
    let (kind, flags) = parse_kind(family, kind, protocol)?;
    let (first, second) = (anon::reserve(cx)?, anon::reserve(cx)?);
    cx.user().set(fds, &[first.fd(), second.fd()])?;
    let status = OpenFlags::RDWR | OpenFlags::from_bits_retain(flags & anon::NONBLOCK);
    let (one, two) = UnixSocket::pair(kind, &cx.kernel.ipc.unix, cx.caller());
    first.commit(anon::open(cx, one, AnonKind::Socket, status), anon::on_exec(flags));
    second.commit(anon::open(cx, two, AnonKind::Socket, status), anon::on_exec(flags));
    Ok(0)
}

/// `shutdown(2)`.
pub fn shutdown<H: Host>(cx: &Cx<'_, H>, fd: RawFd, how: i32) -> SysResult {
    let file = socket_of(cx, fd)?;
    let directions = match how {
        0 => Shut::RECEIVE,
        1 => Shut::SEND,
        2 => Shut::all(),
        _ => return Err(EINVAL.into()),
    };
    unix_of(&file)?.shutdown(directions);
    Ok(0)
}

/// `setsockopt(2)`; `name` is level and name.
pub fn setsockopt<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    (level, name): (u32, u32),
    value: u64,
    len: i32,
) -> SysResult {
    let len = usize::try_from(len).map_err(|_| EINVAL)?;
    let file = socket_of(cx, fd)?;
    let socket = unix_of(&file)?;
    if level != sys::SOL_SOCKET {
        return Err(EOPNOTSUPP.into());
    }
    if len < size_of::<i32>() {
        return Err(EINVAL.into());
    }
    match name {
        sys::SO_RCVTIMEO_OLD | sys::SO_SNDTIMEO_OLD | sys::SO_RCVTIMEO_NEW | sys::SO_SNDTIMEO_NEW => {
            if len < size_of::<[i64; 2]>() {
                return Err(EINVAL.into());
            }
            let [sec, usec] = cx.user().get::<[i64; 2]>(value)?;
            socket.set_timeout(name, sec, usec)?;
        }
        sys::SO_LINGER => {
            if len < size_of::<[i32; 2]>() {
                return Err(EINVAL.into());
            }
            // Closing never waits for a local socket.
            let [on, seconds] = cx.user().get::<[i32; 2]>(value)?;
            socket.set_linger((on != 0).then_some(seconds));
        }
        _ => socket.set_option(name, cx.user().get(value)?)?,
    }
    Ok(0)
}

/// `getsockopt(2)`; `name` is level and name.
pub fn getsockopt<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    (level, name): (u32, u32),
    value: u64,
    len: u64,
) -> SysResult {
    let file = socket_of(cx, fd)?;
    let socket = unix_of(&file)?;
    if level != sys::SOL_SOCKET {
        return Err(EOPNOTSUPP.into());
    }
    let room = usize::try_from(cx.user().get::<i32>(len)?).map_err(|_| EINVAL)?;
    let put = |bytes: &[u8]| -> Result<()> {
        let fits = room.min(bytes.len());
        cx.user().write_bytes(value, &bytes[..fits])?;
        cx.user().set(len, &(fits as i32))
    };
    let time = |ns: Option<u64>| {
        let usec = ns.unwrap_or(0) / 1000;
        [(usec / 1_000_000).to_ne_bytes(), (usec % 1_000_000).to_ne_bytes()].concat()
    };
    match name {
        sys::SO_PEERCRED => {
            // Without a peer: no process, and no ids.
            let user_ns = &cx.cred().user_ns;
            let (pid, uid, gid) = socket.peer_credentials().map_or((0, u32::MAX, u32::MAX), |peer| {
                (cx.shown_pid(peer.pid), user_ns.shown_uid(peer.uid), user_ns.shown_gid(peer.gid))
            });
            put(&[pid, uid, gid].map(u32::to_ne_bytes).concat())?;
        }
        sys::SO_RCVTIMEO_OLD | sys::SO_RCVTIMEO_NEW => put(&time(socket.receive_timeout_ns()))?,
        sys::SO_SNDTIMEO_OLD | sys::SO_SNDTIMEO_NEW => put(&time(socket.send_timeout_ns()))?,
        sys::SO_LINGER => {
            let linger = socket.linger();
            put(&[i32::from(linger.is_some()), linger.unwrap_or(0)].map(i32::to_ne_bytes).concat())?;
        }
        sys::SO_PEERSEC => return Err(ENOPROTOOPT.into()),
        _ => put(&socket.option(name)?.to_ne_bytes())?,
    }
    Ok(0)
}
