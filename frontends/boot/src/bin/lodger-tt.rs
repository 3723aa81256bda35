//! `lodger-tt`: boots guests on the TT host. It is what `lodger run --backend tt` becomes.

use std::process::ExitCode;

use host_linux::heap::Counting;
use host_linux_tt::{TtHost, rseq};
use lodger::cli;

/// Counts what the kernel allocates for its guests.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    // Without it a wrecked kernel may end without its last words; that is no reason not to start.
    let _ = rseq::do_without();
    lodger::main::<TtHost>(cli::Backend::Tt)
}
