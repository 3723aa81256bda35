//! Where bytes go to and come from in a read or a write, so that a file need not know whether the other side is a
//! guest's buffer, several of them, or the kernel's own memory.
//!
//! Copying to a guest may fault pages in, which takes the locks of its address space; see the lock order in the crate's
//! documentation for what may be held meanwhile. It never suspends.

use alloc::vec::Vec;

use crate::errno::{EFAULT, EINVAL, Result};
use crate::host::{Frames, Phys};

/// Takes bytes, up to a limit. Each call says how many bytes it took, which is fewer than offered only at the limit or
/// at a bad guest address; it fails, with EFAULT, only if it took none because of the address.
pub trait Sink {
    /// How many bytes still fit.
    fn remaining(&self) -> usize;
    /// Takes bytes from kernel memory.
    fn put(&mut self, bytes: &[u8]) -> Result<usize>;
    /// Takes `len` bytes from guest RAM.
    fn put_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize>;
    /// Takes `len` zero bytes.
    fn put_zeros(&mut self, len: usize) -> Result<usize>;

    /// Takes all of `bytes` or fails with EFAULT; for records that must not be torn.
    fn put_all(&mut self, bytes: &[u8]) -> Result<()> {
        if self.put(bytes)? == bytes.len() { Ok(()) } else { Err(EFAULT) }
    }
}

/// Gives bytes, up to a limit; the mirror image of [`Sink`].
pub trait Source {
    /// How many bytes are left.
    fn remaining(&self) -> usize;
    /// Gives bytes to kernel memory.
    fn take(&mut self, buf: &mut [u8]) -> Result<usize>;
    /// Gives `len` bytes to guest RAM.
    fn take_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize>;

    /// Copies the next bytes, as many as there are and fit, without taking them. For small records that may have to
    /// wait (`eventfd`); EINVAL from a source that cannot.
    fn peek(&mut self, buf: &mut [u8]) -> Result<usize> {
        let _ = buf;
        Err(EINVAL)
    }

    /// Fills `buf` or fails with EFAULT.
    fn take_all(&mut self, buf: &mut [u8]) -> Result<()> {
        if self.take(buf)? == buf.len() { Ok(()) } else { Err(EFAULT) }
    }
}

/// A sink of kernel memory that grows up to `limit` bytes.
pub struct VecSink {
    /// What was taken.
    pub bytes: Vec<u8>,
    limit: usize,
}

impl VecSink {
    /// An empty sink for up to `limit` bytes.
    pub fn new(limit: usize) -> VecSink {
        VecSink { bytes: Vec::new(), limit }
    }
}

impl Sink for VecSink {
    fn remaining(&self) -> usize {
        self.limit - self.bytes.len()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let len = bytes.len().min(self.remaining());
        self.bytes.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn put_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        let (len, old) = (len.min(self.remaining()), self.bytes.len());
        self.bytes.resize(old + len, 0);
        ram.read(at, &mut self.bytes[old..]);
        Ok(len)
    }

    fn put_zeros(&mut self, len: usize) -> Result<usize> {
        let len = len.min(self.remaining());
        self.bytes.resize(self.bytes.len() + len, 0);
        Ok(len)
    }
}

/// A source of kernel memory.
pub struct SliceSource<'a>(pub &'a [u8]);

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len().min(self.0.len());
        let (now, later) = self.0.split_at(len);
        buf[..len].copy_from_slice(now);
        self.0 = later;
        Ok(len)
    }

    fn peek(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len().min(self.0.len());
        buf[..len].copy_from_slice(&self.0[..len]);
        Ok(len)
    }

    fn take_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        let len = len.min(self.0.len());
        let (now, later) = self.0.split_at(len);
        ram.write(at, now);
        self.0 = later;
        Ok(len)
    }
}

/// A guest's memory, by address, for calls whose arguments point at more than one buffer (`ioctl`, `fcntl`).
pub trait UserMemory {
    /// Copies from the guest; EFAULT if any byte is out of reach.
    fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<()>;
    /// Copies to the guest; EFAULT if any byte is out of reach, and then any part may have been written.
    fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()>;
}

impl dyn UserMemory + '_ {
    /// Reads a plain value.
    pub fn get<T: zerocopy::FromZeros + zerocopy::FromBytes + zerocopy::IntoBytes>(
        &self,
        addr: u64,
    ) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read_bytes(addr, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a plain value.
    pub fn set<T: zerocopy::IntoBytes + zerocopy::Immutable>(&self, addr: u64, value: &T) -> Result<()> {
        self.write_bytes(addr, value.as_bytes())
    }
}
