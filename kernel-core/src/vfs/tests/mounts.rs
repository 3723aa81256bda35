//! Mounts that tell each other, copies of namespaces, moving.

extern crate std;

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::errno::{EBUSY, EINVAL, EIO, ELOOP, ENOSPC, EPERM, Result};
use crate::fs::tmpfs::{Options, Tmpfs};
use crate::task::cred::Cred;
use crate::task::namespaces::{NsCounts, NsKind};
use crate::task::user_ns::UserNs;
use crate::vfs::inode::{Device, Inode};
use crate::vfs::mount::{
    BindDepth, FileSystem, MOST_MOUNTS, MountFlags, Namespace, Origin, Propagation, Unmount,
};
use crate::vfs::path::Path;
use crate::vfs::testing::World;

fn mount(world: &World, namespace: &Arc<Namespace>, at: &Path) {
    let fs = Tmpfs::new(&world.services, "tmpfs", Device::new(0, 21), Options::default());
    namespace.mount(fs, b"t", at, MountFlags::empty(), &UserNs::INITIAL).unwrap();
}

fn places(namespace: &Namespace) -> String {
    let text = namespace.mountinfo_text(&namespace.root().unwrap(), None).unwrap();
    let text = String::from_utf8(text).unwrap();
    let line = |line: &str| {
        let words: alloc::vec::Vec<&str> = line.split(' ').collect();
        let optional = words[6..].split(|word| *word == "-").next().unwrap().join(",");
        alloc::format!("{} {optional}", words[4])
    };
    let mut all: alloc::vec::Vec<String> = text.lines().map(line).collect();
    all.sort();
    all.join("\n")
}

fn copy(world: &World, user_ns: &UserNs) -> Arc<Namespace> {
    let counts = NsCounts::new(9);
    let count = counts.count(NsKind::Mnt, user_ns, 0).unwrap();
    world.context.namespace().copy(9, user_ns.clone(), count).unwrap().0
}

/// The place in a copy for one in the original.
fn same(copy: &Namespace, path: &str, world: &World) -> Path {
    let root = copy.root().unwrap();
    let context = world.context.moved(world.context.namespace().clone(), root.clone(), root.clone());
    let walker = context.walker(&world.caller);
    walker.resolve(&root, path.as_bytes(), crate::vfs::walk::LastLink::Follow).unwrap()
}

#[test]
fn shared_mounts_tell_their_peers_and_slaves_only_hear() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    for dir in ["/a", "/peer", "/slave"] {
        world.mkdir(dir).unwrap();
    }
    let at = |path: &str| world.resolve(path).unwrap();
    mount(&world, &namespace, &at("/a"));
    world.mkdir("/a/x").unwrap();
    namespace.set_propagation(&at("/a"), Propagation::Shared, BindDepth::One).unwrap();
    namespace.bind(&at("/a"), &at("/peer"), BindDepth::One).unwrap();
    namespace.bind(&at("/a"), &at("/slave"), BindDepth::One).unwrap();
    namespace.set_propagation(&at("/slave"), Propagation::Slave, BindDepth::One).unwrap();
    mount(&world, &namespace, &at("/peer/x"));
    assert_eq!(
        places(&namespace),
        "/ \n/a shared:1\n/a/x shared:2\n/peer shared:1\n/peer/x shared:2\n/slave master:1\n/slave/x master:2"
    );
    namespace.unmount(at("/slave/x"), Unmount::Idle).unwrap();
    assert_eq!(places(&namespace).matches("/x").count(), 2, "a slave tells nobody");
    let busy = at("/a/x");
    assert_eq!(namespace.unmount(at("/peer/x"), Unmount::Idle), Err(EBUSY));
    drop(busy);
    namespace.unmount(at("/peer/x"), Unmount::Idle).unwrap();
    assert_eq!(places(&namespace), "/ \n/a shared:1\n/peer shared:1\n/slave master:1");
    // The last of a group takes it along: its slave is alone then.
    namespace.unmount(at("/a"), Unmount::Idle).unwrap();
    namespace.set_propagation(&at("/peer"), Propagation::Private, BindDepth::One).unwrap();
    assert_eq!(places(&namespace), "/ \n/peer \n/slave ");
}

