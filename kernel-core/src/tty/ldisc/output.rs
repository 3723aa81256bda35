//! The way out of the line discipline: output processing, column tracking, flow control, and echoes.
//!
//! Written bytes and echoes share one queue, so that they come out in order. Echoes are held back apart until the input
//! that came together is through (a signal among it takes back the echoes before it), and while output is stopped or the
//! queue is full. They are bounded, and writers wait until they are out.

use alloc::collections::VecDeque;

use linux_raw_sys::general as sys;

use crate::tty::ctype;
use crate::tty::termios::Termios;

/// A writer waits once this many bytes are queued; what one chunk of a write expands to may exceed it.
pub const OUTPUT_LIMIT: usize = 8192;
/// Echoes that are held back; the oldest make room.
const ECHO_LIMIT: usize = 4096;
/// Echoes that are let out without waiting for the end of what came in together.
const ECHO_BATCH: usize = 256;
/// What stays when output is flushed: on Linux these bytes are with the reader of the other side already.
const DELIVERED: usize = 4095;

/// Where a byte comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A write: the caller has looked at [`Output::writable`].
    Write,
    /// An echo of input.
    Echo,
}

/// Who stopped the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// VSTOP came in.
    Character,
    /// `tcflow`: only `tcflow` ends it.
    Ioctl,
}

/// Output state of a terminal.
#[derive(Default)]
pub struct Output {
    ready: VecDeque<u8>,
    held: VecDeque<u8>,
    column: usize,
    /// Column at which the line being edited starts.
    line_column: usize,
    /// Both columns as they were before what is held back.
    before_held: (usize, usize),
    stopped: Option<StopCause>,
}

impl Output {
    /// Whether a writer may write a chunk now.
    pub fn writable(&self) -> bool {
        self.stopped.is_none() && self.held.is_empty() && self.ready.len() < OUTPUT_LIMIT
    }

    /// Bytes that the other side may take.
    pub fn pending(&self) -> usize {
        self.ready.len()
    }

