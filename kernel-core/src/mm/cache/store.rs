//! Caches over a store: a file's bytes last elsewhere, and RAM has a part of them.
//!
//! Pages are loaded when they are read, written or mapped, in pieces that grow while they follow each other. What is
//! written to them goes to the store at once, or is dirty until it is written back ([`WritePolicy`]). A shared mapping
//! starts without the right to write, whatever it allows: the first store to a page marks it dirty, and writing it back
//! takes the right away again. To take everything mapped for writing as dirty would need no such faults; but each sync
//! would write whole mappings, of pages nobody touched too, over what others may have made of them in the store.
//!
//! The store is read and written under [`Stored::io`] with the cache itself unlocked, and it is never called under the lock
//! of an address space: a fault that misses unlocks, loads, and looks again.
//!
//! Invariant: below [`State::backed_len`], pages are put in under `io` alone, and dropped only if they are clean. So what is
//! being loaded or written back is never loaded twice.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::ops::Range;

use super::{At, Lost, PageCache, Piece, State, page_down, page_up};
use crate::errno::{EAGAIN, ENOMEM, ENXIO, EOPNOTSUPP, Errno, Result};
use crate::host::{Frames, PAGE_SIZE, Phys};
use crate::mm::cache::Backing;
use crate::mm::ram::{Fresh, Ram};
use crate::mm::range::{Pieces, RangeMap, Value, intersect};
use crate::mm::reclaim::{CHUNK, Chunk};
use crate::mm::window::Cut;
use crate::sync::Mutex;

/// The least and the most that is read ahead.
const AHEAD: Range<u64> = 64 << 10..2 << 20;

/// The most that a store is given to write in one call.
const WRITE_STEP: u64 = 1 << 20;

/// A page that is loaded may be gone before it is used, if RAM is very short; so often it is loaded again.
const TRIES: u32 = 16;

/// Where a file's bytes last. It must not own the cache, nor what owns it.
///
/// Calls may take as long as they need, and come one at a time for each cache. They must not call the cache, nor copy to
/// or from a guest.
pub trait Store: Send + Sync {
    /// Reads `len` bytes from `offset` on into RAM at `at`; whole pages, of which the file may end in the last. What the
    /// store has nothing for is zeroed. EIO.
    fn read(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()>;

    /// Writes `len` bytes from RAM at `at` to `offset` on; the file becomes longer if needed. With
    /// [`WritePolicy::Back`], `offset` is that of a page, and the end that of a page or of the file. EIO, ENOSPC.
    fn write(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()>;

    /// Cuts the file, or makes it longer; what is new reads as zero. Not called for what [`Store::write`] adds.
    fn set_len(&self, len: u64) -> Result<()>;

    /// Makes a range read as zero and gives its space back; the length stays. EOPNOTSUPP.
    fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        let _ = (offset, len);
        Err(EOPNOTSUPP)
    }

    /// How many loop devices it is on.
    fn levels(&self) -> u32 {
        0
    }

    /// Whether a write would wait for somebody, who may be the one that asks for RAM.
    fn is_busy(&self) -> bool {
        false
    }

    /// `SEEK_DATA` and `SEEK_HOLE` for an offset inside the file, in which nothing is dirty; ENXIO.
    fn next_data(&self, offset: u64) -> Result<u64> {
        Ok(offset)
    }

    /// See [`Store::next_data`]; `len` is the file's length.
    fn next_hole(&self, offset: u64, len: u64) -> Result<u64> {
        let _ = offset;
        Ok(len)
    }
}

/// When what is written with `write(2)` gets to the store; what is written through mappings gets there when it is synced,
/// unmapped for the last time, or when too much is dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePolicy {
    /// Before the call returns: others who use the store see it, and a full store is told at once.
    Through,
    /// Later, with others.
    Back,
}

/// What a seek looks for.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Data,
    Hole,
}

/// What a cache has beyond [`State`] if it is over a store.
pub(super) struct Stored {
    pub store: Arc<dyn Store>,
    policy: WritePolicy,
    me: Weak<PageCache>,
    /// Held while the store is used. Before the locks of address spaces, and before [`PageCache::state`].
    io: Mutex<()>,
}

/// What [`State`] has for it.
#[derive(Default)]
pub(super) struct Tracked {
    /// Pages that the store does not have as they are.
    dirty: RangeMap<()>,
    /// The chunks that are in the ring of [`crate::mm::reclaim`], and whether they were used again since they were loaded or
    /// looked at.
    chunks: BTreeMap<u64, bool>,
    /// Where the last use ended: one that goes on there is the same use.
    last_use: u64,
    /// Where the last miss ended and how much was loaded for it: one there loads twice as much.
    ahead: (u64, u64),
    /// What went wrong in writing back, until somebody is told.
    failed: Option<Errno>,
}

