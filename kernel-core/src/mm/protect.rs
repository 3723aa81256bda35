//! `mprotect`. Source: `mprotect(2)`.

use core::ops::Range;

use linux_raw_sys::general as sys;

use crate::errno::{EACCES, EINVAL, ENOMEM, Result};
use crate::host::{Host, PAGE_SIZE, Prot};
use crate::mm::Mm;
use crate::mm::backing::{Back, Inner, Mapped};
use crate::mm::batch::Batch;
use crate::mm::map::prot_of;
use crate::mm::range::{Pieces, intersect};
use crate::mm::vma::{Vma, VmaFlags};

impl<H: Host> Mm<H> {
    /// `mprotect(2)`.
    pub fn mprotect(&self, addr: u64, len: u64, bits: u32) -> Result<()> {
        let grows = bits & (sys::PROT_GROWSDOWN | sys::PROT_GROWSUP);
        if grows == sys::PROT_GROWSDOWN | sys::PROT_GROWSUP || !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let end =
            len.checked_next_multiple_of(PAGE_SIZE).and_then(|len| addr.checked_add(len)).ok_or(ENOMEM)?;
        if (bits & !grows) & !(sys::PROT_READ | sys::PROT_WRITE | sys::PROT_EXEC | sys::PROT_SEM) != 0 {
            return Err(EINVAL);
        }
        let prot = prot_of(bits);
        self.change(|inner, batch| {
            let (first, vma) = inner.vmas.at_or_after(addr).ok_or(ENOMEM)?;
            let mut start = addr;
            if grows == sys::PROT_GROWSDOWN {
                if first.start >= end {
                    return Err(ENOMEM);
                }
                if !vma.flags.contains(VmaFlags::GROWS_DOWN) {
                    return Err(EINVAL);
                }
                start = first.start;
            } else if first.start > addr {
                return Err(ENOMEM);
            } else if grows == sys::PROT_GROWSUP {
                return Err(EINVAL);
            }
            self.protect_range(inner, batch, start..end, prot)
        })
    }

    /// Changes the accesses of all mappings in a range, up to the first that cannot have them.
    fn protect_range(
        &self,
        inner: &mut Inner,
        batch: &mut Batch,
        range: Range<u64>,
        prot: Prot,
    ) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let (whole, vma) = inner.vmas.get(at).ok_or(ENOMEM)?;
            let part = at..whole.end.min(range.end);
            at = part.end;
            if vma.prot == prot {
                continue;
            }
            if prot.contains(Prot::WRITE) {
                if !vma.flags.contains(VmaFlags::MAY_WRITE) {
                    return Err(EACCES);
                }
                let becomes_data = vma.is_private() && !vma.prot.contains(Prot::WRITE);
                if becomes_data && !vma.flags.contains(VmaFlags::NO_RESERVE) {
                    self.check_commit(part.end - part.start)?;
                }
            }
            inner.check_count(inner.vmas.splits(&part))?;
            let old = vma.clone();
            self.protect_pages(inner, batch, &part, &old, prot);
            inner.vmas.update(&part, |vma| vma.prot = prot);
        }
        Ok(())
    }

    /// Tells the host about what is in RAM.
    fn protect_pages(&self, inner: &mut Inner, batch: &mut Batch, part: &Range<u64>, old: &Vma, prot: Prot) {
        let new = Vma { prot, ..old.clone() };
        let pieces: Pieces<Back> = inner.backing.overlapping(part.clone()).collect();
        for (piece, back) in pieces {
            let piece = intersect(&piece, part);
            if back.mapped != Mapped::No && back.host_prot(old) != back.host_prot(&new) {
                batch.protect(piece.start, piece.end - piece.start, back.host_prot(&new));
            }
        }
    }
}
