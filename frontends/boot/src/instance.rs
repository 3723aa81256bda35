//! One guest from its boot to its end.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kernel_core::host::ByteStream;

use crate::backend::Backend;
use crate::control::{self, Control};
use crate::logger;
use crate::plan::{self, Io, Surroundings};
use crate::root::{self, Loaded};
use crate::signals::Signals;
use crate::terminal::{self, Terminal};
use crate::userland::Userland;
use crate::words::Request;

/// Offsets into guest RAM: far more than memory, so that what belongs together lies together. It is a sparse file.
const RAM_OFFSETS: u64 = 1 << 40;

/// What the guest's streams are.
enum Streams {
    /// Standard input, output and error.
    Three([Arc<dyn ByteStream>; 3]),
    /// A terminal.
    Console(Arc<dyn ByteStream>, Terminal),
}

/// Boots a guest and returns its exit status.
pub fn run<B: Backend>(request: &Request) -> Result<u8> {
    let run = &request.run;
    logger::install(run.log);
    control::exit_on_panic();
    // All that can be wrong with the words and the files is said before anything is started.
    let plan = plan::plan(request, &Surroundings::here()).map_err(anyhow::Error::msg)?;
    let userland = Userland::find()?;
    let root = root::open(&run.root, &userland)?;
    let init = if run.init.is_none() { Some(userland.init()?) } else { None };
    let trace = run.strace.as_deref().map(terminal::trace_writer).transpose()?;

    // The host first: it forks, and what this process has by then, its child has too.
    let signals = Signals::block()?;
    let host = B::start(RAM_OFFSETS.max(run.mem.saturating_mul(8)))?;
    let control = Control::default();
    let served = control.clone();
    std::thread::Builder::new()
        .name("lodger-signals".into())
        .spawn(move || signals.serve(|request| served.serve(request)))
        .context("cannot start a thread")?;
    let loaded = root.load()?;
    if !run.quiet {
        warn_of_left_out(&loaded);
    }
    let streams = match plan.io {
        Io::Console => {
            let (terminal, console) = terminal::take::<B>(&host, &control)?;
            Streams::Console(console, terminal)
        }
        Io::Streams => Streams::Three([
            terminal::stream::<B>(&host, io::stdin().as_fd(), true)?,
            terminal::stream::<B>(&host, io::stdout().as_fd(), false)?,
            terminal::stream::<B>(&host, io::stderr().as_fd(), false)?,
        ]),
    };
    drop((streams, init, trace, loaded));
    bail!("the kernel is not there yet");
}

fn warn_of_left_out(loaded: &Loaded) {
    let Some(first) = loaded.left_out.first() else { return };
    let others = match loaded.left_out.len() - 1 {
        0 => String::new(),
        1 => " and 1 other".into(),
        more => format!(" and {more} others"),
    };
    logger::say(&format!(
        "left out of the root file system, as it cannot be read: {}{others}",
        first.display()
    ));
}
