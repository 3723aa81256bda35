//! `clear` and `reset`.

use std::ffi::OsString;
use std::io::Write;

/// `clear`: home, erase, and forget what has scrolled away.
pub fn clear(_words: &[OsString]) -> i32 {
    send(b"\x1b[H\x1b[2J\x1b[3J")
}

/// `reset`: sane line settings, and the terminal as it was switched on.
pub fn reset(_words: &[OsString]) -> i32 {
    // SAFETY: a termios is plain memory, and it is set only if it was filled.
    unsafe {
        let mut line: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(0, &mut line) == 0 {
            line.c_iflag = (line.c_iflag | libc::BRKINT | libc::ICRNL | libc::IXON)
                & !(libc::IGNBRK | libc::INLCR | libc::IGNCR | libc::ISTRIP);
            line.c_oflag |= libc::OPOST | libc::ONLCR;
            line.c_lflag |= libc::ISIG
                | libc::ICANON
                | libc::IEXTEN
                | libc::ECHO
                | libc::ECHOE
                | libc::ECHOK
                | libc::ECHOCTL
                | libc::ECHOKE;
            line.c_cflag |= libc::CREAD;
            libc::tcsetattr(0, libc::TCSADRAIN, &line);
        }
    }
    send(b"\x1bc\x1b[!p\x1b[?3;4l\x1b[4l\x1b>")
}

fn send(sequence: &[u8]) -> i32 {
    i32::from(std::io::stdout().write_all(sequence).is_err())
}
