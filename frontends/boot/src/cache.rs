//! Where `cargo xtask rootfs` keeps the roots that it makes: `$LODGER_HOME`, else `$XDG_CACHE_HOME/lodger`, else
//! `~/.cache/lodger`, else a folder of this user alone among the temporary ones. `xtask/src/rootfs/place.rs` uses the same.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the folder of a root, or the file, may end in; the first that is there is taken.
const ENDINGS: [&str; 3] = [".cpio", ".ext4", ""];

/// The root of that name, if there is one.
pub fn root(name: &str) -> Option<PathBuf> {
    find(&folder(|name| std::env::var_os(name))?, name)
}

fn find(cache: &Path, name: &str) -> Option<PathBuf> {
    let places = ENDINGS.iter().map(|ending| cache.join("roots").join(format!("{name}{ending}")));
    places.into_iter().find(|path| path.exists())
}

/// The cache folder; none if the only one is somebody else's.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = named("LODGER_HOME") {
        return Some(home);
    }
    if let Some(cache) = named("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return Some(cache.join("lodger"));
    }
    if let Some(home) = named("HOME").filter(|home| home.is_absolute() && home.is_dir()) {
        return Some(home.join(".cache/lodger"));
    }
    let me = nix::unistd::geteuid().as_raw();
    let dir = std::env::temp_dir().join(format!("lodger-{me}"));
    let metadata = std::fs::symlink_metadata(&dir).ok()?;
    (metadata.is_dir() && metadata.uid() == me && metadata.mode() & 0o022 == 0).then_some(dir)
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
            folder(move |name| set.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(of(&[("LODGER_HOME", "/l"), ("HOME", "/")]), Some("/l".into()));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/")]), Some("/c/lodger".into()));
        assert_eq!(of(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/")]), Some("/.cache/lodger".into()));
    }
}
