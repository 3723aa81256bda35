//! Commands that end: well, badly, or because their time is over.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::tree;
use crate::cargo;

/// What a command that ended well printed, and how long it lived.
pub struct Lived {
    /// Its standard output.
    pub text: String,
    /// From its start to its end.
    pub took: Duration,
}

/// Runs a command that must succeed within `limit`; the error quotes what it said.
pub fn run(command: &mut Command, limit: Duration) -> Result<Lived> {
    let shown = cargo::display(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let output = finish(child, limit, &shown)?;
    let took = start.elapsed();
    if !output.status.success() {
        bail!("{}", sentence(&output).unwrap_or_else(|| format!("{shown} failed ({})", output.status)));
    }
    Ok(Lived { text: String::from_utf8_lossy(&output.stdout).into_owned(), took })
}

/// Waits for the end of a process and kills it, and what it started, if that does not come within `limit`.
pub fn finish(child: Child, limit: Duration, shown: &str) -> Result<Output> {
    let pid = child.id();
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let in_time = end.recv_timeout(limit).is_ok();
            if !in_time {
                // The process still runs, or `end` would have been told.
                tree::kill_all(pid);
            }
            in_time
        });
        let output = child.wait_with_output();
        let _ = ended.send(());
        match watch.join() {
            Ok(true) => output.with_context(|| format!("cannot wait for {shown}")),
            _ => bail!("{shown} did not end within {} s", limit.as_secs()),
        }
    })
}

/// The last line that it wrote to standard error.
pub fn sentence(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Lived> {
        run(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn what_ends_well_gives_its_output() {
        assert_eq!(sh("echo yes", Duration::from_secs(60)).unwrap().text, "yes\n");
    }

    #[test]
    fn what_fails_is_quoted() {
        let error = sh("echo no luck >&2; exit 3", Duration::from_secs(60)).err().unwrap().to_string();
        assert_eq!(error, "no luck");
        let error = sh("exit 3", Duration::from_secs(60)).err().unwrap().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn what_hangs_is_killed() {
        let error = sh("exec sleep 60", Duration::from_millis(100)).err().unwrap().to_string();
        assert!(error.contains("did not end"), "{error}");
    }
}
