//! Communication between tasks: pipes, event counters, readiness, local sockets, futexes and timers.
//!
//! The objects here are plain types that know no host. Those with descriptors are [`crate::vfs::file::FileOps`]: they
//! never block, and say by a wait queue when to try again. What an instance holds of them once is in [`Ipc`], what a
//! process holds is in [`posix_timer::ProcessTimers`] and [`pidfd::ExitState`].

pub mod aio;
pub mod alarm;
pub mod cpu_timer;
pub mod dnotify;
pub mod epoll;
pub mod eventfd;
pub mod fifo;
pub mod futex;
pub mod inotify;
pub mod limit;
pub mod mqueue;
pub mod pi_futex;
pub mod pidfd;
pub mod pipe;
pub mod posix_timer;
pub mod signalfd;
pub mod sysv;
#[cfg(test)]
pub(crate) mod testing;
pub mod timerfd;
pub mod unix;

use alloc::sync::Arc;

use zerocopy::IntoBytes;

use crate::services::Services;

/// What an instance has once of each.
pub struct Ipc {
    /// Who waits for which word of memory.
    pub futexes: futex::FutexTable,
    /// Who waits for which futex that has an owner.
    pub pi_futexes: pi_futex::PiFutexes,
    /// Room for results of asynchronous I/O.
    pub aio: Arc<aio::AioLimit>,
    /// Names of local sockets, and descriptors on their way.
    pub unix: Arc<unix::Namespace>,
    /// The System V objects and message queues that PID 1 sees.
    pub namespace: Arc<sysv::IpcNamespace>,
    /// What `kcmp(2)` hides addresses with.
    pub cookies: [u64; 2],
}

impl Ipc {
    /// Nothing yet.
    pub fn new(services: &Arc<Services>) -> Ipc {
        let mut cookies = [0; 2];
        services.clock.entropy(cookies.as_mut_bytes());
        Ipc {
            cookies,
            futexes: Default::default(),
            pi_futexes: Default::default(),
            aio: Default::default(),
            unix: Default::default(),
            namespace: sysv::IpcNamespace::initial(services),
        }
    }
}
