//! ext4 through power cuts, on a disk that forgets and reorders what was not flushed.

extern crate std;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use std::process::Command;

use super::recovery::{self, LEN, SUPERBLOCK};
use super::tests::{MIB, Machine, UBDA, complaints, disks, formatted, show_failures};
use super::*;
use crate::block::testing::{Random, TestDisk};
use crate::errno::{EEXIST, ENOENT};
use crate::vfs::file::{OpenFile, OpenFlags};
use crate::vfs::inode::{RenameMode, SetAttr};
use crate::vfs::mount::Unmount;

/// Who replays the journal after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replay {
    /// A mount that is cut off as well, and then one that is not.
    Mount,
    /// `e2fsck -p`.
    E2fsck,
}

/// What a disk writes wholly or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Atom {
    Block,
    Sector,
}

const WAYS: [(Replay, Atom); 4] = [
    (Replay::Mount, Atom::Block),
    (Replay::Mount, Atom::Sector),
    (Replay::E2fsck, Atom::Block),
    (Replay::E2fsck, Atom::Sector),
];

/// What files there must be after a power cut.
#[derive(Default)]
struct Promises {
    now: BTreeMap<String, Vec<u8>>,
    /// When all changes were last written.
    synced: BTreeMap<String, Vec<u8>>,
    /// What each file was since then.
    since: BTreeMap<String, Vec<Option<Vec<u8>>>>,
    /// Written to since then: they may be anything.
    written: BTreeSet<String>,
    /// Names that files had until then, by the names that they have now.
    renamed: BTreeMap<String, String>,
}

impl Promises {
    fn set(&mut self, path: &str, contents: Option<Vec<u8>>) {
        self.since.entry(path.into()).or_default().push(contents.clone());
        match contents {
            Some(contents) => self.now.insert(path.into(), contents),
            None => self.now.remove(path),
        };
    }

    fn write(&mut self, path: &str, contents: Vec<u8>) {
        self.written.insert(path.into());
        self.written.extend(self.renamed.get(path).cloned());
        self.set(path, Some(contents));
    }

    fn unlink(&mut self, path: &str) {
        self.renamed.remove(path);
        self.set(path, None);
    }

    fn rename(&mut self, old: &str, new: &str) {
        self.set(new, Some(self.now[old].clone()));
        self.set(old, None);
        self.renamed.insert(new.into(), old.into());
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.now);
        self.since.clear();
        self.written.clear();
        self.renamed.clear();
    }

    /// Whether a file may be so.
    fn allow(&self, path: &String, contents: Option<&Vec<u8>>) -> bool {
        let later = self.since.get(path).into_iter().flatten().any(|state| state.as_ref() == contents);
        self.written.contains(path) || self.synced.get(path) == contents || later
    }
}

/// Writers that sync now and then.
struct Writers<'a> {
    machine: &'a Machine,
    random: Random,
    promises: Promises,
    /// Files without a name.
    held: Vec<Arc<OpenFile>>,
}

