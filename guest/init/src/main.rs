//! The entry point of [`lodger_init`].

#![no_main]

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;

/// The C entry point: it spares what Rust's own does first (looks at descriptors, handlers, an alternate stack).
///
/// # Safety
///
/// For the C runtime, which gives `argc` strings in `argv`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: i32, argv: *const *const libc::c_char) -> i32 {
    let count = usize::try_from(argc).unwrap_or(0);
    let words = (1..count).map(|at| {
        // SAFETY: the caller gives `argc` valid strings, and they live as long as the process.
        let word = unsafe { CStr::from_ptr(*argv.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_os_string()
    });
    lodger_init::run(words.collect())
}
