//! Paths as system calls have them: a directory descriptor, a string, and `AT_*` flags.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use crate::errno::{EBADF, EINVAL, ENOENT, ENOTDIR, Result};
use crate::host::Host;
use crate::syscall::Cx;
use crate::syscall::args::RawFd;
use crate::vfs::inode::Inode;
use crate::vfs::path::Path;
use crate::vfs::walk::LastLink;

/// Longest path, its zero byte included.
pub const PATH_MAX: usize = 4096;

/// What an `AT_*` path names: a place, or an open file that has none (a pipe).
pub enum Named {
    /// A place.
    Path(Path),
    /// A file without a name.
    File(Arc<dyn Inode>),
}

impl Named {
    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        match self {
            Named::Path(path) => path.inode(),
            Named::File(inode) => inode,
        }
    }

    /// The place, if it has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Named::Path(path) => Some(path),
            Named::File(_) => None,
        }
    }

    /// The place; one of its own for a file without a name.
    pub fn into_path(self) -> Path {
        match self {
            Named::Path(path) => path,
            Named::File(inode) => Path::detached(&inode),
        }
    }
}

/// Refuses flags outside `known`.
pub fn check_flags(flags: u32, known: u32) -> Result<()> {
    if flags & !known != 0 { Err(EINVAL) } else { Ok(()) }
}

/// Whether the last link is followed, from a set of flags and the one that says otherwise.
pub fn last_link(flags: u32) -> LastLink {
    if flags & sys::AT_SYMLINK_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow }
}

impl<H: Host> Cx<'_, H> {
    /// A path from the guest's memory; ENAMETOOLONG, and ENOENT if it is empty.
    pub fn path(&self, addr: u64) -> Result<Vec<u8>> {
        let path = self.path_or_empty(addr)?;
        if path.is_empty() { Err(ENOENT) } else { Ok(path) }
    }

    /// A path that may be empty.
    pub fn path_or_empty(&self, addr: u64) -> Result<Vec<u8>> {
        self.user().read_cstr(addr, PATH_MAX)
    }

    /// Where the walk of `path` starts: at `dirfd`, unless the path is absolute.
    pub fn start(&self, dirfd: RawFd, path: &[u8]) -> Result<Path> {
        if dirfd == sys::AT_FDCWD || path.first() == Some(&b'/') {
            return Ok(self.fs.cwd());
        }
        // A file without a name is no directory.
        self.file_or_path(dirfd)?.path.clone().ok_or(ENOTDIR)
    }

    /// Walks a path of the guest's from `dirfd`.
    pub fn walk(&self, dirfd: RawFd, addr: u64, last: LastLink) -> Result<Path> {
        let path = self.path(addr)?;
        let start = self.start(dirfd, &path)?;
        self.fs.walker(self.caller()).resolve(&start, &path, last)
    }

    /// What `dirfd` and a path name; with AT_EMPTY_PATH in `flags`, an empty path is `dirfd` itself.
    pub fn named(&self, dirfd: RawFd, addr: u64, flags: u32) -> Result<Named> {
        let empty_allowed = flags & sys::AT_EMPTY_PATH != 0;
        let path = match addr {
            // Since Linux 6.11 no path at all counts as an empty one.
            0 if empty_allowed => Vec::new(),
            _ => self.path_or_empty(addr)?,
        };
        if path.is_empty() {
            return if empty_allowed { self.named_fd(dirfd) } else { Err(ENOENT) };
        }
        let start = self.start(dirfd, &path)?;
        let walker = self.fs.walker(self.caller());
        Ok(Named::Path(walker.resolve(&start, &path, last_link(flags))?))
    }

    /// What a descriptor, or AT_FDCWD, stands for.
    pub fn named_fd(&self, fd: RawFd) -> Result<Named> {
        if fd == sys::AT_FDCWD {
            return Ok(Named::Path(self.fs.cwd()));
        }
        let file = self.file_or_path(fd).map_err(|_| EBADF)?;
        Ok(match &file.path {
            Some(path) => Named::Path(path.clone()),
            None => Named::File(file.inode.clone()),
        })
    }
}
