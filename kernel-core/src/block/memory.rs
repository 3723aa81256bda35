//! A disk that can be written over one that stays as it is: what was changed is in guest RAM, and gone at the end.

use alloc::sync::Arc;
use alloc::vec;
use core::ops::Range;

use crate::host::PAGE_SIZE;
use crate::host::block::{BlockDevice, BlockError, check_range};
use crate::io::{SliceSource, VecSink};
use crate::mm::cache::{Backing, PageCache};
use crate::mm::ram::Ram;

/// The changes of a disk, in whole pages.
pub struct MemoryOverlay {
    below: Arc<dyn BlockDevice>,
    changes: Arc<PageCache>,
    /// How many bytes of RAM the changes may still take.
    room: u64,
}

impl MemoryOverlay {
    /// Over `below`, with at most `room` bytes of `ram`; writes beyond that fail for lack of space.
    pub fn new(below: Arc<dyn BlockDevice>, ram: &Arc<Ram>, room: u64) -> MemoryOverlay {
        let changes = PageCache::new(ram, Backing::Empty);
        changes.lie_below();
        MemoryOverlay { below, changes, room }
    }

    /// The pages from `at` on, up to `end`, that are alike, and whether they are changed ones.
    fn run(&self, at: u64, end: u64) -> (u64, bool) {
        let page = at - at % PAGE_SIZE;
        match self.changes.next_resident(page..end.next_multiple_of(PAGE_SIZE)) {
            Some(changed) if changed.start <= at => (changed.end.min(end), true),
            Some(changed) => (changed.start.min(end), false),
            None => (end, false),
        }
    }

    /// Copies the page at `page` up, if it is not there.
    fn copy_up(&self, page: u64) -> Result<(), BlockError> {
        if self.run(page, page + 1).1 {
            return Ok(());
        }
        let len = PAGE_SIZE.min(self.below.size() - page);
        let mut bytes = vec![0; len as usize];
        self.below.read(page, &mut bytes)?;
        self.store(page, &bytes)
    }

    fn store(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        match self.changes.write_at(offset, &mut SliceSource(bytes)) {
            Ok(written) if written == bytes.len() => Ok(()),
            _ => Err(BlockError::NoSpace),
        }
    }
}

impl BlockDevice for MemoryOverlay {
    fn size(&self) -> u64 {
        self.below.size()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_range(self.size(), offset, buf.len() as u64)?;
        let end = offset + buf.len() as u64;
        let (mut at, mut rest) = (offset, buf);
        while at < end {
            let (upto, changed) = self.run(at, end);
            let (now, later) = rest.split_at_mut((upto - at) as usize);
            if changed {
                let mut sink = VecSink::new(now.len());
                let read = self.changes.read_at(at, &mut sink).map_err(|_| BlockError::Failed)?;
                if read != now.len() {
                    return Err(BlockError::Failed);
                }
                now.copy_from_slice(&sink.bytes);
            } else {
                self.below.read(at, now)?;
            }
            (at, rest) = (upto, later);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        check_range(self.size(), offset, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset + bytes.len() as u64;
        let pages = offset - offset % PAGE_SIZE..end.next_multiple_of(PAGE_SIZE);
        let before = self.changes.resident_bytes();
        let here: u64 = self.changes.resident(pages.clone()).iter().map(|run| run.end - run.start).sum();
        let more = (pages.end - pages.start).saturating_sub(here);
        if before.saturating_add(more) > self.room {
            return Err(BlockError::NoSpace);
        }
        // The first and last page may be written in part only.
        if offset != pages.start {
            self.copy_up(pages.start)?;
        }
        if end != pages.end {
            self.copy_up(pages.end - PAGE_SIZE)?;
        }
        self.store(offset, bytes)
    }

    /// Nothing of this lasts.
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    /// What was changed stays: it would be the old bytes again otherwise.
    fn discard(&self, range: Range<u64>) -> Result<(), BlockError> {
        check_range(self.size(), range.start, range.end.saturating_sub(range.start))?;
        Err(BlockError::Unsupported)
    }
}
