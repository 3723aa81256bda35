//! The line discipline N_TTY: what happens between the bytes that come in and those that are read, echoed and written.
//!
//! A pure state machine: bytes in, [`Output`] and signals out. Locks, wake-ups and job control are [`crate::tty::tty`]'s.
//! Sources: `termios(3)`, POSIX chapter 11, and Linux itself: the table in `ldisc/tests.rs` was recorded on it.
//!
//! IMAXBEL and IXOFF have no effect, as on Linux's pseudoterminals: input that does not fit waits with its sender.

mod edit;
pub mod output;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;

use linux_raw_sys::general as sys;

use crate::errno::Result;
use crate::io::Sink;
use crate::tty::ctype;
use crate::tty::termios::Termios;
use output::{Output, StopCause};

/// Bytes of input that are kept; a line of canonical input is at most as long, with its newline.
pub const INPUT_LIMIT: usize = 4096;

/// A byte of input.
#[derive(Clone, Copy)]
struct Slot {
    byte: u8,
    /// It ends a line. A NUL that does is an end of file, which reads do not show.
    ends_line: bool,
}

impl Slot {
    fn is_eof(self) -> bool {
        self.ends_line && self.byte == 0
    }
}

/// The state of a terminal's line discipline.
pub struct Ldisc {
    termios: Termios,
    input: VecDeque<Slot>,
    /// How many bytes at the front of `input` are in complete lines; canonical mode.
    committed: usize,
    /// VLNEXT came: the next byte is taken as it is.
    literal_next: bool,
    /// Inside `\...` of ECHOPRT.
    erasing: bool,
    /// `TIOCPKT_*` bits of what happened since [`Ldisc::take_status`].
    status: u8,
    /// What goes to the other side.
    pub output: Output,
}

impl Ldisc {
    /// An idle one.
    pub fn new(termios: Termios) -> Ldisc {
        Ldisc {
            termios,
            input: VecDeque::new(),
            committed: 0,
            literal_next: false,
            erasing: false,
            status: 0,
            output: Output::default(),
        }
    }

    /// The settings.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. Input that is there becomes one complete line when canonical mode is switched on, and plain
    /// bytes (ends of file being NULs) when it is switched off.
    pub fn set_termios(&mut self, new: Termios) {
        let old = core::mem::replace(&mut self.termios, new);
        if (old.lflag ^ new.lflag) & (sys::ICANON | sys::EXTPROC) != 0 {
            for slot in &mut self.input {
                slot.ends_line = false;
            }
            self.committed = 0;
            if new.canonical()
                && let Some(last) = self.input.back_mut()
            {
                last.ends_line = true;
                self.committed = self.input.len();
            }
            self.erasing = false;
            self.literal_next = false;
        }
        if old.input(sys::IXON) && !new.input(sys::IXON) {
            self.start(StopCause::Character);
        }
        let had_flow = has_standard_flow(&old);
        let has_flow = has_standard_flow(&new);
        if had_flow != has_flow {
            let (on, off) = (sys::TIOCPKT_DOSTOP as u8, sys::TIOCPKT_NOSTOP as u8);
            self.status = self.status & !(on | off) | if has_flow { on } else { off };
        }
        if (old.lflag | new.lflag) & sys::EXTPROC != 0 {
            self.status |= sys::TIOCPKT_IOCTL as u8;
        }
    }

    /// What the master of a pty in packet mode is told: `TIOCPKT_*`.
    pub fn take_status(&mut self) -> u8 {
        core::mem::take(&mut self.status)
    }

    /// Whether a byte that came in would find room. If not, it must wait: the reader is behind.
    pub fn accepts_input(&self) -> bool {
        // With no complete line to read, nothing would ever make room: the end of the line is overwritten instead.
        self.input.len() < self.full() || (self.termios.canonical() && self.committed == 0)
    }

    /// At how many bytes of input another may find no room: two more come with it if it is marked.
    fn full(&self) -> usize {
        if self.termios.input(sys::PARMRK) { INPUT_LIMIT - 3 } else { INPUT_LIMIT - 1 }
    }

