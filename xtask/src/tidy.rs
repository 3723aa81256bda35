//! `cargo xtask tidy`: the rules of the code base that no compiler knows.
//!
//! Who may know whom, how long a file may get, where `unsafe`, panics and indexing may be, what dependencies may be, and that
//! the kernel needs no std. What is too much today and cannot be mended at once is counted in `xtask/ratchet.txt`, and may only shrink.

mod arrows;
mod dependencies;
mod lints;
mod probe;
mod ratchet;
mod rules;
mod source;
mod syscalls;

use std::process::Command;

use anyhow::{Result, bail};

use crate::cargo;
use ratchet::{Counts, Ratchet};
use source::Source;

/// How to look.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Write what is counted now to the ratchet file, if it is less
    #[arg(long, conflicts_with = "no_build")]
    update: bool,
    /// Also write what is more: for whoever has a reason, and says it in the commit
    #[arg(long, requires = "update")]
    raise: bool,
    /// Write anew what is made from the code: docs/syscalls.md
    #[arg(long)]
    fix: bool,
    /// Build nothing: neither the probe that shows that the kernel needs no std nor the page of system calls; and ask neither
    /// clippy nor for dependencies
    #[arg(long, conflicts_with = "fix")]
    no_build: bool,
}

/// A rule that is broken: where, and what to do.
pub struct Finding {
    /// The file, from the root of the work tree.
    pub path: String,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// One sentence.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Checks everything and prints what is found; fails if anything is.
pub fn run(args: &Args) -> Result<()> {
    let files = files()?;
    let sources: Vec<Source> = files.iter().filter_map(|path| Source::read(path)).collect();
    let mut findings = Vec::new();
    let mut counts = Counts::default();
    for source in &sources {
        arrows::check(source, &mut findings);
        rules::check(source, &mut findings, &mut counts);
    }
    arrows::check_manifests(&mut findings);
    rules::check_texts(&files, &mut findings);
    if !args.no_build {
        lints::count(&mut counts)?;
        dependencies::check(&mut findings)?;
    }
    let ratchet = Ratchet::read()?;
    if args.update {
        ratchet.update(&counts, args.raise)?;
    }
    Ratchet::read()?.check(&counts, &mut findings);
    if !args.no_build {
        if args.fix {
            syscalls::write()?;
        } else {
            syscalls::check(&mut findings)?;
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !args.no_build {
        probe::build()?;
    }
    if !findings.is_empty() {
        bail!("{} rules are broken", findings.len());
    }
    println!("tidy: {} files, nothing to say", files.len());
    Ok(())
}

/// The files of the repository, new ones included, from the root of the work tree.
fn files() -> Result<Vec<String>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(cargo::root());
    let output = command.output()?;
    if !output.status.success() {
        bail!("{} failed: tidy looks at what git knows", cargo::display(&command));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed.lines().filter(|path| cargo::root().join(path).is_file()).map(str::to_owned).collect())
}
