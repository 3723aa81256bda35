//! User-mode Linux's COW files: the changed sectors of a disk, over a backing file that stays as it is.
//!
//! A bit says where a sector is. It is set in the file only once the sector's data lasts there, so that an end of the
//! machine leaves each sector as it was or as it became: bits wait in memory for [`BlockDevice::flush`].

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kernel_core::host::block::{BlockDevice, BlockError, SECTOR, check_range};

use super::error::{DiskError, Problem, block_error};
use super::header::{self, Header};
use super::raw::{self, RawFile};
use super::{Format, Options, format_of, read_head};

/// A COW file and what is below it.
#[derive(Debug)]
pub struct CowFile {
    file: File,
    header: Header,
    size: u64,
    options: Options,
    backing: RawFile,
    bits: Mutex<Bits>,
}

#[derive(Debug)]
struct Bits {
    /// One a sector, lowest first.
    map: Vec<u8>,
    /// The bytes of the map that are not written yet.
    dirty: Range<usize>,
}

impl Bits {
    fn has(&self, sector: u64) -> bool {
        self.map.get((sector / 8) as usize).is_some_and(|byte| byte >> (sector % 8) & 1 != 0)
    }

    fn set(&mut self, sectors: Range<u64>) {
        for sector in sectors {
            let at = (sector / 8) as usize;
            let Some(byte) = self.map.get_mut(at).filter(|byte| **byte >> (sector % 8) & 1 == 0) else {
                continue;
            };
            *byte |= 1 << (sector % 8);
            self.dirty = if self.dirty.is_empty() {
                at..at + 1
            } else {
                self.dirty.start.min(at)..self.dirty.end.max(at + 1)
            };
        }
    }

    /// The sectors from `from` on, up to `end`, that are alike, and whether they are in the COW file.
    fn run(&self, from: u64, end: u64) -> (u64, bool) {
        let here = self.has(from);
        let upto = (from + 1..end).find(|&sector| self.has(sector) != here).unwrap_or(end);
        (upto, here)
    }
}

/// Where a COW file finds its backing file: a relative path is relative to the COW file.
pub fn backing_path(cow: &Path, header: &Header) -> PathBuf {
    match cow.parent() {
        Some(folder) => folder.join(&header.backing),
        None => header.backing.clone(),
    }
}

/// Reads the header of a COW file.
pub fn read_header(path: &Path, file: &File) -> Result<Header, DiskError> {
    let head = read_head(file, header::LEN).map_err(DiskError::io(path))?;
    Header::decode(&head).map_err(|what| DiskError::new(path, Problem::Header(what)))
}

/// Whether the backing file is as it was when the COW file was made.
pub fn check_backing(path: &Path, backing: &File, header: &Header) -> Result<(), DiskError> {
    let size = raw::size_of(backing).map_err(DiskError::io(path))?;
    if size != header.size {
        return Err(DiskError::new(path, Problem::BackingSize(header.size)));
    }
    if seconds(backing).map_err(DiskError::io(path))? != header.mtime {
        return Err(DiskError::new(path, Problem::BackingTime(header.mtime)));
    }
    Ok(())
}

/// When a file was last changed, in whole seconds, as headers have it.
pub(super) fn seconds(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.mtime() as u32)
}

/// What a COW file may be over, opened for reading only.
pub(super) fn open_backing(path: &Path) -> Result<RawFile, DiskError> {
    let backing = RawFile::open(path, Options { read_only: true, ..Options::default() })?;
    match format_of(backing.file()).map_err(DiskError::io(path))? {
        Format::Raw => Ok(backing),
        Format::Cow => Err(DiskError::new(path, Problem::CowOfCow)),
        Format::Foreign(name) => Err(DiskError::new(path, Problem::Foreign(name))),
    }
}

impl CowFile {
    /// Opens a COW file and its backing file, which is `expected` if that is given.
    pub fn open(path: &Path, expected: Option<&Path>, options: Options) -> Result<CowFile, DiskError> {
        let (file, options) = raw::open_locked(path, options)?;
        if format_of(&file).map_err(DiskError::io(path))? != Format::Cow {
            return Err(DiskError::new(path, Problem::NotCow));
        }
        let header = read_header(path, &file)?;
        let named = backing_path(path, &header);
        if let Some(expected) = expected
            && !same_file(expected, &named)
        {
            return Err(DiskError::new(path, Problem::OtherBacking(named)));
        }
        let backing = open_backing(&named)?;
        check_backing(&named, backing.file(), &header)?;
        let map = read_bitmap(&file, &header).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => DiskError::new(path, Problem::Header("it ends in its bitmap")),
            _ => DiskError::new(path, Problem::Io(error)),
        })?;
        // The file is as long as the disk needs it: a hole, if nothing else.
        let end = header.data_offset + header.size;
        if !options.read_only && raw::size_of(&file).map_err(DiskError::io(path))? < end {
            file.set_len(end).map_err(DiskError::io(path))?;
        }
        let bits = Mutex::new(Bits { map, dirty: 0..0 });
        Ok(CowFile { size: header.size - header.size % SECTOR, file, header, options, backing, bits })
    }

    fn bits(&self) -> std::sync::MutexGuard<'_, Bits> {
        self.bits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the bits whose sectors last already.
    fn write_bits(&self) -> io::Result<()> {
        let mut bits = self.bits();
        let dirty = bits.dirty.clone();
        if let Some(bytes) = bits.map.get(dirty.clone()).filter(|bytes| !bytes.is_empty()) {
            self.file.sync_data()?;
            self.file.write_all_at(bytes, self.header.bitmap_offset + dirty.start as u64)?;
            bits.dirty = 0..0;
        }
        Ok(())
    }
}

