//! `cargo xtask run`: builds the command and the userland, then becomes `lodger run`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cargo::{self, Profile};
use crate::guest;

/// For `--help` only, see [`run`].
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask run                                     a shell in the default userland
  cargo xtask run -- sh -c 'ls / | wc -l'             one command, its output and its exit status
  cargo xtask run --root DIR --mem 1G -- /bin/bash    another root file system
  cargo xtask run -- --help                           would run `--help` in the guest; see `lodger run --help`")]
pub struct Args {
    /// Build lodger without optimisation, with all its checks; must come first
    #[arg(long)]
    dev: bool,
    /// What `lodger run` gets, flags and `--` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Whether the words ask for the help of the verb itself.
pub fn asks_for_help(words: &[OsString]) -> bool {
    matches!(words.first(), Some(word) if word == "--help" || word == "-h")
}

/// Becomes `lodger run` with `words`, but for a leading `--dev`. Returns only on failure, with the status that
/// `lodger` has for its own failures.
pub fn run(words: &[OsString]) -> ExitCode {
    let (profile, words) = match words.split_first() {
        Some((first, rest)) if first == "--dev" => (Profile::Dev, rest),
        _ => (Profile::Release, words),
    };
    let Err(error) = become_lodger(profile, words);
    eprintln!("xtask: {error:#}");
    ExitCode::from(125)
}

fn become_lodger(profile: Profile, words: &[OsString]) -> Result<std::convert::Infallible> {
    let lodger = cargo::build_lodger(profile)?;
    let userland = guest::build(&guest::Options::default())?;
    let mut command = Command::new(&lodger);
    command.arg("run").args(words).env("LODGER_USERLAND", &userland.dir);
    Err(command.exec()).with_context(|| format!("cannot start {}", lodger.display()))
}
