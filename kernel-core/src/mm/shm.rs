//! Where System V shared memory is attached. Source: `shmop(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::ipc::sysv::shm::Attachment;
use crate::mm::Mm;
use crate::mm::map::{MapRequest, Object};
use crate::mm::vma::Vma;
use crate::vfs::file::OpenFile;

/// Where a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere.
    Free,
    /// At this address, where nothing may be: EINVAL.
    At(u64),
    /// At this address, instead of what is there (`SHM_REMAP`).
    Instead(u64),
}

/// The attachment that a mapping is of, and the mapping's offset in it.
fn attachment(vma: &Vma) -> Option<(&Arc<OpenFile>, u64)> {
    match &vma.object {
        Object::File { file: Some(file), offset, .. } if Attachment::of(file).is_some() => {
            Some((file, *offset))
        }
        _ => None,
    }
}

impl<H: Host> Mm<H> {
    /// Maps a segment whole and gives its address.
    pub fn attach(&self, place: Place, prot: u32, size: u64, object: Object) -> Result<u64> {
        let (addr, fixed) = match place {
            Place::Free => (0, 0),
            Place::At(addr) => (addr, sys::MAP_FIXED_NOREPLACE),
            Place::Instead(addr) => (addr, sys::MAP_FIXED),
        };
        let flags = sys::MAP_SHARED | fixed;
        let attached = self.mmap(&MapRequest { addr, len: size, prot, flags, object });
        attached.map_err(|errno| if errno == crate::errno::EEXIST { EINVAL } else { errno })
    }

    /// `shmdt(2)`: unmaps what is left of the segment that was attached at `addr`.
    pub fn detach(&self, addr: u64) -> Result<()> {
        self.change(|inner, batch| {
            let starts_there = |range: &Range<u64>, vma: &Vma| {
                attachment(vma).is_some_and(|(_, offset)| range.start.checked_sub(addr) == Some(offset))
            };
            let first = inner.vmas.overlapping(addr..u64::MAX).find(|(range, vma)| starts_there(range, vma));
            let (file, size) = first
                .and_then(|(_, vma)| attachment(vma))
                .and_then(|(file, _)| Some((file.clone(), Attachment::of(file)?.size())))
                .ok_or(EINVAL)?;
            let end = addr.saturating_add(size.next_multiple_of(PAGE_SIZE));
            let is_ours = |vma: &Vma| {
                let both =
                    attachment(vma).and_then(|(other, _)| Attachment::of(other)).zip(Attachment::of(&file));
                both.is_some_and(|(one, other)| one.is_same_segment(other))
            };
            let ours: Vec<Range<u64>> = inner
                .vmas
                .overlapping(addr..end)
                .filter(|(range, vma)| starts_there(range, vma) && is_ours(vma))
                .map(|(range, _)| range)
                .collect();
            ours.iter().for_each(|range| inner.unmap(range, batch));
            Ok(())
        })
    }
}
