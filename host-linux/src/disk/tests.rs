//! What images and COW files do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel_core::host::block::{BlockDevice, BlockError};

use super::*;

/// A folder of its own that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lodger-disk-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A raw image whose sectors are numbered from `first` on.
    fn image(&self, name: &str, sectors: u8, first: u8) -> PathBuf {
        let bytes: Vec<u8> = (0..sectors).flat_map(|number| vec![first + number; 512]).collect();
        std::fs::write(self.file(name), bytes).unwrap();
        self.file(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sentence(result: Result<Arc<dyn BlockDevice>, DiskError>) -> String {
    result.err().expect("it opens").to_string()
}

fn sectors(disk: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; disk.size() as usize];
    disk.read(0, &mut bytes).unwrap();
    bytes.chunks(512).map(|sector| sector[0]).collect()
}

fn plain() -> Options {
    Options::default()
}

#[test]
fn a_raw_file_is_the_disk() {
    let folder = Folder::new("raw");
    let path = folder.image("a", 4, 1);
    let disk = open(&path, None, plain()).unwrap();
    assert_eq!((disk.size(), disk.read_only()), (2048, false));
    disk.write(512, &[9; 512]).unwrap();
    assert_eq!(sectors(&*disk), [1, 9, 3, 4]);
    for (offset, len) in [(0, 100), (7, 512), (2048, 512), (u64::MAX - 511, 512)] {
        assert_eq!(disk.write(offset, &vec![0; len]), Err(BlockError::OutOfRange));
    }
    disk.discard(0..512).unwrap();
    assert_eq!(sectors(&*disk)[1..], [9, 3, 4]);
    disk.zero(1024..1536).unwrap();
    assert_eq!(sectors(&*disk)[1..], [9, 0, 4]);
    drop(disk);
    assert_eq!(std::fs::read(&path).unwrap()[512], 9);
    std::fs::write(&path, [0; 511]).unwrap();
    assert!(sentence(open(&path, None, plain())).contains("smaller than a sector"));
    assert!(sentence(open(&folder.0, None, plain())).contains("directory"));
    std::fs::write(&path, b"QFI\xfb and so on").unwrap();
    assert!(sentence(open(&path, None, plain())).contains("qcow2"));
}

#[test]
fn who_writes_an_image_has_it_alone() {
    let folder = Folder::new("lock");
    let path = folder.image("a", 4, 1);
    let reader = Options { read_only: true, ..plain() };
    let writer = open(&path, None, plain()).unwrap();
    assert!(sentence(open(&path, None, plain())).contains("in use by another instance"));
    assert!(sentence(open(&path, None, reader)).contains("in use"));
    assert!(open(&path, None, Options { shared: true, ..plain() }).is_ok());
    drop(writer);
    let readers = [open(&path, None, reader).unwrap(), open(&path, None, reader).unwrap()];
    assert_eq!(readers[0].write(0, &[0; 512]), Err(BlockError::ReadOnly));
    assert!(sentence(open(&path, None, plain())).contains("in use"));
}

#[test]
fn a_cow_file_keeps_changes_and_the_backing_file_stays() {
    let folder = Folder::new("cow");
    let (backing, cow) = (folder.image("b", 5, 1), folder.file("c"));
    let disk = open(&cow, Some(&backing), plain()).unwrap();
    disk.write(512, &[8; 1024]).unwrap();
    assert_eq!(sectors(&*disk), [1, 8, 8, 4, 5]);
    disk.discard(0..2560).unwrap();
    disk.write(1024, &[7; 512]).unwrap();
    drop(disk);
    let other = open(&folder.file("d"), Some(&backing), plain()).unwrap();
    assert_eq!(sectors(&*other), [1, 2, 3, 4, 5]);
    other.write(1536, &[8; 512]).unwrap();
    other.zero(1024..2048).unwrap();
    assert_eq!(sectors(&*other), [1, 2, 0, 0, 5]);
    drop(other);
    assert_eq!(sectors(&*open(&folder.file("d"), None, plain()).unwrap()), [1, 2, 0, 0, 5]);
    assert_eq!(sectors(&*open(&cow, None, plain()).unwrap()), [1, 0, 7, 4, 5]);
    let info = image::inspect(&cow).unwrap();
    let below = info.cow.unwrap();
    assert_eq!((info.format, info.size, below.changed, below.problem), (Format::Cow, 2560, 1024, None));
    // The flag d makes it a disk with a strange first sector.
    let data = open(&cow, None, Options { data: true, ..plain() }).unwrap();
    assert!(data.size() > 2560);
}

#[test]
fn bits_are_written_after_the_data_they_speak_of() {
    let folder = Folder::new("bits");
    let (backing, cow) = (folder.image("b", 5, 1), folder.file("c"));
    let disk = open(&cow, Some(&backing), plain()).unwrap();
    let changed = || image::inspect(&cow).unwrap().cow.unwrap().changed;
    disk.write(512, &[8; 512]).unwrap();
    assert_eq!(changed(), 0);
    disk.flush().unwrap();
    assert_eq!(changed(), 512);
    drop(disk);
    let sync = open(&cow, Some(&backing), Options { sync: true, ..plain() }).unwrap();
    sync.write(0, &[8; 512]).unwrap();
    assert_eq!(changed(), 1024);
}

#[test]
fn a_backing_file_that_changed_is_refused() {
    let folder = Folder::new("backing");
    let (backing, cow) = (folder.image("b", 5, 1), folder.file("c"));
    drop(open(&cow, Some(&backing), plain()).unwrap());
    let file = std::fs::File::options().write(true).open(&backing).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.set_modified(time - std::time::Duration::from_secs(5)).unwrap();
    assert!(sentence(open(&cow, None, plain())).contains("was changed since"));
    assert!(image::inspect(&cow).unwrap().cow.unwrap().problem.is_some());
    file.set_modified(time).unwrap();
    assert!(open(&cow, None, plain()).is_ok());
    file.set_len(1024).unwrap();
    file.set_modified(time).unwrap();
    assert!(sentence(open(&cow, None, plain())).contains("2560 bytes"));
    let other = folder.image("o", 5, 1);
    assert!(sentence(open(&cow, Some(&other), plain())).contains("belongs to"));
    assert!(sentence(open(&folder.file("e"), Some(&cow), plain())).contains("COW file itself"));
    assert!(sentence(open(&other, Some(&backing), plain())).contains("no COW file"));
    assert!(!Path::exists(&folder.file("e")), "nothing is left of what failed");
    std::fs::OpenOptions::new().write(true).open(&cow).unwrap().set_len(5000).unwrap();
    file.set_len(2560).unwrap();
    file.set_modified(time).unwrap();
    assert!(sentence(open(&cow, None, plain())).contains("ends in its bitmap"));
}

#[test]
fn merging_gives_the_disk_as_it_was_seen() {
    let folder = Folder::new("merge");
    let (backing, cow) = (folder.image("b", 5, 1), folder.file("c"));
    let disk = open(&cow, Some(&backing), plain()).unwrap();
    disk.write(512, &[8; 512]).unwrap();
    assert!(image::merge_in_place(&cow, false).unwrap_err().to_string().contains("in use"));
    drop(disk);
    image::merge_to(&cow, &folder.file("new")).unwrap();
    let merged = [1, 8, 3, 4, 5].map(|number| [number; 512]).concat();
    assert_eq!(std::fs::read(folder.file("new")).unwrap(), merged);
    assert!(image::merge_to(&cow, &folder.file("new")).unwrap_err().to_string().contains("there already"));
    assert_eq!(image::merge_in_place(&cow, false).unwrap(), 512);
    assert_eq!(std::fs::read(&backing).unwrap(), merged);
    assert!(!Path::exists(&cow));
}
