//! The page that shows the scores, `docs/conformance.md`: a table, and a section for each suite on each backend. A run
//! replaces what it has measured and leaves the rest.

use std::fmt::Write;
use std::process::Command;

use super::{Score, suites};

const HEAD: &str = "# Conformance

Written by `cargo xtask conformance [SUITE] [--backend tt]`: suites that nobody here wrote, natively and in a guest, on the same
machine and day. What fails natively counts for nothing. What people do in a Debian is in [debian.md](debian.md).

| suite | on | cases | pass natively | of these pass in a guest | natively | in a guest | date |
|---|---|---|---|---|---|---|---|
";

/// The page with these scores in it.
pub fn updated(old: &str, scores: &[Score]) -> String {
    let key = |score: &Score| format!("{} on {}", score.suite, score.on.flag());
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in old.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| suite ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, suite, on, ..] = cells[..] {
            rows.push((format!("{suite} on {on}"), line.to_owned()));
        }
    }
    let mut sections: Vec<(String, String)> = old
        .split("\n## ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .map(|(name, text)| (name.trim().to_owned(), text.trim().to_owned()))
        .collect();
    for score in scores {
        replace(&mut rows, key(score), row(score));
        replace(&mut sections, key(score), section(score));
    }
    for all in [&mut rows, &mut sections] {
        all.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
    }
    let mut text = String::from(HEAD);
    for (_, row) in rows {
        let _ = writeln!(text, "{row}");
    }
    for (name, section) in sections {
        let _ = write!(text, "\n## {name}\n\n{section}\n");
    }
    text
}

/// Where what has that key (`SUITE on BACKEND`) is on the page: in the order of the suites, and of the backends in each.
fn place(key: &str) -> (usize, &str) {
    let (suite, on) = key.split_once(" on ").unwrap_or((key, ""));
    (suites::ALL.iter().position(|known| known.name == suite).unwrap_or(usize::MAX), on)
}

fn replace(all: &mut Vec<(String, String)>, key: String, new: String) {
    match all.iter_mut().find(|(name, _)| *name == key) {
        Some((_, old)) => *old = new,
        None => all.push((key, new)),
    }
}

/// The day.
pub fn today() -> String {
    said("date", &["-u", "+%Y-%m-%d"])
}

/// The machine, and what else it does.
pub fn here() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{}, {cores} processors, load {load} at the end", said("uname", &["-srm"]))
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
}

fn row(score: &Score) -> String {
    let natively = score.natively();
    let (passed, seconds) = match &score.guest {
        Ok(guest) => {
            let passed = natively - score.lost().len();
            let percent = 100.0 * passed as f64 / natively.max(1) as f64;
            (format!("{passed} ({percent:.1} %)"), format!("{:.0} s", guest.seconds))
        }
        Err(_) => ("not run".into(), String::new()),
    };
    format!(
        "| {} | {} | {} | {natively} | {passed} | {:.0} s | {seconds} | {} |",
        score.suite,
        score.on.flag(),
        score.native.results.len(),
        score.native.seconds,
        today(),
    )
}

fn section(score: &Score) -> String {
    let mut text = format!("Machine: {}. ", here());
    match &score.guest {
        Err(why) => {
            let _ = writeln!(text, "No run in a guest: {}", why.lines().next().unwrap_or_default());
        }
        Ok(_) if score.lost().is_empty() => text.push_str("Nothing that passes natively fails in a guest."),
        Ok(_) => {
            text.push_str("Passes natively and not in a guest:\n\n");
            for (why, cases) in score.lost_by_cause() {
                let items = match why {
                    Some(why) => {
                        let count =
                            if cases.len() == 1 { "1 case".into() } else { format!("{} cases", cases.len()) };
                        vec![wrapped(&format!("{why} ({count}): {}", cases.join(", ")))]
                    }
                    None => cases.into_iter().map(str::to_owned).collect(),
                };
                for item in items {
                    let _ = writeln!(text, "* {item}");
                }
            }
        }
    }
    text
}

/// An item of a list in lines that are not too long.
fn wrapped(item: &str) -> String {
    let (mut text, mut width) = (String::new(), 0);
    for word in item.split(' ') {
        if width > 0 && width + word.len() > 115 {
            text.push_str("\n  ");
            width = 0;
        } else if width > 0 {
            text.push(' ');
        }
        text.push_str(word);
        width += word.len() + 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::conformance::{Outcome, Results};

    #[test]
    fn what_was_not_run_again_stays() {
        let score = |suite: &'static str, passed: bool| {
            let outcome =
                |passed| Outcome { results: Results::from([("case".to_owned(), passed)]), seconds: 1.0 };
            Score {
                suite,
                on: Backend::Tt,
                explained: &[],
                native: outcome(true),
                guest: Ok(outcome(passed)),
            }
        };
        let first = updated("", &[score("a", false), score("b", true)]);
        assert!(first.contains("| a | tt | 1 | 1 | 0 (0.0 %) |") && first.contains("* case\n"));
        let second = updated(&first, &[score("a", true)]);
        assert!(second.contains("| a | tt | 1 | 1 | 1 (100.0 %) |") && !second.contains("* case\n"));
        assert!(second.contains("| b | tt | 1 |") && second.matches("## ").count() == 2);
        assert_eq!(updated(&second, &[]), second);
    }
}
