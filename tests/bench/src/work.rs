//! Other programs, and how long they run: real work rather than single calls.

use std::process::{Command, Stdio};

use crate::cases::timed;
use crate::fail;
use crate::files::Folder;

/// Prints how long each run of a program takes. It gets two words more: what to do, `setup` at first and then `run`,
/// and a folder in memory to do it in.
pub fn run(name: &str, samples: u32, program: &str, words: &[&str]) {
    let folder = Folder::new();
    let call = |what: &str| {
        let mut command = Command::new(program);
        command.args(words).arg(what).arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => fail(&format!("{name} {what}: {status}")),
            Err(error) => fail(&format!("cannot start {program}: {error}")),
        }
    };
    call("setup");
    for _ in 0..samples {
        println!("{name} {}", timed(|| call("run")).as_nanos());
    }
}
