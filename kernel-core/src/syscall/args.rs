//! A call's arguments: six registers, made into types at the door.

use crate::errno::{EBADF, Result};

/// A descriptor number as the guest passed it.
pub type RawFd = i32;

/// The six argument registers of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Args(pub [u64; 6]);

impl Args {
    /// The whole register; also for addresses and lengths.
    pub fn raw(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// A guest address.
    pub fn ptr(&self, index: usize) -> u64 {
        self.raw(index)
    }

    /// A `size_t`.
    pub fn size(&self, index: usize) -> usize {
        self.raw(index) as usize
    }

    /// An `int`: the upper half of the register does not count.
    pub fn int(&self, index: usize) -> i32 {
        self.raw(index) as i32
    }

    /// An `unsigned int`.
    pub fn uint(&self, index: usize) -> u32 {
        self.raw(index) as u32
    }

    /// A `long` or `off_t`.
    pub fn long(&self, index: usize) -> i64 {
        self.raw(index) as i64
    }

    /// A descriptor.
    pub fn fd(&self, index: usize) -> RawFd {
        self.int(index)
    }

    /// A descriptor that must not be negative.
    pub fn open_fd(&self, index: usize) -> Result<u32> {
        u32::try_from(self.int(index)).map_err(|_| EBADF)
    }
}

/// How `--strace` shows an argument.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A signed number.
    Int,
    /// An unsigned number: a size, a count.
    Size,
    /// A number in hexadecimal: a command, flags without names.
    Hex,
    /// An address whose contents are not shown.
    Ptr,
    /// A descriptor.
    Fd,
    /// A descriptor of a directory, AT_FDCWD among them.
    DirFd,
    /// A C string.
    Str,
    /// An array of C strings (`argv`).
    Strs,
    /// Bytes that go in, as many as argument N says.
    In(usize),
    /// Bytes that came out, as many as the result says.
    Out,
    /// Permission bits, octal.
    Mode,
    /// Permission bits that count only if the flags of `open` in argument N make a file.
    CreateMode(usize),
    /// Flags of `open`.
    OpenFlags,
    /// Flags of `clone`.
    CloneFlags,
    /// A set of signals that goes in.
    SignalSet,
    /// A `timespec` that goes in.
    Time,
    /// The address of a socket that goes in, as long as argument N says.
    SocketAddr(usize),
    /// Two descriptors that came out.
    FdPair,
    /// A signal number.
    Signal,
    /// Bits with names.
    Flags(&'static [(u64, &'static str)]),
    /// One value of several with names.
    Enum(&'static [(u64, &'static str)]),
}
