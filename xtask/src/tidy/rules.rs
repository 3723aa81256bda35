//! Rules for single files: length, `unsafe` and its reasons, panics in the kernel, words that belong to one machine.

use super::Finding;
use super::ratchet::Counts;
use super::source::{Line, Source};
use crate::cargo;

/// How many lines a file may have.
const LONGEST: usize = 600;

/// Where `unsafe` is part of the job.
const UNSAFE_FOLDERS: [&str; 3] = ["host-linux", "host-linux-skas", "host-linux-tt"];

/// What may panic; none of it belongs into the kernel, whose input is hostile.
const PANICS: [&str; 6] = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];

/// How many lines above `unsafe` its reason may stand.
const REASON_ABOVE: usize = 8;

/// Checks one file and counts what the ratchet keeps.
pub fn check(source: &Source, findings: &mut Vec<Finding>, counts: &mut Counts) {
    let folder = source.folder();
    let mut find =
        |line: usize, what: String| findings.push(Finding { path: source.path.clone(), line, what });
    if source.lines.len() > LONGEST {
        counts.add(&format!("lines {}", source.path), source.lines.len());
    }
    if folder == "kernel-core" && source.path.ends_with("src/lib.rs") {
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            if !source.lines.iter().any(|line| line.text.trim() == attribute) {
                find(0, format!("the kernel begins with {attribute}"));
            }
        }
    }
    let tests_alone = source.lines.first().is_some_and(|line| line.test);
    if !tests_alone && !source.lines.first().is_some_and(|line| line.text.starts_with("//!")) {
        find(1, "a file begins with `//!` and its purpose".into());
    }
    for (number, line) in source.lines.iter().enumerate() {
        let code = line.code.trim();
        if (code.starts_with("#[allow(") || code.starts_with("#![allow("))
            && !has_reason(&source.lines[number..])
        {
            find(number + 1, "#[allow] needs a reason = \"...\"".into());
        }
        if is_unsafe_use(code) {
            match UNSAFE_FOLDERS.contains(&folder) {
                true if !line.test => counts.add(&format!("unsafe {folder}"), 1),
                false if folder == "kernel-core" => find(number + 1, "no unsafe in the kernel".into()),
                _ => {}
            }
            if !has_safety(&source.lines[number.saturating_sub(REASON_ABOVE)..=number]) {
                find(number + 1, "unsafe needs a `// SAFETY:` line above it".into());
            }
        }
        if folder == "kernel-core" && !line.test && !source.path.ends_with("host/fake.rs") {
            let panics: usize = PANICS.iter().map(|word| code.matches(word).count()).sum();
            counts.add("panics kernel-core", panics);
        }
    }
}

/// An unsafe block or implementation; of a function, the caller's duty is documented under `# Safety`.
fn is_unsafe_use(code: &str) -> bool {
    let word = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices("unsafe").any(|(at, found)| {
        let rest = code[at + found.len()..].trim_start();
        word(at) && (rest.starts_with('{') || rest.starts_with("impl"))
    })
}

fn has_safety(above: &[Line]) -> bool {
    above.iter().any(|line| line.text.contains("SAFETY:") || line.text.contains("# Safety"))
}

/// Whether the attribute that begins here has a reason before it ends.
fn has_reason(lines: &[Line]) -> bool {
    let end = lines.iter().take(8).position(|line| line.code.contains(")]")).unwrap_or(0);
    lines[..=end].iter().any(|line| line.code.contains("reason"))
}

/// Checks all files, whatever they are, for what only one machine has.
pub fn check_texts(files: &[String], findings: &mut Vec<Finding>) {
    // Written in pieces, so that this file does not find itself.
    let homes =
        [["/ho", "me/"], ["/wor", "k/"], ["/tmp", "/w/"], ["/root/.", "cargo"]].map(|parts| parts.concat());
    for path in files {
        let Ok(text) = std::fs::read_to_string(cargo::root().join(path)) else { continue };
        let lock = path.ends_with("Cargo.lock");
        for (number, line) in text.lines().enumerate() {
            let mut find = |what: &str| {
                findings.push(Finding { path: path.clone(), line: number + 1, what: what.into() })
            };
            let guest = path.starts_with("guest/") || path.starts_with("tests/");
            if !guest && homes.iter().any(|home| is_absolute(line, home)) {
                find("a path of one machine");
            }
            if lock
                && line.starts_with("source = ")
                && !line.contains("registry+https://github.com/rust-lang/crates.io-index")
            {
                find("a package that is not from crates.io");
            }
        }
        if path.ends_with(".cargo/config.toml")
            && text.lines().any(|line| line.starts_with("[source") || line.starts_with("[registr"))
        {
            findings.push(Finding { path: path.clone(), line: 0, what: "a registry of one machine".into() });
        }
    }
}

/// Whether `home` begins a path in the line, rather than being in the middle of one.
fn is_absolute(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}/*".contains(c))
            && line[at + home.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> (Vec<String>, Counts) {
        let (mut findings, mut counts) = (Vec::new(), Counts::default());
        check(&Source::new(path, text), &mut findings, &mut counts);
        (findings.into_iter().map(|finding| finding.what).collect(), counts)
    }

    #[test]
    fn unsafe_needs_a_place_and_a_reason() {
        let reason = "//! x\n// SAFETY: because\nunsafe { f() }\n";
        let (findings, counts) = found("host-linux/src/a.rs", reason);
        assert!(findings.is_empty());
        assert_eq!(counts.get("unsafe host-linux"), 1);
        assert_eq!(found("host-linux/src/a.rs", "//! x\nunsafe impl Send for X {}\n").0.len(), 1);
        assert_eq!(found("kernel-core/src/a.rs", reason).0, ["no unsafe in the kernel"]);
        assert!(found("kernel-core/src/a.rs", "//! x\nlet s = \"unsafe {\"; // unsafe {\n").0.is_empty());
    }

    #[test]
    fn panics_are_counted_outside_of_tests() {
        let text =
            "//! x\nx.unwrap();\ny.unwrap_or(1); // .unwrap()\n#[cfg(test)]\nmod tests { z.unwrap(); }\n";
        assert_eq!(found("kernel-core/src/a.rs", text).1.get("panics kernel-core"), 1);
        assert_eq!(found("xtask/src/a.rs", text).1.get("panics kernel-core"), 0);
    }

    #[test]
    fn allow_needs_a_reason() {
        assert_eq!(found("a/src/b.rs", "//! x\n#[allow(dead_code)]\n").0.len(), 1);
        assert!(found("a/src/b.rs", "//! x\n#[allow(dead_code, reason = \"y\")]\n").0.is_empty());
        assert!(
            found("a/src/b.rs", "//! x\n#[allow(\n    dead_code,\n    reason = \"y\"\n)]\n").0.is_empty()
        );
    }

    #[test]
    fn long_files_are_counted() {
        let text = format!("//! x\n{}", "\n".repeat(LONGEST));
        assert_eq!(found("a/src/b.rs", &text).1.get("lines a/src/b.rs"), LONGEST + 1);
    }

    #[test]
    fn paths_of_machines_are_told_from_paths_of_guests() {
        let home = ["/ho", "me/"].concat();
        assert!(is_absolute(&format!("let x = \"{home}me/x\";"), &home));
        assert!(!is_absolute(&format!("dir{home}x"), &home));
        assert!(!is_absolute(&format!("`{home}`"), &home));
    }
}
