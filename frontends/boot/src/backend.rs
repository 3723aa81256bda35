//! What a binary says of its host: how it starts, and what of it is not in [`kernel_core::host::Host`].

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use anyhow::Result;
use kernel_core::host::{ByteStream, Host, VcpuId};

/// A concrete host.
pub trait Backend {
    /// Its type.
    type Host: Host;

    /// What a user has to know before a guest starts.
    const WARNING: Option<&'static str> = None;

    /// What it means when the kernel goes wrong.
    const PANIC: &'static str = "this is a bug in Lodger";

    /// Starts it; `ram_size` is the range of offsets into guest RAM, in bytes. Called while the process has one thread.
    fn start(ram_size: u64) -> Result<Arc<Self::Host>>;

    /// A stream over descriptors of this process, which stay as they are.
    fn stream(
        host: &Self::Host,
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
    ) -> io::Result<Arc<dyn ByteStream>>;

    /// From now on, a terminal that changes its size kicks vCPU 0.
    fn watch_window_size(host: &Self::Host) -> io::Result<()>;

    /// Runs `body` for every vCPU and returns when all have returned.
    fn run_vcpus(host: &Arc<Self::Host>, body: &(dyn Fn(VcpuId) + Send + Sync));

    /// The host process in whose address space a guest's is; `None` once it died.
    fn host_process(space: &<Self::Host as Host>::Space) -> Option<i32>;
}
