//! Page caches: the bytes of a file, kept in guest RAM so that they can be mapped.

use alloc::sync::Arc;

use crate::errno::{ENOSYS, Result};
use crate::io::{Sink, Source};
use crate::mm::ram::Ram;

/// Bytes in kernel memory that files are made of without being copied (a boot archive, an image).
pub trait Blob: Send + Sync {
    /// All of them; always the same.
    fn bytes(&self) -> &[u8];
}

impl Blob for alloc::vec::Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Blob for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// What the bytes of a cache are before anybody writes.
pub enum Backing {
    /// Nothing: length 0, and holes read as zero (tmpfs, shared anonymous memory).
    Empty,
    /// A part of a blob; loaded into RAM in pieces when it is mapped or written.
    Blob {
        /// Keeps the bytes.
        owner: Arc<dyn Blob>,
        /// Where the file starts in it.
        offset: usize,
        /// The file's length. The part is clipped to what the blob has.
        len: usize,
    },
}

/// The contents of one file, or of one piece of shared anonymous memory.
pub struct PageCache {
    ram: Arc<Ram>,
}

impl PageCache {
    /// A cache over `backing`.
    pub fn new(ram: &Arc<Ram>, backing: Backing) -> Arc<PageCache> {
        let _ = backing;
        Arc::new(PageCache { ram: ram.clone() })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        0
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies from `offset` on to `dst` until it is full or the file ends; 0 at and behind the end.
    /// EFAULT only if nothing was copied. Takes no RAM.
    pub fn read_at(&self, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let _ = (offset, dst);
        Err(ENOSYS)
    }

    /// Copies all of `src` to `offset` and on, and makes the file longer if needed. Fewer bytes when RAM runs out or
    /// `src` faults; ENOSPC, EFBIG or EFAULT only if nothing was copied.
    pub fn write_at(&self, offset: u64, src: &mut dyn Source) -> Result<usize> {
        let _ = (offset, src);
        Err(ENOSYS)
    }

    /// Like [`PageCache::write_at`] at the end of the file, which no other append gets as well. Gives the offset and
    /// how many bytes were written.
    pub fn append(&self, src: &mut dyn Source) -> Result<(u64, usize)> {
        let _ = src;
        Err(ENOSYS)
    }

    /// Sets the length. What is cut off is zero if the file grows again, and gone from all mappings.
    pub fn truncate(&self, len: u64) -> Result<()> {
        let _ = len;
        Err(ENOSYS)
    }

    /// Makes `offset .. offset + len` read as zero and gives whole pages of it back; the length stays.
    pub fn punch_hole(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Commits RAM for a range, without changing the length (see [`PageCache::truncate`]); ENOSPC.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        let _ = (offset, len);
        Err(ENOSYS)
    }

    /// `SEEK_DATA`: the first offset from `offset` on that holds data; ENXIO.
    pub fn next_data(&self, offset: u64) -> Result<u64> {
        let _ = offset;
        Err(ENOSYS)
    }

    /// `SEEK_HOLE`: the first offset from `offset` on in a hole, the end being one; ENXIO.
    pub fn next_hole(&self, offset: u64) -> Result<u64> {
        let _ = offset;
        Err(ENOSYS)
    }

    /// Bytes of data the file holds, in RAM or in its backing, in whole pages (for `st_blocks`).
    pub fn allocated_bytes(&self) -> u64 {
        0
    }
}