impl Tracked {
    pub(super) fn touch(&mut self, range: &Range<u64>) {
        let same = core::mem::replace(&mut self.last_use, range.end) == range.start;
        if !same && let Some(used) = self.chunks.get_mut(&(range.start / CHUNK)) {
            *used = true;
        }
    }
}

fn bytes_of<V>(pieces: &Pieces<V>) -> u64 {
    pieces.iter().map(|(piece, _)| piece.end - piece.start).sum()
}

impl State {
    /// Pages came into a cache over a store.
    pub(super) fn pages_came(&mut self, ram: &Ram, stored: &Stored, made: &Range<u64>) {
        ram.caches.count((made.end - made.start, 0), (0, 0));
        for chunk in made.start / CHUNK..made.end.div_ceil(CHUNK) {
            self.tracked.chunks.entry(chunk).or_insert_with(|| {
                ram.caches.add(stored.me.clone(), chunk);
                false
            });
        }
    }

    /// Pages of a range are gone, `removed` bytes of them.
    pub(super) fn pages_went(&mut self, ram: &Ram, range: &Range<u64>, removed: u64) {
        let clean = bytes_of(&self.tracked.dirty.remove(range.clone()));
        ram.caches.count((0, removed), (0, clean));
    }

    /// Those of `range` (whole pages) that are in RAM will have to be written.
    pub(super) fn make_dirty(&mut self, ram: &Ram, range: &Range<u64>) {
        let before = self.tracked.dirty.covered();
        let pages: Pieces<At> = self.pages.overlapping(range.clone()).collect();
        pages.into_iter().for_each(|(piece, _)| self.tracked.dirty.insert(piece, ()));
        ram.caches.count((0, 0), (self.tracked.dirty.covered(), before));
    }

    /// Takes those pages of a range out that are clean and that nobody else holds or copies; how many bytes.
    fn drop_unused(&mut self, ram: &Ram, range: &Range<u64>) -> u64 {
        let pieces: Pieces<At> = self.pages.overlapping(range.clone()).collect();
        let mut release: Pieces<()> = Pieces::new();
        for (piece, At(phys)) in pieces {
            let place = |offset: u64| phys.0 + (offset - piece.start);
            let mut unused: RangeMap<()> = RangeMap::default();
            ram.held_once_in(phys, piece.end - piece.start)
                .into_iter()
                .for_each(|part| unused.insert(part, ()));
            for copy in &self.copying {
                unused.remove(copy.pages.clone());
            }
            for (dirty, ()) in self.tracked.dirty.overlapping(piece.clone()) {
                unused.remove(place(dirty.start)..place(dirty.end));
            }
            for (part, ()) in unused.overlapping(0..u64::MAX) {
                self.pages.remove(piece.start + (part.start - phys.0)..piece.start + (part.end - phys.0));
                release.push((part, ()));
            }
        }
        let bytes = bytes_of(&release);
        ram.release_all(release.into_iter().map(|(part, ())| (Phys(part.start), part.end - part.start)));
        ram.caches.count((0, bytes), (0, 0));
        bytes
    }
}

impl PageCache {
    /// A cache over a store that has `len` bytes.
    pub fn over(ram: &Arc<Ram>, store: Arc<dyn Store>, len: u64, policy: WritePolicy) -> Arc<PageCache> {
        Arc::new_cyclic(|me| {
            let cut = if len == 0 { Cut::Doubling } else { Cut::Sized(len) };
            let stored = Stored { store, policy, me: me.clone(), io: Mutex::new(()) };
            PageCache::assemble(ram, Backing::Empty, Some(stored), len, cut)
        })
    }

    /// Whether stores through shared mappings have to be noticed ([`PageCache::mark_dirty`]).
    pub(in crate::mm) fn tracks_stores(&self) -> bool {
        self.stored.is_some()
    }

    /// A mapping is about to write to pages in RAM.
    pub(in crate::mm) fn mark_dirty(&self, range: &Range<u64>) {
        if self.stored.is_some() {
            self.state.lock().make_dirty(&self.ram, range);
        }
    }

    /// Loads the page at `at`, if the store has it and RAM does not, and about `wish` of its surroundings; more if misses
    /// follow each other. May wait. EIO, ENOMEM.
    pub(in crate::mm) fn load(&self, at: u64, wish: &Range<u64>) -> Result<()> {
        let Some(stored) = &self.stored else { return Ok(()) };
        match self.try_load(stored, at, wish) {
            Err(ENOMEM) if self.ram.evict(wish.end - wish.start, self.reach()) > 0 => {
                self.try_load(stored, at, wish)
            }
            result => result,
        }
    }

