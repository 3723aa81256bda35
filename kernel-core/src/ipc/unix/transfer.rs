//! Sending and receiving. Sources: `send(2)`, `recv(2)`, `unix(7)`.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::errno::{
    EAGAIN, ECONNREFUSED, EFAULT, EINVAL, EISCONN, EMSGSIZE, ENOTCONN, EOPNOTSUPP, EPIPE, Result,
};
use crate::io::{Sink, Source};
use crate::ipc::unix::address::Address;
use crate::ipc::unix::message::{Credentials, Message};
use crate::ipc::unix::rights::Rights;
use crate::ipc::unix::socket::{Kind, Shut, UnixSocket, wake_blocked};
use crate::sched::wait::Events;
use crate::vfs::caller::Caller;
use crate::vfs::file::OpenFile;

/// Bytes of a stream that travel in one message.
const MOST_STREAM_BYTES: usize = 32 << 10;

/// What comes with the bytes that are sent.
pub struct Ancillary {
    /// Descriptors; taken when the first message goes.
    pub rights: Option<Rights>,
    /// Who sends.
    pub credentials: Credentials,
}

impl Ancillary {
    /// No descriptors, and the caller's real ids, as for a plain write.
    pub fn of(caller: &dyn Caller) -> Ancillary {
        let cred = caller.cred();
        let credentials = Credentials { pid: caller.pid(), uid: cred.uid, gid: cred.gid };
        Ancillary { rights: None, credentials }
    }
}

/// What becomes of what is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// It is gone.
    Away,
    /// It stays there (`MSG_PEEK`).
    Peek,
}

/// What was received.
#[derive(Default)]
pub struct Received {
    /// Bytes put into the sink.
    pub bytes: usize,
    /// Bytes the packet had, which may be more.
    pub full: usize,
    /// The sender's name; `None` if nothing was received.
    pub from: Option<Address>,
    /// The sender.
    pub credentials: Option<Credentials>,
    /// Descriptors.
    pub files: Vec<Arc<OpenFile>>,
}

impl UnixSocket {
    /// Sends what `src` has; a stream socket sends what fits and leaves the rest there. `to` is another receiver than the
    /// peer.
    ///
    /// EAGAIN while there is no room, EPIPE, ENOTCONN, EMSGSIZE, ECONNREFUSED and so on as `send(2)`.
    pub fn send(
        &self,
        src: &mut dyn Source,
        ancillary: &mut Ancillary,
        to: Option<&Arc<UnixSocket>>,
    ) -> Result<usize> {
        match self.kind() {
            Kind::Stream => self.send_stream(src, ancillary, to),
            Kind::SeqPacket => {
                let peer = self.peer()?.ok_or(EPIPE)?;
                self.send_packet(src, ancillary, &peer)
            }
            Kind::Datagram => {
                let peer = match to {
                    Some(to) => to.clone(),
                    None => match self.peer()? {
                        Some(peer) => peer,
                        None => {
                            self.check_packet(src.remaining())?;
                            self.dissociate();
                            return Err(ECONNREFUSED);
                        }
                    },
                };
                self.send_packet(src, ancillary, &peer)
            }
        }
    }

    fn send_stream(
        &self,
        src: &mut dyn Source,
        ancillary: &mut Ancillary,
        to: Option<&Arc<UnixSocket>>,
    ) -> Result<usize> {
        let peer = match (self.peer(), to) {
            (Ok(_), Some(_)) => return Err(EISCONN),
            (Err(_), Some(_)) => return Err(EOPNOTSUPP),
            (peer, None) => peer?.ok_or(EPIPE)?,
        };
        let mut total = 0;
        let result = loop {
            if self.shut().contains(Shut::SEND) || peer.shut().contains(Shut::RECEIVE) {
                break Err(EPIPE);
            }
            let len = src.remaining().min(MOST_STREAM_BYTES);
            if len == 0 {
                break Ok(());
            }
            if !self.outlet().has_room() {
                break Err(EAGAIN);
            }
            let mut data = vec![0; len];
            match src.take(&mut data) {
                Ok(0) => break Err(EFAULT),
                Ok(taken) => data.truncate(taken),
                Err(errno) => break Err(errno),
            }
            total += data.len();
            self.deliver(data, ancillary, &peer);
        };
        // Wakes once for all messages of a call.
        if total > 0 {
            peer.outlet().queue.wake(Events::IN | Events::RDNORM);
            return Ok(total);
        }
        result.map(|()| 0)
    }

    /// What of this side may keep it from sending `len` bytes at once: EMSGSIZE, an error that waits, EPIPE, EAGAIN.
    fn check_packet(&self, len: usize) -> Result<()> {
        if len > self.outlet().limit().saturating_sub(32) {
            return Err(EMSGSIZE);
        }
        if let (Kind::Datagram, Some(errno)) = (self.kind(), self.take_error()) {
            return Err(errno);
        }
        if self.shut().contains(Shut::SEND) {
            return Err(EPIPE);
        }
        if self.outlet().has_room() { Ok(()) } else { Err(EAGAIN) }
    }

