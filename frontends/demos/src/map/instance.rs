//! An instance in this process, so that its kernel can be looked into while its guests are asleep.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use host_linux::backend::{Backend, Settings};
use kernel_core::boot::{BootConfig, Changes, Init, Stdio};
use kernel_core::debug::inspect;
use kernel_core::kernel::{Kernel, Shutdown};
use lodger::userland::Userland;
use lodger::{control, root};

/// Offsets of guest RAM in bytes, as `lodger run` has them.
const RAM_OFFSETS: u64 = 1 << 40;
/// Guest memory in bytes.
const MEMORY: u64 = 128 << 20;
/// How long the guests may take to come to rest.
const LIMIT: Duration = Duration::from_secs(20);
/// How often they are looked at meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// What is booted.
pub struct Setting<'a> {
    /// The root file system, a folder.
    pub root: &'a Path,
    /// What runs in it.
    pub command: &'a [&'a str],
    /// The names of processes that this starts.
    pub names: &'a [&'a str],
}

/// Boots it, lets `look` see it once all its processes sleep, and ends it.
pub fn with<B: Backend, T: Send>(
    setting: &Setting<'_>,
    look: impl FnOnce(&Arc<Kernel<B>>) -> Result<T> + Send,
) -> Result<T> {
    let userland = Userland::find()?;
    let root = root::open(setting.root.as_os_str(), &userland)?;
    let init = userland.init()?;
    // The host first: it forks, and what this process has by then, its child has too.
    let host = B::start(&Settings::new(RAM_OFFSETS))?;
    let null = File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    let stream = || B::stream(&host, Some(null.as_fd()), Some(null.as_fd()));
    let words = ["init", "--"].iter().chain(setting.command);
    let config = BootConfig {
        root: root.load(Changes::InMemory)?,
        shares: Vec::new(),
        init: Init::Image(init),
        args: words.map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![b"PATH=/bin".to_vec()],
        stdio: Stdio::Streams([stream()?, stream()?, stream()?]),
        disks: Vec::new(),
        hostname: b"lodger".to_vec(),
        command_line: Vec::new(),
        memory: MEMORY,
        vcpus: 1,
        max_tasks: 64,
        trace: None,
        log: Arc::default(),
    };
    control::exit_on_panic(B::PANIC);
    let kernel = Kernel::boot(host.clone(), config).map_err(|error| anyhow!("cannot boot: {error:?}"))?;
    std::thread::scope(|scope| {
        let observer = scope.spawn(|| {
            let result = at_rest::<B>(&kernel, setting.names).and_then(|()| look(&kernel));
            kernel.shut_down(Shutdown::Ended);
            result
        });
        B::run_vcpus(&host, &|vcpu| kernel.run_vcpu(vcpu));
        observer.join().map_err(|_| anyhow!("the observer panicked"))?
    })
}

/// Waits until the processes with these names are there and all processes sleep, two times in a row without a change.
fn at_rest<B: Backend>(kernel: &Arc<Kernel<B>>, names: &[&str]) -> Result<()> {
    let end = Instant::now() + LIMIT;
    let mut before = Vec::new();
    while Instant::now() < end {
        if let Some(shutdown) = kernel.shutdown() {
            bail!("the guest ended before it could be looked at: {shutdown:?}");
        }
        let now = inspect::processes(kernel);
        let there = |name: &&str| now.iter().any(|process| process.name == name.as_bytes());
        let asleep = now.iter().all(|process| process.state == b'S');
        if asleep && names.iter().all(there) && now == before {
            return Ok(());
        }
        before = now;
        std::thread::sleep(PAUSE);
    }
    let shown = |process: &inspect::ProcessInfo| {
        format!("{} ({})", String::from_utf8_lossy(&process.name), char::from(process.state))
    };
    let processes: Vec<String> = before.iter().map(shown).collect();
    bail!("the guests are not at rest after {} s: {}", LIMIT.as_secs(), processes.join(", "))
}
