//! Other kernels and emulations for Linux programs, to be measured beside Lodger in the same run.
//!
//! Each is taken from the machine's PATH, or else fetched with the machine's own apt and unpacked into the cache: nothing
//! is installed. One that cannot be had, or does not start, is a column that says why.

mod gvisor;
mod packages;
mod proot;
mod uml;

pub mod recorded;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::column::Column;
use super::tree;

pub use packages::file_of;
pub use uml::INIT as UML_INIT;

/// One of them.
pub trait Peer {
    /// What it is, with its version.
    fn what(&self) -> String;

    /// Runs a program in a root file system; the first word is its path there.
    fn command(&self, root: &Path, words: &[String]) -> Result<Command>;

    /// What the program printed, of all that came out. An error if it failed.
    fn printed(&self, text: &str) -> Result<String> {
        Ok(text.to_owned())
    }
}

/// All of them, those that are not there too. From here on, this process adopts what they leave behind.
pub fn columns() -> Result<Vec<Column>> {
    tree::adopt_strays()?;
    Ok(vec![
        Column::peer("uml", uml::find()),
        Column::peer("gvisor", gvisor::find()),
        Column::peer("proot", proot::find()),
    ])
}

/// A program of that name: on the PATH, or at that path in the package of the machine's distribution.
fn program(name: &str, package: &str, path: &str) -> Result<PathBuf> {
    match on_path(name) {
        Some(found) => Ok(found),
        None => file_of(package, path).with_context(|| format!("there is no {name} on the PATH")),
    }
}

/// Where a program of the machine is.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The word of a program's answer to `--version` that looks like one.
fn version(mut program: Command) -> String {
    let said = program.arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let looks = |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    said.split_whitespace().find(looks).unwrap_or("of unknown version").to_owned()
}
