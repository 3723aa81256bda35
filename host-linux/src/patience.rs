//! An end that comes even if no thread of this process gets anywhere any more: a timer of the host, and a handler that
//! needs nothing but read-only pages (see [`crate::sealed`]).

use std::ffi::c_int;
use std::io;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::time::ClockId;

use crate::timer::Timer;
use crate::{bare, sealed};

/// Ends this process with `status` in that time, whatever its threads are at then; the terminal is given back as it was.
/// It cannot be called off, but the process may end before. Allocates nothing and takes no lock.
pub fn end_after(time: Duration, status: u8) -> io::Result<()> {
    let action = SigAction::new(SigHandler::SigAction(on_alarm), SaFlags::SA_ONSTACK, SigSet::all());
    // SAFETY: the handler uses system calls only, and does not return.
    unsafe { sigaction(Signal::SIGALRM, &action)? };
    // The host keeps the status: what this process keeps may be overwritten by then.
    let notify =
        SigevNotify::SigevSignal { signal: Signal::SIGALRM, si_value: usize::from(status).cast_signed() };
    let timer = Timer::start(ClockId::CLOCK_MONOTONIC, notify, time, Duration::ZERO)?;
    std::mem::forget(timer);
    Ok(())
}

extern "C" fn on_alarm(_: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    sealed::restore_terminal();
    // SAFETY: the host has just written the structure; a timer's has a value.
    let status = unsafe { (*info).si_value().sival_ptr } as usize;
    bare::exit(status as c_int);
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    const DEAF: &str = "LODGER_TEST_DEAF";

    /// In the process that the test starts: threads that get nowhere.
    #[test]
    fn a_process_that_hangs() {
        if std::env::var_os(DEAF).is_none() {
            return;
        }
        end_after(Duration::from_millis(200), 143).unwrap();
        loop {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_process_that_hangs_is_ended() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "patience::tests::a_process_that_hangs"]).env(DEAF, "1");
        let start = Instant::now();
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{output:?}");
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
}
