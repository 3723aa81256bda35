//! A disk for tests that forgets and reorders what was not flushed when its power is cut.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::host::block::{BlockDevice, BlockError, SECTOR, check_range};
use crate::sync::Mutex;

/// What is written wholly or not at all, as on any disk with sectors of 4 KiB. On others it is a [`SECTOR`].
const ATOM: u64 = 4096;

/// A disk in kernel memory.
pub struct TestDisk {
    state: Mutex<State>,
}

struct State {
    /// What a reader sees.
    now: Vec<u8>,
    /// What was flushed.
    stable: Vec<u8>,
    /// What was written since, in order, each part inside one atom: its first sector and its bytes.
    pending: Vec<(u64, Vec<u8>)>,
    /// What is written wholly or not at all.
    atom: u64,
    /// So many more calls that change something work; then everything fails.
    left: u64,
    changes: u64,
    read_only: bool,
}

/// A small random number generator (xorshift64*), always the same for the same seed.
pub struct Random(u64);

impl Random {
    /// With this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.any() >> 16) % limit
    }
}

impl TestDisk {
    /// With these bytes, all of them stable.
    pub fn new(bytes: Vec<u8>) -> TestDisk {
        let state = State {
            now: bytes.clone(),
            stable: bytes,
            pending: Vec::new(),
            atom: ATOM,
            left: u64::MAX,
            changes: 0,
            read_only: false,
        };
        TestDisk { state: Mutex::new(state) }
    }

    /// Of `size` zeros.
    pub fn empty(size: u64) -> TestDisk {
        TestDisk::new(vec![0; size as usize])
    }

    /// A write of several sectors may be cut anywhere between them.
    pub fn tear_sectors(&self) {
        self.state.lock().atom = SECTOR;
    }

    /// From now on nothing can be written.
    pub fn make_read_only(&self) {
        self.state.lock().read_only = true;
    }

    /// The power is cut after so many more writes and flushes.
    pub fn cut_after(&self, changes: u64) {
        self.state.lock().left = changes;
    }

    /// How many writes and flushes there were.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// What a reader sees.
    pub fn bytes(&self) -> Vec<u8> {
        self.state.lock().now.clone()
    }

    /// What is on the disk after its power was cut now: what was flushed, and of what was written since any part, in
    /// any order.
    pub fn after_cut(&self, random: &mut Random) -> Vec<u8> {
        let state = self.state.lock();
        let mut bytes = state.stable.clone();
        let mut kept: Vec<&(u64, Vec<u8>)> = state.pending.iter().filter(|_| random.below(2) == 0).collect();
        for index in (1..kept.len()).rev() {
            kept.swap(index, random.below(index as u64 + 1) as usize);
        }
        for (sector, written) in kept {
            let at = (sector * SECTOR) as usize;
            bytes[at..at + written.len()].copy_from_slice(written);
        }
        bytes
    }
}

impl State {
    fn change(&mut self) -> Result<(), BlockError> {
        self.left = self.left.checked_sub(1).ok_or(BlockError::Failed)?;
        self.changes += 1;
        Ok(())
    }
}

impl BlockDevice for TestDisk {
    fn size(&self) -> u64 {
        self.state.lock().now.len() as u64
    }

    fn read_only(&self) -> bool {
        self.state.lock().read_only
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let state = self.state.lock();
        check_range(state.now.len() as u64, offset, buf.len() as u64)?;
        buf.copy_from_slice(&state.now[offset as usize..offset as usize + buf.len()]);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        let mut state = self.state.lock();
        check_range(state.now.len() as u64, offset, bytes.len() as u64)?;
        if state.read_only {
            return Err(BlockError::ReadOnly);
        }
        state.change()?;
        state.now[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        let mut at = offset;
        while at < offset + bytes.len() as u64 {
            let end = (at + 1).next_multiple_of(state.atom).min(offset + bytes.len() as u64);
            let part = &bytes[(at - offset) as usize..(end - offset) as usize];
            state.pending.push((at / SECTOR, part.to_vec()));
            at = end;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        let mut state = self.state.lock();
        state.change()?;
        let pending = core::mem::take(&mut state.pending);
        for (sector, written) in pending {
            let at = (sector * SECTOR) as usize;
            state.stable[at..at + written.len()].copy_from_slice(&written);
        }
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> Result<(), BlockError> {
        self.write(range.start, &vec![0; (range.end - range.start) as usize])
    }

    fn zero(&self, range: Range<u64>) -> Result<(), BlockError> {
        self.discard(range)
    }
}
