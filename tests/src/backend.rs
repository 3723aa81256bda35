//! The backends, each of which has to pass the same tests; and how TT may differ from what is expected.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::trial;

/// How guest processes are kept, and trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In a host address space each, trapped by a filter of system calls.
    Skas,
    /// The same, trapped by tracing.
    Ptrace,
    /// With the kernel in one host address space.
    Tt,
}

/// All of them.
pub const ALL: [Backend; 3] = [Backend::Skas, Backend::Ptrace, Backend::Tt];

/// Those that keep guest processes away from each other, and from the host: only they share what can be written.
pub const PROTECTED: [Backend; 2] = [Backend::Skas, Backend::Ptrace];

impl Backend {
    /// Its name in tests.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Skas => "skas",
            Backend::Ptrace => "ptrace",
            Backend::Tt => "tt",
        }
    }

    /// Its name, as `--backend` takes it.
    pub fn flag(self) -> &'static str {
        match self {
            Backend::Skas | Backend::Ptrace => "skas",
            Backend::Tt => "tt",
        }
    }

    /// `lodger`'s words for a guest on it, without the warning that TT has.
    pub fn run(self) -> [&'static str; 6] {
        let trap = if self == Backend::Skas { "seccomp" } else { "ptrace" };
        ["run", "--quiet", "--backend", self.flag(), "--trap", trap]
    }
}

/// What is inherent to TT: a trial and the reason on each line.
const DIFFERENCES: &str = include_str!("../tt-differences.txt");

/// The differences of one harness: the names of its trials, and the reasons.
fn differences(harness: &str) -> Result<BTreeMap<&'static str, &'static str>> {
    let mut found = BTreeMap::new();
    for line in DIFFERENCES.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (name, reason) = line.split_once(": ").with_context(|| format!("no reason in `{line}`"))?;
        let (of, name) = name.split_once('/').with_context(|| format!("no harness in `{line}`"))?;
        if of == harness {
            found.insert(name, reason);
        }
    }
    Ok(found)
}

/// Runs the harness of this name with the trials that `add` adds.
pub fn run(harness: &str, add: impl FnOnce(&mut Trials)) -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = Trials::new(harness).map(|mut trials| {
        add(&mut trials);
        trials.finish()
    });
    let trials = trials.unwrap_or_else(|error| vec![trial(harness, move || Err(error))]);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A trial of one backend. Where TT differs it has to fail, and is reported as ignored, with the reason; so the list of
/// differences cannot outlive its reasons.
pub struct Trials {
    differences: BTreeMap<&'static str, &'static str>,
    trials: Vec<Trial>,
}

impl Trials {
    /// None yet, for the harness of this name.
    pub fn new(harness: &str) -> Result<Trials> {
        Ok(Trials { differences: differences(harness)?, trials: Vec::new() })
    }

    /// Adds one that does not depend on a backend.
    pub fn once(&mut self, name: &str, body: impl FnOnce() -> Result<()> + Send + 'static) {
        self.trials.push(trial(name, body));
    }

    /// Adds one for each backend: `skas::NAME`, `ptrace::NAME`, `tt::NAME`.
    pub fn each(&mut self, name: &str, body: impl FnOnce(Backend) -> Result<()> + Clone + Send + 'static) {
        self.on(&ALL, name, body);
    }

    /// Adds one for each of these backends.
    pub fn on(
        &mut self,
        backends: &[Backend],
        name: &str,
        body: impl FnOnce(Backend) -> Result<()> + Clone + Send + 'static,
    ) {
        for &on in backends {
            let body = body.clone();
            self.add(format!("{}::{name}", on.name()), move || body(on));
        }
    }

    /// Adds one whose name says where it runs.
    pub fn add(&mut self, name: String, body: impl FnOnce() -> Result<()> + Send + 'static) {
        let Some(reason) = self.differences.remove(name.as_str()) else {
            return self.trials.push(trial(name, body));
        };
        self.trials.push(Trial::ignorable_test(name, move || match body() {
            Ok(()) => Err(Failed::from("passes, but tests/tt-differences.txt says that it cannot")),
            Err(_) => Ok(Completion::ignored_with(reason)),
        }));
    }

    /// All of them, and one that fails if a difference is listed that no trial has.
    pub fn finish(mut self) -> Vec<Trial> {
        if !self.differences.is_empty() {
            let left: Vec<_> = self.differences.into_keys().collect();
            let error = anyhow!("no such trials, but tests/tt-differences.txt has them: {}", left.join(", "));
            self.trials.push(trial("tt_differences", move || Err(error)));
        }
        self.trials
    }
}
