//! [`LinuxHost`]: a host whose guests are threads of the system that it runs on. How it keeps their address spaces, and
//! how it traps them, is a [`Keeper`]'s business; the rest is the same for all of them.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use kernel_core::host::{
    CallCode, Cpu, Exit, FiberBody, Frames, Host, HostError, ImageClock, Space, UserContext, VcpuId,
};

use crate::backend::{Backend, Settings, Trap};
use crate::fiber::{FiberPool, HostFiber};
use crate::lockdown::calls::Call;
use crate::ram::Ram;
use crate::vcpu::Vcpu;
use crate::watcher::Watcher;
use crate::xstate::Format;
use crate::{clock, cpu, heap};

/// A guest address space, and what runs guest threads in it.
pub trait HostSpace: Space {
    /// See [`Host::run`]; the deadline is the caller's matter.
    fn run(&self, ctx: &mut UserContext) -> Exit;
    /// See [`Host::save_fpu`].
    fn save_fpu(&self, ctx: &UserContext);
    /// The process that holds the guest's mappings, as the host numbers it; `None` once it died. Does not wait for a
    /// guest that runs.
    fn host_process(&self) -> Option<i32>;
}

/// What keeps guest address spaces.
pub trait Keeper: Send + Sync + Sized + 'static {
    /// A guest address space.
    type Space: HostSpace;
    /// See [`Backend::Refusal`].
    type Refusal: Error + Send + Sync + 'static;
    /// See [`Backend::WARNING`].
    const WARNING: Option<&'static str> = None;
    /// See [`Backend::PANIC`].
    const PANIC: &'static str = "this is a bug in Lodger";

    /// See [`Backend::start`]; the RAM is in whole pages.
    fn start(settings: &Settings) -> Result<Self, Self::Refusal>;
    /// See [`Backend::trap`].
    fn trap(&self) -> Trap;
    /// See [`Backend::calls`].
    fn calls(&self) -> &'static [Call];
    /// What it was started with.
    fn machine(&self) -> &Machine;
    /// See [`Host::new_space`].
    fn new_space(self: &Arc<Self>, including: Range<u64>) -> Result<Self::Space, HostError>;
    /// See [`Host::clock_image`].
    fn clock_image(&self) -> Option<u64>;
    /// See [`Host::rewrite`].
    fn rewrite(&self, _at: u64, _code: CallCode) -> Option<CallCode> {
        None
    }
    /// See [`Host::is_rewritten`].
    fn is_rewritten(&self, _at: u64, _code: CallCode) -> bool {
        false
    }
    /// Ends what only the calling thread, the vCPU's, can trace: it is about to be the vCPU no more.
    fn let_go(&self);
}

/// What every keeper has.
pub struct Machine {
    /// Guest RAM.
    pub ram: Arc<Ram>,
    /// The only vCPU.
    pub vcpu: Vcpu,
    /// The format of vector state.
    pub format: Format,
    /// The helper thread.
    pub watcher: Watcher,
}

/// A host with one vCPU.
pub struct LinuxHost<K: Keeper> {
    keeper: Arc<K>,
    fibers: FiberPool,
}

/// A thread being the vCPU; ends also when the vCPU's code panics.
struct Tenure<'a, K: Keeper>(&'a K);

impl<K: Keeper> Drop for Tenure<'_, K> {
    fn drop(&mut self) {
        self.0.let_go();
        self.0.machine().vcpu.end();
    }
}

impl<K: Keeper> Backend for LinuxHost<K> {
    type Refusal = K::Refusal;

    const WARNING: Option<&'static str> = K::WARNING;
    const PANIC: &'static str = K::PANIC;

    fn start(settings: &Settings) -> Result<Arc<Self>, K::Refusal> {
        let ram_size = settings.ram_size.next_multiple_of(kernel_core::host::PAGE_SIZE);
        let keeper = K::start(&Settings { ram_size, ..*settings })?;
        Ok(Arc::new(LinuxHost { keeper: Arc::new(keeper), fibers: FiberPool::new() }))
    }

    fn run_vcpus(host: &Arc<Self>, body: &(dyn Fn(VcpuId) + Send + Sync)) {
        host.keeper.machine().vcpu.begin();
        let _end = Tenure(&*host.keeper);
        body(VcpuId(0));
    }

    fn host_process(space: &K::Space) -> Option<i32> {
        space.host_process()
    }

    fn trap(&self) -> Trap {
        self.keeper.trap()
    }

    fn calls(&self) -> &'static [Call] {
        self.keeper.calls()
    }

    fn watcher(&self) -> &Watcher {
        &self.keeper.machine().watcher
    }
}

impl<K: Keeper> Host for LinuxHost<K> {
    type Space = K::Space;
    type Fiber = HostFiber;

    fn ram(&self) -> Arc<dyn Frames> {
        self.keeper.machine().ram.clone()
    }

    fn new_space(&self, including: Range<u64>) -> Result<K::Space, HostError> {
        self.keeper.new_space(including)
    }

    /// Call it on the thread that [`Backend::run_vcpus`] gave this vCPU.
    fn run(&self, _: VcpuId, space: &K::Space, ctx: &mut UserContext, deadline_ns: Option<u64>) -> Exit {
        self.watcher().set_deadline(deadline_ns);
        let exit = space.run(ctx);
        self.watcher().set_deadline(None);
        exit
    }

    fn rewrite(&self, at: u64, code: CallCode) -> Option<CallCode> {
        self.keeper.rewrite(at, code)
    }

    fn is_rewritten(&self, at: u64, code: CallCode) -> bool {
        self.keeper.is_rewritten(at, code)
    }

    fn save_fpu(&self, space: &K::Space, ctx: &UserContext) {
        space.save_fpu(ctx);
    }

    fn fpu_size(&self) -> usize {
        self.keeper.machine().format.size()
    }

    fn cpu(&self) -> Cpu {
        cpu::cpu(self.keeper.machine().format.features())
    }

    fn processor(&self) -> Vec<(String, String)> {
        cpu::processor()
    }

    fn kick(&self, _: VcpuId) {
        self.keeper.machine().vcpu.signals.kick();
    }

    fn wait(&self, _: VcpuId, deadline_ns: Option<u64>) {
        self.keeper.machine().vcpu.wait(deadline_ns);
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

    fn ticks(&self) -> u64 {
        clock::ticks()
    }

    fn boottime_ns(&self) -> u64 {
        clock::boottime_ns()
    }

    fn realtime_ns(&self) -> u64 {
        clock::realtime_ns()
    }

    fn image_clock_ns(&self, clock: ImageClock) -> u64 {
        clock::image_clock_ns(clock)
    }

    fn clock_image(&self) -> Option<u64> {
        self.keeper.clock_image()
    }

    fn entropy(&self, buf: &mut [u8]) {
        clock::entropy(buf);
    }
}
