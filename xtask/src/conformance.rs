//! `cargo xtask conformance`: suites that nobody here wrote, natively and in a guest; see `docs/conformance.md`.

use anyhow::Result;

use crate::cargo::{self, Profile};
use crate::guest;

/// Which suites to run.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only this suite: nolibc-test or busybox
    pub suite: Option<String>,
    /// Only the quick sample that `ci` runs, and no report
    #[arg(long, conflicts_with = "suite")]
    pub sample: bool,
}

/// Builds what is needed, fetches the suites with apt into `target/conformance`, runs them and writes the report.
/// Fails if a case passes natively and not in a guest, and the difference is not explained.
pub fn run(args: &Args) -> Result<()> {
    let lodger = cargo::build_lodger(Profile::Release)?;
    let userland = guest::build(&guest::Options::default())?;
    let mut command =
        cargo::cargo(&["run", "--quiet", "--package", "lodger-tests", "--bin", "conformance", "--"]);
    let cache = cargo::target_dir().join("conformance");
    if args.sample {
        command.arg("--sample").arg(cache);
    } else {
        command.arg(cache).arg(cargo::root().join("docs/conformance.md")).args(&args.suite);
    }
    command.env("LODGER_BIN", lodger).env("LODGER_USERLAND", userland.dir);
    cargo::check(&mut command)
}
