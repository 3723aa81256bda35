//! `--disk NAME` and `lodger disk`: changes to a root file system that are kept under a name.
//!
//! Each is a folder `NAME` among the disks ([`places::disks`]) with `root.json`, which says over which root it is, and
//! `changes`, a disk image: over an image a COW file, over a directory or an archive an ext4 that has the upper layer of an
//! overlay. The image is locked while a guest has it, as any disk is; the folder of all disks while they are looked at.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use host_linux::disk::image;
use host_linux::disk::lock::{Access, try_lock};
use serde_json::{Value, json};

use crate::disks::{self, Numbered};
use crate::memory;
use crate::places;
use crate::root::{Kind, Root};

/// How much an ext4 can take. It takes no more of the host than is in it.
const SIZE: &str = "64G";
const ROOT: &str = "root.json";
const CHANGES: &str = "changes";

/// What `lodger disk` can do.
#[derive(Debug, Subcommand)]
pub enum Disk {
    /// List the disks: name, room on the host, whether a guest has it, and the root file system it is over
    Ls {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove disks, and the changes that they keep
    Rm {
        /// Their names
        #[arg(required = true, value_name = "NAME", value_parser = name)]
        names: Vec<String>,
    },
}

/// Reads the name of a disk.
pub fn name(word: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if word.is_empty() || word.len() > 100 || word.starts_with('.') || !word.bytes().all(fits) {
        return Err("the name of a disk is letters, digits, `-`, `_` and `.`".into());
    }
    Ok(word.into())
}

/// Does it; what it prints goes to standard output.
pub fn run(command: &Disk) -> Result<String> {
    let all = All::open()?;
    match command {
        Disk::Ls { json } => all.list(*json),
        Disk::Rm { names } => names.iter().try_for_each(|name| all.remove(name)).map(|()| String::new()),
    }
}

/// Opens the disk of that name, which is made if it is not there, as the first of the guest's that is free, and gives what the
/// guest calls it.
pub fn open(name: &str, root: &Root, disks: &mut Vec<Numbered>) -> Result<String> {
    All::open()?.attach(name, &Base::of(root)?, disks)
}

/// The folder of all disks, which nobody else changes meanwhile.
struct All {
    folder: PathBuf,
    _lock: File,
}

impl All {
    fn open() -> Result<All> {
        All::over(places::disks()?)
    }

    fn over(folder: PathBuf) -> Result<All> {
        let path = folder.join(".lock");
        let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        lock.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
        Ok(All { folder, _lock: lock })
    }

    fn attach(&self, name: &str, base: &Base, disks: &mut Vec<Numbered>) -> Result<String> {
        let dir = self.folder.join(name);
        if dir.exists() {
            Base::read(&dir)?.check(base, name)?;
        } else {
            self.make(&dir, base).with_context(|| format!("cannot make the disk `{name}`"))?;
        }
        disks::add(disks, &dir.join(CHANGES), false).with_context(|| format!("cannot use the disk `{name}`"))
    }

    /// Makes a disk, all of it or nothing.
    fn make(&self, dir: &Path, base: &Base) -> Result<()> {
        let new = self.folder.join(".new");
        remove(&new)?;
        DirBuilder::new().mode(0o700).create(&new)?;
        let changes = new.join(CHANGES);
        match base.kind {
            Kind::Image => image::create_cow(&changes, &base.path)?,
            Kind::Archive | Kind::Directory => make_ext4(&changes)?,
        }
        let mut root = File::create(new.join(ROOT))?;
        writeln!(root, "{:#}", base.json())?;
        root.sync_all()?;
        Ok(fs::rename(&new, dir)?)
    }

    /// The names, sorted.
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            names.extend(entry?.file_name().to_str().and_then(|found| name(found).ok()));
        }
        names.sort();
        Ok(names)
    }

    fn list(&self, as_json: bool) -> Result<String> {
        let mut found = Vec::new();
        for name in self.names()? {
            let dir = self.folder.join(&name);
            let base = Base::read(&dir)?;
            let room = fs::metadata(dir.join(CHANGES)).map_or(0, |file| file.blocks() * 512);
            found.push((name, room, is_used(&dir)?, base));
        }
        if as_json {
            let disks: Vec<Value> = found
                .iter()
                .map(|(name, room, used, base)| {
                    json!({"name": name, "allocated": room, "in_use": used, "root": base.json()})
                })
                .collect();
            return Ok(format!("{:#}\n", json!({"schema": "lodger-disks-1", "disks": disks})));
        }
        let width = found.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let line = |(name, room, used, base): &(String, u64, bool, Base)| {
            let used = if *used { "in use" } else { "      " };
            format!("{name:width$}  {:>8}  {used}  {}\n", memory::show(*room), base.path.display())
        };
        Ok(found.iter().map(line).collect())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let dir = self.folder.join(name);
        ensure!(dir.exists(), "there is no disk `{name}`");
        ensure!(!is_used(&dir)?, "the disk `{name}` is in use by a running instance");
        // What is half removed is no disk any more.
        let gone = self.folder.join(".gone");
        remove(&gone)?;
        fs::rename(&dir, &gone).with_context(|| format!("cannot remove the disk `{name}`"))?;
        remove(&gone)
    }
}

