//! What the ext4 library asks of the machine: sectors, time, chance; and what its failures mean to Linux.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use rsext4::{
    BlockIo, Clock, DeviceCapabilities, DeviceGeometry, EntropySource, Ext4Error, Ext4ErrorKind, Ext4Result,
    Ext4Timestamp, SectorId,
};

use super::recovery::{self, LEN, SUPERBLOCK};
use crate::block::Volume;
use crate::errno::{
    EBADF, EBADMSG, EBUSY, EDQUOT, EEXIST, EFBIG, EINVAL, EIO, EISDIR, EMLINK, ENOENT, ENOMEM, ENOSPC,
    ENOTDIR, ENOTEMPTY, EOPNOTSUPP, EOVERFLOW, EPERM, EROFS, ETIMEDOUT, EUCLEAN, Errno,
};
use crate::host::block::{BlockDevice, BlockError, SECTOR};
use crate::services::Services;
use crate::sync::Mutex;
use crate::vfs::inode::Timestamp;

/// Whether the library mounts or unmounts.
#[derive(Default)]
pub(super) struct Phase {
    pub mounting: AtomicBool,
    pub unmounting: AtomicBool,
}

/// A volume as the library sees it.
///
/// While the library mounts or unmounts, it leaves to chance what lasts first. Here what it replays lasts before its journal
/// says that it is empty. And a superblock that says that the journal need not be replayed comes last: it is written as one that
/// must be until the journal is empty, and for good only if the file system is unmounted. Without a journal it comes after
/// everything else.
pub(super) struct Io {
    volume: Arc<Volume>,
    phase: Arc<Phase>,
    /// The superblock of a file system at rest, until everything else lasts.
    last: Option<Vec<u8>>,
    /// Its journal was emptied since it was written.
    emptied: bool,
}

impl Io {
    pub(super) fn new(volume: &Arc<Volume>, phase: &Arc<Phase>) -> Io {
        Io { volume: volume.clone(), phase: phase.clone(), last: None, emptied: false }
    }

    fn write_through(&self, offset: u64, bytes: &[u8]) -> Ext4Result<()> {
        if bytes.is_empty() { Ok(()) } else { self.volume.write(offset, bytes).map_err(failed) }
    }

    /// Writes while the library mounts or unmounts.
    fn write_in_order(&mut self, offset: u64, bytes: &[u8]) -> Ext4Result<()> {
        let at = SUPERBLOCK.wrapping_sub(offset) as usize;
        let Some((superblock, rest)) = bytes.get(at..).and_then(|part| part.split_at_checked(LEN)) else {
            if recovery::is_journal_superblock(bytes) {
                self.flush()?;
                self.emptied = recovery::is_empty(bytes);
            }
            return self.write_through(offset, bytes);
        };
        (self.last, self.emptied) = (None, false);
        if recovery::needs_recovery(superblock) {
            return self.write_through(offset, bytes);
        }
        self.write_through(offset, bytes.get(..at).unwrap_or_default())?;
        self.write_through(SUPERBLOCK + LEN as u64, rest)?;
        let has_journal = recovery::has_journal(superblock);
        if has_journal {
            self.write_through(SUPERBLOCK, &recovery::with_recovery(superblock, true))?;
        }
        if !has_journal || self.phase.unmounting.load(Ordering::Relaxed) {
            self.last = Some(superblock.to_vec());
        }
        Ok(())
    }
}

fn failed(error: BlockError) -> Ext4Error {
    match error {
        BlockError::ReadOnly => Ext4Error::read_only(),
        BlockError::NoSpace => Ext4Error::no_space(),
        BlockError::Unsupported => Ext4Error::unsupported(),
        BlockError::OutOfRange | BlockError::Failed => Ext4Error::io(),
    }
}

fn offset(sector: SectorId) -> Ext4Result<u64> {
    sector.raw().checked_mul(SECTOR).ok_or(Ext4Error::overflow())
}

