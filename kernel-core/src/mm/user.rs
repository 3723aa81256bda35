//! The only way to guest memory by guest addresses.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use smallvec::SmallVec;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::errno::{E2BIG, EAGAIN, EFAULT, EINVAL, ENAMETOOLONG, Result};
use crate::host::{Access, Frames, Host, PAGE_SIZE, Phys, Prot};
use crate::io::{Sink, Source, UserMemory};
use crate::mm::Mm;
use crate::mm::backing::{Inner, Mapped};
use crate::mm::batch::Batch;
use crate::mm::fault::{FaultError, Wanted};
use crate::mm::map::Object;

/// The most bytes one read or write moves (`MAX_RW_COUNT`).
pub const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// The most buffers of one vectored read or write (`UIO_MAXIOV`).
pub const MAX_IOVECS: u64 = 1024;

/// What a futex is at: equal for two addresses exactly if they are the same futex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FutexKey {
    /// Id of the address space, or of the page cache for memory that is mapped shared.
    pub object: u64,
    /// Address or offset in it.
    pub offset: u64,
}

/// One past the largest address a 47-bit user may name (`TASK_SIZE_MAX`).
const USER_END: u64 = 0x7fff_ffff_f000;

/// So many bytes are copied before others may use the address space.
const STEP: usize = 1 << 20;

/// How often a word is tried to be changed that others change at the same time, which they do not for ever.
pub const MOST_ATTEMPTS: usize = 128;

/// Who may use a futex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexScope {
    /// Threads of one address space (`FUTEX_PRIVATE_FLAG`).
    Private,
    /// Whoever maps the memory.
    Shared,
}

/// Whether the mapping's own accesses count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// What the guest may not do gives EFAULT.
    Obeyed,
    /// A debugger may read everything, and write to what is private.
    Overridden,
}

impl<H: Host> Mm<H> {
    /// Calls `copy` with each contiguous piece of RAM of a guest range, in order, and gives how many bytes that were:
    /// fewer than `len` where a page cannot be brought in for `access`.
    fn each_piece(
        &self,
        addr: u64,
        len: usize,
        access: Access,
        rights: Rights,
        mut copy: impl FnMut(Phys, usize),
    ) -> usize {
        let mut done = 0;
        let mut loads = 0;
        while done < len && !self.is_dead() {
            let (before, stop) = (done, len.min(done + STEP));
            let missed = self.change(|inner, batch| {
                while done < stop {
                    let Some(at) = addr.checked_add(done as u64) else { break };
                    let Some((phys, run)) = self.piece(inner, batch, at, access, rights) else { break };
                    let run = run.min((stop - done) as u64) as usize;
                    copy(phys, run);
                    done += run;
                }
                done < stop && inner.missed.is_some()
            });
            if done > before {
                loads = 0;
            }
            if missed {
                match self.load_again(&mut loads) {
                    Ok(()) => continue,
                    Err(FaultError::OutOfMemory) => self.starved.store(true, Ordering::Relaxed),
                    Err(_) => {}
                }
            }
            if done < stop {
                break;
            }
        }
        done
    }

    /// Where in RAM `addr` is, brought in for `access`, and for how many bytes.
    fn piece(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        addr: u64,
        access: Access,
        rights: Rights,
    ) -> Option<(Phys, u64)> {
        let is_ready = |mapped| access != Access::Write || mapped == Mapped::Full;
        if let (Some((range, vma)), Some((part, back))) = (inner.vmas.get(addr), inner.backing.get(addr)) {
            let allowed = match access {
                Access::Write => vma.prot.contains(Prot::WRITE),
                _ => !vma.prot.is_empty(),
            };
            if is_ready(back.mapped) && (allowed || rights == Rights::Overridden) {
                let end = part.end.min(range.end);
                return Some((Phys(back.phys.0 + (addr - part.start)), end - addr));
            }
        }
        let page = addr - addr % PAGE_SIZE;
        match rights {
            Rights::Obeyed => match self.resolve(inner, batch, addr, access, 0) {
                Ok(()) => {}
                Err(error) => {
                    if error == FaultError::OutOfMemory {
                        self.starved.store(true, Ordering::Relaxed);
                    }
                    return None;
                }
            },
            Rights::Overridden => {
                let (range, vma) = inner.vmas.get(addr)?;
                let vma = vma.clone();
                if access == Access::Write && !vma.is_private() && !vma.prot.contains(Prot::WRITE) {
                    return None;
                }
                self.settle(inner, batch, &Wanted { page, access, early: None }, &range, &vma).ok()?;
            }
        }
        let (range, _) = inner.vmas.get(addr)?;
        let (part, back) = inner.backing.get(addr).filter(|(_, back)| is_ready(back.mapped))?;
        Some((Phys(back.phys.0 + (addr - part.start)), part.end.min(range.end) - addr))
    }

