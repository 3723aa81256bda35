//! The entries of a cpio archive in "newc" format.

use alloc::vec::Vec;

use super::ArchiveError;

/// Six characters of magic and thirteen numbers of eight hexadecimal digits.
const HEADER: usize = 6 + 13 * 8;
const TRAILER: &[u8] = b"TRAILER!!!";
/// Longest path.
const PATH_MAX: usize = 4096;

/// An entry; slices are of the archive.
pub(super) struct Entry<'a> {
    /// Where its header starts.
    pub offset: usize,
    ino: u32,
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    nlink: u32,
    /// In seconds since 1970.
    pub mtime: u32,
    dev: (u32, u32),
    /// Major and minor number.
    pub rdev: (u32, u32),
    /// Without the zero byte at its end.
    pub name: &'a [u8],
    /// The file's bytes, or where a symbolic link leads.
    pub data: &'a [u8],
    /// Where they start.
    pub data_offset: usize,
}

impl Entry<'_> {
    /// Whether it is one of several names of a file.
    pub fn is_linked(&self) -> bool {
        self.nlink > 1 && self.mode >> 12 != 4
    }

    /// What all names of the file have in common.
    pub fn identity(&self) -> (u32, u32, u32) {
        (self.ino, self.dev.0, self.dev.1)
    }
}

/// Whether `bytes` start as a cpio archive does.
pub(super) fn is_cpio(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

/// All entries before the trailer, and the length of the archive with it.
pub(super) fn parse(bytes: &[u8]) -> Result<(Vec<Entry<'_>>, usize), ArchiveError> {
    let mut entries = Vec::new();
    let mut offset = 0;
    loop {
        let (entry, next) = parse_entry(bytes, offset)?;
        if entry.name == TRAILER {
            return Ok((entries, next));
        }
        entries.push(entry);
        offset = next;
    }
}

fn parse_entry(bytes: &[u8], offset: usize) -> Result<(Entry<'_>, usize), ArchiveError> {
    let truncated = ArchiveError::Truncated { offset };
    let header = bytes.get(offset..offset + HEADER).ok_or(truncated.clone())?;
    if !is_cpio(header) {
        return Err(ArchiveError::BadHeader { offset });
    }
    let field = |index: usize| -> Result<u32, ArchiveError> {
        let digits = header.get(6 + index * 8..14 + index * 8).unwrap_or_default();
        // `from_str_radix` would take a sign.
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(ArchiveError::BadHeader { offset });
        }
        let text = core::str::from_utf8(digits).map_err(|_| ArchiveError::BadHeader { offset })?;
        u32::from_str_radix(text, 16).map_err(|_| ArchiveError::BadHeader { offset })
    };
    let (size, name_len) = (field(6)? as usize, field(11)? as usize);
    if name_len == 0 || name_len > PATH_MAX {
        return Err(ArchiveError::BadHeader { offset });
    }
    let name_start = offset + HEADER;
    let name = bytes.get(name_start..name_start + name_len).ok_or(truncated.clone())?;
    let Some((0, name)) = name.split_last() else { return Err(ArchiveError::BadHeader { offset }) };
    if name.contains(&0) {
        return Err(ArchiveError::BadHeader { offset });
    }
    let data_offset = align(name_start + name_len);
    let data = if size == 0 {
        &[]
    } else {
        bytes.get(data_offset..data_offset.saturating_add(size)).ok_or(truncated)?
    };
    let entry = Entry {
        offset,
        ino: field(0)?,
        mode: field(1)?,
        uid: field(2)?,
        gid: field(3)?,
        nlink: field(4)?,
        mtime: field(5)?,
        dev: (field(7)?, field(8)?),
        rdev: (field(9)?, field(10)?),
        name,
        data,
        data_offset,
    };
    Ok((entry, align(data_offset + size)))
}

/// Headers and data start at multiples of four.
fn align(offset: usize) -> usize {
    (offset + 3) & !3
}
