//! Sending and receiving: `send(2)`, `recv(2)`, `sendmmsg(2)`, `recvmmsg(2)`.

use alloc::sync::Arc;

use linux_raw_sys::net as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{EFAULT, EINVAL, EISCONN, EMSGSIZE, EOPNOTSUPP, EPIPE, Result};
use crate::host::Host;
use crate::io::{Sink, Source};
use crate::ipc::unix::{Ancillary, Kind, Received, Take, UnixSocket};
use crate::mm::user::{Buffers, MAX_IOVECS};
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::deadline;
use crate::syscall::socket::{socket_of, unix_of};
use crate::syscall::socket_control::{self, Control};
use crate::syscall::socket_name::{RawAddress, find, write_address};
use crate::syscall::{Cx, SysError, SysResult};
use crate::vfs::file::{OpenFile, OpenFlags};

/// The most messages of one call (`UIO_MAXIOV`).
const MOST_MESSAGES: u32 = 1024;
/// After the first message, do not wait for more (`recvmmsg`).
const MSG_WAITFORONE: u32 = 0x10000;
/// Bytes of a `struct mmsghdr`, and where its length is.
const MMSGHDR_SIZE: u64 = 64;
const MMSG_LEN_AT: u64 = 56;
/// Where a `struct msghdr` has what a receive changes.
const NAME_LEN_AT: u64 = 8;
const CONTROL_LEN_AT: u64 = 40;
const FLAGS_AT: u64 = 48;

/// `struct msghdr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct MessageHeader {
    name: u64,
    name_len: i32,
    padding: u32,
    buffers: u64,
    buffer_count: u64,
    control: u64,
    control_len: u64,
    flags: u32,
    padding_end: u32,
}

/// A socket in use: the open file and how long it may wait.
struct InUse {
    file: Arc<OpenFile>,
}

impl InUse {
    fn of<H: Host>(cx: &Cx<'_, H>, fd: RawFd) -> Result<InUse> {
        Ok(InUse { file: socket_of(cx, fd)? })
    }

    fn socket(&self) -> Result<&UnixSocket> {
        unix_of(&self.file)
    }

    fn may_wait(&self, flags: u32) -> bool {
        flags & sys::MSG_DONTWAIT == 0 && !self.file.flags().contains(OpenFlags::NONBLOCK)
    }

    fn send<H: Host>(
        &self,
        cx: &Cx<'_, H>,
        src: &mut dyn Source,
        ancillary: &mut Ancillary,
        to: Option<&RawAddress>,
        flags: u32,
    ) -> SysResult {
        if flags & sys::MSG_OOB != 0 {
            return Err(EOPNOTSUPP.into());
        }
        let socket = self.socket()?;
        // An address means nothing to a connected packet socket, and is an error to a stream.
        let to = match (to, socket.kind()) {
            (Some(raw), Kind::Datagram) => Some(find(cx, raw)?),
            (Some(_), Kind::Stream) if socket.peer_name().is_ok() => return Err(EISCONN.into()),
            (Some(_), Kind::Stream) => return Err(EOPNOTSUPP.into()),
            _ => None,
        };
        let mut total = 0;
        let result = loop {
            let mut attempt = || socket.send(src, ancillary, to.as_ref());
            let result = match self.may_wait(flags) {
                true => cx.block_on(&self.file, Events::OUT, |_| attempt()),
                false => attempt().map_err(SysError::from),
            };
            match result {
                Ok(sent) => total += sent,
                Err(error) => break Err(error),
            }
            // Where it may wait, a stream takes all.
            if socket.kind() != Kind::Stream || src.remaining() == 0 || !self.may_wait(flags) {
                break Ok(());
            }
        };
        match result {
            Err(error) if total == 0 => {
                let broken = error == SysError::Errno(EPIPE) && socket.kind() == Kind::Stream;
                if broken && flags & sys::MSG_NOSIGNAL == 0 {
                    cx.signal_broken_pipe();
                }
                Err(error)
            }
            _ => Ok(total as u64),
        }
    }

