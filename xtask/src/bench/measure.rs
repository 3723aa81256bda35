//! One row in one column, once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::column::Column;
use super::limited;
use super::memory;
use super::program::{Programs, Root};
use super::rows::{How, Row, TRUES};
use super::samples::Samples;
use super::tree;

/// How much is done in one run, and in all of them.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of what is measured inside the program.
    pub samples: usize,
    /// How long each of them takes, in milliseconds.
    pub ms: usize,
    /// Lives of the shortest program: they are noisier than what is measured inside.
    pub lives: usize,
    /// No run is begun that would probably end later than this.
    pub budget: Duration,
}

/// After that a run hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// What a system needs to come to rest after it said that it is ready.
const REST: Duration = Duration::from_millis(300);

/// Adds what one run of the row gives.
pub fn measure(
    row: &Row,
    column: &Column,
    programs: &Programs,
    effort: Effort,
    samples: &mut Samples,
) -> Result<()> {
    match row.how {
        How::Inside | How::Parallel => inside(row, column, programs, (effort.samples, effort.ms), samples)?,
        How::Scale { samples: wanted } => inside(row, column, programs, (wanted, effort.ms), samples)?,
        How::Life => {
            for _ in 0..effort.lives {
                let lived = column.run(programs, Root::Bench, &["@/bench", "echo", "hello"], LIMIT)?;
                if lived.text != "hello\n" {
                    bail!("echo said {:?}", lived.text);
                }
                samples.add(lived.took.as_nanos() as f64);
            }
        }
        How::Script => {
            // The path, or the shell would use its own `true`.
            let script = format!(
                "true=$(type -P true); i=0; while [ $i -lt {TRUES} ]; do $true || exit 1; i=$((i+1)); done; echo $i"
            );
            let lived = limited::run(&mut column.shell(programs, &["-c", &script])?, LIMIT)?;
            if lived.text.trim() != TRUES.to_string() {
                bail!("the script printed {:?}", lived.text);
            }
            samples.add(lived.took.as_nanos() as f64);
        }
        How::Work(job) => {
            let script = format!("@/work/{}", job.script());
            let words = ["@/bench", "work", row.name, "1", "@/bin/busybox", "sh", &script, "@/"];
            let lived = column.run(programs, job.root(), &words, LIMIT)?;
            samples.read(row.name, &lived.text)?;
        }
        How::IdleMemory => {
            let bytes =
                at_rest(&mut column.shell(programs, &["-s"])?, "echo ready\n", programs, End::OfInput)?;
            samples.add(bytes as f64);
        }
        How::WaitingMemory => {
            let mut command = column.command(programs, Root::Bench, &["@/bench", "sleepers", "0"])?;
            // Not every kernel hands its input on.
            let end = if column.is_peer() { End::Killed } else { End::OfInput };
            let bytes = at_rest(&mut command, "", programs, end);
            if column.is_peer() {
                tree::end_strays();
            }
            samples.add(bytes? as f64);
        }
        How::ProcessMemory(sleepers) => {
            let with = |n: usize| {
                let words = ["@/bench", "sleepers", &n.to_string()];
                at_rest(&mut column.command(programs, Root::Bench, &words)?, "", programs, End::OfInput)
            };
            let (few, many) = (with(0)?, with(sleepers)?);
            samples.add((many as f64 - few as f64) / sleepers as f64);
        }
        How::Demo(_) => bail!("a demo gives no figure"),
    }
    Ok(())
}

/// So many samples of so many milliseconds each, of the case that has the row's name.
fn inside(
    row: &Row,
    column: &Column,
    programs: &Programs,
    (wanted, ms): (usize, usize),
    samples: &mut Samples,
) -> Result<()> {
    let words = ["@/bench", "run", row.name, &wanted.to_string(), &ms.to_string()];
    let lived = column.run(programs, Root::Bench, &words, LIMIT)?;
    samples.read(row.name, &lived.text)
}

/// How a command ends that was at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By the end of its input, and well.
    OfInput,
    /// It has to be killed.
    Killed,
}

/// Starts a command, says `words` to it, waits until it says `ready` and is at rest, and returns the memory of all its
/// host processes.
fn at_rest(command: &mut Command, words: &str, programs: &Programs, end: End) -> Result<u64> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start it")?;
    let (stdin, stdout, pid) = (child.stdin.take(), child.stdout.take(), child.id());
    thread::scope(|scope| {
        let measured = scope.spawn(move || {
            let mut stdin = stdin.context("it has no input")?;
            let mut lines = BufReader::new(stdout.context("it has no output")?).lines();
            stdin.write_all(words.as_bytes()).context("it does not read its input")?;
            // Other kernels talk before.
            if !lines.by_ref().map_while(Result::ok).any(|line| line.trim_end() == "ready") {
                bail!("it did not say `ready`");
            }
            thread::sleep(REST);
            let bytes = memory::of_tree(pid, &programs.bench());
            if end == End::Killed {
                tree::kill_all(pid);
            }
            bytes
        });
        let ended = limited::finish(child, LIMIT, "it");
        let measured = measured.join().map_err(|_| anyhow::anyhow!("a thread died"))?;
        let ended = ended?;
        if end == End::OfInput && !ended.status.success() {
            bail!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
        }
        measured
    })
}
