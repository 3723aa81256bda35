//! `mmap`, `munmap`, `mprotect`, `mremap`, `brk`: changing what is mapped.

use alloc::sync::Arc;

use crate::errno::{ENOSYS, Result};
use crate::host::Host;
use crate::mm::Mm;
use crate::mm::cache::PageCache;
use crate::vfs::file::OpenFile;

/// What `mmap` maps.
#[derive(Clone)]
pub enum Object {
    /// Zeroes: memory of its own, or with `MAP_SHARED` memory shared with later children.
    Anonymous,
    /// A file's pages.
    File {
        /// The pages, from [`crate::vfs::file::FileOps::mappable`].
        pages: Arc<PageCache>,
        /// The open file, kept as long as it is mapped; `None` for what has no descriptor.
        file: Option<Arc<OpenFile>>,
        /// Offset of the first byte.
        offset: u64,
    },
}

/// The arguments of `mmap(2)`, as the guest gave them. The caller has checked that the descriptor may be mapped:
/// EBADF, EACCES (not readable; shared and writable but not open for writing; noexec), ENODEV.
pub struct MapRequest {
    /// Where, or a hint.
    pub addr: u64,
    /// Bytes; rounded up.
    pub len: u64,
    /// `PROT_*`.
    pub prot: u32,
    /// `MAP_*`; unknown ones are as Linux treats them.
    pub flags: u32,
    /// What.
    pub object: Object,
}

impl<H: Host> Mm<H> {
    /// `mmap(2)`.
    pub fn mmap(&self, request: &MapRequest) -> Result<u64> {
        let _ = request;
        Err(ENOSYS)
    }

    /// `munmap(2)`.
    pub fn munmap(&self, addr: u64, len: u64) -> Result<()> {
        let _ = (addr, len);
        Err(ENOSYS)
    }

    /// `mprotect(2)`.
    pub fn mprotect(&self, addr: u64, len: u64, prot: u32) -> Result<()> {
        let _ = (addr, len, prot);
        Err(ENOSYS)
    }

    /// `mremap(2)`.
    pub fn mremap(&self, old: u64, old_len: u64, new_len: u64, flags: u32, new: u64) -> Result<u64> {
        let _ = (old, old_len, new_len, flags, new);
        Err(ENOSYS)
    }

    /// `brk(2)`: the new break, or the old one if it cannot move.
    pub fn brk(&self, addr: u64) -> u64 {
        addr
    }
}
