//! Message queues. Sources: `msgget(2)`, `msgop(2)`, `msgctl(2)`.
//!
//! A message goes straight to the first receiver that waits for one of its kind. Senders that found no room are woken
//! when there may be some, and try again.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::abi::sysv::{IpcPerm, MsgInfo, MsqidDs};
use crate::errno::{E2BIG, EAGAIN, EIDRM, EINVAL, ENOMSG, EPERM, Result};
use crate::ipc::sysv::ids::{Ids, Which};
use crate::ipc::sysv::limits::Limits;
use crate::ipc::sysv::perm::{Perm, READ, WRITE};
use crate::ipc::sysv::{Held, Room, now};
use crate::sched::wait::{Events, WaitQueue};
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::cred::{Caps, Cred};
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;

/// `MSG_NOERROR`, `MSG_EXCEPT`, `MSG_COPY`.
const NO_ERROR: u32 = 0o10000;
const EXCEPT: u32 = 0o20000;
/// A message stays in the queue, and is chosen by its place.
pub const COPY: u32 = 0o40000;

/// All queues of a namespace.
pub struct Queues {
    room: Arc<Room>,
    user_ns: UserNs,
    table: Mutex<Ids<Queue>>,
}

/// A queue.
pub struct Queue {
    id: i32,
    state: Mutex<State>,
    /// Woken when there may be room.
    pub senders: WaitQueue,
    _held: Held,
}

struct State {
    perm: Perm,
    stime: i64,
    rtime: i64,
    ctime: i64,
    bytes: u64,
    max_bytes: u64,
    lspid: u32,
    lrpid: u32,
    messages: VecDeque<Arc<Message>>,
    receivers: VecDeque<Arc<Receiver>>,
    removed: bool,
}

/// A message.
pub struct Message {
    /// Its type, above 0.
    pub kind: i64,
    /// Its text.
    pub text: Vec<u8>,
    _held: Held,
}

/// Which message is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The first.
    Any,
    /// The first of this type.
    Of(i64),
    /// The first of another type.
    NotOf(i64),
    /// The first of the lowest type up to this.
    UpTo(i64),
    /// The one in this place.
    Place(i64),
}

impl Wanted {
    /// As `msgrcv(2)` says it: EINVAL.
    pub fn new(kind: i64, flags: u32) -> Result<Wanted> {
        if flags & COPY != 0 && (flags & EXCEPT != 0 || flags & super::NO_WAIT == 0) {
            return Err(EINVAL);
        }
        Ok(match kind {
            place if flags & COPY != 0 => Wanted::Place(place),
            0 => Wanted::Any,
            kind if kind < 0 => Wanted::UpTo(kind.checked_neg().unwrap_or(i64::MAX)),
            kind if flags & EXCEPT != 0 => Wanted::NotOf(kind),
            kind => Wanted::Of(kind),
        })
    }

    fn takes(self, kind: i64) -> bool {
        match self {
            Wanted::Any | Wanted::Place(_) => true,
            Wanted::Of(wanted) => kind == wanted,
            Wanted::NotOf(other) => kind != other,
            Wanted::UpTo(most) => kind <= most,
        }
    }

    fn find(self, messages: &VecDeque<Arc<Message>>) -> Option<usize> {
        match self {
            Wanted::Place(place) => usize::try_from(place).ok().filter(|place| *place < messages.len()),
            Wanted::UpTo(most) => {
                let fitting = messages.iter().enumerate().filter(|(_, message)| message.kind <= most);
                fitting.min_by_key(|(_, message)| message.kind).map(|(index, _)| index)
            }
            _ => messages.iter().position(|message| self.takes(message.kind)),
        }
    }
}

/// What a receiver asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Which message.
    pub wanted: Wanted,
    /// Room for its text in bytes.
    pub size: u64,
    /// `MSG_*`.
    pub flags: u32,
}

impl Request {
    fn fits(&self, message: &Message) -> bool {
        self.flags & NO_ERROR != 0 || message.text.len() as u64 <= self.size
    }
}

/// What came for a receiver that waits.
#[derive(Clone)]
pub enum Delivery {
    /// This message.
    Message(Arc<Message>),
    /// Nothing, and nothing will.
    Failed(crate::errno::Errno),
    /// Nothing, but it has to look again.
    LookAgain,
}

/// One who waits for a message. Sleep on [`Receiver::queue`] until [`Receiver::delivery`], then call [`Queue::finish`].
pub struct Receiver {
    request: Request,
    pid: u32,
    delivery: Mutex<Option<Delivery>>,
    /// Woken with the receiver.
    pub queue: WaitQueue,
}

impl Receiver {
    /// What came, once something did.
    pub fn delivery(&self) -> Option<Delivery> {
        self.delivery.lock().clone()
    }

