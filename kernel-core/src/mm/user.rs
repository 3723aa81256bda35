//! The only way to guest memory by guest addresses.

use alloc::vec::Vec;

use smallvec::SmallVec;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::errno::{EFAULT, Result};
use crate::host::{Frames, Host, Phys};
use crate::io::{Sink, Source, UserMemory};
use crate::mm::Mm;

/// The most bytes one read or write moves (`MAX_RW_COUNT`).
pub const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// The most buffers of one vectored read or write (`UIO_MAXIOV`).
pub const MAX_IOVECS: u64 = 1024;

/// What a futex is at: equal for two addresses exactly if they are the same futex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FutexKey {
    /// Id of the address space, or of the page cache for memory that is mapped shared.
    pub object: u64,
    /// Address or offset in it.
    pub offset: u64,
}

/// A guest's memory.
pub struct User<'a, H: Host> {
    mm: &'a Mm<H>,
}

impl<'a, H: Host> User<'a, H> {
    /// The memory of `mm`, which need not be the caller's own.
    pub fn new(mm: &'a Mm<H>) -> User<'a, H> {
        User { mm }
    }

    /// Fills `buf` from `addr`, or EFAULT.
    pub fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        let _ = (addr, buf);
        Err(EFAULT)
    }

    /// Writes all of `bytes` to `addr`, or EFAULT, and then a part may have been written.
    pub fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        let _ = (addr, bytes);
        Err(EFAULT)
    }

    /// Reads a plain value.
    pub fn get<T: FromBytes + FromZeros + IntoBytes>(&self, addr: u64) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read_bytes(addr, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a plain value.
    pub fn set<T: IntoBytes + Immutable>(&self, addr: u64, value: &T) -> Result<()> {
        self.write_bytes(addr, value.as_bytes())
    }

    /// Bytes from `addr` on, at most [`MAX_RW_COUNT`]. EFAULT here only if the range leaves the user's addresses.
    pub fn reader(&self, addr: u64, len: u64) -> Result<Buffers<'a, H>> {
        let _ = (addr, len);
        Err(EFAULT)
    }

    /// Room from `addr` on, at most [`MAX_RW_COUNT`]. EFAULT here only if the range leaves the user's addresses.
    pub fn writer(&self, addr: u64, len: u64) -> Result<Buffers<'a, H>> {
        self.reader(addr, len)
    }

    /// The buffers of an iovec array, for reading or writing; EINVAL, EFAULT as `readv(2)`.
    pub fn buffers(&self, iovecs: u64, count: u64) -> Result<Buffers<'a, H>> {
        let _ = (iovecs, count);
        Err(EFAULT)
    }

    /// The bytes of a string without its zero byte; ENAMETOOLONG if none comes within `max` bytes.
    pub fn read_cstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let _ = (addr, max);
        Err(EFAULT)
    }

    /// Atomically reads an aligned word; EFAULT.
    pub fn load_u32(&self, addr: u64) -> Result<u32> {
        let _ = addr;
        Err(EFAULT)
    }

    /// Atomically swaps an aligned word if it is `old`; the inner `Err` is the value found instead. EFAULT.
    pub fn compare_exchange_u32(&self, addr: u64, old: u32, new: u32) -> Result<Result<u32, u32>> {
        let _ = (addr, old, new);
        Err(EFAULT)
    }

    /// The futex at an aligned address. A private one is only known in this address space.
    pub fn futex_key(&self, addr: u64, scope: FutexScope) -> Result<FutexKey> {
        let _ = scope;
        Ok(FutexKey { object: self.mm.id(), offset: addr })
    }
}

/// Who may use a futex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexScope {
    /// Threads of one address space (`FUTEX_PRIVATE_FLAG`).
    Private,
    /// Whoever maps the memory.
    Shared,
}

impl<H: Host> UserMemory for Mm<H> {
    fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        self.user().read_bytes(addr, buf)
    }

    fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.user().write_bytes(addr, bytes)
    }
}

/// One or several buffers of a guest, taken from the front on.
pub struct Buffers<'a, H: Host> {
    mm: &'a Mm<H>,
    /// Address and length of what is left of each, first one first.
    parts: SmallVec<[(u64, u64); 4]>,
    next: usize,
    left: usize,
}

impl<H: Host> Buffers<'_, H> {
    /// Cuts what is left to `len` bytes.
    pub fn limit(&mut self, len: usize) {
        self.left = self.left.min(len);
    }
}

impl<H: Host> Sink for Buffers<'_, H> {
    fn remaining(&self) -> usize {
        self.left
    }
    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let _ = bytes;
        Err(EFAULT)
    }
    fn put_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        let _ = (ram, at, len);
        Err(EFAULT)
    }
    fn put_zeros(&mut self, len: usize) -> Result<usize> {
        let _ = len;
        Err(EFAULT)
    }
}

impl<H: Host> Source for Buffers<'_, H> {
    fn remaining(&self) -> usize {
        self.left
    }
    fn take(&mut self, buf: &mut [u8]) -> Result<usize> {
        let _ = buf;
        Err(EFAULT)
    }
    fn take_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        let _ = (ram, at, len);
        Err(EFAULT)
    }
}