    fn receive<H: Host>(&self, cx: &Cx<'_, H>, dst: &mut dyn Sink, flags: u32) -> Result<Received, SysError> {
        if flags & sys::MSG_OOB != 0 {
            return Err(EOPNOTSUPP.into());
        }
        let socket = self.socket()?;
        let take = if flags & sys::MSG_PEEK != 0 { Take::Peek } else { Take::Away };
        let receive = |dst: &mut dyn Sink| match self.may_wait(flags) {
            true => cx.block_on(&self.file, Events::IN, |_| socket.receive(dst, take, true)),
            false => socket.receive(dst, take, false).map_err(SysError::from),
        };
        let mut received = receive(dst)?;
        let waits_for_all =
            flags & sys::MSG_WAITALL != 0 && socket.kind() == Kind::Stream && take == Take::Away;
        while waits_for_all && received.bytes > 0 && received.files.is_empty() && dst.remaining() > 0 {
            // What was received counts, whatever comes then.
            match receive(dst) {
                Ok(more) if more.bytes > 0 => {
                    received.bytes += more.bytes;
                    received.full += more.full;
                    received.files = more.files;
                }
                _ => break,
            }
        }
        Ok(received)
    }
}

/// What a receive gives to the guest: with MSG_TRUNC the length that a packet had.
fn received_len(socket: &UnixSocket, received: &Received, flags: u32) -> usize {
    let whole = flags & sys::MSG_TRUNC != 0 && socket.kind() != Kind::Stream;
    if whole { received.full } else { received.bytes }
}

/// `sendto(2)`; `to` is address and length.
pub fn sendto<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    (buf, len): (u64, u64),
    flags: u32,
    to: (u64, i32),
) -> SysResult {
    let mut src = cx.user().reader(buf, len)?;
    let socket = InUse::of(cx, fd)?;
    let to = if to.0 == 0 { None } else { Some(RawAddress::read(cx, to.0, to.1)?) };
    socket.send(cx, &mut src, &mut Ancillary::of(cx.caller()), to.as_ref(), flags)
}

/// `recvfrom(2)`; `from` is the address of an address and of its length.
pub fn recvfrom<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    (buf, len): (u64, u64),
    flags: u32,
    from: (u64, u64),
) -> SysResult {
    let mut dst = cx.user().writer(buf, len)?;
    let socket = InUse::of(cx, fd)?;
    let received = socket.receive(cx, &mut dst, flags)?;
    if from.0 != 0 {
        match received.from.as_ref().filter(|name| **name != Default::default()) {
            Some(name) => write_address(cx, name, from.0, from.1)?,
            None => cx.user().set(from.1, &0u32)?,
        }
    }
    Ok(received_len(socket.socket()?, &received, flags) as u64)
}

/// The header of a message and its buffers: EMSGSIZE for too many.
fn read_header<'a, H: Host>(cx: &'a Cx<'_, H>, addr: u64) -> Result<(MessageHeader, Buffers<'a, H>)> {
    let header: MessageHeader = cx.user().get(addr)?;
    if header.buffer_count > MAX_IOVECS {
        return Err(EMSGSIZE);
    }
    if header.name_len < 0 {
        return Err(EINVAL);
    }
    let buffers = cx.user().buffers(header.buffers, header.buffer_count)?;
    Ok((header, buffers))
}

/// `sendmsg(2)`.
pub fn sendmsg<H: Host>(cx: &Cx<'_, H>, fd: RawFd, message: u64, flags: u32) -> SysResult {
    send_message(cx, &InUse::of(cx, fd)?, message, flags)
}

fn send_message<H: Host>(cx: &Cx<'_, H>, socket: &InUse, message: u64, flags: u32) -> SysResult {
    /// `struct sockaddr_storage`: a longer name is cut, as in Linux.
    const MOST_NAME: i32 = 128;
    let (header, mut src) = read_header(cx, message)?;
    let to = match header.name != 0 && header.name_len > 0 {
        true => Some(RawAddress::read(cx, header.name, header.name_len.min(MOST_NAME))?),
        false => None,
    };
    let mut ancillary = Ancillary::of(cx.caller());
    if header.control != 0 && header.control_len > 0 {
        socket_control::read(cx, (header.control, header.control_len), &mut ancillary)?;
    }
    socket.send(cx, &mut src, &mut ancillary, to.as_ref(), flags)
}

