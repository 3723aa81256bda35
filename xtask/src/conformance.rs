//! `cargo xtask conformance`: suites that nobody here wrote, natively and in a guest; see `docs/conformance.md`.

use anyhow::Result;

use crate::cargo::{self, Profile};
use crate::guest;

/// Which suites to run.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only this suite: nolibc-test or busybox
    suite: Option<String>,
}

/// Builds what is needed, fetches the suites with apt into `target/conformance`, runs them and writes the report.
pub fn run(args: &Args) -> Result<()> {
    let lodger = cargo::build_lodger(Profile::Release)?;
    let userland = guest::build(&guest::Options::default())?;
    let mut command =
        cargo::cargo(&["run", "--quiet", "--package", "lodger-tests", "--bin", "conformance", "--"]);
    command.arg(cargo::target_dir().join("conformance")).arg(cargo::root().join("docs/conformance.md"));
    command.args(&args.suite).env("LODGER_BIN", lodger).env("LODGER_USERLAND", userland.dir);
    cargo::check(&mut command)
}
