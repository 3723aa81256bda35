//! Walks, opens, renames, mounts and descriptors on a tmpfs. What is expected was looked up on Linux.

extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use super::testing::World;
use crate::errno::*;
use crate::fs::tmpfs::{Options, Tmpfs};
use crate::task::user_ns::UserNs;
use crate::vfs::fd::{FdTable, OnExec};
use crate::vfs::file::OpenFlags;
use crate::vfs::inode::{Device, RenameMode};
use crate::vfs::mount::{BindDepth, MountFlags, Unmount};
use crate::vfs::path::path_of;
use crate::vfs::walk::Resolve;

fn name(world: &World, path: &str) -> Result<String> {
    let path = world.resolve(path)?;
    Ok(String::from_utf8(path_of(&path, &world.context.root()).bytes).unwrap())
}

#[test]
fn walks_follow_dots_slashes_and_links() {
    let world = World::new();
    world.mkdir("/a").unwrap();
    world.mkdir("/a/b").unwrap();
    world.file("/a/b/f", b"x");
    world.symlink("../b", "/a/b/up").unwrap();
    world.symlink("/a", "/abs").unwrap();
    world.symlink("loop", "/loop").unwrap();
    world.symlink("f", "/a/b/l").unwrap();
    assert_eq!(name(&world, "//a/.//b/../b/f"), Ok("/a/b/f".into()));
    assert_eq!(name(&world, "/../../a"), Ok("/a".into()));
    assert_eq!(name(&world, "/abs/b/up/up/l"), Ok("/a/b/f".into()));
    assert_eq!(name(&world, "/abs/"), Ok("/a".into()));
    assert_eq!(name(&world, "/"), Ok("/".into()));
    assert_eq!(name(&world, ""), Err(ENOENT));
    assert_eq!(name(&world, "/loop"), Err(ELOOP));
    assert_eq!(name(&world, "/a/b/f/"), Err(ENOTDIR));
    assert_eq!(name(&world, "/a/b/l/"), Err(ENOTDIR));
    assert_eq!(name(&world, "/a/b/f/x"), Err(ENOTDIR));
    assert_eq!(name(&world, "/nope/x"), Err(ENOENT));
    assert_eq!(name(&world, &format!("/{}", "x".repeat(256))), Err(ENAMETOOLONG));
    assert_eq!(name(&world, &format!("/{}", "x".repeat(255))), Err(ENOENT));
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let world = World::new();
    world.file("/0", b"");
    for index in 1..=41 {
        world.symlink(&format!("{}", index - 1), &format!("/{index}")).unwrap();
    }
    assert_eq!(name(&world, "/40"), Ok("/0".into()));
    assert_eq!(name(&world, "/41"), Err(ELOOP));
}

#[test]
fn searching_needs_permission() {
    let world = World::new();
    world.mkdir("/secret").unwrap();
    world.file("/secret/f", b"");
    let secret = world.resolve("/secret").unwrap();
    let mode = crate::vfs::inode::SetAttr { mode: Some(0o700), ..Default::default() };
    secret.inode().set_attr(&mode).unwrap();
    world.become_user(5);
    assert_eq!(name(&world, "/secret/f"), Err(EACCES));
    assert_eq!(name(&world, "/secret/nope"), Err(EACCES));
    assert_eq!(world.mkdir("/x").err(), Some(EACCES));
    assert_eq!(world.unlink("/secret").err(), Some(EACCES));
}

#[test]
fn opens_make_truncate_and_refuse() {
    let world = World::new();
    let creat = OpenFlags::CREAT;
    world.mkdir("/d").unwrap();
    world.symlink("target", "/dangling").unwrap();
    assert_eq!(world.open("/new", OpenFlags::empty()).err(), Some(ENOENT));
    assert_eq!(world.open("/d", OpenFlags::WRONLY).err(), Some(EISDIR));
    assert_eq!(world.open("/d", creat).err(), Some(EISDIR));
    assert_eq!(world.open("/new/", creat).err(), Some(EISDIR));
    assert_eq!(world.open("/dangling", OpenFlags::empty()).err(), Some(ENOENT));
    assert_eq!(world.open("/dangling", OpenFlags::NOFOLLOW).err(), Some(ELOOP));
    assert_eq!(world.open("/dangling", creat | OpenFlags::EXCL).err(), Some(EEXIST));
    world.open("/dangling", creat | OpenFlags::WRONLY).unwrap();
    assert_eq!(name(&world, "/target"), Ok("/target".into()));
    let file = world.file("/f", b"hello");
    assert_eq!(world.open("/f", OpenFlags::DIRECTORY).err(), Some(ENOTDIR));
    assert_eq!(world.open("/f", creat | OpenFlags::EXCL).err(), Some(EEXIST));
    world.open("/f", OpenFlags::WRONLY | OpenFlags::TRUNC).unwrap();
    assert_eq!(file.inode.metadata().size, 0);
    let unnamed = world.open("/d", OpenFlags::TMPFILE | OpenFlags::RDWR).unwrap();
    assert_eq!(world.write(&unnamed, b"x"), Ok(1));
    let path = unnamed.path.clone().unwrap();
    assert!(path_of(&path, &world.context.root()).deleted);
    world.walker().link(&path, &world.cwd(), b"/named").unwrap();
    assert_eq!(unnamed.inode.metadata().nlink, 1);
}

