//! A local socket: its names, its peer, its end. Sources: `unix(7)`, `connect(2)`, `accept(2)`, `shutdown(2)`.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use linux_raw_sys::net as sys;

use crate::errno::{
    EAGAIN, ECONNREFUSED, ECONNRESET, EINVAL, EISCONN, ENOTCONN, ENOTTY, EOPNOTSUPP, EPERM, EPROTOTYPE,
    ESOCKTNOSUPPORT, Errno, Result,
};
use crate::io::{Sink, Source};
use crate::ipc::unix::address::Address;
use crate::ipc::unix::message::{Credentials, Message, Outlet};
use crate::ipc::unix::options::Options;
use crate::ipc::unix::transfer::{Ancillary, Take};
use crate::ipc::unix::{Binding, Namespace};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::{Mutex, MutexGuard};
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFlags};
use crate::vfs::inode::Inode;

/// The longest queue of connections (`/proc/sys/net/core/somaxconn`).
const MOST_BACKLOG: usize = 4096;
/// Datagrams that wait in an inbox before senders wait (`/proc/sys/net/unix/max_dgram_qlen`).
const MOST_DATAGRAMS: usize = 10;

const READABLE: Events = Events::IN.union(Events::RDNORM);
pub(super) const WRITABLE: Events = Events::OUT.union(Events::WRNORM).union(Events::WRBAND);

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, connected.
    Stream,
    /// Packets, connected or not.
    Datagram,
    /// Packets, connected.
    SeqPacket,
}

impl Kind {
    /// Of `SOCK_*`; ESOCKTNOSUPPORT. Raw sockets are datagram sockets, as in Linux.
    pub fn from_raw(raw: u32) -> Result<Kind> {
        match raw {
            sys::SOCK_STREAM => Ok(Kind::Stream),
            sys::SOCK_DGRAM | sys::SOCK_RAW => Ok(Kind::Datagram),
            sys::SOCK_SEQPACKET => Ok(Kind::SeqPacket),
            _ => Err(ESOCKTNOSUPPORT),
        }
    }

    /// `SOCK_*`.
    pub fn raw(self) -> i32 {
        (match self {
            Kind::Stream => sys::SOCK_STREAM,
            Kind::Datagram => sys::SOCK_DGRAM,
            Kind::SeqPacket => sys::SOCK_SEQPACKET,
        }) as i32
    }
}

bitflags::bitflags! {
    /// Directions that are shut down.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Shut: u8 {
        /// Nothing more is received.
        const RECEIVE = 1;
        /// Nothing more is sent.
        const SEND = 2;
    }
}

/// A local socket.
pub struct UnixSocket {
    /// Itself, for those who are to find it.
    this: Weak<UnixSocket>,
    kind: Kind,
    namespace: Arc<Namespace>,
    outlet: Arc<Outlet>,
    shut: AtomicU8,
    /// Connected, but not accepted yet: its end is a reset for the peer.
    embryo: AtomicBool,
    pub(super) state: Mutex<State>,
    pub(super) inbox: Mutex<Inbox>,
    options: Mutex<Options>,
}

pub(super) struct State {
    pub(super) role: Role,
    name: Address,
    /// The inode that the name is of, which the socket keeps.
    inode: Option<Arc<dyn Inode>>,
    pub(super) peer_name: Address,
    peer_credentials: Option<Credentials>,
    pub(super) error: Option<Errno>,
}

#[derive(Clone)]
pub(super) enum Role {
    Idle,
    Listening,
    Connected(Weak<UnixSocket>),
}

/// What arrived.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) messages: VecDeque<Message>,
    /// Connections to accept, and how many may wait; `None`: not listening.
    pending: VecDeque<Arc<UnixSocket>>,
    backlog: Option<usize>,
    listener_credentials: Option<Credentials>,
    /// Who waits for room here.
    blocked: Vec<Weak<Outlet>>,
}

impl Inbox {
    fn is_backlog_full(&self) -> bool {
        self.backlog.is_some_and(|backlog| self.pending.len() > backlog)
    }

    pub(super) fn is_full_of_datagrams(&self) -> bool {
        self.messages.len() > MOST_DATAGRAMS
    }

    /// Wakes `outlet` when there is room again.
    pub(super) fn block(&mut self, outlet: &Arc<Outlet>) {
        self.blocked.retain(|other| other.strong_count() > 0);
        if !self.blocked.iter().any(|other| core::ptr::eq(other.as_ptr(), Arc::as_ptr(outlet))) {
            self.blocked.push(Arc::downgrade(outlet));
        }
    }

    /// Addresses of the files in its messages.
    fn files(&self) -> Vec<usize> {
        let rights = self.messages.iter().filter_map(|message| message.rights.as_ref());
        rights.flat_map(|rights| rights.files()).map(|file| Arc::as_ptr(file).addr()).collect()
    }

