//! The one helper thread of an instance. It sleeps in `poll(2)` until a stream that somebody waits for is ready, the
//! deadline of a running guest is over, or the terminal changed its size, and then kicks vCPU 0.
//!
//! Deadlines are armed lazily: the timer is only ever moved to an earlier time. When it goes off too early, because
//! the deadline has since moved on, the thread arms it anew. So a vCPU that changes its deadline a thousand times a
//! second makes no system call for it.
//!
//! Why no deadline is lost: [`Watcher::set_deadline`] stores the deadline and then looks at what is armed; the thread
//! clears what is armed and then looks at the deadline (sequentially consistent). At least one of them sees that the
//! timer has to be set, and both set it to the deadline of that moment, under one lock.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::{clock, terminal};

/// The deadline that never comes.
const NEVER: u64 = u64::MAX;

/// A descriptor and the readiness that somebody waits for.
pub struct Watched {
    fd: OwnedFd,
    wanted: AtomicI16,
    /// What to do when it is there. Without this, vCPU 0 is kicked, and the wish is fulfilled and forgotten.
    act: Option<Act>,
}

/// See [`Watcher::attend`].
type Act = Box<dyn Fn() + Send + Sync>;

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The helper thread; it ends when this is dropped.
pub struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    kick: Act,
    wake: Arc<EventFd>,
    watched: Mutex<Vec<Weak<Watched>>>,
    timer: TimerFd,
    /// When the running guest has to be interrupted.
    deadline: AtomicU64,
    /// What the timer is set to; written under `arming`.
    armed: AtomicU64,
    arming: Mutex<()>,
    stopping: AtomicBool,
}

impl Watcher {
    /// Starts the thread. `kick` kicks vCPU 0; it is called from that thread.
    pub fn start(kick: impl Fn() + Send + Sync + 'static) -> io::Result<Watcher> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let shared = Arc::new(Shared {
            kick: Box::new(kick),
            wake: Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?),
            watched: Mutex::default(),
            timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?,
            deadline: AtomicU64::new(NEVER),
            armed: AtomicU64::new(NEVER),
            arming: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let inner = shared.clone();
        // The thread inherits a mask of all signals: they are for the threads of the frontend.
        let old = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
        let thread = std::thread::Builder::new().name("lodger-watcher".into()).spawn(move || inner.watch());
        old.thread_set_mask()?;
        Ok(Watcher { shared, thread: Some(thread?) })
    }

    /// Kicks vCPU 0 at `deadline_ns` (monotonic) or soon after, in place of what was set before.
    pub fn set_deadline(&self, deadline_ns: Option<u64>) {
        let deadline = deadline_ns.unwrap_or(NEVER);
        self.shared.deadline.store(deadline, Ordering::SeqCst);
        if deadline < self.shared.armed.load(Ordering::SeqCst) {
            self.shared.arm();
        }
    }

    /// Puts `fd` under watch; nothing is wanted of it at first, and it is forgotten when the result is dropped.
    pub(crate) fn watch(&self, fd: OwnedFd) -> Arc<Watched> {
        self.add(Watched { fd, wanted: AtomicI16::new(0), act: None })
    }

    /// Has the thread call `act` whenever `fd` can be read, until the result is dropped. It must not wait for anything.
    pub fn attend(&self, fd: OwnedFd, act: impl Fn() + Send + Sync + 'static) -> Arc<Watched> {
        let wanted = AtomicI16::new(PollFlags::POLLIN.bits());
        let watched = self.add(Watched { fd, wanted, act: Some(Box::new(act)) });
        // The counter is drained by the thread and never full.
        let _ = self.shared.wake.write(1);
        watched
    }

    fn add(&self, watched: Watched) -> Arc<Watched> {
        let watched = Arc::new(watched);
        self.shared.list().push(Arc::downgrade(&watched));
        watched
    }

    /// What makes the thread look again; a terminal's signal handler writes to it too.
    pub(crate) fn wake(&self) -> Arc<EventFd> {
        self.shared.wake.clone()
    }

    /// A handle with which streams tell their wishes.
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes { wake: self.shared.wake.clone() }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The counter of an eventfd is never full here, so the write cannot fail.
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How a stream says what it waits for.
pub(crate) struct Wishes {
    wake: Arc<EventFd>,
}

