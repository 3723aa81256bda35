//! ext4 on test disks: against a model, damaged, full.

extern crate std;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use std::ops::Range;
use std::process::Command;

use rsext4::MkfsOptions;

use super::*;
use crate::block::testing::{Random, TestDisk};
use crate::errno::{ENOENT, ENOSPC, Errno};
use crate::task::user_ns::UserNs;
use crate::vfs::file::{OpenFile, OpenFlags, Whence};
use crate::vfs::inode::{Attached, RenameMode, SetAttr, SetTime, XattrMode};
use crate::vfs::mount::Unmount;
use crate::vfs::testing::World;

pub(super) const MIB: u64 = 1 << 20;

/// Shows what the file system says of its failures.
struct Loud;

impl log::Log for Loud {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        std::eprintln!("{}", record.args());
    }

    fn flush(&self) {}
}

pub(super) fn show_failures() {
    // Another test may have done it.
    let _ = log::set_logger(&Loud);
    log::set_max_level(log::LevelFilter::Error);
}

/// A disk with an empty file system, and a world with it at `/mnt`.
pub(super) struct Machine {
    pub disk: Arc<TestDisk>,
    pub world: World,
}

pub(super) fn disks(disk: &Arc<TestDisk>) -> Arc<Disks> {
    let disks = Arc::<Disks>::default();
    disks.add(0, disk.clone());
    disks
}

pub(super) const UBDA: Device = Device::new(crate::block::MAJOR, 0);

/// The bytes of an empty file system.
pub(super) fn formatted(size: u64) -> Vec<u8> {
    let disk = Arc::new(TestDisk::empty(size));
    let volume = disks(&disk).volume(UBDA).unwrap();
    let clock = Arc::<SetClock>::default();
    drop(
        rsext4::format(Io::new(&volume, &Arc::default()), ClockHandle(clock), MkfsOptions::default())
            .unwrap(),
    );
    disk.bytes()
}

impl Machine {
    pub(super) fn new(bytes: Vec<u8>) -> Machine {
        Machine { disk: Arc::new(TestDisk::new(bytes)), world: World::new() }
    }

    pub(super) fn mount(&self, flags: MountFlags, options: &[u8]) -> Result<()> {
        self.mount_kept(flags, options).map(drop)
    }

    pub(super) fn mount_kept(&self, flags: MountFlags, options: &[u8]) -> Result<Arc<Mounted>> {
        if self.world.resolve("/mnt").is_err() {
            self.world.mkdir("/mnt").unwrap();
        }
        let mounted = Mounted::new(&self.world.services, &disks(&self.disk));
        let fs = mounted.mount("ext4", UBDA, flags, options)?;
        let at = self.world.resolve("/mnt")?;
        self.world.context.namespace().mount(fs, b"/dev/ubda", &at, flags, &UserNs::INITIAL)?;
        Ok(mounted)
    }

    pub(super) fn mounted(bytes: Vec<u8>) -> Machine {
        let machine = Machine::new(bytes);
        machine.mount(MountFlags::empty(), b"").unwrap();
        machine
    }

    pub(super) fn unmount(&self) {
        let at = self.world.resolve("/mnt").unwrap();
        self.world.context.namespace().unmount(at, Unmount::Idle).unwrap();
    }

    fn remount(&self) {
        self.unmount();
        self.mount(MountFlags::empty(), b"").unwrap();
    }

    pub(super) fn contents(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.world.open(path, OpenFlags::empty())?;
        // A damaged file may have any size.
        let len = file.inode.metadata().size.min(MIB) as usize;
        self.world.read_at(&file, 0, len)
    }

    pub(super) fn fsync(&self, file: &OpenFile) -> Result<()> {
        file.ops.sync(self.world.op(file))
    }
}

