//! Mends the number of blocks of directories.
//!
//! `rsext4` 0.9.2 does not count a node that the tree of extents of a growing directory gets: `append_directory_block` of its
//! `hashtree/mutation.rs` reads the number before `insert_extent`, and sets it afterwards. Its users cannot set it. So it is
//! mended on the disk when the library has unmounted the file system: a sector each, so that a power cut does no harm.

use alloc::vec;

use rsext4::crc32c::{crc32c_append, crc32c_init};

use super::extents::Extents;
use super::layout::Layout;
use super::recovery::{LEN, SUPERBLOCK, is_summed, put};
use crate::block::le::{u16_at, u32_at};
use crate::errno::Result;
use crate::host::block::{BlockDevice, SECTOR};

/// Of an inode: it is a directory.
const DIRECTORY: u16 = 0x4000;
/// Flags: its blocks are counted in blocks; it has extents.
const HUGE_FILE: u32 = 0x4_0000;
const EXTENTS: u32 = 0x8_0000;
/// Where an inode has the two halves of its checksum.
const SUM: (usize, usize) = (0x7c, 0x82);

/// Mends the directories with these numbers, of a file system that nobody has mounted. What is not as expected is left alone.
pub(super) fn mend(
    device: &dyn BlockDevice,
    layout: &Layout,
    directories: impl Iterator<Item = u32>,
) -> Result<()> {
    let mut superblock = vec![0; LEN];
    device.read(SUPERBLOCK, &mut superblock)?;
    let mut mended = false;
    for number in directories {
        let Some(place) = layout.place_of(device, number) else { continue };
        let start = place - place % SECTOR;
        let within = (place - start) as usize;
        let mut sectors = vec![0; (within + layout.inode_size()).next_multiple_of(SECTOR as usize)];
        device.read(start, &mut sectors)?;
        let Some(inode) = sectors.get_mut(within..within + layout.inode_size()) else { continue };
        let Some(missing) = missing(device, layout, inode) else { continue };
        put(inode, 0x1c, u32_at(inode, 0x1c).saturating_add(missing).to_le_bytes());
        sum_up(&superblock, number, inode);
        device.write(start, &sectors)?;
        mended = true;
    }
    if mended {
        device.flush()?;
    }
    Ok(())
}

/// How many units of 512 bytes a directory has that are not counted; `None`: all are, or it is none with extents.
fn missing(device: &dyn BlockDevice, layout: &Layout, inode: &[u8]) -> Option<u32> {
    let flags = u32_at(inode, 0x20);
    let fits = u16_at(inode, 0) & 0xf000 == DIRECTORY && flags & EXTENTS != 0 && flags & HUGE_FILE == 0;
    if !fits || u16_at(inode, 0x74) != 0 {
        return None;
    }
    let extents = Extents::of(device, layout, inode)?;
    let attributes = u64::from(u32_at(inode, 0x68) != 0 || u16_at(inode, 0x76) != 0);
    let blocks = extents.blocks + u64::from(extents.nodes - 1) + attributes;
    let units = u32::try_from(blocks.checked_mul(layout.block_size / 512)?).ok()?;
    units.checked_sub(u32_at(inode, 0x1c)).filter(|&missing| missing > 0)
}

/// Makes the checksum right, if the file system has them.
fn sum_up(superblock: &[u8], number: u32, inode: &mut [u8]) {
    if !is_summed(superblock) {
        return;
    }
    let seed = match u32_at(superblock, 0x60) & 0x2000 {
        0 => crc32c_append(crc32c_init(), superblock.get(0x68..0x78).unwrap_or_default()),
        _ => u32_at(superblock, 0x270),
    };
    let has_high = inode.len() > 128 && u16_at(inode, 0x80) >= 4;
    put(inode, SUM.0, [0; 2]);
    if has_high {
        put(inode, SUM.1, [0; 2]);
    }
    let parts = [&number.to_le_bytes()[..], &u32_at(inode, 0x64).to_le_bytes(), inode];
    let sum = parts.iter().fold(seed, |sum, part| crc32c_append(sum, part));
    put(inode, SUM.0, (sum as u16).to_le_bytes());
    if has_high {
        put(inode, SUM.1, ((sum >> 16) as u16).to_le_bytes());
    }
}
