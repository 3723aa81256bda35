//! What the ABI cases cannot reach: an overlay over a tree in memory, with limits, many vCPUs and deep trees.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::*;
use crate::errno::{ENOSPC, EXDEV};
use crate::fs::tmpfs::{Options as TmpOptions, Tmpfs};
use crate::task::user_ns::UserNs;
use crate::vfs::file::OpenFlags;
use crate::vfs::inode::{RenameMode, SetAttr};
use crate::vfs::mount::MountFlags;
use crate::vfs::testing::World;

/// A world with an overlay over `/lower` of another tmpfs, mounted on `/o`; `size` bytes of changes.
fn world(size: u64, fill: impl FnOnce(&World)) -> (World, Arc<Overlay>) {
    let world = World::new();
    let lower = Tmpfs::new(&world.services, "tmpfs", Device::new(0, 30), TmpOptions::default());
    world.mkdir("/l").unwrap();
    world.mkdir("/o").unwrap();
    let mount = |fs, at: &str| {
        let at = world.resolve(at).unwrap();
        world.context.namespace().mount(fs, b"x", &at, MountFlags::REL_ATIME, &UserNs::INITIAL).unwrap();
    };
    mount(lower.clone(), "/l");
    fill(&world);
    let overlay =
        Overlay::in_ram(lower, &world.services, Device::new(0, 31), Device::new(0, 32), size).unwrap();
    mount(overlay.clone(), "/o");
    (world, overlay)
}

#[test]
fn changes_last_and_what_was_half_done_goes() {
    let (world, _) = world(1 << 20, |world| drop(world.file("/l/f", b"below")));
    let lower = world.resolve("/l").unwrap().mount.fs.clone();
    let changes = Tmpfs::new(&world.services, "tmpfs", Device::new(0, 32), TmpOptions::default());
    let at = |name: &str, fs: Arc<dyn FileSystem>| {
        world.mkdir(name).unwrap();
        let at = world.resolve(name).unwrap();
        world.context.namespace().mount(fs, b"x", &at, MountFlags::REL_ATIME, &UserNs::INITIAL).unwrap();
    };
    at("/c", changes.clone());
    at("/1", Overlay::over(lower.clone(), changes.clone(), Device::new(0, 33)).unwrap());
    world.file("/1/new", b"new");
    world.unlink("/1/f").unwrap();
    // As after a crash.
    world.file("/c/work/#0", b"half a file");
    world.mkdir("/c/work/#1").unwrap();
    world.file("/c/work/#1/f", b"");
    at("/2", Overlay::over(lower, changes.clone(), Device::new(0, 34)).unwrap());
    assert_eq!(world.resolve("/2/f").err(), Some(ENOENT));
    // What the mount before knows of names is old.
    at("/again", changes);
    assert_eq!(world.list("/again/work"), [&b"."[..], b".."]);
    assert!(world.resolve("/2/new").is_ok());
    world.file("/2/f", b"again");
}

#[test]
fn what_is_not_changed_takes_no_ram() {
    let data = alloc::vec![7; 3 << 20];
    let (world, _) = world(1 << 20, |world| drop(world.file("/l/big", &data)));
    let before = world.services.ram.free();
    let file = world.open("/o/big", OpenFlags::empty()).unwrap();
    assert_eq!(world.read_at(&file, 1 << 20, 10).unwrap(), [7; 10]);
    let lower = world.open("/l/big", OpenFlags::empty()).unwrap();
    let caches = [&file, &lower].map(|file| file.ops.mappable(world.op(file)).unwrap().id());
    assert_eq!(caches[0], caches[1]);
    assert_eq!(world.services.ram.free(), before);
}

#[test]
fn a_copy_that_does_not_fit_changes_nothing() {
    let data = alloc::vec![7; 3 << 20];
    let (world, _) = world(1 << 20, |world| drop(world.file("/l/big", &data)));
    assert_eq!(world.open("/o/big", OpenFlags::RDWR).err(), Some(ENOSPC));
    let file = world.open("/o/big", OpenFlags::empty()).unwrap();
    assert_eq!(world.read_at(&file, (3 << 20) - 1, 10).unwrap(), [7]);
    // What was copied was thrown away: there is room for another file.
    assert!(world.file("/o/other", &data[..900 << 10]).inode.metadata().size == 900 << 10);
    // To cut it takes no room.
    assert!(world.open("/o/big", OpenFlags::RDWR | OpenFlags::TRUNC).is_ok());
}