/// What `e2fsck -fn` says of a disk, if it is there: nothing if the file system is clean.
pub(super) fn complaints(bytes: &[u8], name: &str) -> String {
    let path = std::env::temp_dir().join(format!("lodger-ext4-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let checked = Command::new("e2fsck").arg("-fn").arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    match checked {
        Ok(output) if output.status.success() => String::new(),
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            std::eprintln!("e2fsck cannot be run: {error}");
            String::new()
        }
    }
}

#[test]
fn names_change_while_their_directory_grows() {
    show_failures();
    let machine = Machine::mounted(formatted(24 * MIB));
    let world = &machine.world;
    world.mkdir("/mnt/d").unwrap();
    let name = |n: u32| format!("/mnt/d/{n}-{}", "x".repeat(60));
    for n in 0..120 {
        let new = format!("{}.new", name(n));
        if n % 3 == 0 {
            world.mkdir(&new).unwrap();
        } else {
            world.file(&new, b"x");
        }
        world.rename(&new, &name(n), RenameMode::NoReplace).unwrap();
        assert_eq!(world.resolve(&new).err(), Some(ENOENT));
    }
    machine.remount();
    for n in 0..120 {
        let meta = world.resolve(&name(n)).unwrap().inode().metadata();
        assert_eq!(meta.nlink, if n % 3 == 0 { 2 } else { 1 });
    }
    assert_eq!(world.resolve("/mnt/d").unwrap().inode().metadata().nlink, 42);
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "names"), "");
}

#[test]
fn directories_in_pieces_have_all_their_blocks() {
    show_failures();
    let machine = Machine::mounted(formatted(24 * MIB));
    let world = &machine.world;
    world.mkdir("/mnt/d").unwrap();
    let name = |n: u32| format!("/mnt/d/{n}-{}", "x".repeat(60));
    for n in 0..400 {
        world.file(&name(n), b"x");
        if n % 30 == 0 {
            // What was written so far takes blocks between those of the directory.
            world.context.namespace().table.sync().unwrap();
        }
    }
    machine.remount();
    // With the node of its tree of extents.
    let attr = world.resolve("/mnt/d").unwrap().inode().metadata();
    assert!(attr.blocks * 512 > attr.size, "{attr:?}");
    assert!((0..400).all(|n| machine.contents(&name(n)).as_deref() == Ok(b"x")));
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "pieces"), "");
}

/// Random operations, and what must come of them.
struct Model<'a> {
    machine: &'a Machine,
    random: Random,
    files: BTreeMap<String, Vec<u8>>,
    dirs: Vec<String>,
}

