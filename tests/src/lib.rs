//! Whole-system tests of Lodger: what the harnesses in `tests/` share.
//!
//! The environment names what is tested, as `cargo xtask test` sets it: `LODGER_BIN` (the command), `LODGER_ABI` (the
//! program of ABI cases; `LODGER_ABI_PIE` is the same, position-independent), `LODGER_DEMOS` (the root file system of the
//! demos) and `LODGER_USERLAND` (the built userland). A test whose part is missing is reported as ignored, with the reason.

pub mod backend;
pub mod conformance;
pub mod host;
pub mod roots;
pub mod run;
pub mod term;
pub mod user;

use std::path::PathBuf;

use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};

/// Makes a trial. A body that fails with [`Missing`] is reported as ignored.
pub fn trial(name: impl Into<String>, body: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match body() {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast_ref::<Missing>() {
            Some(missing) => Ok(Completion::ignored_with(missing)),
            None => Err(Failed::from(format!("{error:#}"))),
        },
    })
}

/// Why a test cannot be run here.
#[derive(Debug)]
pub struct Missing(pub String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

fn named(variable: &str) -> Result<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) if !path.is_empty() => Ok(std::path::absolute(path)?),
        _ => Err(Missing(format!("{variable} is not set")).into()),
    }
}

/// The path of `lodger`.
pub fn lodger() -> Result<PathBuf> {
    named("LODGER_BIN")
}

/// The path of the program of ABI cases, linked at a fixed address.
pub fn abi() -> Result<PathBuf> {
    named("LODGER_ABI")
}

/// The same, position-independent.
pub fn abi_pie() -> Result<PathBuf> {
    named("LODGER_ABI_PIE")
}

/// The root file system of the demos.
pub fn demos() -> Result<PathBuf> {
    named("LODGER_DEMOS")
}

/// Fails with [`Missing`] unless the default userland is there.
pub fn userland() -> Result<PathBuf> {
    named("LODGER_USERLAND")
}
