//! What is done to a superblock and a journal before the library sees them, so that a power cut may come at any time.
//!
//! * A superblock has two sectors and one checksum: if only one of them was written, it is mended.
//! * A superblock that says that there is nothing to replay, over a journal that has something, makes it empty, as Linux does.
//! * A file system that is mounted to be written says so before anything is in its journal.
//!
//! Source: the kernel's `filesystems/ext4`.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use rsext4::crc32c::{crc32c_append, crc32c_init};

use super::extents::Extents;
use super::layout::Layout;
use crate::block::EXT_MAGIC;
use crate::block::le::{u16_at, u32_at};
use crate::errno::{EINVAL, Result};
use crate::host::block::{BlockDevice, SECTOR};

/// Where the superblock is, and its length.
pub(super) const SUPERBLOCK: u64 = 1024;
pub(super) const LEN: usize = 1024;

/// Of the superblock's incompatible features: the journal must be replayed.
const RECOVER: u32 = 4;

/// Whether this is a superblock with the checksum that it should have.
pub(super) fn is_whole(superblock: &[u8]) -> bool {
    let Some((rest, sum)) = superblock.split_last_chunk::<4>() else { return false };
    u16_at(superblock, 0x38) == EXT_MAGIC
        && (!is_summed(superblock) || crc32c_append(crc32c_init(), rest) == u32::from_le_bytes(*sum))
}

/// Whether what describes files has checksums.
pub(super) fn is_summed(superblock: &[u8]) -> bool {
    u32_at(superblock, 0x64) & 0x400 != 0
}

/// Whether a superblock has a journal.
pub(super) fn has_journal(superblock: &[u8]) -> bool {
    u32_at(superblock, 0x5c) & 4 != 0
}

/// Whether it says that the journal must be replayed.
pub(super) fn needs_recovery(superblock: &[u8]) -> bool {
    u32_at(superblock, 0x60) & RECOVER != 0
}

/// The superblock that says that the journal must be replayed, or that it need not be.
pub(super) fn with_recovery(superblock: &[u8], needed: bool) -> Vec<u8> {
    let mut new = superblock.to_vec();
    let flags = u32_at(superblock, 0x60);
    let flags = if needed { flags | RECOVER } else { flags & !RECOVER };
    put(&mut new, 0x60, flags.to_le_bytes());
    if is_summed(&new)
        && let Some((rest, sum)) = new.split_last_chunk_mut::<4>()
    {
        *sum = crc32c_append(crc32c_init(), rest).to_le_bytes();
    }
    new
}

/// Puts a number where it belongs, if there is room.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, number: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = number;
    }
}

fn write_superblock(device: &dyn BlockDevice, superblock: &[u8]) -> Result<()> {
    device.write(SUPERBLOCK, superblock)?;
    Ok(device.flush()?)
}

/// Writes the superblock again if only one of its sectors was written last. What it was to be is in the journal, or what it is but
/// for [`RECOVER`]. One that is damaged otherwise is left alone.
pub(super) fn mend(device: &dyn BlockDevice) -> Result<()> {
    let mut torn = vec![0; LEN];
    if device.size() < SUPERBLOCK + LEN as u64 {
        return Err(EINVAL);
    }
    device.read(SUPERBLOCK, &mut torn)?;
    if u16_at(&torn, 0x38) != EXT_MAGIC || is_whole(&torn) {
        return Ok(());
    }
    match other_half(&torn).or_else(|| in_journal(device, &torn)) {
        Some(whole) => write_superblock(device, &whole),
        None => Ok(()),
    }
}

/// The superblock that was torn, if it differs in what it says of the journal only.
fn other_half(torn: &[u8]) -> Option<Vec<u8>> {
    let mut other = with_recovery(torn, !needs_recovery(torn));
    let sum = torn.last_chunk::<4>()?;
    *other.last_chunk_mut()? = *sum;
    is_whole(&other).then_some(other)
}

/// The superblock in the journal that has one of the sectors.
fn in_journal(device: &dyn BlockDevice, torn: &[u8]) -> Option<Vec<u8>> {
    let layout = Layout::read(device).ok()?;
    let (size, half) = (layout.block_size, SECTOR as usize);
    let within = SUPERBLOCK % size;
    let mut bytes = vec![0; LEN];
    for block in journal(device, &layout, torn)?.into_iter().flatten() {
        device.read(block.checked_mul(size)? + within, &mut bytes).ok()?;
        if !is_whole(&bytes) {
            continue;
        }
        for whole in [with_recovery(&bytes, true), with_recovery(&bytes, false)] {
            if whole.get(..half) == torn.get(..half) || whole.get(half..) == torn.get(half..) {
                return Some(whole);
            }
        }
    }
    None
}

/// Before a file system is mounted to be written: its journal has nothing that is not to be replayed, and its superblock says that
/// it must be.
pub(super) fn begin(device: &dyn BlockDevice, layout: &Layout) -> Result<()> {
    let mut superblock = vec![0; LEN];
    device.read(SUPERBLOCK, &mut superblock)?;
    if !has_journal(&superblock) || needs_recovery(&superblock) || !is_whole(&superblock) {
        return Ok(());
    }
    let Some(blocks) = journal(device, layout, &superblock) else { return Ok(()) };
    let Some(first) = blocks.first().and_then(|run| run.start.checked_mul(layout.block_size)) else {
        return Ok(());
    };
    let mut head = vec![0; LEN];
    device.read(first, &mut head)?;
    if !is_journal_superblock(&head) {
        return Ok(());
    }
    if !is_empty(&head) {
        log::warn!("the journal is not to be replayed: it is made empty");
        empty(&mut head);
        device.write(first, &head)?;
        device.flush()?;
    }
    write_superblock(device, &with_recovery(&superblock, true))
}

/// Whether these bytes begin a journal.
pub(super) fn is_journal_superblock(block: &[u8]) -> bool {
    let is = |kind: u8| block.starts_with(&[0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, kind]);
    is(3) || is(4)
}

/// Whether a journal that begins so has nothing to be replayed.
pub(super) fn is_empty(journal: &[u8]) -> bool {
    u32_at(journal, 0x1c) == 0
}

/// Makes the journal that begins so empty. No number of a transaction that may be in it is used again.
fn empty(journal: &mut [u8]) {
    let number = |at| u32::swap_bytes(u32_at(journal, at));
    let next = number(0x18).wrapping_add(number(0x10));
    let is_summed = journal.get(7) == Some(&4) && number(0x28) & 0x18 != 0;
    put(journal, 0x18, next.to_be_bytes());
    put(journal, 0x1c, [0; 4]);
    if is_summed {
        put(journal, 0xfc, [0; 4]);
        let sum = crc32c_append(crc32c_init(), journal);
        put(journal, 0xfc, sum.to_be_bytes());
    }
}

/// The blocks of the journal, in order.
fn journal(device: &dyn BlockDevice, layout: &Layout, superblock: &[u8]) -> Option<Vec<Range<u64>>> {
    let inode = layout.raw_inode(device, u32_at(superblock, 0xe0))?;
    Some(Extents::of(device, layout, &inode)?.runs)
}
