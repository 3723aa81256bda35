//! Packages of the machine's distribution, unpacked into the cache rather than installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A file of a package, by its path without the first slash. The package is fetched once.
pub fn file_of(package: &str, path: &str) -> Result<PathBuf> {
    let folder = cache()?.join(package);
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

/// Where packages are unpacked.
fn cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("LODGER_HOME")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("lodger")))
        .or_else(|| Some(set("HOME")?.join(".cache/lodger")));
    Ok(base.context("there is no HOME for a cache; set XDG_CACHE_HOME")?.join("packages"))
}

fn fetch(package: &str, folder: &Path) -> Result<()> {
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new).with_context(|| format!("cannot make {}", new.display()))?;
    quietly(Command::new("apt-get").args(["download", "-q", package]).current_dir(&new))?;
    let files = fs::read_dir(&new)?.collect::<std::io::Result<Vec<_>>>()?;
    let archive = files.first().context("apt-get left nothing")?.path();
    quietly(Command::new("dpkg").arg("-x").arg(&archive).arg(&new))?;
    fs::remove_file(&archive)?;
    // Not before all of it is there.
    fs::rename(&new, folder)?;
    Ok(())
}

fn quietly(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Its last error, without what it warns of.
        let why = said.lines().rfind(|line| line.starts_with("E: ")).unwrap_or(said.trim());
        bail!("{name}: {why} ({})", output.status);
    }
    Ok(())
}
