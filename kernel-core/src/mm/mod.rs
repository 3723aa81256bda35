//! Memory: guest RAM, the contents of files in it, and guest address spaces.
//!
//! [`ram::Ram`] says which physical ranges are in use and by how many. [`cache::PageCache`] is a file's bytes in it.
//! [`Mm`] is one guest address space: what is mapped where (`vma`), which of it is in RAM (`backing`), and what the
//! host was told. [`user::User`] is how the rest of the kernel reaches a guest's memory.
//!
//! Invariant: every range in RAM that an address space has in its backing is held once for it in [`ram::Ram`]. A
//! private page may be written in place exactly if nobody else holds it.
//!
//! Invariant: what is unmapped is given back only after the host has said that no guest can reach it (`batch`).
pub mod advise;
mod backing;
mod batch;
mod brk;
pub mod cache;
pub mod dump;
pub mod elf;
pub mod fault;
mod fork;
pub mod info;
pub mod map;
mod protect;
pub mod ram;
pub mod range;
pub mod reclaim;
mod remap;
mod rewrite;
pub mod script;
pub mod shm;
pub mod stack;
#[cfg(test)]
mod tests;
pub mod user;
mod vma;
mod window;

use alloc::sync::{Arc, Weak};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::errno::{EINVAL, Result};
use crate::host::{Host, PAGE_SIZE, Space};
use crate::ipc::aio::AioContexts;
use crate::mm::backing::{Back, Inner, Kind, Mapped};
use crate::mm::batch::Batch;
use crate::mm::cache::{Lost, Mapper, PageCache};
use crate::mm::info::Layout;
use crate::mm::map::Object;
use crate::mm::ram::Ram;
use crate::mm::range::{RangeMap, intersect};
use crate::mm::rewrite::Rewritten;
use crate::mm::user::User;
use crate::mm::vma::{VmaFlags, Vmas};
use crate::mm::window::{Cut, Windows};
use crate::sync::Mutex;

/// Resource limits that an address space obeys, in bytes (`getrlimit(2)`); `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmLimits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`; give `u64::MAX` for a holder of `CAP_IPC_LOCK`.
    pub memlock: u64,
}

impl Default for MmLimits {
    /// Linux's defaults: 8 MiB of stack and of locked memory, no other limit.
    fn default() -> Self {
        MmLimits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, memlock: 8 << 20 }
    }
}

/// A guest address space. When the last reference goes, everything in it is given back.
pub struct Mm<H: Host> {
    // Dropped before what is mapped in it.
    space: H::Space,
    contents: Contents,
    host: Arc<H>,
    id: u64,
    dead: AtomicBool,
    /// A copy to or from it ended for want of RAM.
    starved: AtomicBool,
    /// Contexts of asynchronous I/O.
    pub(crate) aio: AioContexts,
    /// Nothing is placed at random.
    is_fixed: AtomicBool,
    /// The `membarrier` commands that it is registered for.
    pub(crate) membarrier: AtomicU32,
    /// What was where there is code in a host's form now, see [`rewrite`].
    rewritten: Mutex<Rewritten>,
    this: Weak<Mm<H>>,
}

/// What is mapped; gives its RAM back when dropped.
struct Contents {
    ram: Arc<Ram>,
    id: u64,
    inner: Mutex<Inner>,
}

impl<H: Host> Mm<H> {
    /// An empty address space; `including` as for [`Host::new_space`].
    pub fn new(host: &Arc<H>, ram: &Arc<Ram>, including: Range<u64>) -> Result<Arc<Mm<H>>> {
        let space = host.new_space(including)?;
        let limits = space.limits();
        let top = limits.end - (limits.end - limits.start) / 8 / PAGE_SIZE * PAGE_SIZE;
        let inner = Inner {
            vmas: Vmas::default(),
            backing: RangeMap::default(),
            windows: Windows::new(ram, Cut::Large),
            limits: MmLimits::default(),
            layout: Layout::default(),
            brk: 0,
            mmap_top: top,
            search_top: top,
            largest_hole: 0,
            lock_future: false,
            peak: (0, 0),
            faults: 0,
            sequence: (0, 0),
            spurious: (0, 0, 0),
            limbo: alloc::vec::Vec::new(),
            missed: None,
            dead: false,
        };
        let id = ram.next_id();
        let contents = Contents { ram: ram.clone(), id, inner: Mutex::new(inner) };
        Ok(Arc::new_cyclic(|this| Mm {
            space,
            contents,
            host: host.clone(),
            id,
            dead: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            aio: AioContexts::default(),
            is_fixed: AtomicBool::new(false),
            membarrier: AtomicU32::new(0),
            rewritten: Mutex::default(),
            this: this.clone(),
        }))
    }

    /// What [`Host::run`] runs in.
    pub fn space(&self) -> &H::Space {
        &self.space
    }

    /// Differs from that of every other address space and page cache that ever was.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the host lost the space. Its process must be killed (SIGKILL): it cannot run any more.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Whether RAM ran out under a copy to or from it since this was asked last: what gave EFAULT then was no bad address.
    pub fn take_starved(&self) -> bool {
        // Every system call asks, and hardly ever is there anything to clear.
        self.starved.load(Ordering::Relaxed) && self.starved.swap(false, Ordering::Relaxed)
    }

    /// Sets the limits that later calls obey; after exec, fork and `prlimit`.
    pub fn set_limits(&self, limits: MmLimits) {
        self.contents.inner.lock().limits = limits;
    }

    /// The limits it obeys.
    pub fn limits(&self) -> MmLimits {
        self.contents.inner.lock().limits
    }