impl BlockIo for Io {
    fn write(&mut self, buffer: &[u8], sector: SectorId, _: u32) -> Ext4Result<()> {
        let (offset, phase) = (offset(sector)?, &self.phase);
        if phase.mounting.load(Ordering::Relaxed) || phase.unmounting.load(Ordering::Relaxed) {
            self.write_in_order(offset, buffer)
        } else {
            self.last = None;
            self.write_through(offset, buffer)
        }
    }

    fn read(&mut self, buffer: &mut [u8], sector: SectorId, _: u32) -> Ext4Result<()> {
        let offset = offset(sector)?;
        self.volume.read(offset, buffer).map_err(failed)?;
        if let Some(superblock) = &self.last {
            for (byte, at) in buffer.iter_mut().zip(offset..).take(2048) {
                if let Some(newer) = at.checked_sub(SUPERBLOCK).and_then(|at| superblock.get(at as usize)) {
                    *byte = *newer;
                }
            }
        }
        Ok(())
    }

    fn geometry(&self) -> DeviceGeometry {
        DeviceGeometry::new(SECTOR as u32, self.volume.size() / SECTOR)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities {
            read_only: self.volume.read_only(),
            flush: true,
            ..DeviceCapabilities::default()
        }
    }

    fn flush(&mut self) -> Ext4Result<()> {
        self.volume.flush().map_err(failed)?;
        let may_last = |superblock: &mut Vec<u8>| self.emptied || !recovery::has_journal(superblock);
        if let Some(superblock) = self.last.take_if(may_last) {
            self.volume.write(SUPERBLOCK, &superblock).map_err(failed)?;
            self.volume.flush().map_err(failed)?;
        }
        Ok(())
    }
}

/// The time that the library gives to what it changes: that of the operation, so that it is known here too.
#[derive(Default)]
pub(super) struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub(super) fn set(&self, now: Timestamp) {
        *self.0.lock() = now;
    }
}

/// The library's handle of a [`SetClock`].
pub(super) struct ClockHandle(pub Arc<SetClock>);

impl Clock for ClockHandle {
    fn now(&self) -> Ext4Result<Ext4Timestamp> {
        let now = *self.0.0.lock();
        Ok(Ext4Timestamp::new(now.sec, now.nsec))
    }
}

/// Chance, for what must not be guessed.
pub(super) struct Chance(pub Arc<Services>);

impl EntropySource for Chance {
    fn fill_bytes(&mut self, output: &mut [u8]) -> Ext4Result<()> {
        self.0.clock.entropy(output);
        Ok(())
    }
}

/// The errno of a failure.
pub(super) fn errno(error: Ext4Error) -> Errno {
    match error.kind() {
        Ext4ErrorKind::Io => EIO,
        Ext4ErrorKind::Corrupted | Ext4ErrorKind::BadSuperblock => EUCLEAN,
        Ext4ErrorKind::ChecksumMismatch => EBADMSG,
        Ext4ErrorKind::UnsupportedFeature | Ext4ErrorKind::InvalidInput | Ext4ErrorKind::InvalidMagic => {
            EINVAL
        }
        Ext4ErrorKind::UnsupportedCapability | Ext4ErrorKind::Unsupported => EOPNOTSUPP,
        Ext4ErrorKind::ReadOnly | Ext4ErrorKind::JournalAborted => EROFS,
        Ext4ErrorKind::NoSpace => ENOSPC,
        Ext4ErrorKind::NoMemory => ENOMEM,
        Ext4ErrorKind::QuotaExceeded => EDQUOT,
        Ext4ErrorKind::TooManyLinks => EMLINK,
        Ext4ErrorKind::PermissionDenied => EPERM,
        Ext4ErrorKind::NotFound => ENOENT,
        Ext4ErrorKind::AlreadyExists => EEXIST,
        Ext4ErrorKind::NotDirectory => ENOTDIR,
        Ext4ErrorKind::IsDirectory => EISDIR,
        Ext4ErrorKind::NotEmpty => ENOTEMPTY,
        Ext4ErrorKind::Busy => EBUSY,
        Ext4ErrorKind::BadFileDescriptor => EBADF,
        Ext4ErrorKind::Overflow => EOVERFLOW,
        Ext4ErrorKind::FileTooLarge => EFBIG,
        Ext4ErrorKind::Timeout => ETIMEDOUT,
    }
}