    fn try_load(&self, stored: &Stored, at: u64, wish: &Range<u64>) -> Result<()> {
        let _io = stored.io.lock();
        let wish = {
            let mut state = self.state.lock();
            let whole = page_up(state.backed_len);
            if at >= whole || state.pages.get(at).is_some() {
                return Ok(());
            }
            let page = page_down(at);
            let (expected, last) = state.tracked.ahead;
            let follows = page == expected || page == 0;
            let ahead = if follows { (last * 2).clamp(AHEAD.start, AHEAD.end) } else { 0 };
            let wish = wish.start.min(page)..wish.end.max(page + ahead).min(whole);
            state.tracked.ahead = (wish.end, ahead);
            wish
        };
        self.ram.make_room(wish.end - wish.start);
        let (made, phys) = {
            let mut state = self.state.lock();
            let gap = state.pages.gap(at, &intersect(&wish, &state.windows.window(at)));
            let (made, phys) = state.windows.commit_around(at, &gap, Fresh::Overwritten)?;
            state.tracked.ahead.0 = made.end;
            (made, phys)
        };
        let page = page_down(at)..page_down(at) + PAGE_SIZE;
        let at_of = |offset: u64| Phys(phys.0 + (offset - made.start));
        let result = stored.store.read(&*self.ram.frames, made.start, phys, made.end - made.start);
        let loaded = match result {
            Ok(()) => made.clone(),
            // One page may be read although another cannot.
            Err(_)
                if made != page
                    && stored
                        .store
                        .read(&*self.ram.frames, page.start, at_of(page.start), PAGE_SIZE)
                        .is_ok() =>
            {
                page
            }
            Err(error) => {
                self.ram.release(phys, made.end - made.start);
                return Err(error);
            }
        };
        let parts = [made.start..loaded.start, loaded.end..made.end];
        let unused = parts.into_iter().filter(|part| !part.is_empty());
        self.ram.release_all(unused.map(|part| (at_of(part.start), part.end - part.start)));
        let mut state = self.state.lock();
        state.pages.insert(loaded.clone(), At(at_of(loaded.start)));
        state.pages_came(&self.ram, stored, &loaded);
        Ok(())
    }

    /// Has the pages at `at` in RAM, those the store has loaded, others made, and calls `f` with the cache locked and the
    /// pages from `at` on, inside `wish`, that are contiguous in RAM.
    pub(super) fn with_pages<R>(
        &self,
        at: u64,
        wish: &Range<u64>,
        mut f: impl FnMut(&mut State, Range<u64>, Phys) -> R,
    ) -> Result<R> {
        for _ in 0..TRIES {
            if self.stored.is_some() {
                self.ram.make_room(wish.end - wish.start);
            }
            let mut state = self.state.lock();
            match self.ensure(&mut state, at, wish) {
                Ok((pages, phys)) => return Ok(f(&mut state, pages, phys)),
                Err(EAGAIN) => {
                    drop(state);
                    self.load(at, wish)?;
                }
                Err(error) => {
                    drop(state);
                    if self.ram.evict(wish.end - wish.start, self.reach()) == 0 {
                        return Err(error);
                    }
                }
            }
        }
        Err(ENOMEM)
    }

    /// Bytes were copied to pages, whose copy is still known: they become dirty, or go to the store at once. On an error
    /// the pages are again as the store has them. Locks as for [`Ram::evict`].
    pub(super) fn wrote(&self, range: &Range<u64>, phys: Phys) -> Result<()> {
        let Some(stored) = &self.stored else { return Ok(()) };
        let pages = page_down(range.start)..page_up(range.end);
        let first = Phys(phys.0 - (range.start - pages.start));
        // If they were cut off meanwhile, the write came before that.
        let is_ours = |state: &State| {
            let piece = state.pages.get(pages.start);
            piece.is_some_and(|(piece, at)| at.skip(pages.start - piece.start) == At(first))
        };
        if stored.policy == WritePolicy::Back {
            let mut state = self.state.lock();
            if is_ours(&state) {
                state.len = state.len.max(range.end);
                state.make_dirty(&self.ram, &pages);
            }
            drop(state);
            if self.ram.is_too_dirty() {
                self.ram.write_some_back(self.reach());
            }
            return Ok(());
        }
        let _io = stored.io.lock();
        if !is_ours(&self.state.lock()) {
            return Ok(());
        }
        match stored.store.write(&*self.ram.frames, range.start, phys, range.end - range.start) {
            Ok(()) => {
                let mut state = self.state.lock();
                state.len = state.len.max(range.end);
                state.backed_len = state.backed_len.max(range.end);
                Ok(())
            }
            Err(error) => {
                let mapped = self.state.lock().tracked.dirty.overlapping(pages.clone()).next().is_some();
                if !mapped {
                    // If that fails too, a later read of the file may see what could not be written.
                    let _ = stored.store.read(&*self.ram.frames, pages.start, first, pages.end - pages.start);
                }
                Err(error)
            }
        }
    }

