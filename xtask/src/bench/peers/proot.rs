//! proot: no kernel of its own, but `ptrace` and other paths for the host's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Peer, file_of, on_path, program, version};

struct Proot {
    program: PathBuf,
    /// Where the library is that it wants, unless the machine has it.
    libraries: Option<PathBuf>,
}

/// The machine's.
pub fn find() -> Result<Box<dyn Peer>> {
    let program = program("proot", "proot", "usr/bin/proot")?;
    let libraries = match on_path("proot") {
        Some(_) => None,
        None => {
            let library = file_of("libtalloc2", "usr/lib/x86_64-linux-gnu/libtalloc.so.2")?;
            Some(library.parent().context("a file without a folder")?.to_owned())
        }
    };
    Ok(Box::new(Proot { program, libraries }))
}

impl Peer for Proot {
    fn what(&self) -> String {
        format!("proot {}", version(self.start()))
    }

    fn command(&self, root: &Path, words: &[String]) -> Result<Command> {
        let mut command = self.start();
        command.arg("-r").arg(root).args(["-b", "/proc", "-b", "/dev", "-w", "/"]).args(words);
        Ok(command)
    }
}

impl Proot {
    fn start(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(folder) = &self.libraries {
            command.env("LD_LIBRARY_PATH", folder);
        }
        command
    }
}
