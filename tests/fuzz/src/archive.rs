//! Root file systems from archives: cpio, gzip, several in a row. What is unpacked is walked, read, changed.

use std::sync::Arc;

use kernel_core::boot::{BootConfig, RootFs};
use linux_raw_sys::general as sys;

use crate::call::{Call, DATA, HERE};
use crate::instance;

const PATHS: [&[u8]; 8] = [b"/", b"/a", b"/a/b", b"/b", b"/dir", b"/dir/one", b"/link", b"/dev"];

/// The bytes are the archive.
pub fn run(data: &[u8]) {
    let config = BootConfig { root: RootFs::Archive(Arc::new(data.to_vec())), ..instance::config(&[]) };
    let mut calls = Vec::new();
    for path in PATHS {
        let on_path = |number, args: &[u64]| Call::new(number, args).path(1, path);
        calls.push(on_path(sys::__NR_newfstatat, &[HERE, 0, DATA + 0x8000, 0]));
        calls.push(on_path(sys::__NR_openat, &[HERE, 0, sys::O_NONBLOCK.into(), 0]));
        calls.push(Call::new(sys::__NR_read, &[3, DATA + 0x4000, 0x2000]));
        calls.push(Call::new(sys::__NR_getdents64, &[3, DATA + 0x4000, 0x2000]));
        calls.push(Call::new(sys::__NR_close, &[3]));
        calls.push(on_path(sys::__NR_readlinkat, &[HERE, 0, DATA + 0x4000, 0x1000]));
        calls.push(on_path(sys::__NR_fchmodat, &[HERE, 0, 0o600]));
        calls.push(Call::new(sys::__NR_truncate, &[0, 5]).path(0, path));
        calls.push(on_path(sys::__NR_unlinkat, &[HERE, 0, 0]));
    }
    instance::run_calls(config, calls);
}