impl Model<'_> {
    fn some_file(&mut self) -> Option<String> {
        let count = self.files.len() as u64;
        let pick = if count == 0 { return None } else { self.random.below(count) };
        self.files.keys().nth(pick as usize).cloned()
    }

    fn new_name(&mut self) -> String {
        let dir = self.random.below(self.dirs.len() as u64) as usize;
        format!("{}/n{}", self.dirs[dir], self.random.below(40))
    }

    fn write(&mut self, path: &str) -> Result<()> {
        let file = self.machine.world.open(path, OpenFlags::CREAT | OpenFlags::RDWR)?;
        let contents = self.files.entry(path.into()).or_default();
        let offset = self.random.below(60_000) as usize;
        let new = vec![self.random.any() as u8; self.random.below(30_000) as usize + 1];
        let op = self.machine.world.op(&file);
        let written = file.ops.write_at(op, offset as u64, &mut crate::io::SliceSource(&new))?;
        assert_eq!(written, new.len());
        contents.resize(contents.len().max(offset + written), 0);
        contents[offset..offset + written].copy_from_slice(&new);
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let world = &self.machine.world;
        match self.random.below(100) {
            0..40 => {
                let path = match self.random.below(2) {
                    0 => self.new_name(),
                    _ => self.some_file().unwrap_or(String::from("/mnt/first")),
                };
                if !self.dirs.contains(&path) {
                    self.write(&path)?;
                }
            }
            40..50 => {
                let Some(path) = self.some_file() else { return Ok(()) };
                let size = self.random.below(80_000);
                let inode = world.resolve(&path)?.inode().clone();
                inode.set_attr(&SetAttr { size: Some(size), ..SetAttr::default() })?;
                self.files.get_mut(&path).unwrap().resize(size as usize, 0);
            }
            50..60 => {
                let Some(path) = self.some_file() else { return Ok(()) };
                world.unlink(&path)?;
                self.files.remove(&path);
            }
            60..70 => {
                let (Some(from), to) = (self.some_file(), self.new_name()) else { return Ok(()) };
                if !self.dirs.contains(&to) {
                    world.rename(&from, &to, RenameMode::Replace)?;
                    let contents = self.files.remove(&from).unwrap();
                    self.files.insert(to, contents);
                }
            }
            70..75 if self.dirs.len() < 12 => {
                let path = self.new_name();
                if !self.dirs.contains(&path) && !self.files.contains_key(&path) {
                    world.mkdir(&path)?;
                    self.dirs.push(path);
                }
            }
            75..80 => {
                let Some(path) = self.some_file() else { return Ok(()) };
                let file = world.open(&path, OpenFlags::RDWR)?;
                let (at, len) = (self.random.below(60_000), self.random.below(30_000) + 1);
                file.ops.allocate(world.op(&file), 3, at, len)?;
                let contents = self.files.get_mut(&path).unwrap();
                let (start, end) = ((at as usize).min(contents.len()), (at + len) as usize);
                let end = end.min(contents.len());
                contents[start..end].fill(0);
            }
            80..90 => {
                let Some(path) = self.some_file() else { return Ok(()) };
                assert!(self.machine.contents(&path)? == self.files[&path], "{path}");
            }
            90..94 => {
                let Some(path) = self.some_file() else { return Ok(()) };
                let inode = world.resolve(&path)?.inode().clone();
                inode.set_xattr(b"user.model", &vec![7; self.random.below(60) as usize], XattrMode::Any)?;
            }
            94..98 => world.context.namespace().table.sync()?,
            98 => self.machine.remount(),
            _ => {}
        }
        Ok(())
    }

    fn check(&self) {
        for (path, contents) in &self.files {
            assert!(self.machine.contents(path).unwrap() == *contents, "{path}");
        }
        for dir in &self.dirs {
            let found = self.machine.world.list(dir).len();
            let below = |path: &String| path.rsplit_once('/').is_some_and(|(parent, _)| parent == dir);
            let known = self.files.keys().filter(|path| below(path)).count()
                + self.dirs.iter().filter(|path| below(path)).count();
            // `.`, `..`, and in the root `lost+found`.
            assert_eq!(found, known + if dir == "/mnt" { 3 } else { 2 }, "{dir}");
        }
    }
}

