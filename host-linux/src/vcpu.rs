//! The vCPU: who runs on it, how that is interrupted, and on which processor.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::unistd::gettid;

use crate::affinity::Core;
use crate::clock;
use crate::kick::Token;
use crate::watcher::Watcher;

/// The signal that interrupts a running guest. Pending at most once, and never seen by the guest.
pub const KICK_SIGNAL: i32 = libc::SIGUSR1;

/// How often a guest thread of this process's vCPUs has run, or one of them has waited.
static TURNS: AtomicU64 = AtomicU64::new(0);

/// A number that changes whenever a guest thread runs or the vCPU waits: as long as it does not, the kernel computes.
pub fn turns() -> u64 {
    TURNS.load(Ordering::SeqCst)
}

/// A thread of the host: its process (thread group) and its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId {
    /// The process.
    pub process: i32,
    /// The thread.
    pub thread: i32,
}

impl ThreadId {
    /// The first thread of a process.
    pub fn alone(process: i32) -> ThreadId {
        ThreadId { process, thread: process }
    }

    fn pack(self) -> u64 {
        u64::from(self.process.cast_unsigned()) << 32 | u64::from(self.thread.cast_unsigned())
    }

    fn unpack(word: u64) -> Option<ThreadId> {
        let half = |word: u64| (word as u32).cast_signed();
        (word != 0).then_some(ThreadId { process: half(word >> 32), thread: half(word) })
    }
}

/// What any thread needs to interrupt the vCPU.
#[derive(Default)]
pub struct Signals {
    token: Token,
    /// The thread that runs a guest, see [`ThreadId::pack`]; 0 when none does.
    running: AtomicU64,
    /// How many are about to send a signal to it.
    kicking: AtomicU32,
    /// What else is to be done when a signal was sent.
    sent: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A guest thread that was kicked and still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kicked {
    /// Which one.
    pub thread: ThreadId,
    /// The number of its turn.
    pub turn: u64,
}

impl Signals {
    /// Ends the present or else the next run or wait.
    ///
    /// A running guest thread gets a signal, which the guest does not see. One that comes when the thread has stopped by
    /// itself stays pending, stops it once more when it goes on, and is then found to be stale.
    pub fn kick(&self) {
        // Otherwise whoever has set the token sends the signal.
        if self.token.kick() {
            self.send();
        }
    }

    /// Sends the signal to the thread that runs a guest.
    fn send(&self) {
        self.kicking.fetch_add(1, Ordering::SeqCst);
        if let Some(id) = ThreadId::unpack(self.running.load(Ordering::SeqCst)) {
            // SAFETY: a plain system call. The thread was alive a moment ago, and numbers are handed out in a circle, so
            // this one has no other owner yet.
            unsafe { libc::syscall(libc::SYS_tgkill, id.process, id.thread, KICK_SIGNAL) };
            if let Some(sent) = self.sent.get() {
                sent();
            }
        }
        self.kicking.fetch_sub(1, Ordering::SeqCst);
    }

    /// Has `sent` called whenever a running guest thread was sent a signal. The first one who asks is served.
    pub fn on_sent(&self, sent: impl Fn() + Send + Sync + 'static) {
        let _ = self.sent.set(Box::new(sent));
    }

    /// The guest thread that runs although the vCPU was kicked, if there is one.
    pub fn kicked(&self) -> Option<Kicked> {
        let turn = turns();
        let thread = ThreadId::unpack(self.running.load(Ordering::SeqCst))?;
        self.token.is_set().then_some(Kicked { thread, turn })
    }

    /// Says that a thread is about to run a guest. `None` if the vCPU was kicked before: then it must not.
    pub fn enter(&self, thread: ThreadId) -> Option<Running<'_>> {
        TURNS.fetch_add(1, Ordering::SeqCst);
        self.running.store(thread.pack(), Ordering::SeqCst);
        let running = Running { signals: self };
        (!self.token.take()).then_some(running)
    }
}

/// A guest is running, until this is dropped. From then on, nobody sends a signal to its thread.
pub struct Running<'a> {
    signals: &'a Signals,
}

