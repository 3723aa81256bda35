//! What tmpfs files and directories do.

use crate::errno::*;
use crate::fs::tmpfs::{Options, TmpFile, memfd};
use crate::vfs::cached::CachedFile;
use crate::vfs::dir::DirSink;
use crate::vfs::file::{OpenFile, OpenFlags, Whence};
use crate::vfs::inode::{Inode, NewAttr, SetAttr, XattrMode};
use crate::vfs::testing::World;

#[test]
fn bytes_holes_and_positions() {
    let world = World::new();
    let file = world.file("/f", b"hello");
    assert_eq!(file.ops.seek(world.op(&file), 1 << 20, Whence::Set), Ok(1 << 20));
    assert_eq!(world.write(&file, b"end"), Ok(3));
    assert_eq!(file.inode.metadata().size, (1 << 20) + 3);
    assert!(file.inode.metadata().blocks < 1000);
    assert_eq!(world.read_at(&file, 3, 6), Ok(b"lo\0\0\0\0".to_vec()));
    assert_eq!(world.read_at(&file, (1 << 20) + 1, 10), Ok(b"nd".to_vec()));
    assert_eq!(world.read_at(&file, 1 << 40, 10), Ok(b"".to_vec()));
    let seek = |offset, whence| file.ops.seek(world.op(&file), offset, whence);
    let hole = seek(0, Whence::Hole).unwrap();
    assert!((5..1 << 20).contains(&hole), "{hole}");
    assert_eq!(seek(1 << 21, Whence::Data), Err(ENXIO));
    assert_eq!(seek(-1, Whence::Set), Err(EINVAL));
    file.inode.set_attr(&SetAttr { size: Some(2), ..SetAttr::default() }).unwrap();
    file.inode.set_attr(&SetAttr { size: Some(5), ..SetAttr::default() }).unwrap();
    assert_eq!(world.read_at(&file, 0, 10), Ok(b"he\0\0\0".to_vec()));
    let append = world.open("/f", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    assert_eq!(world.write(&append, b"!"), Ok(1));
    assert_eq!(world.read_at(&file, 4, 10), Ok(b"\0!".to_vec()));
}

#[test]
fn limits_end_writes() {
    let world = World::with_size(Some(8192));
    let file = world.file("/f", &[1; 5000]);
    assert_eq!(world.write(&file, &[2; 5000]), Ok(3192));
    assert_eq!(world.write(&file, &[2; 5000]), Err(ENOSPC));
    world.unlink("/f").unwrap();
    drop(file);
    let file = world.file("/g", &[1; 4096]);
    world.caller.file_size.store(6000, core::sync::atomic::Ordering::Relaxed);
    assert_eq!(world.write(&file, &[2; 4000]), Ok(1904));
    assert_eq!(world.write(&file, &[2; 4000]), Err(EFBIG));
    assert_eq!(*world.signals.0.lock(), [25]);
}

#[test]
fn writes_take_set_id_bits_away() {
    let world = World::new();
    let file = world.file("/f", b"");
    let mode = |mode| file.inode.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() }).unwrap();
    mode(0o6777);
    world.write(&file, b"root keeps them").unwrap();
    assert_eq!(file.inode.owner().mode & 0o7777, 0o6777);
    world.become_user(5);
    world.write(&file, b"x").unwrap();
    assert_eq!(file.inode.owner().mode & 0o7777, 0o777);
    mode(0o2767);
    world.write(&file, b"x").unwrap();
    assert_eq!(file.inode.owner().mode & 0o7777, 0o2767);
}

/// Takes so many entries.
struct Some2(usize, alloc::vec::Vec<alloc::vec::Vec<u8>>);

impl DirSink for Some2 {
    fn entry(&mut self, _: u64, _: u64, _: u8, name: &[u8]) -> Result<bool> {
        if self.0 == 0 {
            return Ok(false);
        }
        self.0 -= 1;
        self.1.push(name.to_vec());
        Ok(true)
    }
}

#[test]
fn directories_are_read_on_while_entries_come_and_go() {
    let world = World::new();
    for name in ["/a", "/b", "/c", "/d"] {
        world.file(name, b"");
    }
    let dir = world.open("/", OpenFlags::DIRECTORY).unwrap();
    let read = |count| {
        let mut sink = Some2(count, Default::default());
        dir.ops.read_dir(world.op(&dir), &mut sink).unwrap();
        sink.1
    };
    assert_eq!(read(4), [&b"."[..], b"..", b"a", b"b"]);
    world.unlink("/b").unwrap();
    world.unlink("/c").unwrap();
    world.file("/e", b"");
    assert_eq!(read(10), [b"d"]);
    world.file("/f", b"");
    world.unlink("/f").unwrap();
    assert!(read(10).is_empty());
    dir.ops.seek(world.op(&dir), 0, Whence::Set).unwrap();
    assert_eq!(read(10).len(), 5);
}