#[test]
fn what_finds_no_room_stays_as_it_was() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    for dir in ["/a", "/b", "/c", "/m", "/f"] {
        world.mkdir(dir).unwrap();
    }
    let at = |path: &str| world.resolve(path).unwrap();
    mount(&world, &namespace, &at("/a"));
    world.mkdir("/a/x").unwrap();
    namespace.set_propagation(&at("/a"), Propagation::Shared, BindDepth::One).unwrap();
    namespace.bind(&at("/a"), &at("/b"), BindDepth::One).unwrap();
    namespace.bind(&at("/a"), &at("/c"), BindDepth::One).unwrap();
    mount(&world, &namespace, &at("/m"));
    // One more has room, and not those that the peers get.
    for number in namespace.mounts().len()..MOST_MOUNTS - 1 {
        let dir = alloc::format!("/f/{number}");
        world.mkdir(&dir).unwrap();
        mount(&world, &namespace, &at(&dir));
    }
    let again = || Tmpfs::new(&world.services, "tmpfs", Device::new(0, 22), Options::default());
    for _ in 0..3 {
        let done = namespace.mount(again(), b"t", &at("/a/x"), MountFlags::empty(), &UserNs::INITIAL);
        assert_eq!(done, Err(ENOSPC));
        assert_eq!(namespace.bind(&at("/m"), &at("/a/x"), BindDepth::One), Err(ENOSPC));
        assert_eq!(namespace.move_mount(&at("/m"), &at("/a/x"), Origin::Attached), Err(ENOSPC));
    }
    assert!(places(&namespace).lines().any(|line| line == "/m "), "not shared");
    for dir in ["/f/5", "/f/6"] {
        namespace.unmount(at(dir), Unmount::Idle).unwrap();
    }
    namespace.move_mount(&at("/m"), &at("/a/x"), Origin::Attached).unwrap();
    assert!(places(&namespace).lines().any(|line| line == "/a/x shared:2"), "the lowest number is free");
}

#[test]
fn unbindable_mounts_are_left_out_of_copies() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    for dir in ["/a", "/b"] {
        world.mkdir(dir).unwrap();
    }
    let at = |path: &str| world.resolve(path).unwrap();
    mount(&world, &namespace, &at("/a"));
    world.mkdir("/a/x").unwrap();
    mount(&world, &namespace, &at("/a/x"));
    namespace.set_propagation(&at("/a/x"), Propagation::Unbindable, BindDepth::One).unwrap();
    assert_eq!(namespace.bind(&at("/a/x"), &at("/b"), BindDepth::One), Err(EINVAL));
    namespace.bind(&at("/a"), &at("/b"), BindDepth::Recursive).unwrap();
    assert_eq!(places(&namespace), "/ \n/a \n/a/x unbindable\n/b ");
    let new = copy(&world, &UserNs::INITIAL);
    assert_eq!(places(&new), "/ \n/a \n/a/x unbindable\n/b ");
}

#[test]
fn moves_keep_what_is_on_a_mount_and_do_not_loop() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    for dir in ["/a", "/b"] {
        world.mkdir(dir).unwrap();
    }
    let at = |path: &str| world.resolve(path).unwrap();
    mount(&world, &namespace, &at("/a"));
    world.mkdir("/a/x").unwrap();
    mount(&world, &namespace, &at("/a/x"));
    assert_eq!(namespace.move_mount(&at("/a"), &at("/a/x"), Origin::Attached), Err(ELOOP));
    assert_eq!(namespace.move_mount(&at("/"), &at("/b"), Origin::Attached), Err(EINVAL));
    namespace.move_mount(&at("/a"), &at("/b"), Origin::Attached).unwrap();
    assert_eq!(places(&namespace), "/ \n/b \n/b/x ");
    namespace.set_propagation(&at("/"), Propagation::Shared, BindDepth::One).unwrap();
    assert_eq!(namespace.move_mount(&at("/b"), &at("/a"), Origin::Attached), Err(EINVAL), "parent is shared");
    // A tree that is nowhere comes somewhere, and goes when nobody wants it.
    namespace.set_propagation(&at("/"), Propagation::Private, BindDepth::One).unwrap();
    let tree = namespace.clone_tree(&at("/b"), BindDepth::Recursive).unwrap();
    namespace.move_mount(&tree.root, &at("/a"), Origin::Detached).unwrap();
    assert_eq!(namespace.move_mount(&tree.root, &at("/a"), Origin::Detached), Err(ELOOP));
    drop(tree);
    drop(namespace.clone_tree(&at("/b"), BindDepth::Recursive).unwrap());
    assert_eq!(places(&namespace), "/ \n/a \n/a/x \n/b \n/b/x ");
}

