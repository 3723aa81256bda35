//! Somebody to be looked at from outside: a process with a name and some memory, asleep.

use std::ffi::CString;
use std::process::ExitCode;

/// Bytes of memory that it has touched.
const MEMORY: usize = 1 << 20;

/// Takes the name, touches its memory and sleeps until it is killed.
pub fn forever(name: &str) -> ExitCode {
    let Ok(text) = CString::new(name) else { return ExitCode::from(2) };
    let memory = std::hint::black_box(vec![0x2e_u8; MEMORY]);
    // SAFETY: the name is a string of C that lives longer than the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) };
    loop {
        // SAFETY: no preconditions.
        unsafe { libc::pause() };
        std::hint::black_box(&memory);
    }
}
