//! What runs on both sides: the bench program, and the shell of the default userland, for a guest and for the host.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cpio::newc;

use crate::cargo;
use crate::guest;

/// The one program of the userland, in its archive.
const USERLAND: &str = "bin/userland";

/// All that is built before anything is measured.
pub struct Programs {
    /// A root file system that holds `bench` and the empty folders that a guest mounts on.
    pub root: PathBuf,
    /// The folder with `init` and the default root file system.
    pub userland: PathBuf,
    /// A folder of the host with `sh` and `true` of that userland.
    pub natively: PathBuf,
}

impl Programs {
    /// Builds them. The bench program is static and position-independent, as each backend likes it best.
    pub fn build() -> Result<Programs> {
        let built = guest::build(&guest::Options::default())?;
        let target = cargo::target_dir().join("bench");
        let mut command = cargo::cargo(&["build", "--release", "--quiet", "--target", cargo::TARGET]);
        command.current_dir(cargo::root().join("tests/bench")).arg("--target-dir").arg(&target);
        command.env("RUSTFLAGS", "-C target-feature=+crt-static");
        cargo::check(&mut command)?;
        let root = target.join("root");
        for folder in ["dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(folder)).context("cannot make the bench's root file system")?;
        }
        fs::copy(target.join(cargo::TARGET).join("release/bench"), root.join("bench"))
            .context("cannot copy the bench program")?;
        let natively = target.join("natively");
        unpack_shell(&built.archive, &natively)
            .with_context(|| format!("cannot unpack the shell to {}", natively.display()))?;
        Ok(Programs { root, userland: built.dir, natively })
    }

    /// The bench program, on the host.
    pub fn bench(&self) -> PathBuf {
        self.root.join("bench")
    }
}

/// The userland is one static program that is called by many names, so it runs on the host as well.
fn unpack_shell(archive: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut file = io::BufReader::new(File::open(archive)?);
    loop {
        let mut entry = newc::Reader::new(file)?;
        if entry.entry().is_trailer() {
            bail!("there is no {USERLAND} in {}", archive.display());
        }
        if entry.entry().name() == USERLAND {
            let mut program =
                File::options().write(true).create_new(true).mode(0o755).open(folder.join("userland"))?;
            io::copy(&mut entry, &mut program)?;
            break;
        }
        file = entry.finish()?;
    }
    for name in ["sh", "true"] {
        symlink("userland", folder.join(name))?;
    }
    Ok(())
}