/// The ranges of the disk, in bytes, that are in the COW file.
pub(super) fn changed_ranges(file: &File, header: &Header) -> io::Result<Vec<Range<u64>>> {
    let bits = Bits { map: read_bitmap(file, header)?, dirty: 0..0 };
    let end = header.size / SECTOR;
    let (mut at, mut ranges) = (0, Vec::new());
    while at < end {
        let (upto, here) = bits.run(at, end);
        if here {
            ranges.push(at * SECTOR..upto * SECTOR);
        }
        at = upto;
    }
    Ok(ranges)
}

/// How many sectors are in the COW file.
pub(super) fn changed_sectors(file: &File, header: &Header) -> io::Result<u64> {
    Ok(read_bitmap(file, header)?.iter().map(|byte| u64::from(byte.count_ones())).sum())
}

fn read_bitmap(file: &File, header: &Header) -> io::Result<Vec<u8>> {
    let len = usize::try_from(header.bitmap_len()).map_err(|_| ErrorKind::OutOfMemory)?;
    // Not by the header's word alone: a file that is too short says so before memory is taken.
    if raw::size_of(file)? < header.bitmap_offset + header.bitmap_len() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut map = vec![0; len];
    file.read_exact_at(&mut map, header.bitmap_offset)?;
    Ok(map)
}

/// Whether two paths lead to the same file.
fn same_file(a: &Path, b: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    id(a).is_some() && id(a) == id(b)
}

impl BlockDevice for CowFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.options.read_only
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_range(self.size, offset, buf.len() as u64)?;
        let end = (offset + buf.len() as u64) / SECTOR;
        let (mut at, mut rest) = (offset / SECTOR, buf);
        while at < end {
            let (upto, here) = self.bits().run(at, end);
            let (now, later) = rest.split_at_mut(((upto - at) * SECTOR) as usize);
            if here {
                let place = self.header.data_offset + at * SECTOR;
                self.file.read_exact_at(now, place).map_err(|error| block_error(&error))?;
            } else {
                self.backing.read(at * SECTOR, now)?;
            }
            (at, rest) = (upto, later);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        if self.options.read_only {
            return Err(BlockError::ReadOnly);
        }
        check_range(self.size, offset, bytes.len() as u64)?;
        let place = self.header.data_offset + offset;
        self.file.write_all_at(bytes, place).map_err(|error| block_error(&error))?;
        self.bits().set(offset / SECTOR..(offset + bytes.len() as u64) / SECTOR);
        if self.options.sync { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> Result<(), BlockError> {
        if self.options.read_only {
            return Ok(());
        }
        let flushed = self.write_bits().and_then(|()| self.file.sync_data());
        flushed.map_err(|error| block_error(&error))
    }

    /// Only what is in the COW file can be given back, and stays marked as being there.
    fn discard(&self, range: Range<u64>) -> Result<(), BlockError> {
        self.options.check_discard(self.size, &range)?;
        let (mut at, end) = (range.start / SECTOR, range.end / SECTOR);
        while at < end {
            let (upto, here) = self.bits().run(at, end);
            if here {
                let base = self.header.data_offset;
                raw::punch_hole(&self.file, base + at * SECTOR..base + upto * SECTOR)?;
            }
            at = upto;
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> Result<(), BlockError> {
        self.options.check_discard(self.size, &range)?;
        let base = self.header.data_offset;
        raw::punch_hole(&self.file, base + range.start..base + range.end)?;
        self.bits().set(range.start / SECTOR..range.end / SECTOR);
        if self.options.sync { self.flush() } else { Ok(()) }
    }
}

impl Drop for CowFile {
    fn drop(&mut self) {
        if !self.options.read_only
            && let Err(error) = self.write_bits()
        {
            log::error!("changes of a COW file are lost: {error}");
        }
    }
}
