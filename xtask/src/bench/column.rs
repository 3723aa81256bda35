//! The columns: where the same programs run. Another kernel to compare with is another [`Peer`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::limited::{self, Lived};
use super::peers::Peer;
use super::program::{Programs, Root};
use super::tree;

/// One column.
pub struct Column {
    /// Its name in tables.
    pub name: &'static str,
    /// What exactly runs there.
    pub what: String,
    place: Place,
}

/// Where programs run.
enum Place {
    Host,
    Lodger {
        command: PathBuf,
        backend: &'static str,
        /// How it catches system calls, if that is not left to it.
        trap: Option<&'static str>,
    },
    Peer(Box<dyn Peer>),
    /// Nowhere, for this reason.
    Missing(String),
}

/// The columns of Lodger: name, backend, trap.
pub const GUESTS: [(&str, &str, Option<&str>); 4] = [
    ("skas", "skas", None),
    ("skas-seccomp", "skas", Some("seccomp")),
    ("skas-ptrace", "skas", Some("ptrace")),
    ("tt", "tt", None),
];

/// How long the shortest program may take, anywhere.
const FIRST_LIFE: Duration = Duration::from_secs(20);

impl Column {
    /// The host itself.
    pub fn native() -> Column {
        Column { name: "native", what: "the host itself".to_owned(), place: Place::Host }
    }

    /// A guest of Lodger, one of [`GUESTS`]; `command` is `lodger`.
    pub fn lodger(name: &str, command: PathBuf) -> Result<Column> {
        let Some(&(name, backend, trap)) = GUESTS.iter().find(|(known, ..)| *known == name) else {
            let known = GUESTS.map(|(name, ..)| name).join(", ");
            bail!("there is no column `{name}`; there are {known}");
        };
        let trapped = trap.map(|trap| format!(" --trap {trap}")).unwrap_or_default();
        let what = format!("`lodger run --backend {backend}{trapped}`");
        Ok(Column { name, what, place: Place::Lodger { command, backend, trap } })
    }

    /// Another kernel, or why it is not there.
    pub fn peer(name: &'static str, peer: Result<Box<dyn Peer>>) -> Column {
        match peer {
            Ok(peer) => Column { name, what: peer.what(), place: Place::Peer(peer) },
            Err(why) => Column { name, what: String::new(), place: Place::Missing(format!("{why:#}")) },
        }
    }

    /// What the others are compared with.
    pub fn is_native(&self) -> bool {
        matches!(self.place, Place::Host)
    }

    /// Whether it is another kernel than the host's and Lodger.
    pub fn is_peer(&self) -> bool {
        matches!(self.place, Place::Peer(_) | Place::Missing(_))
    }

    /// Fails with the reason if nothing runs there.
    pub fn probe(&self, programs: &Programs) -> Result<()> {
        let said = self.run(programs, Root::Bench, &["@/bench", "echo", "hello"], FIRST_LIFE)?.text;
        if said != "hello\n" {
            bail!("echo said {said:?}");
        }
        Ok(())
    }

    /// Runs a program of a root file system to its end; `@/` in front of a word stands for that root.
    pub fn run(&self, programs: &Programs, root: Root, words: &[&str], limit: Duration) -> Result<Lived> {
        let lived = limited::run(&mut self.command(programs, root, words)?, limit);
        let Place::Peer(peer) = &self.place else { return lived };
        // Helpers of what has ended, and all of what had to be killed.
        tree::end_strays();
        let lived = lived?;
        Ok(Lived { text: peer.printed(&lived.text)?, ..lived })
    }

    /// The same as a command, for those who want to watch it.
    pub fn command(&self, programs: &Programs, root: Root, words: &[&str]) -> Result<Command> {
        let folder = programs.folder(root)?;
        match &self.place {
            Place::Host => {
                let words = resolved(&folder.to_string_lossy(), words);
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                Ok(command)
            }
            Place::Lodger { .. } => {
                let mut command = self.lodger_run(programs)?;
                command.arg("--root").arg(folder).arg("--").args(resolved("", words));
                Ok(command)
            }
            // They do not know what the bench's root lacks, and some need it.
            Place::Peer(peer) => match root {
                Root::Bench => peer.command(&programs.folder(Root::Work)?, &resolved("", words)),
                Root::Work | Root::Compiler => peer.command(&folder, &resolved("", words)),
            },
            Place::Missing(why) => bail!("{why}"),
        }
    }

    /// The shell of the default userland with some words.
    pub fn shell(&self, programs: &Programs, words: &[&str]) -> Result<Command> {
        if !self.is_native() {
            let mut command = self.lodger_run(programs)?;
            command.args(["--", "sh"]).args(words);
            return Ok(command);
        }
        let mut command = Command::new(programs.natively.join("sh"));
        command.args(words).env_clear().env("PATH", &programs.natively);
        Ok(command)
    }

    fn lodger_run(&self, programs: &Programs) -> Result<Command> {
        let Place::Lodger { command, backend, trap } = &self.place else {
            bail!("that is not measured of other kernels")
        };
        let mut run = Command::new::<&Path>(command);
        run.args(["run", "--quiet", "--no-tty", "--backend", backend]);
        if let Some(trap) = trap {
            run.args(["--trap", trap]);
        }
        run.env("LODGER_USERLAND", &programs.userland);
        Ok(run)
    }
}

/// The words with what `@` stands for.
fn resolved(root: &str, words: &[&str]) -> Vec<String> {
    let resolve = |word: &&str| match word.strip_prefix('@') {
        Some(path) => format!("{root}{path}"),
        None => (*word).to_owned(),
    };
    words.iter().map(resolve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_stand_before_paths() {
        assert_eq!(resolved("/a", &["@/bench", "run", "@/"]), ["/a/bench", "run", "/a/"]);
        assert_eq!(resolved("", &["@/bench", "x@y"]), ["/bench", "x@y"]);
    }

    #[test]
    fn the_trap_is_left_to_lodger_unless_the_column_names_one() {
        let what = |name: &str| Column::lodger(name, PathBuf::from("lodger")).map(|column| column.what);
        assert_eq!(what("skas").unwrap(), "`lodger run --backend skas`");
        assert_eq!(what("skas-ptrace").unwrap(), "`lodger run --backend skas --trap ptrace`");
        assert!(what("skas-magic").is_err_and(|error| error.to_string().contains("skas-ptrace, tt")));
    }
}
