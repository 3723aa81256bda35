//! A queue: messages by priority, and who waits. Sources: `mq_send(3)`, `mq_receive(3)`, `mq_notify(3)`.
//!
//! As long as somebody waits to receive, a message goes straight there; as long as somebody waits to send, whoever makes
//! room takes the sender's message in. So both are served in the order in which they came.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{Capacity, Charge};
use crate::errno::{EAGAIN, EBUSY, Result};
use crate::ipc::sysv::Held;
use crate::sched::wait::{Events, WaitQueue};
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::siginfo::{Payload, SigInfo};
use crate::vfs::caller::Caller;
use crate::vfs::inode::{Owner, Timestamp};

/// `SI_MESGQ`.
const SI_MESGQ: i32 = -3;

/// A message.
pub struct Message {
    /// Below [`super::PRIORITIES`].
    pub priority: u32,
    /// What it says.
    pub text: Vec<u8>,
    pub(super) _held: Held,
}

/// A queue.
pub struct Queue {
    pub(super) me: Weak<Queue>,
    /// Its name when it was made.
    pub name: Vec<u8>,
    /// Its number.
    pub ino: u64,
    /// How large it may become.
    pub capacity: Capacity,
    pub(super) services: Arc<Services>,
    pub(super) state: Mutex<State>,
    /// Woken when there may be a message or room for one.
    pub(super) queue: WaitQueue,
    pub(super) _charge: Charge,
    pub(super) _held: Held,
}

/// What of a queue changes.
pub(super) struct State {
    pub owner: Owner,
    pub is_named: bool,
    /// Last received, last sent, last either.
    pub times: [Timestamp; 3],
    messages: BTreeMap<u32, VecDeque<Message>>,
    count: u64,
    bytes: u64,
    receivers: VecDeque<Arc<Waiter>>,
    senders: VecDeque<Arc<Waiter>>,
    registration: Option<Registration>,
}

impl State {
    pub fn new(owner: Owner, now: Timestamp) -> State {
        State {
            owner,
            is_named: true,
            times: [now; 3],
            messages: BTreeMap::new(),
            count: 0,
            bytes: 0,
            receivers: VecDeque::new(),
            senders: VecDeque::new(),
            registration: None,
        }
    }

    fn insert(&mut self, message: Message) {
        self.count += 1;
        self.bytes += message.text.len() as u64;
        self.messages.entry(message.priority).or_default().push_back(message);
    }

    /// The oldest message of the highest priority.
    fn take(&mut self) -> Option<Message> {
        let mut highest = self.messages.last_entry()?;
        let message = highest.get_mut().pop_front();
        if highest.get().is_empty() {
            highest.remove();
        }
        let message = message?;
        self.count -= 1;
        self.bytes -= message.text.len() as u64;
        Some(message)
    }
}

/// How somebody is told of a message in an empty queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Not (`SIGEV_NONE`), but nobody else can be.
    Nothing,
    /// By a signal (0 for none) with a value.
    Signal {
        /// Its number.
        signal: u8,
        /// `si_value`.
        value: u64,
    },
}

/// Who is told.
struct Registration {
    pid: u32,
    notify: Notify,
}

/// One who waits to send or to receive. Sleep on [`Waiter::queue`] until [`Waiter::is_done`], then call
/// [`Queue::finish`].
#[derive(Default)]
pub struct Waiter {
    /// A sender's message until it is taken, a receiver's once it is there.
    message: Mutex<Option<Message>>,
    done: AtomicBool,
    /// Woken with the waiter.
    pub queue: WaitQueue,
}

impl Waiter {
    /// Whether the message has changed hands.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// What a receiver got.
    pub fn take(&self) -> Option<Message> {
        self.message.lock().take()
    }

    fn finish(&self) {
        self.done.store(true, Ordering::Release);
    }
}

/// What a call does when it cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// It waits.
    Wait,
    /// It fails: EAGAIN.
    Fail,
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Process id.
    pub pid: u32,
    /// Real user id.
    pub uid: u32,
}