/// What a disk is over, and how one knows it again.
#[derive(Debug, PartialEq, Eq)]
struct Base {
    kind: Kind,
    path: PathBuf,
    /// Of an archive its size and the time of its last change; of a directory its inode number. A COW file knows its backing
    /// file itself.
    mark: String,
}

impl Base {
    fn of(root: &Root) -> Result<Base> {
        let Some(kind) = root.kind() else {
            bail!("--disk needs a root file system that is there another time, and a pipe is not");
        };
        let path = fs::canonicalize(root.path())?;
        let metadata = fs::metadata(&path)?;
        let mark = match kind {
            Kind::Archive => format!("{} {}.{:09}", metadata.len(), metadata.mtime(), metadata.mtime_nsec()),
            Kind::Directory => metadata.ino().to_string(),
            Kind::Image => String::new(),
        };
        Ok(Base { kind, path, mark })
    }

    fn json(&self) -> Value {
        json!({"kind": self.kind.name(), "path": self.path.to_string_lossy(), "mark": self.mark})
    }

    fn read(dir: &Path) -> Result<Base> {
        let path = dir.join(ROOT);
        let context = || format!("cannot read {}", path.display());
        let value: Value =
            serde_json::from_slice(&fs::read(&path).with_context(context)?).with_context(context)?;
        let text = |name: &str| value[name].as_str().with_context(context);
        let kind = Kind::ALL.into_iter().find(|kind| value["kind"] == kind.name()).with_context(context)?;
        Ok(Base { kind, path: text("path")?.into(), mark: text("mark")?.to_owned() })
    }

    /// Fails unless it is `root`.
    fn check(&self, root: &Base, name: &str) -> Result<()> {
        ensure!(
            self.kind == root.kind && self.path.to_string_lossy() == root.path.to_string_lossy(),
            "the disk `{name}` has changes to another root file system, {}",
            self.path.display()
        );
        ensure!(
            self.mark == root.mark,
            "the root file system {} is another than when the disk `{name}` was made; `lodger disk rm {name}` removes its changes",
            self.path.display()
        );
        Ok(())
    }
}

/// Whether a guest has the disk in this folder.
fn is_used(dir: &Path) -> Result<bool> {
    let path = dir.join(CHANGES);
    match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        opened => {
            let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
            Ok(!try_lock(&file, Access::Exclusive)?)
        }
    }
}

/// Makes an image with an empty ext4.
fn make_ext4(path: &Path) -> Result<()> {
    // It lies where an ordinary user's PATH does not lead.
    let places = ["/usr/sbin/mke2fs", "/sbin/mke2fs"].map(Path::new);
    let program = places.into_iter().find(|place| place.exists()).unwrap_or(Path::new("mke2fs"));
    let output = Command::new(program)
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1"])
        .arg(path)
        .arg(SIZE)
        .stdin(Stdio::null())
        .output()
        .context("mke2fs, of e2fsprogs, cannot be started")?;
    ensure!(output.status.success(), "mke2fs: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Removes a folder that may be there.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert!(name("a-b_c.1").is_ok());
        for word in ["", ".a", "a/b", "a b", "..", &"x".repeat(101)] {
            assert!(name(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_disk_is_made_used_once_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        image::create_raw(&image, 1 << 20).unwrap();
        let base = Base { kind: Kind::Image, path: image.clone(), mark: String::new() };
        let folder = dir.path().join("disks");
        fs::create_dir(&folder).unwrap();
        let all = All::over(folder).unwrap();
        let mut disks = Vec::new();
        assert_eq!(all.attach("d", &base, &mut disks).unwrap(), "ubda");
        let text = |error: anyhow::Error| format!("{error:#}");
        assert!(text(all.attach("d", &base, &mut Vec::new()).unwrap_err()).contains("in use"));
        assert!(text(all.remove("d").unwrap_err()).contains("in use"));
        assert!(all.list(false).unwrap().contains("in use"));
        disks[0].1.write(0, &[7; 512]).unwrap();
        disks.clear();
        assert_eq!(all.attach("d", &base, &mut disks).unwrap(), "ubda");
        let mut sector = [0; 512];
        disks[0].1.read(0, &mut sector).unwrap();
        assert_eq!(sector[0], 7);
        disks.clear();

        let other = Base { path: dir.path().into(), ..base };
        assert!(text(all.attach("d", &other, &mut disks).unwrap_err()).contains("another root"));
        let listed: Value = serde_json::from_str(&all.list(true).unwrap()).unwrap();
        assert_eq!(listed["schema"], "lodger-disks-1");
        assert_eq!(
            (&listed["disks"][0]["name"], &listed["disks"][0]["in_use"]),
            (&json!("d"), &json!(false))
        );
        all.remove("d").unwrap();
        assert!(all.names().unwrap().is_empty() && all.remove("d").is_err());
    }

    #[test]
    fn a_root_is_known_again() {
        let base = |mark: &str| Base { kind: Kind::Archive, path: "/r".into(), mark: mark.into() };
        assert!(base("1 2").check(&base("1 2"), "d").is_ok());
        assert!(base("1 2").check(&base("1 3"), "d").unwrap_err().to_string().contains("disk rm d"));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(ROOT), base("1 2").json().to_string()).unwrap();
        assert_eq!(Base::read(dir.path()).unwrap(), base("1 2"));
    }
}
