//! No core dumps: they would hold the memory of guests.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// One byte, which no dump fits in. To a program that takes dumps (`core_pattern` with a pipe) the host gives them whatever
/// the limit is, 0 too, but for this number.
const NONE: u64 = 1;

/// From now on, for this process and all that it starts.
pub fn forbid() -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, NONE.min(most), NONE.min(most))?)
}
