//! What a page cache's bytes are before anybody writes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes in kernel memory that files are made of without being copied (a boot archive, an image).
pub trait Blob: Send + Sync {
    /// All of them; always the same.
    fn bytes(&self) -> &[u8];

    /// Says that a range was copied and is hardly read again soon: whatever keeps it near may be given up. The bytes
    /// stay what they are.
    fn done_with(&self, _range: Range<usize>) {}
}

impl Blob for Vec<u8> {
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

impl Backing {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Backing::Empty => &[],
            Backing::Blob { owner, offset, len } => {
                let bytes = owner.bytes().get(*offset..).unwrap_or_default();
                &bytes[..bytes.len().min(*len)]
            }
        }
    }

    /// [`Blob::done_with`] for a range of the file.
    pub(super) fn done_with(&self, range: Range<u64>) {
        if let Backing::Blob { owner, offset, .. } = self {
            let at = |file: u64| offset.saturating_add(file as usize);
            owner.done_with(at(range.start)..at(range.end));
        }
    }
}
