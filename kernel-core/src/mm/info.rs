//! What `/proc` shows of an address space.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::host::{Host, Prot};
use crate::mm::Mm;
use crate::vfs::file::OpenFile;

/// One line of `/proc/PID/maps`.
pub struct MapInfo {
    /// Addresses.
    pub range: Range<u64>,
    /// Accesses allowed.
    pub prot: Prot,
    /// `s` rather than `p`.
    pub shared: bool,
    /// Offset in the file; 0 without one.
    pub offset: u64,
    /// The file mapped, whose inode and path are shown.
    pub file: Option<Arc<OpenFile>>,
    /// `[heap]`, `[stack]`, or empty.
    pub name: &'static str,
}

/// Sizes in bytes, for `/proc/PID/{statm,status,stat}` and `getrusage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `VmSize`: all mappings.
    pub virtual_size: u64,
    /// `VmPeak`.
    pub peak_virtual: u64,
    /// `RssAnon`.
    pub resident_anonymous: u64,
    /// `RssFile`.
    pub resident_file: u64,
    /// `VmHWM`.
    pub peak_resident: u64,
    /// `VmData`: writable private mappings but the stack.
    pub data: u64,
    /// `VmStk`.
    pub stack: u64,
    /// `VmExe` and `VmLib`: executable file mappings.
    pub text: u64,
    /// `VmLck`.
    pub locked: u64,
}

/// Where parts of a program are, for `/proc/PID/{stat,cmdline,environ,auxv}` and `prctl(PR_SET_MM)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Code.
    pub code: Range<u64>,
    /// Initialised data.
    pub data: Range<u64>,
    /// Where the heap starts.
    pub brk_start: u64,
    /// The top of the stack at the start.
    pub stack_start: u64,
    /// The arguments, each ended by a zero byte.
    pub args: Range<u64>,
    /// The environment, each variable ended by a zero byte.
    pub env: Range<u64>,
    /// The auxiliary vector, as on the stack.
    pub auxv: Vec<u8>,
}

impl<H: Host> Mm<H> {
    /// All mappings, by address.
    pub fn maps(&self) -> Vec<MapInfo> {
        Vec::new()
    }

    /// Sizes now.
    pub fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Where parts of the program are.
    pub fn layout(&self) -> Layout {
        Layout::default()
    }
}
