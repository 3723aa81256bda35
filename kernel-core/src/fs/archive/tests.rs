//! Archives, good and hostile.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{ArchiveError, Unpacked, unpack};
use crate::mm::cache::Blob;
use crate::vfs::file::OpenFlags;
use crate::vfs::testing::World;

/// One entry: name, mode, number of links, inode number, data.
fn entry(name: &str, mode: u32, nlink: u32, ino: u32, data: &[u8]) -> Vec<u8> {
    let mut out = b"070701".to_vec();
    let fields = [ino, mode, 0, 0, nlink, 1, data.len() as u32, 0, 0, 5, 1, name.len() as u32 + 1, 0];
    for field in fields {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend(entry("TRAILER!!!", 0, 1, 0, b""));
    bytes
}

fn sample() -> Vec<u8> {
    archive(&[
        entry(".", 0o040_755, 2, 1, b""),
        entry("dir", 0o040_700, 2, 2, b""),
        entry("dir/one", 0o100_644, 2, 3, b""),
        entry("dir/two", 0o100_644, 2, 3, b"shared"),
        entry("./deep/er/file", 0o104_755, 1, 4, b"x"),
        entry("link", 0o120_777, 1, 5, b"dir/one"),
        entry("console", 0o020_600, 1, 6, b""),
    ])
}

fn load(bytes: Vec<u8>) -> (World, Result<Unpacked, ArchiveError>) {
    let world = World::new();
    let blob: Arc<dyn Blob> = Arc::new(bytes);
    let result = unpack(&blob, &world.root, 1 << 20);
    (world, result)
}

/// A gzip member with stored blocks.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = alloc::vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    out.push(1);
    let len = bytes.len() as u16;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(&super::gzip::crc32(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}

#[test]
fn files_links_and_devices_come_out() {
    let (world, result) = load(sample());
    assert_eq!(result.map(|done| done.entries), Ok(7));
    let one = world.open("/link", OpenFlags::RDWR).unwrap();
    assert_eq!(world.read_at(&one, 0, 10), Ok(b"shared".to_vec()));
    assert_eq!(one.inode.metadata().nlink, 2);
    // What is written to one name shows under the other, and not in the archive.
    world.write(&one, b"SH").unwrap();
    let two = world.open("/dir/two", OpenFlags::empty()).unwrap();
    assert_eq!(world.read_at(&two, 0, 10), Ok(b"SHared".to_vec()));
    assert_eq!(world.resolve("/deep/er/file").unwrap().inode().owner().mode, 0o104_755);
    assert_eq!(world.resolve("/console").unwrap().inode().metadata().rdev.raw(), 0x501);
    assert_eq!(world.list("/").len(), 6);
}

#[test]
fn compressed_and_concatenated_archives_are_one() {
    let mut bytes = archive(&[entry("a", 0o100_644, 1, 1, b"plain")]);
    bytes.extend([0; 512]);
    bytes.extend(gzip(&archive(&[
        entry("b", 0o100_644, 1, 1, b"packed"),
        entry("a", 0o100_600, 1, 2, b"new"),
    ])));
    let (world, result) = load(bytes);
    assert_eq!(result.map(|done| done.entries), Ok(3));
    let read = |path| world.read_at(&world.open(path, OpenFlags::empty()).unwrap(), 0, 10);
    assert_eq!((read("/a"), read("/b")), (Ok(b"new".to_vec()), Ok(b"packed".to_vec())));
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let whole = sample();
    for len in 0..whole.len() - 1 {
        let (_, result) = load(whole[..len].to_vec());
        let cut_in_padding = len > whole.len() - 4;
        assert!(result.is_err() || cut_in_padding, "{len} of {}", whole.len());
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let _ = load(bytes);
        let mut packed = gzip(&whole);
        packed[at] ^= 0x55;
        let _ = load(packed);
    }
    assert_eq!(load(b"#!/bin/sh\n".to_vec()).1, Err(ArchiveError::UnknownFormat { offset: 0 }));
    assert_eq!(load(Vec::new()).1, Err(ArchiveError::UnknownFormat { offset: 0 }));
}

#[test]
fn hostile_names_and_sizes_are_refused() {
    let one =
        |name: &str| load(archive(&[entry("f", 0o100_644, 1, 1, b""), entry(name, 0o100_644, 1, 2, b"")])).1;
    assert!(matches!(one("../etc/passwd"), Err(ArchiveError::BadName { .. })));
    assert!(matches!(one("f/below"), Err(ArchiveError::Conflict { .. })));
    assert!(matches!(one(&"x".repeat(300)), Err(ArchiveError::BadName { .. })));
    assert!(matches!(one("."), Err(ArchiveError::Conflict { .. })));
    let mut huge = entry("f", 0o100_644, 1, 1, b"");
    huge[6 + 6 * 8..6 + 7 * 8].copy_from_slice(b"FFFFFFFF");
    assert_eq!(load(archive(&[huge])).1, Err(ArchiveError::Truncated { offset: 0 }));
    let mut signed = sample();
    signed[6..14].copy_from_slice(b"+0000001");
    assert_eq!(load(signed).1, Err(ArchiveError::BadHeader { offset: 0 }));
    let blob: Arc<dyn Blob> = Arc::new(gzip(&sample()));
    assert_eq!(unpack(&blob, &World::new().root, 100), Err(ArchiveError::TooLarge { limit: 100 }));
}
