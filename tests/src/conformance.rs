//! Suites that nobody here wrote, run natively and in a guest on the same machine the same day. A case that fails
//! natively counts for nothing: the score is what passes in the guest of what passes natively.

pub mod debian;
mod fetch;
pub mod fuzz;
mod inside;
mod kernel;
mod open;
mod page;
mod suites;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

pub use page::updated;
pub use suites::Extent;
use suites::Suite;

use crate::backend::Backend;

/// What a run says of each case: it passed or it failed. Skipped ones are left out.
pub type Results = BTreeMap<String, bool>;

/// What came of a run.
pub struct Outcome {
    results: Results,
    seconds: f64,
}

/// The two runs of a suite.
pub struct Score {
    suite: &'static str,
    on: Backend,
    explained: &'static [(&'static str, &'static str)],
    native: Outcome,
    /// Or why there was no run in a guest.
    guest: Result<Outcome, String>,
}

/// Fetches, builds and runs the suites (or only the one of that name), natively and on that backend, keeping all in `cache`.
pub fn run(cache: &Path, only: Option<&str>, extent: Extent, on: Backend) -> Result<Vec<Score>> {
    let mut scores = Vec::new();
    let chosen = |suite: &&Suite| match only {
        Some(name) => name == suite.name,
        None => extent == Extent::All || suite.sample.is_some(),
    };
    for suite in suites::ALL.iter().filter(chosen) {
        eprintln!("{}: fetching and building", suite.name);
        let built = (suite.build)(cache)?;
        eprintln!("{}: running natively", suite.name);
        let native = timed(suite, || suites::natively(suite, &built, extent))?;
        eprintln!("{}: running in a guest", suite.name);
        let guest = timed(suite, || suites::in_guest(suite, &built, extent, on));
        let guest = guest.map_err(|error| format!("{error:#}"));
        scores.push(Score { suite: suite.name, on, explained: suite.explained, native, guest });
    }
    Ok(scores)
}

fn timed(suite: &Suite, run: impl FnOnce() -> Result<String>) -> Result<Outcome> {
    let start = Instant::now();
    let results = (suite.parse)(&run()?);
    Ok(Outcome { results, seconds: start.elapsed().as_secs_f64() })
}

/// How many cases pass natively and not in the guest, and nobody knows why.
pub fn unexplained(scores: &[Score]) -> usize {
    let of = |score: &Score| match score.guest {
        Ok(_) => score.lost().iter().filter(|case| score.why(case).is_none()).count(),
        Err(_) => score.natively(),
    };
    scores.iter().map(of).sum()
}

impl Score {
    /// How many pass natively.
    fn natively(&self) -> usize {
        self.native.results.values().filter(|passed| **passed).count()
    }

    /// What passes natively and not in the guest (or was never reached there).
    fn lost(&self) -> Vec<&str> {
        let Ok(guest) = &self.guest else { return Vec::new() };
        let passed = |case: &String| guest.results.get(case).copied().unwrap_or(false);
        let lost = self.native.results.iter().filter(|(case, natively)| **natively && !passed(case));
        lost.map(|(case, _)| case.as_str()).collect()
    }

    /// Why a case may differ in a guest.
    fn why(&self, case: &str) -> Option<&'static str> {
        let explains = |cases: &str| cases.lines().any(|name| name == case);
        self.explained.iter().find(|(_, cases)| explains(cases)).map(|(why, _)| *why)
    }

    /// The lost cases, first those that nobody explains.
    fn lost_by_cause(&self) -> BTreeMap<Option<&'static str>, Vec<&str>> {
        let mut causes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for case in self.lost() {
            causes.entry(self.why(case)).or_default().push(case);
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_natively_counts() {
        let outcome = |all: &[(&str, bool)]| {
            let results = all.iter().map(|(name, ok)| (name.to_string(), *ok)).collect();
            Outcome { results, seconds: 1.0 }
        };
        let score = Score {
            suite: "s",
            on: Backend::Skas,
            explained: &[("no such thing here", "d\ne\n")],
            native: outcome(&[("a", true), ("b", true), ("c", false), ("d", true)]),
            guest: Ok(outcome(&[("a", true), ("b", false), ("c", true)])),
        };
        assert_eq!(score.lost(), ["b", "d"]);
        let scores = [score];
        assert_eq!(unexplained(&scores), 1);
        let text = updated("", &scores);
        assert!(text.contains("| s | skas | 4 | 3 | 1 (33.3 %) |"));
        assert!(text.contains("* b\n* no such thing here (1 case): d\n"));
    }
}
