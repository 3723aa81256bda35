//! gzip members. Source: RFC 1952.

use alloc::vec::Vec;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::ArchiveError;

const HEADER: usize = 10;
/// CRC-32 and length.
const FOOTER: usize = 8;
const HAS_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// Whether `bytes` start as a gzip member with deflate does.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// Unpacks the member at the start of `bytes` to at most `limit` bytes, and says how long the member is.
pub(super) fn inflate(bytes: &[u8], limit: usize) -> Result<(Vec<u8>, usize), ArchiveError> {
    let start = header_len(bytes).ok_or(ArchiveError::Truncated { offset: 0 })?;
    let mut input = bytes.get(start..).unwrap_or_default();
    let mut state = alloc::boxed::Box::<DecompressorOxide>::default();
    let mut out = alloc::vec![0; input.len().saturating_mul(4).clamp(1 << 16, 1 << 26).min(limit.max(1))];
    let mut len = 0;
    loop {
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) = decompress(&mut state, input, &mut out, len, flags);
        input = input.get(read..).unwrap_or_default();
        len += written;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput if out.len() >= limit => return Err(ArchiveError::TooLarge { limit }),
            TINFLStatus::HasMoreOutput => out.resize(out.len().saturating_mul(2).min(limit), 0),
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
                return Err(ArchiveError::Truncated { offset: bytes.len() });
            }
            _ => return Err(ArchiveError::BadCompression),
        }
    }
    out.truncate(len);
    let footer = input.get(..FOOTER).ok_or(ArchiveError::Truncated { offset: bytes.len() })?;
    let word = |at: usize| {
        footer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes).unwrap_or(0)
    };
    if word(4) != len as u32 || word(0) != crc32(&out) {
        return Err(ArchiveError::BadCompression);
    }
    Ok((out, bytes.len() - input.len() + FOOTER))
}

/// Length of the member's header; `None` if it is cut off or has flags that nobody knows.
fn header_len(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(3)?;
    if flags & RESERVED != 0 {
        return None;
    }
    let mut at = HEADER;
    if flags & HAS_EXTRA != 0 {
        let len: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        at += 2 + usize::from(u16::from_le_bytes(len));
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag != 0 {
            at += bytes.get(at..)?.iter().position(|&byte| byte == 0)? + 1;
        }
    }
    if flags & HAS_CRC != 0 {
        at += 2;
    }
    bytes.get(..at).map(|_| at)
}

/// CRC-32 as gzip has it (reflected, polynomial 0xedb88320).
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}
