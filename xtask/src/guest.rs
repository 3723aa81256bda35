//! `cargo xtask guest`: the default userland. Placeholder.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// How to build it.
#[derive(clap::Args, Default)]
pub struct Options {}

/// What was built.
#[allow(dead_code, reason = "placeholder")]
pub struct Built {
    /// The folder that holds it: what `LODGER_USERLAND` names.
    pub dir: PathBuf,
    /// The root file system, a cpio archive.
    pub archive: PathBuf,
    /// The static program that is PID 1.
    pub init: PathBuf,
}

/// Builds it, unless it is there already.
pub fn build(_options: &Options) -> Result<Built> {
    let dir = crate::cargo::target_dir().join("guest/out");
    if !dir.join("default.cpio").exists() {
        bail!("the default userland cannot be built yet");
    }
    Ok(Built { archive: dir.join("default.cpio"), init: dir.join("init"), dir })
}
