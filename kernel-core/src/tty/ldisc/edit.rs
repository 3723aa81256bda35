//! Line editing: what the special characters of canonical mode do to the line that is being typed.

use linux_raw_sys::general as sys;

use super::Ldisc;
use super::output::TabStart;
use crate::tty::ctype;

/// How much an erasing character takes away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

impl Ldisc {
    /// Does what `byte` means for the line being edited. False if it is data.
    pub(super) fn edit(&mut self, byte: u8) -> bool {
        let t = self.termios;
        let extended = t.local(sys::IEXTEN);
        if t.is_control(sys::VERASE, byte) {
            self.erase(Erase::Character);
        } else if t.is_control(sys::VKILL, byte) {
            self.kill();
        } else if extended && t.is_control(sys::VWERASE, byte) {
            self.erase(Erase::Word);
        } else if extended && t.is_control(sys::VLNEXT, byte) {
            self.expect_literal();
        } else if extended && t.local(sys::ECHO) && t.is_control(sys::VREPRINT, byte) {
            self.reprint(byte);
        } else if byte == b'\n' {
            if t.local(sys::ECHO | sys::ECHONL) {
                self.output.echo_raw(&t, byte);
            }
            self.commit_line(byte);
        } else if t.is_control(sys::VEOF, byte) {
            self.commit_line(0);
        } else if t.is_control(sys::VEOL, byte) || (extended && t.is_control(sys::VEOL2, byte)) {
            if t.local(sys::ECHO) {
                if self.line_is_empty() {
                    self.output.mark_line_start();
                }
                self.output.echo(&t, byte);
            }
            if byte == 0xff && t.input(sys::PARMRK) {
                self.store(byte);
            }
            self.commit_line(byte);
        } else {
            return false;
        }
        true
    }

    /// Closes the `\...` of ECHOPRT.
    pub(super) fn finish_erasing(&mut self) {
        if core::mem::take(&mut self.erasing) {
            self.output.echo_raw(&self.termios, b'/');
        }
    }

    fn expect_literal(&mut self) {
        self.literal_next = true;
        if self.termios.local(sys::ECHO) {
            self.finish_erasing();
            if self.termios.local(sys::ECHOCTL) {
                self.output.echo_raw(&self.termios, b'^');
                self.output.echo_raw(&self.termios, 0x08);
            }
        }
    }

    fn reprint(&mut self, byte: u8) {
        self.finish_erasing();
        self.output.echo(&self.termios, byte);
        self.output.echo_raw(&self.termios, b'\n');
        for slot in self.input.range(self.committed..) {
            self.output.echo(&self.termios, slot.byte);
        }
    }

    fn kill(&mut self) {
        if self.line_is_empty() {
            return;
        }
        let t = self.termios;
        if t.local(sys::ECHO) && t.local(sys::ECHOK) && t.local(sys::ECHOKE) && t.local(sys::ECHOE) {
            return self.erase(Erase::Line);
        }
        self.input.truncate(self.committed);
        if t.local(sys::ECHO) {
            self.finish_erasing();
            self.output.echo(&t, t.control(sys::VKILL));
            if t.local(sys::ECHOK) {
                self.output.echo_raw(&t, b'\n');
            }
        }
    }

    fn erase(&mut self, what: Erase) {
        if self.line_is_empty() {
            return;
        }
        let t = self.termios;
        let mut in_word = false;
        while !self.line_is_empty() {
            let Some((start, first)) = self.last_character() else { break };
            if what == Erase::Word {
                if ctype::is_word(first) {
                    in_word = true;
                } else if in_word {
                    break;
                }
            }
            if t.local(sys::ECHO) {
                self.echo_erased(what, start, first);
            }
            self.input.truncate(start);
            if what == Erase::Character {
                break;
            }
        }
        if self.line_is_empty() && t.local(sys::ECHO) {
            self.finish_erasing();
        }
    }

    /// Where the last character of the line starts, and its first byte. `None` if it is torn.
    fn last_character(&self) -> Option<(usize, u8)> {
        let start = (self.committed..self.input.len()).rev().find(|&at| {
            self.input.get(at).is_some_and(|slot| !ctype::is_continuation(slot.byte, &self.termios))
        })?;
        Some((start, self.input.get(start)?.byte))
    }

    /// Shows that the bytes from `start` on, the first being `first`, go away.
    fn echo_erased(&mut self, what: Erase, start: usize, first: u8) {
        let t = self.termios;
        if t.local(sys::ECHOPRT) {
            if !core::mem::replace(&mut self.erasing, true) {
                self.output.echo_raw(&t, b'\\');
            }
            self.output.echo(&t, first);
            for slot in self.input.range(start..).skip(1) {
                self.output.echo_raw(&t, slot.byte);
                self.output.back();
            }
        } else if what == Erase::Character && !t.local(sys::ECHOE) {
            self.output.echo(&t, t.control(sys::VERASE));
        } else if first == b'\t' {
            let (from, width) = self.columns_before(start);
            self.output.erase_tab(from, width);
        } else {
            let shown = match (ctype::is_control(first), t.local(sys::ECHOCTL)) {
                (true, true) => 2,
                (true, false) => 0,
                (false, _) => 1,
            };
            for _ in 0..shown {
                for byte in [0x08, b' ', 0x08] {
                    self.output.echo_raw(&t, byte);
                }
            }
        }
    }

    /// How many columns the bytes before `end` take, back to a tab or the start of the line.
    fn columns_before(&self, end: usize) -> (TabStart, usize) {
        let mut width = 0;
        for slot in self.input.range(self.committed..end).rev() {
            if slot.byte == b'\t' {
                return (TabStart::Tab, width);
            }
            if ctype::is_control(slot.byte) {
                width += if self.termios.local(sys::ECHOCTL) { 2 } else { 0 };
            } else if !ctype::is_continuation(slot.byte, &self.termios) {
                width += 1;
            }
        }
        (TabStart::Line, width)
    }
}
