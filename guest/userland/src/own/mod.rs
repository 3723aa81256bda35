//! Small applets that nobody publishes as a crate. They take the arguments without argv\[0\] and return an exit status:
//! 0, 1 for a failure, 2 for a usage error.

pub mod kernel;
pub mod memory;
pub mod mount;
pub mod ps;
pub mod terminal;
pub mod which;

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// Says what went wrong and returns the status for it.
fn fail(applet: &str, why: impl std::fmt::Display) -> i32 {
    eprintln!("{applet}: {why}");
    1
}

/// Says how the applet is used and returns the status for it.
fn usage(text: &str) -> i32 {
    eprintln!("usage: {text}");
    2
}

/// The error of the last system call, without Rust's "(os error N)".
fn last_error() -> String {
    plain(&std::io::Error::last_os_error())
}

fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Arguments come from a C string, so they have no NUL in them.
fn c_string(word: &OsStr) -> CString {
    CString::new(word.as_bytes()).unwrap_or_default()
}
