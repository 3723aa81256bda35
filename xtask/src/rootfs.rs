//! `cargo xtask rootfs NAME`: root file systems that `lodger run --root NAME` finds; see `docs/roots.md`.
//!
//! What is made lies in the cache folder ([`place`]) as `roots/NAME-KEY.cpio` (or `.ext4`, or a folder), where KEY is a hash of
//! all that went in, with the link `roots/NAME.cpio` to it. The same words again find it there and do
//! nothing; other words, or another format, take its name.

mod apt;
pub mod archive;
mod busybox;
mod configure;
mod debian;
mod image;
mod place;
mod progress;

pub use place::cache;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::cargo::Profile;
use crate::guest;

/// Which root, and of what kind.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask rootfs debian                               then: lodger run --root debian
  cargo xtask rootfs debian --packages gcc,libc6-dev,make --name build
                                                          then: lodger run --root build -- gcc --version
  cargo xtask rootfs debian --format ext4 --size 4G       a disk image of it

Debian's packages come from where this machine's apt gets them. No step needs root: packages are configured in a guest.")]
pub struct Args {
    /// What to make
    kind: Kind,
    /// Packages of Debian beside the required ones and apt, with what they depend on
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    packages: Vec<String>,
    /// What `--root` shall call it; without it, debian or busybox
    #[arg(long)]
    name: Option<String>,
    /// A cpio archive, which a guest starts from at once; a disk image; a folder
    #[arg(long, value_enum, default_value_t = Format::Cpio)]
    format: Format,
    /// How large a disk image is
    #[arg(long, value_name = "SIZE", default_value = "2G")]
    size: String,
    /// Ask the mirror for new lists of packages, even if there are some
    #[arg(long)]
    update: bool,
    /// Build lodger without optimisation, with all its checks
    #[arg(long)]
    dev: bool,
}

/// What can be made.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Debian, of the release that this machine has
    Debian,
    /// Debian's busybox-static and nothing else
    Busybox,
    /// The default userland, the same as `cargo xtask guest`
    Default,
}

/// How a root is kept.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Cpio,
    Ext4,
    Dir,
}

impl Format {
    const ALL: [Format; 3] = [Format::Cpio, Format::Ext4, Format::Dir];

    /// What its file's name ends in.
    fn ending(self) -> &'static str {
        match self {
            Format::Cpio => ".cpio",
            Format::Ext4 => ".ext4",
            Format::Dir => "",
        }
    }
}

/// Makes the root, unless it is there, and prints where it is.
pub fn run(args: &Args) -> Result<()> {
    println!("{}", make(args)?.display());
    Ok(())
}

fn make(args: &Args) -> Result<PathBuf> {
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    if args.kind != Kind::Debian && !args.packages.is_empty() {
        bail!("only `debian` has packages");
    }
    match args.kind {
        Kind::Default if args.name.is_some() || args.format != Format::Cpio => {
            bail!("the default userland is a cpio archive named `default`")
        }
        Kind::Default => Ok(guest::build(&guest::Options::default())?.archive),
        Kind::Busybox => {
            let root = place::Root::new(args.name.as_deref().unwrap_or("busybox"), args.format, &args.size)?;
            busybox::make(&root, args.update)
        }
        Kind::Debian => {
            let root = place::Root::new(args.name.as_deref().unwrap_or("debian"), args.format, &args.size)?;
            debian::make(&root, &args.packages, args.update, profile)
        }
    }
}

/// A Debian root with these packages as a cpio archive, for other verbs.
pub fn debian(name: &str, packages: &[&str], profile: Profile) -> Result<PathBuf> {
    let packages: Vec<String> = packages.iter().map(|package| (*package).to_owned()).collect();
    debian::make(&place::Root::new(name, Format::Cpio, "")?, &packages, false, profile)
}
