//! [`SkasHost`]: the [`Host`] that keeps every guest address space in a stub process.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use host_linux::backend::Backend;
use host_linux::fiber::{FiberPool, HostFiber};
use host_linux::ram::{Ram, RamFile};
use host_linux::traced::tracee::Tracee;
use host_linux::traced::vcpu::Vcpu;
use host_linux::traced::xstate::Format;
use host_linux::watcher::Watcher;
use host_linux::{clock, heap, vm};
use kernel_core::host::{
    Cpu, Exit, FiberBody, Frames, Host, HostError, PAGE_SIZE, Phys, UserContext, VcpuId,
};
use nix::errno::Errno;

use crate::clock_image::ClockImage;
use crate::error::StartError;
use crate::layout::{CLOCK_CODE, CODE};
use crate::pool::Pool;
use crate::space::{Machine, SkasSpace};
use crate::spawner::Spawner;
use crate::{layout, stub_code};

/// How a host is started.
#[derive(Clone, Copy, Debug)]
pub struct SkasOptions {
    /// Virtual CPUs; only 1 can be had.
    pub vcpus: usize,
    /// Offsets of guest RAM, in bytes. They are sparse: what is not used costs nothing.
    pub ram_size: u64,
}

impl Default for SkasOptions {
    fn default() -> SkasOptions {
        SkasOptions { vcpus: 1, ram_size: 1 << 40 }
    }
}

/// The SKAS host with one vCPU.
pub struct SkasHost {
    ram: Arc<Ram>,
    machine: Arc<Machine>,
    fibers: FiberPool,
    watcher: Watcher,
    clock_image: Option<u64>,
}

impl SkasHost {
    /// Starts the helper processes and reserves guest RAM.
    ///
    /// Call it early: the spawner is forked here, and what this process has in memory by now, it has too.
    pub fn new(options: SkasOptions) -> Result<Arc<SkasHost>, StartError> {
        if options.vcpus != 1 {
            return Err(StartError::Vcpus(options.vcpus));
        }
        let size = options.ram_size.next_multiple_of(PAGE_SIZE);
        let ram = RamFile::new(c"lodger-ram", size).map_err(StartError::Ram)?;
        let clocks = ClockImage::find();
        let clock_code = clocks.as_ref().map_or(0, |clocks| clocks.code.len() as u64);
        let requests = RamFile::new(c"lodger-requests", CLOCK_CODE + clock_code).map_err(StartError::Ram)?;
        let spawner = Spawner::start(&ram, &requests, clocks.as_ref()).map_err(StartError::Spawner)?;
        let requests = requests.map().map_err(StartError::Ram)?;
        requests.write(Phys(0), stub_code::bytes());
        if let Some(clocks) = &clocks {
            requests.write(Phys(CLOCK_CODE), &clocks.code);
        }
        let pool = Pool::new(spawner);
        let ram = Arc::new(ram.map().map_err(StartError::Ram)?);
        let (format, has_clocks) = try_stub(&pool)?;
        let clocks = clocks.filter(|_| has_clocks);
        let vcpu = Vcpu::default();
        let token = vcpu.signals.clone();
        let watcher = Watcher::start(move || token.kick()).map_err(StartError::Thread)?;
        let machine = Arc::new(Machine {
            pool,
            requests,
            vcpu,
            format,
            limits: layout::limits(clocks.as_ref().map_or(CODE, ClockImage::place)),
            max_mappings: vm::max_mappings(),
        });
        let clock_image = clocks.map(|clocks| clocks.code_place());
        Ok(Arc::new(SkasHost { ram, machine, fibers: FiberPool::new(), watcher, clock_image }))
    }
}

impl Backend for SkasHost {
    type Refusal = StartError;

    fn start(ram_size: u64) -> Result<Arc<SkasHost>, StartError> {
        SkasHost::new(SkasOptions { vcpus: 1, ram_size })
    }

    fn run_vcpus(host: &Arc<SkasHost>, body: &(dyn Fn(VcpuId) + Send + Sync)) {
        host.machine.vcpu.begin();
        let _end = Tenure(&host.machine);
        body(VcpuId(0));
    }

    fn host_process(space: &SkasSpace) -> Option<i32> {
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
        self.0.pool.clear();
        self.0.vcpu.end();
    }
}

/// Makes a stub, traces it and ends it: what the host refuses is known before anything starts. Says whether the stub has
/// the host's clocks.
fn try_stub(pool: &Pool) -> Result<(Format, bool), StartError> {
    let refused = |error: HostError| StartError::Spawner(io::Error::other(format!("{error:?}")));
    let mut stub = pool.take().map_err(refused)?;
    // One that cannot be attached ends with the spawner, which ends with `pool`.
    let tracee = Tracee::attach(stub.pid).map_err(|errno| match errno {
        Errno::ESRCH => StartError::Stub,
        _ => StartError::Ptrace(errno.into()),
    })?;
    stub.tracee = Some(tracee);
    let format = Format::of(&tracee).map_err(|errno| StartError::Xstate(errno.into()));
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", stub.pid)).unwrap_or_default();
    pool.kill(stub);
    Ok((format?, maps.contains("[vvar]")))
}

impl Host for SkasHost {
    type Space = SkasSpace;
    type Fiber = HostFiber;

    fn ram(&self) -> Arc<dyn Frames> {
        self.ram.clone()
    }

    fn new_space(&self, _: Range<u64>) -> Result<SkasSpace, HostError> {
        Ok(SkasSpace::new(self.machine.clone(), self.machine.pool.take()?))
    }

    /// Call it on the thread that [`Backend::run_vcpus`] gave this vCPU.
    fn run(&self, _: VcpuId, space: &SkasSpace, ctx: &mut UserContext, deadline_ns: Option<u64>) -> Exit {
        self.watcher.set_deadline(deadline_ns);
        let exit = space.run(ctx);
        self.watcher.set_deadline(None);
        exit
    }

    fn save_fpu(&self, space: &SkasSpace, ctx: &UserContext) {
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
        self.clock_image
    }

    fn entropy(&self, buf: &mut [u8]) {
        clock::entropy(buf);
    }
}
