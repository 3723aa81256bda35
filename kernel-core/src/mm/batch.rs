//! The changes of one operation on an address space: what the host is told, all at once, and what can only be given
//! back when it has been told.

use alloc::vec::Vec;

use crate::host::{Fill, MapOp, Phys, Prot};
use crate::mm::vma::Vma;

/// See the module.
#[derive(Default)]
pub struct Batch {
    /// For [`crate::host::Space::apply`].
    pub ops: Vec<MapOp>,
    /// RAM that is no longer held, once the host has unmapped it.
    pub release: Vec<(Phys, u64)>,
    /// Mappings removed; dropped without locks, as they may close files.
    pub removed: Vec<(u64, Vma)>,
}

impl Batch {
    /// Maps a range, if it is not empty. Joined with the op before if it goes on from there.
    pub fn map(&mut self, start: u64, size: u64, at: Phys, access: Prot, how: Fill) {
        if size == 0 {
            return;
        }
        if let Some(MapOp::Map { va, len, phys, prot, fill }) = self.ops.last_mut()
            && *va + *len == start
            && phys.0 + *len == at.0
            && (*prot, *fill) == (access, how)
        {
            *len += size;
        } else {
            self.ops.push(MapOp::Map { va: start, len: size, phys: at, prot: access, fill: how });
        }
        self.drop_replaced();
    }

    /// Drops the mappings that the last one replaces wholly: nobody has seen them.
    fn drop_replaced(&mut self) {
        while let [.., MapOp::Map { va: old, len: old_len, .. }, MapOp::Map { va, len, .. }] = *self.ops
            && va <= old
            && old + old_len <= va + len
        {
            self.ops.swap_remove(self.ops.len() - 2);
        }
    }

    /// Changes what may be done with a range that is mapped.
    pub fn protect(&mut self, start: u64, size: u64, access: Prot) {
        if let Some(MapOp::Protect { va, len, prot }) = self.ops.last_mut()
            && *va + *len == start
            && *prot == access
        {
            *len += size;
            return;
        }
        self.ops.push(MapOp::Protect { va: start, len: size, prot: access });
    }

    /// Unmaps a range.
    pub fn unmap(&mut self, start: u64, size: u64) {
        if let Some(MapOp::Unmap { va, len }) = self.ops.last_mut()
            && *va + *len == start
        {
            *len += size;
            return;
        }
        self.ops.push(MapOp::Unmap { va: start, len: size });
    }
}