impl Writers<'_> {
    fn fsync(&mut self, file: &OpenFile) -> Result<()> {
        self.machine.fsync(file)?;
        self.promises.sync();
        Ok(())
    }

    fn write_at(&self, file: &OpenFile, offset: usize, bytes: &[u8]) -> Result<()> {
        *file.position.lock() = offset as u64;
        self.machine.world.write(file, bytes).map(drop)
    }

    fn new_file(&mut self, path: &str, round: u32) -> Result<Arc<OpenFile>> {
        let bytes = vec![(round % 250) as u8 + 1; self.random.below(9000) as usize + 1];
        self.promises.write(path, bytes.clone());
        let world = &self.machine.world;
        let file = world.open(path, OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::RDWR)?;
        world.write(&file, &bytes)?;
        Ok(file)
    }

    /// A change that may be cut off.
    fn step(&mut self, round: u32) -> Result<()> {
        let world = &self.machine.world;
        let path = format!("/mnt/f{}", self.random.below(6));
        match self.random.below(15) {
            0..5 => {
                let file = self.new_file(&path, round)?;
                if self.random.below(4) > 0 {
                    self.fsync(&file)?;
                }
            }
            5 if self.promises.now.contains_key(&path) => {
                self.promises.unlink(&path);
                if self.random.below(3) == 0 {
                    self.held.push(world.open(&path, OpenFlags::RDWR)?);
                }
                world.unlink(&path)?;
            }
            6 => {
                let file = self.new_file("/mnt/new", round)?;
                self.fsync(&file)?;
                self.promises.rename("/mnt/new", &path);
                world.rename("/mnt/new", &path, RenameMode::Replace)?;
            }
            7 => {
                world.mkdir("/mnt/dir")?;
                let file = self.new_file("/mnt/dir/file", round)?;
                if self.random.below(2) == 0 {
                    self.fsync(&file)?;
                }
            }
            8 if world.resolve("/mnt/dir").is_ok() => {
                self.promises.unlink("/mnt/dir/file");
                world.unlink("/mnt/dir/file")?;
                world.rmdir("/mnt/dir")?;
            }
            9 if self.promises.now.contains_key(&path) => {
                let mut bytes = self.promises.now[&path].clone();
                let at = bytes.len();
                bytes.resize(at + self.random.below(6000) as usize + 1, (round % 250) as u8 + 1);
                self.promises.write(&path, bytes.clone());
                let file = world.open(&path, OpenFlags::RDWR)?;
                self.write_at(&file, at, &bytes[at..])?;
                if self.random.below(2) == 0 {
                    self.fsync(&file)?;
                }
            }
            10 if self.promises.now.contains_key(&path) => {
                let mut bytes = self.promises.now[&path].clone();
                bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize);
                let size = Some(bytes.len() as u64);
                self.promises.write(&path, bytes);
                world.resolve(&path)?.inode().set_attr(&SetAttr { size, ..SetAttr::default() })?;
            }
            // More pieces than an inode has room for.
            11 => {
                let mut bytes = Vec::new();
                for piece in 0..6 + self.random.below(6) as usize {
                    bytes.resize(piece * 8192, 0);
                    bytes.resize(piece * 8192 + 4096, (round % 250) as u8 + 1);
                }
                self.promises.write(&path, bytes.clone());
                let file = world.open(&path, OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::RDWR)?;
                for (piece, bytes) in bytes.chunks(8192).enumerate() {
                    self.write_at(&file, piece * 8192, &bytes[..4096])?;
                }
                if self.random.below(2) == 0 {
                    self.fsync(&file)?;
                }
            }
            12 => {
                let file = world.open("/mnt", OpenFlags::TMPFILE | OpenFlags::RDWR)?;
                let bytes = vec![(round % 250) as u8 + 1; self.random.below(9000) as usize + 1];
                world.write(&file, &bytes)?;
                let name = path.as_bytes();
                if self.random.below(2) == 0 && world.resolve(&path).is_err() {
                    self.promises.write(&path, bytes);
                    let unnamed = file.path.clone().ok_or(ENOENT)?;
                    world.walker().link(&unnamed, &world.cwd(), name)?;
                    self.fsync(&file)?;
                } else {
                    self.held.push(file);
                }
            }
            13 => drop(self.held.pop()),
            _ => {}
        }
        Ok(())
    }
}

