//! Page caches: the bytes of a file, kept in guest RAM so that they can be mapped.
//!
//! A cache is the file's contents for a file system in memory, not a copy of something that could be read again. What
//! comes from a [`Blob`] (a boot archive) is loaded into RAM in pieces when it is first mapped or written; reading it
//! copies straight from the blob.
//!
//! Each page in the cache is held once by it ([`Ram::hold`]) and once by everybody who maps it. Copies go on with the
//! cache unlocked, as the lock order wants it: the cache knows what is being copied ([`Copying`]), and whoever cuts a
//! page off meanwhile holds it for them, so that it lives until they are done. Hardly anybody does, so a copy costs no
//! change of who holds what.

mod blob;
mod copy;
#[cfg(test)]
pub(crate) mod mem_store;
mod store;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

pub use blob::{Backing, Blob};
use copy::{Copying, Piece};
pub use store::{Store, WritePolicy};
use store::{Stored, Tracked, Wanted};

use crate::errno::{EAGAIN, EBUSY, EFBIG, ENOMEM, ENOSPC, ENXIO, EOPNOTSUPP, Result};
use crate::host::{PAGE_SIZE, Phys};
use crate::mm::ram::{Fresh, Ram};
use crate::mm::range::{Pieces, RangeMap, Value, intersect};
use crate::mm::reclaim::Reach;
use crate::mm::window::{Cut, Windows};
use crate::sync::Mutex;

/// The largest file (`MAX_LFS_FILESIZE`).
pub const MAX_FILE_LEN: u64 = i64::MAX as u64;

/// The most that is committed, or copied, in one go.
const STEP: u64 = 256 << 10;

/// The largest gap between pages in RAM that is loaded when they are mapped.
const GAP: u64 = 128 << 10;

/// Which mappings of a file's range are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// All, private copies too: the file ends before it.
    Everything,
    /// Those of the file's own pages.
    FilePages,
    /// The same, but for what is locked in memory: they can be mapped again.
    Evicted,
}

/// Somebody who maps pages of caches: an address space.
pub trait Mapper: Send + Sync {
    /// Unmaps a range of a cache: these pages are no longer the file's. Called with no lock held.
    fn invalidate(&self, cache: &PageCache, range: Range<u64>, lost: Lost);

    /// Takes the right to write to a range of a cache away, until the next fault. Called with no lock held that is to the
    /// right of an address space's.
    fn protect(&self, cache: &PageCache, range: Range<u64>);

    /// Whether stores through a mapping would change a cache, or would after `mprotect`. Called with no lock held.
    fn may_write(&self, cache: &PageCache) -> bool;
}

/// Where a file's pages are in RAM.
#[derive(Clone, Copy, PartialEq, Eq)]
struct At(Phys);

impl Value for At {
    fn skip(self, bytes: u64) -> Self {
        At(Phys(self.0.0 + bytes))
    }
    fn joins(&self, len: u64, next: &Self) -> bool {
        self.0.0 + len == next.0.0
    }
}

struct State {
    len: u64,
    /// Bytes before this offset are as in the backing where no page and no hole is.
    backed_len: u64,
    pages: RangeMap<At>,
    /// What was punched out of the backing.
    holes: RangeMap<()>,
    /// Which of the pages are there for `fallocate` only: what is in them is a hole.
    unwritten: RangeMap<()>,
    windows: Windows,
    /// At most one for each vCPU, as nobody suspends in a copy.
    copying: SmallVec<[Copying; 1]>,
    last_copy: u64,
    mappers: BTreeMap<u64, Weak<dyn Mapper>>,
    /// With so many mappers, look for dead ones.
    mappers_check: usize,
    /// No mapping may be made through which it can be written.
    writers_denied: bool,
    /// For caches over stores.
    tracked: Tracked,
}

/// The contents of one file, or of one piece of shared anonymous memory.
pub struct PageCache {
    ram: Arc<Ram>,
    id: u64,
    backing: Backing,
    stored: Option<Stored>,
    /// A block device is made of it.
    below: AtomicBool,
    state: Mutex<State>,
}

fn page_down(at: u64) -> u64 {
    at - at % PAGE_SIZE
}

fn page_up(at: u64) -> u64 {
    at.next_multiple_of(PAGE_SIZE)
}

