//! Partition tables, volumes, disks in memory.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::memory::MemoryOverlay;
use super::partitions::find;
use super::testing::{Random, TestDisk};
use super::*;
use crate::vfs::testing::World;

const MIB: u64 = 1 << 20;

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// Writes entry `index` of the MBR in the sector at `sector`: type, start and length in sectors.
fn mbr_entry(bytes: &mut [u8], sector: usize, index: usize, kind: u8, start: u32, len: u32) {
    let at = sector * 512;
    put(bytes, at + 510, &[0x55, 0xaa]);
    put(bytes, at + 446 + 16 * index + 4, &[kind]);
    put(bytes, at + 446 + 16 * index + 8, &start.to_le_bytes());
    put(bytes, at + 446 + 16 * index + 12, &len.to_le_bytes());
}

fn gpt(bytes: &mut [u8], header_at: usize, table_at: usize, parts: &[(u64, u64)]) {
    let mut table = vec![0; 128 * 128];
    for (entry, &(first, last)) in table.chunks_mut(128).zip(parts) {
        entry[0] = 1;
        put(entry, 32, &first.to_le_bytes());
        put(entry, 40, &last.to_le_bytes());
    }
    let mut header = vec![0; 92];
    put(&mut header, 0, b"EFI PART");
    put(&mut header, 12, &92u32.to_le_bytes());
    put(&mut header, 24, &(header_at as u64).to_le_bytes());
    put(&mut header, 72, &(table_at as u64).to_le_bytes());
    put(&mut header, 80, &128u32.to_le_bytes());
    put(&mut header, 84, &128u32.to_le_bytes());
    put(&mut header, 88, &crc32fast::hash(&table).to_le_bytes());
    let sum = crc32fast::hash(&header);
    put(&mut header, 16, &sum.to_le_bytes());
    put(bytes, header_at * 512, &header);
    put(bytes, table_at * 512, &table);
}

fn found(bytes: &[u8]) -> Vec<(u32, u64, u64)> {
    let parts = find(&TestDisk::new(bytes.to_vec()));
    parts.iter().map(|part| (part.number, part.range.start / 512, part.range.end / 512)).collect()
}

#[test]
fn mbr_partitions_have_numbers_by_their_place() {
    let mut disk = vec![0; MIB as usize];
    assert!(found(&disk).is_empty());
    mbr_entry(&mut disk, 0, 0, 0x83, 8, 8);
    mbr_entry(&mut disk, 0, 2, 0x83, 2040, 9);
    mbr_entry(&mut disk, 0, 3, 0x05, 100, 200);
    mbr_entry(&mut disk, 100, 0, 0x83, 2, 10);
    mbr_entry(&mut disk, 100, 1, 0x05, 50, 20);
    mbr_entry(&mut disk, 150, 0, 0x82, 1, 10);
    // The third goes beyond the end of the disk, and is left out.
    assert_eq!(found(&disk), [(1, 8, 16), (5, 102, 112), (6, 151, 161)]);
    // A chain that bites its tail ends.
    mbr_entry(&mut disk, 150, 1, 0x05, 50, 20);
    assert!(found(&disk).len() <= 128);
    // A boot sector of a file system is no partition table.
    disk[446] = 0x12;
    assert!(found(&disk).is_empty());
}

#[test]
fn gpt_partitions_need_right_checksums() {
    let mut disk = vec![0; MIB as usize];
    mbr_entry(&mut disk, 0, 0, 0xee, 1, 2047);
    gpt(&mut disk, 1, 2, &[(40, 99), (0, 0), (100, 199), (2000, 99999), (500, 400)]);
    let parts = [(1, 40, 100), (3, 100, 200)];
    assert_eq!(found(&disk), parts);
    gpt(&mut disk, 2047, 2015, &[(40, 99), (0, 0), (100, 199)]);
    disk[512 + 40] ^= 1;
    assert_eq!(found(&disk), parts, "the backup does");
    disk[2015 * 512 + 3] ^= 1;
    assert!(found(&disk).is_empty());
}

#[test]
fn tables_of_any_bytes_do_no_harm() {
    let mut base = vec![0; MIB as usize];
    mbr_entry(&mut base, 0, 0, 0xee, 1, 2047);
    gpt(&mut base, 1, 2, &[(40, 99), (100, 199)]);
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut disk = base.clone();
        for _ in 0..random.below(40) + 1 {
            let at = random.below(2048) as usize;
            disk[at] = random.any() as u8;
        }
        for (_, start, end) in found(&disk) {
            assert!(start < end && end <= MIB / 512);
        }
    }
}

