//! Packages of Debian, by the machine's own apt: binary ones as it knows them, source ones through a list of its own
//! that names the same mirrors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Runs a command to its end and returns its output; fails, with its errors, unless it succeeds.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The file in `dir` whose name starts and ends so.
pub fn find(dir: &Path, start: &str, end: &str) -> Option<PathBuf> {
    let names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let fits = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
    };
    names.into_iter().find(fits)
}

/// A binary package's file, downloaded once.
pub fn binary(cache: &Path, package: &str) -> Result<PathBuf> {
    let start = format!("{package}_");
    if find(cache, &start, ".deb").is_none() {
        output(Command::new("apt-get").args(["download", "-q", package]).current_dir(cache))?;
    }
    find(cache, &start, ".deb").with_context(|| format!("apt-get left no {package}"))
}

/// Downloads the files of a source package into `cache/apt`, and returns that.
pub fn source(cache: &Path, package: &str) -> Result<PathBuf> {
    let dir = cache.join("apt");
    if find(&dir, &format!("{package}_"), ".dsc").is_some() {
        return Ok(dir);
    }
    fs::create_dir_all(dir.join("lists/partial"))?;
    // Where the machine gets its packages from, it gets their sources too.
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]);
    let known = output(&mut targets)?;
    let lines: std::collections::BTreeSet<String> = known
        .lines()
        .filter(|line| line.contains("/debian") && line.ends_with(" main"))
        .map(|line| format!("deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {line}\n"))
        .collect();
    if lines.is_empty() {
        bail!("apt knows no mirror of Debian: {known}");
    }
    fs::write(dir.join("sources.list"), lines.into_iter().collect::<String>())?;
    let apt = || {
        let mut command = Command::new("apt-get");
        command.current_dir(&dir).arg("-q").args(["-o", "Dir::Etc::SourceParts=/dev/null", "-o"]);
        command.arg(format!("Dir::Etc::SourceList={}", dir.join("sources.list").display())).arg("-o");
        command.arg(format!("Dir::State::Lists={}", dir.join("lists").display()));
        command
    };
    output(apt().arg("update"))?;
    output(apt().args(["source", "--download-only", package]))?;
    Ok(dir)
}
