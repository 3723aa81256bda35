//! [`TtHost`]: the [`Host`] that keeps every guest address space in its own.

use std::ops::Range;
use std::sync::Arc;

use host_linux::backend::Backend;
use host_linux::fiber::{FiberPool, HostFiber};
use host_linux::ram::RamFile;
use host_linux::traced::tracee::Tracee;
use host_linux::traced::vcpu::Vcpu;
use host_linux::traced::xstate::Format;
use host_linux::watcher::Watcher;
use host_linux::{clock, heap};
use kernel_core::host::{Cpu, Exit, FiberBody, Frames, Host, HostError, PAGE_SIZE, UserContext, VcpuId};
use nix::errno::Errno;

use crate::error::StartError;
use crate::last_words;
use crate::space::{Machine, TtSpace};
use crate::thread_code;
use crate::threads;
use crate::windows::Windows;

/// How a host is started.
#[derive(Clone, Copy, Debug)]
pub struct TtOptions {
    /// Virtual CPUs; only 1 can be had.
    pub vcpus: usize,
    /// Offsets of guest RAM, in bytes. They are sparse: what is not used costs nothing.
    pub ram_size: u64,
}

impl Default for TtOptions {
    fn default() -> TtOptions {
        TtOptions { vcpus: 1, ram_size: 1 << 40 }
    }
}

/// The TT host, with one vCPU.
pub struct TtHost {
    machine: Arc<Machine>,
    fibers: FiberPool,
    watcher: Watcher,
}

impl TtHost {
    /// Reserves the addresses of guests, and guest RAM.
    pub fn new(options: TtOptions) -> Result<Arc<TtHost>, StartError> {
        if options.vcpus != 1 {
            return Err(StartError::Vcpus(options.vcpus));
        }
        last_words::install();
        let size = options.ram_size.next_multiple_of(PAGE_SIZE);
        let ram = RamFile::new(c"lodger-ram", size).and_then(RamFile::map).map_err(StartError::Ram)?;
        let ram = Arc::new(ram);
        let windows = Windows::reserve(ram.clone())?;
        let format = try_thread()?;
        let vcpu = Vcpu::default();
        let token = vcpu.signals.clone();
        let watcher = Watcher::start(move || token.kick()).map_err(StartError::Helper)?;
        let machine = Arc::new(Machine::new(ram, vcpu, format, windows));
        Ok(Arc::new(TtHost { machine, fibers: FiberPool::new(), watcher }))
    }
}

impl Backend for TtHost {
    type Refusal = StartError;

    const WARNING: Option<&'static str> = Some(
        "--backend tt has no protection between guest processes: each can read and change the others and the kernel",
    );

    const PANIC: &'static str = last_words::OF_A_PANIC;

    fn start(ram_size: u64) -> Result<Arc<TtHost>, StartError> {
        TtHost::new(TtOptions { vcpus: 1, ram_size })
    }

    fn run_vcpus(host: &Arc<TtHost>, body: &(dyn Fn(VcpuId) + Send + Sync)) {
        host.machine.vcpu.begin();
        let _end = Tenure(&host.machine);
        body(VcpuId(0));
    }

    fn host_process(space: &TtSpace) -> Option<i32> {
        space.host_process()
    }

    fn watcher(&self) -> &Watcher {
        &self.watcher
    }
}

/// A thread being the vCPU; ends also when the vCPU's code panics.
struct Tenure<'a>(&'a Machine);

impl Drop for Tenure<'_> {
    fn drop(&mut self) {
        self.0.threads().clear();
        self.0.vcpu.end();
    }
}

/// Starts a thread, traces it and ends it: what the host refuses is known before anything starts.
fn try_thread() -> Result<Format, StartError> {
    let refused = |errno: Errno| StartError::Thread(errno.into());
    let pid = thread_code::start().map_err(refused)?;
    let format = Tracee::attach(pid)
        .map_err(|errno| StartError::Ptrace(errno.into()))
        .and_then(|tracee| Format::of(&tracee).map_err(|errno| StartError::Xstate(errno.into())));
    threads::kill_and_reap(pid);
    format
}

impl Host for TtHost {
    type Space = TtSpace;
    type Fiber = HostFiber;

    fn ram(&self) -> Arc<dyn Frames> {
        self.machine.ram.clone()
    }

    fn new_space(&self, including: Range<u64>) -> Result<TtSpace, HostError> {
        Ok(TtSpace::new(self.machine.clone(), &including))
    }

    /// Call it on the thread that [`Backend::run_vcpus`] gave this vCPU.
    fn run(&self, _: VcpuId, space: &TtSpace, ctx: &mut UserContext, deadline_ns: Option<u64>) -> Exit {
        self.watcher.set_deadline(deadline_ns);
        let exit = space.run(ctx);
        self.watcher.set_deadline(None);
        exit
    }

    fn save_fpu(&self, space: &TtSpace, ctx: &UserContext) {
        space.save_fpu(ctx);
    }

    fn fpu_size(&self) -> usize {
        self.machine.format.size()
    }

    fn cpu(&self) -> Cpu {
        Cpu { xstate_features: self.machine.format.features(), ..host_linux::cpu::cpu() }
    }

    fn kick(&self, _: VcpuId) {
        self.machine.vcpu.signals.kick();
    }

    fn wait(&self, _: VcpuId, deadline_ns: Option<u64>) {
        self.machine.vcpu.wait(deadline_ns);
    }

    fn heap_bytes(&self) -> u64 {
        heap::bytes()
    }

    fn new_fiber(&self, body: FiberBody) -> Result<HostFiber, HostError> {
        self.fibers.fiber(body)
    }

    fn monotonic_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    fn boottime_ns(&self) -> u64 {
        clock::boottime_ns()
    }

    fn realtime_ns(&self) -> u64 {
        clock::realtime_ns()
    }

    fn clock_image(&self) -> Option<u64> {
        None
    }

    fn entropy(&self, buf: &mut [u8]) {
        clock::entropy(buf);
    }
}