#[test]
fn partitions_are_disks_that_end_where_they_end() {
    let mut bytes = vec![0; MIB as usize];
    mbr_entry(&mut bytes, 0, 0, 0x83, 8, 8);
    let disks = Disks::default();
    disks.add(1, Arc::new(TestDisk::new(bytes)));
    disks.add(0, Arc::new(TestDisk::empty(MIB)));
    disks.add(26, Arc::new(TestDisk::empty(MIB)));
    let names: Vec<_> =
        disks.volumes().iter().map(|volume| (volume.name.clone(), volume.number.minor)).collect();
    assert_eq!(names, [("ubda".into(), 0), ("ubdb".into(), 16), ("ubdb1".into(), 17)]);
    let part = disks.volume(Device::new(MAJOR, 17)).unwrap();
    let whole = disks.volume(Device::new(MAJOR, 16)).unwrap();
    part.write(0, &[7; 512]).unwrap();
    let mut sector = [0; 512];
    whole.read(8 * 512, &mut sector).unwrap();
    assert_eq!(sector, [7; 512]);
    assert_eq!(part.write(7 * 512, &[0; 1024]), Err(BlockError::OutOfRange));
    let claim = part.claim().unwrap();
    assert!(part.claim().is_err());
    assert_eq!(disks.rescan(&whole).unwrap_err(), EBUSY);
    drop(claim);
    whole.write(0, &[0; 512]).unwrap();
    disks.rescan(&whole).unwrap();
    assert_eq!(disks.volumes().len(), 2);
    let text = String::from_utf8(disks.partitions_text()).unwrap();
    assert_eq!(
        text,
        "major minor  #blocks  name\n\n  98        0       1024 ubda\n  98       16       1024 ubdb\n"
    );
}

#[test]
fn zeros_are_written_only_where_a_disk_cannot_give_room_back() {
    let mut bytes = vec![7; MIB as usize];
    bytes[..512].fill(0);
    mbr_entry(&mut bytes, 0, 0, 0x83, 8, 1000);
    let disk = Arc::new(TestDisk::new(bytes));
    let disks = Disks::default();
    disks.add(0, disk.clone());
    let part = disks.volume(Device::new(MAJOR, 1)).unwrap();
    part.zero(512..512 * 900).unwrap();
    assert_eq!(disk.changes(), 1);
    let wrong = |bytes: &[u8], zero: Range<usize>| {
        bytes.iter().enumerate().skip(512).any(|(at, &byte)| (byte == 0) != zero.contains(&at))
    };
    assert!(!wrong(&disk.bytes(), 512 * 9..512 * 908));
    assert_eq!(part.zero(0..512 * 1001), Err(BlockError::OutOfRange));
    let services = World::new().services;
    disks.add(1, Arc::new(MemoryOverlay::new(disk.clone(), &services.ram, MIB)));
    let above = disks.volume(Device::new(MAJOR, 16)).unwrap();
    above.zero(512 * 900..512 * 1500).unwrap();
    let mut all = vec![0; MIB as usize];
    above.read(0, &mut all).unwrap();
    assert_eq!((wrong(&all, 512 * 9..512 * 1500), disk.changes()), (false, 1));
}

#[test]
fn a_cut_leaves_what_was_flushed_and_any_of_the_rest() {
    let disk = TestDisk::empty(8192);
    disk.write(0, &[1; 8192]).unwrap();
    disk.flush().unwrap();
    disk.write(0, &[2; 8192]).unwrap();
    let mut seen = BTreeMap::new();
    for seed in 0..64 {
        let after = disk.after_cut(&mut Random::new(seed));
        *seen.entry((after[0], after[4096])).or_insert(0) += 1;
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [(1, 1), (1, 2), (2, 1), (2, 2)]);
    disk.cut_after(1);
    disk.write(0, &[3; 512]).unwrap();
    assert_eq!(disk.flush(), Err(BlockError::Failed));
}

#[test]
fn changes_in_memory_leave_the_disk_below_alone() {
    let bytes: Vec<u8> = (0..64 * 1024u32).map(|at| (at / 512) as u8).collect();
    let below = Arc::new(TestDisk::new(bytes.clone()));
    below.make_read_only();
    let services = World::new().services;
    let disk = MemoryOverlay::new(below.clone(), &services.ram, 32 * 1024);
    let mut model = bytes.clone();
    let mut random = Random::new(1);
    let mut refused = 0;
    for _ in 0..400 {
        let start = random.below(128);
        let len = random.below(128 - start).min(20) + 1;
        let range = (start * 512) as usize..((start + len) * 512) as usize;
        let new = vec![random.any() as u8; range.len()];
        match disk.write(range.start as u64, &new) {
            Ok(()) => model[range].copy_from_slice(&new),
            Err(error) => {
                assert_eq!(error, BlockError::NoSpace);
                refused += 1;
            }
        }
        let mut all = vec![0; model.len()];
        disk.read(0, &mut all).unwrap();
        assert!(all == model);
    }
    assert!(refused > 0 && refused < 400);
    assert_eq!(below.bytes(), bytes);
}
