//! Why a file cannot be a disk: one sentence each.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use kernel_core::host::block::BlockError;

/// What is wrong, and with which file.
#[derive(Debug)]
pub struct DiskError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with an image.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be opened.
    Open(io::Error),
    /// Reading or writing it failed.
    Io(io::Error),
    /// It is neither a regular file nor a block device.
    Kind,
    /// It is smaller than one sector.
    Empty,
    /// Somebody else uses it.
    Busy,
    /// It cannot be locked.
    Lock(io::Error),
    /// It is an image in this format of another program.
    Foreign(&'static str),
    /// Its COW header makes no sense.
    Header(&'static str),
    /// It is a COW file where none can be.
    CowOfCow,
    /// It is no COW file, and a backing file was named for it.
    NotCow,
    /// It is over this backing file and not over the one that was named.
    OtherBacking(PathBuf),
    /// The backing file had this size when the COW file was made.
    BackingSize(u64),
    /// The backing file was last changed at this time (seconds since 1970) when the COW file was made.
    BackingTime(u32),
    /// It is there already.
    Exists,
    /// A size that no image can have.
    Size(u64),
}

impl DiskError {
    pub(super) fn new(path: &Path, problem: Problem) -> DiskError {
        DiskError { path: path.to_owned(), problem }
    }

    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> DiskError {
        move |error| DiskError::new(path, Problem::Io(error))
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Open(error) => write!(f, "cannot open the disk image {path}: {error}"),
            Problem::Io(error) => write!(f, "cannot use the disk image {path}: {error}"),
            Problem::Kind => write!(f, "{path} is no disk image: it is neither a file nor a block device"),
            Problem::Empty => write!(f, "{path} is no disk image: it is smaller than a sector of 512 bytes"),
            Problem::Busy => write!(
                f,
                "the disk image {path} is in use by another instance; end that first, or give each a COW file over it"
            ),
            Problem::Lock(error) => {
                write!(
                    f,
                    "cannot lock the disk image {path} ({error}); the flag c (ubd0c=) uses it without a lock"
                )
            }
            Problem::Foreign(name) => write!(
                f,
                "{path} is a {name} image; convert it first (`qemu-img convert -O raw`), or use the flag d (ubd0d=) if \
                 its bytes are the disk's"
            ),
            Problem::Header(what) => write!(f, "the COW file {path} is damaged: {what}"),
            Problem::CowOfCow => {
                write!(f, "{path} is a COW file itself, and cannot be the backing file of another")
            }
            Problem::NotCow => write!(f, "{path} is no COW file, so it cannot have a backing file"),
            Problem::OtherBacking(other) => {
                write!(f, "the COW file {path} belongs to the backing file {}", other.display())
            }
            Problem::BackingSize(size) => write!(
                f,
                "the backing file {path} was changed: the COW file needs it with a size of {size} bytes as it was"
            ),
            Problem::BackingTime(time) => write!(
                f,
                "the backing file {path} was changed since the COW file was made (its time was {time} seconds); with \
                 other contents below it the COW file is worth nothing"
            ),
            Problem::Exists => write!(f, "{path} is there already"),
            Problem::Size(size) => {
                write!(f, "{path}: an image cannot have {size} bytes; a size is a multiple of 512, up to 16T")
            }
        }
    }
}

impl std::error::Error for DiskError {}

/// What the kernel is told of a failure.
pub(super) fn block_error(error: &io::Error) -> BlockError {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => BlockError::NoSpace,
        Some(libc::EROFS | libc::EBADF | libc::EPERM) => BlockError::ReadOnly,
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => BlockError::Unsupported,
        _ => BlockError::Failed,
    }
}