#[test]
fn set_group_id_directories_hand_their_group_on() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    let change = SetAttr { mode: Some(0o2777), gid: Some(9), ..SetAttr::default() };
    world.resolve("/d").unwrap().inode().set_attr(&change).unwrap();
    world.become_user(5);
    world.mkdir("/d/sub").unwrap();
    let sub = world.resolve("/d/sub").unwrap().inode().owner();
    assert_eq!((sub.mode & 0o7777, sub.uid, sub.gid), (0o2755, 5, 9));
    assert_eq!(world.file("/d/f", b"").inode.owner().gid, 9);
}

#[test]
fn memfds_are_sealed() {
    let world = World::new();
    let attr = NewAttr { mode: 0o777, uid: 0, gid: 0 };
    let inode = memfd(&world.services, &attr, b"name", 0);
    let ops = alloc::sync::Arc::new(CachedFile(TmpFile::new(&inode).unwrap()));
    let file = OpenFile::new(ops, inode.clone(), None, OpenFlags::RDWR);
    let seal = |seals| file.ops.control(world.op(&file), 1033, seals);
    world.write(&file, b"data").unwrap();
    assert_eq!(seal(2 | 4), Ok(0));
    assert_eq!(world.write(&file, b"more"), Err(EPERM));
    assert_eq!(inode.set_attr(&SetAttr { size: Some(1), ..SetAttr::default() }), Err(EPERM));
    assert_eq!(file.ops.write_at(world.op(&file), 0, &mut crate::io::SliceSource(b"D")), Ok(1));
    assert_eq!(seal(8 | 1), Ok(0));
    assert_eq!(file.ops.write_at(world.op(&file), 0, &mut crate::io::SliceSource(b"D")), Err(EPERM));
    assert_eq!(seal(16), Err(EPERM));
    assert_eq!(file.ops.control(world.op(&file), 1034, 0), Ok(15));
    assert_eq!(inode.anonymous_name().unwrap(), b"/memfd:name (deleted)");
    let other = memfd(&world.services, &attr, b"name", 0);
    assert_ne!(other.metadata().ino, inode.metadata().ino);
}

#[test]
fn attributes_and_options() {
    let world = World::new();
    let inode = world.file("/f", b"").inode.clone();
    assert_eq!(inode.set_xattr(b"user.a", b"1", XattrMode::Replace), Err(ENODATA));
    assert_eq!(inode.set_xattr(b"user.a", b"1", XattrMode::Create), Ok(()));
    assert_eq!(inode.set_xattr(b"user.a", b"2", XattrMode::Create), Err(EEXIST));
    assert_eq!(inode.set_xattr(b"user.b", &[0; 70_000], XattrMode::Any), Err(ENOSPC));
    assert_eq!(inode.set_xattr(b"system.nothing", b"", XattrMode::Any), Err(EOPNOTSUPP));
    assert_eq!(inode.get_xattr(b"user.a"), Ok(b"1".to_vec()));
    let parse = |text: &str| Options::parse(text.as_bytes(), 1000 << 20);
    assert_eq!(
        parse("size=10m,mode=755").map(|options| (options.size, options.mode)),
        Ok((Some(10 << 20), 0o755))
    );
    assert_eq!(parse("size=50%").map(|options| options.size), Ok(Some(500 << 20)));
    assert_eq!(parse("bogus").err(), Some(EINVAL));
    assert_eq!(parse("size=99999999999g").err(), Some(EINVAL));
}

#[test]
fn further_names_count_as_inodes() {
    let world = World::new();
    let file = world.file("/f", b"");
    let free = || file.inode.statfs().files_free;
    let before = free();
    let root = world.open("/", OpenFlags::DIRECTORY).unwrap();
    root.inode.link(b"g", &file.inode).unwrap();
    root.inode.link(b"h", &file.inode).unwrap();
    assert_eq!(free(), before - 2);
    world.unlink("/f").unwrap();
    world.unlink("/g").unwrap();
    assert_eq!(free(), before, "the last name is the inode's own");
}
