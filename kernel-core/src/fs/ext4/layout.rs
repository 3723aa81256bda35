//! What is read of the disk without the library: the superblock's features, and times of inodes with their
//! nanoseconds. Source: the kernel's `filesystems/ext4`.

use alloc::vec;

use rsext4::InodeInfo;

use crate::block::EXT_MAGIC;
use crate::block::le::{u16_at, u32_at};
use crate::errno::{EINVAL, Result};
use crate::host::block::{BlockDevice, SECTOR};
use crate::sync::Mutex;
use crate::vfs::inode::Timestamp;

/// Of the superblock.
pub(super) struct Layout {
    pub has_journal: bool,
    pub has_extents: bool,
    /// The journal must be replayed before anything else is looked at.
    pub needs_recovery: bool,
    pub block_size: u64,
    first_data_block: u64,
    inodes_per_group: u32,
    inode_size: u64,
    descriptor_size: u64,
    /// Group descriptors are where they always were.
    plain_groups: bool,
    /// A group of inodes, and where its table begins: that of the inode that was looked at last.
    last_table: Mutex<Option<(u64, u64)>>,
}

/// The times of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub btime: Timestamp,
}

impl Layout {
    /// Reads it; EINVAL if this is no ext2, ext3 or ext4, EIO.
    pub(super) fn read(device: &dyn BlockDevice) -> Result<Layout> {
        let mut block = vec![0; 1024];
        if device.size() < 2048 {
            return Err(EINVAL);
        }
        device.read(1024, &mut block)?;
        if u16_at(&block, 0x38) != EXT_MAGIC {
            return Err(EINVAL);
        }
        let (compat, incompat) = (u32_at(&block, 0x5c), u32_at(&block, 0x60));
        let old = u32_at(&block, 0x4c) == 0;
        let wide = incompat & 0x80 != 0;
        Ok(Layout {
            has_journal: compat & 4 != 0,
            has_extents: incompat & 0x40 != 0,
            needs_recovery: incompat & 4 != 0,
            block_size: 1024u64.checked_shl(u32_at(&block, 0x18)).unwrap_or(0),
            first_data_block: u64::from(u32_at(&block, 0x14)),
            inodes_per_group: u32_at(&block, 0x28),
            inode_size: if old { 128 } else { u64::from(u16_at(&block, 0x58)) },
            descriptor_size: if wide { u64::from(u16_at(&block, 0xfe)) } else { 32 },
            plain_groups: incompat & 0x10 == 0,
            last_table: Mutex::new(None),
        })
    }

    /// The times of inode `number` as the disk has them. `seconds` is what the library knows of them (atime, mtime, ctime,
    /// btime), without nanoseconds: where the disk has others, it is not up to date, and the library's count.
    pub(super) fn times(&self, device: &dyn BlockDevice, info: &InodeInfo) -> Times {
        let raw = self.raw_inode(device, info.number.raw()).unwrap_or_default();
        let extra_size = usize::from(u16_at(&raw, 0x80));
        let time = |low: u32, at: usize, extra_at: usize| {
            let has_extra = raw.len() > 128 && 0x80 + extra_size >= extra_at + 4;
            let extra = if has_extra && u32_at(&raw, at) == low { u32_at(&raw, extra_at) } else { 0 };
            let epoch = i64::from(extra & 3) << 32;
            // The bits below are nanoseconds, of which a damaged inode may have too many.
            Timestamp { sec: i64::from(low.cast_signed()) + epoch, nsec: (extra >> 2).min(999_999_999) }
        };
        Times {
            atime: time(info.atime, 0x08, 0x8c),
            mtime: time(info.mtime, 0x10, 0x88),
            ctime: time(info.ctime, 0x0c, 0x84),
            btime: time(info.btime, 0x90, 0x94),
        }
    }

    /// The bytes of an inode as the disk has them.
    pub(super) fn raw_inode(&self, device: &dyn BlockDevice, number: u32) -> Option<alloc::vec::Vec<u8>> {
        read(device, self.place_of(device, number)?, self.inode_size())
    }

    /// How many bytes an inode has.
    pub(super) fn inode_size(&self) -> usize {
        self.inode_size as usize
    }

    /// Where the bytes of an inode are.
    pub(super) fn place_of(&self, device: &dyn BlockDevice, number: u32) -> Option<u64> {
        if !self.plain_groups || !(128..=4096).contains(&self.inode_size) {
            return None;
        }
        let index = number.checked_sub(1)?;
        let group = u64::from(index.checked_div(self.inodes_per_group)?);
        let within = u64::from(index % self.inodes_per_group).checked_mul(self.inode_size)?;
        self.table_of(device, group)?.checked_add(within)
    }

    /// Where the inodes of a group are.
    fn table_of(&self, device: &dyn BlockDevice, group: u64) -> Option<u64> {
        if let Some((last, table)) = *self.last_table.lock()
            && last == group
        {
            return Some(table);
        }
        let descriptors = self.first_data_block.checked_add(1)?.checked_mul(self.block_size)?;
        let descriptor =
            read(device, descriptors.checked_add(group.checked_mul(self.descriptor_size)?)?, 64)?;
        let high = if self.descriptor_size >= 64 { u64::from(u32_at(&descriptor, 0x28)) << 32 } else { 0 };
        let table = (u64::from(u32_at(&descriptor, 8)) | high).checked_mul(self.block_size)?;
        *self.last_table.lock() = Some((group, table));
        Some(table)
    }
}

/// Any bytes of a device.
fn read(device: &dyn BlockDevice, offset: u64, len: usize) -> Option<alloc::vec::Vec<u8>> {
    let skip = (offset % SECTOR) as usize;
    let mut sectors = vec![0; (skip + len).next_multiple_of(SECTOR as usize)];
    device.read(offset - skip as u64, &mut sectors).ok()?;
    sectors.truncate(skip + len);
    Some(sectors.split_off(skip))
}
