//! `lodger-demo-tt`: the demos on the TT backend.

use std::process::ExitCode;

use host_linux::heap::Counting;
use host_linux_tt::TtHost;
use lodger_demos::Kind;

/// Counts what the kernel allocates for its guests.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    lodger_demos::main::<TtHost>(Kind::Tt)
}
