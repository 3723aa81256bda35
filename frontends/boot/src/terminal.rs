//! The host's side of the guest's streams: standard input, output and error as they are, or the terminal as a console.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use host_linux::backend::Backend;
use host_linux::terminal::RawMode;
use kernel_core::host::{ByteStream, VcpuId};
use kernel_core::kernel::TraceSink;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::console::{Console, End};
use crate::control::Control;
use crate::logger;

/// The exit status of a guest that was ended with `Ctrl-a x`: as if by SIGKILL.
const ENDED: u8 = 128 + 9;

/// The terminal while the guest has it; given back when this is dropped.
pub struct Terminal {
    /// Only a real terminal has modes; a console may also be on pipes.
    raw: Option<RawMode>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.raw = None;
        logger::terminal_is_raw(false);
    }
}

/// One of the three standard streams.
pub fn stream<B: Backend>(host: &B, fd: BorrowedFd<'_>, input: bool) -> Result<Arc<dyn ByteStream>> {
    let (reading, writing) = if input { (Some(fd), None) } else { (None, Some(fd)) };
    Ok(host.stream(reading, writing).context("cannot use a standard stream")?)
}

/// Takes the terminal: from now on it is raw, and what is typed is the console's.
pub fn take<B: Backend>(host: &Arc<B>, control: &Control) -> Result<(Terminal, Arc<dyn ByteStream>)> {
    let context = "cannot use the terminal";
    let screen = host.stream(None, Some(io::stdout().as_fd())).context(context)?;
    let console = Console::new(screen);
    let keyboard = Keyboard(io::stdin().as_fd().try_clone_to_owned().context(context)?.into());
    let messages: File = io::stdout().as_fd().try_clone_to_owned().context(context)?.into();
    let raw = if io::stdin().is_terminal() {
        Some(RawMode::enter(io::stdin().as_fd()).context(context)?)
    } else {
        None
    };
    logger::terminal_is_raw(raw.is_some() && io::stderr().is_terminal());
    host.watch_window_size().context(context)?;
    let (reader, kicked, control) = (console.clone(), host.clone(), control.clone());
    // A raw terminal has no end of file.
    let last = if raw.is_some() { End::Hangup } else { End::OfFile };
    let read = move || {
        let kick = || kicked.kick(VcpuId(0));
        reader.read_keyboard(keyboard, last, messages, kick, || control.end(ENDED));
    };
    std::thread::Builder::new().name("lodger-keyboard".into()).spawn(read).context(context)?;
    Ok((Terminal { raw }, console))
}

/// Standard input, whether or not somebody has set O_NONBLOCK on it.
struct Keyboard(File);

impl Read for Keyboard {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
            match self.0.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

/// Where `--strace` writes: standard error, or a file.
pub fn trace_writer(path: &std::path::Path) -> Result<TraceSink> {
    if path.as_os_str() == "-" {
        return Ok(Arc::new(logger::line));
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    // A full disk must not end the guest.
    Ok(Arc::new(move |text| drop((&file).write_all(format!("{text}\n").as_bytes()))))
}
