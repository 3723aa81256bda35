//! Where files of this user are: roots that `cargo xtask rootfs` has made, in `$LODGER_HOME`, else `$XDG_CACHE_HOME/lodger`,
//! else `~/.cache/lodger` (`xtask/src/rootfs/place.rs` uses the same); disks in `$LODGER_HOME`, else `$XDG_DATA_HOME/lodger`,
//! else `~/.local/share/lodger`; both else in a folder of this user alone among the temporary ones.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A kind of files: the variable that says where they are, and where they are at home otherwise.
type Kind = (&'static str, &'static str);
const CACHE: Kind = ("XDG_CACHE_HOME", ".cache/lodger");
const DATA: Kind = ("XDG_DATA_HOME", ".local/share/lodger");

/// What the folder of a root, or the file, may end in; the first that is there is taken.
const ENDINGS: [&str; 3] = [".cpio", ".ext4", ""];

/// The root of that name, if there is one.
pub fn root(name: &str) -> Option<PathBuf> {
    let cache = folder(CACHE, |name| std::env::var_os(name));
    if is_ours(&cache) { find(cache.path(), name) } else { None }
}

/// The folder of all disks, which is made if it is missing.
pub fn disks() -> Result<PathBuf> {
    let data = folder(DATA, |name| std::env::var_os(name));
    let make = |dir: &Path| {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(dir);
        made.with_context(|| format!("cannot make {}", dir.display()))
    };
    make(data.path())?;
    ensure!(is_ours(&data), "{} is somebody else's; name a folder in LODGER_HOME", data.path().display());
    let disks = data.path().join("disks");
    make(&disks)?;
    Ok(disks)
}

fn find(cache: &Path, name: &str) -> Option<PathBuf> {
    let places = ENDINGS.iter().map(|ending| cache.join("roots").join(format!("{name}{ending}")));
    places.into_iter().find(|path| path.exists())
}

/// A folder for files.
#[derive(Debug, PartialEq, Eq)]
enum Folder {
    /// Where the user says, or at home.
    Own(PathBuf),
    /// Among the temporary ones, where it may be somebody else's.
    Temporary(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        let (Folder::Own(path) | Folder::Temporary(path)) = self;
        path
    }
}

fn folder((xdg, at_home): Kind, variable: impl Fn(&str) -> Option<OsString>) -> Folder {
    let named = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = named("LODGER_HOME") {
        return Folder::Own(home);
    }
    if let Some(base) = named(xdg).filter(|path| path.is_absolute()) {
        return Folder::Own(base.join("lodger"));
    }
    if let Some(home) = named("HOME").filter(|home| home.is_absolute() && home.is_dir()) {
        return Folder::Own(home.join(at_home));
    }
    let me = nix::unistd::geteuid().as_raw();
    Folder::Temporary(std::env::temp_dir().join(format!("lodger-{me}")))
}

/// Whether nobody else can change what is in it, for one among the temporary ones.
fn is_ours(folder: &Folder) -> bool {
    let Folder::Temporary(dir) = folder else { return true };
    let me = nix::unistd::geteuid().as_raw();
    std::fs::symlink_metadata(dir)
        .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == me && metadata.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots");
        std::fs::create_dir_all(roots.join("tree")).unwrap();
        std::fs::write(roots.join("tree.ext4"), b"").unwrap();
        std::fs::write(roots.join("packed.cpio"), b"").unwrap();
        assert_eq!(find(dir.path(), "packed"), Some(roots.join("packed.cpio")));
        assert_eq!(find(dir.path(), "tree"), Some(roots.join("tree.ext4")));
        assert_eq!(find(dir.path(), "none"), None);
    }

    #[test]
    fn the_environment_says_where() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<(String, OsString)> =
                set.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value))).collect();
            let found = |kind| {
                let value =
                    |name: &str| set.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                folder(kind, value)
            };
            [CACHE, DATA].map(|kind| found(kind).path().to_owned())
        };
        let both = |cache: &str, data: &str| [PathBuf::from(cache), PathBuf::from(data)];
        assert_eq!(of(&[("LODGER_HOME", "/l"), ("HOME", "/")]), both("/l", "/l"));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/")]), both("/c/lodger", "/.local/share/lodger"));
        let set = [("XDG_CACHE_HOME", "relative"), ("XDG_DATA_HOME", "/d"), ("HOME", "/")];
        assert_eq!(of(&set), both("/.cache/lodger", "/d/lodger"));
    }
}
