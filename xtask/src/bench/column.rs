//! The columns: where the same programs run. Another kernel to compare with is another [`Place`].

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::limited;
use super::program::Programs;

/// One column.
pub struct Column {
    /// Its name in tables.
    pub name: &'static str,
    place: Place,
}

/// Where programs run.
enum Place {
    Host,
    /// The backend has the column's name.
    Lodger {
        command: PathBuf,
    },
}

/// How long the shortest program may take, anywhere.
const FIRST_LIFE: Duration = Duration::from_secs(20);

impl Column {
    /// The host itself.
    pub fn native() -> Column {
        Column { name: "native", place: Place::Host }
    }

    /// A guest of Lodger on the backend of that name; `command` is `lodger`.
    pub fn lodger(backend: &'static str, command: PathBuf) -> Column {
        Column { name: backend, place: Place::Lodger { command } }
    }

    /// What the others are compared with.
    pub fn is_native(&self) -> bool {
        matches!(self.place, Place::Host)
    }

    /// Fails with the reason if nothing runs there.
    pub fn probe(&self, programs: &Programs) -> Result<()> {
        let said = limited::run(&mut self.bench(programs, &["echo", "hello"]), FIRST_LIFE)?.text;
        if said != "hello\n" {
            bail!("echo said {said:?}");
        }
        Ok(())
    }

    /// The bench program with some words, alone in a root file system.
    pub fn bench(&self, programs: &Programs, words: &[&str]) -> Command {
        match &self.place {
            Place::Host => {
                let mut command = Command::new(programs.bench());
                command.args(words);
                command
            }
            Place::Lodger { command } => {
                let mut command = self.lodger_run(command, programs);
                command.arg("--root").arg(&programs.root).args(["--", "/bench"]).args(words);
                command
            }
        }
    }

    /// The shell of the default userland with some words.
    pub fn shell(&self, programs: &Programs, words: &[&str]) -> Command {
        match &self.place {
            Place::Host => {
                let mut command = Command::new(programs.natively.join("sh"));
                command.args(words).env_clear().env("PATH", &programs.natively);
                command
            }
            Place::Lodger { command } => {
                let mut command = self.lodger_run(command, programs);
                command.args(["--", "sh"]).args(words);
                command
            }
        }
    }

    fn lodger_run(&self, lodger: &PathBuf, programs: &Programs) -> Command {
        let mut command = Command::new(lodger);
        command.args(["run", "--quiet", "--no-tty", "--backend", self.name]);
        command.env("LODGER_USERLAND", &programs.userland);
        command
    }
}
