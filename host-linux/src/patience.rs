//! An end that comes even if no thread of this process gets anywhere any more: a timer of the host, and a handler that
//! needs nothing but read-only pages (see [`crate::sealed`]).

use std::ffi::c_int;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::{bare, sealed};

/// Ends this process with `status` in that time, whatever its threads are at then; the terminal is given back as it was.
/// It cannot be called off, but the process may end before. Allocates nothing and takes no lock.
pub fn end_after(time: Duration, status: u8) -> io::Result<()> {
    let action = SigAction::new(SigHandler::SigAction(on_alarm), SaFlags::SA_ONSTACK, SigSet::all());
    // SAFETY: the handler uses system calls only, and does not return.
    unsafe { sigaction(Signal::SIGALRM, &action)? };
    // SAFETY: an event of zeroes is a valid one.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGALRM;
    // The host keeps the status: what this process keeps may be overwritten by then.
    event.sigev_value.sival_ptr = std::ptr::without_provenance_mut(usize::from(status));
    let once = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) },
    };
    let mut timer: c_int = 0;
    // SAFETY: both calls get structures that live, as the host has them, and the timer that the first one made.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &mut event, &mut timer))?;
        Errno::result(libc::syscall(libc::SYS_timer_settime, timer, 0, &once, std::ptr::null_mut::<()>()))?;
    }
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