    /// Reads for a debugger, whatever the mappings allow; how many bytes could be read.
    pub fn peek(&self, addr: u64, buf: &mut [u8]) -> usize {
        let mut done = 0;
        self.each_piece(addr, buf.len(), Access::Read, Rights::Overridden, |phys, run| {
            self.ram().frames.read(phys, &mut buf[done..done + run]);
            done += run;
        })
    }

    /// Writes for a debugger, to read-only private mappings too (they get a copy); how many bytes could be written.
    pub fn poke(&self, addr: u64, bytes: &[u8]) -> usize {
        let mut done = 0;
        self.each_piece(addr, bytes.len(), Access::Write, Rights::Overridden, |phys, run| {
            self.ram().frames.write(phys, &bytes[done..done + run]);
            done += run;
        })
    }
}

/// Copies within RAM, as `memmove`: a guest may have mapped the file that it reads to there.
fn move_frames(ram: &dyn Frames, dst: Phys, src: Phys, len: usize) {
    let (from, to, len) = (src.0, dst.0, len as u64);
    if from.abs_diff(to) >= len {
        return ram.copy(dst, src, len);
    }
    let mut buf = [0; 1024];
    let size = buf.len() as u64;
    let mut done = 0;
    while done < len {
        let run = size.min(len - done);
        let at = if to < from { done } else { len - done - run };
        let part = &mut buf[..run as usize];
        ram.read(Phys(from + at), part);
        ram.write(Phys(to + at), part);
        done += run;
    }
}

/// A guest's memory.
pub struct User<'a, H: Host> {
    mm: &'a Mm<H>,
}

impl<'a, H: Host> User<'a, H> {
    /// The memory of `mm`, which need not be the caller's own.
    pub fn new(mm: &'a Mm<H>) -> User<'a, H> {
        User { mm }
    }

    /// Fills `buf` from `addr`, or EFAULT.
    pub fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_some(addr, buf) == buf.len() { Ok(()) } else { Err(EFAULT) }
    }

    /// Fills as much of `buf` from `addr` on as can be read, and says how much.
    pub fn read_some(&self, addr: u64, buf: &mut [u8]) -> usize {
        let mut done = 0;
        self.mm.each_piece(addr, buf.len(), Access::Read, Rights::Obeyed, |phys, run| {
            self.mm.ram().frames.read(phys, &mut buf[done..done + run]);
            done += run;
        })
    }

