//! Partition tables.

use kernel_core::block::partitions;
use kernel_core::block::testing::TestDisk;
use kernel_core::host::block;

const SECTOR: usize = block::SECTOR as usize;

/// The bytes are the disk, but for the first: it says whether checksums of a GPT are made right, which chance does not.
pub fn run(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let mut disk = data.to_vec();
    disk.resize(disk.len().next_multiple_of(SECTOR).max(4 * SECTOR), 0);
    if how & 1 != 0 {
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    }
    if how & 2 != 0 {
        let last = disk.len() / SECTOR - 1;
        for sector in [1, last] {
            make_right(&mut disk, sector);
        }
    }
    let size = disk.len() as u64;
    let found = partitions::find(&TestDisk::new(disk));
    assert!(found.len() <= 128);
    for partition in &found {
        let range = &partition.range;
        assert!(range.start < range.end && range.end <= size && range.start >= block::SECTOR);
        assert!(range.start.is_multiple_of(block::SECTOR) && range.end.is_multiple_of(block::SECTOR));
        assert!(partition.number > 0);
    }
    assert!(found.is_sorted_by_key(|partition| partition.number));
}

/// Makes the header in this sector, and its table, ones that say of themselves that they are right.
fn make_right(disk: &mut [u8], sector: usize) {
    let at = sector * SECTOR;
    let number = |disk: &[u8], offset: usize| {
        disk[at + offset..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)) as usize
    };
    disk[at..at + 8].copy_from_slice(b"EFI PART");
    disk[at + 24..at + 32].copy_from_slice(&(sector as u64).to_le_bytes());
    let (table, count, len) = (number(disk, 72), number(disk, 80), number(disk, 84));
    let bytes = count.checked_mul(len).and_then(|bytes| {
        let start = table.checked_mul(SECTOR)?;
        disk.get(start..start.checked_add(bytes)?)
    });
    let sum = crc32fast::hash(bytes.unwrap_or_default());
    disk[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    let header = number(disk, 12).clamp(92, SECTOR);
    disk[at + 16..at + 20].fill(0);
    let sum = crc32fast::hash(&disk[at..at + header]);
    disk[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
}