/// Writers that sync, until the power is cut; what was synced must be there afterwards. Some live long enough for the journal
/// to begin anew.
fn cut(empty: &[u8], seed: u64, replay: Replay, atom: Atom) {
    show_failures();
    let mut random = Random::new(seed);
    let long = if seed % 8 == 7 { 20 } else { 1 };
    let machine = Machine::mounted(empty.to_vec());
    if atom == Atom::Sector {
        machine.disk.tear_sectors();
    }
    machine.disk.cut_after(random.below(160 * long));
    let rounds = random.below(120 * long) as u32;
    let mut writers = Writers { machine: &machine, random, promises: Promises::default(), held: Vec::new() };
    for round in 0..rounds {
        match writers.step(round) {
            // There are two directories of that name.
            Ok(()) | Err(EEXIST) => {}
            Err(_) => break,
        }
    }
    let Writers { mut random, promises, held, .. } = writers;
    // It may be cut as well, or refused.
    let at = machine.world.resolve("/mnt").unwrap();
    let _ = machine.world.context.namespace().unmount(at, Unmount::Idle);
    let mut bytes = machine.disk.after_cut(&mut random);
    drop(held);
    let name = format!("cut{seed}");
    // What e2fsck cannot read.
    let is_torn = !recovery::is_whole(&bytes[SUPERBLOCK as usize..][..LEN]);
    assert!(!is_torn || atom == Atom::Sector, "seed {seed}");
    if replay == Replay::E2fsck && !is_torn {
        bytes = replayed(bytes, &name);
        assert_eq!(complaints(&bytes, &name), "", "seed {seed}");
    } else {
        let interrupted = Arc::new(TestDisk::new(bytes));
        if atom == Atom::Sector {
            interrupted.tear_sectors();
        }
        interrupted.cut_after(random.below(40));
        let early = Mounted::new(&machine.world.services, &disks(&interrupted));
        drop(early.mount("ext4", UBDA, MountFlags::empty(), b""));
        bytes = interrupted.after_cut(&mut random);
    }
    let after = Machine::mounted(bytes);
    let paths: BTreeSet<&String> = promises.synced.keys().chain(promises.since.keys()).collect();
    for path in paths {
        let contents = after.contents(path).ok();
        assert!(promises.allow(path, contents.as_ref()), "seed {seed}: {path}");
    }
    assert_eq!(after.world.list("/mnt/lost+found").len(), 2, "seed {seed}: nothing but dots");
    after.unmount();
    assert_eq!(complaints(&after.disk.bytes(), &name), "", "seed {seed}");
}

