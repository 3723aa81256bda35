//! Licences, sources and bans of what is depended on: three lists of `deny.toml`, which is cargo-deny's, over `cargo metadata`.
//!
//! cargo-deny itself is a larger build than Lodger. What it does beside this needs a database of advisories.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::cargo;
use crate::ci;

const FILE: &str = "deny.toml";

/// The lists of the file: `section.key`, and the strings between its brackets.
struct Lists(BTreeMap<String, BTreeSet<String>>);

impl Lists {
    fn read() -> Result<Lists> {
        let text = std::fs::read_to_string(cargo::root().join(FILE)).context("there is no deny.toml")?;
        Ok(Lists::parse(&text))
    }

    /// All that is needed of TOML: sections, and lists of strings, which may go over several lines.
    fn parse(text: &str) -> Lists {
        let mut lists = BTreeMap::<String, BTreeSet<String>>::new();
        let (mut section, mut key) = (String::new(), String::new());
        for line in text.lines().map(|line| without_comment(line).trim()) {
            let mut values = line;
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name.to_owned();
                continue;
            }
            if !line.starts_with('"')
                && let Some((name, rest)) = line.split_once('=')
            {
                key = format!("{section}.{}", name.trim());
                values = rest;
            }
            let strings = values.split('"').skip(1).step_by(2).map(str::to_owned);
            lists.entry(key.clone()).or_default().extend(strings);
        }
        Lists(lists)
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|list| list.contains(value))
    }
}

/// What is before a `#`, unless that is in a string.
fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let end = line.find(|byte| {
        in_string ^= byte == '"';
        byte == '#' && !in_string
    });
    &line[..end.unwrap_or(line.len())]
}

/// Finds dependencies that the file does not allow.
pub fn check(findings: &mut Vec<Finding>) -> Result<()> {
    let lists = Lists::read()?;
    let mut found = BTreeSet::new();
    for folder in std::iter::once(".").chain(ci::OUTSIDE) {
        let mut command = cargo::cargo(&["metadata", "--format-version", "1", "--all-features", "--quiet"]);
        command.args(["--filter-platform", cargo::TARGET]).current_dir(cargo::root().join(folder));
        let metadata: Value = serde_json::from_str(&cargo::output(&mut command)?)?;
        // What is not for this platform is listed, but is no node of the graph.
        let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
        let used: BTreeSet<&str> = nodes.filter_map(|node| node["id"].as_str()).collect();
        let packages = metadata["packages"].as_array().into_iter().flatten();
        for package in packages.filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id))) {
            found.extend(complaints(package, &lists));
        }
    }
    findings.extend(found.into_iter().map(|what| Finding { path: FILE.into(), line: 0, what }));
    Ok(())
}

fn complaints(package: &Value, lists: &Lists) -> Vec<String> {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    let name = text("name");
    let mut found = Vec::new();
    match text("license") {
        "" => found.push(format!("{name} names no licence")),
        licence if !is_allowed(licence, &|name| lists.has("licenses.allow", name)) => {
            found.push(format!("the licence of {name}, `{licence}`, is not allowed"));
        }
        _ => {}
    }
    if lists.has("bans.deny", name) {
        found.push(format!("{name} is banned"));
    }
    let wild = package["dependencies"].as_array().into_iter().flatten().filter(|dependency| {
        // Our own crates have paths.
        package["source"].is_null() && dependency["req"] == "*" && dependency["path"].is_null()
    });
    found.extend(wild.map(|dependency| format!("{name} takes any version of {}", dependency["name"])));
    // What has no source is in this repository.
    let source = text("source");
    let registry = source.strip_prefix("registry+").or_else(|| source.strip_prefix("sparse+"));
    if !source.is_empty() && !registry.is_some_and(|place| lists.has("sources.allow-registry", place)) {
        found.push(format!("{name} comes from {source}"));
    }
    found
}

/// Whether an SPDX expression holds if exactly these licences are allowed. Precedence: WITH, AND, OR; the slash of old
/// manifests is an OR.
fn is_allowed(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut holds = all_of(rest, allowed);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        holds |= all_of(rest, allowed);
    }
    holds
}

fn all_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut holds = one(rest, allowed);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        holds &= one(rest, allowed);
    }
    holds
}

fn one(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let holds = any_of(rest, allowed);
            let closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            holds && closed
        }
        [name, "WITH", exception, after @ ..] => {
            *rest = after;
            allowed(&format!("{name} WITH {exception}"))
        }
        [name, after @ ..] => {
            *rest = after;
            allowed(name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        let allowed = |name: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&name);
        for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR X) AND ISC", "X OR MIT AND ISC"] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        assert!(is_allowed("Apache-2.0 WITH LLVM-exception", &allowed));
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X", "MIT MIT", "Apache-2.0", "MIT AND (X OR Y)"]
        {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn comments_are_no_values() {
        let text =
            "[a] # b\nc = [ # \"0\"\n\"MIT\", # not \"GPL-2.0\"\n# \"2\"\n]\nd = [\"#3\", \"4\"] # \"5\"\n";
        let lists = Lists::parse(text);
        let has = |key: &str, value: &str| lists.has(key, value);
        assert!(has("a.c", "MIT") && has("a.d", "#3") && has("a.d", "4"));
        assert_eq!(lists.0.values().map(BTreeSet::len).sum::<usize>(), 3);
    }

    #[test]
    fn lists_are_read_and_packages_judged() {
        let text = "[licenses]\nallow = [\n    \"MIT\", # x\n]\n[bans]\ndeny = [\"evil\"]\n\
                    [sources]\nallow-registry = [\"https://good\"]\n";
        let lists = Lists::parse(text);
        let package = |name: &str, licence: &str, source: &str| serde_json::json!({"name": name, "license": licence, "source": source, "dependencies": []});
        assert!(complaints(&package("a", "MIT", "registry+https://good"), &lists).is_empty());
        assert_eq!(complaints(&package("evil", "GPL-2.0", "registry+https://bad"), &lists).len(), 3);
        assert_eq!(complaints(&package("a", "", "git+https://good"), &lists).len(), 2);
    }
}
