//! A file whose bytes are the disk's.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use kernel_core::host::block::{BlockDevice, BlockError, SECTOR, check_range};
use nix::fcntl::{FallocateFlags, fallocate};

use super::Options;
use super::error::{DiskError, Problem, block_error};
use super::lock::{self, Access};

/// A raw image: a regular file, or a block device of the host.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    size: u64,
    options: Options,
}

impl RawFile {
    /// Opens and locks it. What is behind the last whole sector is not part of the disk.
    pub fn open(path: &Path, options: Options) -> Result<RawFile, DiskError> {
        let (file, options) = open_locked(path, options)?;
        let size = size_of(&file).map_err(DiskError::io(path))?;
        if size < SECTOR {
            return Err(DiskError::new(path, Problem::Empty));
        }
        Ok(RawFile { file, size: size - size % SECTOR, options })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Opens and locks an image; read-only, and then says so, if the user cannot write it.
pub(super) fn open_locked(path: &Path, mut options: Options) -> Result<(File, Options), DiskError> {
    let open = |write: bool| OpenOptions::new().read(true).write(write).open(path);
    let file = match open(!options.read_only) {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            options.read_only = true;
            open(false)
        }
        other => other,
    };
    let file = file.map_err(|error| DiskError::new(path, Problem::Open(error)))?;
    let kind = file.metadata().map_err(DiskError::io(path))?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(DiskError::new(path, Problem::Kind));
    }
    if !options.shared {
        let access = if options.read_only { Access::Shared } else { Access::Exclusive };
        match lock::try_lock(&file, access) {
            Ok(true) => {}
            Ok(false) => return Err(DiskError::new(path, Problem::Busy)),
            Err(error) => return Err(DiskError::new(path, Problem::Lock(error))),
        }
    }
    Ok((file, options))
}

/// The size of a file or block device, in bytes.
pub(super) fn size_of(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Gives a range of a file back to the host; it reads as zero then.
pub(super) fn punch_hole(file: &File, range: Range<u64>) -> Result<(), BlockError> {
    if range.is_empty() {
        return Ok(());
    }
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let offset = i64::try_from(range.start).map_err(|_| BlockError::OutOfRange)?;
    let len = i64::try_from(range.end - range.start).map_err(|_| BlockError::OutOfRange)?;
    fallocate(file, flags, offset, len).map_err(|errno| block_error(&errno.into()))
}

impl BlockDevice for RawFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.options.read_only
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_range(self.size, offset, buf.len() as u64)?;
        self.file.read_exact_at(buf, offset).map_err(|error| block_error(&error))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        if self.options.read_only {
            return Err(BlockError::ReadOnly);
        }
        check_range(self.size, offset, bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset).map_err(|error| block_error(&error))?;
        if self.options.sync { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> Result<(), BlockError> {
        if self.options.read_only {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| block_error(&error))
    }

    fn discard(&self, range: Range<u64>) -> Result<(), BlockError> {
        self.options.check_discard(self.size, &range)?;
        punch_hole(&self.file, range)
    }

    fn zero(&self, range: Range<u64>) -> Result<(), BlockError> {
        self.discard(range)?;
        if self.options.sync { self.flush() } else { Ok(()) }
    }
}
