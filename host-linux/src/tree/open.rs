//! Open files and directories of a tree.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use kernel_core::host::tree::{Entries, OpenDir, OpenNode, TreeResult};
use kernel_core::host::{Frames, Phys};
use rustix::fs::{FallocateFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::{error, lock};

/// Bytes go through a buffer of this size: guest RAM is never borrowed.
const STEP: usize = 256 << 10;

/// An open regular file.
pub(super) struct OpenFile(pub OwnedFd);

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl OpenNode for OpenFile {
    fn read(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> TreeResult<u64> {
        let mut buffer = vec![0; STEP.min(len as usize)];
        let mut done = 0;
        while done < len {
            let part = &mut buffer[..STEP.min((len - done) as usize)];
            let read = match rustix::io::pread(&self.0, &mut *part, offset + done) {
                Ok(0) => break,
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(error(errno)),
            };
            ram.write(Phys(at.0 + done), &part[..read]);
            done += read as u64;
        }
        Ok(done)
    }

    fn write(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> TreeResult<()> {
        let mut buffer = vec![0; STEP.min(len as usize)];
        let mut done = 0;
        while done < len {
            let part = &mut buffer[..STEP.min((len - done) as usize)];
            ram.read(Phys(at.0 + done), part);
            let mut rest = &*part;
            while !rest.is_empty() {
                match rustix::io::pwrite(&self.0, rest, offset + done) {
                    Ok(0) => return Err(error(Errno::IO)),
                    Ok(written) => {
                        rest = &rest[written..];
                        done += written as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(error(errno)),
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> TreeResult<()> {
        rustix::fs::ftruncate(&self.0, len).map_err(error)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> TreeResult<()> {
        let mode = FallocateFlags::from_bits_retain(mode);
        rustix::fs::fallocate(&self.0, mode, offset, len).map_err(error)
    }

    fn next_data(&self, offset: u64) -> TreeResult<u64> {
        rustix::fs::seek(&self.0, SeekFrom::Data(offset)).map_err(error)
    }

    fn next_hole(&self, offset: u64) -> TreeResult<u64> {
        rustix::fs::seek(&self.0, SeekFrom::Hole(offset)).map_err(error)
    }

    fn sync(&self) -> TreeResult<()> {
        rustix::fs::fsync(&self.0).map_err(error)
    }
}

/// An open directory, and the position at which the host goes on.
pub(super) struct OpenDirectory {
    fd: OwnedFd,
    position: Mutex<u64>,
}

impl OpenDirectory {
    /// At its start.
    pub fn new(fd: OwnedFd) -> OpenDirectory {
        OpenDirectory { fd, position: Mutex::new(0) }
    }
}

impl OpenDir for OpenDirectory {
    fn list(&self, from: u64, each: Entries<'_>) -> TreeResult<()> {
        let mut position = lock(&self.position);
        if *position != from || from == 0 {
            rustix::fs::seek(&self.fd, SeekFrom::Start(from)).map_err(error)?;
            *position = from;
        }
        let mut buffer = [MaybeUninit::uninit(); 8 << 10];
        let mut entries = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(error)?;
            let next = entry.next_entry_cookie();
            let name = entry.file_name().to_bytes();
            let kind = (entry.file_type().as_raw_mode() >> 12) as u8;
            if !matches!(name, b"." | b"..") && !each(entry.ino(), next, kind, name) {
                // The host is further on than whoever asked: it goes back next time.
                *position = u64::MAX;
                return Ok(());
            }
            *position = next;
        }
        Ok(())
    }
}
