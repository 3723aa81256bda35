//! Loading ELF programs. Source: `elf(5)`, `execve(2)`.
//!
//! Headers come from the guest, so every number in them is checked before it is used; what Linux refuses is refused with
//! the same error.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use ::elf::abi;
use ::elf::endian::LittleEndian;
use ::elf::file::{Class, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use ::elf::parse::ParsingTable;
use ::elf::segment::ProgramHeader;
use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, EIO, ELIBBAD, ENOEXEC, ENOMEM, Result};
use crate::host::{Host, PAGE_SIZE, Space};
use crate::io::VecSink;
use crate::mm::Mm;
use crate::mm::cache::PageCache;
use crate::mm::fault::EARLY_DATA;
use crate::mm::map::{MapRequest, Object};
use crate::vfs::file::OpenFile;

/// Bytes of the file header.
const HEADER: usize = abi::EI_NIDENT + ELF64_EHDR_TAILSIZE;

/// Bytes of a program header.
const PHENT: usize = 56;

/// The longest path to an interpreter, with its zero byte.
const PATH_MAX: u64 = 4096;

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

/// The headers of a program, checked.
struct Headers {
    file: FileHeader<LittleEndian>,
    segments: Vec<ProgramHeader>,
}

impl Headers {
    /// ENOEXEC if it is not an ELF program for this machine.
    fn read(binary: &Binary) -> Result<Headers> {
        let header = read(binary, 0, HEADER)?;
        let (ident, tail) = header.split_at_checked(abi::EI_NIDENT).ok_or(ENOEXEC)?;
        let ident = parse_ident::<LittleEndian>(ident).map_err(|_| ENOEXEC)?;
        let file = FileHeader::parse_tail(ident, tail).map_err(|_| ENOEXEC)?;
        let table_len = usize::from(file.e_phnum) * PHENT;
        if file.class != Class::ELF64
            || file.e_machine != abi::EM_X86_64
            || !matches!(file.e_type, abi::ET_EXEC | abi::ET_DYN)
            || usize::from(file.e_phentsize) != PHENT
            || table_len == 0
            || table_len as u64 > PAGE_SIZE
        {
            return Err(ENOEXEC);
        }
        let table = read(binary, file.e_phoff, table_len)?;
        if table.len() != table_len {
            return Err(ENOEXEC);
        }
        let segments = ParsingTable::new(file.endianness, file.class, &table).iter().collect();
        Ok(Headers { file, segments })
    }

    fn loads(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD)
    }

    fn find(&self, p_type: u32) -> Option<&ProgramHeader> {
        self.segments.iter().find(|segment| segment.p_type == p_type)
    }

    /// The addresses from the first to the last segment, in whole pages; EINVAL if there is none, or a segment is
    /// impossible.
    fn extent(&self) -> Result<Range<u64>> {
        let mut extent: Option<Range<u64>> = None;
        for segment in self.loads() {
            if segment.p_filesz > segment.p_memsz {
                return Err(EINVAL);
            }
            let end = segment.p_vaddr.checked_add(segment.p_memsz).ok_or(EINVAL)?;
            let end = end.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
            let start = segment.p_vaddr - segment.p_vaddr % PAGE_SIZE;
            let so_far = extent.unwrap_or(start..end);
            extent = Some(so_far.start.min(start)..so_far.end.max(end));
        }
        extent.ok_or(EINVAL)
    }

    /// The largest alignment that a segment asks for and that is one.
    fn alignment(&self) -> u64 {
        let wished = self.loads().map(|segment| segment.p_align).filter(|align| align.is_power_of_two());
        wished.max().unwrap_or(0).max(PAGE_SIZE)
    }
}

/// Reads up to `len` bytes of a file.
fn read(binary: &Binary, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut sink = VecSink::new(len);
    binary.pages.read_at(offset, &mut sink)?;
    Ok(sink.bytes)
}

/// The path in `PT_INTERP`, without its zero byte. ENOEXEC if it is not an ELF program for this machine.
/// Call it before the point of no return: it checks all headers that [`load`] will use.
pub fn interpreter(exe: &Binary) -> Result<Option<Vec<u8>>> {
    let headers = Headers::read(exe)?;
    let Some(segment) = headers.find(abi::PT_INTERP) else { return Ok(None) };
    if !(2..=PATH_MAX).contains(&segment.p_filesz) {
        return Err(ENOEXEC);
    }
    let mut path = read(exe, segment.p_offset, segment.p_filesz as usize)?;
    if path.len() as u64 != segment.p_filesz {
        return Err(EIO);
    }
    if path.pop() != Some(0) {
        return Err(ENOEXEC);
    }
    // What counts is the string; it may end before the segment does.
    path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
    Ok(Some(path))
}

/// The addresses that a program was linked for; none if it goes anywhere. ENOEXEC, EINVAL.
pub fn addresses(exe: &Binary) -> Result<Range<u64>> {
    let headers = Headers::read(exe)?;
    if headers.file.e_type == abi::ET_DYN { Ok(0..0) } else { headers.extent() }
}

