//! `cargo xtask install`: `lodger`, `lodger-tt`, the userland, completions and the man page, where they belong.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Profile};
use crate::guest;

/// Where to.
#[derive(clap::Args)]
pub struct Args {
    /// The folder that gets bin/, share/lodger/, share/man/ and the completions; without it, ~/.local
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
}

/// What `lodger --generate KIND` prints, and where it belongs.
const GENERATED: [(&str, &str); 4] = [
    ("man", "share/man/man1/lodger.1"),
    ("bash", "share/bash-completion/completions/lodger"),
    ("zsh", "share/zsh/site-functions/_lodger"),
    ("fish", "share/fish/vendor_completions.d/lodger.fish"),
];

/// Builds everything and puts it in place.
pub fn run(args: &Args) -> Result<()> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local"));
    let prefix = args.prefix.clone().or_else(home).context("there is no HOME; give --prefix DIR")?;
    let lodger = cargo::build_lodger(Profile::Release)?;
    let userland = guest::build(&guest::Options::default())?;
    for name in ["lodger", "lodger-tt"] {
        put(&std::fs::read(lodger.with_file_name(name))?, &prefix.join("bin").join(name), Mode::Program)?;
    }
    put(&std::fs::read(&userland.init)?, &prefix.join("share/lodger/init"), Mode::Program)?;
    put(&std::fs::read(&userland.archive)?, &prefix.join("share/lodger/default.cpio"), Mode::Data)?;
    for (kind, place) in GENERATED {
        let output =
            Command::new(&lodger).args(["--generate", kind]).output().context("cannot start lodger")?;
        if !output.status.success() {
            bail!("lodger --generate {kind} failed ({})", output.status);
        }
        put(&output.stdout, &prefix.join(place), Mode::Data)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Program,
    Data,
}

/// Writes a file beside its place and moves it there: one that is in use stays whole for those who use it.
fn put(bytes: &[u8], place: &Path, mode: Mode) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let shown = place.display();
    let folder = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut new = place.as_os_str().to_owned();
    new.push(format!(".new{}", std::process::id()));
    std::fs::write(&new, bytes).with_context(|| format!("cannot write {shown}"))?;
    let bits = if mode == Mode::Program { 0o755 } else { 0o644 };
    std::fs::set_permissions(&new, PermissionsExt::from_mode(bits))?;
    std::fs::rename(&new, place).with_context(|| format!("cannot write {shown}"))?;
    println!("{shown}");
    Ok(())
}
