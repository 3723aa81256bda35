//! Windows: where in RAM the memory of an address space or a file is put.
//!
//! Keys (guest addresses, file offsets) are cut into windows, and each window in use has a block of RAM of its size
//! reserved, so that what is committed for neighbouring keys at different times still lies side by side, and host
//! mappings of it merge. A slot may be taken when its key is needed again (the page there before is shared with a
//! child, or was moved): then the window gets a new block, and the old one lives until nobody holds a part of it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Range;

use crate::errno::{ENOMEM, Result};
use crate::host::{PAGE_SIZE, Phys};
use crate::mm::ram::{CommitError, Fresh, Ram};
use crate::mm::range::intersect;

/// The size of large windows. A terabyte of offsets has 65,536 of them.
const LARGE: u64 = 16 << 20;

/// The size of the smallest.
const SMALL: u64 = 64 << 10;

/// How keys are cut into windows.
#[derive(Clone, Copy)]
pub enum Cut {
    /// In large ones: for guest addresses.
    Large,
    /// Doubling from small to large ones, as the key grows: for files of unknown size.
    Doubling,
    /// The first one as large as the file is now (but at most large), then large ones.
    Sized(u64),
}

impl Cut {
    /// The window that contains `key`.
    pub fn window(self, key: u64) -> Range<u64> {
        let large = key - key % LARGE;
        let large = large..large.saturating_add(LARGE);
        match self {
            Cut::Large => large,
            Cut::Doubling if key < SMALL => 0..SMALL,
            Cut::Doubling if key < LARGE => {
                let start = 1 << key.ilog2();
                start..2 * start
            }
            Cut::Doubling => large,
            Cut::Sized(len) => {
                let first = len.clamp(PAGE_SIZE, LARGE).next_multiple_of(PAGE_SIZE);
                if key < first {
                    0..first
                } else if key < LARGE {
                    first..LARGE
                } else {
                    large
                }
            }
        }
    }
}

/// The windows in use.
pub struct Windows {
    ram: Arc<Ram>,
    cut: Cut,
    /// First key to last key and where its block is.
    blocks: BTreeMap<u64, (u64, Phys)>,
}

impl Windows {
    /// None in use.
    pub fn new(ram: &Arc<Ram>, cut: Cut) -> Windows {
        Windows { ram: ram.clone(), cut, blocks: BTreeMap::new() }
    }

    /// The window that contains `key`.
    pub fn window(&self, key: u64) -> Range<u64> {
        self.cut.window(key)
    }

    /// Commits RAM for `range`, whole pages inside one window; the caller holds it once. ENOMEM.
    pub fn commit(&mut self, range: &Range<u64>, fresh: Fresh) -> Result<Phys> {
        let window = self.window(range.start);
        let len = range.end - range.start;
        for _ in 0..2 {
            let block = match self.blocks.get(&window.start) {
                Some(&(_, block)) => block,
                None => {
                    let block = self.ram.reserve(window.end - window.start)?;
                    self.blocks.insert(window.start, (window.end, block));
                    block
                }
            };
            let at = Phys(block.0 + (range.start - window.start));
            match self.ram.commit(at, len, fresh) {
                Ok(()) => return Ok(at),
                Err(CommitError::OutOfMemory) => return Err(ENOMEM),
                Err(CommitError::Occupied) => self.forget(window.start),
            }
        }
        Err(ENOMEM)
    }

    /// Like [`Windows::commit`] for as much of `wish`, around the page at `key`, as is in the same window and RAM allows:
    /// when it is short, for that page only. Says for which range.
    pub fn commit_around(&mut self, key: u64, wish: &Range<u64>, fresh: Fresh) -> Result<(Range<u64>, Phys)> {
        let wish = intersect(wish, &self.window(key));
        match self.commit(&wish, fresh) {
            Ok(at) => Ok((wish, at)),
            Err(_) => {
                let page = key - key % PAGE_SIZE;
                let page = page..page + PAGE_SIZE;
                let at = self.commit(&page, fresh)?;
                Ok((page, at))
            }
        }
    }

    /// The windows in use that have a key of `range`.
    pub fn in_use(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let from = self.window(range.start).start;
        self.blocks.range(from..range.end.max(from)).map(|(&start, &(end, _))| start..end)
    }

    /// Gives up the block of the window that starts at `start`.
    pub fn forget(&mut self, start: u64) {
        if let Some((_, block)) = self.blocks.remove(&start) {
            self.ram.unreserve(block);
        }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        for (_, block) in self.blocks.values() {
            self.ram.unreserve(*block);
        }
    }
}
