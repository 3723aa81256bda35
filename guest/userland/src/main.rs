//! The entry point of [`lodger_userland`].

#![no_main]

mod glibc;

/// The C entry point. Rust's own would ignore SIGPIPE, while an applet must die of it in silence, and would make half
/// a dozen system calls that nobody here needs.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: i32, _argv: *const *const libc::c_char) -> i32 {
    lodger_userland::run(std::env::args_os().collect())
}
