//! `cargo xtask conformance`: suites that nobody here wrote, natively and in a guest, see `docs/conformance.md`; and what people
//! do in a Debian, see `docs/debian.md`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::cargo::{self, Profile};
use crate::guest;
use crate::rootfs;

/// What the tasks of `debian` need beside the required packages.
const PACKAGES: [&str; 12] = [
    "file",
    "gcc",
    "gdb",
    "git",
    "libc6-dev",
    "make",
    "perl",
    "python3-venv",
    "sqlite3",
    "strace",
    "tmux",
    "vim-tiny",
];

/// What the suites need that are run inside a Debian.
const SUITES: [&str; 4] = ["libpython3.11-testsuite", "python3", "stress-ng", "trinity"];

/// Which suites to run.
#[derive(clap::Args)]
pub struct Args {
    /// Only this suite: nolibc-test, busybox, nix, libuv, posix, kselftest, stress-ng, python; or debian: work in a Debian, on
    /// both backends; or trinity: random calls in a Debian
    pub suite: Option<String>,
    /// Only this task of `debian`, and no report
    pub task: Option<String>,
    /// On which backend the suites run; without it, skas
    #[arg(long, value_parser = ["skas", "tt"])]
    pub backend: Option<String>,
    /// Only the quick sample that `ci` runs, and no report
    #[arg(long, conflicts_with_all = ["suite", "backend", "dev"])]
    pub sample: bool,
    /// How long trinity runs as each of an ordinary user and root
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub minutes: u64,
    /// On a lodger that is built without optimisation
    #[arg(long)]
    pub dev: bool,
}

/// Builds what is needed, fetches the suites with apt into `target/conformance`, runs them and writes the report.
/// Fails if a case passes natively and not in a guest, and the difference is not explained.
pub fn run(args: &Args) -> Result<()> {
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    let docs = cargo::root().join("docs");
    if args.sample {
        return sample();
    }
    if args.suite.as_deref() == Some("debian") {
        if args.backend.is_some() {
            bail!("`debian` is done on both backends: it takes no --backend");
        }
        let root = rootfs::debian("conformance", &PACKAGES, profile)?;
        return harness(profile, |command, cache| {
            command.arg("debian").arg(cache).arg(root).arg(docs.join("debian.md")).args(&args.task);
        });
    }
    if args.task.is_some() {
        bail!("only `debian` has tasks");
    }
    let backend = args.backend.as_deref().unwrap_or("skas");
    if args.suite.as_deref() == Some("trinity") {
        let root = rootfs::debian("suites", &SUITES, profile)?;
        return harness(profile, |command, cache| {
            command.arg("trinity").arg(cache).arg(root).arg(backend).arg(args.minutes.to_string());
        });
    }
    let inside = matches!(args.suite.as_deref(), None | Some("stress-ng" | "python"));
    let root = if inside { Some(rootfs::debian("suites", &SUITES, profile)?) } else { None };
    harness(profile, |command, cache| {
        command.envs(root.map(|root| ("LODGER_DEBIAN", root)));
        command.arg("suites").arg(cache).arg(docs.join("conformance.md")).arg(backend).args(&args.suite);
    })
}

/// Runs the quick sample; all takes many minutes.
pub fn sample() -> Result<()> {
    harness(Profile::Release, |command, cache| {
        command.arg("sample").arg(cache);
    })
}

/// Makes the smallest Debian, and works a little in it on each backend.
pub fn smoke() -> Result<()> {
    let root = rootfs::debian("smoke", &[], Profile::Release)?;
    harness(Profile::Release, |command, cache| {
        command.arg("smoke").arg(cache).arg(root);
    })
}

/// Runs the program that does it, with the words that are added to its call.
fn harness(profile: Profile, add: impl FnOnce(&mut Command, &Path)) -> Result<()> {
    let lodger = cargo::build_lodger(profile)?;
    let userland = guest::build(&guest::Options::default())?;
    let mut command =
        cargo::cargo(&["run", "--quiet", "--package", "lodger-tests", "--bin", "conformance", "--"]);
    add(&mut command, &cargo::target_dir().join("conformance"));
    command.env("LODGER_BIN", lodger).env("LODGER_USERLAND", userland.dir);
    cargo::check(&mut command)
}
