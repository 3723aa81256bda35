//! What runs on both sides: the bench program, programs that people use, and the shell of the default userland, for a
//! guest and for the host.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cpio::newc;

use super::work;
use crate::cargo;
use crate::guest;

/// The one program of the userland, in its archive.
const USERLAND: &str = "bin/userland";

/// The root file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `bench` alone, and the empty folders that a guest mounts on.
    Bench,
    /// With busybox, the scripts of `bench/work` and what they work on.
    Work,
    /// With a compiler as well: a large one, which not everybody shall wait for.
    Compiler,
}

/// All that is built before anything is measured.
pub struct Programs {
    /// The root file system [`Root::Bench`].
    root: PathBuf,
    /// The folder with `init` and the default root file system.
    pub userland: PathBuf,
    /// A folder of the host with `sh` and `true` of that userland.
    pub natively: PathBuf,
}

impl Programs {
    /// Builds them. The bench program is static and position-independent, as each backend likes it best.
    pub fn build(roots: &[Root]) -> Result<Programs> {
        let built = guest::build(&guest::Options::default())?;
        let target = cargo::target_dir().join("bench");
        let mut command = cargo::cargo(&["build", "--release", "--quiet", "--target", cargo::TARGET]);
        command.current_dir(cargo::root().join("tests/bench")).arg("--target-dir").arg(&target);
        command.env("RUSTFLAGS", "-C target-feature=+crt-static");
        cargo::check(&mut command)?;
        let bench = target.join(cargo::TARGET).join("release/bench");
        let root = target.join("root");
        work::fill_bench(&root, &bench).context("cannot make the bench's root file system")?;
        for root in roots.iter().filter(|root| **root != Root::Bench) {
            let folder = target.join(root.folder());
            work::fill(*root, &folder, &bench)
                .with_context(|| format!("cannot make the root file system {}", folder.display()))?;
        }
        let natively = target.join("natively");
        unpack_shell(&built.archive, &natively)
            .with_context(|| format!("cannot unpack the shell to {}", natively.display()))?;
        Ok(Programs { root, userland: built.dir, natively })
    }

    /// The bench program, on the host.
    pub fn bench(&self) -> PathBuf {
        self.root.join("bench")
    }

    /// Where a root file system is.
    pub fn folder(&self, root: Root) -> Result<PathBuf> {
        let folder = self.root.with_file_name(root.folder());
        if !folder.is_dir() {
            bail!("there is no {}", folder.display());
        }
        Ok(folder)
    }
}

impl Root {
    fn folder(self) -> &'static str {
        match self {
            Root::Bench => "root",
            Root::Work => "work",
            Root::Compiler => "compiler",
        }
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
