//! Where a stub's own pages lie in its address space and in their files, what is left for the guest, and the stub's
//! descriptors.

use std::ops::Range;

use kernel_core::host::{PAGE_SIZE, Phys};

use crate::pool::SLOTS;

/// The stub's code: read and executed.
pub const CODE: u64 = 0x7fff_ffe0_0000;
/// What the code looks up: read only, written by the kernel through its own mapping.
pub const CONSTANTS: u64 = CODE + PAGE_SIZE;
/// Bytes of both.
pub const CODE_SIZE: u64 = 2 * PAGE_SIZE;
/// The stub's requests: read only as well.
pub const REQUESTS: u64 = CODE + CODE_SIZE;
/// What a trap without tracing shares with the kernel, and its signal stack: read and written by both. Each vCPU's thread
/// will have such an area and a copy of the code.
pub const DATA: u64 = REQUESTS + PAGE_SIZE;
/// Bytes of it.
pub const DATA_SIZE: u64 = 5 * PAGE_SIZE;

/// The addresses of [`SITES`], each a word of eight bytes: read only. A jump through one of them has a byte of this address
/// where the call was that it replaces, and no instruction begins with that byte: see `seccomp::sites`.
pub const SITE_TABLE: u64 = 0x6_0000;
/// What call sites jump to, each [`SITE_SIZE`] bytes of code.
pub const SITES: u64 = CODE + 0x10_0000;
/// Bytes of the code of a site.
pub const SITE_SIZE: u64 = 32;
/// How many sites there may be.
pub const SITE_COUNT: u64 = 0x1_0000 / 8;

/// Where the file of requests has the table of sites: behind the stub's code and the pages of requests.
pub const SITE_TABLE_OFFSET: u64 = CODE_SIZE + SLOTS as u64 * PAGE_SIZE;
/// Where it has their code.
pub const SITES_OFFSET: u64 = SITE_TABLE_OFFSET + 8 * SITE_COUNT;
/// Where it has the code that reads clocks.
pub const CLOCK_CODE: u64 = SITES_OFFSET + SITE_SIZE * SITE_COUNT;

/// Where the file of requests has the page of a slot; the first one is slot 0.
pub fn request_page(slot: u32) -> Phys {
    Phys(CODE_SIZE + u64::from(slot) * PAGE_SIZE)
}

/// Where the file of data has the area of a slot.
pub fn data_area(slot: u32) -> Phys {
    Phys(u64::from(slot) * DATA_SIZE)
}

/// Bytes of the file of data.
pub const DATA_FILE: u64 = SLOTS as u64 * DATA_SIZE;

/// Guest RAM, as every stub knows it.
pub const RAM_FD: i32 = 0;
/// The file of code and requests; a stub closes it once its pages are mapped.
pub const REQUESTS_FD: i32 = 1;
/// The spawner's end of its socket.
pub const SOCKET_FD: i32 = 2;
/// The file of data; a stub closes it once its area is mapped.
pub const DATA_FD: i32 = 3;
/// The counter by which a stub says that requests are done.
pub const DONE_FD: i32 = 4;

/// Guests have nothing from here on. Two halves of an address and of a length whose sum is below the half of this end below
/// the stub's own pages, whatever the lower halves are: that is what a filter of system calls can tell.
pub const GUEST_END: u64 = 0x7ffe_0000_0000;

/// The guest addresses that may be mapped: from the lowest that the host allows, behind the table of sites, to a guard below
/// what is the stub's.
pub fn limits() -> Range<u64> {
    host_linux::vm::lowest_address().max(SITE_TABLE + 8 * SITE_COUNT)..GUEST_END - 0x1_0000
}

const _: () = assert!(DATA + DATA_SIZE <= SITES && SITES + SITE_SIZE * SITE_COUNT < host_linux::vm::TASK_END);
const _: () =
    assert!(GUEST_END.is_multiple_of(1 << 32) && GUEST_END + (1 << 32) <= CODE - crate::clock_image::MOST);
