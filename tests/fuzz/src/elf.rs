//! Programs: ELF files, scripts and what is neither, executed from a file.

use linux_raw_sys::general as sys;

use kernel_core::boot::testing::{self, Segment};

use crate::call::{Call, DATA};
use crate::instance;

/// The bytes are the program. It may name `/bin/ld` as its interpreter.
pub fn run(data: &[u8]) {
    let text = Segment { flags: 5, offset: 0, addr: 0, file_len: 0x1000, len: 0x1000 };
    let mut interpreter = testing::elf(0x100, &[text]);
    // ET_DYN.
    interpreter[16] = 3;
    let files = [
        ("bin", 0o040_755, Vec::new()),
        ("bin/prog", 0o100_755, data.to_vec()),
        ("bin/ld", 0o100_755, interpreter),
        ("bin/script", 0o100_755, b"#!/bin/prog x\n".to_vec()),
    ];
    let arguments = DATA + 0x2000;
    let words = [DATA, 0].map(u64::to_le_bytes).concat();
    let execute = |path: &[u8]| {
        Call::new(sys::__NR_execve, &[0, arguments, arguments]).path(0, path).with(arguments, &words)
    };
    // A program that runs at once ends with SIGSEGV, and leaves a core file.
    let limit = [1u64 << 20; 2].map(u64::to_le_bytes).concat();
    let calls = vec![
        Call::new(sys::__NR_setrlimit, &[sys::RLIMIT_CORE.into(), DATA]).with(DATA, &limit),
        Call::new(sys::__NR_chdir, &[0]).path(0, b"/tmp"),
        Call::new(sys::__NR_fork, &[]),
        execute(b"/bin/script"),
        execute(b"/bin/prog"),
    ];
    instance::run_calls(instance::config(&files), calls);
}
