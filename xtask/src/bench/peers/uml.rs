//! User-mode Linux: the host's folder as its root, no devices, and an init that runs one program and halts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Peer, program, version};
use crate::cargo;

struct Uml {
    program: PathBuf,
    /// Whether it can trap its guests with seccomp, which newer ones can.
    seccomp: bool,
}

/// The program that it starts, for the root file system: needs busybox in `/bin`.
pub const INIT: (&str, &str) = ("uml-init", include_str!("../work/uml-init.sh"));

/// What that prints around the output of the program.
const BEGIN: &str = "=== begin";
const END: &str = "=== end ";

/// The machine's, with the best trap that it has.
pub fn find() -> Result<Box<dyn Peer>> {
    let program = program("linux.uml", "user-mode-linux", "usr/bin/linux.uml")?;
    let help = Command::new(&program).arg("--help").output();
    let help = help.with_context(|| format!("cannot start {}", program.display()))?;
    let seccomp = String::from_utf8_lossy(&help.stdout).contains("seccomp=");
    Ok(Box::new(Uml { program, seccomp }))
}

impl Peer for Uml {
    fn what(&self) -> String {
        let trap = if self.seccomp { "seccomp" } else { "ptrace" };
        format!("User-mode Linux {}, {trap}", version(Command::new(&self.program)))
    }

    fn command(&self, root: &Path, words: &[String]) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg("rootfstype=hostfs").arg(format!("rootflags={}", root.display()));
        command.args(["root=/dev/root", "rw", "mem=1024M", "quiet", "console=tty0"]);
        // Or its notes about what runs would be in the user's home.
        command.arg(format!("uml_dir={}", cargo::target_dir().join("bench/uml").display()));
        command.args(["con0=null,fd:1", "con=null"]).args(self.seccomp.then_some("seccomp=on"));
        // What stands after the dashes is for init.
        command.arg(format!("init=/{}", INIT.0)).arg("--").args(words);
        Ok(command)
    }

    fn printed(&self, text: &str) -> Result<String> {
        printed(text)
    }
}

/// What stands between the lines that the init prints. It goes through a terminal, which ends lines in its own way.
fn printed(text: &str) -> Result<String> {
    let text = text.replace('\r', "");
    let (_, rest) =
        text.split_once(&format!("{BEGIN}\n")).context("User-mode Linux did not start its init")?;
    let (output, rest) = rest.rsplit_once(END).context("User-mode Linux ended before its program")?;
    match rest.lines().next() {
        Some("0") => Ok(output.to_owned()),
        status => bail!("the program failed with status {}", status.unwrap_or("unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_stands_between_two_lines() {
        let said = "noise\r\n=== begin\r\nhello\r\n=== end 0\r\nreboot: System halted\r\n";
        assert_eq!(printed(said).unwrap(), "hello\n");
        assert!(printed("=== begin\n=== end 3\n").is_err_and(|why| why.to_string().contains("status 3")));
        assert!(printed("Kernel panic\n").is_err() && printed("=== begin\nhel").is_err());
    }

    #[test]
    fn the_init_prints_these_lines() {
        assert!(INIT.1.contains(BEGIN) && INIT.1.contains(END));
    }
}
