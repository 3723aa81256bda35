//! The header of User-mode Linux's COW files, in its versions 1, 2 and 3.
//!
//! | bytes of version 3 | what |
//! |---|---|
//! | 0..4 | magic, `OOOM` |
//! | 4..8 | version |
//! | 8..12 | the backing file's time of last change, seconds since 1970 |
//! | 12..20 | the disk's size in bytes |
//! | 20..24 | bytes in a sector |
//! | 24..28 | alignment of what follows |
//! | 28..32 | format of what follows, 0 |
//! | 32..4128 | path of the backing file, ended by a zero |
//!
//! All numbers are big-endian (but version 1, which is in the order of the machine that made it). Then follow, aligned, a
//! bitmap with one bit a sector, lowest bit first, and the sectors' data at their places. Old 64-bit programs wrote version
//! 3 with a time of 64 bits at its natural alignment; it is known by a format that seems to begin the path.
//! Source: the comments in Linux's `arch/um/drivers/cow_user.c`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kernel_core::host::block::SECTOR;

const MAGIC: u32 = 0x4f4f_4f4d;
const PATH_V1: usize = 256;
const PATH_LEN: usize = 4096;
const LEN_V1: usize = 280;
const LEN_V2: usize = 4120;
const LEN_V3: usize = 4128;
const LEN_BROKEN: usize = 4136;
/// The most bytes of any header.
pub const LEN: usize = LEN_BROKEN;
/// What the bitmap and the data of new files are aligned to, in bytes.
pub const ALIGNMENT: u32 = 4096;
/// The largest disk, in bytes.
pub const MAX_SIZE: u64 = 16 << 40;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1, 2 or 3.
    pub version: u32,
    /// The backing file.
    pub backing: PathBuf,
    /// When that was last changed, in seconds since 1970.
    pub mtime: u32,
    /// The disk's size in bytes.
    pub size: u64,
    /// Where the bitmap is, in bytes.
    pub bitmap_offset: u64,
    /// Where the data of sector 0 is, in bytes.
    pub data_offset: u64,
}

/// Whether a file that begins so is a COW file.
pub fn is_cow(head: &[u8]) -> bool {
    matches!(head.first_chunk(), Some(&magic) if u32::from_be_bytes(magic) == MAGIC || u32::from_le_bytes(magic) == MAGIC)
}

/// Numbers at offsets of a header.
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    fn u32(&self, at: usize) -> Result<u32, &'static str> {
        let bytes = *self.bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&self, at: usize) -> Result<u64, &'static str> {
        let bytes = *self.bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
        Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    fn path(&self, at: usize, len: usize) -> Result<PathBuf, &'static str> {
        let field = self.bytes.get(at..at + len).ok_or(SHORT)?;
        let end =
            field.iter().position(|&byte| byte == 0).ok_or("the path of its backing file has no end")?;
        if end == 0 {
            return Err("it names no backing file");
        }
        Ok(PathBuf::from(OsStr::from_bytes(&field[..end])))
    }
}

const SHORT: &str = "it is too short";

