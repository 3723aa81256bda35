//! Partition tables: GPT, and MBR with logical partitions. Sources: the UEFI specification, chapter 5, and
//! `fdisk(8)`. A table comes from whoever made the image, so every number of it is checked and no chain is followed
//! for ever.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::le::{u32_at, u64_at};
use crate::host::block::{BlockDevice, SECTOR};

/// A partition that lies wholly on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// As it is called: from 1 on; logical ones of an MBR from 5 on.
    pub number: u32,
    /// Where it is, in bytes.
    pub range: Range<u64>,
}

/// The most partitions that are looked for.
const MOST: usize = 128;
/// The most entries of a GPT; more are a sign that it is none.
const MOST_ENTRIES: u32 = 1024;
/// The type of an MBR entry that stands for a whole GPT disk.
const PROTECTIVE: u8 = 0xee;

/// The partitions of a disk, by number; none if there is no table or it makes no sense.
pub fn find(disk: &dyn BlockDevice) -> Vec<Partition> {
    let Some(mbr) = sector(disk, 0).filter(|mbr| mbr.ends_with(&[0x55, 0xaa])) else { return Vec::new() };
    let entries = mbr_entries(&mbr);
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        let last = (disk.size() / SECTOR).saturating_sub(1);
        return gpt(disk, 1).or_else(|| gpt(disk, last)).unwrap_or_default();
    }
    // A file system that begins at sector 0 may end the sector in the same way; its other bytes are no flags then.
    if entries.iter().any(|entry| entry.flag & 0x7f != 0) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (entry, number) in entries.iter().zip(1..) {
        if entry.is_extended() {
            logical(disk, entry.start, &mut found);
        } else {
            add(disk, number, entry.start, entry.len, &mut found);
        }
    }
    found.sort_by_key(|part| part.number);
    found
}

fn sector(disk: &dyn BlockDevice, number: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; SECTOR as usize];
    disk.read(number.checked_mul(SECTOR)?, &mut bytes).ok()?;
    Some(bytes)
}

/// Adds a partition, given in sectors, if it has any and they are on the disk.
fn add(disk: &dyn BlockDevice, number: u32, start: u64, len: u64, found: &mut Vec<Partition>) {
    let bytes = |sectors: u64| sectors.checked_mul(SECTOR);
    let end = start.checked_add(len).and_then(bytes);
    if let (Some(start), Some(end)) = (bytes(start), end)
        && start < end
        && end <= disk.size()
        && start > 0
        && found.len() < MOST
    {
        found.push(Partition { number, range: start..end });
    }
}

/// An entry of an MBR; places in sectors.
#[derive(Clone, Copy)]
struct MbrEntry {
    flag: u8,
    kind: u8,
    start: u64,
    len: u64,
}

impl MbrEntry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

fn mbr_entries(sector: &[u8]) -> [MbrEntry; 4] {
    core::array::from_fn(|index| {
        let entry = sector.get(446 + 16 * index..).unwrap_or_default();
        let kind = entry.get(4).copied().unwrap_or_default();
        let number = |at| u64::from(u32_at(entry, at));
        let len = if kind == 0 { 0 } else { number(12) };
        MbrEntry { flag: entry.first().copied().unwrap_or_default(), kind, start: number(8), len }
    })
}

/// The chain of logical partitions in the extended one that starts at sector `base`.
fn logical(disk: &dyn BlockDevice, base: u64, found: &mut Vec<Partition>) {
    let mut at = base;
    let mut number = 5;
    for _ in 0..MOST {
        let Some(table) = sector(disk, at).filter(|table| table.ends_with(&[0x55, 0xaa])) else { return };
        let [data, next, ..] = mbr_entries(&table);
        if data.len > 0 {
            add(disk, number, at.saturating_add(data.start), data.len, found);
            number += 1;
        }
        if !next.is_extended() || next.start == 0 {
            return;
        }
        at = base.saturating_add(next.start);
    }
}

/// The GPT whose header is in this sector, if its checksums are right.
fn gpt(disk: &dyn BlockDevice, header_at: u64) -> Option<Vec<Partition>> {
    let mut header = sector(disk, header_at)?;
    let len = u32_at(&header, 12) as usize;
    if !header.starts_with(b"EFI PART")
        || !(92..=header.len()).contains(&len)
        || u64_at(&header, 24) != header_at
    {
        return None;
    }
    let sum = u32_at(&header, 16);
    header.get_mut(16..20)?.fill(0);
    if crc32fast::hash(header.get(..len)?) != sum {
        return None;
    }
    let (table_at, count, entry_len) = (u64_at(&header, 72), u32_at(&header, 80), u32_at(&header, 84));
    if count > MOST_ENTRIES || !(128..=4096).contains(&entry_len) || !entry_len.is_power_of_two() {
        return None;
    }
    let bytes = count as usize * entry_len as usize;
    let mut table = vec![0; bytes.next_multiple_of(SECTOR as usize)];
    disk.read(table_at.checked_mul(SECTOR)?, &mut table).ok()?;
    if crc32fast::hash(table.get(..bytes)?) != u32_at(&header, 88) {
        return None;
    }
    let mut found = Vec::new();
    for (entry, number) in table.chunks(entry_len as usize).take(count as usize).zip(1..) {
        let is_used = entry.get(..16).is_some_and(|kind| kind.iter().any(|&byte| byte != 0));
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        if is_used && let Some(len) = last.checked_sub(first).and_then(|len| len.checked_add(1)) {
            add(disk, number, first, len, &mut found);
        }
    }
    Some(found)
}
