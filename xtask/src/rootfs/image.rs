//! A finished root, a tar archive, in the format that was asked for.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::Format;
use super::archive::{Layout, Writer};
use super::place::{self, Root};
use super::progress::{Step, Unit};
use crate::cargo::output;

/// Writes it to `to`, as `root` is kept.
pub fn write(tar: &Path, to: &Path, root: &Root) -> Result<()> {
    let _step = Step::new("writing the root", 0, Unit::Pieces);
    match root.format {
        Format::Cpio => {
            let mut writer = Writer::new(to, Layout::Plain)?;
            writer.tar(&mut File::open(tar)?)?;
            writer.finish().map(drop)
        }
        Format::Dir => extract(tar, to),
        Format::Ext4 => ext4(tar, to, &root.size),
    }
}

/// Unpacks it into a folder. Only root can give files to others; for anybody else all of them are theirs, which a guest sees
/// as root's.
fn extract(tar: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut command = Command::new("tar");
    command.args(["--extract", "--numeric-owner", "--preserve-permissions", "--exclude=./dev/*", "--file"]);
    output(command.arg(tar).arg("--directory").arg(to)).map(drop)
}

/// Makes a disk image by mkfs.ext4, and gives the files in it their owners by debugfs: neither needs root.
fn ext4(tar: &Path, to: &Path, size: &str) -> Result<()> {
    let folder = to.with_extension("dir");
    place::remove(&folder)?;
    extract(tar, &folder)?;
    let tool = |name: &str| {
        // They lie where an ordinary user's PATH does not lead.
        let place =
            ["/usr/sbin", "/sbin"].iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
        Command::new(place.unwrap_or(name.into()))
    };
    let mut make = tool("mkfs.ext4");
    make.args(["-q", "-F", "-E", "root_owner=0:0", "-d"]).arg(&folder).arg(to).arg(size);
    output(&mut make).context("e2fsprogs makes disk images")?;
    place::remove(&folder)?;
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let mut debugfs = tool("debugfs");
    let mut child = debugfs
        .args(["-w", "-f", "-"])
        .arg(to)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start debugfs")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let words = owners(tar)?;
    let written = std::thread::spawn(move || stdin.write_all(words.as_bytes()));
    let output = child.wait_with_output()?;
    // It says its version there, always.
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = errors.lines().filter(|line| !line.starts_with("debugfs ")).collect();
    ensure!(written.join().is_ok_and(|done| done.is_ok()), "debugfs stopped reading");
    if !output.status.success() || !errors.is_empty() {
        bail!("debugfs: {}", errors.first().unwrap_or(&"failed"));
    }
    Ok(())
}

/// Debugfs's words that give each file of the archive its owner.
fn owners(tar: &Path) -> Result<String> {
    let mut words = String::new();
    for entry in tar::Archive::new(File::open(tar)?).entries_with_seek()? {
        let entry = entry?;
        let path = entry.path_bytes();
        let name = String::from_utf8_lossy(&path);
        let name = name.trim_start_matches('.').trim_end_matches('/');
        if name.is_empty() || name.starts_with("/dev/") {
            continue;
        }
        ensure!(!name.contains(['"', '\n']), "debugfs cannot name {name}");
        for (field, value) in [("uid", entry.header().uid()?), ("gid", entry.header().gid()?)] {
            words.push_str(&format!("set_inode_field \"{name}\" {field} {value}\n"));
        }
    }
    Ok(words)
}
