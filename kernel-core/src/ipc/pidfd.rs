//! Descriptors of processes: readable once the process has exited. Source: `pidfd_open(2)`.

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::sched::wait::{Events, WaitQueue};
use crate::vfs::file::{FileOps, Op};

/// Whether a process has exited; the process and the descriptors of it share one.
#[derive(Default)]
pub struct ExitState {
    queue: WaitQueue,
    done: AtomicBool,
    reaped: AtomicBool,
}

impl ExitState {
    /// The process, with all its threads, has exited.
    pub fn set_exited(&self) {
        self.done.store(true, Ordering::Release);
        self.queue.wake(Events::IN | Events::RDNORM);
    }

    /// The process was waited for: its id means nothing any more.
    pub fn set_reaped(&self) {
        self.done.store(true, Ordering::Release);
        self.reaped.store(true, Ordering::Release);
        self.queue.wake(Events::IN | Events::RDNORM | Events::HUP);
    }

    /// Whether it has exited.
    pub fn has_exited(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Whether it was waited for.
    pub fn is_reaped(&self) -> bool {
        self.reaped.load(Ordering::Acquire)
    }
}

/// A descriptor of a process.
pub struct PidFd {
    /// The process id; another process may have it once [`PidFd::exit`] says it is reaped.
    pub pid: u32,
    /// The process's.
    pub exit: Arc<ExitState>,
}

impl FileOps for PidFd {
    fn poll(&self, _: Op<'_>) -> Events {
        let mut events = Events::empty();
        if self.exit.has_exited() {
            events |= Events::IN | Events::RDNORM;
        }
        if self.exit.is_reaped() {
            events |= Events::HUP;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.exit.queue)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
