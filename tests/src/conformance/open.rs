//! Suites that are built from their sources by the scripts in `tests/conformance`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Results;
use super::fetch::{find, output, source};
use super::suites::{Suite, parse_busybox};

const POSIX_SCRIPT: &str = include_str!("../../conformance/posix.sh");
const LIBUV_SCRIPT: &str = include_str!("../../conformance/libuv.sh");
const NIX_SCRIPT: &str = include_str!("../../conformance/nix.sh");
const EACH_SCRIPT: &str = include_str!("../../conformance/each.sh");

/// The crate whose tests are run.
const NIX_VERSION: &str = "0.31.3";

/// The Open POSIX test suite, each program on its own.
pub const POSIX: Suite = Suite {
    name: "posix",
    build: |cache| {
        let folder = from_source(cache, "posix", "posixtestsuite", POSIX_SCRIPT)?;
        fs::write(folder.join("each.sh"), EACH_SCRIPT)?;
        Ok(folder)
    },
    inside: false,
    // Some of it sets the clock, which root can; this is run on the host too.
    script: "[ $(id -u) != 0 ] || exec su -s /bin/sh nobody -c \"sh $SUITE/each.sh $SUITE/built 60 4\"
             sh $SUITE/each.sh $SUITE/built 60 4",
    sample: None,
    parse: parse_busybox,
    explained: &[
        ("what is written through a mapping leaves the file's times as they are", "interfaces.mmap.14-1"),
        ("eight million system calls take longer than a minute", "interfaces.clock.1-1"),
    ],
};

/// libuv's own tests.
pub const LIBUV: Suite = Suite {
    name: "libuv",
    build: |cache| from_source(cache, "libuv", "libuv1", LIBUV_SCRIPT),
    inside: false,
    // It writes where it is, and refuses to be run by root.
    script: "rm -rf /tmp/uv && cp -r $SUITE/built /tmp/uv && cd /tmp/uv && mkdir test && mv fixtures test/ || exit 1
             [ $(id -u) != 0 ] || { chown -R nobody . && exec su -s /bin/sh nobody -c ./uv_run_tests_a; }
             ./uv_run_tests_a",
    sample: None,
    parse: parse_tap,
    explained: &[("no AF_INET and AF_INET6", include_str!("../../conformance/libuv-no-inet.txt"))],
};

/// The tests of the crate `nix`.
pub const NIX: Suite = Suite {
    name: "nix",
    build: |cache| {
        let folder = cache.join("nix");
        if !folder.join("done").exists() {
            script(NIX_SCRIPT, NIX_VERSION.as_ref(), &folder)?;
        }
        Ok(folder)
    },
    inside: false,
    script: "cd $SUITE/built && for program in *; do echo \"program $program\"; ./$program --test-threads 2; done",
    sample: None,
    parse: parse_libtest,
    explained: &[
        ("no AF_INET and AF_INET6", include_str!("../../conformance/nix-no-inet.txt")),
        ("no fanotify", "test sys::test_fanotify::test_fanotify"),
        ("no acct(2), as without CONFIG_BSD_PROCESS_ACCT", "test test_unistd::test_acct"),
        ("no perf events", "test_prctl test_prctl::test_disable_enable_perf_events"),
    ],
};

/// Unpacks a source package of Debian and has the script build it, once.
fn from_source(cache: &Path, name: &str, package: &str, build: &str) -> Result<PathBuf> {
    let folder = cache.join(name);
    if folder.join("done").exists() {
        return Ok(folder);
    }
    let files = source(cache, package)?;
    let dsc = find(&files, &format!("{package}_"), ".dsc").context("the source has no .dsc")?;
    let sources = cache.join(format!("{name}.source"));
    if sources.exists() {
        fs::remove_dir_all(&sources)?;
    }
    output(Command::new("dpkg-source").args(["--no-check", "-x"]).arg(dsc).arg(&sources))?;
    script(build, &sources, &folder)?;
    fs::remove_dir_all(&sources)?;
    Ok(folder)
}

/// Runs a build script that leaves programs in `folder/built`, and notes that it was done.
pub fn script(script: &str, from: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    output(Command::new("sh").args(["-c", script, "build"]).arg(from).arg(folder.join("built")))?;
    Ok(fs::write(folder.join("done"), "")?)
}

/// Lines `ok 1 - name` and `not ok 2 - name`; what was skipped has `# SKIP` behind it.
fn parse_tap(text: &str) -> Results {
    let mut results = Results::new();
    for line in text.lines() {
        let (passed, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        if let (Some((_, name)), false) = (rest.split_once(" - "), line.contains("# SKIP")) {
            results.insert(name.trim().to_owned(), passed);
        }
    }
    results
}

/// Lines `test a::b ... ok`, after one that names the program.
fn parse_libtest(text: &str) -> Results {
    let (mut program, mut results) = (String::new(), Results::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("program ") {
            program = name.to_owned();
        }
        let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        // What a test prints may stand between.
        if !result.ends_with("ignored") {
            results.insert(format!("{program} {name}"), result.ends_with("ok"));
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read() {
        let tap = parse_tap("1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no tty\n# exit code 1\n");
        assert_eq!(tap, Results::from([("a".to_owned(), true), ("b".to_owned(), false)]));
        let text = "program test\ntest a::b ... ok\ntest c ... FAILED\ntest d ... ignored\n";
        let want = [("test a::b".to_owned(), true), ("test c".to_owned(), false)];
        assert_eq!(parse_libtest(text), Results::from(want));
    }
}
