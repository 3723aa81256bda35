//! The line discipline against what Linux 6.18 does: `tests/recorded.rs` holds what came out of its pseudoterminals when
//! the same bytes went in.

mod recorded;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::*;
use crate::io::VecSink;
use crate::tty::ldisc::output::Origin;
use recorded::RECORDED;

/// What is done with a new terminal, step by step, and what must come of it.
struct Case {
    name: &'static str,
    steps: &'static [Step],
}

enum Step {
    /// Switches input modes on and off.
    Input(u32, u32),
    /// Switches output modes on and off.
    Output(u32, u32),
    /// Switches local modes on and off.
    Local(u32, u32),
    /// Sets a control character.
    Control(u32, u8),
    /// Bytes come in; then these have come out, and these signals were asked for.
    In(&'static [u8], &'static [u8], &'static [u8]),
    /// Bytes are written; then these have come out.
    Write(&'static [u8], &'static [u8]),
    /// A read of so many bytes gives this; `None`: it would wait.
    Read(usize, Option<&'static [u8]>),
    /// What FIONREAD says.
    Readable(usize),
}

/// A line discipline, with the input that waits for room.
struct Bench {
    ldisc: Ldisc,
    backlog: VecDeque<u8>,
    signals: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        Bench { ldisc: Ldisc::new(Termios::standard()), backlog: VecDeque::new(), signals: Vec::new() }
    }

    fn change(&mut self, f: impl FnOnce(&mut Termios)) {
        let mut termios = *self.ldisc.termios();
        f(&mut termios);
        self.ldisc.set_termios(termios);
    }

    fn input(&mut self, bytes: &[u8]) {
        self.backlog.extend(bytes);
        self.feed();
    }

    fn feed(&mut self) {
        while self.ldisc.accepts_input() {
            let Some(byte) = self.backlog.pop_front() else { break };
            self.signals.extend(self.ldisc.receive(byte));
        }
        self.ldisc.output.release_echoes();
    }

    fn write(&mut self, bytes: &[u8]) {
        let termios = *self.ldisc.termios();
        for &byte in bytes {
            self.ldisc.output.process(&termios, Origin::Write, byte);
        }
    }

    fn came_out(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.ldisc.output.pending() > 0 {
            let take = |piece: &[u8]| {
                out.extend_from_slice(piece);
                Ok::<usize, ()>(piece.len())
            };
            self.ldisc.output.drain(take).unwrap();
        }
        out
    }

    fn read(&mut self, len: usize) -> Option<Vec<u8>> {
        if !self.ldisc.has_input() {
            return None;
        }
        let mut sink = VecSink::new(len);
        self.ldisc.read(&mut sink).unwrap();
        self.feed();
        Some(sink.bytes)
    }

    fn step(&mut self, step: &Step, at: &str) {
        match step {
            Step::Input(on, off) => self.change(|t| t.iflag = t.iflag & !off | on),
            Step::Output(on, off) => self.change(|t| t.oflag = t.oflag & !off | on),
            Step::Local(on, off) => self.change(|t| t.lflag = t.lflag & !off | on),
            Step::Control(index, byte) => self.change(|t| t.cc[*index as usize] = *byte),
            Step::In(bytes, out, signals) => {
                self.input(bytes);
                assert_eq!(
                    self.came_out().escape_ascii().to_string(),
                    out.escape_ascii().to_string(),
                    "{at}"
                );
                assert_eq!(core::mem::take(&mut self.signals), *signals, "{at}");
            }
            Step::Write(bytes, out) => {
                self.write(bytes);
                assert_eq!(
                    self.came_out().escape_ascii().to_string(),
                    out.escape_ascii().to_string(),
                    "{at}"
                );
            }
            Step::Read(len, bytes) => {
                assert_eq!(self.read(*len).as_deref(), *bytes, "{at}");
            }
            Step::Readable(count) => assert_eq!(self.ldisc.readable(), *count, "{at}"),
        }
    }
}

use alloc::format;
use alloc::string::ToString;

#[test]
fn does_as_linux_did() {
    for case in RECORDED {
        let mut bench = Bench::new();
        for (number, step) in case.steps.iter().enumerate() {
            bench.step(step, &format!("{}, step {}", case.name, number + 1));
        }
    }
}

#[test]
fn a_line_that_is_too_long_keeps_its_end() {
    let mut bench = Bench::new();
    bench.input(&[b'z'; 10_000]);
    assert!(bench.ldisc.accepts_input() && bench.backlog.is_empty());
    bench.input(b"\n");
    let line = bench.read(65536).unwrap();
    assert_eq!(line.len(), INPUT_LIMIT);
    assert_eq!(&line[INPUT_LIMIT - 2..], b"z\n");
    assert_eq!(bench.read(10), None);
}

#[test]
fn input_waits_while_lines_are_unread() {
    let mut bench = Bench::new();
    bench.input(b"first\n");
    bench.input(&[b'z'; 5000]);
    assert!(!bench.backlog.is_empty());
    bench.input(b"\n");
    assert_eq!(bench.read(100).as_deref(), Some(&b"first\n"[..]));
    assert!(bench.backlog.is_empty());
    assert_eq!(bench.read(65536).unwrap().len(), INPUT_LIMIT);
}

#[test]
fn raw_input_is_bounded() {
    let mut bench = Bench::new();
    bench.change(|t| t.lflag &= !(sys::ICANON | sys::ECHO));
    bench.input(&[b'z'; 10_000]);
    assert_eq!(bench.ldisc.readable(), INPUT_LIMIT - 1);
    assert_eq!(bench.read(65536).unwrap().len(), INPUT_LIMIT - 1);
    assert_eq!(bench.ldisc.readable(), INPUT_LIMIT - 1);
}

#[test]
fn echoes_are_bounded_when_nobody_takes_them() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.input(&[b'z'; 1000]);
        bench.input(b"\n");
        bench.read(4096);
    }
    assert!(!bench.ldisc.output.writable());
    let out = bench.came_out().len();
    assert!(out <= output::OUTPUT_LIMIT + 4096, "{out}");
    assert!(bench.ldisc.output.writable());
}