    /// Lets `take` have what is queued, in pieces, and forgets as much as it says it took. It ends when `take` takes
    /// less than it was offered.
    pub fn drain<E>(&mut self, mut take: impl FnMut(&[u8]) -> Result<usize, E>) -> Result<usize, E> {
        let mut total = 0;
        while !self.ready.is_empty() {
            let piece = self.ready.as_slices().0;
            let offered = piece.len();
            match take(piece) {
                Ok(taken) => {
                    let taken = taken.min(offered);
                    self.ready.drain(..taken);
                    total += taken;
                    if taken < offered {
                        break;
                    }
                }
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        self.release_echoes();
        Ok(total)
    }

    /// Copies the next bytes to `chunk` without forgetting them, and says how many.
    pub fn peek(&self, chunk: &mut [u8]) -> usize {
        let mut len = 0;
        for (to, from) in chunk.iter_mut().zip(&self.ready) {
            *to = *from;
            len += 1;
        }
        len
    }

    /// Forgets bytes that [`Output::peek`] gave.
    pub fn consume(&mut self, count: usize) {
        self.ready.drain(..count.min(self.ready.len()));
        self.release_echoes();
    }

    /// As after a hangup: nothing is stopped or held back, and the cursor is at the start. What is queued stays.
    #[must_use]
    pub fn reset(self) -> Output {
        Output { ready: self.ready, ..Output::default() }
    }

    /// Forgets output that the other side has not got yet, and echoes.
    pub fn flush(&mut self) {
        self.ready.truncate(DELIVERED);
        if !self.held.is_empty() {
            self.held.clear();
            (self.column, self.line_column) = self.before_held;
        }
    }

    /// Forgets everything that the other side could read.
    pub fn discard(&mut self) {
        self.ready.clear();
        self.release_echoes();
    }

    /// Whether output is stopped, and by whom.
    pub fn stopped(&self) -> Option<StopCause> {
        self.stopped
    }

    /// Stops output. True if it was running.
    pub fn stop(&mut self, cause: StopCause) -> bool {
        let was_running = self.stopped.is_none();
        if was_running || cause == StopCause::Ioctl {
            self.stopped = Some(cause);
        }
        was_running
    }

    /// Lets output run again if it was stopped for `cause`. True if it was.
    pub fn start(&mut self, cause: StopCause) -> bool {
        let starts = self.stopped == Some(cause);
        if starts {
            self.stopped = None;
            self.release_echoes();
        }
        starts
    }

    /// A byte past all processing: flow control characters, the status of the other side.
    pub fn send(&mut self, byte: u8) {
        self.put(Origin::Echo, byte);
        self.release_echoes();
    }

    /// A byte, processed as the output modes say.
    pub fn process(&mut self, termios: &Termios, origin: Origin, mut byte: u8) {
        self.note_columns();
        if !termios.output(sys::OPOST) {
            return self.put(origin, byte);
        }
        match byte {
            b'\n' => {
                if termios.output(sys::ONLRET | sys::ONLCR) {
                    self.column = 0;
                }
                self.line_column = self.column;
                if termios.output(sys::ONLCR) {
                    self.put(origin, b'\r');
                }
            }
            b'\r' => {
                if termios.output(sys::ONOCR) && self.column == 0 {
                    return;
                }
                let becomes_newline = termios.output(sys::OCRNL);
                if becomes_newline {
                    byte = b'\n';
                }
                if !becomes_newline || termios.output(sys::ONLRET) {
                    self.column = 0;
                    self.line_column = 0;
                }
            }
            b'\t' => {
                let width = 8 - self.column % 8;
                self.column = self.column.saturating_add(width);
                if termios.oflag & sys::TABDLY == sys::XTABS {
                    for _ in 0..width {
                        self.put(origin, b' ');
                    }
                    return;
                }
            }
            0x08 => self.column = self.column.saturating_sub(1),
            _ if !ctype::is_control(byte) => {
                if termios.output(sys::OLCUC) {
                    byte = ctype::to_upper(byte);
                }
                if !ctype::is_continuation(byte, termios) {
                    self.column = self.column.saturating_add(1);
                }
            }
            _ => {}
        }
        self.put(origin, byte);
    }

    /// Echoes an input byte; control characters show as `^X` with ECHOCTL.
    pub fn echo(&mut self, termios: &Termios, byte: u8) {
        self.note_columns();
        if byte == 0xff {
            self.put(Origin::Echo, byte);
            self.column = self.column.saturating_add(1);
        } else if termios.local(sys::ECHOCTL) && ctype::is_control(byte) && byte != b'\t' {
            self.put(Origin::Echo, b'^');
            self.put(Origin::Echo, byte ^ 0o100);
            self.column = self.column.saturating_add(2);
        } else {
            self.process(termios, Origin::Echo, byte);
        }
    }

    /// Echoes a byte that has no other form (`\n`, `\b`).
    pub fn echo_raw(&mut self, termios: &Termios, byte: u8) {
        self.process(termios, Origin::Echo, byte);
    }

    /// Moves the cursor back over a tab. `width` is the number of columns from the tab before it, or from the start of
    /// the line being edited.
    pub fn erase_tab(&mut self, from: TabStart, width: usize) {
        self.note_columns();
        let before = match from {
            TabStart::Tab => width,
            TabStart::Line => width.saturating_add(self.line_column),
        };
        for _ in 0..8 - before % 8 {
            self.put(Origin::Echo, 0x08);
            self.back();
        }
    }

    /// The last echoed byte took no column.
    pub fn back(&mut self) {
        self.column = self.column.saturating_sub(1);
    }

    /// A new line is being edited from here on.
    pub fn mark_line_start(&mut self) {
        self.note_columns();
        self.line_column = self.column;
    }

    fn put(&mut self, origin: Origin, byte: u8) {
        match origin {
            Origin::Write => self.ready.push_back(byte),
            Origin::Echo => {
                self.held.push_back(byte);
                if self.held.len() >= ECHO_BATCH {
                    self.release_echoes();
                }
                if self.held.len() > ECHO_LIMIT {
                    self.held.pop_front();
                }
            }
        }
    }

    /// Lets echoes out, as far as they may go: once the input that came together is through.
    pub fn release_echoes(&mut self) {
        while self.stopped.is_none() && self.ready.len() < OUTPUT_LIMIT {
            let Some(byte) = self.held.pop_front() else { break };
            self.ready.push_back(byte);
        }
    }

    /// To be called before anything moves the columns.
    fn note_columns(&mut self) {
        if self.held.is_empty() {
            self.before_held = (self.column, self.line_column);
        }
    }
}

/// What the columns before a tab are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TabStart {
    /// The start of the line being edited.
    Line,
    /// Another tab.
    Tab,
}