impl PageCache {
    /// A cache over `backing`.
    pub fn new(ram: &Arc<Ram>, backing: Backing) -> Arc<PageCache> {
        let len = backing.bytes().len() as u64;
        let cut = if len == 0 { Cut::Doubling } else { Cut::Sized(len) };
        Arc::new(PageCache::assemble(ram, backing, None, len, cut))
    }

    fn assemble(ram: &Arc<Ram>, backing: Backing, stored: Option<Stored>, len: u64, cut: Cut) -> PageCache {
        PageCache {
            ram: ram.clone(),
            id: ram.next_id(),
            backing,
            stored,
            below: AtomicBool::new(false),
            state: Mutex::new(State {
                len,
                backed_len: len,
                pages: RangeMap::default(),
                holes: RangeMap::default(),
                unwritten: RangeMap::default(),
                windows: Windows::new(ram, cut),
                copying: SmallVec::new(),
                last_copy: 0,
                mappers: BTreeMap::new(),
                mappers_check: 16,
                writers_denied: false,
                tracked: Tracked::default(),
            }),
        }
    }

    /// A block device is made of it from now on: whoever uses it may have a file system on that locked.
    pub fn lie_below(&self) {
        self.below.store(true, Ordering::Relaxed);
    }

    /// What may be entered for RAM that it needs.
    fn reach(&self) -> Reach {
        if self.below.load(Ordering::Relaxed) { Reach::Ground } else { Reach::All }
    }

    /// How many loop devices it is on.
    pub fn levels(&self) -> u32 {
        self.stored.as_ref().map_or(0, |stored| stored.store.levels())
    }

    /// Differs from that of every other page cache and address space that ever was.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.state.lock().len
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the length. What is cut off is zero if the file grows again, and gone from all mappings. EFBIG, and what the
    /// store says, and then nothing has changed.
    pub fn truncate(&self, len: u64) -> Result<()> {
        match &self.stored {
            _ if len > MAX_FILE_LEN => return Err(EFBIG),
            Some(stored) => return self.truncate_stored(stored, len),
            None => self.cut(len),
        }
        Ok(())
    }

    fn cut(&self, len: u64) {
        let removed = {
            let mut state = self.state.lock();
            if len >= state.len {
                self.zero_tail(&mut state);
                state.len = len;
                return;
            }
            state.len = len;
            state.backed_len = state.backed_len.min(len);
            self.zero_tail(&mut state);
            state.holes.remove(page_up(len)..u64::MAX);
            let removed = self.cut_off(&mut state, page_up(len)..u64::MAX);
            let last = removed.last().map_or(0, |(piece, _)| piece.end);
            let unused: Vec<u64> =
                state.windows.in_use(&(page_up(len)..last)).map(|window| window.start).collect();
            unused.into_iter().filter(|&start| start >= len).for_each(|start| state.windows.forget(start));
            removed
        };
        self.invalidate(page_up(len)..u64::MAX, Lost::Everything);
        self.drop_pages(removed);
    }

