//! `cargo xtask guest`: builds PID 1 and the default root file system from the cargo workspace `guest/`.
//!
//! The outputs are in `target/guest/out`: `init`, `default.cpio`, and `stamp`, a hash of all that went in. As long as the
//! hash is the same nothing is done, in a few milliseconds and in silence.

mod archive;

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// How to build it.
#[derive(clap::Args, Default)]
#[command(after_help = "\
Builds init (PID 1) and default.cpio (the root file system: a shell and a hundred applets in one static program) into
target/guest/out, and prints that folder. Needs cargo and a C compiler; takes some minutes the first time, and nothing
as long as guest/ and the toolchain stay the same.")]
pub struct Options {
    /// Build the root file system anew, even if nothing has changed
    #[arg(long)]
    force: bool,
}

/// What was built.
#[allow(dead_code, reason = "callers take what they need")]
pub struct Built {
    /// The folder that holds it: what `LODGER_USERLAND` names.
    pub dir: PathBuf,
    /// The root file system, a cpio archive.
    pub archive: PathBuf,
    /// The static program that is PID 1.
    pub init: PathBuf,
}

/// Builds it, unless it is there already. Two of these at the same time take turns.
pub fn build(options: &Options) -> Result<Built> {
    let (sources, target) = (cargo::root().join("guest"), cargo::target_dir().join("guest"));
    let dir = target.join("out");
    let built = Built { archive: dir.join("default.cpio"), init: dir.join("init"), dir };
    let stamp = format!("{:016x}\n", fingerprint(&sources)?);
    let is_fresh = || {
        let same = std::fs::read_to_string(built.dir.join("stamp")).is_ok_and(|old| old == stamp);
        same && built.archive.exists() && built.init.exists()
    };
    if is_fresh() && !options.force {
        return Ok(built);
    }
    std::fs::create_dir_all(&built.dir).with_context(|| format!("cannot make {}", built.dir.display()))?;
    let lock = File::create(target.join("lock")).context("cannot make the lock file")?;
    lock.lock().context("cannot lock target/guest")?;
    // Somebody else may have built it while this one waited.
    if is_fresh() && !options.force {
        return Ok(built);
    }
    let programs = compile()?;
    let userland = programs.join("userland");
    let archive = archive::build(&sources.join("root"), &userland, &applets(&userland)?)?;
    let init = std::fs::read(programs.join("init")).context("cannot read the new init")?;
    replace(&built.init, &init, 0o755)?;
    replace(&built.archive, &archive, 0o644)?;
    replace(&built.dir.join("stamp"), stamp.as_bytes(), 0o644)?;
    Ok(built)
}

/// Runs the unit tests of its programs, on the host. Tests unwind and the programs do not, so nothing that [`build`] has
/// built would serve: the quickest build does.
pub fn test() -> Result<()> {
    cargo::check(cargo_for_the_guest(&["test", "--quiet"]).env("CARGO_PROFILE_DEV_DEBUG", "0"))
}

/// A call of cargo in the guest's workspace.
fn cargo_for_the_guest(words: &[&str]) -> Command {
    let mut command = cargo::cargo(words);
    command
        .args(["--locked", "--target-dir"])
        .arg(cargo::target_dir().join("guest/build"))
        .current_dir(cargo::root().join("guest"));
    // Flags and target are in guest/.cargo/config.toml; what is set for the host's programs must not override them.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
}

/// Runs cargo on the workspace and returns the folder of the programs.
fn compile() -> Result<PathBuf> {
    let mut command = cargo_for_the_guest(&["build", "--release"]);
    if std::io::stderr().is_terminal() {
        eprintln!("Building the default userland: some minutes the first time");
    } else {
        eprintln!("xtask: building the default userland: some minutes the first time");
        command.arg("--quiet");
    }
    cargo::check(&mut command)?;
    Ok(cargo::target_dir().join("guest/build").join(cargo::TARGET).join("release"))
}

/// The names that the program answers to, from itself: it is static and for this architecture.
fn applets(userland: &Path) -> Result<Vec<String>> {
    let listed = Command::new(userland).arg("--list").output();
    let listed = listed.with_context(|| format!("cannot run {}", userland.display()))?;
    if !listed.status.success() {
        bail!("{} --list failed ({})", userland.display(), listed.status);
    }
    Ok(String::from_utf8(listed.stdout)?.lines().map(str::to_owned).collect())
}

/// Writes a file so that whoever reads it sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let new = path.with_extension("new");
    let write = || {
        std::fs::write(&new, bytes)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A hash of all that decides about the outputs: the sources, how the archive is made, and the toolchain.
fn fingerprint(sources: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    include_str!("guest.rs").hash(&mut hasher);
    include_str!("guest/archive.rs").hash(&mut hasher);
    include_str!("rootfs/archive.rs").hash(&mut hasher);
    // Asking rustc for its version would take longer than all the rest. Cargo comes and goes with it.
    if let Some(cargo) = std::env::var_os("CARGO") {
        cargo.hash(&mut hasher);
        let file = std::fs::metadata(&cargo).with_context(|| format!("no cargo at {}", cargo.display()))?;
        (file.len(), file.mtime()).hash(&mut hasher);
    }
    let mut files = Vec::new();
    collect(sources, &mut files)?;
    files.sort();
    for path in files {
        path.strip_prefix(sources)?.hash(&mut hasher);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        bytes.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// All files below a folder, but for what cargo builds there when somebody calls it by hand, and for the programs of the
/// demos, which are built apart.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            files.push(entry.path());
        } else if entry.file_name() != "target" && entry.file_name() != "demos" {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}