#[test]
fn renames_replace_exchange_and_refuse() {
    let world = World::new();
    let (replace, exchange) = (RenameMode::Replace, RenameMode::Exchange);
    world.mkdir("/d").unwrap();
    world.mkdir("/d/e").unwrap();
    world.mkdir("/empty").unwrap();
    world.file("/f", b"f");
    world.file("/g", b"gg");
    assert_eq!(world.rename("/nope", "/x", replace), Err(ENOENT));
    assert_eq!(world.rename("/f", "/d", replace), Err(EISDIR));
    assert_eq!(world.rename("/d", "/f", replace), Err(ENOTDIR));
    assert_eq!(world.rename("/empty", "/d", replace), Err(ENOTEMPTY));
    assert_eq!(world.rename("/d", "/d/e/x", replace), Err(EINVAL));
    assert_eq!(world.rename("/d/e", "/d", replace), Err(ENOTEMPTY));
    assert_eq!(world.rename("/f", "/x/", replace), Err(ENOTDIR));
    assert_eq!(world.rename("/f", "/g", RenameMode::NoReplace), Err(EEXIST));
    assert_eq!(world.rename("/f", "/x", exchange), Err(ENOENT));
    assert_eq!(world.rename("/d/.", "/x", replace), Err(EBUSY));
    // A cached absent name must not hide what is moved there.
    assert_eq!(name(&world, "/empty/f2"), Err(ENOENT));
    world.rename("/f", "/empty/f2", replace).unwrap();
    assert_eq!(world.resolve("/empty/f2").unwrap().inode().metadata().size, 1);
    assert_eq!(name(&world, "/f"), Err(ENOENT));
    world.rename("/g", "/d", exchange).unwrap();
    assert_eq!(world.resolve("/d").unwrap().inode().metadata().size, 2);
    assert_eq!(name(&world, "/g/e"), Ok("/g/e".into()));
    world.rename("/g/e", "/empty/e", replace).unwrap();
    let links = |path: &str| world.resolve(path).unwrap().inode().metadata().nlink;
    assert_eq!((links("/g"), links("/empty"), links("/")), (2, 3, 4));
    assert_eq!(name(&world, "/empty/e/../f2"), Ok("/empty/f2".into()));
}

#[test]
fn removed_names_are_gone_and_removed_directories_dead() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    let file = world.file("/d/f", b"still here");
    assert_eq!(world.rmdir("/d"), Err(ENOTEMPTY));
    assert_eq!(world.unlink("/d"), Err(EISDIR));
    assert_eq!(world.unlink("/d/f/"), Err(ENOTDIR));
    world.unlink("/d/f").unwrap();
    assert_eq!(world.unlink("/d/f"), Err(ENOENT));
    assert_eq!(world.read_at(&file, 0, 20), Ok(b"still here".to_vec()));
    let shown = path_of(file.path.as_ref().unwrap(), &world.context.root()).shown();
    assert_eq!(shown, b"/d/f (deleted)");
    world.context.set_cwd(world.resolve("/d").unwrap());
    assert_eq!(world.rmdir("/d/."), Err(EINVAL));
    world.rmdir("/d").unwrap();
    assert_eq!(world.open("new", OpenFlags::CREAT).err(), Some(ENOENT));
    assert_eq!(world.mkdir("sub").err(), Some(ENOENT));
    assert_eq!(name(&world, ".."), Ok("/".into()));
}

#[test]
fn mounts_are_crossed_both_ways() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    world.mkdir("/m").unwrap();
    world.mkdir("/other").unwrap();
    world.file("/m/below", b"");
    let fs = Tmpfs::new(&world.services, "tmpfs", Device::new(0, 21), Options::default());
    let at = world.resolve("/m").unwrap();
    namespace.mount(fs, b"none", &at, MountFlags::NO_SUID, &UserNs::INITIAL).unwrap();
    drop(at);
    assert_eq!(name(&world, "/m/below"), Err(ENOENT));
    world.mkdir("/m/in").unwrap();
    assert_eq!(name(&world, "/m/in/../.."), Ok("/".into()));
    assert_eq!(world.rmdir("/m"), Err(EBUSY));
    assert_eq!(world.rename("/m/in", "/in", RenameMode::Replace), Err(EXDEV));
    namespace
        .bind(&world.resolve("/m/in").unwrap(), &world.resolve("/other").unwrap(), BindDepth::One)
        .unwrap();
    world.file("/other/f", b"");
    assert_eq!(name(&world, "/m/in/f"), Ok("/m/in/f".into()));
    let text = String::from_utf8(namespace.mounts_text(&world.context.root()).unwrap()).unwrap();
    assert!(text.contains("none /m tmpfs rw,nosuid 0 0"), "{text}");
    let file = world.open("/m/in/f", OpenFlags::empty()).unwrap();
    assert_eq!(namespace.unmount(world.resolve("/m").unwrap(), Unmount::Idle), Err(EBUSY));
    drop(file);
    namespace.unmount(world.resolve("/other").unwrap(), Unmount::Idle).unwrap();
    namespace.unmount(world.resolve("/m").unwrap(), Unmount::Idle).unwrap();
    assert_eq!(name(&world, "/m/below"), Ok("/m/below".into()));
}

