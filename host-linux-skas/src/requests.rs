//! Pending changes of a space as the stub reads them in its request page: a header, then requests.

use host_linux::batch::{Batch, mmap_flags, protection};
use kernel_core::host::{MapOp, PAGE_SIZE};

use crate::layout::RAM_FD;

/// Bytes of a request: eight words, the number of a system call, six arguments, one unused.
pub const REQUEST_SIZE: u64 = 64;
/// Bytes before the first request, see `seccomp::mapper`.
pub const HEADER_SIZE: u64 = REQUEST_SIZE;
/// Requests that fit into a request page.
pub const REQUESTS_A_PAGE: usize = ((PAGE_SIZE - HEADER_SIZE) / REQUEST_SIZE) as usize;

/// The requests for all that is pending, a page at a time.
pub fn pages(batch: &Batch) -> impl Iterator<Item = Vec<u8>> {
    batch.ops().chunks(REQUESTS_A_PAGE).map(page)
}

/// The requests for changes that fit into a page.
pub fn page(ops: &[MapOp]) -> Vec<u8> {
    ops.iter().flat_map(request).collect()
}

/// The eight words of a request.
fn request(op: &MapOp) -> [u8; REQUEST_SIZE as usize] {
    let words: [u64; 8] = match *op {
        MapOp::Map { va, len, phys, prot, fill } => {
            let (prot, flags) = (protection(prot) as u64, mmap_flags(fill) as u64);
            [libc::SYS_mmap as u64, va, len, prot, flags, RAM_FD as u64, phys.0, 0]
        }
        MapOp::Unmap { va, len } => [libc::SYS_munmap as u64, va, len, 0, 0, 0, 0, 0],
        MapOp::Protect { va, len, prot } => {
            [libc::SYS_mprotect as u64, va, len, protection(prot) as u64, 0, 0, 0, 0]
        }
    };
    let mut bytes = [0; REQUEST_SIZE as usize];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_63_requests() {
        let mut batch = Batch::default();
        for page in 0..64 {
            batch.push(MapOp::Unmap { va: page * 2 * PAGE_SIZE, len: PAGE_SIZE });
        }
        assert_eq!(pages(&batch).map(|page| page.len()).collect::<Vec<_>>(), [4096 - 64, 64]);
    }
}
