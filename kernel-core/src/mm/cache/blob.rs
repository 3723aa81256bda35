//! What a page cache's bytes are before anybody writes.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes in kernel memory that files are made of without being copied (a boot archive, an image).
pub trait Blob: Send + Sync {
    /// All of them; always the same.
    fn bytes(&self) -> &[u8];
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
}