    fn give(&self, delivery: Delivery) {
        *self.delivery.lock() = Some(delivery);
    }
}

fn wake(receivers: &[Arc<Receiver>]) {
    receivers.iter().for_each(|receiver| receiver.queue.wake(Events::IN));
}

impl State {
    fn has_room(&self, size: u64) -> bool {
        let count = self.messages.len() as u64;
        self.bytes.saturating_add(size) <= self.max_bytes && count < self.max_bytes
    }

    /// All who wait look again, or give up.
    fn expunge(&mut self, delivery: &Delivery) -> Vec<Arc<Receiver>> {
        let receivers = Vec::from(core::mem::take(&mut self.receivers));
        receivers.iter().for_each(|receiver| receiver.give(delivery.clone()));
        receivers
    }
}

impl Queue {
    /// Sends a message: EAGAIN if there is no room, EACCES, EIDRM.
    pub fn send(&self, message: &Arc<Message>, caller: &dyn Caller, services: &Services) -> Result<()> {
        let mut told = Vec::new();
        let mut state = self.state.lock();
        state.perm.check(&caller.cred(), WRITE)?;
        if state.removed {
            return Err(EIDRM);
        }
        let size = message.text.len() as u64;
        if !state.has_room(size) {
            return Err(EAGAIN);
        }
        (state.lspid, state.stime) = (caller.pid(), now(services));
        let mut taken = false;
        while let Some(at) =
            state.receivers.iter().position(|receiver| receiver.request.wanted.takes(message.kind))
        {
            let Some(receiver) = state.receivers.remove(at) else { break };
            taken = receiver.request.fits(message);
            if taken {
                (state.lrpid, state.rtime) = (receiver.pid, now(services));
                receiver.give(Delivery::Message(message.clone()));
            } else {
                receiver.give(Delivery::Failed(E2BIG));
            }
            told.push(receiver);
            if taken {
                break;
            }
        }
        if !taken {
            state.bytes += size;
            state.messages.push_back(message.clone());
        }
        drop(state);
        wake(&told);
        Ok(())
    }

    /// Receives a message, or becomes a receiver that waits. ENOMSG instead, if `wait` says so; E2BIG, EACCES, EIDRM.
    pub fn receive(
        &self,
        request: Request,
        wait: bool,
        caller: &dyn Caller,
        services: &Services,
    ) -> Result<Received> {
        let mut state = self.state.lock();
        state.perm.check(&caller.cred(), READ)?;
        if state.removed {
            return Err(EIDRM);
        }
        let Some(index) = request.wanted.find(&state.messages) else {
            if !wait {
                return Err(ENOMSG);
            }
            let receiver = Arc::new(Receiver {
                request,
                pid: caller.pid(),
                delivery: Mutex::new(None),
                queue: WaitQueue::new(),
            });
            state.receivers.push_back(receiver.clone());
            return Ok(Received::Waits(receiver));
        };
        let message = state.messages.get(index).cloned().ok_or(ENOMSG)?;
        if !request.fits(&message) {
            return Err(E2BIG);
        }
        if request.flags & COPY == 0 {
            state.messages.remove(index);
            (state.lrpid, state.rtime) = (caller.pid(), now(services));
            state.bytes -= message.text.len() as u64;
            drop(state);
            self.senders.wake(Events::OUT);
        }
        Ok(Received::Message(message))
    }

    /// Ends a wait; gives what came after all.
    pub fn finish(&self, receiver: &Arc<Receiver>) -> Option<Delivery> {
        let mut state = self.state.lock();
        state.receivers.retain(|other| !Arc::ptr_eq(other, receiver));
        drop(state);
        receiver.delivery()
    }

    fn stat(&self) -> (i32, MsqidDs) {
        let state = self.state.lock();
        let ds = MsqidDs {
            perm: state.perm.raw(self.id),
            stime: state.stime,
            rtime: state.rtime,
            ctime: state.ctime,
            bytes: state.bytes,
            messages: state.messages.len() as u64,
            max_bytes: state.max_bytes,
            lspid: state.lspid,
            lrpid: state.lrpid,
            ..MsqidDs::default()
        };
        (self.id, ds)
    }

    fn check(&self, cred: &Cred, wanted: u32) -> Result<()> {
        self.state.lock().perm.check(cred, wanted)
    }
}

/// How a call of `msgrcv` begins.
pub enum Received {
    /// It has this.
    Message(Arc<Message>),
    /// It waits.
    Waits(Arc<Receiver>),
}

impl Queues {
    pub(super) fn new(room: Arc<Room>, user_ns: UserNs) -> Queues {
        Queues { room, user_ns, table: Mutex::default() }
    }

    /// The queue with this id: EINVAL.
    pub fn queue(&self, id: i32) -> Result<Arc<Queue>> {
        self.table.lock().get(id)
    }

