//! Terminal settings in the kernel's layouts, which are not those of a C library (its `struct termios` has 60 bytes).
//!
//! Sources: `termios(3)`, `ioctl_tty(2)`, `asm-generic/termbits.h`.

use linux_raw_sys::general as sys;
use static_assertions::const_assert_eq;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of control characters that the kernel keeps.
pub const NCCS: usize = 19;

/// `struct termios2`: everything there is. Flags are the kernel's `c_iflag` and so on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios {
    /// Input modes.
    pub iflag: u32,
    /// Output modes.
    pub oflag: u32,
    /// Control modes.
    pub cflag: u32,
    /// Local modes.
    pub lflag: u32,
    /// Line discipline.
    pub line: u8,
    /// Control characters; zero disables one, except for VMIN and VTIME.
    pub cc: [u8; NCCS],
    /// Input speed in bits per second.
    pub ispeed: u32,
    /// Output speed in bits per second.
    pub ospeed: u32,
}
const_assert_eq!(size_of::<Termios>(), 44);
const_assert_eq!(size_of::<Termios>(), size_of::<sys::termios2>());

/// `struct termios` of `TCGETS` and `TCSETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RawTermios {
    /// Input modes.
    pub iflag: u32,
    /// Output modes.
    pub oflag: u32,
    /// Control modes.
    pub cflag: u32,
    /// Local modes.
    pub lflag: u32,
    /// Line discipline.
    pub line: u8,
    /// Control characters.
    pub cc: [u8; NCCS],
}
const_assert_eq!(size_of::<RawTermios>(), 36);
const_assert_eq!(size_of::<RawTermios>(), size_of::<sys::termios>());

/// `struct termio` of `TCGETA` and `TCSETA`, the layout of System V.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RawTermio {
    /// Low half of the input modes.
    pub iflag: u16,
    /// Low half of the output modes.
    pub oflag: u16,
    /// Low half of the control modes.
    pub cflag: u16,
    /// Low half of the local modes.
    pub lflag: u16,
    /// Line discipline.
    pub line: u8,
    /// The first eight control characters.
    pub cc: [u8; 8],
    /// Where the compiler pads.
    pub padding: u8,
}
const_assert_eq!(size_of::<RawTermio>(), 18);
const_assert_eq!(size_of::<RawTermio>(), size_of::<sys::termio>());

/// `struct winsize`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WinSize {
    /// Rows in characters.
    pub rows: u16,
    /// Columns in characters.
    pub columns: u16,
    /// Width in pixels.
    pub x_pixels: u16,
    /// Height in pixels.
    pub y_pixels: u16,
}
const_assert_eq!(size_of::<WinSize>(), size_of::<sys::winsize>());

/// Speeds by their code in the control modes (`CBAUD` without `CBAUDEX`, then with it).
const BAUDS: [u32; 31] = [
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200,
    230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000,
    4000000,
];

/// The speed of a code, or `other` for `BOTHER`.
fn speed(code: u32, other: u32) -> u32 {
    if code == sys::BOTHER {
        return other;
    }
    let index = if code & sys::CBAUDEX != 0 { (code & !sys::CBAUDEX) + 15 } else { code };
    BAUDS.get(index as usize).copied().unwrap_or(0)
}

impl Termios {
    /// What a new terminal has.
    pub fn standard() -> Termios {
        let mut cc = [0; NCCS];
        let defaults = [
            (sys::VINTR, 0x03),
            (sys::VQUIT, 0x1c),
            (sys::VERASE, 0x7f),
            (sys::VKILL, 0x15),
            (sys::VEOF, 0x04),
            (sys::VMIN, 1),
            (sys::VSTART, 0x11),
            (sys::VSTOP, 0x13),
            (sys::VSUSP, 0x1a),
            (sys::VREPRINT, 0x12),
            (sys::VDISCARD, 0x0f),
            (sys::VWERASE, 0x17),
            (sys::VLNEXT, 0x16),
        ];
        for (index, byte) in defaults {
            cc[index as usize] = byte;
        }
        Termios {
            iflag: sys::ICRNL | sys::IXON,
            oflag: sys::OPOST | sys::ONLCR,
            cflag: sys::B38400 | sys::CS8 | sys::CREAD,
            lflag: sys::ISIG
                | sys::ICANON
                | sys::ECHO
                | sys::ECHOE
                | sys::ECHOK
                | sys::ECHOCTL
                | sys::ECHOKE
                | sys::IEXTEN,
            line: 0,
            cc,
            ispeed: 38400,
            ospeed: 38400,
        }
    }

