//! `lodger`: boots guests on the SKAS host.

use std::process::ExitCode;

use host_linux::heap::Counting;
use host_linux_skas::SkasHost;
use lodger::cli;

/// Counts what the kernel allocates for its guests.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    lodger::main::<SkasHost>(cli::Backend::Skas)
}
