//! What leaf objects (files, terminals, timers) may ask of the kernel without knowing its host.

use alloc::sync::Arc;

use crate::ipc::epoll::Topology;
use crate::ipc::inotify::Limits;
use crate::mm::ram::Ram;
use crate::sched::timers::Timers;
use crate::task::heap::Room;
use crate::task::signal::places::Places;
use crate::vfs::anon::AnonInodes;
use crate::vfs::caller::Processes;

/// Time and chance, as the host gives them.
pub trait Clock: Send + Sync {
    /// Nanoseconds since an arbitrary start; never goes back.
    fn monotonic_ns(&self) -> u64;
    /// The same, and the time for which the machine slept.
    fn boottime_ns(&self) -> u64;
    /// Nanoseconds since boot of the instance.
    fn uptime_ns(&self) -> u64;
    /// Nanoseconds since 1970-01-01 UTC.
    fn realtime_ns(&self) -> u64;
    /// Fills `buf` with bytes nobody can predict.
    fn entropy(&self, buf: &mut [u8]);
}

/// Times of the monotonic clock.
impl dyn Clock + '_ {
    /// In so many nanoseconds.
    pub fn after(&self, ns: u64) -> u64 {
        self.monotonic_ns().saturating_add(ns)
    }

    /// When the real-time clock says `ns`.
    pub fn at_realtime(&self, ns: u64) -> u64 {
        self.after(ns.saturating_sub(self.realtime_ns()))
    }

    /// When the clock that counts sleep too says `ns`.
    pub fn at_boottime(&self, ns: u64) -> u64 {
        self.after(ns.saturating_sub(self.boottime_ns()))
    }
}

/// Something outside that may have news when the host has kicked vCPU 0: a console, a stream.
pub trait Device: Send + Sync {
    /// Takes what came in, gives out what waits, and wakes whoever that concerns. Never blocks.
    fn poll_device(&self);
}

/// The kernel's services.
pub struct Services {
    /// Guest RAM and its accounting.
    pub ram: Arc<Ram>,
    /// Wake-ups at a time.
    pub timers: Arc<Timers>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Signals to processes.
    pub processes: Arc<dyn Processes>,
    /// Places in queues of signals that users have taken.
    pub places: Arc<Places>,
    /// Whether the kernel has memory for what no process holds.
    pub room: Room,
    /// What epoll instances have in common.
    pub epoll: Arc<Topology>,
    /// What users may have of watches on files.
    pub inotify: Arc<Limits>,
    /// Inodes of files without names.
    pub anon: AnonInodes,
}