    /// Whether any of the input modes `flags` is on.
    pub fn input(&self, flags: u32) -> bool {
        self.iflag & flags != 0
    }

    /// Whether any of the output modes `flags` is on.
    pub fn output(&self, flags: u32) -> bool {
        self.oflag & flags != 0
    }

    /// Whether any of the local modes `flags` is on.
    pub fn local(&self, flags: u32) -> bool {
        self.lflag & flags != 0
    }

    /// The control character or value `index` (`VINTR`, `VMIN`, ...).
    pub fn control(&self, index: u32) -> u8 {
        self.cc.get(index as usize).copied().unwrap_or(0)
    }

    /// Whether `byte` is the control character `index`, and that is not disabled.
    pub fn is_control(&self, index: u32, byte: u8) -> bool {
        byte != 0 && self.control(index) == byte
    }

    /// Whether reads give whole lines.
    pub fn canonical(&self) -> bool {
        self.local(sys::ICANON)
    }

    /// As `TCGETS` shows it.
    pub fn to_raw(&self) -> RawTermios {
        RawTermios {
            iflag: self.iflag,
            oflag: self.oflag,
            cflag: self.cflag,
            lflag: self.lflag,
            line: self.line,
            cc: self.cc,
        }
    }

    /// As `TCGETA` shows it.
    pub fn to_termio(&self) -> RawTermio {
        let mut cc = [0; 8];
        cc.copy_from_slice(&self.cc[..8]);
        RawTermio {
            iflag: self.iflag as u16,
            oflag: self.oflag as u16,
            cflag: self.cflag as u16,
            lflag: self.lflag as u16,
            line: self.line,
            cc,
            padding: 0,
        }
    }

    /// With what `TCSETS` brings; speeds follow the codes in the control modes.
    #[must_use]
    pub fn with_raw(&self, raw: &RawTermios) -> Termios {
        Termios {
            iflag: raw.iflag,
            oflag: raw.oflag,
            cflag: raw.cflag,
            lflag: raw.lflag,
            line: raw.line,
            cc: raw.cc,
            ..*self
        }
        .with_coded_speeds()
    }

    /// With what `locked` names as it is in `old`.
    #[must_use]
    pub fn with_locked(mut self, old: &Termios, locked: &RawTermios) -> Termios {
        let keep = |new: u32, old: u32, locked: u32| new & !locked | old & locked;
        self.iflag = keep(self.iflag, old.iflag, locked.iflag);
        self.oflag = keep(self.oflag, old.oflag, locked.oflag);
        self.cflag = keep(self.cflag, old.cflag, locked.cflag);
        self.lflag = keep(self.lflag, old.lflag, locked.lflag);
        if locked.line != 0 {
            self.line = old.line;
        }
        for (index, new) in self.cc.iter_mut().enumerate().filter(|(index, _)| locked.cc[*index] != 0) {
            *new = old.cc[index];
        }
        self
    }

    /// With what `TCSETA` brings.
    #[must_use]
    pub fn with_termio(&self, raw: &RawTermio) -> Termios {
        let halves = |old: u32, new: u16| (old & 0xffff_0000) | u32::from(new);
        let mut termios = Termios {
            iflag: halves(self.iflag, raw.iflag),
            oflag: halves(self.oflag, raw.oflag),
            cflag: halves(self.cflag, raw.cflag),
            lflag: halves(self.lflag, raw.lflag),
            line: raw.line,
            ..*self
        };
        termios.cc[..8].copy_from_slice(&raw.cc);
        termios.with_coded_speeds()
    }

    /// Speeds as the control modes say, and as they are where those say `BOTHER`.
    #[must_use]
    pub fn with_coded_speeds(mut self) -> Termios {
        self.ospeed = speed(self.cflag & sys::CBAUD, self.ospeed);
        let input = (self.cflag >> sys::IBSHIFT) & sys::CBAUD;
        self.ispeed = if input == 0 { self.ospeed } else { speed(input, self.ispeed) };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_follow_their_codes() {
        let mut termios = Termios::standard();
        termios.cflag = sys::CS8 | sys::B115200;
        assert_eq!(termios.with_coded_speeds().ospeed, 115200);
        assert_eq!(termios.with_coded_speeds().ispeed, 115200);
        termios.cflag = sys::CS8 | sys::BOTHER | (sys::B9600 << sys::IBSHIFT);
        termios.ospeed = 12345;
        let set = termios.with_coded_speeds();
        assert_eq!((set.ospeed, set.ispeed), (12345, 9600));
    }
}