/// The bytes of a disk after `e2fsck -p`, if it is there.
fn replayed(bytes: Vec<u8>, name: &str) -> Vec<u8> {
    let path = std::env::temp_dir().join(format!("lodger-ext4-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    if let Ok(output) = Command::new("e2fsck").arg("-p").arg(&path).output() {
        // 1: errors were corrected, which a replay may be.
        assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
    }
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    bytes
}

#[test]
fn what_was_synced_survives_a_power_cut() {
    let empty = formatted(24 * MIB);
    (0..12).for_each(|seed| cut(&empty, seed, Replay::Mount, Atom::Block));
    (0..4).for_each(|seed| cut(&empty, seed, Replay::Mount, Atom::Sector));
    (0..4).for_each(|seed| cut(&empty, seed, Replay::E2fsck, Atom::Block));
}

/// `LODGER_SEEDS=FIRST..LAST` takes others than the hundred that are the default.
#[test]
#[ignore = "takes minutes"]
fn what_was_synced_survives_many_power_cuts() {
    let range = std::env::var("LODGER_SEEDS").unwrap_or("100..200".into());
    let (first, last) = range.split_once("..").unwrap();
    let empty = formatted(24 * MIB);
    let mut failed = Vec::new();
    for seed in first.parse::<u64>().unwrap()..last.parse().unwrap() {
        for (replay, atom) in WAYS {
            if std::panic::catch_unwind(|| cut(&empty, seed, replay, atom)).is_err() {
                failed.push((seed, replay, atom));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// The superblock with the first sector of one time and the second of another.
fn torn(bytes: &[u8], first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut torn = bytes.to_vec();
    torn[1024..1536].copy_from_slice(&first[1024..1536]);
    torn[1536..2048].copy_from_slice(&second[1536..2048]);
    torn
}

#[test]
fn a_superblock_of_two_times_is_mended() {
    let clean = formatted(24 * MIB);
    let machine = Machine::mounted(clean.clone());
    let file = machine.world.file("/mnt/x", b"there");
    machine.fsync(&file).unwrap();
    let dirty = machine.disk.bytes();
    for bytes in [torn(&dirty, &dirty, &clean), torn(&dirty, &clean, &dirty)] {
        let machine = Machine::mounted(bytes);
        machine.unmount();
        assert_eq!(complaints(&machine.disk.bytes(), "torn"), "");
    }
    let mut damaged = torn(&dirty, &dirty, &clean);
    damaged[1024 + 0x28] ^= 1;
    assert!(Machine::new(damaged).mount(MountFlags::empty(), b"").is_err());
}

/// Free blocks and inodes.
fn room(machine: &Machine) -> (u64, u64) {
    let stats = machine.world.resolve("/mnt").unwrap().inode().statfs();
    (stats.blocks_free, stats.files_free)
}

/// What has no name and is open, when the power is cut.
fn nameless(machine: &Machine) -> [Arc<OpenFile>; 2] {
    let world = &machine.world;
    let deleted = world.file("/mnt/deleted", &[1; 50_000]);
    machine.fsync(&deleted).unwrap();
    world.unlink("/mnt/deleted").unwrap();
    let unnamed = world.open("/mnt", OpenFlags::TMPFILE | OpenFlags::RDWR).unwrap();
    world.write(&unnamed, &[2; 50_000]).unwrap();
    machine.fsync(&unnamed).unwrap();
    [deleted, unnamed]
}

#[test]
fn what_has_no_name_is_freed_after_a_power_cut() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let before = room(&machine);
    let held = nameless(&machine);
    assert!(room(&machine).0 < before.0 - 20 && room(&machine).1 == before.1 - 2);
    let cut = machine.disk.bytes();
    for bytes in [replayed(cut.clone(), "nameless"), cut] {
        let after = Machine::mounted(bytes);
        assert_eq!(room(&after), before);
        after.unmount();
        assert_eq!(complaints(&after.disk.bytes(), "nameless"), "");
    }
    drop(held);
    assert_eq!(room(&machine), before);
}

#[test]
fn a_guest_that_ends_with_deleted_files_open_leaves_nothing_to_replay() {
    let machine = Machine::new(formatted(24 * MIB));
    let mounted = machine.mount_kept(MountFlags::empty(), b"").unwrap();
    let _held = nameless(&machine);
    Ext4Type { name: "ext4", mounted }.shut_down();
    let bytes = machine.disk.bytes();
    assert!(!recovery::needs_recovery(&bytes[SUPERBLOCK as usize..]));
    assert_eq!(complaints(&bytes, "held"), "");
}

#[test]
fn a_file_made_without_a_name_may_get_one() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let world = &machine.world;
    let file = world.open("/mnt", OpenFlags::TMPFILE | OpenFlags::RDWR).unwrap();
    world.write(&file, b"there").unwrap();
    assert_eq!(file.inode.metadata().nlink, 0);
    world.walker().link(&file.path.clone().unwrap(), &world.cwd(), b"/mnt/named").unwrap();
    assert_eq!(file.inode.metadata().nlink, 1);
    world.unlink("/mnt/named").unwrap();
    assert_eq!(file.inode.metadata().nlink, 0);
    let again = world.walker().link(&file.path.clone().unwrap(), &world.cwd(), b"/mnt/again");
    assert_eq!(again, Err(ENOENT));
    drop(file);
    let file = world.open("/mnt", OpenFlags::TMPFILE | OpenFlags::RDWR).unwrap();
    world.write(&file, b"there").unwrap();
    world.walker().link(&file.path.clone().unwrap(), &world.cwd(), b"/mnt/named").unwrap();
    drop(file);
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "unnamed"), "");
    machine.mount(MountFlags::empty(), b"").unwrap();
    assert_eq!(machine.contents("/mnt/named"), Ok(b"there".to_vec()));
    assert_eq!(world.list("/mnt/lost+found").len(), 2);
}

#[test]
fn a_journal_that_is_not_to_be_replayed_is_not() {
    let machine = Machine::mounted(formatted(24 * MIB));
    let file = machine.world.file("/mnt/x", b"there");
    machine.fsync(&file).unwrap();
    let mut bytes = machine.disk.bytes();
    let superblock = recovery::with_recovery(&bytes[SUPERBLOCK as usize..][..LEN], false);
    bytes[SUPERBLOCK as usize..][..LEN].copy_from_slice(&superblock);
    let machine = Machine::mounted(bytes);
    assert_eq!(machine.contents("/mnt/x").err(), Some(ENOENT));
    machine.world.file("/mnt/y", b"there");
    machine.unmount();
    assert_eq!(complaints(&machine.disk.bytes(), "stale"), "");
}