fn random_operations(count: u32, seed: u64) {
    show_failures();
    let machine = Machine::mounted(formatted(24 * MIB));
    let mut model = Model {
        machine: &machine,
        random: Random::new(seed),
        files: BTreeMap::new(),
        dirs: vec!["/mnt".into()],
    };
    for step in 0..count {
        model.step().unwrap_or_else(|errno| panic!("step {step}: {errno:?}"));
    }
    model.check();
    machine.remount();
    model.check();
    machine.unmount();
    let complaints = complaints(&machine.disk.bytes(), &format!("model{seed}"));
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn a_remount_may_change_what_is_done_about_damage() {
    let machine = Machine::new(formatted(24 * MIB));
    let mounted = Mounted::new(&machine.world.services, &disks(&machine.disk));
    let fs = mounted.mount("ext4", UBDA, MountFlags::empty(), b"").unwrap();
    assert_eq!(fs.options(), "");
    for (options, shown) in [
        (&b"errors=continue"[..], ",errors=continue"),
        (b"data=ordered", ",errors=continue"),
        (b"errors=remount-ro", ""),
    ] {
        fs.remount(options).unwrap();
        assert_eq!(fs.options(), shown);
    }
    assert_eq!(fs.remount(b"errors=panic"), Err(EINVAL));
}

/// What could not be written any more is not said to last.
#[test]
fn a_file_system_that_was_given_up_syncs_nothing() {
    let machine = Machine::new(formatted(24 * MIB));
    let mounted = Mounted::new(&machine.world.services, &disks(&machine.disk));
    let fs = mounted.mount("ext4", UBDA, MountFlags::empty(), b"").unwrap();
    assert_eq!(fs.sync(), Ok(()));
    let known = mounted.all.lock()[0].1.upgrade().unwrap();
    known.shared.failed(rsext4::Ext4Error::corrupted());
    assert_eq!((fs.sync(), fs.change_flags(MountFlags::empty())), (Err(EROFS), Err(EROFS)));
}

#[test]
fn random_operations_are_as_a_model_has_them() {
    random_operations(800, 1);
}

#[test]
#[ignore = "takes minutes"]
fn many_random_operations_are_as_a_model_has_them() {
    random_operations(20_000, 2);
}

/// A file of which every other block was punched out, and what it holds.
fn file_with_holes(machine: &Machine, blocks: u64) -> Vec<u8> {
    let file = machine.world.file("/mnt/holes", &vec![9; blocks as usize * 4096]);
    for block in (1..blocks).step_by(2) {
        file.ops.allocate(machine.world.op(&file), 3, block * 4096, 4096).unwrap();
    }
    (0..blocks as usize * 4096).map(|at| if at / 4096 % 2 == 0 { 9 } else { 0 }).collect()
}

#[test]
fn a_file_may_have_many_holes() {
    let machine = Machine::mounted(formatted(48 * MIB));
    let contents = file_with_holes(&machine, 1500);
    machine.remount();
    let file = machine.world.open("/mnt/holes", OpenFlags::RDWR).unwrap();
    assert!(machine.world.read_at(&file, 0, contents.len()).unwrap() == contents);
    assert!(file.inode.metadata().blocks < 800 * 8);
    file.ops.allocate(machine.world.op(&file), 1, 0, 1500 * 4096).unwrap();
    file.ops.allocate(machine.world.op(&file), 3, 4096 * 7 + 1, 4096 * 3).unwrap();
    drop(file);
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "holes"), "");
}

#[test]
fn a_file_may_be_written_backwards_with_holes() {
    let machine = Machine::mounted(formatted(48 * MIB));
    let file = machine.world.file("/mnt/f", b"");
    let write = |offset| {
        let op = machine.world.op(&file);
        file.ops.write_at(op, offset, &mut crate::io::SliceSource(&[3; 4096])).unwrap();
        file.ops.sync(machine.world.op(&file)).unwrap();
    };
    for block in (1..1500u64).rev() {
        write(block * 8192);
    }
    // Its first block was taken, and is a hole nevertheless; the journal has begun anew a few times.
    assert_eq!(file.ops.seek(machine.world.op(&file), 0, Whence::Data), Ok(8192));
    assert_eq!(machine.world.read_at(&file, 0, 8192).unwrap(), [0; 8192]);
    write(0);
    file.ops.allocate(machine.world.op(&file), 3, 0, 3 * 8192).unwrap();
    write(8192);
    write(0);
    drop(file);
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "backwards"), "");
}

#[test]
fn a_damaged_file_system_does_no_harm() {
    damage(0..20);
}

#[test]
#[ignore = "takes minutes"]
fn many_damaged_file_systems_do_no_harm() {
    damage(0..200);
}

