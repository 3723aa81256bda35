//! `lodger`: boots guests on the SKAS host.

use std::process::ExitCode;

fn main() -> ExitCode {
    lodger::main(lodger::instance::run)
}
