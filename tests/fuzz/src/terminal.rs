//! The line discipline of terminals: settings, input, output and reads in any order.

use arbitrary::Unstructured;
use kernel_core::io::VecSink;
use kernel_core::tty::ldisc::output::{Origin, StopCause};
use kernel_core::tty::ldisc::{INPUT_LIMIT, Ldisc};
use kernel_core::tty::termios::{RawTermios, Termios};
use zerocopy::FromBytes;

/// The bytes choose what happens.
pub fn run(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let mut ldisc = Ldisc::new(Termios::standard());
    while !choices.is_empty() && act(&mut ldisc, &mut choices).is_ok() {
        let readable = ldisc.readable();
        assert!(readable <= INPUT_LIMIT, "{readable} bytes can be read");
        // An end of file can be read, but has no bytes.
        assert!(readable == 0 || ldisc.has_input());
    }
}

fn act(ldisc: &mut Ldisc, choices: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    match choices.int_in_range(0..=11)? {
        0 => {
            let bytes = choices.bytes(size_of::<RawTermios>())?;
            if let Ok(raw) = RawTermios::read_from_bytes(bytes) {
                ldisc.set_termios(ldisc.termios().with_raw(&raw));
            }
        }
        1 => {
            // One flag alone, so that the rest stays useful.
            let mut raw = ldisc.termios().to_raw();
            let bit = 1 << choices.int_in_range(0..=17)?;
            match choices.int_in_range(0..=2)? {
                0 => raw.iflag ^= bit,
                1 => raw.oflag ^= bit,
                _ => raw.lflag ^= bit,
            }
            ldisc.set_termios(ldisc.termios().with_raw(&raw));
        }
        2..=5 => {
            let len = choices.int_in_range(1..=20)?;
            let times = if choices.ratio(1, 16)? { 300 } else { 1 };
            let bytes = choices.bytes(len)?;
            for byte in std::iter::repeat_n(bytes, times).flatten() {
                // As whoever feeds a terminal does.
                if !ldisc.accepts_input() {
                    break;
                }
                let _ = ldisc.receive(*byte);
            }
            ldisc.output.release_echoes();
        }
        6 | 7 => {
            if ldisc.has_input() {
                let mut sink = VecSink::new(choices.arbitrary::<u8>()?.into());
                let before = ldisc.readable();
                let read = ldisc.read(&mut sink).expect("the sink takes it");
                assert_eq!(read, sink.bytes.len());
                assert!(read <= before);
            }
        }
        8 => {
            let len = choices.int_in_range(1..=20)?;
            let termios = *ldisc.termios();
            for byte in choices.bytes(len)? {
                if ldisc.output.writable() {
                    ldisc.output.process(&termios, Origin::Write, *byte);
                }
            }
        }
        9 => {
            let limit = choices.arbitrary::<u8>()?.into();
            let drained = ldisc.output.drain(|piece| Ok::<usize, ()>(piece.len().min(limit)));
            assert!(drained.is_ok());
        }
        10 => match choices.int_in_range(0..=5)? {
            0 => ldisc.flush_input(),
            1 => ldisc.flush_output(),
            2 => ldisc.stop(StopCause::Ioctl),
            3 => ldisc.start(StopCause::Ioctl),
            4 => ldisc.output.discard(),
            _ => drop(ldisc.take_status()),
        },
        _ => ldisc.output.consume(choices.arbitrary::<u8>()?.into()),
    }
    Ok(())
}