    fn send_packet(
        &self,
        src: &mut dyn Source,
        ancillary: &mut Ancillary,
        peer: &Arc<UnixSocket>,
    ) -> Result<usize> {
        let len = src.remaining();
        self.check_packet(len)?;
        if self.kind() == Kind::Datagram {
            peer.check_sender(self)?;
        }
        if peer.shut().contains(Shut::RECEIVE) {
            return Err(EPIPE);
        }
        if self.kind() == Kind::Datagram && !peer.is_peer(self) {
            let mut inbox = peer.inbox.lock();
            if inbox.is_full_of_datagrams() {
                inbox.block(self.outlet());
                return Err(EAGAIN);
            }
        }
        let mut data = vec![0; len];
        src.take_all(&mut data)?;
        self.deliver(data, ancillary, peer);
        peer.outlet().queue.wake(Events::IN | Events::RDNORM);
        Ok(len)
    }

    fn deliver(&self, data: Vec<u8>, ancillary: &mut Ancillary, peer: &UnixSocket) {
        let (from, rights, credentials) = (self.name(), ancillary.rights.take(), ancillary.credentials);
        let message = Message::new(data, rights, credentials, from, self.outlet());
        peer.inbox.lock().messages.push_back(message);
    }

    /// Receives into `dst`: EAGAIN when there is nothing; no bytes at the end, which of datagrams only a caller is told who `waits`.
    pub fn receive(&self, dst: &mut dyn Sink, take: Take, waits: bool) -> Result<Received> {
        match self.kind() {
            Kind::Stream => {
                self.peer().map_err(|_| EINVAL)?;
                self.receive_stream(dst, take)
            }
            Kind::SeqPacket => {
                self.peer().map_err(|_| ENOTCONN)?;
                self.receive_packet(dst, take, true)
            }
            Kind::Datagram => match self.take_error() {
                Some(errno) => Err(errno),
                None => self.receive_packet(dst, take, waits),
            },
        }
    }

    fn receive_stream(&self, dst: &mut dyn Sink, take: Take) -> Result<Received> {
        let peek = take == Take::Peek;
        let mut received = Received::default();
        // Dropped, and so paid back to the sender, after the inbox is unlocked.
        let mut done = Vec::new();
        let mut rights = None;
        let mut result = Ok(());
        let mut inbox = self.inbox.lock();
        let mut index = 0;
        while let Some(message) = inbox.messages.get_mut(index) {
            // Bytes of different senders are not mixed if the receiver wants to know who they are.
            let mixed = received.credentials.is_some_and(|sender| sender != message.credentials);
            if mixed && self.passes_credentials() {
                break;
            }
            let offered = message.rest().len().min(dst.remaining());
            let taken = match dst.put(&message.rest()[..offered]) {
                Ok(taken) => taken,
                Err(errno) => {
                    result = Err(errno);
                    break;
                }
            };
            received.bytes += taken;
            received.credentials = Some(message.credentials);
            received.from.get_or_insert_with(|| message.from.clone());
            let whole = taken == message.rest().len();
            let had_rights = message.rights.is_some();
            if peek {
                received.files.extend(message.rights.iter().flat_map(Rights::peek));
                index += 1;
            } else {
                message.start += taken;
                rights = message.rights.take();
                if whole {
                    done.extend(inbox.messages.pop_front());
                }
            }
            // Descriptors come with the last of the bytes before the next ones.
            if !whole || had_rights || dst.remaining() == 0 {
                break;
            }
        }
        let found = index > 0 || received.credentials.is_some();
        // Looked at with the inbox locked: who shuts down does that after what was sent before.
        let shut = self.shut().contains(Shut::RECEIVE);
        drop(inbox);
        drop(done);
        received.files.extend(rights.into_iter().flat_map(Rights::take));
        received.full = received.bytes;
        if received.bytes > 0 || (found && result.is_ok()) {
            return Ok(received);
        }
        result?;
        self.nothing_there(shut)
    }

    fn receive_packet(&self, dst: &mut dyn Sink, take: Take, tells_end: bool) -> Result<Received> {
        let mut inbox = self.inbox.lock();
        if take == Take::Peek
            && let Some(message) = inbox.messages.front()
        {
            let mut received = Received::of_packet(message);
            received.bytes = put_packet(dst, message.rest())?;
            received.files.extend(message.rights.iter().flat_map(Rights::peek));
            return Ok(received);
        }
        let was_full = inbox.is_full_of_datagrams();
        let message = inbox.messages.pop_front();
        let blocked = if was_full { inbox.unblock() } else { Vec::new() };
        let shut = self.shut().contains(Shut::RECEIVE);
        drop(inbox);
        wake_blocked(blocked);
        let Some(mut message) = message else { return self.nothing_there(shut && tells_end) };
        let mut received = Received::of_packet(&message);
        // A packet is lost to a bad address, as in Linux.
        received.bytes = put_packet(dst, message.rest())?;
        received.files.extend(message.rights.take().into_iter().flat_map(Rights::take));
        Ok(received)
    }

    fn nothing_there(&self, shut: bool) -> Result<Received> {
        match self.take_error() {
            Some(errno) => Err(errno),
            None if shut => Ok(Received::default()),
            None => Err(EAGAIN),
        }
    }
}

impl Received {
    fn of_packet(message: &Message) -> Received {
        Received {
            full: message.rest().len(),
            from: Some(message.from.clone()),
            credentials: Some(message.credentials),
            ..Received::default()
        }
    }
}

/// Puts as much of a packet as fits.
fn put_packet(dst: &mut dyn Sink, bytes: &[u8]) -> Result<usize> {
    let fits = &bytes[..bytes.len().min(dst.remaining())];
    if !fits.is_empty() {
        dst.put_all(fits)?;
    }
    Ok(fits.len())
}
