//! The demos: on every backend, each has the outcome that the backend promises: `skas::peek`, `tt::peek`, ...

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Arguments;
use lodger_tests::run::{LIMIT, Ran, Running};
use lodger_tests::{demos, lodger, trial, userland};

/// The backends, their programs, and what they promise of an attack.
const BACKENDS: [(&str, &str, &str); 2] =
    [("skas", "lodger-demo", "refused"), ("tt", "lodger-demo-tt", "exposed")];

/// Those that attack something.
const ATTACKS: [&str; 5] = ["peek", "poke", "kernel-read", "root", "crash"];

/// The one that draws.
const MAP: &str = "map";

fn main() -> ExitCode {
    let mut trials = vec![
        trial("all_are_listed", all_are_listed),
        trial("an_unknown_demo_is_refused", an_unknown_demo_is_refused),
        trial("programs_are_position_independent", programs_are_position_independent),
        trial("pictures_are_drawn_side_by_side", pictures_are_drawn_side_by_side),
    ];
    for (backend, program, promise) in BACKENDS {
        for demo in ATTACKS {
            let body = move || keeps_its_promise(program, &[demo], backend, promise);
            trials.push(trial(format!("{backend}::{demo}"), body));
        }
        trials.push(trial(format!("{backend}::{MAP}"), move || the_map_is_drawn(program, backend, promise)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A demo's program, which is beside `lodger`, with these words.
fn run(program: &str, words: &[&str]) -> Result<Ran> {
    userland()?;
    demos()?;
    let mut command = Command::new(lodger()?.with_file_name(program));
    command.args(words).stdout(Stdio::piped());
    Running::start(command, Vec::new())?.wait(2 * LIMIT)
}

/// `words` begin with the demo's name.
fn keeps_its_promise(program: &str, words: &[&str], backend: &str, promise: &str) -> Result<()> {
    let ran = run(program, &[words, &["--json"]].concat())?.expect(0)?;
    let said: serde_json::Value = serde_json::from_slice(&ran.out).context("one line of JSON")?;
    ensure!(said["schema"] == "lodger-demo/1" && said["demo"] == words[0], "{said}");
    ensure!(said["backend"] == backend && said["outcome"] == promise, "{said}");
    ensure!(said["as_promised"] == true, "{said}");
    Ok(())
}

fn the_map_is_drawn(program: &str, backend: &str, promise: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().to_str().context("a path that is text")?;
    keeps_its_promise(program, &[MAP, "--out", out], backend, promise)?;
    let picture = std::fs::read_to_string(folder.path().join(format!("map-{backend}.svg")))?;
    ensure!(picture.contains("<svg") && picture.contains("attacker"), "the picture is {picture:.200}");
    Ok(())
}

/// The list names what is tested here, and for people an attack says who does what.
fn all_are_listed() -> Result<()> {
    let listed = run("lodger-demo", &[])?.expect(0)?.text();
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(names == [&ATTACKS[..], &[MAP]].concat(), "listed are {names:?}");
    let shown = run("lodger-demo", &["root"])?.expect(0)?.text();
    for word in ["promised   refused", "attacker   ", "EACCES", "outcome    refused, as promised"] {
        ensure!(shown.contains(word), "no `{word}` in {shown}");
    }
    Ok(())
}

fn an_unknown_demo_is_refused() -> Result<()> {
    run("lodger-demo", &["nonsense"])?.refused("there is no demo `nonsense`")?;
    run("lodger-demo", &["peek", "--nonsense"])?.refused("--nonsense")
}

/// Each backend leaves its picture, and the second one puts both on one sheet.
fn pictures_are_drawn_side_by_side() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().to_str().context("a path of UTF-8")?;
    for (backend, program, _) in BACKENDS {
        let shown = run(program, &[MAP, "--out", out])?.expect(0)?.text();
        ensure!(
            shown.lines().all(|line| line.starts_with("  checked") || line.chars().count() <= 80),
            "{shown}"
        );
        ensure!(!shown.contains('\x1b'), "colours where no terminal is");
        let drawn = std::fs::read_to_string(folder.path().join(format!("map-{backend}.svg")))?;
        for who in ["init", "victim", "attacker", "the kernel"] {
            ensure!(shown.contains(who) && drawn.contains(who), "no {who} on {backend}");
        }
    }
    let both = std::fs::read_to_string(folder.path().join("map.svg"))?;
    ensure!(both.contains("one address space for everybody") && both.contains("an address space for each"));
    Ok(())
}

/// Otherwise victim and attacker would take turns at the same addresses on TT, and nothing would be shown.
fn programs_are_position_independent() -> Result<()> {
    const ET_DYN: [u8; 2] = [3, 0];
    const PT_INTERP: [u8; 4] = [3, 0, 0, 0];
    let program = std::fs::read(demos()?.join("demo"))?;
    ensure!(program.get(16..18) == Some(&ET_DYN), "the program is at a fixed address");
    let number = |at: usize, len: usize| -> Result<usize> {
        let bytes = program.get(at..at + len).context("a truncated program")?;
        Ok(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    // Elf64_Ehdr: e_phoff, e_phentsize, e_phnum.
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for at in (0..count).map(|index| start + index * size) {
        if program.get(at..at + 4) == Some(&PT_INTERP) {
            bail!("the program needs a dynamic linker, and a root file system that has one");
        }
    }
    Ok(())
}
