//! trinity, a fuzzer of system calls that nobody here wrote, in a Debian: as an ordinary user of the guest and as its root.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::backend::Backend;
use crate::run::{Running, lodger, words};

/// How long the last round may take, and what is checked after it.
const REST: Duration = Duration::from_secs(300);

/// Who makes the calls.
pub const USERS: [(&str, &str); 2] = [("an ordinary user", "65534:65534"), ("root", "0:0")];

/// Makes calls for so many minutes as that user of a guest, which has to work afterwards and to end as it should. The last line
/// of its output says how many calls it were.
pub fn run(on: Backend, root: &Path, user: &str, minutes: u64) -> Result<String> {
    let time = minutes.to_string();
    let script = ["bash", "-c", include_str!("../../conformance/trinity.sh"), "trinity.sh", &time];
    let command = lodger(&words(on, root, &["--mem", "1G", "--user", user], &script))?;
    let ran = Running::start(command, Vec::new())?.wait(Duration::from_secs(60 * minutes) + REST)?;
    let said = ran.text();
    let faults: Vec<&str> = said.lines().filter(|line| line.starts_with("fault: ")).collect();
    let last = said.lines().last().unwrap_or_default();
    ensure!(!ran.late, "the guest hangs; the last that it said: {last}");
    ensure!(!ran.err.contains("panic"), "the kernel panicked: {}", ran.err);
    ensure!(ran.status == 0, "it ended with status {}: {last}", ran.status);
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    ensure!(last.starts_with("made "), "it is not at its end: {last}");
    Ok(last.to_owned())
}
