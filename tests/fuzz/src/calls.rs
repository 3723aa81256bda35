//! Any system calls, by any number of processes, on a host that fails: the simulation (`cargo xtask sim`), with choices that
//! come from the bytes.

use kernel_core::boot::{BootConfig, testing};
use kernel_core::host::VcpuId;
use kernel_core::kernel::Kernel;

use crate::machine::Machine;
use crate::random::Random;
use crate::{guest, invariants};

/// The bytes are the choices.
pub fn run(data: &[u8]) {
    // A step takes about ten choices.
    let steps = 60 + data.len().min(8192) as u64 / 4;
    let random = Random::of(data);
    let config = BootConfig {
        memory: random.pick(&[4, 8, 16]) << 20,
        ..testing::config(&guest::files(), guest::elf())
    };
    let machine = Machine::new(random, steps);
    let kernel = Kernel::boot(machine.clone(), config).expect("it boots");
    machine.watch(&kernel);
    kernel.run_vcpu(VcpuId(0));
    assert!(machine.calls() > 0, "PID 1 makes calls");
    if let Err(fault) = machine.fault().and_then(|()| invariants::at_the_end(kernel)) {
        panic!("{fault}");
    }
}
