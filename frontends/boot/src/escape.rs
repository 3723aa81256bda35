//! Ctrl-a on the terminal: `Ctrl-a x` ends a guest that hangs, `Ctrl-a h` helps, `Ctrl-a Ctrl-a` is Ctrl-a.

/// Ctrl-a.
const ESCAPE: u8 = 1;

/// What `Ctrl-a h` prints; lines end as on a raw terminal.
pub const HELP: &str = "\r\n\
    lodger: Ctrl-a x       end the guest at once\r\n\
    lodger: Ctrl-a Ctrl-a  send Ctrl-a to the guest\r\n\
    lodger: Ctrl-a h       this help\r\n";

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End the guest.
    End,
    /// Print [`HELP`].
    Help,
}

/// Finds the escapes in what is typed. The two keys may come in different reads.
#[derive(Debug, Default)]
pub struct Escapes {
    armed: bool,
}

impl Escapes {
    /// Takes one byte that was typed: gives what of it is the guest's, and what was asked for. An unknown key behind
    /// Ctrl-a is swallowed with it.
    pub fn feed(&mut self, byte: u8) -> (Option<u8>, Option<Action>) {
        if !std::mem::take(&mut self.armed) {
            self.armed = byte == ESCAPE;
            return (if self.armed { None } else { Some(byte) }, None);
        }
        match byte {
            ESCAPE => (Some(ESCAPE), None),
            b'x' | b'X' => (None, Some(Action::End)),
            b'h' | b'H' | b'?' => (None, Some(Action::Help)),
            _ => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> (Vec<u8>, Vec<Action>) {
        let mut escapes = Escapes::default();
        let found: Vec<_> = bytes.iter().map(|byte| escapes.feed(*byte)).collect();
        (
            found.iter().filter_map(|found| found.0).collect(),
            found.iter().filter_map(|found| found.1).collect(),
        )
    }

    #[test]
    fn escapes_are_found_and_the_rest_is_the_guests() {
        assert_eq!(typed(b"ls\r"), (b"ls\r".to_vec(), vec![]));
        assert_eq!(typed(b"a\x01xb"), (b"ab".to_vec(), vec![Action::End]));
        assert_eq!(typed(b"\x01\x01x\x01h"), (b"\x01x".to_vec(), vec![Action::Help]));
        assert_eq!(typed(b"\x01qx"), (b"x".to_vec(), vec![]));
    }
}
