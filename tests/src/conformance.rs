//! Suites that nobody here wrote, run natively and in a guest on the same machine the same day. A case that fails
//! natively counts for nothing: the score is what passes in the guest of what passes natively.

mod fetch;
mod suites;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

/// What a run says of each case: it passed or it failed. Skipped ones are left out.
pub type Results = BTreeMap<String, bool>;

/// The two runs of a suite.
pub struct Score {
    suite: &'static str,
    native: Results,
    /// Or why there was no run in a guest.
    guest: Result<Results, String>,
}

/// Fetches, builds and runs the suites (or only the one of that name), keeping all in `cache`.
pub fn run(cache: &Path, only: Option<&str>) -> Result<Vec<Score>> {
    std::fs::create_dir_all(cache)?;
    let mut scores = Vec::new();
    for suite in suites::ALL.iter().filter(|suite| only.is_none_or(|name| name == suite.name)) {
        eprintln!("{}: fetching and building", suite.name);
        let built = (suite.build)(cache)?;
        eprintln!("{}: running natively", suite.name);
        let native = (suite.parse)(&suites::natively(suite, &built)?);
        eprintln!("{}: running in a guest", suite.name);
        let guest = suites::in_guest(suite, &built).map(|text| (suite.parse)(&text));
        scores.push(Score { suite: suite.name, native, guest: guest.map_err(|error| format!("{error:#}")) });
    }
    Ok(scores)
}

/// The report, as Markdown.
pub fn report(scores: &[Score]) -> String {
    let mut text = String::from("# Conformance\n\nWritten by `cargo xtask conformance`.\n\n");
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "Date: {}. Machine: {}, {cores} processors.\n",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("uname", &["-srm"])
    );
    text.push_str("| suite | cases | pass natively | of these pass in a guest |\n|---|---|---|---|\n");
    for score in scores {
        let natively = score.native.values().filter(|passed| **passed).count();
        let guest = match &score.guest {
            Ok(_) => format!("{} ({:.1} %)", natively - score.lost().len(), score.percent(natively)),
            Err(_) => "not run".into(),
        };
        let _ = writeln!(text, "| {} | {} | {natively} | {guest} |", score.suite, score.native.len());
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
                score.lost().iter().for_each(|case| text.push_str(&format!("* {case}\n")));
            }
        }
    }
    text
}

impl Score {
    /// What passes natively and not in the guest (or was never reached there).
    fn lost(&self) -> Vec<&str> {
        let Ok(guest) = &self.guest else { return Vec::new() };
        let passed = |case: &String| guest.get(case).copied().unwrap_or(false);
        let lost = self.native.iter().filter(|(case, natively)| **natively && !passed(case));
        lost.map(|(case, _)| case.as_str()).collect()
    }

    fn percent(&self, natively: usize) -> f64 {
        100.0 * (natively - self.lost().len()) as f64 / natively.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_natively_counts() {
        let results = |all: &[(&str, bool)]| all.iter().map(|(name, ok)| (name.to_string(), *ok)).collect();
        let score = Score {
            suite: "s",
            native: results(&[("a", true), ("b", true), ("c", false), ("d", true)]),
            guest: Ok(results(&[("a", true), ("b", false), ("c", true)])),
        };
        assert_eq!(score.lost(), ["b", "d"]);
        assert!(report(&[score]).contains("| s | 4 | 3 | 1 (33.3 %) |"));
    }
}
