//! The vCPU: who runs on it, how that is interrupted, and on which processor.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use host_linux::affinity::Core;
use host_linux::kick::Token;
use nix::unistd::gettid;

use crate::tracee::KICK_SIGNAL;

/// What any thread needs to interrupt the vCPU.
#[derive(Default)]
pub struct Signals {
    token: Token,
    /// The stub that runs; 0 when none does.
    running: AtomicI32,
}

impl Signals {
    /// Ends the present or else the next run or wait.
    ///
    /// A running stub gets a signal, which its tracer sees and the guest does not. One that comes when the stub has
    /// stopped by itself stays pending, stops it once more when it goes on, and is then found to be stale.
    pub fn kick(&self) {
        if !self.token.kick() {
            return; // whoever set the token sends the signal
        }
        let stub = self.running.load(Ordering::SeqCst);
        if stub != 0 {
            // SAFETY: a plain system call. The stub was alive a moment ago, and numbers are handed out in a circle, so
            // this one has no other owner yet.
            unsafe { libc::syscall(libc::SYS_tgkill, stub, stub, KICK_SIGNAL) };
        }
    }

    /// Sleeps until kicked, or until the monotonic clock reaches the deadline.
    pub fn wait(&self, deadline_ns: Option<u64>) {
        self.token.wait(deadline_ns);
    }

    /// Says that `stub` is about to run. `None` if the vCPU was kicked before: then it must not.
    pub fn enter(&self, stub: i32) -> Option<Running<'_>> {
        self.running.store(stub, Ordering::SeqCst);
        let running = Running { signals: self };
        (!self.token.take()).then_some(running)
    }
}

/// A stub is running, until this is dropped.
pub struct Running<'a> {
    signals: &'a Signals,
}

impl Running<'_> {
    /// Whether the signal that stopped the stub stands for a kick; that is used up.
    pub fn take_kick(&self) -> bool {
        self.signals.token.take()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.signals.running.store(0, Ordering::SeqCst);
    }
}

/// The only vCPU of a host.
#[derive(Default)]
pub struct Vcpu {
    /// How it is interrupted.
    pub signals: Arc<Signals>,
    core: Mutex<Option<Core>>,
    /// The thread that is this vCPU; 0 when none is.
    thread: AtomicI32,
}

impl Vcpu {
    /// Makes the calling thread this vCPU, which with its stubs keeps to `core`, if any.
    pub fn begin(&self, core: Option<Core>) {
        self.thread.store(gettid().as_raw(), Ordering::Relaxed);
        *self.core.lock().unwrap_or_else(PoisonError::into_inner) = core;
    }

    /// No thread is this vCPU any more.
    pub fn end(&self) {
        self.thread.store(0, Ordering::Relaxed);
        *self.core.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the calling thread is this vCPU, so that it may trace stubs.
    pub fn is_here(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == gettid().as_raw()
    }

    /// Moves a stub to this vCPU's processor.
    pub fn adopt(&self, stub: i32) {
        if let Some(core) = &*self.core.lock().unwrap_or_else(PoisonError::into_inner) {
            // Elsewhere it runs as well, only slower.
            let _ = core.pin(stub);
        }
    }
}