    /// Takes a byte that came in, and gives the signal that it asks for, for the foreground process group. After the last
    /// of the bytes that came together call [`Output::release_echoes`].
    pub fn receive(&mut self, byte: u8) -> Option<u8> {
        self.input.truncate(self.full());
        let inspected = self.termios.local(sys::ICANON | sys::ISIG | sys::ECHO)
            || self.termios.input(
                sys::ISTRIP | sys::IUCLC | sys::IGNCR | sys::ICRNL | sys::INLCR | sys::IXON | sys::PARMRK,
            );
        if !inspected {
            self.store(byte);
            return None;
        }
        let literal = core::mem::take(&mut self.literal_next);
        let byte = self.fold(byte);
        if literal {
            self.receive_plain(byte);
        } else if self.termios.local(sys::EXTPROC) {
            self.store(byte);
        } else if self.is_special(byte) {
            return self.receive_special(byte);
        } else {
            self.receive_plain(byte);
        }
        None
    }

    /// Whether a read would get something, or the end of file.
    pub fn has_input(&self) -> bool {
        if self.reads_lines() { self.committed > 0 } else { !self.input.is_empty() }
    }

    /// Whether reads give whole lines now.
    pub fn reads_lines(&self) -> bool {
        self.termios.canonical() && !self.termios.local(sys::EXTPROC)
    }

    /// `FIONREAD`: the bytes that reads would give.
    pub fn readable(&self) -> usize {
        if self.reads_lines() {
            self.input.iter().take(self.committed).filter(|slot| !slot.is_eof()).count()
        } else {
            self.input.len()
        }
    }

    /// Reads: in canonical mode up to the end of one line, else whatever is there. Bytes that `dst` did not take stay.
    /// Call it only if there [`Ldisc::has_input`].
    pub fn read(&mut self, dst: &mut dyn Sink) -> Result<usize> {
        let lines = self.reads_lines();
        let limit = if lines { self.committed } else { self.input.len() };
        let mut total = 0;
        let mut ended = false;
        while !ended && total < limit && dst.remaining() > 0 {
            let mut piece = [0; 256];
            let mut len = 0;
            let mut at_eof = false;
            for slot in self.input.range(..limit - total).take(piece.len().min(dst.remaining())) {
                if lines && slot.is_eof() {
                    (ended, at_eof) = (true, true);
                    break;
                }
                piece[len] = slot.byte;
                len += 1;
                if lines && slot.ends_line {
                    ended = true;
                    break;
                }
            }
            let taken = match dst.put(&piece[..len]) {
                Ok(taken) => taken.min(len),
                Err(error) if total == 0 => return Err(error),
                Err(_) => 0,
            };
            self.consume(taken);
            total += taken;
            if taken < len {
                return Ok(total);
            }
            if at_eof {
                self.consume(1);
                return Ok(total);
            }
        }
        // An end of file right behind a read that got all it asked for is not seen by the next one.
        if lines
            && !ended
            && total > 0
            && self.committed > 0
            && self.input.front().is_some_and(|slot| slot.is_eof())
        {
            self.consume(1);
        }
        Ok(total)
    }