    /// Writes the dirty pages of a range to the store. What cannot be written is dirty no more, as Linux has it; the error is
    /// kept for [`PageCache::sync`] too. Locks as for [`Ram::evict`].
    pub fn write_back(&self, range: Range<u64>) -> Result<()> {
        let Some(stored) = &self.stored else { return Ok(()) };
        if self.state.lock().tracked.dirty.overlapping(range.clone()).next().is_none() {
            // Somebody may be writing it just now.
            drop(stored.io.lock());
            return Ok(());
        }
        let _io = stored.io.lock();
        self.write_dirty(stored, range)
    }

    /// Writes everything dirty to the store, and says what failed since this was asked last.
    pub fn sync(&self) -> Result<()> {
        let result = self.write_back(0..u64::MAX);
        let failed = self.state.lock().tracked.failed.take();
        result.and(failed.map_or(Ok(()), Err))
    }

    /// See [`PageCache::write_back`]; `io` is held.
    fn write_dirty(&self, stored: &Stored, range: Range<u64>) -> Result<()> {
        // In this order: what is stored to the pages after they are protected makes them dirty again.
        let dirty = {
            let mut state = self.state.lock();
            let dirty = state.tracked.dirty.remove(range);
            self.ram.caches.count((0, 0), (0, bytes_of(&dirty)));
            dirty
        };
        let (Some((first, ())), Some((last, ()))) = (dirty.first(), dirty.last()) else { return Ok(()) };
        self.tell_mappers(|mapper| mapper.protect(self, first.start..last.end));
        let mut result = Ok(());
        for (piece, ()) in &dirty {
            let mut at = piece.start;
            while at < piece.end {
                let run = {
                    let state = self.state.lock();
                    match state.piece(at, WRITE_STEP.min(piece.end - at)) {
                        Piece::Ram(phys, len) => {
                            self.ram.hold(phys, page_up(len));
                            Ok((phys, len))
                        }
                        Piece::Hole(len) | Piece::Backing(len) => Err(len),
                        Piece::End => break,
                    }
                };
                match run {
                    Ok((phys, len)) => {
                        let written = stored.store.write(&*self.ram.frames, at, phys, len);
                        self.ram.release(phys, page_up(len));
                        if written.is_ok() {
                            let mut state = self.state.lock();
                            state.backed_len = state.backed_len.max((at + len).min(state.len));
                        }
                        result = result.and(written);
                        at += page_up(len);
                    }
                    Err(len) => at += page_up(len),
                }
            }
        }
        if let Err(error) = result {
            self.state.lock().tracked.failed = Some(error);
        }
        result
    }

    /// [`PageCache::truncate`] with the store.
    pub(super) fn truncate_stored(&self, stored: &Stored, len: u64) -> Result<()> {
        let _io = stored.io.lock();
        stored.store.set_len(len)?;
        self.cut(len);
        Ok(())
    }

    /// [`PageCache::punch_hole`] with the store.
    pub(super) fn punch_stored(&self, stored: &Stored, range: Range<u64>) -> Result<()> {
        let _io = stored.io.lock();
        stored.store.punch_hole(range.start, range.end - range.start)?;
        let whole = page_up(range.start)..page_down(range.end).max(page_up(range.start));
        let removed = {
            let mut state = self.state.lock();
            let range = intersect(&range, &(0..page_up(state.len)));
            for part in [range.start..whole.start.min(range.end), whole.end.max(range.start)..range.end] {
                if let (false, Some((piece, At(phys)))) = (part.is_empty(), state.pages.get(part.start)) {
                    self.ram.frames.zero(Phys(phys.0 + (part.start - piece.start)), part.end - part.start);
                }
            }
            self.cut_off(&mut state, whole.clone())
        };
        self.invalidate(whole, Lost::FilePages);
        self.drop_pages(removed);
        Ok(())
    }

