//! No program that this process could execute has more rights than it: `no_new_privs`.

use std::io;

/// From now on, for this thread and all that it starts.
pub fn renounce() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}