    /// Those who wait for room; wake them after unlocking.
    pub(super) fn unblock(&mut self) -> Vec<Weak<Outlet>> {
        core::mem::take(&mut self.blocked)
    }
}

/// Wakes those who waited for room in an inbox.
pub(super) fn wake_blocked(blocked: Vec<Weak<Outlet>>) {
    for outlet in blocked.iter().filter_map(Weak::upgrade) {
        outlet.queue.wake(WRITABLE);
    }
}

/// The caller as the other end sees it.
fn effective_credentials(caller: &dyn Caller) -> Credentials {
    let cred = caller.cred();
    Credentials { pid: caller.pid(), uid: cred.euid, gid: cred.egid }
}

impl UnixSocket {
    /// A socket without name and peer.
    pub fn new(kind: Kind, namespace: &Arc<Namespace>) -> Arc<UnixSocket> {
        Arc::new_cyclic(|this| UnixSocket {
            this: this.clone(),
            kind,
            namespace: namespace.clone(),
            outlet: Outlet::new(),
            shut: AtomicU8::new(0),
            embryo: AtomicBool::new(false),
            state: Mutex::new(State {
                role: Role::Idle,
                name: Address::Unnamed,
                inode: None,
                peer_name: Address::Unnamed,
                peer_credentials: None,
                error: None,
            }),
            inbox: Mutex::default(),
            options: Mutex::default(),
        })
    }

