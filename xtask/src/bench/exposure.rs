//! What hostile programs get: the demos say it, one line of JSON a demo and backend.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::limited;
use super::report::{Cell, Verdict};
use crate::demo::Built;

/// A demo takes seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// Shows the demo on a backend and returns what came of it.
pub fn tried(built: &Built, demo: &str, backend: &str) -> Result<Cell> {
    let binary = match backend {
        "skas" => "lodger-demo".to_owned(),
        other => format!("lodger-demo-{other}"),
    };
    let mut command = built.command(&binary);
    command.args([demo, "--json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().context("cannot start the demo")?;
    let output = limited::finish(child, LIMIT, "the demo")?;
    match outcome(&String::from_utf8_lossy(&output.stdout), demo, backend) {
        Some((outcome, why)) => outcome.map(|verdict| Cell::Tried(verdict, why.clone())).context(why),
        None => match limited::sentence(&output) {
            Some(sentence) => bail!("{}", sentence.trim_start_matches("lodger: ")),
            None => bail!("the demo printed no outcome ({})", output.status),
        },
    }
}

/// The verdict, if there is one, and why; None if no line tells about this demo.
fn outcome(text: &str, demo: &str, backend: &str) -> Option<(Option<Verdict>, String)> {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.rfind(|line| line["demo"] == demo && line["backend"] == backend)?;
    let verdict = match line["outcome"].as_str() {
        Some("exposed") => Some(Verdict::Exposed),
        Some("refused") => Some(Verdict::Refused),
        _ => None,
    };
    Some((verdict, line["why"].as_str().unwrap_or("the demo came to neither outcome").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_read() {
        let line = |outcome: &str| {
            format!(
                r#"{{"schema":"lodger-demo/1","demo":"peek","backend":"tt","outcome":{outcome},"why":"so"}}"#
            )
        };
        let read = |outcome: &str| super::outcome(&line(outcome), "peek", "tt");
        assert_eq!(read("\"exposed\""), Some((Some(Verdict::Exposed), "so".into())));
        assert_eq!(read("\"refused\""), Some((Some(Verdict::Refused), "so".into())));
        assert_eq!(read("null"), Some((None, "so".into())));
        assert_eq!(super::outcome(&line("\"exposed\""), "peek", "skas"), None);
        assert_eq!(super::outcome("words\n", "peek", "tt"), None);
    }
}
