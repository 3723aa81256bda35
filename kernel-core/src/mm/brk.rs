//! The program break, and where the parts of an address space go. Source: `brk(2)`.

use crate::errno::{ENOMEM, Result};
use crate::host::{Host, PAGE_SIZE, Prot, Space};
use crate::mm::map::Object;
use crate::mm::vma::{Vma, VmaFlags};
use crate::mm::{Mm, fault::STACK_GAP};

/// The least room that is left for the stack.
const MIN_STACK_ROOM: u64 = 128 << 20;

/// How far Linux moves stacks, mappings and the heap at random, at most.
const STACK_RANDOM: u64 = 16 << 30;
const MMAP_RANDOM: u64 = 1 << 40;
const BRK_RANDOM: u64 = 32 << 20;

/// So much of a heap that grew is brought in at once: who asks for more heap is about to use it.
const EARLY_HEAP: u64 = 64 << 10;

impl<H: Host> Mm<H> {
    /// Decides, at random, where stack and mappings go: the stack at the top of the address space, mappings below the
    /// room that it may grow into.
    pub(super) fn place_areas(&self) {
        let limits = self.space.limits();
        let span = limits.end - limits.start;
        let stack_top = limits.end - self.random_pages(STACK_RANDOM.min(span / 64));
        let base = self.random_pages(MMAP_RANDOM.min(span / 16));
        let mut inner = self.contents.inner.lock();
        let room =
            inner.limits.stack.saturating_add(STACK_GAP).clamp(MIN_STACK_ROOM.min(span / 8), span / 6 * 5);
        let room = room - room % PAGE_SIZE;
        inner.layout.stack_start = stack_top;
        inner.mmap_top = stack_top.saturating_sub(room).saturating_sub(base).max(limits.start + span / 8);
        inner.mmap_top -= inner.mmap_top % PAGE_SIZE;
        inner.search_top = inner.mmap_top;
        inner.largest_hole = 0;
    }

    /// Where a position-independent program of `len` bytes goes: two thirds up, at random, aligned. ENOMEM.
    pub(super) fn place_program(&self, len: u64, align: u64) -> Result<u64> {
        let limits = self.space.limits();
        let span = limits.end - limits.start;
        let wish = limits.start + span / 3 * 2 + self.random_pages(MMAP_RANDOM.min(span / 16));
        let start = wish - wish % align.min(span / 16);
        let end = start.checked_add(len).filter(|&end| start >= limits.start && end <= limits.end);
        end.map(|_| start).ok_or(ENOMEM)
    }

    /// Where `len` bytes find room below the stack. ENOMEM.
    pub(super) fn find_room(&self, len: u64) -> Result<u64> {
        let len = len.checked_next_multiple_of(PAGE_SIZE).filter(|&len| len != 0).ok_or(ENOMEM)?;
        if len > self.space.limits().end {
            return Err(ENOMEM);
        }
        Ok(self.find_anywhere(&mut self.contents.inner.lock(), len)?.start)
    }

    /// Puts the heap's start behind the program's data, which ends at `end`.
    pub(super) fn place_brk(&self, end: u64) {
        let start = end.saturating_add(self.random_pages(BRK_RANDOM)).next_multiple_of(PAGE_SIZE);
        let mut inner = self.contents.inner.lock();
        inner.layout.brk_start = start;
        inner.brk = start;
    }

    /// `brk(2)`: the new break, or the old one if it cannot move.
    pub fn brk(&self, addr: u64) -> u64 {
        self.change(|inner, batch| {
            let old = inner.brk;
            let limits = self.space.limits();
            if addr < inner.layout.brk_start || addr > limits.end - PAGE_SIZE {
                return old;
            }
            let (mapped, wanted) = (old.next_multiple_of(PAGE_SIZE), addr.next_multiple_of(PAGE_SIZE));
            if wanted < mapped {
                if inner.check_count(1).is_err() {
                    return old;
                }
                inner.unmap(&(wanted..mapped), batch);
            } else if wanted > mapped {
                let next = inner.vmas.at_or_after(mapped);
                let guard = |grows: bool| if grows { STACK_GAP } else { 0 };
                let is_free = next.is_none_or(|(range, vma)| {
                    range.start >= wanted.saturating_add(guard(vma.flags.contains(VmaFlags::GROWS_DOWN)))
                });
                let len = wanted - mapped;
                let allowed = is_free
                    && inner.check_limits(len, true).is_ok()
                    && inner.check_count(1).is_ok()
                    && self.check_commit(len).is_ok();
                if !allowed {
                    return old;
                }
                let prot = Prot::READ | Prot::WRITE;
                let mut flags = VmaFlags::MAY_WRITE;
                flags.set(VmaFlags::LOCKED, inner.lock_future);
                inner.insert(mapped, Vma { end: wanted, prot, flags, object: Object::Anonymous });
                let soon = mapped..wanted.min(mapped.saturating_add(EARLY_HEAP));
                self.bring_in_early(inner, batch, soon);
            }
            inner.brk = addr;
            addr
        })
    }
}
