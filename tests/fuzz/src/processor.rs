//! [`FakeHost`] that looks at what its processor is to load, and raises an exception where a guest jumps to bytes that are no
//! program of it.

use std::ops::Range;
use std::sync::Arc;

use kernel_core::host::fake::{FakeFiber, FakeHost, FakeSpace};
use kernel_core::host::{
    Access, Cpu, Exit, FiberBody, Frames, Host, HostError, Prot, Trap, UserContext, VcpuId,
};

/// Bits of the flags that a guest may have, and those that it always has.
const USER_FLAGS: u64 = 0x5_0dd5 | FIXED_FLAGS;
const FIXED_FLAGS: u64 = 0x202;

/// What is wrong with registers and vectors that a processor is to load.
fn complaint(context: &UserContext) -> Option<String> {
    let flags = context.regs.rflags;
    if flags & !USER_FLAGS != 0 || flags & FIXED_FLAGS != FIXED_FLAGS {
        return Some(format!("flags {flags:x}"));
    }
    context.fpu.read(|area, _| {
        let word = |at: usize| area[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (mxcsr, present) = (word(24) as u32, word(512));
        let reserved = area[520..576].iter().any(|byte| *byte != 0);
        let bad = mxcsr & !0xffff != 0 || present & !3 != 0 || reserved;
        bad.then(|| format!("mxcsr {mxcsr:x}, components {present:x}, reserved bytes: {reserved}"))
    })
}

/// See the module.
pub struct Processor(pub Arc<FakeHost>);

/// Whether there is something that could be executed: no instructions that a processor knows.
fn is_code(space: &FakeSpace, address: u64) -> bool {
    space.mapping(address).is_some_and(|(_, prot)| prot.contains(Prot::EXEC))
}

impl Host for Processor {
    type Space = FakeSpace;
    type Fiber = FakeFiber;

    fn ram(&self) -> Arc<dyn Frames> {
        self.0.ram()
    }

    fn new_space(&self, including: Range<u64>) -> Result<FakeSpace, HostError> {
        self.0.new_space(including)
    }

    fn run(&self, vcpu: VcpuId, space: &FakeSpace, context: &mut UserContext, deadline: Option<u64>) -> Exit {
        if let Some(complaint) = complaint(context) {
            panic!("a processor cannot load this, or a guest must not have it: {complaint}");
        }
        match self.0.run(vcpu, space, context, deadline) {
            Exit::Fault { addr, access: Access::Exec } if is_code(space, addr) => {
                Exit::Trap(Trap::GeneralProtection)
            }
            exit => exit,
        }
    }

    fn save_fpu(&self, _: &FakeSpace, _: &UserContext) {}

    fn fpu_size(&self) -> usize {
        self.0.fpu_size()
    }

    fn cpu(&self) -> Cpu {
        self.0.cpu()
    }

    fn kick(&self, vcpu: VcpuId) {
        self.0.kick(vcpu);
    }

    fn wait(&self, vcpu: VcpuId, deadline: Option<u64>) {
        self.0.wait(vcpu, deadline);
    }

    fn heap_bytes(&self) -> u64 {
        self.0.heap_bytes()
    }

    fn new_fiber(&self, body: FiberBody) -> Result<FakeFiber, HostError> {
        self.0.new_fiber(body)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }

    fn boottime_ns(&self) -> u64 {
        self.0.boottime_ns()
    }

    fn realtime_ns(&self) -> u64 {
        self.0.realtime_ns()
    }

    fn clock_image(&self) -> Option<u64> {
        None
    }

    fn entropy(&self, buf: &mut [u8]) {
        self.0.entropy(buf);
    }
}
