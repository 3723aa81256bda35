//! `lodger-demo`: the demos on the SKAS backend.

use std::process::ExitCode;

use host_linux::heap::Counting;
use host_linux_skas::SkasHost;
use lodger_demos::Kind;

/// Counts what the kernel allocates for its guests.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    lodger_demos::main::<SkasHost>(Kind::Skas)
}
