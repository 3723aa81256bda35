//! No restartable sequences (`rseq(2)`) in this process. The C library registers a structure of each thread for them, in
//! the thread's own memory, and the host ends a thread whose structure holds nonsense with a SIGSEGV that no handler gets.
//! On TT a guest can put nonsense there, and then nobody would restore the terminal and say what happened.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the C library is told through its environment, which it reads before `main` (glibc's manual, "Tunables").
const VARIABLE: &str = "GLIBC_TUNABLES";
const NO_RSEQ: &str = "glibc.pthread.rseq=0";

/// Starts this program again with the same words, unless it was started without restartable sequences. Call it first.
pub fn do_without() -> io::Result<()> {
    let Some(tunables) = tunables(std::env::var_os(VARIABLE)) else { return Ok(()) };
    let Err(error) = again(&tunables);
    Err(error)
}

fn again(tunables: &OsString) -> io::Result<Infallible> {
    let mut words = std::env::args_os();
    // By its own name, which is what it is called in a list of processes.
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    Err(command.args(words).env(VARIABLE, tunables).exec())
}

/// The variable's new value, or nothing if it says already what it has to.
fn tunables(old: Option<OsString>) -> Option<OsString> {
    let Some(mut tunables) = old.filter(|old| !old.is_empty()) else { return Some(NO_RSEQ.into()) };
    // Of several values of one tunable the last counts.
    if tunables.as_bytes().ends_with(NO_RSEQ.as_bytes()) {
        return None;
    }
    tunables.push(":");
    tunables.push(NO_RSEQ);
    Some(tunables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tunables_stay() {
        assert_eq!(tunables(None), Some(NO_RSEQ.into()));
        let other = tunables(Some("glibc.malloc.check=1".into())).unwrap();
        assert_eq!(other, "glibc.malloc.check=1:glibc.pthread.rseq=0");
        assert_eq!(tunables(Some(other)), None);
    }
}
