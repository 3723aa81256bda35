//! How an instance is ended from outside: what signals and the terminal's escape ask for reaches the kernel here, and if
//! the kernel does not answer, the process ends without it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::logger;
use crate::signals::Request;

/// How long a kernel that is told to end may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A kernel that runs, as seen from outside.
pub trait Guest: Send + Sync {
    /// Sends a signal to PID 1.
    fn signal(&self, signal: u8);
    /// Ends the instance.
    fn end(&self);
}

/// Knows the guest, once there is one. Shared by all who may end it.
#[derive(Clone, Default)]
pub struct Control {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    guest: Option<Arc<dyn Guest>>,
    status: Option<u8>,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// There is a guest from now on.
    pub fn attach(&self, guest: Arc<dyn Guest>) {
        self.state().guest = Some(guest);
    }

    /// The guest is over; what is asked of it from now on is void.
    pub fn detach(&self) {
        self.state().guest = None;
    }

    /// The exit status that whoever ended the instance asked for.
    pub fn status(&self) -> Option<u8> {
        self.state().status
    }

    /// Does what a signal asks for. Before there is a guest, it is lodger that the signal means.
    pub fn serve(&self, request: Request) {
        let guest = self.state().guest.clone();
        match (request, guest) {
            (Request::Pass(signal), Some(guest)) => guest.signal(signal),
            (Request::Pass(signal), None) => leave(signal.saturating_add(128)),
            (Request::End(status), _) => self.end(status),
        }
    }

    /// Ends the instance with this exit status; if it does not end soon, the process.
    pub fn end(&self, status: u8) {
        let guest = {
            let mut state = self.state();
            state.status.get_or_insert(status);
            state.guest.clone()
        };
        let Some(guest) = guest else { leave(status) };
        guest.end();
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            leave(status);
        });
    }
}

/// Ends the process; the terminal is as it was before.
fn leave(status: u8) -> ! {
    host_linux::terminal::restore();
    std::process::exit(i32::from(status));
}

/// Makes a panic of any thread the end of the process, with the status of lodger's own failures. The guest's processes
/// end with it.
pub fn exit_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        host_linux::terminal::restore();
        logger::terminal_is_raw(false);
        let backtrace = std::backtrace::Backtrace::capture();
        logger::say(&format!("this is a bug in Lodger: {panic}"));
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            logger::say(&backtrace.to_string());
        }
        std::process::exit(i32::from(crate::FAILURE));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake {
        calls: Mutex<Vec<u8>>,
    }

    impl Guest for Fake {
        fn signal(&self, signal: u8) {
            self.calls.lock().unwrap().push(signal);
        }
        fn end(&self) {
            self.calls.lock().unwrap().push(0);
        }
    }

    #[test]
    fn requests_reach_the_guest() {
        let (control, guest) = (Control::default(), Arc::new(Fake::default()));
        control.attach(guest.clone());
        control.serve(Request::Pass(2));
        control.serve(Request::Pass(15));
        assert_eq!(*guest.calls.lock().unwrap(), [2, 15]);
        assert_eq!(control.status(), None);
    }
}
