//! A program on a real terminal: a pseudoterminal, and a parser that keeps what its screen would show.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{self, SigHandler, Signal, killpg};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, setsid};

mod ioctl {
    nix::ioctl_write_int_bad!(take_terminal, nix::libc::TIOCSCTTY);
    nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, nix::pty::Winsize);
}

/// How long to wait for something on the screen.
const LIMIT: Duration = Duration::from_secs(15);

/// A program asks where the cursor is (DSR 6 of ECMA-48), and a terminal answers `ESC [ row ; column R`.
const WHERE_IS_CURSOR: &[u8] = b"\x1b[6n";

/// A program and its terminal.
pub struct Terminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    parser: vt100::Parser,
    raw: Vec<u8>,
    /// How much of it the parser has seen.
    shown: usize,
    /// How much of the output, as [`plain`] text, was waited for.
    seen: usize,
}

impl Terminal {
    /// Starts a program on a terminal of 24 lines and 80 columns, as the leader of its session.
    pub fn start(mut command: Command) -> Result<Terminal> {
        let size = winsize(24, 80);
        let pty = openpty(&size, None)?;
        for fd in [&pty.master, &pty.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let stream = || pty.slave.try_clone();
        command.stdin(stream()?).stdout(stream()?).stderr(stream()?).env("TERM", "xterm");
        // SAFETY: between fork and exec only system calls are made, on what is the child's own.
        unsafe {
            command.pre_exec(|| {
                // Whoever runs the tests may ignore what a terminal sends (nohup, a shell's background).
                for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
                    signal::signal(signal, SigHandler::SigDfl)?;
                }
                setsid()?;
                ioctl::take_terminal(0, 0)?;
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let parser = vt100::Parser::new(24, 80, 1000);
        let master = File::from(pty.master);
        Ok(Terminal { child, master, slave: pty.slave, parser, raw: Vec::new(), shown: 0, seen: 0 })
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.parser.screen().contents()
    }

    /// The attributes of the terminal.
    pub fn attributes(&self) -> Result<Termios> {
        Ok(tcgetattr(&self.slave)?)
    }

    /// Changes the size of the window.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        self.parser.screen_mut().set_size(rows, columns);
        // SAFETY: the structure lives.
        unsafe { ioctl::set_size(self.master.as_raw_fd(), &winsize(rows, columns)) }?;
        Ok(())
    }

    /// Reads what comes within `wait`; false when nothing did.
    fn pump(&mut self, wait: Duration) -> Result<bool> {
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        if poll(&mut [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        let n = self.master.read(&mut buffer).unwrap_or(0);
        self.raw.extend_from_slice(&buffer[..n]);
        self.show()?;
        Ok(n > 0)
    }

    /// Shows what was read, and tells where the cursor is at each point where that was asked.
    fn show(&mut self) -> Result<()> {
        loop {
            // A question may have come in two parts.
            let from = self.shown.saturating_sub(WHERE_IS_CURSOR.len() - 1);
            let asked = self.raw[from..].windows(WHERE_IS_CURSOR.len()).position(|at| at == WHERE_IS_CURSOR);
            let end = asked.map_or(self.raw.len(), |at| from + at + WHERE_IS_CURSOR.len());
            self.parser.process(&self.raw[self.shown..end]);
            self.shown = end;
            if asked.is_none() {
                return Ok(());
            }
            let (row, column) = self.parser.screen().cursor_position();
            self.send(&format!("\x1b[{};{}R", row + 1, column + 1))?;
        }
    }

    /// Waits until `text` came out after all that was waited for before, control sequences left out.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            let plain = plain(&self.raw);
            let new = plain.get(self.seen..).unwrap_or_default();
            if let Some(at) = new.find(text) {
                self.seen += at + text.len();
                return Ok(());
            }
            if Instant::now() > end {
                bail!("`{text}` did not come; since the last: {new:?}; the screen:\n{}", self.screen());
            }
            self.pump(Duration::from_millis(50))?;
        }
    }

    /// Waits until the screen, as it is drawn, satisfies `holds`.
    pub fn screen_until(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !holds(&self.screen()) {
            if Instant::now() > end {
                bail!("the screen never showed {what}:\n{}", self.screen());
            }
            self.pump(Duration::from_millis(50))?;
        }
        self.seen = plain(&self.raw).len();
        Ok(())
    }

    /// Waits until something else than the screen is as it should be.
    pub fn wait_for(&mut self, what: &str, holds: impl Fn(&Terminal) -> Result<bool>) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !holds(self)? {
            if Instant::now() > end {
                bail!("no {what}; the screen:\n{}", self.screen());
            }
            self.pump(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// The one child of the program.
    pub fn child(&self) -> Result<Pid> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        Ok(Pid::from_raw(children.trim().parse().with_context(|| format!("children: {children:?}"))?))
    }

    /// Takes the terminal away, and waits for the end of the program; its status, or minus the number of a signal.
    pub fn hang_up(mut self) -> Result<i32> {
        let end = Instant::now() + LIMIT;
        self.master = File::open("/dev/null")?;
        self.slave = self.master.try_clone()?.into();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)));
            }
            if Instant::now() > end {
                bail!("it did not end with its terminal");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end of the program; its status, or minus the number of a signal.
    pub fn end(mut self) -> Result<(i32, Termios)> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let status = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
                let attributes = self.attributes()?;
                return Ok((status, attributes));
            }
            if Instant::now() > end {
                bail!("it did not end; the screen:\n{}", self.screen());
            }
            self.pump(Duration::from_millis(20))?;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

fn winsize(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Text without control sequences (ESC [ ... letter, ESC ] ... BEL, ESC and one letter).
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => match chars.next() {
                Some('[') => drop(chars.find(|c| c.is_ascii_alphabetic() || *c == '~')),
                Some(']') => drop(chars.find(|c| *c == '\x07')),
                _ => {}
            },
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_of_this_machine_is_typed_at() -> Result<()> {
        let mut command = Command::new("/bin/sh");
        command.arg("-i").env("PS1", "ready> ");
        let mut terminal = Terminal::start(command)?;
        terminal.expect("ready>")?;
        terminal.send("echo one-$((40+2)); stty size\r")?;
        terminal.expect("one-42")?;
        terminal.expect("24 80")?;
        terminal.send("sleep 100\r")?;
        terminal.expect("sleep 100")?;
        std::thread::sleep(Duration::from_millis(200));
        terminal.send("\x03")?;
        terminal.expect("ready>")?;
        terminal.send("exit 7\r")?;
        assert_eq!(terminal.end()?.0, 7);
        Ok(())
    }

    #[test]
    fn the_cursor_is_told_where_it_is() -> Result<()> {
        let script =
            "stty raw -echo; printf 'ab\\033[6nc\\033['; sleep 0.1; printf '6n'; head -c 12 | od -An -c";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let mut terminal = Terminal::start(command)?;
        terminal.expect("[   1   ;   3   R 033   [   1   ;   4   R")?;
        assert_eq!(terminal.end()?.0, 0);
        Ok(())
    }

    #[test]
    fn control_sequences_are_left_out() {
        assert_eq!(plain(b"a\x1b[1;31mb\x1b[0m\x1b]0;title\x07c\x1b=d"), "abcd");
    }
}
