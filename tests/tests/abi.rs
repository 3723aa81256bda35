//! The ABI cases, natively (Linux is the oracle) and in a guest, as root and as an ordinary user: `native::CASE`,
//! `native-user::CASE`, `skas::CASE`, `skas-user::CASE`, and so for the other backends. A family is run as a whole, once, by
//! the first of its trials; the others read its answers.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use lodger_tests::backend::{self, Backend, Trials};
use lodger_tests::run::{Ran, Running, lodger, words};
use lodger_tests::{Missing, roots};
use nix::unistd::Uid;

/// How long a family may take: a hundred cases that all hang for ten seconds are cut short.
const LIMIT: Duration = Duration::from_secs(240);

/// Where cases are run.
#[derive(Clone, Copy, Debug)]
enum Place {
    Native,
    NativeUser,
    Guest(Backend),
    GuestUser(Backend),
    /// On a directory of the host, which changes.
    OnHost,
}

/// The families whose files are somewhere.
const OF_FILES: &[&str] = &["exec", "fault", "file", "lock", "memory", "path", "perm"];

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Native => "native",
            Place::NativeUser => "native-user",
            Place::Guest(on) => on.name(),
            Place::GuestUser(Backend::Skas) => "skas-user",
            Place::GuestUser(Backend::Ptrace) => "ptrace-user",
            Place::GuestUser(Backend::Tt) => "tt-user",
            Place::OnHost => "skas-hostfs",
        }
    }
}

/// What a family's run said of a case.
#[derive(Clone, Debug)]
enum Answer {
    Right,
    Skipped(String),
    Wrong(String),
}

/// The answers of a family, or why there are none.
type Answers = Arc<OnceLock<Result<HashMap<String, Answer>, String>>>;

fn main() -> ExitCode {
    backend::run("abi", |trials| {
        if let Err(error) = add(trials) {
            trials.once("abi", || Err(error));
        }
    })
}

fn add(trials: &mut Trials) -> Result<()> {
    let list = Command::new(lodger_tests::abi()?).arg("--list").output()?;
    let list = String::from_utf8(list.stdout)?;
    let mut places = vec![Place::Native];
    if Uid::effective().is_root() {
        places.push(Place::NativeUser);
    }
    places.extend(backend::ALL.into_iter().flat_map(|on| [Place::Guest(on), Place::GuestUser(on)]));
    places.push(Place::OnHost);
    let mut families: HashMap<(&str, String), Answers> = HashMap::new();
    for place in places {
        for case in list.lines() {
            let family = case.split("::").next().unwrap_or_default().to_string();
            if matches!(place, Place::OnHost) && !OF_FILES.contains(&family.as_str()) {
                continue;
            }
            let answers = families.entry((place.name(), family.clone())).or_default().clone();
            let name = case.to_string();
            trials.add(format!("{}::{case}", place.name()), move || {
                judge(&name, answers.get_or_init(|| run_family(place, &family).map_err(reason)))
            });
        }
    }
    Ok(())
}

/// A reason that can be told more than once; one that is only missing is marked, to stay so.
fn reason(error: anyhow::Error) -> String {
    match error.downcast_ref::<Missing>() {
        Some(Missing(why)) => format!("{MISSING}{why}"),
        None => format!("{error:#}"),
    }
}

const MISSING: &str = "missing: ";

fn judge(case: &str, answers: &Result<HashMap<String, Answer>, String>) -> Result<()> {
    match answers {
        Err(why) => match why.strip_prefix(MISSING) {
            Some(why) => Err(Missing(why.into()).into()),
            None => Err(anyhow!("{why}")),
        },
        Ok(answers) => match answers.get(case) {
            Some(Answer::Right) => Ok(()),
            Some(Answer::Skipped(why)) => Err(Missing(why.clone()).into()),
            Some(Answer::Wrong(why)) => bail!("{why}"),
            None => {
                bail!("no answer: the run ended before it ({})", answers.get("").map_or("?".into(), tell))
            }
        },
    }
}

fn tell(answer: &Answer) -> String {
    match answer {
        Answer::Right => "rightly".into(),
        Answer::Skipped(why) | Answer::Wrong(why) => why.clone(),
    }
}

fn run_family(place: Place, family: &str) -> Result<HashMap<String, Answer>> {
    let prefix = format!("{family}::");
    let ran = match place {
        Place::Native | Place::NativeUser => {
            // Where an ordinary user can reach it, as which cases of root execute it, too.
            let dir = tempfile::tempdir()?;
            std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
            let program = dir.path().join("abi");
            // By another process: what this one writes is open in what other threads start meanwhile, and cannot be executed.
            let copied = Command::new("cp").arg(lodger_tests::abi()?).arg(&program).status()?;
            anyhow::ensure!(copied.success(), "cannot copy the cases");
            let mut command = Command::new(program);
            command.args(["--all", &prefix]).stdout(Stdio::piped());
            if matches!(place, Place::NativeUser) {
                command.current_dir("/").uid(65534).gid(65534);
            }
            Running::start(command, Vec::new())?.wait(LIMIT)?
        }
        Place::Guest(on @ (Backend::Skas | Backend::Ptrace)) => {
            guest(on, &lodger_tests::abi()?, &[], &prefix)?
        }
        // TT keeps programs that go anywhere and programs at fixed addresses in two ways: here the one, below the other.
        Place::Guest(on @ Backend::Tt) => guest(on, &lodger_tests::abi_pie()?, &[], &prefix)?,
        Place::OnHost => guest(Backend::Skas, &lodger_tests::abi()?, &["--root-rw"], &prefix)?,
        Place::GuestUser(on) => guest(on, &lodger_tests::abi()?, &["--user", "65534:65534"], &prefix)?,
    };
    Ok(read(&ran))
}

/// Runs the cases of `program` whose names begin like this in a guest.
fn guest(on: Backend, program: &Path, flags: &[&str], prefix: &str) -> Result<Ran> {
    let root = roots::with_abi(program)?;
    let command = lodger(&words(on, root.path(), flags, &["/abi", "--all", prefix]))?;
    Running::start(command, Vec::new())?.wait(LIMIT)
}

/// Reads the lines of `abi --all`; under the empty name stands how the whole ended.
fn read(ran: &Ran) -> HashMap<String, Answer> {
    let late = if ran.late { ", its time was over" } else { "" };
    let err: String = ran.err.chars().take(1000).collect();
    let end = format!("status {}{late}; stderr: {}", ran.status, err.trim());
    let mut answers = HashMap::from([(String::new(), Answer::Wrong(end))]);
    for line in ran.text().lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or_default();
        let (name, why) = rest.split_once(": ").unwrap_or((rest, ""));
        let answer = match kind {
            "ok" => Answer::Right,
            "skip" => Answer::Skipped(why.into()),
            "FAIL" => Answer::Wrong(why.into()),
            _ => continue,
        };
        answers.insert(name.into(), answer);
    }
    answers
}
