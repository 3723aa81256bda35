//! Block devices: what a guest's disks are on the host.
//!
//! Offsets and lengths are in bytes and multiples of [`SECTOR`]. A device has no cache that the kernel would have to
//! know of: what was written is what is read next. What was written survives the end of the machine only once
//! [`BlockDevice::flush`] has returned.

use core::ops::Range;

/// The unit of every transfer, in bytes.
pub const SECTOR: u64 = 512;

/// Why a block device did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The range is not inside the device or not made of whole sectors.
    OutOfRange,
    /// It cannot be written.
    ReadOnly,
    /// The host has no room for what was written.
    NoSpace,
    /// It cannot do that at all (a discard, zeros).
    Unsupported,
    /// The host's device failed.
    Failed,
}

/// A disk. Calls may take as long as the host's device does, and come from any thread.
pub trait BlockDevice: Send + Sync {
    /// Size in bytes, a multiple of [`SECTOR`]; changes only if it shows a file of the guest.
    fn size(&self) -> u64;

    /// Whether every write fails.
    fn read_only(&self) -> bool;

    /// Fills `buf` from `offset` on.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError>;

    /// Writes `bytes` at `offset`. If it fails, any part may have been written.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError>;

    /// Makes all writes that have returned last.
    fn flush(&self) -> Result<(), BlockError>;

    /// Says that nobody needs the bytes of a range any more; what is read there next is undefined.
    fn discard(&self, range: Range<u64>) -> Result<(), BlockError> {
        let _ = range;
        Err(BlockError::Unsupported)
    }

    /// Makes a range read as zero, and gives its room back. If that is unsupported, zeros can be written.
    fn zero(&self, range: Range<u64>) -> Result<(), BlockError> {
        let _ = range;
        Err(BlockError::Unsupported)
    }

    /// How many devices that show files of the guest it is on, with itself.
    fn levels(&self) -> u32 {
        0
    }

    /// Somebody uses it from now on: an open file, a mount.
    fn opened(&self) {}

    /// He does no more.
    fn closed(&self) {}
}

/// Whether `len` bytes at `offset` are whole sectors inside a device of `size` bytes.
pub fn check_range(size: u64, offset: u64, len: u64) -> Result<(), BlockError> {
    let inside = offset.checked_add(len).is_some_and(|end| end <= size);
    let whole = offset.is_multiple_of(SECTOR) && len.is_multiple_of(SECTOR);
    if inside && whole { Ok(()) } else { Err(BlockError::OutOfRange) }
}