    /// Writes all of `bytes` to `addr`, or EFAULT, and then a part may have been written.
    pub fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        let written = self.mm.each_piece(addr, bytes.len(), Access::Write, Rights::Obeyed, |phys, run| {
            self.mm.ram().frames.write(phys, &bytes[done..done + run]);
            done += run;
        });
        if written == bytes.len() { Ok(()) } else { Err(EFAULT) }
    }

    /// Reads a plain value.
    pub fn get<T: FromBytes + FromZeros + IntoBytes>(&self, addr: u64) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read_bytes(addr, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Reads a value of which the caller has `size` bytes: what it lacks is 0, and what is behind it must be: E2BIG.
    pub fn get_versioned<T: FromBytes + FromZeros + IntoBytes>(&self, addr: u64, size: usize) -> Result<T> {
        let mut value = T::new_zeroed();
        let mut done = size.min(size_of::<T>());
        self.read_bytes(addr, &mut value.as_mut_bytes()[..done])?;
        while done < size {
            let mut buf = [0; 256];
            let part = &mut buf[..(size - done).min(256)];
            self.read_bytes(addr.wrapping_add(done as u64), part)?;
            if part.iter().any(|byte| *byte != 0) {
                return Err(E2BIG);
            }
            done += part.len();
        }
        Ok(value)
    }

    /// Writes a plain value.
    pub fn set<T: IntoBytes + Immutable>(&self, addr: u64, value: &T) -> Result<()> {
        self.write_bytes(addr, value.as_bytes())
    }

    /// Bytes from `addr` on, at most [`MAX_RW_COUNT`]. EFAULT here only if the range leaves the user's addresses.
    pub fn reader(&self, addr: u64, len: u64) -> Result<Buffers<'a, H>> {
        let len = len.min(MAX_RW_COUNT);
        check_range(addr, len)?;
        let parts = SmallVec::from_slice(&[(addr, len)]);
        Ok(Buffers { mm: self.mm, parts, next: 0, left: len as usize })
    }

    /// Room from `addr` on, at most [`MAX_RW_COUNT`]. EFAULT here only if the range leaves the user's addresses.
    pub fn writer(&self, addr: u64, len: u64) -> Result<Buffers<'a, H>> {
        self.reader(addr, len)
    }

    /// The buffers of an iovec array, for reading or writing; EINVAL, EFAULT as `readv(2)`.
    pub fn buffers(&self, iovecs: u64, count: u64) -> Result<Buffers<'a, H>> {
        if count > MAX_IOVECS {
            return Err(EINVAL);
        }
        let mut raw: Vec<[u64; 2]> = Vec::new();
        raw.resize(count as usize, [0; 2]);
        self.read_bytes(iovecs, raw.as_mut_slice().as_mut_bytes())?;
        let mut parts = SmallVec::with_capacity(raw.len());
        let mut total = 0;
        for [addr, len] in raw {
            if i64::try_from(len).is_err() {
                return Err(EINVAL);
            }
            check_range(addr, len)?;
            let len = len.min(MAX_RW_COUNT - total);
            total += len;
            if len > 0 {
                parts.push((addr, len));
            }
        }
        Ok(Buffers { mm: self.mm, parts, next: 0, left: total as usize })
    }

    /// Buffers at these addresses, with these lengths.
    pub fn buffers_of(&self, parts: impl Iterator<Item = (u64, u64)>) -> Buffers<'a, H> {
        let parts: SmallVec<_> = parts.collect();
        let total = parts.iter().fold(0u64, |sum, (_, len)| sum.saturating_add(*len));
        Buffers { mm: self.mm, parts, next: 0, left: total.min(MAX_RW_COUNT) as usize }
    }

    /// The bytes of a string without its zero byte; ENAMETOOLONG if none comes within `max` bytes.
    pub fn read_cstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < max {
            let at = addr.checked_add(bytes.len() as u64).ok_or(EFAULT)?;
            // Up to 256 bytes inside one page: most names are short.
            let in_page = (PAGE_SIZE - at % PAGE_SIZE) as usize;
            let mut buf = [0; 256];
            let part = &mut buf[..in_page.min(256).min(max - bytes.len())];
            self.read_bytes(at, part)?;
            if let Some(end) = part.iter().position(|&byte| byte == 0) {
                bytes.extend_from_slice(&part[..end]);
                return Ok(bytes);
            }
            bytes.extend_from_slice(part);
        }
        Err(ENAMETOOLONG)
    }

    /// Atomically reads an aligned word; EFAULT, EINVAL if it is not aligned.
    pub fn load_u32(&self, addr: u64) -> Result<u32> {
        let mut value = Err(if addr.is_multiple_of(4) { EFAULT } else { EINVAL });
        if addr.is_multiple_of(4) {
            self.mm.each_piece(addr, 4, Access::Read, Rights::Obeyed, |phys, _| {
                value = Ok(self.mm.ram().frames.load_u32(phys));
            });
        }
        value
    }

    /// Atomically swaps an aligned word if it is `old`; the inner `Err` is the value found instead. EFAULT, EINVAL.
    pub fn compare_exchange_u32(&self, addr: u64, old: u32, new: u32) -> Result<Result<u32, u32>> {
        let mut value = Err(if addr.is_multiple_of(4) { EFAULT } else { EINVAL });
        if addr.is_multiple_of(4) {
            self.mm.each_piece(addr, 4, Access::Write, Rights::Obeyed, |phys, _| {
                value = Ok(self.mm.ram().frames.compare_exchange_u32(phys, old, new));
            });
        }
        value
    }

    /// Makes an aligned word what `new` gives for it, unless that is nothing, and gives what it was. EFAULT, EINVAL, EAGAIN
    /// if others change it all the time.
    pub fn update_u32(&self, addr: u64, new: impl Fn(u32) -> Option<u32>) -> Result<u32> {
        let mut old = self.load_u32(addr)?;
        for _ in 0..MOST_ATTEMPTS {
            let Some(new) = new(old) else { return Ok(old) };
            match self.compare_exchange_u32(addr, old, new)? {
                Ok(old) => return Ok(old),
                Err(found) => old = found,
            }
        }
        Err(EAGAIN)
    }

    /// The futex at an aligned address: EINVAL, EFAULT. Memory that is mapped shared has the same futexes for all who
    /// map it, unless the scope is private.
    pub fn futex_key(&self, addr: u64, scope: FutexScope) -> Result<FutexKey> {
        if !addr.is_multiple_of(4) {
            return Err(EINVAL);
        }
        check_range(addr, 4)?;
        if scope == FutexScope::Shared {
            let inner = self.mm.contents.inner.lock();
            let (range, vma) = inner.vmas.get(addr).ok_or(EFAULT)?;
            if let (false, Object::File { pages, offset, .. }) = (vma.is_private(), &vma.object) {
                return Ok(FutexKey { object: pages.id(), offset: offset + (addr - range.start) });
            }
        }
        Ok(FutexKey { object: self.mm.id(), offset: addr })
    }
}