#[test]
fn stopped_by_ioctl_is_not_started_by_a_character() {
    let mut bench = Bench::new();
    bench.input(b"\x13");
    bench.ldisc.stop(StopCause::Ioctl);
    bench.input(b"\x11");
    assert_eq!(bench.ldisc.output.stopped(), Some(StopCause::Ioctl));
    bench.ldisc.start(StopCause::Ioctl);
    assert_eq!(bench.ldisc.output.stopped(), None);
}

/// Takes `good` bytes, then faults.
struct Faulting {
    good: usize,
    taken: Vec<u8>,
}

impl Sink for Faulting {
    fn remaining(&self) -> usize {
        100
    }
    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let len = bytes.len().min(self.good - self.taken.len());
        self.taken.extend_from_slice(&bytes[..len]);
        if len == 0 { Err(crate::errno::EFAULT) } else { Ok(len) }
    }
    fn put_frames(&mut self, _: &dyn crate::host::Frames, _: crate::host::Phys, _: usize) -> Result<usize> {
        unreachable!("terminals have no frames")
    }
    fn put_zeros(&mut self, _: usize) -> Result<usize> {
        unreachable!("terminals give no zeros")
    }
}

#[test]
fn bytes_that_a_bad_address_refused_stay() {
    let mut bench = Bench::new();
    bench.input(b"abc\n");
    let mut sink = Faulting { good: 2, taken: Vec::new() };
    assert_eq!(bench.ldisc.read(&mut sink), Ok(2));
    assert_eq!(bench.ldisc.read(&mut sink), Err(crate::errno::EFAULT));
    assert_eq!(bench.read(100).as_deref(), Some(&b"c\n"[..]));
}
