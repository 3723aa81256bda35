//! What of an address space a core file holds. Source: `core(5)`, with Linux's default filter: memory that is the
//! process's own or anonymous, and the first page of mapped files, by which debuggers know them.

use alloc::vec::Vec;
use core::ops::Range;

use crate::host::{Host, PAGE_SIZE, Prot};
use crate::mm::Mm;
use crate::mm::map::Object;
use crate::mm::vma::{Vma, VmaFlags};

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpPart {
    /// Its addresses.
    pub range: Range<u64>,
    /// Accesses allowed.
    pub prot: Prot,
    /// How many bytes from its start on are to be in the file.
    pub len: u64,
}

impl<H: Host> Mm<H> {
    /// All mappings, by address.
    pub fn dump_parts(&self) -> Vec<DumpPart> {
        let inner = self.contents.inner.lock();
        let part = |(range, vma): (Range<u64>, &Vma)| DumpPart {
            prot: vma.prot,
            len: (range.end - range.start).min(dump_limit(vma)),
            range,
        };
        inner.vmas.iter().map(part).collect()
    }

    /// The first part of `range`, which is in one mapping, that is not all zeroes for sure: of anonymous memory, what was
    /// touched.
    pub fn next_content(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let inner = self.contents.inner.lock();
        match inner.vmas.get(range.start)?.1.object {
            Object::File { .. } => Some(range.clone()),
            Object::Anonymous => {
                let (touched, _) = inner.backing.overlapping(range.clone()).next()?;
                Some(touched.start.max(range.start)..touched.end.min(range.end))
            }
        }
    }
}

/// How many bytes of a mapping are wanted at most.
fn dump_limit(vma: &Vma) -> u64 {
    match &vma.object {
        _ if vma.flags.contains(VmaFlags::DONT_DUMP) => 0,
        Object::Anonymous | Object::File { file: None, .. } => u64::MAX,
        // It may have been written.
        Object::File { .. } if vma.is_private() && vma.prot.contains(Prot::WRITE) => u64::MAX,
        Object::File { offset: 0, .. } if vma.prot.contains(Prot::READ) => PAGE_SIZE,
        Object::File { .. } => 0,
    }
}
