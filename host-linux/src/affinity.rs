//! Which processor a vCPU and its guests share: `sched_setaffinity(2)`.
//!
//! Waking a thread that sleeps on another core is the dearest thing there is, so a vCPU thread and the guests that it
//! runs keep to one core. It is the core that the thread is on when asked: the host's scheduler put it there because
//! that core was free, so two instances started one after the other do not pile up.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// One processor, and the set of all that this process may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Core {
    one: CpuSet,
    all: CpuSet,
}

impl Core {
    /// The processor that the calling thread is on.
    pub fn current() -> io::Result<Core> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let mut one = CpuSet::new();
        one.set(nix::sched::sched_getcpu()?)?;
        Ok(Core { one, all })
    }

    /// Where the calling thread is now that it was let go for a while: the same processors may be used.
    pub fn again(&self) -> io::Result<Core> {
        let mut one = CpuSet::new();
        one.set(nix::sched::sched_getcpu()?)?;
        Ok(Core { one, all: self.all })
    }

    /// Keeps a thread (0: the calling one) to this processor.
    pub fn pin(&self, thread: i32) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::from_raw(thread), &self.one)?)
    }

    /// Keeps a thread off this processor, and on the others that this process may use. False if there are none.
    pub fn avoid(&self, thread: i32) -> bool {
        let mut others = self.all;
        (0..CpuSet::count()).filter(|cpu| self.one.is_set(*cpu).unwrap_or(false)).for_each(|cpu| {
            // The number is within the set.
            let _ = others.unset(cpu);
        });
        others != CpuSet::new() && sched_setaffinity(Pid::from_raw(thread), &others).is_ok()
    }

    /// Lets a thread (0: the calling one) use every processor again.
    pub fn release(&self, thread: i32) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::from_raw(thread), &self.all)?)
    }
}