    /// Two sockets that are each other's peer.
    pub fn pair(
        kind: Kind,
        namespace: &Arc<Namespace>,
        caller: &dyn Caller,
    ) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
        let (one, two) = (UnixSocket::new(kind, namespace), UnixSocket::new(kind, namespace));
        for (socket, peer) in [(&one, &two), (&two, &one)] {
            let mut state = socket.state.lock();
            state.role = Role::Connected(Arc::downgrade(peer));
            state.peer_credentials = Some(effective_credentials(caller));
        }
        (one, two)
    }

    /// What it carries.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it accepts connections.
    pub fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening)
    }

    /// `getsockname`.
    pub fn name(&self) -> Address {
        self.state.lock().name.clone()
    }

    /// `getpeername`: ENOTCONN. The name outlives the peer.
    pub fn peer_name(&self) -> Result<Address> {
        let state = self.state.lock();
        match &state.role {
            Role::Connected(_) => Ok(state.peer_name.clone()),
            _ => Err(ENOTCONN),
        }
    }

    /// `SO_PEERCRED`: of who connected, listened or made the pair.
    pub fn peer_credentials(&self) -> Option<Credentials> {
        self.state.lock().peer_credentials
    }

    /// Takes the pending error (`SO_ERROR`).
    pub fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    /// Addresses of the files in messages to it, and to connections that it has not accepted; `None` if one is in use.
    pub(super) fn files_in_inbox(&self) -> Option<Vec<usize>> {
        let inbox = self.inbox.try_lock()?;
        let mut found = inbox.files();
        for server in &inbox.pending {
            found.extend(server.inbox.try_lock()?.files());
        }
        Some(found)
    }

    /// Takes all messages to it, and to connections that it has not accepted.
    pub(super) fn empty_inbox(&self) -> Vec<Message> {
        let mut inbox = self.inbox.lock();
        let mut messages: Vec<Message> = inbox.messages.drain(..).collect();
        for server in &inbox.pending {
            messages.extend(server.inbox.lock().messages.drain(..));
        }
        messages
    }

    /// Descriptors under way.
    #[cfg(test)]
    pub(super) fn flight(&self) -> &Arc<super::rights::Flight> {
        self.namespace.flight()
    }

    pub(super) fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    pub(super) fn options(&self) -> MutexGuard<'_, Options> {
        self.options.lock()
    }

    pub(super) fn shut(&self) -> Shut {
        Shut::from_bits_truncate(self.shut.load(Ordering::SeqCst))
    }

    fn shut_down(&self, directions: Shut) {
        self.shut.fetch_or(directions.bits(), Ordering::SeqCst);
    }

    pub(super) fn wake(&self, events: Events) {
        self.outlet.queue.wake(events);
    }

    /// Bytes that a read would find (`FIONREAD`).
    fn readable_bytes(&self) -> usize {
        let inbox = self.inbox.lock();
        match self.kind {
            Kind::Stream => inbox.messages.iter().map(|message| message.rest().len()).sum(),
            _ => inbox.messages.front().map_or(0, |message| message.rest().len()),
        }
    }

    /// The peer: ENOTCONN if there is none; `Ok(None)` if it is gone.
    pub(super) fn peer(&self) -> Result<Option<Arc<UnixSocket>>> {
        match &self.state.lock().role {
            Role::Connected(peer) => Ok(peer.upgrade()),
            _ => Err(ENOTCONN),
        }
    }

    /// Whether its peer is `other`.
    pub(super) fn is_peer(&self, other: &UnixSocket) -> bool {
        match &self.state.lock().role {
            Role::Connected(peer) => core::ptr::eq(peer.as_ptr(), other),
            _ => false,
        }
    }

    /// Whether `sender` may send to this datagram socket: EPROTOTYPE, and EPERM if it is connected to another.
    pub(super) fn check_sender(&self, sender: &UnixSocket) -> Result<()> {
        if self.kind != sender.kind {
            return Err(EPROTOTYPE);
        }
        match &self.state.lock().role {
            Role::Connected(peer) if !core::ptr::eq(peer.as_ptr(), sender) => Err(EPERM),
            _ => Ok(()),
        }
    }

    /// Binds to an abstract name, or for [`Address::Unnamed`] to a free one: EINVAL if it has a name, EADDRINUSE.
    pub fn bind_abstract(&self, name: &Address) -> Result<()> {
        let mut state = self.state.lock();
        match (name, &state.name) {
            (Address::Unnamed, Address::Unnamed) => {
                state.name = self.namespace.bind_automatically(&self.this)?;
                Ok(())
            }
            // It has a name; another automatic one is not needed.
            (Address::Unnamed, _) => Ok(()),
            (Address::Abstract(bytes), Address::Unnamed) => {
                self.namespace.bind(bytes, &self.this)?;
                state.name = name.clone();
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    /// Binds to a path, whose inode was just made: EINVAL if it has a name.
    pub fn bind_path(&self, name: Address, inode: &Arc<dyn Inode>) -> Result<()> {
        let attachment = inode.attachment().ok_or(EOPNOTSUPP)?;
        let mut state = self.state.lock();
        if state.name != Address::Unnamed {
            return Err(EINVAL);
        }
        state.name = name;
        state.inode = Some(inode.clone());
        *attachment.lock() = Some(Arc::new(Binding(self.this.clone())));
        Ok(())
    }

    /// `listen(2)`: EOPNOTSUPP, and EINVAL without a name or with a peer.
    pub fn listen(&self, backlog: i32, caller: &dyn Caller) -> Result<()> {
        if self.kind == Kind::Datagram {
            return Err(EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.name == Address::Unnamed || matches!(state.role, Role::Connected(_)) {
            return Err(EINVAL);
        }
        state.role = Role::Listening;
        let mut inbox = self.inbox.lock();
        // A negative length is a very long one, as in Linux.
        inbox.backlog = Some(usize::try_from(backlog).unwrap_or(usize::MAX).min(MOST_BACKLOG));
        inbox.listener_credentials = Some(effective_credentials(caller));
        let blocked = inbox.unblock();
        drop(inbox);
        drop(state);
        wake_blocked(blocked);
        Ok(())
    }

    /// Takes a connection: EOPNOTSUPP, EINVAL when not listening, EAGAIN when there is none.
    pub fn accept(&self) -> Result<Arc<UnixSocket>> {
        if self.kind == Kind::Datagram {
            return Err(EOPNOTSUPP);
        }
        let mut inbox = self.inbox.lock();
        if inbox.backlog.is_none() {
            return Err(EINVAL);
        }
        let socket = match inbox.pending.pop_front() {
            Some(socket) => socket,
            None if self.shut().contains(Shut::RECEIVE) => return Err(EINVAL),
            None => return Err(EAGAIN),
        };
        let blocked = inbox.unblock();
        drop(inbox);
        socket.embryo.store(false, Ordering::Release);
        wake_blocked(blocked);
        Ok(socket)
    }

    /// Connects to a listener: EPROTOTYPE, ECONNREFUSED, EAGAIN while its queue is full, EISCONN, EINVAL.
    pub fn connect(&self, listener: &Arc<UnixSocket>, caller: &dyn Caller) -> Result<()> {
        if listener.kind != self.kind {
            return Err(EPROTOTYPE);
        }
        let server = UnixSocket::new(self.kind, &self.namespace);
        let listener_name = listener.name();
        let mut state = self.state.lock();
        let mut inbox = listener.inbox.lock();
        if inbox.backlog.is_none() || listener.shut().contains(Shut::RECEIVE) {
            return Err(ECONNREFUSED);
        }
        if inbox.is_backlog_full() {
            inbox.block(&self.outlet);
            return Err(EAGAIN);
        }
        match state.role {
            Role::Idle => {}
            Role::Connected(_) => return Err(EISCONN),
            Role::Listening => return Err(EINVAL),
        }
        server.embryo.store(true, Ordering::Release);
        server.options.lock().inherit(&listener.options.lock());
        {
            let mut server_state = server.state.lock();
            server_state.role = Role::Connected(self.this.clone());
            server_state.name = listener_name.clone();
            server_state.peer_name = state.name.clone();
            server_state.peer_credentials = Some(effective_credentials(caller));
        }
        state.role = Role::Connected(Arc::downgrade(&server));
        state.peer_name = listener_name;
        state.peer_credentials = inbox.listener_credentials;
        inbox.pending.push_back(server);
        drop(inbox);
        drop(state);
        listener.wake(READABLE);
        self.wake(WRITABLE);
        Ok(())
    }

    /// `shutdown(2)`; without a peer it holds for this side alone, as in Linux.
    pub fn shutdown(&self, directions: Shut) {
        self.shut_down(directions);
        if let Ok(Some(peer)) = self.peer()
            && self.kind != Kind::Datagram
        {
            let mut opposite = Shut::empty();
            opposite.set(Shut::SEND, directions.contains(Shut::RECEIVE));
            opposite.set(Shut::RECEIVE, directions.contains(Shut::SEND));
            peer.shut_down(opposite);
            peer.wake(READABLE | WRITABLE | Events::RDHUP | Events::HUP);
        }
        self.wake(READABLE | WRITABLE | Events::RDHUP | Events::HUP);
    }

    /// The peer is gone; `reset` if something that was sent to it was lost.
    fn peer_gone(&self, reset: bool) {
        self.shut_down(Shut::all());
        if reset {
            self.state.lock().error = Some(ECONNRESET);
        }
        self.wake(READABLE | WRITABLE | Events::RDHUP | Events::HUP | Events::ERR);
    }

    /// Whether a datagram to the peer would have to wait for room there; the wait queue then tells.
    fn is_peer_full(&self) -> bool {
        match self.peer() {
            Ok(Some(peer)) if !peer.is_peer(self) => {
                let mut inbox = peer.inbox.lock();
                let full = inbox.is_full_of_datagrams();
                if full {
                    inbox.block(&self.outlet);
                }
                full
            }
            _ => false,
        }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let (name, role) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.name), core::mem::replace(&mut state.role, Role::Idle))
        };
        let mut inbox = core::mem::take(&mut *self.inbox.lock());
        if let Address::Abstract(bytes) = &name {
            self.namespace.release(bytes, self);
        }
        if let (Role::Connected(peer), true) = (role, self.kind != Kind::Datagram)
            && let Some(peer) = peer.upgrade()
        {
            peer.peer_gone(!inbox.messages.is_empty() || self.embryo.load(Ordering::Acquire));
        }
        wake_blocked(inbox.unblock());
        drop(inbox);
        self.namespace.flight().collect_if_due();
    }
}

impl FileOps for UnixSocket {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        match dst.remaining() {
            0 => Ok(0),
            _ => {
                let waits = !op.file.flags().contains(OpenFlags::NONBLOCK);
                self.receive(dst, Take::Away, waits).map(|received| received.bytes)
            }
        }
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        self.send(src, &mut Ancillary::of(op.caller), None)
    }

    fn poll(&self, _: Op<'_>) -> Events {
        let (connected, listening, error) = {
            let state = self.state.lock();
            let connected = matches!(state.role, Role::Connected(_));
            (connected, matches!(state.role, Role::Listening), state.error)
        };
        let shut = self.shut();
        let mut events = Events::empty();
        if error.is_some() {
            events |= Events::ERR;
        }
        if shut.contains(Shut::RECEIVE) {
            events |= Events::RDHUP | READABLE;
        }
        let unconnected = self.kind != Kind::Datagram && !connected && !listening;
        if shut == Shut::all() || unconnected {
            events |= Events::HUP;
        }
        let waiting = {
            let inbox = self.inbox.lock();
            !inbox.messages.is_empty() || !inbox.pending.is_empty()
        };
        if waiting {
            events |= READABLE;
        }
        let full = self.kind == Kind::Datagram && self.is_peer_full();
        if !listening && self.outlet.is_writable() && !full {
            events |= WRITABLE;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.outlet.queue)
    }

    fn time_limit_ns(&self, events: Events) -> Option<u64> {
        match events.contains(Events::IN) {
            true => self.receive_timeout_ns(),
            false => self.send_timeout_ns(),
        }
    }

    fn is_stream(&self) -> bool {
        self.kind == Kind::Stream
    }

    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        let bytes = match command {
            linux_raw_sys::ioctl::FIONREAD if self.is_listening() => return Err(EINVAL),
            linux_raw_sys::ioctl::FIONREAD => self.readable_bytes(),
            linux_raw_sys::ioctl::TIOCOUTQ => self.outlet.used(),
            _ => return Err(ENOTTY),
        };
        op.caller.memory().set(arg, &(bytes as u32))?;
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
