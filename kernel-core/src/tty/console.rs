//! The console: a terminal whose other end is the host's. The host passes bytes only; our line discipline does the rest.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use crate::errno::Result;
use crate::host::{ByteStream, Ready, StreamError};
use crate::services::Device as PolledDevice;
use crate::tty::CONSOLE;
use crate::tty::termios::{Termios, WinSize};
use crate::tty::tty::{Driver, READABLE, Tty, TtyServices};
use crate::vfs::device::{Opener, Special};
use crate::vfs::file::{FileOps, OpenFlags};

/// `/dev/console`.
pub struct Console {
    tty: Arc<Tty>,
    stream: Arc<dyn ByteStream>,
}

impl Console {
    /// A console on a terminal (or a pair of pipes) of the host.
    pub fn new(services: TtyServices, stream: Arc<dyn ByteStream>) -> Arc<Console> {
        let driver = Driver::Console(stream.clone());
        let tty = Tty::new(services, driver, CONSOLE, console_termios());
        let console = Arc::new(Console { tty, stream });
        console.update_size();
        console
    }

    /// The terminal.
    pub fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }

    fn update_size(&self) {
        if let Some((rows, columns)) = self.stream.window_size() {
            self.tty.set_size(WinSize { rows, columns, ..WinSize::default() });
        }
    }
}

impl PolledDevice for Console {
    /// Takes input, gives output, and looks at the size of the window.
    fn poll_device(&self) {
        self.update_size();
        self.tty.pull_input();
        self.tty.push_output();
    }
}

impl Opener for Console {
    /// As on Linux, opening `/dev/console` never makes it the controlling terminal; TIOCSCTTY does.
    fn open(&self, file: &Special<'_>) -> Result<Arc<dyn FileOps>> {
        Ok(self.tty.open(file.flags | OpenFlags::NOCTTY, file.caller)?)
    }
}

fn console_termios() -> Termios {
    let mut termios = Termios::standard();
    termios.iflag |= sys::IUTF8;
    termios.cflag |= sys::HUPCL;
    termios
}

impl Tty {
    /// The settings that it starts with, and gets again when it is hung up.
    pub(super) fn initial_termios(&self) -> Termios {
        match self.driver {
            Driver::Pty { .. } => Termios::standard(),
            Driver::Console(_) => console_termios(),
        }
    }

    /// Takes what the host has, as long as there is room for it.
    pub(super) fn pull_input(&self) {
        let Driver::Console(stream) = &self.driver else { return };
        loop {
            let mut chunk = [0; 512];
            let room = {
                let mut state = self.state.lock();
                if state.console.pulling || state.console.input_ended || state.input_room() == 0 {
                    return;
                }
                state.console.pulling = true;
                state.input_room().min(chunk.len())
            };
            let read = stream.read(&mut chunk[..room]);
            self.state.lock().console.pulling = false;
            match read {
                Ok(len) if len > 0 => {
                    self.insert_input(&chunk[..len.min(room)]);
                }
                Err(StreamError::WouldBlock) => {
                    // Asks for a kick. What came in since the read is there already.
                    if !stream.ready(Ready::READ).contains(Ready::READ) {
                        return;
                    }
                }
                Ok(_) | Err(StreamError::Failed) => {
                    self.update(|state, effects| {
                        state.console.input_ended = true;
                        effects.wake = READABLE;
                    });
                    return;
                }
                // The host's terminal is gone, not only what was to be read from it.
                Err(StreamError::Closed) => {
                    self.state.lock().console.input_ended = true;
                    self.hangup();
                    return;
                }
            }
        }
    }

    /// Gives the host what output there is, as long as it takes it.
    pub(super) fn push_output(&self) {
        let Driver::Console(stream) = &self.driver else { return };
        let mut chunk = [0; 512];
        loop {
            let len = {
                let mut state = self.state.lock();
                if state.console.pushing {
                    return;
                }
                let len = state.ldisc.output.peek(&mut chunk);
                state.console.pushing = len > 0;
                len
            };
            if len == 0 {
                return;
            }
            let written = stream.write(&chunk[..len]);
            let (made_room, go_on) = {
                let mut state = self.state.lock();
                state.console.pushing = false;
                let was_writable = state.ldisc.output.writable();
                let go_on = match written {
                    Ok(taken) => {
                        state.ldisc.output.consume(taken.min(len));
                        taken > 0
                    }
                    Err(StreamError::WouldBlock) => false,
                    // Nobody will ever read it; whoever writes must not wait for that.
                    Err(StreamError::Closed | StreamError::Failed) => {
                        state.ldisc.output.consume(len);
                        true
                    }
                };
                (!was_writable && state.ldisc.output.writable(), go_on)
            };
            if made_room {
                self.queue.wake(crate::tty::tty::WRITABLE);
            }
            if !go_on && !stream.ready(Ready::WRITE).contains(Ready::WRITE) {
                return;
            }
        }
    }
}
