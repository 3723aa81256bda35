//! Communication between tasks: pipes, event counters, readiness, local sockets, futexes and timers.
//!
//! The objects here are plain types that know no host. Those with descriptors are [`crate::vfs::file::FileOps`]: they
//! never block, and say by a wait queue when to try again. What an instance holds of them once is in [`Ipc`], what a
//! process holds is in [`posix_timer::ProcessTimers`] and [`pidfd::ExitState`].

pub mod alarm;
pub mod cpu_timer;
pub mod epoll;
pub mod eventfd;
pub mod fifo;
pub mod futex;
pub mod pidfd;
pub mod pipe;
pub mod posix_timer;
pub mod signalfd;
#[cfg(test)]
pub(crate) mod testing;
pub mod timerfd;
pub mod unix;

use alloc::sync::Arc;

/// What an instance has once of each.
#[derive(Default)]
pub struct Ipc {
    /// Who waits for which word of memory.
    pub futexes: futex::FutexTable,
    /// Names of local sockets, and descriptors on their way.
    pub unix: Arc<unix::Namespace>,
    /// Serialises how epoll instances are put into each other.
    pub epoll: Arc<epoll::Topology>,
}