impl Wishes {
    /// Kicks vCPU 0 once `watched` has some readiness of `flags`.
    pub(crate) fn want(&self, watched: &Watched, flags: PollFlags) {
        let before = watched.wanted.fetch_or(flags.bits(), Ordering::SeqCst);
        if before & flags.bits() != flags.bits() {
            // The counter is drained by the thread and never full.
            let _ = self.wake.write(1);
        }
    }
}

impl Shared {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Watched>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timer to the deadline of this moment, if that is earlier than what it is set to.
    fn arm(&self) {
        let _guard = self.arming.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = self.deadline.load(Ordering::SeqCst);
        if deadline >= self.armed.load(Ordering::SeqCst) {
            return;
        }
        self.armed.store(deadline, Ordering::SeqCst);
        // A time of 0 would disarm the timer.
        let time = TimeSpec::from_duration(Duration::from_nanos(deadline.max(1)));
        // The time is valid, so this cannot fail.
        let _ = self.timer.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
    }

    fn watch(&self) {
        let mut kept: Vec<Arc<Watched>> = Vec::new();
        while !self.stopping.load(Ordering::SeqCst) {
            kept.clear();
            self.list().retain(|weak| weak.upgrade().map(|watched| kept.push(watched)).is_some());
            kept.retain(|watched| watched.wanted.load(Ordering::SeqCst) != 0);
            if self.sleep(&kept) {
                (self.kick)();
            }
        }
    }

    /// Waits for the timer, the event and what is wanted of `kept`; true if the vCPU has to know.
    fn sleep(&self, kept: &[Arc<Watched>]) -> bool {
        let mut polls = vec![
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.timer.as_fd(), PollFlags::POLLIN),
        ];
        polls.extend(kept.iter().map(|watched| {
            PollFd::new(
                watched.fd.as_fd(),
                PollFlags::from_bits_truncate(watched.wanted.load(Ordering::SeqCst)),
            )
        }));
        if poll(&mut polls, PollTimeout::NONE).is_err() {
            return false; // EINTR; nothing else can be wrong with these arguments
        }
        let mut kick = false;
        if polls[0].any().unwrap_or(true) {
            kick |= self.wake.read().is_ok_and(|count| count >= terminal::RESIZED);
        }
        if polls[1].any().unwrap_or(true) {
            kick |= self.timer_expired();
        }
        for (watched, poll) in kept.iter().zip(&polls[2..]) {
            if poll.any().unwrap_or(true) {
                if let Some(act) = &watched.act {
                    act();
                    continue;
                }
                watched.wanted.store(0, Ordering::SeqCst);
                kick = true;
            }
        }
        kick
    }

    fn timer_expired(&self) -> bool {
        let mut count = [0u8; 8];
        let _ = nix::unistd::read(self.timer.as_fd(), &mut count);
        {
            let _guard = self.arming.lock().unwrap_or_else(PoisonError::into_inner);
            self.armed.store(NEVER, Ordering::SeqCst);
        }
        if self.deadline.load(Ordering::SeqCst) <= clock::monotonic_ns() {
            return true;
        }
        self.arm();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kick::Token;

    fn watcher() -> (Arc<Token>, Watcher) {
        let token = Arc::new(Token::default());
        let inner = token.clone();
        (token, Watcher::start(move || _ = inner.kick()).unwrap())
    }

    #[test]
    fn a_deadline_kicks_and_a_withdrawn_one_does_not() {
        let (token, watcher) = watcher();
        let start = clock::monotonic_ns();
        watcher.set_deadline(Some(start + 20_000_000));
        token.wait(None);
        assert!(clock::monotonic_ns() >= start + 20_000_000);
        watcher.set_deadline(Some(clock::monotonic_ns() + 10_000_000));
        watcher.set_deadline(None);
        std::thread::sleep(Duration::from_millis(30));
        assert!(!token.take());
    }

    #[test]
    fn a_deadline_that_moves_on_comes_in_the_end() {
        let (token, watcher) = watcher();
        let start = clock::monotonic_ns();
        for step in 1..=20 {
            watcher.set_deadline(Some(start + step * 2_000_000));
        }
        token.wait(None);
        assert!(clock::monotonic_ns() >= start + 40_000_000);
    }
}
