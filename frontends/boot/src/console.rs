//! The guest's console on the host's terminal.
//!
//! A thread of its own reads the keyboard, so that the escapes of [`crate::escape`] work even when nothing in the guest
//! reads, and when the kernel itself hangs. What is typed waits in a bounded queue for the kernel; when it is full, the
//! thread waits, and the terminal holds the rest.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use kernel_core::host::{ByteStream, Ready, StreamError};

use crate::escape::{Action, Escapes, HELP};

/// How much that was typed may wait, in bytes.
const ROOM: usize = 64 << 10;

/// A terminal as the kernel sees it.
pub struct Console {
    typed: Mutex<Typed>,
    taken: Condvar,
    /// Where output goes, and what knows the size.
    screen: Arc<dyn ByteStream>,
}

#[derive(Default)]
struct Typed {
    bytes: VecDeque<u8>,
    end: Option<End>,
}

/// How the keyboard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All was read that is there, as from a pipe or a file.
    OfFile,
    /// The terminal was taken away.
    Hangup,
}

impl Console {
    /// A console that writes to `screen`; [`Console::read_keyboard`] feeds it.
    pub fn new(screen: Arc<dyn ByteStream>) -> Arc<Console> {
        Arc::new(Console { typed: Mutex::default(), taken: Condvar::new(), screen })
    }

    fn typed(&self) -> MutexGuard<'_, Typed> {
        self.typed.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Reads the keyboard to its end, which then means `last`. `kick` tells the kernel that there is something; `end`
    /// ends the guest.
    pub fn read_keyboard(
        &self,
        mut keyboard: impl Read,
        last: End,
        mut messages: impl Write,
        kick: impl Fn(),
        end: impl Fn(),
    ) {
        let mut escapes = Escapes::default();
        let mut buf = [0; 4096];
        loop {
            let n = match keyboard.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            for byte in &buf[..n] {
                let (byte, action) = escapes.feed(*byte);
                match action {
                    Some(Action::End) => end(),
                    // A terminal that is gone needs no help.
                    Some(Action::Help) => drop(messages.write_all(HELP.as_bytes())),
                    None => {}
                }
                if let Some(byte) = byte {
                    self.push(byte, &kick);
                }
            }
            kick();
        }
        self.typed().end = Some(last);
        kick();
    }

    fn push(&self, byte: u8, kick: impl Fn()) {
        let mut typed = self.typed();
        if typed.bytes.len() >= ROOM {
            kick();
        }
        while typed.bytes.len() >= ROOM {
            typed = self.taken.wait(typed).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        typed.bytes.push_back(byte);
    }
}

impl ByteStream for Console {
    fn read(&self, buf: &mut [u8]) -> Result<usize, StreamError> {
        let mut typed = self.typed();
        if typed.bytes.is_empty() {
            return match typed.end {
                _ if buf.is_empty() => Ok(0),
                Some(End::OfFile) => Ok(0),
                Some(End::Hangup) => Err(StreamError::Closed),
                None => Err(StreamError::WouldBlock),
            };
        }
        let n = typed.bytes.read(buf).unwrap_or(0);
        drop(typed);
        self.taken.notify_one();
        Ok(n)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, StreamError> {
        self.screen.write(buf)
    }

    fn ready(&self, wanted: Ready) -> Ready {
        let mut ready = self.screen.ready(wanted - Ready::READ) - Ready::READ;
        let typed = self.typed();
        ready.set(Ready::READ, !typed.bytes.is_empty() || typed.end.is_some());
        ready.set(Ready::HANGUP, typed.end.is_some() || ready.contains(Ready::HANGUP));
        ready
    }

    fn waiting(&self) -> Option<usize> {
        Some(self.typed().bytes.len())
    }

    fn window_size(&self) -> Option<(u16, u16)> {
        self.screen.window_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Screen;
    impl ByteStream for Screen {
        fn read(&self, _buf: &mut [u8]) -> Result<usize, StreamError> {
            Err(StreamError::Failed)
        }
        fn write(&self, buf: &[u8]) -> Result<usize, StreamError> {
            Ok(buf.len())
        }
        fn ready(&self, _wanted: Ready) -> Ready {
            Ready::WRITE
        }
    }

    #[test]
    fn keys_reach_the_kernel_and_escapes_do_not() {
        let console = Console::new(Arc::new(Screen));
        let (kicks, ends) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let count = |counter: &AtomicUsize| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        assert_eq!(console.read(&mut [0; 4]), Err(StreamError::WouldBlock));
        assert_eq!(console.ready(Ready::all()), Ready::WRITE);
        let (mut messages, keys) = (Vec::new(), b"a\x01hb\x01x".as_slice());
        console.read_keyboard(keys, End::OfFile, &mut messages, || count(&kicks), || count(&ends));
        assert!(String::from_utf8(messages).unwrap().contains("Ctrl-a x"));
        assert!(kicks.load(Ordering::Relaxed) > 0 && ends.load(Ordering::Relaxed) == 1);
        let mut buf = [0; 4];
        assert_eq!(console.read(&mut buf), Ok(2));
        assert_eq!(&buf[..2], b"ab");
        assert_eq!(console.read(&mut buf), Ok(0), "the end");
        assert_eq!(console.ready(Ready::all()), Ready::all());
    }

    #[test]
    fn a_long_paste_waits_for_the_kernel() {
        let console = Console::new(Arc::new(Screen));
        let pasted = vec![b'x'; 3 * ROOM];
        std::thread::scope(|scope| {
            scope.spawn(|| console.read_keyboard(pasted.as_slice(), End::OfFile, Vec::new(), || {}, || {}));
            let (mut total, mut buf) = (0, vec![0; 1000]);
            while total < pasted.len() {
                match console.read(&mut buf) {
                    Ok(n) => total += n,
                    Err(_) => std::thread::yield_now(),
                }
                assert!(console.typed().bytes.len() <= ROOM);
            }
            assert_eq!(total, pasted.len());
        });
    }
}