/// Random bytes in a file system, which is then used as far as it can be.
fn damage(seeds: Range<u64>) {
    let machine = Machine::mounted(formatted(24 * MIB));
    for name in 0..40 {
        machine.world.file(&format!("/mnt/file{name}"), &vec![7; name * 700]);
    }
    machine.world.mkdir("/mnt/dir").unwrap();
    machine.world.symlink("file1", "/mnt/link").unwrap();
    machine.unmount();
    let whole = machine.disk.bytes();
    let mut usable = 0;
    for seed in seeds {
        let mut random = Random::new(seed);
        let mut bytes = whole.clone();
        for _ in 0..random.below(30) + 1 {
            let at = 1024 + random.below(if seed % 2 == 0 { 8 * MIB } else { 256 << 10 }) as usize;
            bytes[at] = random.any() as u8;
        }
        let machine = Machine::new(bytes);
        if machine.mount(MountFlags::empty(), b"").is_err() {
            continue;
        }
        usable += 1;
        for name in machine.world.list_some("/mnt") {
            let path = format!("/mnt/{}", String::from_utf8_lossy(&name));
            let _ = machine.contents(&path);
            let _ = machine.world.unlink(&path);
        }
        if let Ok(file) = machine.world.open("/mnt/new", OpenFlags::CREAT | OpenFlags::RDWR) {
            let _ = machine.world.write(&file, &[1; 20_000]);
            let _ = machine.fsync(&file);
        }
    }
    assert!(usable > 0, "some of them can be mounted");
}

#[test]
fn what_is_no_ext4_is_refused() {
    let refused = |bytes: Vec<u8>, flags: MountFlags, options: &[u8]| -> Errno {
        Machine::new(bytes).mount(flags, options).unwrap_err()
    };
    assert_eq!(refused(vec![0; 1024], MountFlags::empty(), b""), EINVAL);
    assert_eq!(refused(vec![0; MIB as usize], MountFlags::empty(), b""), EINVAL);
    let whole = formatted(24 * MIB);
    assert_eq!(refused(whole.clone(), MountFlags::empty(), b"nonsense"), EINVAL);
    // A truncated image names more blocks than it has.
    let half = whole[..whole.len() / 2].to_vec();
    assert!(Machine::new(half).mount(MountFlags::empty(), b"").is_err());
    let machine = Machine::new(whole);
    machine.disk.make_read_only();
    assert_eq!(machine.mount(MountFlags::empty(), b""), Err(EROFS));
    machine.mount(MountFlags::READ_ONLY, b"").unwrap();
    let new = machine.world.open("/mnt/x", OpenFlags::CREAT | OpenFlags::RDWR);
    assert_eq!(new.err(), Some(EROFS));
}

#[test]
fn a_dirty_file_system_on_a_read_only_disk_is_not_mounted() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let file = machine.world.file("/mnt/x", b"there");
    machine.fsync(&file).unwrap();
    let dirty = Machine::new(machine.disk.bytes());
    dirty.disk.make_read_only();
    assert_eq!(dirty.mount(MountFlags::READ_ONLY, b""), Err(EROFS));
    dirty.mount(MountFlags::READ_ONLY, b"noload").unwrap();
}

#[test]
fn a_full_file_system_says_so_and_stays_sound() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let file = machine.world.file("/mnt/big", b"");
    let mut written = 0;
    let full = loop {
        match machine.world.write(&file, &[5; 100_000]) {
            Ok(more) => written += more,
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, ENOSPC);
    assert!(written > 1_000_000 && file.inode.metadata().size == written as u64);
    drop(file);
    machine.world.unlink("/mnt/big").unwrap();
    machine.world.file("/mnt/small", b"fits again");
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "full"), "");
}