/// A stack of mounts as high as it can be, whose top outlives it, goes without recursion: on a small stack.
#[test]
fn mounts_are_bounded_and_stacks_of_them_fall_in_a_loop() {
    let small = std::thread::Builder::new().stack_size(128 << 10);
    let fall = || {
        let world = World::new();
        let namespace = world.context.namespace().clone();
        world.mkdir("/m").unwrap();
        let mut at = world.resolve("/m").unwrap();
        let refused = loop {
            let fs = Tmpfs::new(&world.services, "tmpfs", Device::new(0, 21), Options::default());
            match namespace.mount(fs, b"none", &at, MountFlags::empty(), &UserNs::INITIAL) {
                Ok(()) => at = namespace.cross(at),
                Err(errno) => break errno,
            }
        };
        assert_eq!(refused, ENOSPC);
        let root = world.context.root();
        assert_eq!(namespace.bind(&root, &at, BindDepth::Recursive), Err(ENOSPC));
        drop((world, namespace, root));
        drop(at);
    };
    small.spawn(fall).unwrap().join().unwrap();
}

#[test]
fn restricted_walks_stay_inside() {
    let world = World::new();
    world.mkdir("/jail").unwrap();
    world.mkdir("/jail/d").unwrap();
    world.symlink("/d", "/jail/abs").unwrap();
    world.symlink("../..", "/jail/out").unwrap();
    let jail = world.resolve("/jail").unwrap();
    let open = |path: &[u8], resolve| {
        let walker = world.walker().with_resolve(resolve, &jail);
        walker.open(&jail, path, OpenFlags::PATH, 0).map(|_| ())
    };
    assert_eq!(open(b"d", Resolve::BENEATH), Ok(()));
    assert_eq!(open(b"d/..", Resolve::BENEATH), Ok(()));
    assert_eq!(open(b"..", Resolve::BENEATH), Err(EXDEV));
    assert_eq!(open(b"abs", Resolve::BENEATH), Err(EXDEV));
    assert_eq!(open(b"out", Resolve::BENEATH), Err(EXDEV));
    assert_eq!(open(b"abs", Resolve::IN_ROOT), Ok(()));
    assert_eq!(open(b"abs", Resolve::NO_SYMLINKS), Err(ELOOP));
}

#[test]
fn a_tree_deeper_than_any_stack_can_be_dropped() {
    let world = World::new();
    for _ in 0..15_000 {
        world.mkdir("d").unwrap();
        world.context.set_cwd(world.resolve("d").unwrap());
    }
    world.context.set_cwd(world.context.root());
    drop(world);
}

#[test]
fn descriptors_are_lowest_first_and_given_back() {
    let world = World::new();
    let file = world.file("/f", b"");
    let table = FdTable::new();
    let install = |limit| table.install(file.clone(), OnExec::Keep, limit);
    assert_eq!((install(3), install(3), install(3)), (Ok(0), Ok(1), Ok(2)));
    assert_eq!(install(3), Err(EMFILE));
    table.close(1, &world.caller).unwrap();
    assert_eq!(table.close(1, &world.caller), Err(EBADF));
    let reserved = table.reserve(0, 10).unwrap();
    assert_eq!(reserved.fd(), 1);
    assert!(table.get(1).is_err());
    assert_eq!(table.replace(1, file.clone(), OnExec::Keep, 10).err(), Some(EBUSY));
    drop(reserved);
    assert_eq!(install(10), Ok(1));
    assert!(table.replace(7, file.clone(), OnExec::Close, 10).unwrap().is_none());
    assert_eq!(table.replace(10, file.clone(), OnExec::Close, 10).err(), Some(EBADF));
    let copy = table.copy();
    table.close_on_exec(&world.caller);
    assert!(table.get(7).is_err() && copy.get(7).is_ok());
    copy.close_range(1..=u32::MAX, &world.caller);
    assert!(copy.get(0).is_ok() && copy.get(1).is_err() && copy.get(7).is_err());
    assert_eq!(copy.install(file.clone(), OnExec::Keep, 10), Ok(1));
    assert_eq!(table.reserve(5, 10).unwrap().commit(file.clone(), OnExec::Keep), 5);
    assert_eq!(install(10), Ok(3));
    table.close_all(&world.caller);
    assert!(table.next_open(0).is_none());
    assert_eq!(Arc::strong_count(&file), 3);
}

mod mounts;
