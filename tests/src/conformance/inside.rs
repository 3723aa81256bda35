//! Suites that come as packages of Debian, and are run inside a Debian that has them: natively in its unpacked root, with
//! processes and mounts of its own, and in a guest started from it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::fetch::output;
use super::suites::{Suite, parse_busybox};
use crate::roots;

/// stress-ng: what each stressor finds wrong with the calls that it makes.
pub const STRESS_NG: Suite = Suite {
    name: "stress-ng",
    build: |cache| build(cache, "stress-ng"),
    inside: true,
    script: include_str!("../../conformance/stress-ng.sh"),
    sample: None,
    parse: parse_busybox,
    explained: &[
        ("no io_uring", "io-uring"),
        ("no key rings", "key"),
        ("nothing about caches in /sys", "l1cache\nllc-affinity"),
        ("no Landlock", "landlock"),
        ("no PCI devices", "pci"),
        ("no memfd_secret(2)", "secretmem"),
        ("no clock image on tt", "vdso"),
        (
            "more than 90 s on tt, where a call is slow and a switch as long as what is mapped",
            "mmaphuge\nmmapmany\nmsyncmany\nresources",
        ),
    ],
};

/// CPython's own tests, a case each module.
pub const PYTHON: Suite = Suite {
    name: "python",
    build: |cache| build(cache, "python"),
    inside: true,
    script: include_str!("../../conformance/python.sh"),
    sample: None,
    parse: parse_busybox,
    explained: &[("some of its tests use AF_INET", include_str!("../../conformance/python-inet.txt"))],
};

/// The user they run as.
const USER: &str = "65534";

/// A folder with the root as an archive, and unpacked.
fn build(cache: &Path, name: &str) -> Result<PathBuf> {
    let archive = std::env::var_os("LODGER_DEBIAN").context("LODGER_DEBIAN names no Debian root")?;
    // Its name says what is in it.
    let archive = fs::canonicalize(&archive).with_context(|| format!("no {}", archive.display()))?;
    let root = cache.join(archive.file_stem().unwrap_or_default());
    if !root.exists() {
        let unfinished = root.with_extension("part");
        fs::create_dir_all(&unfinished)?;
        let mut unpack = Command::new(roots::static_busybox()?);
        output(unpack.args(["cpio", "-idm"]).current_dir(&unfinished).stdin(File::open(&archive)?))?;
        fs::rename(unfinished, &root)?;
    }
    let folder = cache.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    symlink(archive, folder.join("root.cpio"))?;
    symlink(root, folder.join("root"))?;
    Ok(folder)
}

/// Makes a shell of this machine's own kernel, with mounts of its own, one in the unpacked root of that folder.
pub fn natively(mut command: Command, folder: &Path) -> Command {
    command.arg("-c").arg(
        "mount --rbind /dev dev && mount -t proc proc proc && mount -t sysfs sysfs sys &&
         mount -t tmpfs -o mode=1777 tmpfs tmp && mount -t tmpfs -o mode=1777 tmpfs dev/shm &&
         exec chroot . setpriv --reuid \"$0\" --regid \"$0\" --clear-groups /bin/sh \"$@\"",
    );
    command.arg(USER).current_dir(folder.join("root"));
    command
}

/// `lodger`'s words for a guest started from that folder's archive.
pub fn in_guest(command: &mut Command, folder: &Path) {
    command.arg("--root").arg(folder.join("root.cpio")).args(["--user", &format!("{USER}:{USER}")]);
}
