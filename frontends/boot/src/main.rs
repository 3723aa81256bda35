//! `lodger`: boots guests on the SKAS host.

use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Arc;

use host_linux::heap::Counting;
use host_linux_skas::{SkasHost, SkasOptions, SkasSpace, run_vcpus};
use kernel_core::host::{ByteStream, VcpuId};
use lodger::backend::Backend;
use lodger::cli;

/// Counts what the kernel allocates for its guests.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Skas;

impl Backend for Skas {
    type Host = SkasHost;

    fn start(ram_size: u64) -> anyhow::Result<Arc<SkasHost>> {
        Ok(SkasHost::new(SkasOptions { vcpus: 1, ram_size })?)
    }

    fn stream(
        host: &SkasHost,
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
    ) -> io::Result<Arc<dyn ByteStream>> {
        Ok(host.stream(input, output)?)
    }

    fn watch_window_size(host: &SkasHost) -> io::Result<()> {
        host.watch_window_size()
    }

    fn run_vcpus(host: &Arc<SkasHost>, body: &(dyn Fn(VcpuId) + Send + Sync)) {
        run_vcpus(host, body);
    }

    fn host_process(space: &SkasSpace) -> Option<i32> {
        space.host_process()
    }
}

fn main() -> ExitCode {
    lodger::main(cli::Backend::Skas, lodger::instance::run::<Skas>)
}
