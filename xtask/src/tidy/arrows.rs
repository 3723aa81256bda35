//! Who may know whom: the arrows of the architecture.

use super::Finding;
use super::source::Source;
use crate::cargo;

/// The crates of the workspace, as `use` writes them.
const CRATES: [&str; 6] =
    ["kernel_core", "host_linux", "host_linux_skas", "host_linux_tt", "lodger", "lodger_demos"];

/// What the code of a folder may know.
struct Rule {
    /// The folder of a crate, or a file in it; the longest that fits a file is the one that counts.
    place: &'static str,
    /// Crates of the workspace that it may name, beside itself.
    crates: &'static [&'static str],
    /// Modules of `kernel_core` that it may name; empty for all.
    kernel_modules: &'static [&'static str],
}

const BOUNDARY: &[&str] = &["host", "abi", "sync"];
/// What boots a kernel and looks into it; `mm` for the one type of a boot archive, `block` for what is on
/// a disk.
const INSPECTION: &[&str] = &["host", "abi", "block", "boot", "debug", "errno", "kernel", "log_ring", "mm"];

const RULES: &[Rule] = &[
    Rule { place: "kernel-core/", crates: &[], kernel_modules: &[] },
    Rule { place: "host-linux/", crates: &["kernel_core"], kernel_modules: BOUNDARY },
    Rule { place: "host-linux-skas/", crates: &["kernel_core", "host_linux"], kernel_modules: BOUNDARY },
    Rule { place: "host-linux-tt/", crates: &["kernel_core", "host_linux"], kernel_modules: BOUNDARY },
    // Only what starts a binary names a concrete host.
    Rule { place: "frontends/boot/src/", crates: &["kernel_core", "host_linux"], kernel_modules: INSPECTION },
    Rule {
        place: "frontends/boot/src/main.rs",
        crates: &["lodger", "kernel_core", "host_linux", "host_linux_skas"],
        kernel_modules: INSPECTION,
    },
    Rule {
        place: "frontends/boot/src/bin/",
        crates: &["lodger", "kernel_core", "host_linux", "host_linux_tt"],
        kernel_modules: INSPECTION,
    },
    Rule {
        place: "frontends/demos/src/",
        crates: &["lodger", "kernel_core", "host_linux"],
        kernel_modules: INSPECTION,
    },
    Rule {
        place: "frontends/demos/src/main.rs",
        crates: &["lodger_demos", "lodger", "kernel_core", "host_linux", "host_linux_skas"],
        kernel_modules: INSPECTION,
    },
    Rule {
        place: "frontends/demos/src/bin/",
        crates: &["lodger_demos", "lodger", "kernel_core", "host_linux", "host_linux_tt"],
        kernel_modules: INSPECTION,
    },
    Rule { place: "xtask/", crates: &[], kernel_modules: &[] },
    Rule { place: "xtask/probe/", crates: &["kernel_core"], kernel_modules: &[] },
    // Whole systems are tested from outside.
    Rule { place: "tests/", crates: &[], kernel_modules: &[] },
    Rule { place: "tests/fuzz/", crates: &["kernel_core", "host_linux"], kernel_modules: &[] },
    Rule { place: "guest/", crates: &[], kernel_modules: &[] },
];

/// Looks for names of crates and modules that the file must not know.
pub fn check(source: &Source, findings: &mut Vec<Finding>) {
    let fits = |rule: &&Rule| source.path.starts_with(rule.place);
    let Some(rule) = RULES.iter().filter(fits).max_by_key(|rule| rule.place.len()) else { return };
    for (number, line) in source.lines.iter().enumerate() {
        let mut find =
            |what: String| findings.push(Finding { path: source.path.clone(), line: number + 1, what });
        // The tests and examples of a crate are crates of their own, which use it.
        let itself = rule.place.trim_end_matches('/').replace('-', "_");
        for name in CRATES.into_iter().filter(|name| !rule.crates.contains(name) && *name != itself) {
            if paths(&line.code, name).next().is_some() {
                find(format!("{} must not know `{name}`", rule.place));
            }
        }
        if rule.kernel_modules.is_empty() || line.test {
            continue;
        }
        for rest in paths(&line.code, "kernel_core") {
            for module in first_names(rest) {
                if !rule.kernel_modules.contains(&module) {
                    find(format!("{} must not know `kernel_core::{module}`", rule.place));
                }
            }
        }
    }
}

/// What follows `NAME::` at every place where it begins a path.
fn paths<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(name).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        let inner = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let absolute = code[..at].ends_with("::") && !code[..at - 2].ends_with(|c: char| c.is_alphanumeric());
        if inner && !absolute { None } else { code[at + name.len()..].strip_prefix("::") }
    })
}

/// The names that a path goes on with: one, or several in braces (a list over several lines is seen by its first).
fn first_names(rest: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(list) = rest.strip_prefix('{') else { return vec![&rest[..word(rest)]] };
    let mut depth = 0;
    let mut names = Vec::new();
    for part in list.split(',') {
        let text = part.trim_start();
        if depth == 0 && word(text) > 0 {
            names.push(&text[..word(text)]);
        }
        depth += part.matches('{').count() as i32 - part.matches('}').count() as i32;
    }
    names
}

/// The same in the manifests: what is not depended on cannot be named.
pub fn check_manifests(findings: &mut Vec<Finding>) {
    let allowed: [(&str, &[&str]); 6] = [
        ("kernel-core", &[]),
        ("host-linux", &["kernel-core"]),
        ("host-linux-skas", &["kernel-core", "host-linux"]),
        ("host-linux-tt", &["kernel-core", "host-linux"]),
        ("xtask", &[]),
        ("tests", &[]),
    ];
    for (folder, may) in allowed {
        let path = format!("{folder}/Cargo.toml");
        let text = std::fs::read_to_string(cargo::root().join(&path)).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let ours = CRATES.iter().any(|known| known.replace('_', "-") == name);
            if ours && !may.contains(&name) {
                let what = format!("{folder} must not depend on {name}");
                findings.push(Finding { path: path.clone(), line: number + 1, what });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source::new(path, text), &mut findings);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_host_sees_the_boundary_only() {
        assert!(broken("host-linux/src/a.rs", "use kernel_core::host::{Frames, Phys};").is_empty());
        assert_eq!(broken("host-linux/src/a.rs", "use kernel_core::{host::x, vfs, mm::{a, b}};").len(), 2);
        assert_eq!(broken("host-linux/src/a.rs", "let x = ::kernel_core::vfs::y();").len(), 1);
        assert_eq!(broken("host-linux-skas/src/a.rs", "use host_linux_tt::X;").len(), 1);
        assert!(broken("host-linux-skas/src/a.rs", "// use host_linux_tt::X;").is_empty());
    }

    #[test]
    fn only_a_binary_names_its_host() {
        assert!(broken("frontends/boot/src/main.rs", "use host_linux_skas::SkasHost;").is_empty());
        assert_eq!(broken("frontends/boot/src/root.rs", "use host_linux_skas::SkasHost;").len(), 1);
        assert_eq!(broken("kernel-core/src/lib.rs", "use host_linux::x;").len(), 1);
        assert_eq!(broken("xtask/src/a.rs", "use lodger::cli;").len(), 1);
    }
}
