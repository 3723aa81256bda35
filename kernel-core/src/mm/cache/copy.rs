//! Copies to and from the pages of a cache, which go on with the cache unlocked.

use alloc::vec::Vec;
use core::ops::Range;

use super::{At, MAX_FILE_LEN, PageCache, STEP, State, page_down, page_up};
use crate::errno::{EFBIG, ENOMEM, ENOSPC, Result};
use crate::host::Phys;
use crate::io::{Sink, Source};
use crate::mm::ram::Ram;
use crate::mm::range::{Pieces, Value, intersect};

/// A copy to or from pages of the cache that is under way.
pub(super) struct Copying {
    number: u64,
    /// The pages, as offsets into RAM.
    pub(super) pages: Range<u64>,
    /// What of them was cut off since, held for the copy.
    cut_off: Vec<(Phys, u64)>,
}

/// What is at an offset.
pub(super) enum Piece {
    /// Pages in RAM: so many bytes from the offset on.
    Ram(Phys, u64),
    /// Bytes of the backing.
    Backing(u64),
    /// Zeroes.
    Hole(u64),
    /// The file ends here.
    End,
}

impl State {
    /// What is at `offset`, for at most `wish` bytes.
    pub(super) fn piece(&self, offset: u64, wish: u64) -> Piece {
        if offset >= self.len {
            return Piece::End;
        }
        let end = self.len.min(offset + wish);
        let next_page = match self.pages.at_or_after(offset) {
            Some((pages, At(phys))) if pages.start <= offset => {
                let end = pages.end.min(end);
                let written = match self.unwritten.at_or_after(offset) {
                    Some((hole, ())) if hole.start <= offset => {
                        return Piece::Hole(end.min(hole.end) - offset);
                    }
                    Some((hole, ())) => end.min(hole.start),
                    None => end,
                };
                return Piece::Ram(Phys(phys.0 + (offset - pages.start)), written - offset);
            }
            Some((pages, _)) => pages.start,
            None => u64::MAX,
        };
        let end = end.min(next_page);
        match self.holes.at_or_after(offset) {
            Some((hole, ())) if hole.start <= offset => Piece::Hole(end.min(hole.end) - offset),
            _ if offset >= self.backed_len => Piece::Hole(end - offset),
            Some((hole, ())) => Piece::Backing(end.min(self.backed_len).min(hole.start) - offset),
            None => Piece::Backing(end.min(self.backed_len) - offset),
        }
    }

    /// A copy of `len` bytes at `phys` begins; gives its number, for [`PageCache::end_copy`].
    fn begin_copy(&mut self, phys: Phys, len: u64) -> u64 {
        self.last_copy += 1;
        let pages = page_down(phys.0)..page_up(phys.0 + len);
        self.copying.push(Copying { number: self.last_copy, pages, cut_off: Vec::new() });
        self.last_copy
    }

    /// Somebody gets these pages and may write to them, or they go: no page is unwritten any more.
    pub(super) fn may_be_written(&mut self, pages: &Range<u64>) {
        if self.unwritten.covered() > 0 {
            self.unwritten.remove(pages.clone());
        }
    }

    /// Takes pages out of the cache, and holds them for whoever copies them just now.
    pub(super) fn take_out(&mut self, ram: &Ram, range: Range<u64>) -> Pieces<At> {
        self.may_be_written(&range);
        let removed = self.pages.remove(range);
        for (piece, At(phys)) in &removed {
            let pages = phys.0..phys.0 + (piece.end - piece.start);
            for copy in &mut self.copying {
                let part = intersect(&copy.pages, &pages);
                if !part.is_empty() {
                    ram.hold(Phys(part.start), part.end - part.start);
                    copy.cut_off.push((Phys(part.start), part.end - part.start));
                }
            }
        }
        removed
    }
}

