//! Names and connections of sockets: `bind(2)`, `listen(2)`, `accept(2)`, `connect(2)`, `getsockname(2)`.

use alloc::sync::Arc;

use crate::errno::{EADDRINUSE, ECONNREFUSED, EEXIST, EINVAL, Result};
use crate::host::Host;
use crate::ipc::unix::address::{AF_UNSPEC, Address};
use crate::ipc::unix::{Kind, UnixSocket};
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::socket::{socket_of, unix_of};
use crate::syscall::{Cx, SysResult, anon};
use crate::vfs::anon::AnonKind;
use crate::vfs::file::OpenFlags;
use crate::vfs::inode::{FileKind, NewNode};
use crate::vfs::permission::Access;
use crate::vfs::walk::LastLink;

/// Bytes of the largest address (`struct sockaddr_storage`).
const MAX_ADDRESS: usize = 128;

/// An address as the guest passed it.
pub struct RawAddress {
    bytes: [u8; MAX_ADDRESS],
    len: usize,
}

impl RawAddress {
    /// Reads it: EINVAL for an impossible length, EFAULT.
    pub fn read<H: Host>(cx: &Cx<'_, H>, addr: u64, len: i32) -> Result<RawAddress> {
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_ADDRESS).ok_or(EINVAL)?;
        let mut bytes = [0; MAX_ADDRESS];
        cx.user().read_bytes(addr, &mut bytes[..len])?;
        Ok(RawAddress { bytes, len })
    }

    fn parse(&self) -> Result<Address> {
        Address::parse(&self.bytes[..self.len])
    }

    /// Whether it says to dissolve an association.
    fn is_unspecified(&self) -> bool {
        self.len >= 2 && self.bytes[..2] == AF_UNSPEC.to_ne_bytes()
    }
}

/// Writes an address, as much as fits, and its whole length: EFAULT, EINVAL.
pub fn write_address<H: Host>(cx: &Cx<'_, H>, address: &Address, addr: u64, len: u64) -> Result<()> {
    let room = usize::try_from(cx.user().get::<i32>(len)?).map_err(|_| EINVAL)?;
    let bytes = address.encode();
    cx.user().write_bytes(addr, &bytes[..room.min(bytes.len())])?;
    cx.user().set(len, &(bytes.len() as u32))
}

/// The socket with a name: ECONNREFUSED if none has it, ENOENT and EACCES of paths, EINVAL for no name.
pub fn find<H: Host>(cx: &Cx<'_, H>, raw: &RawAddress) -> Result<Arc<UnixSocket>> {
    let namespace = &cx.kernel.ipc.unix;
    match raw.parse()? {
        Address::Unnamed => Err(EINVAL),
        Address::Abstract(name) => namespace.find(&name),
        Address::Path(path) => {
            let walker = cx.fs.walker(cx.caller());
            let found = walker.resolve(&cx.fs.cwd(), &path, LastLink::Follow)?;
            walker.check(&found, Access::WRITE)?;
            let inode = found.inode();
            match inode.metadata().kind() {
                FileKind::Socket => namespace.find_by_inode(&**inode),
                _ => Err(ECONNREFUSED),
            }
        }
    }
}

/// `bind(2)`.
pub fn bind<H: Host>(cx: &Cx<'_, H>, fd: RawFd, addr: u64, len: i32) -> SysResult {
    let file = socket_of(cx, fd)?;
    let socket = unix_of(&file)?;
    let name = RawAddress::read(cx, addr, len)?.parse()?;
    let Address::Path(path) = &name else {
        socket.bind_abstract(&name)?;
        return Ok(0);
    };
    if socket.name() != Address::Unnamed {
        return Err(EINVAL.into());
    }
    let mode = file.inode.metadata().mode & 0o777;
    let walker = cx.fs.walker(cx.caller());
    let made = match walker.make(&cx.fs.cwd(), path, NewNode::Socket, mode) {
        Err(errno) if errno == EEXIST => return Err(EADDRINUSE.into()),
        made => made?,
    };
    socket.bind_path(name.clone(), made.inode())?;
    Ok(0)
}

/// `listen(2)`.
pub fn listen<H: Host>(cx: &Cx<'_, H>, fd: RawFd, backlog: i32) -> SysResult {
    let file = socket_of(cx, fd)?;
    unix_of(&file)?.listen(backlog, cx.caller())?;
    Ok(0)
}

/// `connect(2)`.
pub fn connect<H: Host>(cx: &Cx<'_, H>, fd: RawFd, addr: u64, len: i32) -> SysResult {
    let file = socket_of(cx, fd)?;
    let socket = unix_of(&file)?;
    let raw = RawAddress::read(cx, addr, len)?;
    if socket.kind() == Kind::Datagram {
        match raw.is_unspecified() {
            true => socket.associate(None)?,
            false => socket.associate(Some(&find(cx, &raw)?))?,
        }
        return Ok(0);
    }
    // Looked up each time: while the queue is full, another may take over the name.
    cx.block_on(&file, Events::OUT, |_| socket.connect(&find(cx, &raw)?, cx.caller()))?;
    Ok(0)
}

/// `accept4(2)`.
pub fn accept4<H: Host>(cx: &Cx<'_, H>, fd: RawFd, addr: u64, len: u64, flags: u32) -> SysResult {
    if flags & !(anon::CLOEXEC | anon::NONBLOCK) != 0 {
        return Err(EINVAL.into());
    }
    let file = socket_of(cx, fd)?;
    let listener = unix_of(&file)?;
    let reserved = anon::reserve(cx)?;
    let socket = cx.block_on(&file, Events::IN, |_| listener.accept())?;
    if addr != 0 {
        write_address(cx, &socket.peer_name().unwrap_or_default(), addr, len)?;
    }
    let status = OpenFlags::RDWR | OpenFlags::from_bits_retain(flags & anon::NONBLOCK);
    let accepted = anon::open(cx, socket, AnonKind::Socket, status);
    Ok(anon::result(reserved.commit(accepted, anon::on_exec(flags))))
}

/// `getsockname(2)`.
pub fn getsockname<H: Host>(cx: &Cx<'_, H>, fd: RawFd, addr: u64, len: u64) -> SysResult {
    let file = socket_of(cx, fd)?;
    write_address(cx, &unix_of(&file)?.name(), addr, len)?;
    Ok(0)
}

/// `getpeername(2)`.
pub fn getpeername<H: Host>(cx: &Cx<'_, H>, fd: RawFd, addr: u64, len: u64) -> SysResult {
    let file = socket_of(cx, fd)?;
    write_address(cx, &unix_of(&file)?.peer_name()?, addr, len)?;
    Ok(0)
}