    /// `SEEK_DATA` with the store.
    pub(super) fn next_stored(&self, stored: &Stored, offset: u64, wanted: Wanted) -> Result<u64> {
        let len = self.len();
        if offset >= len {
            return Err(ENXIO);
        }
        self.write_back(0..u64::MAX)?;
        let _io = stored.io.lock();
        match wanted {
            Wanted::Data => {
                stored.store.next_data(offset).and_then(|at| if at < len { Ok(at) } else { Err(ENXIO) })
            }
            Wanted::Hole => Ok(stored.store.next_hole(offset, len)?.min(len)),
        }
    }

    /// The store has become longer, not through the cache (`fallocate`).
    pub fn grow_to(&self, len: u64) {
        let mut state = self.state.lock();
        if len > state.len {
            self.zero_tail(&mut state);
            state.len = len;
        }
    }

    /// The store was changed by others, and has `len` bytes now: what is clean is forgotten, in mappings too; what is dirty
    /// stays, and goes over what they wrote. Locks as for [`Ram::evict`].
    pub fn changed_outside(&self, len: u64) {
        let Some(stored) = &self.stored else { return };
        let _io = stored.io.lock();
        self.invalidate(0..u64::MAX, Lost::Evicted);
        if len < self.len() {
            self.cut(len);
        }
        let kept: Pieces<At> = {
            let mut state = self.state.lock();
            state.len = state.len.max(len);
            state.backed_len = len;
            state.drop_unused(&self.ram, &(0..u64::MAX));
            let mut clean: RangeMap<At> = RangeMap::default();
            state.pages.overlapping(0..page_up(len)).for_each(|(piece, at)| clean.insert(piece, at));
            state.tracked.dirty.overlapping(0..u64::MAX).for_each(|(dirty, ())| drop(clean.remove(dirty)));
            clean.overlapping(0..u64::MAX).collect()
        };
        // Copied, locked in memory or mapped again just now: read anew where it is. Only `io` lets pages go meanwhile.
        for (piece, At(phys)) in kept {
            let _ = stored.store.read(&*self.ram.frames, piece.start, phys, piece.end - piece.start);
        }
    }

    /// Takes clean pages of a chunk that nobody maps, unless it was used lately.
    pub(in crate::mm) fn reclaim(ram: &Ram, cache: &PageCache, chunk: u64) -> Chunk {
        let Some(mut state) = cache.state.try_lock() else { return Chunk::Kept(0) };
        match state.tracked.chunks.get_mut(&chunk) {
            Some(used) if *used => {
                *used = false;
                Chunk::Kept(0)
            }
            _ => state.drop_chunk(ram, chunk),
        }
    }

    /// Takes all pages of a chunk, as far as that can be.
    pub(in crate::mm) fn evict(ram: &Ram, cache: &PageCache, chunk: u64) -> Chunk {
        let range = chunk * CHUNK..(chunk + 1) * CHUNK;
        let Some(stored) = &cache.stored else { return Chunk::Empty(0) };
        {
            // Whoever asks for RAM may be using this very store, or one that it shares something with.
            let Some(_io) = stored.io.try_lock() else { return Chunk::Kept(0) };
            if !stored.store.is_busy()
                && let Err(error) = cache.write_dirty(stored, range.clone())
            {
                log::error!("a file cannot be written back: {error:?}");
            }
        }
        cache.invalidate(range, Lost::Evicted);
        cache.state.lock().drop_chunk(ram, chunk)
    }

    /// Whether a chunk has any pages.
    pub(in crate::mm) fn look_at(&self, chunk: u64) -> Chunk {
        let Some(mut state) = self.state.try_lock() else { return Chunk::Kept(0) };
        state.left_of(chunk, 0)
    }

    /// The last reference goes: what is dirty is written, in vain or not. A file system has done so before.
    pub(super) fn finish(&self, stored: &Stored) {
        let _ = self.write_dirty(stored, 0..u64::MAX);
        let mut state = self.state.lock();
        let cached = state.pages.covered();
        state.pages_went(&self.ram, &(0..u64::MAX), cached);
    }
}

impl State {
    fn drop_chunk(&mut self, ram: &Ram, chunk: u64) -> Chunk {
        let freed = self.drop_unused(ram, &(chunk * CHUNK..(chunk + 1) * CHUNK));
        self.left_of(chunk, freed)
    }

    fn left_of(&mut self, chunk: u64, freed: u64) -> Chunk {
        if self.pages.overlapping(chunk * CHUNK..(chunk + 1) * CHUNK).next().is_some() {
            return Chunk::Kept(freed);
        }
        self.tracked.chunks.remove(&chunk);
        Chunk::Empty(freed)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
