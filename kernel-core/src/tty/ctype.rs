//! Classes of bytes as the terminal layer sees them: ASCII and the letters of Latin-1, as in the kernel's tables.

use linux_raw_sys::general as sys;

use crate::tty::termios::Termios;

/// Whether it is an ASCII control character.
pub fn is_control(byte: u8) -> bool {
    byte.is_ascii_control()
}

/// Whether it belongs to a word for VWERASE.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

/// Whether it continues a UTF-8 character and the terminal has IUTF8, so that it takes no column of its own.
pub fn is_continuation(byte: u8, termios: &Termios) -> bool {
    termios.input(sys::IUTF8) && byte & 0xc0 == 0x80
}

/// Upper case, for OLCUC.
pub fn to_upper(byte: u8) -> u8 {
    if byte.is_ascii_lowercase() || (byte >= 0xdf && byte != 0xf7) { byte.wrapping_sub(0x20) } else { byte }
}

/// Lower case, for IUCLC.
pub fn to_lower(byte: u8) -> u8 {
    if byte.is_ascii_uppercase() || ((0xc0..=0xde).contains(&byte) && byte != 0xd7) {
        byte + 0x20
    } else {
        byte
    }
}
