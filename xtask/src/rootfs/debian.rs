//! A Debian root: apt chooses and downloads the packages, their files are put into a first archive, and a guest started from
//! that installs them properly, with their maintainer scripts, as `debootstrap --second-stage` would.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::apt::{Apt, Deb};
use super::archive::{Layout, Writer};
use super::configure;
use super::image;
use super::place::{self, Root};
use super::progress::{Step, Unit};
use crate::cargo::Profile;

/// Makes it, unless it is there.
pub fn make(root: &Root, asked: &[String], update: bool, profile: Profile) -> Result<PathBuf> {
    let (shop, _lock) = root.workshop()?;
    let apt = Apt::open(&shop.join("apt"), update)?;
    let mut base = apt.required()?;
    base.push("apt".into());
    let mut packages = base.clone();
    packages.extend(asked.iter().filter(|name| !name.is_empty()).cloned());
    let all = apt.closure(&packages)?;

    let made_of = (&all, &apt.sources, include_str!("debian.rs"), include_str!("configure.rs"));
    let key = root.key((made_of, include_str!("archive.rs"), include_str!("image.rs")));
    if let Some(there) = root.there(&key) {
        return Ok(there);
    }
    let first = if packages == base { all.clone() } else { apt.closure(&base)? };
    let debs = apt.download(&packages, &all)?;
    let start = shop.join("start.cpio");
    unpack(&start, &debs, &first, &all, &apt.sources)?;
    let tar = shop.join("root.tar");
    configure::run(&start, &all, &tar, profile)?;
    place::remove(&start)?;
    let made = root.unfinished(&key);
    image::write(&tar, &made, root)?;
    place::remove(&tar)?;
    root.finish(&made, &key)
}

/// Makes the archive that the guest starts from: the files of the `first` packages, so that there is a shell and dpkg, and
/// all packages in /debs.
fn unpack(to: &Path, debs: &Path, first: &BTreeSet<Deb>, all: &BTreeSet<Deb>, sources: &str) -> Result<()> {
    let step = Step::new("unpacking what the guest starts from", first.len() as u64, Unit::Pieces);
    let mut writer = Writer::new(to, Layout::MergedUsr)?;
    let spool = to.with_extension("tar");
    for deb in first {
        step.next(deb.package());
        let mut command = Command::new("dpkg-deb");
        command.arg("--fsys-tarfile").arg(debs.join(&deb.file)).stdout(File::create(&spool)?);
        let status = command.stdin(Stdio::null()).status().context("cannot start dpkg-deb")?;
        ensure!(status.success(), "dpkg-deb cannot unpack {} ({status})", deb.file);
        writer.tar(&mut File::open(&spool)?).with_context(|| format!("in {}", deb.file))?;
    }
    place::remove(&spool)?;
    writer.folder("debs", 0o755)?;
    for deb in all {
        writer.copy(&format!("debs/{}", deb.file), 0o644, &debs.join(&deb.file))?;
    }
    // dpkg wants to find its books, even if nothing is in them.
    for folder in
        ["var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "etc/apt"]
    {
        writer.folder(folder, 0o755)?;
    }
    for (name, content) in [("status", ""), ("available", ""), ("arch", "amd64\n")] {
        writer.file(&format!("var/lib/dpkg/{name}"), 0o644, content.as_bytes())?;
    }
    writer.file("etc/apt/sources.list", 0o644, sources.as_bytes())?;
    writer.file("etc/hostname", 0o644, b"lodger\n")?;
    writer.file("etc/hosts", 0o644, b"127.0.0.1\tlocalhost lodger\n::1\t\tlocalhost\n")?;
    writer.file("etc/fstab", 0o644, b"# Lodger mounts what there is.\n")?;
    // Installing a service must not start it meanwhile.
    writer.file("usr/sbin/policy-rc.d", 0o755, b"#!/bin/sh\nexit 101\n")?;
    writer.finish().map(drop)
}
