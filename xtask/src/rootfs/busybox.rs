//! A root with Debian's static busybox, a link for each of its applets, and the little in /etc that programs look for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tar::{Builder, EntryType, Header};

use super::apt::Apt;
use super::image;
use super::place::{self, Root};
use crate::cargo::output;

const FOLDERS: [(&str, u32); 11] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("mnt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
];

const LINKS: [(&str, &str); 4] =
    [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin"), ("etc/mtab", "/proc/mounts")];

const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1\tlocalhost lodger\n"),
    ("etc/hostname", "lodger\n"),
];

/// Makes it, unless it is there.
pub fn make(root: &Root, update: bool) -> Result<PathBuf> {
    let (shop, _lock) = root.workshop()?;
    let apt = Apt::open(&shop.join("apt"), update)?;
    let package = ["busybox-static".to_owned()];
    let all = apt.closure(&package)?;
    let key =
        root.key((&all, include_str!("busybox.rs"), include_str!("archive.rs"), include_str!("image.rs")));
    if let Some(there) = root.there(&key) {
        return Ok(there);
    }
    let debs = apt.download(&package, &all)?;
    let folder = shop.join("busybox");
    for deb in &all {
        output(Command::new("dpkg-deb").arg("--extract").arg(debs.join(&deb.file)).arg(&folder))?;
    }
    let program = ["bin/busybox", "usr/bin/busybox"].map(|name| folder.join(name));
    let program = program.iter().find(|path| path.exists()).unwrap_or(&program[0]);
    let tar = shop.join("busybox.tar");
    write(&tar, program)?;
    place::remove(&folder)?;
    let made = root.unfinished(&key);
    image::write(&tar, &made, root)?;
    place::remove(&tar)?;
    root.finish(&made, &key)
}

fn write(tar: &Path, program: &Path) -> Result<()> {
    let applets = output(Command::new(program).arg("--list"))?;
    let mut tar = Builder::new(File::create(tar)?);
    for (name, mode) in FOLDERS {
        tar.append_data(&mut header(EntryType::Directory, mode, 0), name, std::io::empty())?;
    }
    for (name, content) in FILES {
        let content = content.as_bytes();
        tar.append_data(&mut header(EntryType::Regular, 0o644, content.len()), name, content)?;
    }
    let program = fs::read(program)?;
    tar.append_data(
        &mut header(EntryType::Regular, 0o755, program.len()),
        "bin/busybox",
        program.as_slice(),
    )?;
    let mut link =
        |name: &str, to: &str| tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), name, to);
    for (name, to) in LINKS {
        link(name, to)?;
    }
    for applet in applets.lines().filter(|name| *name != "busybox") {
        link(&format!("bin/{applet}"), "busybox")?;
    }
    tar.finish()?;
    Ok(())
}

/// What belongs to root and is from 1970.
fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}
