//! Locks on images: whoever writes one has it alone, readers share. They are those of User-mode Linux (`fcntl(2)`), so the
//! two keep out each other; held by the open file description, so that a file opened twice here conflicts as well.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Who else may use the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Readers.
    Shared,
    /// Nobody.
    Exclusive,
}

/// Takes the lock, which lasts as long as `file` is open: `Ok(false)` if somebody else has it.
pub fn try_lock(file: &File, access: Access) -> io::Result<bool> {
    let kind = match access {
        Access::Shared => libc::F_RDLCK,
        Access::Exclusive => libc::F_WRLCK,
    };
    let whole = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
