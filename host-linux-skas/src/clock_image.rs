//! Clocks that guests read without a call: the host's own vDSO (`vdso(7)`), of which each stub keeps the data pages.
//!
//! The host maps, next to each other, pages of data that it updates (`[vvar]`, and in some versions `[vvar_vclock]`) and
//! the code that reads them (`[vdso]`), by their distance. A stub moves the data to a place that guests do not have, and
//! behind it maps a copy of the code in which only the functions for clocks have names. The others would tell of the host
//! what the guest must not go by, such as the processor it is on.

use std::ops::Range;

use elf::ElfBytes;
use elf::endian::LittleEndian;
use kernel_core::host::PAGE_SIZE;

use crate::layout::CODE;

/// The functions that keep their names.
const CLOCKS: [&str; 4] = ["clock_gettime", "gettimeofday", "time", "clock_getres"];
/// What the host puts before them.
const PREFIX: &str = "__vdso_";
/// Bytes of a symbol (`Elf64_Sym`), and which of them are the section that it belongs to, and its value.
const SYMBOL: usize = 24;
const SECTION: Range<usize> = 6..8;
const VALUE: Range<usize> = 8..16;
/// The most that there is room for below the stub's code, in bytes.
pub const MOST: u64 = 1 << 20;

/// The host's mappings in this process, and so in each process that is forked from it.
#[derive(Clone)]
pub struct ClockImage {
    /// The data.
    pub data: Range<u64>,
    /// The code, patched; it belongs right behind the data. Whole pages.
    pub code: Vec<u8>,
}

impl ClockImage {
    /// Of this process; `None` if the host has none, or another layout than known.
    pub fn find() -> Option<ClockImage> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let (data, code) = mappings(&maps)?;
        if code.end - data.start > MOST {
            return None;
        }
        // SAFETY: the host has just said that it maps these bytes; it never unmaps or writes them.
        let bytes = unsafe {
            let start = std::ptr::with_exposed_provenance::<u8>(code.start as usize);
            std::slice::from_raw_parts(start, (code.end - code.start) as usize)
        };
        let mut code = bytes.to_vec();
        hide_others(&mut code)?;
        Some(ClockImage { data, code })
    }

    /// Where the data goes in a stub; the code follows, and ends where the stub's own begins.
    pub fn place(&self) -> u64 {
        CODE - self.code.len() as u64 - (self.data.end - self.data.start)
    }

    /// Where the code goes in a stub.
    pub fn code_place(&self) -> u64 {
        CODE - self.code.len() as u64
    }
}

/// Where the data and the code are: `[vvar]` and what else of it follows, then `[vdso]`, without a gap.
fn mappings(maps: &str) -> Option<(Range<u64>, Range<u64>)> {
    let mut data: Option<Range<u64>> = None;
    for line in maps.lines() {
        let (name, range) = (line.split_whitespace().nth(5), line.split(' ').next()?);
        let (start, end) = range.split_once('-')?;
        let range = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
        match (name, data.as_mut()) {
            (Some("[vvar]"), None) => data = Some(range),
            (Some("[vvar_vclock]"), Some(data)) if data.end == range.start => data.end = range.end,
            (Some("[vdso]"), Some(data)) if data.end == range.start => return Some((data.clone(), range)),
            _ => {}
        }
    }
    None
}

/// Makes every symbol undefined that is not a clock's, and takes its value away: `dlsym` of glibc finds an undefined one that
/// has a value. `None` if this is not an image with all clocks.
fn hide_others(image: &mut [u8]) -> Option<()> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(image).ok()?;
    let (table, names) = elf.dynamic_symbol_table().ok()??;
    let at = elf.section_headers()?.iter().find(|header| header.sh_type == elf::abi::SHT_DYNSYM)?.sh_offset;
    let clocks = table.iter().map(|symbol| {
        let name = names.get(symbol.st_name as usize).unwrap_or_default();
        (CLOCKS.contains(&name.strip_prefix(PREFIX).unwrap_or(name)), name.starts_with(PREFIX))
    });
    let clocks: Vec<(bool, bool)> = clocks.collect();
    for (number, _) in clocks.iter().enumerate().filter(|(_, (is_clock, _))| !is_clock) {
        let symbol = image.get_mut(usize::try_from(at).ok()? + number * SYMBOL..)?;
        symbol.get_mut(SECTION)?.fill(0);
        symbol.get_mut(VALUE)?.fill(0);
    }
    (clocks.iter().filter(|both| **both == (true, true)).count() == CLOCKS.len()).then_some(())
}

const _: () = assert!(MOST.is_multiple_of(PAGE_SIZE));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_pages_are_found_and_only_clocks_are_left() {
        let image = ClockImage::find().expect("this machine has a vDSO");
        assert!((image.data.end - image.data.start).is_multiple_of(PAGE_SIZE));
        let elf = ElfBytes::<LittleEndian>::minimal_parse(&image.code).unwrap();
        let (table, names) = elf.dynamic_symbol_table().unwrap().unwrap();
        let defined = table.iter().filter(|symbol| !symbol.is_undefined() || symbol.st_value != 0);
        let defined: Vec<&str> = defined.map(|symbol| names.get(symbol.st_name as usize).unwrap()).collect();
        assert!(defined.contains(&"__vdso_clock_gettime"), "{defined:?}");
        assert!(defined.iter().all(|name| !name.contains("cpu") && !name.contains("random")), "{defined:?}");
    }

    #[test]
    fn other_layouts_are_none() {
        let old = "7000-9000 r--p 0 0:0 0 [vvar]\n9000-a000 r-xp 0 0:0 0 [vdso]\n";
        assert_eq!(mappings(old), Some((0x7000..0x9000, 0x9000..0xa000)));
        assert_eq!(mappings("7000-9000 r--p 0 0:0 0 [vvar]\na000-b000 r-xp 0 0:0 0 [vdso]\n"), None);
        assert_eq!(mappings("9000-a000 r-xp 0 0:0 0 [vdso]\n"), None);
    }
}
