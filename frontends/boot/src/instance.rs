//! One guest from its boot to its end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use host_linux::backend::{Backend, Settings};
use kernel_core::boot::{BootConfig, BootError, Changes, Init, RootFs, Stdio};
use kernel_core::errno::Errno;
use kernel_core::host::Host;
use kernel_core::kernel::{Kernel, Shutdown};
use kernel_core::log_ring::LogRing;

use crate::cli;
use crate::control::{self, Control, Guest};
use crate::disks;
use crate::kept;
use crate::lockdown::Lockdown;
use crate::logger;
use crate::plan::{self, Io, Surroundings};
use crate::root;
use crate::share;
use crate::signals::Signals;
use crate::terminal;
use crate::userland::Userland;
use crate::words::Request;

/// Offsets into guest RAM: far more than memory, so that what belongs together lies together. It is a sparse file.
const RAM_OFFSETS: u64 = 1 << 40;

/// Boots a guest and returns its exit status.
pub fn run<B: Backend>(request: &Request) -> Result<u8> {
    run_after::<B>(request, || {})
}

/// The same, but does `first` before guests run, when the process has given up all that it gives up: what could be done by
/// a guest that has taken it over.
pub fn run_after<B: Backend>(request: &Request, first: impl FnOnce()) -> Result<u8> {
    let run = &request.run;
    let lockdown = Lockdown::begin(run.no_lockdown, run.quiet);
    let log = Arc::new(LogRing::default());
    logger::install(run.log, log.clone());
    control::exit_on_panic(B::PANIC);
    // All that can be wrong with the words and the files is said before anything is started.
    let plan = plan::plan(request, &Surroundings::here()).map_err(anyhow::Error::msg)?;
    let userland = Userland::find()?;
    let mut disks = disks::open(&run.ubd)?;
    let found = root_of(request, &userland, &mut disks)?;
    let shares = share::parse_all(&run.share)?;
    let init = match &run.init {
        Some(path) => Init::Path(path.as_os_str().as_bytes().to_vec()),
        None => Init::Image(userland.init()?),
    };
    let trace = run.strace.as_deref().map(terminal::trace_writer).transpose()?;

    if let Some(warning) = B::WARNING.filter(|_| !run.quiet) {
        logger::say(warning);
    }
    let signals = Signals::block()?;
    let lockdown =
        lockdown.first(found.directory().into_iter().chain(shares.iter().map(share::Words::directory)))?;
    // Then the host: it forks, and what this process has by then, its child has too.
    let host = B::start(&Settings {
        ram_size: RAM_OFFSETS.max(run.mem.saturating_mul(8)),
        trap: run.trap.map(Into::into),
        patch: !run.no_patch,
    })?;
    let control = Control::new().context("cannot start a thread")?;
    let served = control.clone();
    std::thread::Builder::new()
        .name("lodger-signals".into())
        .spawn(move || signals.serve(|request| served.serve(request)))
        .context("cannot start a thread")?;
    let root = match found {
        Found::Files(root, changes) => root.load(changes)?,
        Found::Over(root, disk) => RootFs::Over { below: Box::new(root.load(Changes::InMemory)?), disk },
        Found::Disk(name, changes) => RootFs::Disk { name, changes },
    };
    let shares = shares.into_iter().map(share::Words::open).collect::<Result<_>>()?;
    let (stdio, terminal) = match plan.io {
        Io::Console => {
            let (terminal, console) = terminal::take::<B>(&host, &control)?;
            (Stdio::Console(console), Some(terminal))
        }
        Io::Streams => {
            let stream = |fd, input| terminal::stream::<B>(&host, fd, input);
            let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
            let three =
                [stream(input.as_fd(), true)?, stream(output.as_fd(), false)?, stream(error.as_fd(), false)?];
            (Stdio::Streams(three), None)
        }
    };
    let config = BootConfig {
        root,
        shares,
        init,
        args: plan.argv,
        env: plan.env,
        stdio,
        disks,
        hostname: run.hostname.clone().into_bytes(),
        command_line: plan.cmdline,
        memory: run.mem,
        vcpus: 1,
        max_tasks: run.pids as usize,
        trace,
        log,
    };
    let kernel = boot(&host, config.clone(), run)?;
    lockdown.last(&*host)?;
    first();
    let mut shutdown = serve(&host, kernel, &control);
    // A guest that restarts its machine gets a new one, with the same words, unless it was to end meanwhile.
    while shutdown == Some(Shutdown::Restart) && control.status().is_none() {
        let ram = host.ram();
        ram.discard(0..ram.size());
        shutdown = serve(&host, boot(&host, config.clone(), run)?, &control);
    }
    drop(terminal);
    finish(request, shutdown, &control)
}

fn boot<B: Backend>(host: &Arc<B>, config: BootConfig, run: &cli::Run) -> Result<Arc<Kernel<B>>> {
    Kernel::boot(host.clone(), config).map_err(|error| cannot_boot(error, run))
}

