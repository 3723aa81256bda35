//! What regular files of all file systems share: the limit on their size and the way positions move.

use crate::errno::{EFBIG, EINVAL, ENOMEM, ENXIO, EOVERFLOW, Result};
use crate::host::{Frames, Phys};
use crate::io::Source;
use crate::services::Services;
use crate::task::siginfo::SigInfo;
use crate::vfs::caller::Caller;
use crate::vfs::file::{Op, Whence};

/// As long the text of a file of `/proc` may be, in bytes.
const TEXT_MAX: usize = 32 << 20;

/// ENOMEM for a text that is too long: of whoever makes one of parts whose number or names a guest chose.
pub fn check_text(len: usize) -> Result<()> {
    if len > TEXT_MAX { Err(ENOMEM) } else { Ok(()) }
}

/// The largest file.
pub const FILE_MAX: u64 = i64::MAX as u64;

/// EINVAL if `len` bytes from `start` on leave the offsets that a file can have.
pub fn check_offsets(start: u64, len: usize) -> Result<()> {
    if start.saturating_add(len as u64) > FILE_MAX { Err(EINVAL) } else { Ok(()) }
}

const SIGXFSZ: u8 = 25;

/// A source cut to a number of bytes.
pub struct Limited<'a> {
    source: &'a mut dyn Source,
    left: usize,
}

impl<'a> Limited<'a> {
    /// At most `limit` bytes of `source`.
    pub fn new(source: &'a mut dyn Source, limit: usize) -> Limited<'a> {
        Limited { source, left: limit }
    }
}

impl Source for Limited<'_> {
    fn remaining(&self) -> usize {
        self.source.remaining().min(self.left)
    }

    fn take(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len().min(self.left);
        let taken = self.source.take(buf.get_mut(..len).unwrap_or_default())?;
        self.left -= taken.min(self.left);
        Ok(taken)
    }

    fn take_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        let taken = self.source.take_frames(ram, at, len.min(self.left))?;
        self.left -= taken.min(self.left);
        Ok(taken)
    }
}

/// How many of `len` bytes may be written at `offset`, by RLIMIT_FSIZE (over it: SIGXFSZ and EFBIG) and the largest
/// size of all (EFBIG).
pub fn check_file_size(caller: &dyn Caller, services: &Services, offset: u64, len: usize) -> Result<usize> {
    let limit = caller.rlimit(linux_raw_sys::general::RLIMIT_FSIZE);
    if limit < FILE_MAX && offset >= limit {
        services.processes.signal_process(caller.pid(), SigInfo::kernel(SIGXFSZ));
        return Err(EFBIG);
    }
    let room = limit.min(FILE_MAX).saturating_sub(offset);
    if room == 0 {
        return Err(EFBIG);
    }
    Ok(usize::try_from(room).unwrap_or(usize::MAX).min(len))
}

/// `lseek(2)` on a file of `size` bytes; `sparse` finds data and holes from an offset on.
pub fn seek_to(
    op: Op<'_>,
    offset: i64,
    whence: Whence,
    size: u64,
    sparse: impl FnOnce(u64, Whence) -> Result<u64>,
) -> Result<u64> {
    let mut position = op.file.position.lock();
    let base = match whence {
        Whence::Set => 0,
        Whence::Current => *position,
        Whence::End => size,
        Whence::Data | Whence::Hole => {
            let from = u64::try_from(offset).map_err(|_| ENXIO)?;
            if from >= size {
                return Err(ENXIO);
            }
            *position = sparse(from, whence)?;
            return Ok(*position);
        }
    };
    let base = i64::try_from(base).map_err(|_| EOVERFLOW)?;
    let target = base.checked_add(offset).ok_or(EINVAL)?;
    *position = u64::try_from(target).map_err(|_| EINVAL)?;
    Ok(*position)
}