/// `access_ok`: whether a range is inside what user addresses can be.
fn check_range(addr: u64, len: u64) -> Result<()> {
    if addr.checked_add(len).is_some_and(|end| end <= USER_END) { Ok(()) } else { Err(EFAULT) }
}

impl<H: Host> UserMemory for Mm<H> {
    fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        self.user().read_bytes(addr, buf)
    }

    fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.user().write_bytes(addr, bytes)
    }
}

/// One or several buffers of a guest, taken from the front on.
pub struct Buffers<'a, H: Host> {
    mm: &'a Mm<H>,
    /// Address and length of what is left of each, from `next` on.
    parts: SmallVec<[(u64, u64); 4]>,
    next: usize,
    left: usize,
}

impl<H: Host> Buffers<'_, H> {
    /// Cuts what is left to `len` bytes.
    pub fn limit(&mut self, len: usize) {
        self.left = self.left.min(len);
    }

    /// Calls `copy` with pieces of RAM for the next `len` bytes (or what is left), and how many came before. Gives how
    /// many bytes there were; EFAULT if none because of an address.
    fn advance(
        &mut self,
        len: usize,
        access: Access,
        mut copy: impl FnMut(&dyn Frames, Phys, usize, usize),
    ) -> Result<usize> {
        let len = len.min(self.left);
        let mut done = 0;
        while done < len {
            let Some((addr, part_len)) = self.parts.get_mut(self.next) else { break };
            let wish = (*part_len).min((len - done) as u64) as usize;
            let frames = &*self.mm.ram().frames;
            let mut before = done;
            let moved = self.mm.each_piece(*addr, wish, access, Rights::Obeyed, |phys, run| {
                copy(frames, phys, before, run);
                before += run;
            });
            done += moved;
            *addr += moved as u64;
            *part_len -= moved as u64;
            if *part_len == 0 {
                self.next += 1;
            }
            if moved < wish {
                break;
            }
        }
        self.left -= done;
        if done == 0 && len > 0 { Err(EFAULT) } else { Ok(done) }
    }
}

impl<H: Host> Sink for Buffers<'_, H> {
    fn remaining(&self) -> usize {
        self.left
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        self.advance(bytes.len(), Access::Write, |frames, phys, before, run| {
            frames.write(phys, &bytes[before..before + run]);
        })
    }

    fn put_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        self.advance(len, Access::Write, |_, phys, before, run| {
            move_frames(ram, phys, Phys(at.0 + before as u64), run);
        })
    }

    fn put_zeros(&mut self, len: usize) -> Result<usize> {
        self.advance(len, Access::Write, |frames, phys, _, run| frames.zero(phys, run as u64))
    }
}

impl<H: Host> Source for Buffers<'_, H> {
    fn remaining(&self) -> usize {
        self.left
    }

    fn take(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.advance(buf.len(), Access::Read, |frames, phys, before, run| {
            frames.read(phys, &mut buf[before..before + run]);
        })
    }

    fn peek(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut ahead = Buffers { mm: self.mm, parts: self.parts.clone(), next: self.next, left: self.left };
        ahead.take(buf)
    }

    fn take_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        self.advance(len, Access::Read, |_, phys, before, run| {
            move_frames(ram, Phys(at.0 + before as u64), phys, run);
        })
    }
}