#[test]
fn attributes_survive_a_mount() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let world = &machine.world;
    let time = |sec, nsec| Timestamp { sec, nsec };
    world.file("/mnt/f", b"bytes");
    world.symlink(&"x".repeat(200), "/mnt/long").unwrap();
    world.symlink("f", "/mnt/short").unwrap();
    let inode = world.resolve("/mnt/f").unwrap().inode().clone();
    let change = SetAttr {
        mode: Some(0o4751),
        uid: Some(70_000),
        gid: Some(5),
        atime: Some(SetTime::To(time(5_000_000_000, 123_456_789))),
        mtime: Some(SetTime::To(time(-5, 7))),
        ..SetAttr::default()
    };
    inode.set_attr(&change).unwrap();
    inode.set_xattr(b"user.a", b"1", XattrMode::Create).unwrap();
    assert!(inode.set_xattr(b"user.a", b"2", XattrMode::Create).is_err());
    assert_eq!(inode.owner().attached, Attached::empty());
    // The owner, user 5, the group, a mask and others.
    let entry = |tag, id| [tag, 0, 6, 0, id, id, id, id];
    let acl = [entry(1, 255), entry(2, 5), entry(4, 255), entry(16, 255), entry(32, 255)].concat();
    let acl = [&[2, 0, 0, 0][..], &acl].concat();
    inode.set_xattr(crate::vfs::acl::ACCESS, &acl, XattrMode::Any).unwrap();
    let before = inode.metadata();
    drop(inode);
    machine.remount();
    let inode = machine.world.resolve("/mnt/f").unwrap().inode().clone();
    let after = inode.metadata();
    assert_eq!(after, before);
    assert_eq!((after.mode & 0o7777, after.uid, after.gid), (0o4751, 70_000, 5));
    assert_eq!((after.atime, after.mtime), (time(5_000_000_000, 123_456_789), time(-5, 7)));
    assert_eq!(inode.get_xattr(b"user.a").as_deref(), Ok(&b"1"[..]));
    assert_eq!(inode.owner().attached, Attached::ACCESS_LIST);
    assert_eq!(inode.get_xattr(crate::vfs::acl::ACCESS), Ok(acl));
    assert!(machine.contents("/mnt/short").as_deref() == Ok(b"bytes"));
}

#[test]
fn a_link_in_the_place_of_a_huge_file_is_a_link() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let world = &machine.world;
    let sync = || world.context.namespace().table.sync().unwrap();
    for _ in 0..3 {
        let inode = world.file("/mnt/f", b"").inode.clone();
        inode.set_attr(&SetAttr { size: Some(5 << 30), ..SetAttr::default() }).unwrap();
        drop(inode);
        sync();
        world.unlink("/mnt/f").unwrap();
        sync();
        // It has the number of the file, of which the disk still has the size.
        world.symlink("g", "/mnt/l").unwrap();
        world.file("/mnt/g", b"bytes");
        assert_eq!(machine.contents("/mnt/l").as_deref(), Ok(&b"bytes"[..]));
        world.unlink("/mnt/l").unwrap();
        world.unlink("/mnt/g").unwrap();
    }
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let free = || machine.world.resolve("/mnt").unwrap().inode().statfs().blocks_free;
    let before = free();
    let file = machine.world.file("/mnt/f", &[3; 200_000]);
    machine.world.unlink("/mnt/f").unwrap();
    assert!(machine.world.resolve("/mnt/f").is_err_and(|errno| errno == ENOENT));
    assert!(machine.world.read_at(&file, 199_999, 5).unwrap() == [3] && free() < before);
    drop(file);
    assert_eq!(free(), before);
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "unlinked"), "");
}

#[test]
fn a_big_directory_is_listed_once() {
    let machine = Machine::mounted(formatted(24 * MIB));
    machine.world.mkdir("/mnt/d").unwrap();
    for number in 0..700 {
        machine.world.file(&format!("/mnt/d/a-rather-long-name-{number}"), b"");
    }
    let mut names = machine.world.list("/mnt/d");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 702);
    for number in 0..700 {
        machine.world.unlink(&format!("/mnt/d/a-rather-long-name-{number}")).unwrap();
    }
    machine.world.rmdir("/mnt/d").unwrap();
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "bigdir"), "");
}
