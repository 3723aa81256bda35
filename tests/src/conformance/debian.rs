//! What people do in a Debian: each task is done in a guest of its own, and its result is checked there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::fetch::{find, source};
use super::page;
use crate::backend::Backend;
use crate::run::Running;
use crate::term::Terminal;

/// How long a task may take.
const LIMIT: Duration = Duration::from_secs(1200);

/// One thing to do.
pub struct Task {
    /// Its name.
    pub name: &'static str,
    how: How,
}

enum How {
    /// By this script for bash, which ends with status 0 if all is as it has to be.
    Script(&'static str),
    /// By this script, with a file of the cache on its standard input.
    Fed(&'static str, fn(&Path) -> Result<PathBuf>),
    /// By keys that are typed into a shell on a terminal.
    Typed(fn(&mut Terminal) -> Result<()>),
}

/// What is done in the smallest Debian, on each backend, in `cargo xtask ci`.
pub const SMOKE: &[Task] =
    &[Task { name: "smoke", how: How::Script(include_str!("../../conformance/debian/smoke.sh")) }];

/// All. The root has the packages that `xtask/src/conformance.rs` lists.
pub const TASKS: &[Task] = &[
    Task { name: "dpkg and apt", how: How::Script(include_str!("../../conformance/debian/smoke.sh")) },
    Task { name: "dpkg -V of all packages", how: How::Script("dpkg -V && test -z \"$(dpkg --audit)\"") },
    Task { name: "coreutils", how: How::Script(include_str!("../../conformance/debian/coreutils.sh")) },
    Task { name: "gcc", how: How::Script(include_str!("../../conformance/debian/gcc.sh")) },
    Task { name: "git", how: How::Script(include_str!("../../conformance/debian/git.sh")) },
    Task { name: "python3", how: How::Script(include_str!("../../conformance/debian/python.sh")) },
    Task { name: "perl", how: How::Script(include_str!("../../conformance/debian/perl.sh")) },
    Task { name: "sqlite3", how: How::Script(include_str!("../../conformance/debian/sqlite.sh")) },
    Task { name: "vi", how: How::Typed(vi) },
    Task { name: "tmux", how: How::Typed(tmux) },
    Task { name: "strace", how: How::Script(include_str!("../../conformance/debian/strace.sh")) },
    Task { name: "gdb", how: How::Script(include_str!("../../conformance/debian/gdb.sh")) },
    Task {
        name: "bash from source",
        how: How::Fed(include_str!("../../conformance/debian/bash.sh"), bash_source),
    },
];

/// What came of the tasks on one backend: the name and how long it took, or why it failed.
pub type Done = Vec<(&'static str, Result<Duration, String>)>;

/// Does the tasks whose names contain `only`, one after the other, and says so on standard error.
pub fn run(tasks: &[Task], on: Backend, root: &Path, cache: &Path, only: &str) -> Done {
    let chosen = tasks.iter().filter(|task| task.name.contains(only));
    chosen
        .map(|task| {
            let result = task.run(on, root, cache).map_err(|error| format!("{error:#}"));
            match &result {
                Ok(time) => eprintln!("debian: {}: {} in {:.1} s", on.flag(), task.name, time.as_secs_f64()),
                Err(why) => eprintln!("debian: {}: {} FAILED: {why}", on.flag(), task.name),
            }
            (task.name, result)
        })
        .collect()
}

/// The results as Markdown.
pub fn report(done: &[(Backend, Done)]) -> String {
    let mut text = format!(
        "# Debian in a guest\n\nWritten by `cargo xtask conformance debian`: what people do in a Debian, each in a guest of its \
         own, which checks its\nresult; the scripts are in `tests/conformance/debian`. {}, {}.\n\n\
         | task | on | result | time |\n|---|---|---|---|\n",
        page::today(),
        page::here(),
    );
    for (on, tasks) in done {
        for (name, result) in tasks {
            let (result, time) = match result {
                Ok(time) => ("done".to_owned(), format!("{:.1} s", time.as_secs_f64())),
                Err(why) => (format!("failed: {}", why.replace(['|', '\n'], " ")), String::new()),
            };
            text.push_str(&format!("| {name} | {} | {result} | {time} |\n", on.flag()));
        }
    }
    text
}

/// The source of Debian's bash, as it is upstream.
fn bash_source(cache: &Path) -> Result<PathBuf> {
    find(&source(cache, "bash")?, "bash_", ".orig.tar.gz").context("bash's source has no .orig.tar.gz")
}

fn vi(terminal: &mut Terminal) -> Result<()> {
    shell(terminal)?;
    terminal.send("vi /root/note\r")?;
    terminal.screen_until("an empty file", |screen| screen.contains("[New") && screen.contains('~'))?;
    terminal.send("ihello\x1bo2 lines\x1b:s/2/two/\r:wq\r")?;
    // It says that it has written the file, and takes that away with its screen.
    terminal.screen_until("the shell again", |screen| !screen.contains('~') && ends_in_prompt(screen))?;
    terminal.send("wc -l /root/note; tail -1 /root/note | tr a-z A-Z\r")?;
    terminal.screen_until("what is in it", |screen| {
        screen.contains("2 /root/note") && screen.contains("TWO LINES")
    })
}

fn tmux(terminal: &mut Terminal) -> Result<()> {
    shell(terminal)?;
    terminal.send("export LC_ALL=C.UTF-8; tmux -f /dev/null new-session -s work\r")?;
    terminal.screen_until("its status line", |screen| screen.contains("[work]"))?;
    terminal.send("echo in''side $((6 * 7))\r")?;
    terminal.screen_until("a shell in it", |screen| screen.contains("inside 42"))?;
    // Another pane beside it, then away from both.
    terminal.send("\x02%")?;
    terminal.screen_until("two shells", |screen| screen.matches('#').count() >= 3)?;
    terminal.send("\x02d")?;
    terminal.screen_until("the outer shell", |screen| screen.contains("[detached"))?;
    terminal.send("echo p''anes $(tmux list-panes -t work | wc -l); tmux kill-server\r")?;
    terminal.screen_until("how many there were", |screen| screen.contains("panes 2"))
}

fn shell(terminal: &mut Terminal) -> Result<()> {
    terminal.screen_until("a prompt", ends_in_prompt)
}

fn ends_in_prompt(screen: &str) -> bool {
    screen.trim_end().ends_with('#')
}

impl Task {
    fn run(&self, on: Backend, root: &Path, cache: &Path) -> Result<Duration> {
        let input = match &self.how {
            How::Fed(_, file) => std::fs::read(file(cache)?)?,
            _ => Vec::new(),
        };
        let start = Instant::now();
        let mut command = Command::new(crate::lodger()?);
        command.args(on.run()).args(["--mem", "4G", "--root"]).arg(root).args(["--", "bash"]);
        match &self.how {
            How::Typed(typed) => typed(&mut Terminal::start(command)?)?,
            How::Script(script) | How::Fed(script, _) => done(command, script, input)?,
        }
        Ok(start.elapsed())
    }
}

fn done(mut command: Command, script: &str, input: Vec<u8>) -> Result<()> {
    command.args(["-c", script]).stdout(Stdio::piped());
    let ran = Running::start(command, input)?.wait(LIMIT)?;
    let said = format!("{}{}", ran.text(), ran.err);
    let mut last: Vec<&str> = said.lines().rev().take(4).collect();
    last.reverse();
    ensure!(!ran.late, "it takes longer than {} s: {}", LIMIT.as_secs(), last.join(" / "));
    ensure!(ran.status == 0, "status {}: {}", ran.status, last.join(" / "));
    Ok(())
}
