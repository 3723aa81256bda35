//! One instance on a [`Machine`], from its boot to its end.

use kernel_core::boot::{BootConfig, testing};
use kernel_core::host::VcpuId;
use kernel_core::kernel::{Kernel, TraceSink};

use crate::machine::Machine;
use crate::random::Random;
use crate::{guest, invariants};

/// Runs an instance for so many steps of its guests, with one of these amounts of RAM, in MiB. Says how many calls they made,
/// or what was wrong.
pub fn run(random: Random, mebibytes: &[u64], steps: u64, trace: Option<TraceSink>) -> Result<u64, String> {
    let memory = random.pick(mebibytes) << 20;
    let config = BootConfig { memory, trace, ..testing::config(&guest::files(), guest::elf()) };
    let machine = Machine::new(random, steps);
    let kernel = Kernel::boot(machine.clone(), config).map_err(|error| format!("no boot: {error:?}"))?;
    machine.watch(&kernel);
    kernel.run_vcpu(VcpuId(0));
    let calls = machine.calls();
    machine.fault()?;
    invariants::at_the_end(kernel)?;
    Ok(calls)
}
