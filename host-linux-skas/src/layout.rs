//! Where the stub's two pages lie in its address space, what is left for the guest, and the stub's descriptors.

use std::ops::Range;

use kernel_core::host::PAGE_SIZE;

use crate::pool::SLOTS;

/// The stub's code: read and executed.
pub const CODE: u64 = 0x7fff_ffff_0000;
/// The stub's requests: read only, written by the kernel through its own mapping.
pub const REQUESTS: u64 = CODE + PAGE_SIZE;

/// Where the file of requests has the code that reads clocks: behind the page of code and the pages of requests.
pub const CLOCK_CODE: u64 = (SLOTS as u64 + 1) * PAGE_SIZE;

/// Guest RAM, as every stub knows it.
pub const RAM_FD: i32 = 0;
/// The file of the code page and all request pages; a stub closes it once its two pages are mapped.
pub const REQUESTS_FD: i32 = 1;
/// The spawner's end of its socket.
pub const SOCKET_FD: i32 = 2;

/// The guest addresses that may be mapped: from the lowest that the host allows to a guard below what is the stub's,
/// which begins at `kept`.
pub fn limits(kept: u64) -> Range<u64> {
    host_linux::vm::lowest_address()..kept - 0x1_0000
}
