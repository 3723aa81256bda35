//! The root file system as a cpio archive in the "newc" format, which the kernel unpacks into its first tmpfs.
//! The same inputs give the same bytes: entries are sorted, all belong to root, and all are from 1970.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::rootfs::archive::{FOLDER, LINK, Layout, REGULAR, Writer};

/// Folders, and their modes where it is not 755.
const FOLDERS: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/guest", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/share", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// Every program is in /bin, under whichever name it is looked for.
const LINKS: &[(&str, &str)] = &[
    ("etc/mtab", "/proc/self/mounts"),
    ("sbin", "bin"),
    ("usr/bin", "../bin"),
    ("usr/sbin", "../bin"),
    ("var/run", "../run"),
];

/// One entry: its mode with the type, its owner and its contents (of a link, where it points).
struct Entry {
    mode: u32,
    owner: u32,
    contents: Vec<u8>,
}

impl Entry {
    fn new(mode: u32, contents: impl Into<Vec<u8>>) -> Entry {
        Entry { mode, owner: 0, contents: contents.into() }
    }
}

/// Makes the archive of the files in `overlay/etc`, the program `userland` and a link to it for each of `applets`.
pub fn build(overlay: &Path, userland: &Path, applets: &[String]) -> Result<Vec<u8>> {
    // A BTreeMap sorts by name, and a folder's name sorts before the names in it.
    let mut entries = BTreeMap::new();
    for &(name, mode) in FOLDERS {
        entries.insert(name.to_owned(), Entry::new(FOLDER | mode, []));
    }
    if let Some(home) = entries.get_mut("home/guest") {
        home.owner = 1000;
    }
    for &(name, target) in LINKS {
        entries.insert(name.to_owned(), Entry::new(LINK | 0o777, target));
    }
    for file in std::fs::read_dir(overlay.join("etc")).context("cannot read guest/root/etc")? {
        let file = file?;
        let name = format!("etc/{}", file.file_name().to_string_lossy());
        entries.insert(name, Entry::new(REGULAR | 0o644, std::fs::read(file.path())?));
    }
    let program = std::fs::read(userland).with_context(|| format!("cannot read {}", userland.display()))?;
    entries.insert("bin/userland".to_owned(), Entry::new(REGULAR | 0o755, program));
    for applet in applets {
        entries.insert(format!("bin/{applet}"), Entry::new(LINK | 0o777, "userland"));
    }
    write(&entries)
}

fn write(entries: &BTreeMap<String, Entry>) -> Result<Vec<u8>> {
    let mut writer = Writer::over(Vec::new(), Layout::Plain)?;
    for (name, entry) in entries {
        writer.add(name, entry.mode, entry.owner, &entry.contents)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::archive::tests::list;

    #[test]
    fn the_archive_is_the_same_each_time_and_has_all_applets() {
        let overlay = crate::cargo::root().join("guest/root");
        let userland = std::env::temp_dir().join(format!("xtask-userland-{}", std::process::id()));
        std::fs::write(&userland, b"not much of a program").unwrap();
        let applets = ["sh".to_owned(), "[".to_owned(), "ls".to_owned()];
        let first = build(&overlay, &userland, &applets).unwrap();
        // Another order and another time of the inputs change nothing.
        std::fs::write(&userland, b"not much of a program").unwrap();
        let backwards: Vec<String> = applets.iter().rev().cloned().collect();
        assert!(first == build(&overlay, &userland, &backwards).unwrap());
        std::fs::remove_file(&userland).unwrap();

        let entries = list(first.as_slice());
        let of = |name: &str| entries.iter().find(|entry| entry.0 == name).map(|entry| (entry.1, entry.4));
        for applet in &applets {
            assert_eq!(of(&format!("bin/{applet}")), Some((LINK | 0o777, 8)), "{applet}");
        }
        assert_eq!(of("bin/userland"), Some((REGULAR | 0o755, 21)));
        assert_eq!(of("tmp"), Some((FOLDER | 0o1777, 0)));
        assert!(of("etc/passwd").is_some_and(|(mode, size)| mode == REGULAR | 0o644 && size > 0));
        // A folder comes before what is in it.
        for (at, (name, ..)) in entries.iter().enumerate() {
            if let Some((folder, _)) = name.rsplit_once('/') {
                assert!(entries[..at].iter().any(|entry| entry.0 == folder), "{name} before its folder");
            }
        }
    }
}
