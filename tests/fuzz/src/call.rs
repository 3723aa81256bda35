//! System calls as data: what a guest on FakeHost makes, and a native process just as well.

use kernel_core::host::fake::GuestMem;
use kernel_core::host::{Exit, Registers};
use linux_raw_sys::general as sys;

/// Where a script has its data, in every address space.
pub const DATA: u64 = 0x1000_0000;
/// Bytes of it.
pub const DATA_LEN: u64 = 0x1_0000;

/// What a call leaves in memory and whoever made it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// Nothing.
    Nothing,
    /// As many bytes as it returns, here.
    Returned(u64),
    /// So many bytes, here, if it succeeds.
    Fixed(u64, u64),
    /// A `struct stat`.
    Stat(u64),
    /// Entries of a directory, as many bytes as it returns.
    Entries(u64),
}

/// A system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
    /// What is in memory when it is made: addresses and bytes.
    pub stores: Vec<(u64, Vec<u8>)>,
    /// What it leaves.
    pub out: Out,
}

impl Call {
    /// With up to six arguments.
    pub fn new(number: u32, args: &[u64]) -> Call {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        Call { number, args: all, stores: Vec::new(), out: Out::Nothing }
    }

    /// With bytes in memory.
    pub fn with(mut self, at: u64, bytes: &[u8]) -> Call {
        self.stores.push((at, bytes.to_vec()));
        self
    }

    /// With something to look at.
    pub fn gives(mut self, out: Out) -> Call {
        self.out = out;
        self
    }

    /// With a path, or another string, as its argument of this index: up to 0x1100 bytes of it, in a place of its own.
    pub fn path(mut self, index: usize, path: &[u8]) -> Call {
        let at = DATA + 0x1100 * index as u64;
        self.args[index] = at;
        self.with(at, &[path, b"\0"].concat())
    }

    /// Makes it: stores what is in memory and sets the registers. With an error it is not made, and may be tried again.
    pub fn make(&self, regs: &mut Registers, memory: &dyn GuestMem) -> Result<Exit, Exit> {
        for (at, bytes) in &self.stores {
            memory.write(*at, bytes)?;
        }
        regs.rax = self.number.into();
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = self.args;
        Ok(Exit::Syscall)
    }
}

/// `AT_FDCWD`.
pub const HERE: u64 = sys::AT_FDCWD as i64 as u64;
