//! Pending changes of a space, merged where neighbours fit, and their words in `mmap(2)`.

use std::ops::Range;

use kernel_core::host::{Fill, MapOp, Prot};

/// Changes in the order in which they were asked for.
#[derive(Default)]
pub struct Batch {
    ops: Vec<MapOp>,
}

impl Batch {
    /// Appends a change, or extends the last one by it.
    pub fn push(&mut self, op: MapOp) {
        if let Some(merged) = self.ops.last().and_then(|last| merge(last, &op)) {
            self.ops.pop();
            self.ops.push(merged);
        } else {
            self.ops.push(op);
        }
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many changes are pending.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// What is pending.
    pub fn ops(&self) -> &[MapOp] {
        &self.ops
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ops.clear();
    }
}

/// One change that does the same as `first` and then `second`, if there is one.
fn merge(first: &MapOp, second: &MapOp) -> Option<MapOp> {
    match (*first, *second) {
        (
            MapOp::Map { va, len, phys, prot, fill },
            MapOp::Map { va: next, len: more, phys: next_phys, prot: next_prot, fill: next_fill },
        ) => {
            let fits =
                va + len == next && phys.0 + len == next_phys.0 && prot == next_prot && fill == next_fill;
            fits.then_some(MapOp::Map { va, len: len + more, phys, prot, fill })
        }
        (MapOp::Unmap { va, len }, MapOp::Unmap { va: next, len: more }) => {
            if va + len == next {
                Some(MapOp::Unmap { va, len: len + more })
            } else {
                (next + more == va).then_some(MapOp::Unmap { va: next, len: len + more })
            }
        }
        (MapOp::Protect { va, len, prot }, MapOp::Protect { va: next, len: more, prot: next_prot }) => {
            (va + len == next && prot == next_prot).then_some(MapOp::Protect { va, len: len + more, prot })
        }
        // A range that is mapped anew need not be unmapped before.
        (MapOp::Unmap { va, len }, MapOp::Map { va: next, len: more, .. }) => {
            (next <= va && va + len <= next + more).then_some(*second)
        }
        _ => None,
    }
}

/// Panics if a change is not inside the limits of its space, which is the kernel's fault.
pub fn assert_inside(op: &MapOp, limits: &Range<u64>) {
    let (MapOp::Map { va, len, .. } | MapOp::Unmap { va, len } | MapOp::Protect { va, len, .. }) = *op;
    let inside = va.checked_add(len).is_some_and(|end| limits.start <= va && end <= limits.end);
    assert!(inside, "{len:#x} bytes at {va:#x} are outside the limits of a space");
}

/// How RAM is mapped into a guest's addresses.
pub fn mmap_flags(fill: Fill) -> i32 {
    let populate = if fill == Fill::Now { libc::MAP_POPULATE } else { 0 };
    libc::MAP_SHARED | libc::MAP_FIXED | populate
}

/// What can be executed can be read too: without that, the host would take a protection key of the guest's registers.
pub fn protection(prot: Prot) -> i32 {
    let pairs = [
        (Prot::READ, libc::PROT_READ),
        (Prot::WRITE, libc::PROT_WRITE),
        (Prot::EXEC, libc::PROT_EXEC | libc::PROT_READ),
    ];
    pairs.into_iter().filter(|(flag, _)| prot.contains(*flag)).fold(0, |bits, (_, bit)| bits | bit)
}

#[cfg(test)]
mod tests {
    use kernel_core::host::Phys;

    use super::*;

    fn map(va: u64, phys: u64) -> MapOp {
        MapOp::Map { va, len: 4096, phys: Phys(phys), prot: Prot::READ, fill: Fill::Lazy }
    }

    #[test]
    fn neighbours_merge_and_others_do_not() {
        let mut batch = Batch::default();
        batch.push(MapOp::Unmap { va: 0x1000, len: 4096 });
        batch.push(map(0x1000, 0x7000));
        batch.push(map(0x2000, 0x8000));
        assert_eq!(batch.len(), 1);
        batch.push(map(0x3000, 0x8000));
        assert_eq!(batch.len(), 2);
        batch.push(MapOp::Unmap { va: 0x9000, len: 4096 });
        batch.push(MapOp::Unmap { va: 0x8000, len: 4096 });
        assert_eq!(batch.len(), 3);
    }
}