/// Runs the guest until its end, and says why that came.
fn serve<B: Backend>(host: &Arc<B>, kernel: Arc<Kernel<B>>, control: &Control) -> Option<Shutdown> {
    control.attach(Arc::new(Running(kernel.clone())));
    let body = kernel.clone();
    B::run_vcpus(host, &move |vcpu| body.run_vcpu(vcpu));
    let shutdown = kernel.shutdown();
    if shutdown == Some(Shutdown::Restart) {
        kernel.give_up_tasks();
    }
    kernel.write_back();
    kernel.shut_down_file_systems();
    // Only now: without a guest, a signal would end the process before all is written.
    control.detach();
    shutdown
}

/// What `--root` comes to, and what becomes of changes.
enum Found {
    /// Files to be loaded.
    Files(root::Root, Changes),
    /// Files to be loaded, and the disk of the guest that has the changes.
    Over(root::Root, String),
    /// A disk of the guest.
    Disk(String, Changes),
}

impl Found {
    /// The directory of the host's that is used, if it is one, and whether it is written to.
    fn directory(&self) -> Option<(&Path, bool)> {
        match self {
            Found::Files(root, changes) => Some((root.directory()?, *changes == Changes::Kept)),
            Found::Over(root, _) => Some((root.directory()?, false)),
            Found::Disk(..) => None,
        }
    }
}

/// Finds the root file system. An image becomes one more of the guest's disks.
fn root_of(request: &Request, userland: &Userland, disks: &mut Vec<disks::Numbered>) -> Result<Found> {
    let run = &request.run;
    let shown = run.root.to_string_lossy();
    if let Some(name) = shown.strip_prefix("/dev/").filter(|name| name.starts_with("ubd")) {
        if run.disk.is_some() {
            bail!("--disk is not for --root {shown}: that disk itself is changed");
        }
        return Ok(Found::Disk(name.to_owned(), Changes::Kept));
    }
    let root = root::open(&run.root, userland)?;
    if let Some(name) = &run.disk {
        let disk = kept::open(name, &root, disks)?;
        return Ok(match root.image() {
            Some(_) => Found::Disk(disk, Changes::Kept),
            None => Found::Over(root, disk),
        });
    }
    let changes = if run.root_rw { Changes::Kept } else { Changes::InMemory };
    root.check_changes(changes, request.backend)?;
    let Some(image) = root.image() else { return Ok(Found::Files(root, changes)) };
    let name = disks::add(disks, image, changes == Changes::InMemory)?;
    Ok(Found::Disk(name, changes))
}

/// A kernel that runs, for signals and the terminal's escape.
struct Running<H: Host>(Arc<Kernel<H>>);

impl<H: Host> Guest for Running<H> {
    fn signal(&self, signal: u8) {
        self.0.signal_init(signal);
    }

    fn end(&self) {
        self.0.shut_down(Shutdown::Ended);
    }
}

/// Why a kernel did not boot with this `--root` and what else there is.
fn cannot_boot(error: BootError, run: &cli::Run) -> anyhow::Error {
    match error {
        BootError::Root(why) => {
            let disk = run.disk.as_ref().map(|name| format!(" with the disk `{name}`")).unwrap_or_default();
            anyhow!("cannot use {}{disk} as the root file system: {why}", run.root.to_string_lossy())
        }
        BootError::Share(at, errno) => {
            let at = String::from_utf8_lossy(&at);
            anyhow!("cannot mount a share at {at} of the guest: {}", words_of(errno))
        }
        BootError::Start(errno) => anyhow!("cannot start the guest: {}", words_of(errno)),
    }
}

/// An errno for people.
fn words_of(errno: Errno) -> &'static str {
    nix::errno::Errno::from_raw(errno.code()).desc()
}

/// What lodger ends with.
fn finish(request: &Request, shutdown: Option<Shutdown>, control: &Control) -> Result<u8> {
    let init = request.run.init.as_deref().map(|path| path.display().to_string());
    match (shutdown, init) {
        // A restart that was served, or that an end was asked for instead of.
        (Some(Shutdown::Ended | Shutdown::Restart) | None, _) => {
            Ok(control.status().unwrap_or(crate::FAILURE))
        }
        (Some(Shutdown::PowerOff | Shutdown::Halt), _) => Ok(0),
        (Some(Shutdown::InitEnded(status)), None) => Ok(status.shell_status()),
        (Some(Shutdown::InitEnded(status)), Some(init)) => {
            bail!("the guest's init, {init}, ended ({status}): the guest cannot go on")
        }
        (Some(Shutdown::NoInit(errno)), init) => {
            let init = init.map_or("lodger's own init".into(), |path| format!("the guest's init, {path}"));
            bail!("cannot execute {init}: {}", words_of(errno))
        }
    }
}