impl Queue {
    fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.services.clock.realtime_ns())
    }

    /// Sends a message, or gives a waiter that holds it: EAGAIN.
    pub fn send(&self, message: Message, sender: Sender, blocking: Blocking) -> Result<Option<Arc<Waiter>>> {
        let now = self.now();
        let mut state = self.state.lock();
        if state.count >= self.capacity.messages {
            if blocking == Blocking::Fail {
                return Err(EAGAIN);
            }
            let waiter = Arc::new(Waiter { message: Mutex::new(Some(message)), ..Waiter::default() });
            state.senders.push_back(waiter.clone());
            return Ok(Some(waiter));
        }
        (state.times[1], state.times[2]) = (now, now);
        if let Some(receiver) = state.receivers.pop_front() {
            *receiver.message.lock() = Some(message);
            receiver.finish();
            drop(state);
            receiver.queue.wake(Events::IN);
            return Ok(None);
        }
        state.insert(message);
        let told = if state.count == 1 { state.registration.take() } else { None };
        drop(state);
        if let Some(Registration { pid, notify: Notify::Signal { signal, value } }) = told
            && signal != 0
        {
            let payload = Payload::Sender { pid: sender.pid, uid: sender.uid, value };
            self.services
                .processes
                .signal_process(pid, SigInfo { signal, errno: 0, code: SI_MESGQ, payload });
        }
        self.queue.wake(Events::IN | Events::RDNORM);
        Ok(None)
    }

    /// Receives a message, or gives a waiter that will have it: EAGAIN.
    pub fn receive(&self, blocking: Blocking) -> Result<core::result::Result<Message, Arc<Waiter>>> {
        let now = self.now();
        let mut state = self.state.lock();
        let Some(message) = state.take() else {
            if blocking == Blocking::Fail {
                return Err(EAGAIN);
            }
            let waiter = Arc::new(Waiter::default());
            state.receivers.push_back(waiter.clone());
            return Ok(Err(waiter));
        };
        (state.times[0], state.times[2]) = (now, now);
        let sender = state.senders.pop_front();
        if let Some(sender) = &sender {
            if let Some(message) = sender.take() {
                state.insert(message);
            }
            sender.finish();
        }
        drop(state);
        match sender {
            Some(sender) => sender.queue.wake(Events::OUT),
            None => self.queue.wake(Events::OUT | Events::WRNORM),
        }
        Ok(Ok(message))
    }

    /// Ends a wait; says whether the message has changed hands after all.
    pub fn finish(&self, waiter: &Arc<Waiter>) -> bool {
        let mut state = self.state.lock();
        let others = |other: &Arc<Waiter>| !Arc::ptr_eq(other, waiter);
        state.receivers.retain(others);
        state.senders.retain(others);
        drop(state);
        waiter.is_done()
    }

    /// Messages in the queue.
    pub fn count(&self) -> u64 {
        self.state.lock().count
    }

    /// From now on `pid` is told: EBUSY if somebody is already.
    pub fn register(&self, pid: u32, notify: Notify) -> Result<()> {
        let mut state = self.state.lock();
        if state.registration.is_some() {
            return Err(EBUSY);
        }
        state.registration = Some(Registration { pid, notify });
        Ok(())
    }

    /// `pid` is not told any more, if it was.
    pub fn unregister(&self, pid: u32) {
        self.state.lock().registration.take_if(|registration| registration.pid == pid);
    }

    /// What a read of the queue's file shows.
    pub(super) fn text(&self, caller: &dyn Caller) -> Vec<u8> {
        let state = self.state.lock();
        let (notify, signal, pid) = match &state.registration {
            Some(Registration { pid, notify: Notify::Signal { signal, .. } }) => (0, *signal, *pid),
            Some(Registration { pid, notify: Notify::Nothing }) => (1, 0, *pid),
            None => (0, 0, 0),
        };
        let pid = caller.pid_ns().shown(pid);
        format!("QSIZE:{:<10} NOTIFY:{notify:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n", state.bytes)
            .into_bytes()
    }
}
