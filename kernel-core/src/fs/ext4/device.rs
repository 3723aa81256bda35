//! What the ext4 library asks of the machine: sectors, time, chance; and what its failures mean to Linux.

use alloc::sync::Arc;

use rsext4::{
    BlockIo, Clock, DeviceCapabilities, DeviceGeometry, EntropySource, Ext4Error, Ext4ErrorKind, Ext4Result,
    Ext4Timestamp, SectorId,
};

use crate::block::Volume;
use crate::errno::{
    EBADF, EBADMSG, EBUSY, EDQUOT, EEXIST, EFBIG, EINVAL, EIO, EISDIR, EMLINK, ENOENT, ENOMEM, ENOSPC,
    ENOTDIR, ENOTEMPTY, EOPNOTSUPP, EOVERFLOW, EPERM, EROFS, ETIMEDOUT, EUCLEAN, Errno,
};
use crate::host::block::{BlockDevice, BlockError, SECTOR};
use crate::services::Services;
use crate::sync::Mutex;
use crate::vfs::inode::Timestamp;

/// A volume as the library sees it.
pub(super) struct Io(pub Arc<Volume>);

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
        self.0.write(offset(sector)?, buffer).map_err(failed)
    }

    fn read(&mut self, buffer: &mut [u8], sector: SectorId, _: u32) -> Ext4Result<()> {
        self.0.read(offset(sector)?, buffer).map_err(failed)
    }

    fn geometry(&self) -> DeviceGeometry {
        DeviceGeometry::new(SECTOR as u32, self.0.size() / SECTOR)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities { read_only: self.0.read_only(), flush: true, ..DeviceCapabilities::default() }
    }

    fn flush(&mut self) -> Ext4Result<()> {
        self.0.flush().map_err(failed)
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