    /// Makes `offset .. offset + len` read as zero and gives whole pages of it back; the length stays. ENOSPC if there
    /// is no RAM for a page that becomes zero in part.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        if let Some(stored) = &self.stored {
            return self.punch_stored(stored, offset..offset.saturating_add(len));
        }
        let (whole, removed) = {
            let mut state = self.state.lock();
            let range = offset..offset.saturating_add(len).min(page_up(state.len));
            if range.is_empty() {
                return Ok(());
            }
            let whole = page_up(range.start)..page_down(range.end);
            if whole.start >= whole.end {
                // No whole page: one or two parts.
                let cut = whole.start.min(range.end);
                self.zero_part(&mut state, range.start..cut)?;
                return self.zero_part(&mut state, cut..range.end);
            }
            self.zero_part(&mut state, range.start..whole.start)?;
            self.zero_part(&mut state, whole.end..range.end)?;
            let removed = self.cut_off(&mut state, whole.clone());
            let backed = intersect(&whole, &(0..page_up(state.backed_len)));
            state.holes.insert(backed, ());
            (whole, removed)
        };
        self.invalidate(whole, Lost::FilePages);
        self.drop_pages(removed);
        Ok(())
    }

    /// Commits RAM for a range, without changing the length (see [`PageCache::truncate`]); ENOSPC. Not for caches over a
    /// store, where it would be no promise: EOPNOTSUPP.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        if self.stored.is_some() {
            return Err(EOPNOTSUPP);
        }
        let end = offset.checked_add(len).filter(|&end| end <= MAX_FILE_LEN).ok_or(EFBIG)?;
        let range = page_down(offset)..page_up(end);
        if range.end - range.start > self.ram.total() {
            return Err(ENOSPC);
        }
        let mut at = range.start;
        while at < range.end {
            let step = at..range.end.min(at + STEP);
            let mut state = self.state.lock();
            let gap = state.pages.gap(at, &step);
            let (found, _) = self.ensure(&mut state, at, &step).map_err(|_| ENOSPC)?;
            // Only what is new: as on Linux, to be allocated twice is as good as to be written.
            let unbacked = page_up(state.backed_len)..found.end;
            state.unwritten.insert(intersect(&gap, &unbacked), ());
            at = found.end;
        }
        Ok(())
    }

    /// `SEEK_DATA`: the first offset from `offset` on that holds data; ENXIO.
    pub fn next_data(&self, offset: u64) -> Result<u64> {
        if let Some(stored) = &self.stored {
            return self.next_stored(stored, offset, Wanted::Data);
        }
        let mut at = offset;
        let len = self.len();
        while at < len {
            match self.state.lock().piece(at, u64::MAX - at) {
                Piece::Hole(bytes) => at += bytes,
                Piece::Ram(..) | Piece::Backing(_) => return Ok(at),
                Piece::End => break,
            }
        }
        Err(ENXIO)
    }

    /// `SEEK_HOLE`: the first offset from `offset` on in a hole, the end being one; ENXIO.
    pub fn next_hole(&self, offset: u64) -> Result<u64> {
        if let Some(stored) = &self.stored {
            return self.next_stored(stored, offset, Wanted::Hole);
        }
        let mut at = offset;
        let len = self.len();
        if at >= len {
            return Err(ENXIO);
        }
        while at < len {
            match self.state.lock().piece(at, u64::MAX - at) {
                Piece::Hole(_) | Piece::End => break,
                Piece::Backing(bytes) | Piece::Ram(_, bytes) => at += bytes,
            }
        }
        Ok(at.min(len))
    }

    /// Bytes of data the file holds, in RAM or in its backing, in whole pages (for `st_blocks`).
    pub fn allocated_bytes(&self) -> u64 {
        let state = self.state.lock();
        if state.backed_len == 0 {
            return state.pages.covered();
        }
        let backed = 0..page_up(state.backed_len);
        let lengths = |range: Range<u64>| range.end - range.start;
        let loaded: u64 = state.pages.overlapping(backed.clone()).map(|(piece, _)| lengths(piece)).sum();
        let holes: u64 = state
            .holes
            .overlapping(backed.clone())
            .map(|(hole, ())| {
                lengths(hole.clone())
                    - state.pages.overlapping(hole).map(|(piece, _)| lengths(piece)).sum::<u64>()
            })
            .sum();
        state.pages.covered() + (lengths(backed) - loaded - holes)
    }

    /// Bytes in RAM.
    pub fn resident_bytes(&self) -> u64 {
        self.state.lock().pages.covered()
    }

    /// The first pages in RAM in a range.
    pub fn next_resident(&self, range: Range<u64>) -> Option<Range<u64>> {
        self.state.lock().pages.overlapping(range).next().map(|(piece, _)| piece)
    }

    /// The pages in RAM in a range.
    pub fn resident(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.state.lock().pages.overlapping(range).map(|(piece, _)| piece).collect()
    }

    /// The page at `offset`, loaded if needed, and what lies contiguously around it inside `within`; if it has to be
    /// loaded or made, about `wish` of its surroundings. Held once more, for a mapping. `Ok(None)`: the file ends before.
    /// EAGAIN: [`PageCache::load`] has to load it first.
    pub(super) fn map_around(
        &self,
        offset: u64,
        wish: &Range<u64>,
        within: &Range<u64>,
    ) -> Result<Option<(Range<u64>, Phys)>> {
        let mut state = self.state.lock();
        let file = 0..page_up(state.len);
        if offset >= file.end {
            return Ok(None);
        }
        self.ensure(&mut state, page_down(offset), &intersect(wish, &file))?;
        let Some((piece, At(phys))) = state.pages.get(offset) else { return Err(ENOMEM) };
        let part = intersect(&piece, &intersect(within, &file));
        state.may_be_written(&part);
        self.touch(&mut state, wish);
        let at = Phys(phys.0 + (part.start - piece.start));
        self.ram.hold(at, part.end - part.start);
        Ok(Some((part, at)))
    }

    /// The pages in RAM in a range, each held once more, for a mapping; at most `max` pieces. What of the backing lies
    /// between two of them and is no larger than [`GAP`] is loaded: it costs every mapping a piece, and may be needed.
    pub(super) fn map_resident(&self, range: Range<u64>, max: usize) -> Pieces<Phys> {
        let mut state = self.state.lock();
        let range = intersect(&range, &(0..page_up(state.len)));
        self.fill_gaps(&mut state, &range, max);
        let found: Pieces<Phys> =
            state.pages.overlapping(range).take(max).map(|(part, At(phys))| (part, phys)).collect();
        for (part, phys) in &found {
            state.may_be_written(part);
            self.ram.hold(*phys, part.end - part.start);
        }
        found
    }

    /// See [`PageCache::map_resident`]. Not when RAM is short, and at most `max` of them, as the cache is locked.
    fn fill_gaps(&self, state: &mut State, range: &Range<u64>, max: usize) {
        if self.stored.is_some() || self.ram.free() < self.ram.total() / 8 {
            return;
        }
        let mut upto = state.pages.at_or_after(range.start).map_or(range.end, |(first, _)| first.end);
        for _ in 0..max {
            let next = state.pages.at_or_after(upto).filter(|(next, _)| next.start < range.end);
            let Some((next, _)) = next else { return };
            let gap = upto..next.start;
            let is_backed =
                gap.end <= state.backed_len && state.holes.overlapping(gap.clone()).next().is_none();
            let fits = gap.end - gap.start <= GAP && gap.end <= state.windows.window(gap.start).end;
            if is_backed && fits && !gap.is_empty() && self.ensure(state, gap.start, &gap).is_err() {
                return;
            }
            upto = next.end;
        }
    }

    /// From now on no mapping can be made through which it can be written; those that are there stay.
    pub fn deny_future_writers(&self) {
        self.state.lock().writers_denied = true;
    }

    /// As [`PageCache::deny_future_writers`], but EBUSY as long as there is such a mapping.
    pub fn deny_writers(&self) -> Result<()> {
        // New ones first: a mapping that comes meanwhile is either seen or refused, see `writers_denied`.
        let (before, mappers) = {
            let mut state = self.state.lock();
            let mappers: Vec<_> = state.mappers.values().filter_map(Weak::upgrade).collect();
            (core::mem::replace(&mut state.writers_denied, true), mappers)
        };
        if mappers.iter().any(|mapper| mapper.may_write(self)) {
            self.state.lock().writers_denied = before;
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Whether a mapping through which it can be written is refused. Asked by `mapper` with its lock held, and before it
    /// makes that mapping; it counts as a mapper from here on.
    pub(super) fn writers_denied(&self, id: u64, mapper: Weak<dyn Mapper>) -> bool {
        self.add_mapper(id, mapper);
        self.state.lock().writers_denied
    }

    /// `mapper` is told from now on when pages are cut off.
    pub(super) fn add_mapper(&self, id: u64, mapper: Weak<dyn Mapper>) {
        let mut state = self.state.lock();
        state.mappers.insert(id, mapper);
        if state.mappers.len() > state.mappers_check {
            state.mappers.retain(|_, mapper| mapper.strong_count() > 0);
            state.mappers_check = 2 * state.mappers.len().max(8);
        }
    }

    /// `mapper` maps nothing of it any more.
    pub(super) fn remove_mapper(&self, id: u64) {
        self.state.lock().mappers.remove(&id);
    }

    /// Makes the page at `at` present; if it is not, about `wish` (whole pages around it) with it. Gives the pages from
    /// `at` on, inside `wish`, that are present and contiguous. EAGAIN for what a store has to load.
    fn ensure(&self, state: &mut State, at: u64, wish: &Range<u64>) -> Result<(Range<u64>, Phys)> {
        let mut around = intersect(wish, &state.windows.window(at));
        if self.stored.is_some() {
            around.start = around.start.max(page_up(state.backed_len));
        }
        let gap = if around.contains(&at) { state.pages.gap(at, &around) } else { at..at };
        if !gap.is_empty() {
            let (made, phys) = state.windows.commit_around(at, &gap, Fresh::Zeroed)?;
            match &self.stored {
                Some(stored) => state.pages_came(&self.ram, stored, &made),
                None => self.fill(state, &made, phys),
            }
            state.pages.insert(made, At(phys));
        } else if self.stored.is_some() && state.pages.get(at).is_none() {
            return Err(EAGAIN);
        }
        let (piece, value) = state.pages.get(at).ok_or(ENOMEM)?;
        let At(phys) = value.skip(at - piece.start);
        let found = at..piece.end.min(wish.end.max(at + PAGE_SIZE));
        state.may_be_written(&found);
        Ok((found, phys))
    }

    /// Copies the backing's bytes to pages that were just made.
    fn fill(&self, state: &State, pages: &Range<u64>, phys: Phys) {
        let mut at = pages.start;
        let end = pages.end.min(state.backed_len);
        while at < end {
            let mut upto = end;
            match state.holes.at_or_after(at) {
                Some((hole, ())) if hole.start <= at => {
                    at = hole.end;
                    continue;
                }
                Some((hole, ())) => upto = upto.min(hole.start),
                None => {}
            }
            if let Some(bytes) = self.backing.bytes().get(at as usize..upto as usize) {
                self.ram.frames.write(Phys(phys.0 + (at - pages.start)), bytes);
            }
            at = upto;
        }
        if pages.start < end {
            self.backing.done_with(pages.start..end);
        }
    }

    /// Zeroes what a mapping may have left in the last page behind the end of the file.
    fn zero_tail(&self, state: &mut State) {
        let end = page_up(state.len);
        if let (false, Some((piece, At(phys)))) = (end == state.len, state.pages.get(state.len)) {
            self.ram.frames.zero(Phys(phys.0 + (state.len - piece.start)), end - state.len);
        }
    }

    /// Zeroes a part of one page.
    fn zero_part(&self, state: &mut State, part: Range<u64>) -> Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        let page = page_down(part.start);
        let in_hole = state.holes.get(page).is_some() || page >= state.backed_len;
        if state.unwritten.get(page).is_some() || state.pages.get(page).is_none() && in_hole {
            return Ok(());
        }
        let (_, phys) = self.ensure(state, page, &(page..page + PAGE_SIZE)).map_err(|_| ENOSPC)?;
        self.ram.frames.zero(Phys(phys.0 + (part.start - page)), part.end - part.start);
        Ok(())
    }

    /// Tells all mappers that a range is no longer the file's.
    fn invalidate(&self, range: Range<u64>, lost: Lost) {
        self.tell_mappers(|mapper| mapper.invalidate(self, range.clone(), lost));
    }

    /// Calls `f` with all mappers. A fork may add one, with a copy of what another one maps, until that other one was told;
    /// so this goes on until nobody is new.
    fn tell_mappers(&self, f: impl Fn(&dyn Mapper)) {
        let mut told = BTreeSet::new();
        loop {
            let new: Vec<(u64, Arc<dyn Mapper>)> = {
                let state = self.state.lock();
                let new = state.mappers.iter().filter(|(id, _)| !told.contains(*id));
                new.filter_map(|(&id, mapper)| Some((id, mapper.upgrade()?))).collect()
            };
            if new.is_empty() {
                return;
            }
            for (id, mapper) in new {
                f(&*mapper);
                told.insert(id);
            }
        }
    }

    /// Takes pages out, see [`State::take_out`].
    fn cut_off(&self, state: &mut State, range: Range<u64>) -> Pieces<At> {
        let removed = state.take_out(&self.ram, range.clone());
        if self.stored.is_some() {
            let bytes = removed.iter().map(|(piece, _)| piece.end - piece.start).sum();
            state.pages_went(&self.ram, &range, bytes);
        }
        removed
    }

    /// Notes that pages are used.
    fn touch(&self, state: &mut State, range: &Range<u64>) {
        if self.stored.is_some() {
            state.tracked.touch(range);
        }
    }

    fn drop_pages(&self, removed: Pieces<At>) {
        self.ram.release_all(removed.into_iter().map(|(piece, At(phys))| (phys, piece.end - piece.start)));
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        if let Some(stored) = &self.stored {
            self.finish(stored);
        }
        let pages = self.state.lock().pages.remove(0..u64::MAX);
        self.drop_pages(pages);
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
