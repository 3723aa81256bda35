//! An instance of `lodger` in which guest programs attack each other and the kernel: started like by any user, and seen
//! from outside.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::script::{Facts, Line};
use crate::{Kind, Scene};

/// No demo takes this long, unless the kernel hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What came of an instance.
#[derive(Debug, Default)]
pub struct Report {
    /// What its programs say.
    pub facts: Facts,
    /// Its exit status, 128+n if it was ended by signal n.
    pub status: i32,
    /// What it wrote to standard error.
    pub errors: String,
    /// It did not end in time, and was killed.
    pub hung: bool,
}

/// Runs the attack of this name; `show` gets what the programs say while they say it.
pub fn run(scene: &Scene, name: &str, mut show: impl FnMut(Line<'_>)) -> Result<Report> {
    let mut command = Command::new(&scene.lodger);
    command.args(["run", "--quiet", "--no-tty", "--backend", scene.kind.name(), "--root"]).arg(&scene.root);
    command.args(["--", "/demo", "scene", name]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", scene.lodger.display()))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let watch = Watch::over(child);
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What was read before a failure is kept.
        let _ = err.map(|mut err| err.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut facts = Facts::default();
    for line in out.into_iter().flat_map(|out| BufReader::new(out).split(b'\n')) {
        let line = line.context("cannot read what the guest says")?;
        if let Some(line) = facts.take(&String::from_utf8_lossy(&line)) {
            show(line);
        }
    }
    let (status, hung) = watch.end()?;
    let errors = errors.join().unwrap_or_default();
    for text in errors.lines().filter(|text| !text.is_empty()) {
        show(Line { who: speaker(scene.kind), text });
    }
    Ok(Report { facts, status, errors, hung })
}

/// Who writes to standard error.
fn speaker(kind: Kind) -> &'static str {
    match kind {
        Kind::Skas => "lodger",
        Kind::Tt => "lodger-tt",
    }
}

/// Ends a child that does not end by itself.
struct Watch {
    child: Arc<Mutex<Child>>,
    limit: Instant,
}

impl Watch {
    fn over(child: Child) -> Watch {
        let watch = Watch { child: Arc::new(Mutex::new(child)), limit: Instant::now() + LIMIT };
        let (child, limit) = (watch.child.clone(), watch.limit);
        // It holds the streams open: without this, whoever reads them would wait for ever.
        std::thread::spawn(move || {
            std::thread::sleep(limit.saturating_duration_since(Instant::now()));
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        });
        watch
    }

    /// Waits for its end: its exit status, and whether it was killed for being late.
    fn end(self) -> Result<(i32, bool)> {
        loop {
            let ended = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?;
            if let Some(status) = ended {
                let late = Instant::now() >= self.limit;
                return Ok((status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)), late));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
