//! Directory reading.

use core::any::Any;

use crate::errno::{EINVAL, EISDIR, Result};
use crate::io::Sink;
use crate::vfs::file::{FileOps, Op, Whence};
use crate::vfs::inode::FileKind;
use crate::vfs::limit::seek_to;

/// Takes directory entries, as `getdents64` packs them.
pub trait DirSink {
    /// Takes an entry; `next` is the position behind it. `Ok(false)`: it did not fit, stop.
    fn entry(&mut self, ino: u64, next: u64, kind: u8, name: &[u8]) -> Result<bool>;
}

/// Lists `.` and `..`, which are at positions 0 and 1, from `position` on, and moves it. `Ok(false)`: stop.
pub fn list_dots(position: &mut u64, own: u64, parent: u64, sink: &mut dyn DirSink) -> Result<bool> {
    let directory = FileKind::Directory.dirent_type();
    for (at, ino, name) in [(0, own, b".".as_slice()), (1, parent, b"..")] {
        if *position == at {
            if !sink.entry(ino, at + 1, directory, name)? {
                return Ok(false);
            }
            *position = at + 1;
        }
    }
    Ok(true)
}

/// A directory that is open.
pub trait Directory: Send + Sync + 'static {
    /// See [`FileOps::read_dir`].
    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()>;
}

/// The operations of a directory: it is listed, and cannot be read.
pub struct DirectoryFile<D>(pub D);

impl<D: Directory> FileOps for DirectoryFile<D> {
    fn read(&self, _: Op<'_>, _: &mut dyn Sink) -> Result<usize> {
        Err(EISDIR)
    }

    fn read_at(&self, _: Op<'_>, _: u64, _: &mut dyn Sink) -> Result<usize> {
        Err(EISDIR)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        if !matches!(whence, Whence::Set | Whence::Current) {
            return Err(EINVAL);
        }
        seek_to(op, offset, whence, 0, |_, _| Err(EINVAL))
    }

    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        self.0.read_dir(op, sink)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
