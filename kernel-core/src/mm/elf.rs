//! Loading ELF programs. Source: `elf(5)`, `execve(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{ENOEXEC, Result};
use crate::host::Host;
use crate::mm::Mm;
use crate::mm::cache::PageCache;
use crate::vfs::file::OpenFile;

/// A file to load.
#[derive(Clone)]
pub struct Binary {
    /// Its bytes.
    pub pages: Arc<PageCache>,
    /// The open file, kept by the mappings; `None` for an image in kernel memory.
    pub file: Option<Arc<OpenFile>>,
}

/// A program in memory, ready for [`crate::mm::stack::build`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it starts: the interpreter's entry if there is one.
    pub entry: u64,
    /// The program's own entry (`AT_ENTRY`).
    pub program_entry: u64,
    /// Its program headers in memory (`AT_PHDR`), 0 if no segment has them.
    pub headers: u64,
    /// How many (`AT_PHNUM`).
    pub header_count: u64,
    /// Where the interpreter lies (`AT_BASE`), 0 without.
    pub interpreter_base: u64,
    /// Whether the stack is executable (`PT_GNU_STACK`).
    pub executable_stack: bool,
}

/// The path in `PT_INTERP`, without its zero byte. ENOEXEC if it is not an ELF program for this machine.
/// Call it before the point of no return: it checks all headers that [`load`] will use.
pub fn interpreter(exe: &Binary) -> Result<Option<Vec<u8>>> {
    let _ = exe;
    Err(ENOEXEC)
}

/// Maps a program, and the interpreter it names, into the empty `mm`. ENOEXEC, ELIBBAD (the interpreter is no ELF),
/// ENOMEM, EINVAL, as `execve(2)`. Whatever is mapped when it fails stays: drop the `mm`.
pub fn load<H: Host>(mm: &Mm<H>, exe: &Binary, interpreter: Option<&Binary>) -> Result<Image> {
    let _ = (mm, exe, interpreter);
    Err(ENOEXEC)
}
