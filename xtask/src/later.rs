//! Verbs that are planned and not there yet: refused by name, so that nobody takes silence for success.

use std::ffi::OsString;

use anyhow::{Result, bail};

/// The words after a verb that is not there yet; they do not matter.
#[derive(clap::Args)]
pub struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<OsString>,
}

/// The verbs.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// (not there yet) Fuzz the kernel
    Fuzz(Words),
}

impl Verb {
    /// Says that the verb is not there yet.
    pub fn refuse(&self) -> Result<()> {
        let name = match self {
            Verb::Fuzz(_) => "fuzz",
        };
        bail!("the verb `{name}` is not there yet");
    }
}
