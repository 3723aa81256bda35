//! Packages of the machine's distribution, unpacked into the cache rather than installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::output;
use crate::rootfs::cache;

/// A file of a package, by its path without the first slash. The package is fetched once.
pub fn file_of(package: &str, path: &str) -> Result<PathBuf> {
    let folder = cache()?.join("packages").join(package);
    if !folder.is_dir() {
        fetch(package, &folder).with_context(|| {
            format!("cannot fetch the package {package} with apt-get; try `apt-get update`, or install it")
        })?;
    }
    let file = folder.join(path);
    match file.exists() {
        true => Ok(file),
        false => bail!("the package {package} has no {path}; to fetch it anew, remove {}", folder.display()),
    }
}

fn fetch(package: &str, folder: &Path) -> Result<()> {
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new).with_context(|| format!("cannot make {}", new.display()))?;
    output(Command::new("apt-get").args(["download", "-q", package]).current_dir(&new))?;
    let files = fs::read_dir(&new)?.collect::<std::io::Result<Vec<_>>>()?;
    let archive = files.first().context("apt-get left nothing")?.path();
    output(Command::new("dpkg").arg("-x").arg(&archive).arg(&new))?;
    fs::remove_file(&archive)?;
    // Not before all of it is there.
    fs::rename(&new, folder)?;
    Ok(())
}