impl Running<'_> {
    /// Sends the signal again if the vCPU was kicked since.
    pub fn kick_again(&self) {
        if self.signals.token.is_set() {
            self.signals.send();
        }
    }

    /// Whether the signal that stopped the thread stands for a kick; that is used up.
    pub fn take_kick(&self) -> bool {
        self.signals.token.take()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.signals.running.store(0, Ordering::SeqCst);
        // Whoever has read the thread's number before that is about to use it.
        while self.signals.kicking.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
    }
}

/// How long a vCPU stays on a processor at least.
const STAY_NS: u64 = 100_000_000;

/// The processor that a vCPU and its stubs keep to.
#[derive(Default)]
struct Place {
    core: Option<Core>,
    /// How often it was changed: a stub that was last moved at another count is moved when it runs next.
    moves: u32,
    /// When it was chosen (monotonic).
    since_ns: u64,
}

/// The only vCPU of a host.
#[derive(Default)]
pub struct Vcpu {
    /// How it is interrupted.
    pub signals: Arc<Signals>,
    place: Mutex<Place>,
    /// The thread that is this vCPU; 0 when none is.
    thread: AtomicI32,
}

impl Vcpu {
    /// Starts the helper thread, which kicks this vCPU.
    pub fn watcher(&self) -> io::Result<Watcher> {
        let signals = self.signals.clone();
        Watcher::start(move || signals.kick())
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the calling thread this vCPU, and keeps it to the processor that it is on.
    pub fn begin(&self) {
        self.thread.store(gettid().as_raw(), Ordering::Relaxed);
        // Without a processor of its own everything works, only slower.
        let core = Core::current().and_then(|core| core.pin(0).map(|()| core)).ok();
        let mut place = self.place();
        *place = Place { core, moves: place.moves.wrapping_add(1), since_ns: clock::monotonic_ns() };
    }

    /// The calling thread is not this vCPU any more.
    pub fn end(&self) {
        self.thread.store(0, Ordering::Relaxed);
        if let Some(core) = self.place().core.take() {
            // It goes on with one processor then, if the host has changed its mind; that harms nobody.
            let _ = core.release(0);
        }
    }

    /// Sleeps until kicked, or until the monotonic clock reaches the deadline.
    ///
    /// Another process may have become busy on this processor meanwhile. So, now and then, the vCPU is let go for the
    /// time of its sleep, and stays where the host's scheduler wakes it.
    pub fn wait(&self, deadline_ns: Option<u64>) {
        let core = {
            let place = self.place();
            place.core.filter(|_| clock::monotonic_ns().saturating_sub(place.since_ns) >= STAY_NS)
        };
        let freed = core.filter(|core| core.release(0).is_ok());
        TURNS.fetch_add(1, Ordering::SeqCst);
        self.signals.token.wait(deadline_ns);
        let Some(core) = freed else { return };
        let Ok(next) = core.again() else { return };
        let _ = next.pin(0);
        let mut place = self.place();
        place.since_ns = clock::monotonic_ns();
        if next != core {
            place.core = Some(next);
            place.moves = place.moves.wrapping_add(1);
        }
    }

    /// Whether the calling thread is this vCPU, so that it may trace stubs.
    pub fn is_here(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == gettid().as_raw()
    }

    /// Keeps a thread off this vCPU's processor. False if there is no other.
    pub fn keep_away(&self, thread: i32) -> bool {
        self.place().core.as_ref().is_some_and(|core| core.avoid(thread))
    }

    /// Moves a thread to this vCPU's processor.
    pub fn pin(&self, thread: i32) {
        // Elsewhere it runs as well, only slower.
        let _ = self.place().core.map(|core| core.pin(thread));
    }

    /// Moves threads, which were last moved at `moves`, to this vCPU's processor. Whether they had to be.
    pub fn adopt(&self, threads: &[i32], moves: &mut u32) -> bool {
        let place = self.place();
        if *moves == place.moves {
            return false;
        }
        *moves = place.moves;
        if let Some(core) = &place.core {
            // Elsewhere they run as well, only slower.
            threads.iter().for_each(|thread| _ = core.pin(*thread));
        }
        true
    }
}
