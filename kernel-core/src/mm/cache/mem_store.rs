//! A store in kernel memory, for tests.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Store;
use crate::errno::{EIO, ENOSPC, Result};
use crate::host::{Frames, Phys};
use crate::sync::Mutex;

/// See the module.
#[derive(Default)]
pub(crate) struct MemStore {
    pub bytes: Mutex<Vec<u8>>,
    /// Calls of [`Store::read`], of [`Store::write`].
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    /// Whether they fail.
    pub broken: AtomicBool,
    pub full: AtomicBool,
    /// See [`Store::is_busy`].
    pub busy: AtomicBool,
}

impl MemStore {
    pub fn of(bytes: Vec<u8>) -> Arc<MemStore> {
        Arc::new(MemStore { bytes: Mutex::new(bytes), ..MemStore::default() })
    }
}

impl Store for MemStore {
    fn read(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.broken.load(Ordering::Relaxed) {
            return Err(EIO);
        }
        let bytes = self.bytes.lock();
        let (offset, len) = (offset as usize, len as usize);
        let part =
            &bytes[offset.min(bytes.len())..(offset + len).min(bytes.len()).max(offset.min(bytes.len()))];
        let mut whole = vec![0; len];
        whole[..part.len()].copy_from_slice(part);
        ram.write(at, &whole);
        Ok(())
    }

    fn write(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.full.load(Ordering::Relaxed) {
            return Err(ENOSPC);
        }
        let mut bytes = self.bytes.lock();
        let (offset, end) = (offset as usize, (offset + len) as usize);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        ram.read(at, &mut bytes[offset..end]);
        Ok(())
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.bytes.lock().resize(len as usize, 0);
        Ok(())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        let mut bytes = self.bytes.lock();
        let end = bytes.len().min(offset.saturating_add(len) as usize);
        if let Some(part) = bytes.get_mut(offset as usize..end) {
            part.fill(0);
        }
        Ok(())
    }
}
