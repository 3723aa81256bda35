//! Where things are in the work tree, and how cargo is called.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The one target that Lodger and its guests are built for.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How `lodger` is optimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Optimised. What a user would install, so it is also what is run, tested and measured: one build serves all.
    #[default]
    Release,
    /// Quick to build, with overflow checks and debug assertions.
    Dev,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Release => "release",
            Profile::Dev => "dev",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Profile::Release => "release",
            Profile::Dev => "debug",
        }
    }
}

/// The root of the work tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where cargo puts what it builds of the workspace.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// A call of cargo in the root of the work tree.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a command and fails, naming it, unless it succeeds.
pub fn check(command: &mut Command) -> Result<()> {
    let shown = display(command);
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end and returns its output; fails, with its errors, unless it succeeds.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // Of apt only its errors, without what it warns of.
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("E: ")).collect();
        let why = if errors.is_empty() { said.trim().to_owned() } else { errors.join("\n") };
        bail!("{program}: {why} ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
pub fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let program = Path::new(&words[0]).file_name().map(|name| name.to_string_lossy().into_owned());
    format!("`{} {}`", program.unwrap_or_default(), words[1..].join(" "))
}

/// Builds `lodger` and `lodger-tt` and returns the path of `lodger`. Says nothing when there is nothing to build and
/// nobody watches, so that what a guest prints stays alone on the streams.
pub fn build_lodger(profile: Profile) -> Result<PathBuf> {
    let binary = target_dir().join(profile.folder()).join("lodger");
    let mut command = cargo(&["build", "--package", "lodger", "--profile", profile.name()]);
    if binary.exists() && !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    check(&mut command)?;
    Ok(binary)
}