    /// A message whose text is `size` zeros: ENOMEM.
    pub fn message(&self, kind: i64, size: usize) -> Result<Message> {
        let held = self.room.take(size_of::<Message>() + size)?;
        Ok(Message { kind, text: alloc::vec![0; size], _held: held })
    }

    /// `msgget(2)`.
    pub fn get(
        &self,
        limits: &Limits,
        cred: &Cred,
        services: &Services,
        (key, flags): (i32, u32),
    ) -> Result<i32> {
        let mut table = self.table.lock();
        if let Some((id, queue)) = table.find(key, flags)? {
            queue.check(cred, flags & 0o777)?;
            return Ok(id);
        }
        let held = self.room.take(size_of::<Queue>())?;
        let state = State {
            perm: Perm::new(key, cred, flags, &self.user_ns),
            stime: 0,
            rtime: 0,
            ctime: now(services),
            bytes: 0,
            max_bytes: limits.msg_queue_bytes.get(),
            lspid: 0,
            lrpid: 0,
            messages: VecDeque::new(),
            receivers: VecDeque::new(),
            removed: false,
        };
        table.add(key, limits.msg_queues.get(), &limits.next[2], |id| Queue {
            id,
            state: Mutex::new(state),
            senders: WaitQueue::new(),
            _held: held,
        })
    }

    /// `IPC_RMID`: who waits gets EIDRM.
    pub fn remove(&self, id: i32, cred: &Cred) -> Result<()> {
        let mut table = self.table.lock();
        let queue = table.get(id)?;
        let mut state = queue.state.lock();
        state.perm.check_change(cred)?;
        state.removed = true;
        let receivers = state.expunge(&Delivery::Failed(EIDRM));
        let messages = core::mem::take(&mut state.messages);
        table.remove(id, state.perm.key);
        drop((state, table));
        drop(messages);
        wake(&receivers);
        queue.senders.wake(Events::OUT);
        Ok(())
    }

    /// `IPC_SET`; `max_bytes` above the limit takes a capability.
    pub fn set(
        &self,
        limits: &Limits,
        id: i32,
        cred: &Cred,
        (new, max_bytes): (&IpcPerm, u64),
        services: &Services,
    ) -> Result<()> {
        let queue = self.queue(id)?;
        let mut state = queue.state.lock();
        state.perm.check_change(cred)?;
        if max_bytes > limits.msg_queue_bytes.get() && !cred.capable(Caps::SYS_RESOURCE) {
            return Err(EPERM);
        }
        state.perm.set(new);
        state.max_bytes = max_bytes;
        state.ctime = now(services);
        // Who waits may no longer be allowed to, or may go on.
        let receivers = state.expunge(&Delivery::LookAgain);
        drop(state);
        wake(&receivers);
        queue.senders.wake(Events::OUT);
        Ok(())
    }

    /// `IPC_STAT`, `MSG_STAT`, or, without `cred`, `MSG_STAT_ANY`.
    pub fn stat(&self, which: Which, cred: Option<&Cred>) -> Result<(i32, MsqidDs)> {
        let queue = self.table.lock().which(which)?;
        cred.map_or(Ok(()), |cred| queue.check(cred, READ))?;
        Ok(queue.stat())
    }

    /// All queues.
    pub fn all(&self) -> Vec<(i32, MsqidDs)> {
        let all = self.table.lock().all();
        all.iter().map(|(_, queue)| queue.stat()).collect()
    }

    /// `IPC_INFO`, and the highest place in use.
    pub fn limits(&self, limits: &Limits) -> (MsgInfo, u32) {
        let per_queue = limits.msg_queue_bytes.get() as i32;
        let queues = limits.msg_queues.get() as i32;
        let info = MsgInfo {
            pool: (i64::from(queues) * i64::from(per_queue) / 1024).clamp(0, i64::from(i32::MAX)) as i32,
            map: per_queue,
            max: limits.msg_max.get() as i32,
            per_queue,
            queues,
            segment_size: 16,
            headers: per_queue,
            segments: u16::MAX,
            ..MsgInfo::default()
        };
        (info, self.table.lock().highest())
    }

    /// `MSG_INFO`, and the highest place in use.
    pub fn info(&self, limits: &Limits) -> (MsgInfo, u32) {
        let (info, highest) = self.limits(limits);
        let all = self.all();
        let sum = |of: fn(&MsqidDs) -> u64| all.iter().map(|(_, ds)| of(ds)).sum::<u64>() as i32;
        let (messages, bytes) = (sum(|ds| ds.messages), sum(|ds| ds.bytes));
        (MsgInfo { pool: all.len() as i32, map: messages, headers: bytes, ..info }, highest)
    }
}