impl PageCache {
    /// Copies from `offset` on to `dst` until it is full or the file ends; 0 at and behind the end.
    /// EFAULT only if nothing was copied, and EIO and ENOMEM, over a store. Else it takes no RAM.
    pub fn read_at(&self, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let mut done = 0;
        while dst.remaining() > 0 {
            let at = offset.saturating_add(done as u64);
            let wish = STEP.min(dst.remaining() as u64);
            let (piece, copy) = {
                let mut state = self.state.lock();
                let piece = state.piece(at, wish);
                let copy = match piece {
                    Piece::Ram(phys, len) => {
                        self.touch(&mut state, &(at..at + len));
                        state.begin_copy(phys, len)
                    }
                    _ => 0,
                };
                (piece, copy)
            };
            let (result, len) = match piece {
                Piece::Ram(phys, len) => {
                    let result = dst.put_frames(&*self.ram.frames, phys, len as usize);
                    self.end_copy(&mut self.state.lock(), copy);
                    (result, len)
                }
                Piece::Backing(len) if self.tracks_stores() => {
                    match self.load(at, &(page_down(at)..page_up(at + len))) {
                        Ok(()) => continue,
                        error => (error.map(|()| 0), len),
                    }
                }
                Piece::Backing(len) => {
                    let bytes = self.backing.bytes().get(at as usize..(at + len) as usize);
                    (dst.put(bytes.unwrap_or_default()), len)
                }
                Piece::Hole(len) => (dst.put_zeros(len as usize), len),
                Piece::End => break,
            };
            match result {
                Ok(copied) => {
                    done += copied;
                    if (copied as u64) < len {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Copies all of `src` to `offset` and on, and makes the file longer if needed. Fewer bytes when RAM runs out or
    /// `src` faults; ENOSPC, EFBIG or EFAULT only if nothing was copied.
    pub fn write_at(&self, offset: u64, src: &mut dyn Source) -> Result<usize> {
        let mut done = 0;
        while src.remaining() > 0 {
            match self.write_step(offset.saturating_add(done as u64), src) {
                Ok((copied, wish)) => {
                    done += copied;
                    if copied < wish {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Copies a part of `src`; says how much, and how much it should have been.
    fn write_step(&self, offset: u64, src: &mut dyn Source) -> Result<(usize, usize)> {
        let wish = (src.remaining() as u64).min(STEP).min(MAX_FILE_LEN.saturating_sub(offset));
        if wish == 0 {
            return Err(EFBIG);
        }
        let first = page_down(offset);
        let around = first..page_up(offset + wish);
        let begin = |state: &mut State, pages: Range<u64>, phys: Phys| {
            if offset > state.len {
                self.zero_tail(state);
            }
            self.touch(state, &pages);
            let copy = state.begin_copy(phys, pages.end - pages.start);
            (pages, phys, copy)
        };
        let no_room = |error| if error == ENOMEM { ENOSPC } else { error };
        let (pages, phys, copy) = self.with_pages(first, &around, begin).map_err(no_room)?;
        let len = wish.min(pages.end - offset) as usize;
        let at = Phys(phys.0 + (offset - first));
        let mut result = src.take_frames(&*self.ram.frames, at, len);
        if let (true, Ok(copied @ 1..)) = (self.tracks_stores(), result) {
            result = self.wrote(&(offset..offset + copied as u64), at).map(|()| copied);
        }
        let mut state = self.state.lock();
        self.end_copy(&mut state, copy);
        // Pages that were cut off meanwhile: the write came before that.
        let ours = state.pages.get(first).is_some_and(|(piece, at)| at.skip(first - piece.start) == At(phys));
        if let (true, Ok(copied @ 1..)) = (ours, result) {
            state.len = state.len.max(offset + copied as u64);
        }
        if result != Ok(len) {
            let end = page_up(state.len);
            let excess = self.cut_off(&mut state, end.max(first)..pages.end.max(end));
            self.drop_pages(excess);
        }
        drop(state);
        result.map(|copied| (copied, len))
    }

    /// Like [`PageCache::write_at`] at the end of the file, which no other append gets as well. Gives the offset and
    /// how many bytes were written.
    pub fn append(&self, src: &mut dyn Source) -> Result<(u64, usize)> {
        let (start, end) = {
            let mut state = self.state.lock();
            self.zero_tail(&mut state);
            let start = state.len;
            let end = start.saturating_add(src.remaining() as u64).min(MAX_FILE_LEN);
            state.len = end;
            (start, end)
        };
        let result = self.write_at(start, src);
        let done = start + *result.as_ref().unwrap_or(&0) as u64;
        let mut state = self.state.lock();
        if done < end && state.len == end {
            state.len = done;
            let excess = page_up(done)..page_up(end).max(page_up(done));
            let excess = self.cut_off(&mut state, excess);
            self.drop_pages(excess);
        }
        result.map(|written| (start, written))
    }

    /// A copy is done.
    fn end_copy(&self, state: &mut State, number: u64) {
        let Some(index) = state.copying.iter().position(|copy| copy.number == number) else { return };
        let cut_off = state.copying.swap_remove(index).cut_off;
        if !cut_off.is_empty() {
            self.ram.release_all(cut_off);
        }
    }
}
