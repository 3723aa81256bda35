//! Programs that are run with a time limit, and what came of them.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::backend::Backend;

/// How long a test may wait for a guest, unless it says otherwise.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What came of a program.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status, or minus the number of the signal that ended it.
    pub status: i32,
    /// What it wrote to standard output.
    pub out: Vec<u8>,
    /// What it wrote to standard error.
    pub err: String,
    /// It was killed because its time was over.
    pub late: bool,
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Fails, with all that is known, unless it exited with `status`.
    pub fn expect(self, status: i32) -> Result<Ran> {
        if self.late || self.status != status {
            let late = if self.late { " (killed: its time was over)" } else { "" };
            let out: String = self.text().chars().take(2000).collect();
            bail!("status {}{late}, want {status}\nstdout: {out}\nstderr: {}", self.status, self.err);
        }
        Ok(self)
    }

    /// Fails unless lodger refused (125) with one short sentence that contains `word`.
    pub fn refused(self, word: &str) -> Result<()> {
        let ran = self.expect(125)?;
        let lines = ran.err.lines().filter(|line| !line.trim().is_empty()).count();
        if !ran.err.contains(word) || lines > 8 || ran.err.contains("panicked") {
            bail!("want a short sentence with `{word}` on stderr, got: {}", ran.err);
        }
        if !ran.out.is_empty() {
            bail!("a refusal wrote to stdout: {}", ran.text());
        }
        Ok(())
    }
}

/// A program that runs.
pub struct Running {
    child: Child,
    out: Option<Reader>,
    err: Option<Reader>,
}

/// Gathers what comes out of a pipe. Whoever else still holds the other end is not waited for.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(mut pipe: impl Read + Send + 'static) -> Reader {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            // What was read before a failure is kept.
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]);
            }
        });
        Reader { bytes, thread }
    }

    fn finish(self) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(2);
        while !self.thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Running {
    /// Starts it in a process group of its own, with `input` on its standard input. Streams that `command` has set
    /// to something else than a pipe stay so.
    pub fn start(mut command: Command, input: Vec<u8>) -> Result<Running> {
        command.process_group(0).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read is no failure of the test.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        let out = child.stdout.take().map(Reader::start);
        let err = child.stderr.take().map(Reader::start);
        Ok(Running { child, out, err })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Watches how much memory of its own it has at most, in KiB, until it has ended.
    pub fn watch_memory(&self) -> JoinHandle<u64> {
        let status = format!("/proc/{}/status", self.pid());
        std::thread::spawn(move || {
            let mut largest = 0;
            while let Ok(text) = std::fs::read_to_string(&status)
                && let Some(line) = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))
            {
                largest = largest.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0));
                std::thread::sleep(Duration::from_millis(2));
            }
            largest
        })
    }

    /// Sends it (not its children) a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// Waits for its end, at most so long.
    pub fn wait(mut self, limit: Duration) -> Result<Ran> {
        let end = Instant::now() + limit;
        let mut late = false;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                late = true;
                killpg(self.pid(), Signal::SIGKILL)?;
                break self.child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let status = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
        let out = self.out.take().map(Reader::finish).unwrap_or_default();
        let err =
            String::from_utf8_lossy(&self.err.take().map(Reader::finish).unwrap_or_default()).into_owned();
        Ok(Ran { status, out, err, late })
    }
}

/// `lodger` with these words.
pub fn lodger(words: &[impl AsRef<OsStr>]) -> Result<Command> {
    let mut command = Command::new(crate::lodger()?);
    command.args(words).stdout(Stdio::piped());
    Ok(command)
}

/// Runs `lodger` with these words to its end, with nothing on standard input.
pub fn run(words: &[impl AsRef<OsStr>]) -> Result<Ran> {
    Running::start(lodger(words)?, Vec::new())?.wait(LIMIT)
}

/// `lodger run --backend BACKEND --root ROOT [flags] -- CMD`, without warnings.
pub fn words<'a>(on: Backend, root: &'a Path, flags: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let root = root.to_str().unwrap_or_default();
    [&on.run()[..], &["--root", root], flags, &["--"], command].concat()
}

/// Waits until a guest has written a line to the file that is its standard output.
pub fn first_line(path: &Path) -> Result<()> {
    in_the_end(LIMIT, || {
        ensure!(std::fs::read(path)?.contains(&b'\n'), "the guest never said that it was ready");
        Ok(())
    })
}

/// Tries again until it works, at most so long.
pub fn in_the_end<T>(limit: Duration, check: impl Fn() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let result = check();
        if result.is_ok() || Instant::now() >= end {
            return result;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
