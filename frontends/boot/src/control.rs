//! How an instance is ended from outside: what signals and the terminal's escape ask for reaches the kernel here, and if
//! the kernel does not answer, the process ends without it.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use host_linux::patience;

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
#[derive(Clone)]
pub struct Control {
    state: Arc<Mutex<State>>,
    /// The way of signals to a guest. They have a thread of their own: whoever takes the next signal, which may be the one
    /// that insists, must not hang in a kernel that does.
    signals: Sender<u8>,
}

#[derive(Default)]
struct State {
    guest: Option<Arc<dyn Guest>>,
    status: Option<u8>,
}

impl Control {
    /// Without a guest yet. Starts the thread that passes signals.
    pub fn new() -> io::Result<Control> {
        let state = Arc::<Mutex<State>>::default();
        let (signals, pending) = mpsc::channel();
        let of = state.clone();
        let pass = move || {
            pending.into_iter().for_each(|signal| {
                let guest = lock(&of).guest.clone();
                if let Some(guest) = guest {
                    guest.signal(signal);
                }
            });
        };
        std::thread::Builder::new().name("lodger-pass".into()).spawn(pass)?;
        Ok(Control { state, signals })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
        let signal = match request {
            Request::Pass(signal) => signal,
            Request::End(status) => return self.end(status),
        };
        if self.state().guest.is_none() {
            leave(signal.saturating_add(128));
        }
        // The thread that takes it lives as long as this.
        let _ = self.signals.send(signal);
    }

    /// Ends the instance with this exit status; if it does not end soon, the process.
    pub fn end(&self, status: u8) {
        // First of all, as everything that follows may hang: a lock that is never given back is one of the ways to.
        if patience::end_after(PATIENCE, status).is_err() {
            leave(status);
        }
        let guest = {
            let mut state = self.state();
            state.status.get_or_insert(status);
            state.guest.clone()
        };
        let Some(guest) = guest else { leave(status) };
        guest.end();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Ends the process; the terminal is as it was before.
fn leave(status: u8) -> ! {
    host_linux::terminal::restore();
    std::process::exit(i32::from(status));
}

/// Makes a panic of any thread the end of the process, with the status of lodger's own failures; `meaning` is said of
/// it. The guest's processes end with it.
pub fn exit_on_panic(meaning: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        // Should it go wrong, the panic itself is all the sooner the end.
        let _ = patience::end_after(PATIENCE, crate::FAILURE);
        host_linux::terminal::restore();
        logger::terminal_is_raw(false);
        let backtrace = std::backtrace::Backtrace::capture();
        logger::say(&format!("{meaning}: {panic}"));
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            logger::say(&backtrace.to_string());
        }
        std::process::exit(i32::from(crate::FAILURE));
    }));
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
        let (control, guest) = (Control::new().unwrap(), Arc::new(Fake::default()));
        control.attach(guest.clone());
        control.serve(Request::Pass(2));
        control.serve(Request::Pass(15));
        let end = Instant::now() + Duration::from_secs(5);
        while guest.calls.lock().unwrap().len() < 2 && Instant::now() < end {
            std::thread::yield_now();
        }
        assert_eq!(*guest.calls.lock().unwrap(), [2, 15]);
        assert_eq!(control.status(), None);
    }
}
