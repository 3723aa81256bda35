//! `lodger-demo-tt`: the demos on the TT backend.

use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Arc;

use host_linux::heap::Counting;
use host_linux_tt::{TtHost, TtOptions, TtSpace, run_vcpus};
use kernel_core::host::{ByteStream, VcpuId};
use lodger::backend::Backend;
use lodger_demos::Kind;

/// Counts what the kernel allocates for its guests.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Tt;

impl Backend for Tt {
    type Host = TtHost;

    fn start(ram_size: u64) -> anyhow::Result<Arc<TtHost>> {
        Ok(TtHost::new(TtOptions { vcpus: 1, ram_size })?)
    }

    fn stream(
        host: &TtHost,
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
    ) -> io::Result<Arc<dyn ByteStream>> {
        Ok(host.stream(input, output)?)
    }

    fn watch_window_size(host: &TtHost) -> io::Result<()> {
        host.watch_window_size()
    }

    fn host_process(space: &TtSpace) -> Option<i32> {
        space.host_process()
    }

    fn run_vcpus(host: &Arc<TtHost>, body: &(dyn Fn(VcpuId) + Send + Sync)) {
        run_vcpus(host, body);
    }
}

fn main() -> ExitCode {
    lodger_demos::main::<Tt>(Kind::Tt)
}
