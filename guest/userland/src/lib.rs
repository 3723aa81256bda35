//! The default userland of a Lodger guest: one static program that is a shell, the core utilities, grep, sed, find,
//! xargs and what else one needs to look around, told apart by the name it is called by. `userland NAME ARG...` works
//! as well, and `userland --list` names them all.

mod applets;
#[cfg(test)]
mod glibc;
mod input;
mod jobs;
mod own;
mod shell;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// Runs the applet that argv names and returns its exit status.
pub fn run(mut words: Vec<OsString>) -> i32 {
    let mut found = words.first().and_then(applet_of);
    if found.is_none() {
        if words.get(1).is_some_and(|word| word == "--list") {
            return list();
        }
        found = words.get(1).and_then(applet_of);
        if found.is_some() {
            words.remove(0);
            uucore::set_utility_is_second_arg();
        }
    }
    let Some(applet) = found else {
        let wanted = words.get(1).or(words.first()).map(|word| word.to_string_lossy().into_owned());
        eprintln!("userland: no applet {}; see `userland --list`", wanted.unwrap_or_default());
        return 127;
    };
    let status = applet.run(words);
    // Whoever prints last may have left it in the buffer; a full disk must show in the status.
    if let Err(error) = std::io::stdout().flush() {
        eprintln!("{}: standard output: {error}", applet.name);
        return if status == 0 { 1 } else { status };
    }
    status
}

/// Finds the applet that a word names, by its last component and without the dash of a login shell.
fn applet_of(word: &OsString) -> Option<&'static applets::Applet> {
    let name = word.as_bytes().rsplit(|&b| b == b'/').next()?;
    let name = std::str::from_utf8(name.strip_prefix(b"-").unwrap_or(name)).ok()?;
    applets::find(name)
}

fn list() -> i32 {
    let mut names: Vec<&str> = applets::ALL.iter().map(|applet| applet.name).collect();
    names.sort_unstable();
    println!("{}", names.join("\n"));
    0
}
