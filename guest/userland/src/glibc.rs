//! Symbols that a static glibc lacks.
//!
//! The libc crate binds the terminal speed functions to the versions that they had before glibc 2.42 gave them new
//! ones (`cfsetispeed@GLIBC_2.2.5`). Versions exist in shared libraries only; libc.a has the plain names. So here are
//! functions of exactly those names that forward to the plain ones.

use libc::{c_int, speed_t, termios};

mod plain {
    use super::{c_int, speed_t, termios};

    unsafe extern "C" {
        pub fn cfgetispeed(termios: *const termios) -> speed_t;
        pub fn cfgetospeed(termios: *const termios) -> speed_t;
        pub fn cfsetispeed(termios: *mut termios, speed: speed_t) -> c_int;
        pub fn cfsetospeed(termios: *mut termios, speed: speed_t) -> c_int;
        pub fn cfsetspeed(termios: *mut termios, speed: speed_t) -> c_int;
    }
}

#[unsafe(export_name = "cfgetispeed@GLIBC_2.2.5")]
unsafe extern "C" fn cfgetispeed(termios: *const termios) -> speed_t {
    // SAFETY: the caller's promise is the one that the plain function asks for.
    unsafe { plain::cfgetispeed(termios) }
}

#[unsafe(export_name = "cfgetospeed@GLIBC_2.2.5")]
unsafe extern "C" fn cfgetospeed(termios: *const termios) -> speed_t {
    // SAFETY: the caller's promise is the one that the plain function asks for.
    unsafe { plain::cfgetospeed(termios) }
}

#[unsafe(export_name = "cfsetispeed@GLIBC_2.2.5")]
unsafe extern "C" fn cfsetispeed(termios: *mut termios, speed: speed_t) -> c_int {
    // SAFETY: the caller's promise is the one that the plain function asks for.
    unsafe { plain::cfsetispeed(termios, speed) }
}

#[unsafe(export_name = "cfsetospeed@GLIBC_2.2.5")]
unsafe extern "C" fn cfsetospeed(termios: *mut termios, speed: speed_t) -> c_int {
    // SAFETY: the caller's promise is the one that the plain function asks for.
    unsafe { plain::cfsetospeed(termios, speed) }
}

#[unsafe(export_name = "cfsetspeed@GLIBC_2.2.5")]
unsafe extern "C" fn cfsetspeed(termios: *mut termios, speed: speed_t) -> c_int {
    // SAFETY: the caller's promise is the one that the plain function asks for.
    unsafe { plain::cfsetspeed(termios, speed) }
}