/// Maps a program, and the interpreter it names, into the empty `mm`. ENOEXEC, ELIBBAD (the interpreter is no ELF),
/// ENOMEM, EINVAL, as `execve(2)`. Whatever is mapped when it fails stays: drop the `mm`.
pub fn load<H: Host>(mm: &Mm<H>, exe: &Binary, interpreter: Option<&Binary>) -> Result<Image> {
    mm.place_areas();
    let headers = Headers::read(exe)?;
    let extent = headers.extent()?;
    let bias = match headers.file.e_type {
        abi::ET_DYN => {
            let start = mm.place_program(extent.end - extent.start, headers.alignment())?;
            start.wrapping_sub(extent.start)
        }
        _ => 0,
    };
    let mut written = Written::default();
    map_segments(mm, exe, &headers, bias, &mut written)?;
    let mut image = Image {
        entry: headers.file.e_entry.wrapping_add(bias),
        program_entry: headers.file.e_entry.wrapping_add(bias),
        headers: headers_in_memory(&headers).map_or(0, |addr| addr.wrapping_add(bias)),
        header_count: u64::from(headers.file.e_phnum),
        interpreter_base: 0,
        executable_stack: headers
            .find(abi::PT_GNU_STACK)
            .is_some_and(|segment| segment.p_flags & abi::PF_X != 0),
    };
    if let Some(interpreter) = interpreter {
        let headers = Headers::read(interpreter).map_err(|_| ELIBBAD)?;
        let extent = headers.extent()?;
        let base = match headers.file.e_type {
            abi::ET_DYN => mm.find_room(extent.end - extent.start)?.wrapping_sub(extent.start),
            _ => 0,
        };
        map_segments(mm, interpreter, &headers, base, &mut written)?;
        image.interpreter_base = base;
        image.entry = headers.file.e_entry.wrapping_add(base);
        if !mm.space().limits().contains(&image.entry) {
            return Err(EINVAL);
        }
    }
    mm.map_files(&written.early);
    for tail in written.tails {
        clear_tail(mm, tail)?;
    }
    note_layout(mm, &headers, bias, extent.end);
    Ok(image)
}

/// Where the program headers are once the segments are mapped, before the bias.
fn headers_in_memory(headers: &Headers) -> Option<u64> {
    if let Some(segment) = headers.find(abi::PT_PHDR) {
        return Some(segment.p_vaddr);
    }
    let at = headers.file.e_phoff;
    let segment = headers
        .loads()
        .find(|segment| at.checked_sub(segment.p_offset).is_some_and(|inside| inside < segment.p_filesz))?;
    segment.p_vaddr.checked_add(at - segment.p_offset)
}

/// What is written to in a program that was just mapped.
#[derive(Default)]
struct Written {
    /// By the kernel: the rest of a data segment's last page, which shows what follows in the file.
    tails: Vec<Range<u64>>,
    /// By the program, in its first steps: the starts of its data.
    early: Vec<Range<u64>>,
}

/// Maps all segments, moved by `bias`, and adds to `written`.
fn map_segments<H: Host>(
    mm: &Mm<H>,
    binary: &Binary,
    headers: &Headers,
    bias: u64,
    written: &mut Written,
) -> Result<()> {
    for segment in headers.loads() {
        let mut prot = 0;
        for (flag, bit) in
            [(abi::PF_R, sys::PROT_READ), (abi::PF_W, sys::PROT_WRITE), (abi::PF_X, sys::PROT_EXEC)]
        {
            if segment.p_flags & flag != 0 {
                prot |= bit;
            }
        }
        let start = segment.p_vaddr.wrapping_add(bias);
        let in_page = start % PAGE_SIZE;
        let file_end = start.checked_add(segment.p_filesz).ok_or(EINVAL)?;
        let end = start.checked_add(segment.p_memsz).ok_or(EINVAL)?;
        let mut mapped_end = start - in_page;
        if segment.p_filesz != 0 {
            let offset =
                segment.p_offset.checked_sub(in_page).filter(|offset| offset.is_multiple_of(PAGE_SIZE));
            let object = Object::File {
                pages: binary.pages.clone(),
                file: binary.file.clone(),
                offset: offset.ok_or(EINVAL)?,
            };
            map_fixed(mm, mapped_end, in_page.saturating_add(segment.p_filesz), prot, object)?;
            mapped_end = file_end.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
            if end > file_end && file_end < mapped_end && prot & sys::PROT_WRITE != 0 {
                written.tails.push(file_end..mapped_end);
            }
        }
        if end > mapped_end {
            map_fixed(mm, mapped_end, end - mapped_end, prot, Object::Anonymous)?;
        }
        if prot & sys::PROT_WRITE != 0 {
            written.early.push(start..end.min(start.saturating_add(EARLY_DATA)));
        }
    }
    Ok(())
}

fn map_fixed<H: Host>(mm: &Mm<H>, addr: u64, len: u64, prot: u32, object: Object) -> Result<()> {
    let flags = sys::MAP_PRIVATE | sys::MAP_FIXED;
    mm.map_lazily(&MapRequest { addr, len, prot, flags, object }).map(|_| ())
}

/// Zeroes the rest of a data segment's last page.
fn clear_tail<H: Host>(mm: &Mm<H>, tail: Range<u64>) -> Result<()> {
    let zeroes = [0; PAGE_SIZE as usize];
    let zeroes = zeroes.get(..(tail.end - tail.start) as usize).ok_or(EINVAL)?;
    // Beyond the end of a file that is too short there is nothing to clear, and using it will be SIGBUS.
    let _ = mm.user().write_bytes(tail.start, zeroes);
    if mm.is_dead() { Err(ENOMEM) } else { Ok(()) }
}

/// Notes where code, data and heap are.
fn note_layout<H: Host>(mm: &Mm<H>, headers: &Headers, bias: u64, end: u64) {
    let extent = |is_code: bool| {
        let wanted = headers.loads().filter(|segment| (segment.p_flags & abi::PF_X != 0) == is_code);
        let parts = wanted.map(|segment| {
            let start = segment.p_vaddr.wrapping_add(bias);
            start..start.saturating_add(segment.p_filesz)
        });
        parts.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or_default()
    };
    let (code, data) = (extent(true), extent(false));
    mm.place_brk(end.wrapping_add(bias));
    mm.set_layout(|layout| (layout.code, layout.data) = (code, data));
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
