//! Timers of the host that send a signal (`timer_create(2)`). Without the C library, as a timer may be wanted where
//! nothing that this process keeps may be trusted any more: nothing is allocated, and no lock is taken.

use std::ffi::c_int;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigEvent, SigevNotify};
use nix::time::ClockId;

/// A timer that runs; it is deleted when this is dropped. A signal may be on its way even then.
pub struct Timer(c_int);

impl Timer {
    /// Starts one that goes off after `first`, and then every so often if `every` is not zero.
    pub fn start(
        clock: ClockId,
        notify: SigevNotify,
        first: Duration,
        every: Duration,
    ) -> Result<Timer, Errno> {
        let mut event = SigEvent::new(notify).sigevent();
        let times = libc::itimerspec { it_interval: timespec(every), it_value: timespec(first) };
        let mut timer: c_int = 0;
        // SAFETY: both calls get structures that live, as the host has them, and the timer that the first one made.
        unsafe {
            Errno::result(libc::syscall(libc::SYS_timer_create, clock.as_raw(), &mut event, &mut timer))?;
            Errno::result(libc::syscall(libc::SYS_timer_settime, timer, 0, &times, ptr::null_mut::<()>()))?;
        }
        Ok(Timer(timer))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it is this one's. It exists, so the call cannot fail.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.0) };
    }
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}
