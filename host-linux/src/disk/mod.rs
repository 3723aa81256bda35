//! Disk images: files of the host as block devices of a guest.
//!
//! [`raw`] is a file whose bytes are the disk's. [`cow`] is User-mode Linux's copy-on-write file: what was changed of a
//! backing file that itself stays as it is. [`image`] makes, describes and merges them.
//!
//! An image is locked for as long as it is a disk ([`lock`]): whoever writes it has it alone.

pub mod cow;
pub mod error;
pub mod header;
pub mod image;
pub mod lock;
pub mod raw;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use kernel_core::host::block::{BlockDevice, BlockError, check_range};

use cow::CowFile;
pub use error::{DiskError, Problem};
use raw::RawFile;

/// How an image is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The guest cannot write it.
    pub read_only: bool,
    /// Every write lasts before it returns.
    pub sync: bool,
    /// A single file is taken as it is, even if it looks like a COW file.
    pub data: bool,
    /// It is not locked: several guests write it, and their file system can do that.
    pub shared: bool,
    /// What is discarded stays in the file.
    pub no_discard: bool,
}

impl Options {
    /// Fails unless this range of a disk of so many bytes may be given back.
    fn check_discard(&self, size: u64, range: &Range<u64>) -> Result<(), BlockError> {
        if self.read_only {
            return Err(BlockError::ReadOnly);
        }
        check_range(size, range.start, range.end.saturating_sub(range.start))?;
        if self.no_discard { Err(BlockError::Unsupported) } else { Ok(()) }
    }
}

/// What a file holds, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes.
    Raw,
    /// A COW file of User-mode Linux.
    Cow,
    /// An image of another program, which is not known here.
    Foreign(&'static str),
}

/// The first bytes of a file, at most so many.
fn read_head(file: &File, most: usize) -> std::io::Result<Vec<u8>> {
    let mut head = vec![0; most];
    let mut have = 0;
    while have < most {
        match file.read_at(&mut head[have..], have as u64)? {
            0 => break,
            read => have += read,
        }
    }
    head.truncate(have);
    Ok(head)
}

/// What a file is that starts with these bytes.
pub fn format_of_head(head: &[u8]) -> Format {
    match head {
        [b'Q', b'F', b'I', 0xfb, ..] => Format::Foreign("qcow2"),
        [b'K', b'D', b'M', b'V', ..] => Format::Foreign("vmdk"),
        head if head.starts_with(b"vhdxfile") => Format::Foreign("vhdx"),
        head if header::is_cow(head) => Format::Cow,
        _ => Format::Raw,
    }
}

/// Looks at the start of a file.
pub fn format_of(file: &File) -> std::io::Result<Format> {
    Ok(format_of_head(&read_head(file, 8)?))
}

/// Opens `path` as a disk. With `backing` it is a COW file over that, made if it is not there; without, it is whatever it
/// looks like. A file that the user cannot write becomes a disk that the guest cannot write.
pub fn open(
    path: &Path,
    backing: Option<&Path>,
    options: Options,
) -> Result<Arc<dyn BlockDevice>, DiskError> {
    if let Some(backing) = backing {
        if !path.exists() && !options.read_only {
            image::create_cow(path, backing)?;
        }
        return Ok(Arc::new(CowFile::open(path, Some(backing), options)?));
    }
    if !options.data {
        let file = File::open(path).map_err(|error| DiskError::new(path, Problem::Open(error)))?;
        match format_of(&file).map_err(|error| DiskError::new(path, Problem::Io(error)))? {
            Format::Raw => {}
            Format::Cow => return Ok(Arc::new(CowFile::open(path, None, options)?)),
            Format::Foreign(name) => return Err(DiskError::new(path, Problem::Foreign(name))),
        }
    }
    Ok(Arc::new(RawFile::open(path, options)?))
}

#[cfg(test)]
mod tests;
