//! What frontends ask of a host that is no business of the kernel's: how it starts, its streams, its processes.

use std::error::Error;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use kernel_core::host::{Host, VcpuId};

use crate::lockdown::calls::Call;
use crate::stream::HostStream;
use crate::terminal;
use crate::watcher::Watcher;

/// How a host catches what guests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// By a filter of system calls in the guest's own thread, and signals.
    Seccomp,
    /// By tracing the guest's thread.
    Ptrace,
}

/// What a host is started with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The range of offsets into guest RAM, in bytes.
    pub ram_size: u64,
    /// The trap to use; without one, the best that the machine allows.
    pub trap: Option<Trap>,
    /// Whether a guest's code may be rewritten where it often makes system calls.
    pub patch: bool,
}

impl Settings {
    /// So much RAM, and the rest as the host thinks best.
    pub fn new(ram_size: u64) -> Settings {
        Settings { ram_size, trap: None, patch: true }
    }
}

/// A concrete host.
pub trait Backend: Host + Sized {
    /// Why it cannot start: one sentence, for people.
    type Refusal: Error + Send + Sync + 'static;

    /// What a user has to know before a guest starts.
    const WARNING: Option<&'static str>;

    /// What it means when the kernel goes wrong.
    const PANIC: &'static str;

    /// Starts it with one vCPU. Called while the process has one thread, and early: what this process has in memory by now,
    /// others may have too.
    fn start(settings: &Settings) -> Result<Arc<Self>, Self::Refusal>;

    /// Runs `body` for each vCPU, on the thread that runs and maps that vCPU's guests, and returns when all have returned.
    ///
    /// With one vCPU that is the calling thread, which keeps to one processor meanwhile. Guests that ran here cannot run
    /// from another thread later: the system knows a tracer by its thread.
    fn run_vcpus(host: &Arc<Self>, body: &(dyn Fn(VcpuId) + Send + Sync));

    /// The host process in whose address space a guest's is; `None` once it died.
    fn host_process(space: &Self::Space) -> Option<i32>;

    /// The trap that it uses.
    fn trap(&self) -> Trap;

    /// What it asks of the system while guests run, besides what all hosts do.
    fn calls(&self) -> &'static [Call];

    /// The helper thread.
    fn watcher(&self) -> &Watcher;

    /// A byte stream over descriptors of this process, which are not changed; see [`HostStream`].
    fn stream(
        &self,
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
    ) -> io::Result<Arc<HostStream>> {
        HostStream::new(input, output, self.watcher())
    }

    /// From now on, a window of the terminal that changes its size kicks vCPU 0.
    fn watch_window_size(&self) -> io::Result<()> {
        terminal::watch_window_size(self.watcher())
    }
}
