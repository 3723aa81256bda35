//! Where the blocks of an inode are, as the disk has it: for what is read without the library.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::layout::Layout;
use crate::block::le::{u16_at, u32_at};
use crate::host::block::BlockDevice;

/// The deepest tree of extents.
const DEPTH: u16 = 5;
/// The most blocks: as many as `mke2fs` gives the largest journal. And the most nodes of a tree: an image may say what it likes.
const MOST_BLOCKS: u64 = 1 << 18;
const MOST_NODES: u32 = 1024;

/// The tree of extents of an inode.
pub(super) struct Extents {
    /// Blocks, in their order.
    pub runs: Vec<Range<u64>>,
    /// How many blocks that is.
    pub blocks: u64,
    /// How many nodes the tree has; the one in the inode counts.
    pub nodes: u32,
}

impl Extents {
    /// Of an inode with these bytes. `None`: the tree is damaged, or too large.
    pub(super) fn of(device: &dyn BlockDevice, layout: &Layout, inode: &[u8]) -> Option<Extents> {
        let mut extents = Extents { runs: Vec::new(), blocks: 0, nodes: 0 };
        extents.add(device, layout.block_size, inode.get(0x28..0x28 + 60)?, DEPTH)?;
        Some(extents)
    }

    /// Adds what is below a node of a file system with blocks of `size` bytes.
    fn add(&mut self, device: &dyn BlockDevice, size: u64, node: &[u8], deepest: u16) -> Option<()> {
        let (magic, count, depth) = (u16_at(node, 0), u16_at(node, 2), u16_at(node, 6));
        self.nodes += 1;
        let valid = magic == 0xf30a && depth <= deepest && (512..=65536).contains(&size);
        if !valid || self.nodes > MOST_NODES {
            return None;
        }
        for entry in node.get(12..)?.chunks_exact(12).take(usize::from(count)) {
            if depth == 0 {
                let start = u64::from(u16_at(entry, 6)) << 32 | u64::from(u32_at(entry, 8));
                let len = u64::from(u16_at(entry, 4));
                self.blocks += len.max(1);
                if self.blocks > MOST_BLOCKS {
                    return None;
                }
                self.runs.push(start..start + len);
                continue;
            }
            let below = u64::from(u16_at(entry, 8)) << 32 | u64::from(u32_at(entry, 4));
            let mut bytes = vec![0; size as usize];
            device.read(below.checked_mul(size)?, &mut bytes).ok()?;
            self.add(device, size, &bytes, depth - 1)?;
        }
        Some(())
    }
}