    /// Gives all memory back early; nothing runs in it any more.
    pub fn release(&self) {
        let limits = self.space.limits();
        self.change(|inner, batch| inner.unmap(&limits, batch));
    }

    /// Access to its memory.
    pub fn user(&self) -> User<'_, H> {
        User::new(self)
    }

    fn ram(&self) -> &Arc<Ram> {
        &self.contents.ram
    }

    /// Changes the address space: `f` changes our view and lists what the host must be told, which is told before
    /// anybody else looks. What is not needed any more is given back afterwards.
    fn change<R>(&self, f: impl FnOnce(&mut Inner, &mut Batch) -> R) -> R {
        let mut batch = Batch::default();
        let result = {
            let mut inner = self.contents.inner.lock();
            let result = f(&mut inner, &mut batch);
            self.tell_host(&mut inner, &mut batch);
            result
        };
        if !batch.release.is_empty() {
            self.ram().release_all(batch.release);
        }
        result
    }

    /// Has the host make the changes of a batch. What it lists for release may be released then.
    fn tell_host(&self, inner: &mut Inner, batch: &mut Batch) {
        if !batch.ops.is_empty() {
            inner.spurious = (0, 0, 0);
            if !inner.dead && self.space.apply(&batch.ops).is_err() {
                inner.dead = true;
                self.dead.store(true, Ordering::Relaxed);
            }
            batch.ops.clear();
        }
        if inner.dead {
            inner.limbo.append(&mut batch.release);
        }
    }

    /// A page-aligned range of `len` bytes, rounded up, inside the usable addresses; EINVAL.
    fn range(&self, addr: u64, len: u64) -> Result<Range<u64>> {
        let end =
            addr.checked_add(len).and_then(|end| end.checked_next_multiple_of(PAGE_SIZE)).ok_or(EINVAL)?;
        if !addr.is_multiple_of(PAGE_SIZE) || end > self.space.limits().end {
            Err(EINVAL)
        } else {
            Ok(addr..end)
        }
    }

    /// Bytes nobody can predict.
    fn entropy(&self, buf: &mut [u8]) {
        self.host.entropy(buf);
    }

    /// From now on nothing is placed at random.
    pub(crate) fn stop_randomizing(&self) {
        self.is_fixed.store(true, Ordering::Relaxed);
    }

    /// A random multiple of the page size below `below`.
    fn random_pages(&self, below: u64) -> u64 {
        if self.is_fixed.load(Ordering::Relaxed) {
            return 0;
        }
        let mut bytes = [0; 8];
        self.host.entropy(&mut bytes);
        let pages = (below / PAGE_SIZE).max(1);
        u64::from_ne_bytes(bytes) % pages * PAGE_SIZE
    }
}

impl<H: Host> Mapper for Mm<H> {
    fn invalidate(&self, cache: &PageCache, range: Range<u64>, lost: Lost) {
        self.change(|inner, batch| {
            let mut gone = alloc::vec::Vec::new();
            for (vma_range, vma) in inner.vmas.iter() {
                let Object::File { pages, offset, .. } = &vma.object else { continue };
                let kept = lost == Lost::Evicted && vma.flags.contains(VmaFlags::LOCKED);
                if pages.id() != cache.id() || kept {
                    continue;
                }
                let mapped = *offset..offset + (vma_range.end - vma_range.start);
                let cut = intersect(&mapped, &range);
                let there = vma_range.start + (cut.start - offset)..vma_range.start + (cut.end - offset);
                for (piece, back) in inner.backing.overlapping(there) {
                    if lost == Lost::Everything || back.kind == Kind::File {
                        gone.push(piece);
                    }
                }
            }
            gone.into_iter().for_each(|piece| inner.drop_pages(&piece, batch));
        });
    }

    fn protect(&self, cache: &PageCache, range: Range<u64>) {
        self.change(|inner, batch| {
            let mut written = alloc::vec::Vec::new();
            for (vma_range, vma) in inner.vmas.iter() {
                let Object::File { pages, offset, .. } = &vma.object else { continue };
                if pages.id() != cache.id() || vma.is_private() {
                    continue;
                }
                let mapped = *offset..offset + (vma_range.end - vma_range.start);
                let cut = intersect(&mapped, &range);
                let there = vma_range.start + (cut.start - offset)..vma_range.start + (cut.end - offset);
                for (piece, back) in inner.backing.overlapping(there) {
                    if back.mapped == Mapped::Full {
                        let back = Back { mapped: Mapped::ReadOnly, ..back };
                        written.push((piece, back, back.host_prot(vma)));
                    }
                }
            }
            for (piece, back, prot) in written {
                batch.protect(piece.start, piece.end - piece.start, prot);
                inner.backing.insert(piece, back);
            }
        });
    }

    fn may_write(&self, cache: &PageCache) -> bool {
        let inner = self.contents.inner.lock();
        inner.vmas.iter().any(|(_, vma)| {
            let maps = matches!(&vma.object, Object::File { pages, .. } if pages.id() == cache.id());
            maps && vma.flags.contains(VmaFlags::SHARED | VmaFlags::MAY_WRITE)
        })
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        let mut batch = Batch::default();
        {
            let mut inner = self.inner.lock();
            for (_, vma) in inner.vmas.iter() {
                if let Object::File { pages, .. } = &vma.object {
                    pages.remove_mapper(self.id);
                }
            }
            inner.unmap(&(0..u64::MAX), &mut batch);
            batch.release.append(&mut inner.limbo);
        }
        self.ram.release_all(batch.release);
    }
}