#[test]
fn a_foreign_copy_hears_but_cannot_uncover() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    for dir in ["/a", "/b"] {
        world.mkdir(dir).unwrap();
    }
    let at = |path: &str| world.resolve(path).unwrap();
    mount(&world, &namespace, &at("/a"));
    namespace.set_flags(&at("/a"), MountFlags::READ_ONLY | MountFlags::REL_ATIME).unwrap();
    namespace.set_propagation(&at("/"), Propagation::Shared, BindDepth::One).unwrap();
    let inside = UserNs::create(&Cred::root(), &NsCounts::new(9)).unwrap();
    let new = copy(&world, &inside.user_ns);
    let there = |path: &str| same(&new, path, &world);
    assert_eq!(places(&new), "/ master:1\n/a ");
    assert_eq!(new.unmount(there("/a"), Unmount::Detach), Err(EINVAL));
    assert_eq!(new.set_flags(&there("/a"), MountFlags::REL_ATIME), Err(EPERM));
    assert_eq!(new.bind(&there("/"), &there("/b"), BindDepth::One), Err(EINVAL));
    mount(&world, &namespace, &at("/b"));
    assert_eq!(places(&new), "/ master:1\n/a \n/b master:2");
    namespace.unmount(at("/b"), Unmount::Idle).unwrap();
    assert_eq!(places(&new), "/ master:1\n/a ");
    // What is below `/a` is hidden from it.
    assert!(!new.sees_whole("tmpfs", MountFlags::REL_ATIME));
    assert!(namespace.sees_whole("tmpfs", MountFlags::REL_ATIME));
}

#[test]
fn changes_are_counted_and_namespaces_leave_nothing() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    world.mkdir("/a").unwrap();
    let at = |path: &str| world.resolve(path).unwrap();
    namespace.set_propagation(&at("/"), Propagation::Shared, BindDepth::One).unwrap();
    let before = namespace.changes();
    let new = copy(&world, &UserNs::INITIAL);
    mount(&world, &new, &same(&new, "/a", &world));
    assert_eq!((places(&namespace), namespace.changes()), ("/ shared:1\n/a shared:2".into(), before + 1));
    drop(new);
    namespace.unmount(at("/a"), Unmount::Idle).unwrap();
    assert!(!at("/a").dentry.has_mounts());
    assert_eq!(places(&namespace), "/ shared:1");
}

/// Counts how often it is to be written, and cannot be.
struct Unwritable(Arc<dyn FileSystem>, AtomicU32);

impl FileSystem for Unwritable {
    fn name(&self) -> &'static str {
        "unwritable"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.0.root()
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn sync(&self) -> Result<()> {
        self.1.fetch_add(1, Relaxed);
        Err(EIO)
    }
}

#[test]
fn each_file_system_is_written_once_wherever_it_is() {
    let world = World::new();
    let namespace = world.context.namespace().clone();
    for dir in ["/a", "/b"] {
        world.mkdir(dir).unwrap();
    }
    let at = |path: &str| world.resolve(path).unwrap();
    let fs = |minor| {
        let inside = Tmpfs::new(&world.services, "tmpfs", Device::new(0, minor), Options::default());
        Arc::new(Unwritable(inside, AtomicU32::new(0)))
    };
    let all = [fs(31), fs(32)];
    for (fs, place) in all.iter().zip(["/a", "/b"]) {
        namespace.mount(fs.clone(), b"u", &at(place), MountFlags::empty(), &UserNs::INITIAL).unwrap();
    }
    namespace.bind(&at("/b"), &at("/a"), BindDepth::One).unwrap();
    let elsewhere = copy(&world, &UserNs::INITIAL);
    for place in ["/a", "/a", "/b"] {
        namespace.unmount(at(place), Unmount::Detach).unwrap();
    }
    let written = || all.each_ref().map(|fs| fs.1.load(Relaxed));
    assert_eq!((namespace.table.sync(), written()), (Err(EIO), [1, 1]));
    drop(elsewhere);
    assert_eq!((namespace.table.sync(), written()), (Ok(()), [1, 1]));
}

/// Namespaces that hold each other's files, one in the other, end in a loop: on a small stack.
#[test]
fn a_chain_of_namespaces_ends_without_recursion() {
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let end = || {
        let world = World::new();
        world.file("/f", b"");
        let counts = NsCounts::new(3000);
        let mut last: Option<Arc<Namespace>> = None;
        // The one made last holds the one before it, and so on: numbers go down.
        for number in (10..2000).rev() {
            let count = counts.count(NsKind::Mnt, &UserNs::INITIAL, 0).unwrap();
            let (new, _) = world.context.namespace().copy(number, UserNs::INITIAL, count).unwrap();
            if let Some(held) = last {
                let file = crate::fs::nsfs::AnyNs::Mnt(held).path();
                new.bind(&file, &same(&new, "/f", &world), BindDepth::One).unwrap();
            }
            last = Some(new);
        }
        drop(last);
        assert!(counts.count(NsKind::Mnt, &UserNs::INITIAL, 0).is_ok());
        assert_eq!(world.context.namespace().table.len(), 0);
    };
    small.spawn(end).unwrap().join().unwrap();
}
