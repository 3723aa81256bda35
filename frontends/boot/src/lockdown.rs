//! What lodger gives up before guests run, in the order of [`host_linux::lockdown`], and what it says of that.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use host_linux::backend::Backend;
use host_linux::lockdown::calls::{self, Call};
use host_linux::lockdown::descriptors::Inherited;
use host_linux::lockdown::{capabilities, dumps, files, privileges};

use crate::logger;

/// What can be done where it cannot be done.
const ADVICE: &str = "--no-lockdown goes without, for debugging";

/// What is still to be given up; nothing with `--no-lockdown`.
pub struct Lockdown(Option<Inherited>);

impl Lockdown {
    /// Before anything is opened.
    pub fn begin(without: bool, quiet: bool) -> Lockdown {
        if without && !quiet {
            logger::say("--no-lockdown: a guest that takes over the kernel can do all that you can");
        }
        Lockdown((!without).then(Inherited::note))
    }

    /// Before the host is started, with everything open that has a name but `directories`, which are read, and written to if
    /// that is said.
    pub fn first<'a>(self, directories: impl Iterator<Item = (&'a Path, bool)>) -> Result<Rest> {
        let Some(inherited) = self.0 else { return Ok(Rest { calls: None, lines: Vec::new() }) };
        let directories: Vec<_> = directories.collect();
        let writes = directories.iter().any(|(_, write)| *write);
        let (capabilities, calls): (_, &[&[Call]]) = match (directories.is_empty(), writes) {
            (true, _) => (capabilities::NONE, &[calls::BASE]),
            (false, false) => (capabilities::TO_READ, &[calls::BASE, calls::DIRECTORIES]),
            (false, true) => (capabilities::TO_WRITE, &[calls::BASE, calls::DIRECTORIES, calls::CHANGES]),
        };
        let failed = |what: &str| format!("cannot give up {what}; {ADVICE}");
        let closed = inherited.close();
        dumps::forbid().with_context(|| failed("core dumps"))?;
        privileges::renounce().with_context(|| failed("new privileges"))?;
        let left = capabilities::keep(capabilities).with_context(|| failed("capabilities"))?;
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
        let files = match files::restrict(&directories, &streams) {
            Ok(restricted) => restricted.to_string(),
            Err(error) => format!("refused: {error}"),
        };
        log::info!("files that nobody named: {files}");
        let left = if left == 0 { "none left".into() } else { format!("{left} left, for directories") };
        let lines = vec![
            ("inherited descriptors", format!("closed ({closed} of them)")),
            ("core dumps", "off".into()),
            ("new privileges", "off".into()),
            ("capabilities", left),
            ("only named files", files),
        ];
        Ok(Rest { calls: Some(calls), lines })
    }
}

/// What is left to be done when all threads and files are there.
pub struct Rest {
    calls: Option<&'static [&'static [Call]]>,
    lines: Vec<(&'static str, String)>,
}

impl Rest {
    /// Before the first guest instruction. Says what was given up, and how that went.
    pub fn last<B: Backend>(mut self, host: &B) -> Result<Vec<(&'static str, String)>> {
        if let Some(lists) = self.calls {
            let calls = calls::join(&[lists, &[host.calls()]].concat());
            calls::allow_only(&calls).with_context(|| format!("cannot give up system calls; {ADVICE}"))?;
            self.lines.push(("system calls", format!("{} left", calls.len())));
        }
        Ok(self.lines)
    }
}
