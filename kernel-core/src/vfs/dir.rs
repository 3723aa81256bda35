//! Directory reading.

use crate::errno::Result;

/// Takes directory entries, as `getdents64` packs them.
pub trait DirSink {
    /// Takes an entry; `next` is the position behind it. `Ok(false)`: it did not fit, stop.
    fn entry(&mut self, ino: u64, next: u64, kind: u8, name: &[u8]) -> Result<bool>;
}