#[test]
fn holes_stay_holes() {
    let (world, _) = world(1 << 20, |world| {
        let file = world.file("/l/sparse", b"begin");
        file.inode.set_attr(&SetAttr { size: Some(1 << 40), ..SetAttr::default() }).unwrap();
        file.ops.write_at(world.op(&file), 1 << 39, &mut crate::io::SliceSource(b"middle")).unwrap();
    });
    let file = world.open("/o/sparse", OpenFlags::RDWR).unwrap();
    assert_eq!(file.inode.metadata().size, 1 << 40);
    assert_eq!(file.inode.metadata().blocks, 16);
    assert_eq!(world.read_at(&file, 1 << 39, 6).unwrap(), b"middle");
}

#[test]
fn numbers_survive_the_cache() {
    let (world, overlay) = world(1 << 20, |world| drop(world.file("/l/f", b"x")));
    let number = || world.resolve("/o/f").unwrap().inode().metadata();
    let before = number();
    drop(world.open("/o/f", OpenFlags::RDWR).unwrap());
    assert_eq!(number().ino, before.ino);
    // Nobody knows the inode any more: it is found again by what the copy says.
    world.context.namespace().dentries.forget(|_| true);
    overlay.shared.dentries.forget(|_| true);
    assert_eq!((number().ino, number().dev), (before.ino, Device::new(0, 31)));
    world.file("/o/new", b"");
    assert_ne!(world.resolve("/o/new").unwrap().inode().metadata().ino, before.ino);
}

#[test]
fn trees_deeper_than_a_stack() {
    const DEPTH: usize = 12_000;
    let (world, overlay) = world(8 << 20, |_| {});
    let mut at = world.resolve("/o").unwrap();
    for _ in 0..DEPTH {
        at = world.walker().make(&at, b"d", NewNode::Directory, 0o755).unwrap();
    }
    assert!(at.inode().make(b"f", NewNode::File, &NewAttr { mode: 0, uid: 0, gid: 0 }).is_ok());
    drop(at);
    world.context.namespace().dentries.forget(|_| true);
    overlay.shared.dentries.forget(|_| true);
}

#[test]
fn a_renamed_directory_is_not_merged() {
    let (world, _) = world(1 << 20, |world| {
        world.mkdir("/l/d").unwrap();
        world.file("/l/d/f", b"");
    });
    assert_eq!(world.rename("/o/d", "/o/e", RenameMode::Replace), Err(EXDEV));
    world.unlink("/o/d/f").unwrap();
    world.mkdir("/o/n").unwrap();
    world.file("/o/n/x", b"");
    world.rename("/o/n", "/o/d", RenameMode::Replace).unwrap();
    world.context.namespace().dentries.forget(|_| true);
    let names: Vec<_> = world.list("/o/d").into_iter().filter(|name| !name.starts_with(b".")).collect();
    assert_eq!(names, [b"x"]);
}

#[test]
fn vcpus_copy_one_file_at_a_time() {
    extern crate std;
    let data = alloc::vec![7; 1 << 20];
    let (world, overlay) = world(16 << 20, |world| {
        for n in 0..8 {
            world.file(&format!("/l/f{n}"), &data);
        }
    });
    let files: Vec<_> = (0..8).map(|n| world.resolve(&format!("/o/f{n}")).unwrap().inode().clone()).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for file in &files {
                    let time = SetAttr { mode: Some(0o600), ..SetAttr::default() };
                    file.set_attr(&time).unwrap();
                }
            });
        }
    });
    for file in &files {
        let meta = file.metadata();
        assert_eq!((meta.size, meta.nlink, meta.mode & 0o777), (1 << 20, 1, 0o600));
    }
    assert_eq!(overlay.root().statfs().blocks_free * 4096, 8 << 20);
}
