//! Wait queues: the one way in which anything in the kernel waits for anything else.
//!
//! An object that can become ready (a pipe, a futex, a child that may exit) has a [`WaitQueue`]. Whoever waits
//! registers a [`Wake`], looks at the condition, and sleeps if it does not hold; whoever makes the condition true
//! changes the object first and then calls [`WaitQueue::wake`].
//!
//! No wake-up is lost: the waiter's order is *register; look*, the waker's is *change; look for waiters*. Both put a
//! sequentially consistent fence between their two steps, so at least one of them sees what the other did: either the
//! waiter finds the condition true, or the waker finds the waiter. What happens between a waiter's look and its sleep is
//! covered by [`Wake::wake`] itself, which leaves a token with a task that is still running (`task/state`).
//!
//! A wake-up may be spurious: waiters look again. Wake after unlock: wakers take locks of their own.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use smallvec::SmallVec;

use crate::sync::Mutex;

bitflags::bitflags! {
    /// What may have happened to a file; the bits are those of `poll(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Events: u32 {
        /// Reading would not block.
        const IN = 0x1;
        /// Out of band data, or a change on a terminal in packet mode.
        const PRI = 0x2;
        /// Writing would not block.
        const OUT = 0x4;
        /// An error is to be reported. Waited for whether asked for or not.
        const ERR = 0x8;
        /// The other side is gone. Waited for whether asked for or not.
        const HUP = 0x10;
        /// Not an open descriptor.
        const NVAL = 0x20;
        /// The same as IN for all that we have.
        const RDNORM = 0x40;
        /// Priority data.
        const RDBAND = 0x80;
        /// The same as OUT.
        const WRNORM = 0x100;
        /// Priority data may be written.
        const WRBAND = 0x200;
        /// The other side will send no more.
        const RDHUP = 0x2000;
    }
}

impl Events {
    /// What to register for by someone who asks for these, and for nothing else: who was woken by what does not count for
    /// him would be woken again for as long as it is so (a stream that hung up, for the third set of `select`). Files wake
    /// by the plain names of what has several.
    pub fn to_wait_for(self) -> Events {
        let mut mask = self;
        if self.contains(Events::RDNORM) {
            mask |= Events::IN;
        }
        if self.contains(Events::WRNORM) {
            mask |= Events::OUT;
        }
        mask
    }
}

/// Something that can be told that an event happened: a sleeping task, an epoll instance.
pub trait Wake: Send + Sync {
    /// May be called spuriously, from any vCPU, with no lock held that the receiver takes.
    fn wake(&self, events: Events);
}

/// Who wants to be told about what.
#[derive(Default)]
pub struct WaitQueue {
    /// Number of entries, so that waking nobody costs one load.
    len: AtomicUsize,
    next_id: AtomicU64,
    /// In the order of their ids.
    waiters: Mutex<VecDeque<Waiter>>,
}

struct Waiter {
    id: u64,
    mask: Events,
    wake: Arc<dyn Wake>,
}

/// Names a registration in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitToken(u64);

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> WaitQueue {
        WaitQueue {
            len: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            waiters: Mutex::new(VecDeque::new()),
        }
    }

    /// From now on `wake` is called for events in `mask`, in the order of registration. Look at the condition after it.
    pub fn register(&self, mask: Events, wake: Arc<dyn Wake>) -> WaitToken {
        let mut waiters = self.waiters.lock();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        waiters.push_back(Waiter { id, mask, wake });
        self.len.store(waiters.len(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        WaitToken(id)
    }

    /// Ends a registration.
    pub fn unregister(&self, token: WaitToken) {
        let mut waiters = self.waiters.lock();
        if let Ok(index) = waiters.binary_search_by_key(&token.0, |waiter| waiter.id) {
            let gone = waiters.remove(index);
            self.len.store(waiters.len(), Ordering::Relaxed);
            drop(waiters);
            drop(gone);
        }
    }

    /// Tells everyone who waits for any of `events`. Call it after the change, with the object unlocked.
    pub fn wake(&self, events: Events) {
        fence(Ordering::SeqCst);
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let due: SmallVec<[Arc<dyn Wake>; 4]> = {
            let waiters = self.waiters.lock();
            waiters
                .iter()
                .filter(|waiter| waiter.mask.intersects(events))
                .map(|waiter| waiter.wake.clone())
                .collect()
        };
        for wake in due {
            wake.wake(events);
        }
    }

    /// Whether anyone is registered.
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(&self, _: Events) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_by_mask_until_unregistered() {
        let (queue, count) = (WaitQueue::new(), Arc::new(Count::default()));
        let token = queue.register(Events::IN, count.clone());
        queue.wake(Events::OUT);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        queue.wake(Events::IN | Events::HUP);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        queue.unregister(token);
        queue.wake(Events::IN);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(queue.is_empty());
    }

    extern crate std;

    /// A thread that sleeps until it is woken, as a task does: a wake-up before the sleep is kept.
    struct Sleeper(std::thread::Thread);

    impl Wake for Sleeper {
        fn wake(&self, _: Events) {
            self.0.unpark();
        }
    }

    /// Two threads hand a number to and fro, each sleeping until it is its turn. One lost wake-up and both sleep for good,
    /// which the time limit shows.
    #[test]
    fn no_wake_up_is_lost_between_threads() {
        const ROUNDS: usize = 20_000;
        const LIMIT: core::time::Duration = core::time::Duration::from_secs(10);
        let shared = Arc::new((WaitQueue::new(), AtomicUsize::new(0)));
        let players = [0, 1].map(|side| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let (queue, turn) = &*shared;
                for round in 0..ROUNDS {
                    let mine = 2 * round + side;
                    // Registered for each wait, as tasks are; the object is changed without a lock.
                    let sleeper = Arc::new(Sleeper(std::thread::current()));
                    let token = queue.register(Events::IN, sleeper);
                    while turn.load(Ordering::Relaxed) != mine {
                        let slept = std::time::Instant::now();
                        std::thread::park_timeout(LIMIT);
                        assert!(slept.elapsed() < LIMIT, "a wake-up was lost in round {round}");
                    }
                    queue.unregister(token);
                    turn.store(mine + 1, Ordering::Relaxed);
                    queue.wake(Events::IN);
                }
            })
        });
        for player in players {
            player.join().unwrap();
        }
    }
}