    /// Forgets all input.
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.committed = 0;
        self.erasing = false;
        self.status |= sys::TIOCPKT_FLUSHREAD as u8;
    }

    /// Forgets output that is on its way.
    pub fn flush_output(&mut self) {
        self.output.flush();
        self.status |= sys::TIOCPKT_FLUSHWRITE as u8;
    }

    /// Stops output.
    pub fn stop(&mut self, cause: StopCause) {
        if self.output.stop(cause) {
            self.status = self.status & !(sys::TIOCPKT_START as u8) | sys::TIOCPKT_STOP as u8;
        }
    }

    /// Lets output run again that was stopped for `cause`.
    pub fn start(&mut self, cause: StopCause) {
        if self.output.start(cause) {
            self.status = self.status & !(sys::TIOCPKT_STOP as u8) | sys::TIOCPKT_START as u8;
        }
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.input.len());
        self.input.drain(..count);
        self.committed = self.committed.saturating_sub(count);
    }

    /// ISTRIP and IUCLC.
    fn fold(&self, byte: u8) -> u8 {
        let byte = if self.termios.input(sys::ISTRIP) { byte & 0x7f } else { byte };
        if self.termios.input(sys::IUCLC) && self.termios.local(sys::IEXTEN) {
            ctype::to_lower(byte)
        } else {
            byte
        }
    }

    /// Whether a byte has a meaning under the present settings.
    fn is_special(&self, byte: u8) -> bool {
        let t = &self.termios;
        let any = |indexes: &[u32]| indexes.iter().any(|&index| t.is_control(index, byte));
        let extended = t.local(sys::IEXTEN);
        (byte == b'\r' && t.input(sys::IGNCR | sys::ICRNL))
            || (byte == b'\n' && (t.input(sys::INLCR) || t.canonical()))
            || (t.canonical() && any(&[sys::VERASE, sys::VKILL, sys::VEOF, sys::VEOL]))
            || (t.canonical() && extended && any(&[sys::VWERASE, sys::VLNEXT, sys::VEOL2]))
            || (t.canonical() && extended && t.local(sys::ECHO) && any(&[sys::VREPRINT]))
            || (t.input(sys::IXON) && any(&[sys::VSTART, sys::VSTOP]))
            || (t.local(sys::ISIG) && any(&[sys::VINTR, sys::VQUIT, sys::VSUSP]))
    }

    fn receive_special(&mut self, mut byte: u8) -> Option<u8> {
        let t = self.termios;
        if t.input(sys::IXON) {
            if t.is_control(sys::VSTART, byte) {
                self.start(StopCause::Character);
                self.output.release_echoes();
                return None;
            }
            if t.is_control(sys::VSTOP, byte) {
                self.stop(StopCause::Character);
                return None;
            }
        }
        if t.local(sys::ISIG) {
            let signals = [(sys::VINTR, sys::SIGINT), (sys::VQUIT, sys::SIGQUIT), (sys::VSUSP, sys::SIGTSTP)];
            if let Some((_, signal)) = signals.iter().find(|(index, _)| t.is_control(*index, byte)) {
                self.receive_signal(byte);
                return Some(*signal as u8);
            }
        }
        self.restart_on_any();
        match byte {
            b'\r' if t.input(sys::IGNCR) => return None,
            b'\r' if t.input(sys::ICRNL) => byte = b'\n',
            b'\n' if t.input(sys::INLCR) => byte = b'\r',
            _ => {}
        }
        if t.canonical() && self.edit(byte) {
            return None;
        }
        if byte == b'\n' && t.local(sys::ECHO) {
            self.finish_erasing();
            self.output.echo_raw(&t, byte);
        } else {
            self.echo_plain(byte);
        }
        self.store_marked(byte);
        None
    }

    fn receive_signal(&mut self, byte: u8) {
        if !self.termios.local(sys::NOFLSH) {
            self.flush_output();
            self.flush_input();
        }
        if self.termios.input(sys::IXON) {
            self.start(StopCause::Character);
        }
        if self.termios.local(sys::ECHO) {
            self.output.echo(&self.termios, byte);
        }
    }

    /// A byte that is data.
    fn receive_plain(&mut self, byte: u8) {
        self.restart_on_any();
        self.echo_plain(byte);
        self.store_marked(byte);
    }

    fn restart_on_any(&mut self) {
        if self.termios.input(sys::IXON) && self.termios.input(sys::IXANY) {
            self.start(StopCause::Character);
        }
    }

    fn echo_plain(&mut self, byte: u8) {
        if self.termios.local(sys::ECHO) {
            self.finish_erasing();
            if self.line_is_empty() {
                self.output.mark_line_start();
            }
            self.output.echo(&self.termios, byte);
        }
    }

    /// Stores data; with PARMRK a 0xff is doubled, so that it is not taken for a mark.
    fn store_marked(&mut self, byte: u8) {
        if byte == 0xff && self.termios.input(sys::PARMRK) {
            self.store(byte);
        }
        self.store(byte);
    }

    fn store(&mut self, byte: u8) {
        self.input.push_back(Slot { byte, ends_line: false });
    }

    /// Ends the line being edited with `byte`, NUL being an end of file.
    fn commit_line(&mut self, byte: u8) {
        self.input.push_back(Slot { byte, ends_line: true });
        self.committed = self.input.len();
    }

    /// Whether the line being edited has no bytes.
    fn line_is_empty(&self) -> bool {
        self.input.len() == self.committed
    }
}

/// Whether ^S and ^Q do what they do by default, which a remote terminal can then do at its own side.
fn has_standard_flow(termios: &Termios) -> bool {
    termios.input(sys::IXON) && termios.is_control(sys::VSTOP, 0x13) && termios.is_control(sys::VSTART, 0x11)
}
