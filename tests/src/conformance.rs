//! Suites that nobody here wrote, run natively and in a guest on the same machine the same day. A case that fails
//! natively counts for nothing: the score is what passes in the guest of what passes natively.

mod fetch;
mod suites;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

pub use suites::Extent;
use suites::Suite;

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
    explained: &'static [(&'static str, &'static str)],
    native: Outcome,
    /// Or why there was no run in a guest.
    guest: Result<Outcome, String>,
}

/// Fetches, builds and runs the suites (or only the one of that name), keeping all in `cache`.
pub fn run(cache: &Path, only: Option<&str>, extent: Extent) -> Result<Vec<Score>> {
    std::fs::create_dir_all(cache)?;
    let mut scores = Vec::new();
    for suite in suites::ALL.iter().filter(|suite| only.is_none_or(|name| name == suite.name)) {
        eprintln!("{}: fetching and building", suite.name);
        let built = (suite.build)(cache)?;
        eprintln!("{}: running natively", suite.name);
        let native = timed(suite, || suites::natively(suite, &built, extent))?;
        eprintln!("{}: running in a guest", suite.name);
        let guest = timed(suite, || suites::in_guest(suite, &built, extent));
        let guest = guest.map_err(|error| format!("{error:#}"));
        scores.push(Score { suite: suite.name, explained: suite.explained, native, guest });
    }
    Ok(scores)
}

fn timed(suite: &Suite, run: impl FnOnce() -> Result<String>) -> Result<Outcome> {
    let start = Instant::now();
    let results = (suite.parse)(&run()?);
    Ok(Outcome { results, seconds: start.elapsed().as_secs_f64() })
}

/// The report, as Markdown.
pub fn report(scores: &[Score]) -> String {
    let mut text = String::from(
        "# Conformance\n\nWritten by `cargo xtask conformance`: suites that nobody here wrote, natively",
    );
    text.push_str(
        " and in a guest, on the same\nmachine and day. What fails natively counts for nothing.\n\n",
    );
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "Date: {}. Machine: {}, {cores} processors. Command: `cargo xtask conformance`.\n",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("uname", &["-srm"])
    );
    text.push_str("| suite | cases | pass natively | of these pass in a guest | natively | in a guest |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for score in scores {
        let natively = score.natively();
        let (passed, seconds) = match &score.guest {
            Ok(guest) => {
                let passed = natively - score.lost().len();
                let percent = 100.0 * passed as f64 / natively.max(1) as f64;
                (format!("{passed} ({percent:.1} %)"), format!("{:.0} s", guest.seconds))
            }
            Err(_) => ("not run".into(), String::new()),
        };
        let cases = score.native.results.len();
        let _ = writeln!(
            text,
            "| {} | {cases} | {natively} | {passed} | {:.0} s | {seconds} |",
            score.suite, score.native.seconds
        );
    }
    for score in scores {
        let _ = writeln!(text, "\n## {}\n", score.suite);
        match &score.guest {
            Err(why) => {
                text.push_str(&format!("No run in a guest: {}\n", why.lines().next().unwrap_or_default()))
            }
            Ok(_) if score.lost().is_empty() => {
                text.push_str("Nothing that passes natively fails in a guest.\n")
            }
            Ok(_) => {
                text.push_str("Passes natively and not in a guest:\n\n");
                for case in score.lost() {
                    let why = score.why(case).map(|why| format!(": {why}")).unwrap_or_default();
                    let _ = writeln!(text, "* {case}{why}");
                }
            }
        }
    }
    text
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
        self.explained.iter().find(|(name, _)| *name == case).map(|(_, why)| *why)
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
            explained: &[("d", "no such thing here")],
            native: outcome(&[("a", true), ("b", true), ("c", false), ("d", true)]),
            guest: Ok(outcome(&[("a", true), ("b", false), ("c", true)])),
        };
        assert_eq!(score.lost(), ["b", "d"]);
        let scores = [score];
        assert_eq!(unexplained(&scores), 1);
        let text = report(&scores);
        assert!(text.contains("| s | 4 | 3 | 1 (33.3 %) |"));
        assert!(text.contains("* b\n* d: no such thing here\n"));
    }
}
