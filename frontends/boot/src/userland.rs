//! Where the built userland is: the folder with `init`, the program that is PID 1, and `default.cpio`, the root file
//! system that is booted when none is named.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kernel_core::mm::cache::Blob;

use crate::mapped;

/// The folder of a userland.
#[derive(Debug)]
pub struct Userland {
    /// Where it is.
    pub dir: PathBuf,
}

impl Userland {
    /// Looks in `$LODGER_USERLAND`, then in `../share/lodger` beside the executable's folder, where `cargo xtask install`
    /// puts it, then where a build of the work tree has it.
    pub fn find() -> Result<Userland> {
        let named = std::env::var_os("LODGER_USERLAND").map(PathBuf::from);
        let executable = std::env::current_exe().context("cannot find out where lodger itself is")?;
        find_in(named, &executable)
    }

    /// The bytes of init.
    pub fn init(&self) -> Result<Arc<dyn Blob>> {
        let path = self.dir.join("init");
        let bytes = File::open(&path).and_then(|file| mapped::blob(&file));
        bytes.with_context(|| format!("cannot read {}", path.display()))
    }
}

fn find_in(named: Option<PathBuf>, executable: &Path) -> Result<Userland> {
    if let Some(dir) = named.filter(|dir| !dir.as_os_str().is_empty()) {
        if !dir.join("init").exists() {
            bail!("LODGER_USERLAND names {}, which holds no `init`", dir.display());
        }
        return Ok(Userland { dir });
    }
    let folder = executable.parent().unwrap_or(Path::new("/"));
    let places = [folder.join("../share/lodger"), folder.join("../guest/out")];
    let found = places.into_iter().find(|dir| dir.join("init").exists());
    let Some(dir) = found.map(|dir| dir.canonicalize().unwrap_or(dir)) else {
        bail!(
            "the userland is not installed: `cargo xtask guest` in Lodger's source tree builds it, `cargo xtask install` \
             puts it beside lodger, and LODGER_USERLAND names its folder anywhere else"
        );
    };
    Ok(Userland { dir })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_beside_the_executable_or_where_the_environment_says() {
        let dir = tempfile::tempdir().unwrap();
        let executable = dir.path().join("bin/lodger");
        let share = dir.path().join("share/lodger");
        std::fs::create_dir_all(dir.path().join("bin")).unwrap();
        assert!(find_in(None, &executable).unwrap_err().to_string().contains("cargo xtask guest"));
        std::fs::create_dir_all(&share).unwrap();
        std::fs::write(share.join("init"), b"").unwrap();
        assert_eq!(find_in(None, &executable).unwrap().dir, share.canonicalize().unwrap());
        assert_eq!(find_in(Some(share.clone()), Path::new("/bin/x")).unwrap().dir, share);
        let wrong = find_in(Some(dir.path().to_owned()), &executable).unwrap_err();
        assert!(wrong.to_string().contains("LODGER_USERLAND"));
    }
}
