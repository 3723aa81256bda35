//! `which`: what a command name stands for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{c_string, usage};

/// `which [-a] NAME...`; 1 if one of them was not found.
pub fn which(words: &[OsString]) -> i32 {
    let (all, names) = match words.split_first() {
        Some((first, rest)) if first == "-a" => (true, rest),
        _ => (false, words),
    };
    if names.is_empty() {
        return usage("which [-a] NAME...");
    }
    let mut status = 0;
    for name in names {
        let found = candidates(Path::new(name)).into_iter().filter(|path| is_executable(path));
        let found: Vec<PathBuf> = found.take(if all { usize::MAX } else { 1 }).collect();
        if found.is_empty() {
            status = 1;
        }
        for path in found {
            println!("{}", path.display());
        }
    }
    status
}

/// A name with a slash stands for itself; any other is searched for.
fn candidates(name: &Path) -> Vec<PathBuf> {
    if name.components().count() > 1 || name.is_absolute() {
        return vec![name.to_owned()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).collect()
}

fn is_executable(path: &Path) -> bool {
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    // SAFETY: the pointer is a string that outlives the call.
    is_file && unsafe { libc::access(c_string(path.as_os_str()).as_ptr(), libc::X_OK) } == 0
}
