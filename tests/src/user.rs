//! `lodger` as another user of the host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::Missing;

/// A copy of `lodger` and of the userland where every user can reach it; it is removed with this.
pub struct Installed {
    dir: TempDir,
}

impl Installed {
    /// Copies them. [`Missing`] for who is not root: only root can become another user.
    pub fn new() -> Result<Installed> {
        if !Uid::effective().is_root() {
            return Err(Missing("only root can become another user".into()).into());
        }
        let dir = tempfile::tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        for name in ["lodger", "lodger-tt"] {
            copy_program(&crate::lodger()?.with_file_name(name), dir.path())?;
        }
        let userland = dir.path().join("userland");
        fs::create_dir(&userland)?;
        for entry in fs::read_dir(crate::userland()?)?.flatten().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), userland.join(entry.file_name()))?;
        }
        Ok(Installed { dir })
    }

    /// `lodger` with these words as the user and group `uid`.
    pub fn lodger(&self, words: &[&str], uid: u32) -> Command {
        let mut command = Command::new(self.dir.path().join("lodger"));
        command.args(words).uid(uid).gid(uid).current_dir("/").env_clear();
        command.env("LODGER_USERLAND", self.dir.path().join("userland")).stdout(Stdio::piped());
        command
    }
}

/// Copies a program with its permissions, in another process: one that a test starts meanwhile has, until it executes, the
/// descriptor that this process writes it with, and what is open for writing cannot be executed.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg(from).arg(to).status().context("cannot run cp")?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}
