//! Runs cases in processes of their own. Rests on little: fork, wait4, kill, nanosleep, a pipe, and a temporary
//! folder, so that it works on a young kernel.

use std::ffi::CString;

use libc::c_int;

use crate::FAMILIES;
use crate::support::{Case, Done, SKIPPED, conclude, describe, fail, now_ms, pipe, sleep_ms};

/// How long a case may take.
const LIMIT_MS: i64 = 10_000;

fn cases(prefix: &str) -> impl Iterator<Item = (String, &'static Case)> {
    let named = |family: &'static str| move |case: &'static Case| (format!("{family}::{}", case.name), case);
    let all = FAMILIES.iter().flat_map(move |(family, cases)| cases.iter().map(named(family)));
    all.filter(move |(name, _)| name.starts_with(prefix))
}

/// The case of that name.
pub fn find(name: &str) -> Option<&'static Case> {
    cases(name).find(|(found, _)| found == name).map(|(_, case)| case)
}

/// Prints the names.
pub fn list(prefix: &str) -> c_int {
    cases(prefix).for_each(|(name, _)| println!("{name}"));
    0
}

/// Runs the cases whose names start with `prefix`; the status is 1 if one failed.
pub fn all(prefix: &str) -> c_int {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, case) in cases(prefix) {
        match isolated(case) {
            Ok((0, _)) => {
                println!("ok {name}");
                passed += 1;
            }
            Ok((SKIPPED, why)) => {
                println!("skip {name}: {why}");
                skipped += 1;
            }
            Ok((_, why)) => {
                println!("FAIL {name}: {why}");
                failed += 1;
            }
            Err(stop) => {
                println!("FAIL {name}: cannot be run: {stop:?}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    c_int::from(failed > 0)
}

/// Runs a case in a session and a folder of its own; returns its status (-1 for a bad end) and what it said.
fn isolated(case: &Case) -> Done<(c_int, String)> {
    let (r, w) = pipe()?;
    let begin = now_ms();
    // SAFETY: this process has one thread; the children leave by _exit.
    unsafe {
        let parent = libc::getpid();
        let folder = std::env::temp_dir().join(format!("abi.{parent}.{begin}"));
        if let Err(error) = std::fs::create_dir(&folder) {
            return fail(format!("no folder {}: {error}", folder.display()));
        }
        let path = CString::new(folder.as_os_str().as_encoded_bytes()).unwrap_or_default();
        let pid = libc::fork();
        if pid == 0 {
            libc::setsid();
            libc::chdir(path.as_ptr());
            libc::dup2(w, 2);
            libc::close(r);
            libc::close(w);
            libc::umask(0o022);
            libc::_exit(conclude((case.run)()));
        }
        libc::close(w);
        let guard = libc::fork();
        if guard == 0 {
            sleep_ms(LIMIT_MS);
            libc::kill(pid, libc::SIGKILL);
            libc::_exit(0);
        }
        let mut word = 0;
        libc::waitpid(pid, &mut word, 0);
        libc::kill(-pid, libc::SIGKILL);
        libc::kill(guard, libc::SIGKILL);
        libc::waitpid(guard, &mut 0, 0);
        let mut why = said(r);
        libc::close(r);
        let _ = std::fs::remove_dir_all(&folder);
        if libc::WIFEXITED(word) {
            return Ok((libc::WEXITSTATUS(word), why));
        }
        if now_ms() - begin >= LIMIT_MS {
            why.push_str(" (timed out)");
        }
        Ok((-1, format!("{} {why}", describe(word))))
    }
}

/// What is in the pipe, in one line. Whoever else still holds its other end is not waited for.
fn said(fd: c_int) -> String {
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer is that long.
    let n = unsafe {
        libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
        libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len())
    };
    let text = String::from_utf8_lossy(&buffer[..n.max(0) as usize]).into_owned();
    text.trim_end().replace('\n', "; ")
}