/// `recvmsg(2)`.
pub fn recvmsg<H: Host>(cx: &Cx<'_, H>, fd: RawFd, message: u64, flags: u32) -> SysResult {
    receive_message(cx, &InUse::of(cx, fd)?, message, flags)
}

fn receive_message<H: Host>(cx: &Cx<'_, H>, socket: &InUse, message: u64, flags: u32) -> SysResult {
    let (header, mut dst) = read_header(cx, message)?;
    let mut received = socket.receive(cx, &mut dst, flags)?;
    let unix = socket.socket()?;
    let mut flags_out = flags & sys::MSG_CMSG_CLOEXEC;
    if received.full > received.bytes {
        flags_out |= sys::MSG_TRUNC;
    }
    let at = |offset: u64| message.checked_add(offset).ok_or(EFAULT);
    if header.name != 0 {
        let bytes = received.from.as_ref().filter(|name| **name != Default::default());
        let bytes = bytes.map(|name| name.encode()).unwrap_or_default();
        let fits = bytes.len().min(usize::try_from(header.name_len).unwrap_or(0));
        cx.user().write_bytes(header.name, &bytes[..fits])?;
        cx.user().set(at(NAME_LEN_AT)?, &(bytes.len() as u32))?;
    }
    let mut control = Control::new(header.control, header.control_len);
    if unix.passes_credentials()
        && let Some(credentials) = received.credentials
    {
        control.put_credentials(cx, credentials)?;
    }
    let files = core::mem::take(&mut received.files);
    control.put_files(cx, files, flags & sys::MSG_CMSG_CLOEXEC)?;
    if control.is_truncated() {
        flags_out |= sys::MSG_CTRUNC;
    }
    cx.user().set(at(FLAGS_AT)?, &flags_out)?;
    cx.user().set(at(CONTROL_LEN_AT)?, &control.used())?;
    Ok(received_len(unix, &received, flags) as u64)
}

/// Does something for each `struct mmsghdr` of an array; how many went well. An error counts only if none did.
fn for_each_message<H: Host>(
    cx: &Cx<'_, H>,
    (messages, count): (u64, u32),
    mut each: impl FnMut(u64) -> SysResult,
    mut goes_on: impl FnMut() -> bool,
) -> SysResult {
    let mut done = 0;
    for index in 0..u64::from(count.min(MOST_MESSAGES)) {
        let addr = messages.checked_add(index * MMSGHDR_SIZE).ok_or(EFAULT)?;
        let result = each(addr).and_then(|len| {
            let len_at = addr.checked_add(MMSG_LEN_AT).ok_or(EFAULT)?;
            cx.user().set(len_at, &(len as u32)).map_err(SysError::from)
        });
        match result {
            Ok(()) => done += 1,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
        if !goes_on() {
            break;
        }
    }
    Ok(done)
}

/// `sendmmsg(2)`.
pub fn sendmmsg<H: Host>(cx: &Cx<'_, H>, fd: RawFd, messages: u64, count: u32, flags: u32) -> SysResult {
    let socket = InUse::of(cx, fd)?;
    for_each_message(cx, (messages, count), |addr| send_message(cx, &socket, addr, flags), || true)
}

/// `recvmmsg(2)`. The time limit is looked at after each message only, as in Linux.
pub fn recvmmsg<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    messages: u64,
    count: u32,
    flags: u32,
    timeout: u64,
) -> SysResult {
    let deadline_ns = deadline::relative(cx, timeout)?;
    let socket = InUse::of(cx, fd)?;
    let waits_for_one = flags & MSG_WAITFORONE != 0;
    let mut now_flags = flags & !MSG_WAITFORONE;
    let receive = |addr| {
        let result = receive_message(cx, &socket, addr, now_flags);
        if waits_for_one && result.is_ok() {
            now_flags |= sys::MSG_DONTWAIT;
        }
        result
    };
    for_each_message(cx, (messages, count), receive, || {
        deadline_ns.is_none_or(|deadline| cx.services().clock.monotonic_ns() < deadline)
    })
}
