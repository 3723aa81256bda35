//! The page of system calls, which the kernel's own table makes (`kernel-core/examples/syscalls.rs`).

use anyhow::{Context, Result, bail};

use super::Finding;
use crate::cargo;

const PAGE: &str = "docs/syscalls.md";

/// Finds a page that is not what the table says.
pub fn check(findings: &mut Vec<Finding>) -> Result<()> {
    let there = std::fs::read_to_string(cargo::root().join(PAGE)).unwrap_or_default();
    if there != made()? {
        let what =
            "is not what the table of system calls says; `cargo xtask tidy --fix` writes it anew".into();
        findings.push(Finding { path: PAGE.into(), line: 0, what });
    }
    Ok(())
}

/// Writes the page.
pub fn write() -> Result<()> {
    std::fs::write(cargo::root().join(PAGE), made()?).with_context(|| format!("cannot write {PAGE}"))
}

fn made() -> Result<String> {
    let mut command =
        cargo::cargo(&["run", "--quiet", "--package", "kernel-core", "--features", "fake-host"]);
    command.args(["--example", "syscalls"]).stderr(std::process::Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{} failed ({})", cargo::display(&command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
