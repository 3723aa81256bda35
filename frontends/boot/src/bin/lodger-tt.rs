//! `lodger-tt`: boots guests on the TT host. It is what `lodger run --backend tt` becomes.

use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Arc;

use host_linux::heap::Counting;
use host_linux_tt::{TtHost, TtOptions, TtSpace, last_words, rseq, run_vcpus};
use kernel_core::host::{ByteStream, VcpuId};
use lodger::backend::Backend;
use lodger::cli;

/// Counts what the kernel allocates for its guests.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Tt;

impl Backend for Tt {
    type Host = TtHost;

    const WARNING: Option<&'static str> = Some(
        "--backend tt has no protection between guest processes: each can read and change the others and the kernel",
    );

    const PANIC: &'static str = last_words::OF_A_PANIC;

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

    fn run_vcpus(host: &Arc<TtHost>, body: &(dyn Fn(VcpuId) + Send + Sync)) {
        run_vcpus(host, body);
    }

    fn host_process(space: &TtSpace) -> Option<i32> {
        space.host_process()
    }
}

fn main() -> ExitCode {
    // Without it a wrecked kernel may end without its last words; that is no reason not to start.
    let _ = rseq::do_without();
    lodger::main(cli::Backend::Tt, lodger::instance::run::<Tt>)
}