impl Header {
    /// A header of version 3 for a disk of `size` bytes.
    pub fn new(backing: &Path, mtime: u32, size: u64) -> Result<Header, &'static str> {
        if backing.as_os_str().len() >= PATH_LEN {
            return Err("the path of its backing file is too long");
        }
        Header { version: 3, backing: backing.to_owned(), mtime, size, bitmap_offset: 0, data_offset: 0 }
            .laid_out(LEN_V3 as u64, u64::from(ALIGNMENT))
    }

    /// Reads a header from the first [`LEN`] bytes of a file, or as many as there are.
    pub fn decode(bytes: &[u8]) -> Result<Header, &'static str> {
        let big_endian = matches!(bytes.first_chunk(), Some(&magic) if u32::from_be_bytes(magic) == MAGIC);
        let fields = Fields { bytes, big_endian };
        let version = fields.u32(4)?;
        if !big_endian && version != 1 {
            return Err("its numbers are in the wrong order");
        }
        let (path, path_len, mtime, size, sector, end) = match version {
            1 => (8, PATH_V1, fields.u32(264)?, fields.u64(268)?, fields.u32(276)?, LEN_V1),
            2 => (8, PATH_LEN, fields.u32(4104)?, fields.u64(4108)?, fields.u32(4116)?, LEN_V2),
            // The low half of a time of 64 bits is the one that counts.
            3 if bytes.get(32) == Some(&0) => {
                (36, PATH_LEN, fields.u32(12)?, fields.u64(16)?, fields.u32(24)?, LEN_BROKEN)
            }
            3 => (32, PATH_LEN, fields.u32(8)?, fields.u64(12)?, fields.u32(20)?, LEN_V3),
            _ => return Err("its version is not 1, 2 or 3"),
        };
        let backing = fields.path(path, path_len)?;
        if u64::from(sector) != SECTOR {
            return Err("its sectors do not have 512 bytes");
        }
        if size == 0 || size > MAX_SIZE {
            return Err("its size makes no sense");
        }
        let align = if version == 3 { fields.u32(path - 8)? } else { sector };
        if align == 0 || align > 1 << 20 {
            return Err("its alignment makes no sense");
        }
        if version == 3 && fields.u32(path - 4)? != 0 {
            return Err("its format is not the one with a bitmap");
        }
        Header { version, backing, mtime, size, bitmap_offset: 0, data_offset: 0 }
            .laid_out(end as u64, u64::from(align))
    }

    fn laid_out(mut self, header_len: u64, align: u64) -> Result<Header, &'static str> {
        if self.size == 0 || self.size > MAX_SIZE {
            return Err("its size makes no sense");
        }
        (self.bitmap_offset, self.data_offset) = if self.version < 3 {
            let end = header_len + self.size.div_ceil(SECTOR) / 8;
            (header_len, end.next_multiple_of(align))
        } else {
            let bitmap = header_len.next_multiple_of(align);
            (bitmap, (bitmap + self.bitmap_len()).next_multiple_of(align))
        };
        Ok(self)
    }

    /// Bytes in the bitmap.
    pub fn bitmap_len(&self) -> u64 {
        match self.version {
            // Older versions cut off the last byte if it is not full.
            1 | 2 => self.size.div_ceil(SECTOR) / 8,
            _ => self.size.div_ceil(SECTOR).div_ceil(8),
        }
    }

    /// The bytes of version 3 at its start.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN_V3);
        bytes.extend(MAGIC.to_be_bytes());
        bytes.extend(3u32.to_be_bytes());
        bytes.extend(self.mtime.to_be_bytes());
        bytes.extend(self.size.to_be_bytes());
        bytes.extend((SECTOR as u32).to_be_bytes());
        bytes.extend(ALIGNMENT.to_be_bytes());
        bytes.extend(0u32.to_be_bytes());
        bytes.extend(self.backing.as_os_str().as_bytes());
        bytes.resize(LEN_V3, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_is_as_user_mode_linux_has_it() {
        let header = Header::new(Path::new("/b"), 7, 1 << 20).unwrap();
        let bytes = header.encode();
        assert_eq!(&bytes[..12], b"OOOM\0\0\0\x03\0\0\0\x07");
        assert_eq!(
            (&bytes[12..20], &bytes[20..28]),
            (&[0, 0, 0, 0, 0, 16, 0, 0][..], &[0, 0, 2, 0, 0, 0, 16, 0][..])
        );
        assert_eq!((&bytes[32..35], bytes.len()), (&b"/b\0"[..], 4128));
        // The bitmap has 256 bytes; both it and the data begin at a page.
        assert_eq!((header.bitmap_offset, header.data_offset), (8192, 12288));
        assert_eq!(Header::decode(&bytes), Ok(header));
    }

    #[test]
    fn other_layouts_are_read() {
        let mut v2 = b"OOOM\0\0\0\x02/b\0".to_vec();
        v2.resize(4104, 0);
        v2.extend(9u32.to_be_bytes());
        v2.extend((1u64 << 20).to_be_bytes());
        v2.extend(512u32.to_be_bytes());
        let header = Header::decode(&v2).unwrap();
        assert_eq!((header.version, header.mtime, header.bitmap_offset), (2, 9, 4120));
        assert_eq!(header.data_offset, 4608);
        let mut v1 = [&MAGIC.to_le_bytes()[..], &1u32.to_le_bytes(), b"/b"].concat();
        v1.resize(264, 0);
        v1.extend(9u32.to_le_bytes());
        v1.extend((1u64 << 20).to_le_bytes());
        v1.extend(512u32.to_le_bytes());
        let header = Header::decode(&v1).unwrap();
        assert_eq!((header.version, header.size, header.data_offset), (1, 1 << 20, 1024));
        let mut broken = b"OOOM\0\0\0\x03\0\0\0\0\0\0\0\x05".to_vec();
        broken.extend((1u64 << 20).to_be_bytes());
        broken.extend([512u32, 4096, 0].iter().flat_map(|number| number.to_be_bytes()));
        broken.extend(b"/b");
        broken.resize(LEN, 0);
        let header = Header::decode(&broken).unwrap();
        assert_eq!((header.mtime, header.backing.to_str(), header.data_offset), (5, Some("/b"), 12288));
    }

    #[test]
    fn nonsense_is_named() {
        let good = Header::new(Path::new("/b"), 7, 1 << 20).unwrap().encode();
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            Header::decode(&bad).unwrap_err()
        };
        assert!(with(4, &[0, 0, 0, 4]).contains("version"));
        assert!(with(12, &[0xff; 8]).contains("size"));
        assert!(with(20, &[0, 0, 0x10, 0]).contains("512"));
        assert!(with(24, &[0xff; 4]).contains("alignment"));
        assert!(with(28, &[0, 0, 0, 1]).contains("format"));
        assert!(with(32, &[b'x'; 4096]).contains("no end"));
        for len in 0..good.len() {
            assert!(Header::decode(&good[..len]).is_err(), "{len}");
        }
    }
}
