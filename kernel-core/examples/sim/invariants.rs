//! What must be true whatever guests do.

use std::sync::{Arc, Weak};

use kernel_core::debug::inspect;
use kernel_core::host::fake::FakeSpace;
use kernel_core::host::{Host, Phys, Prot, Space};
use kernel_core::kernel::Kernel;

const PAGE: u64 = 4096;

/// Between two exits of guests.
pub fn now<H: Host<Space = FakeSpace>>(kernel: &Arc<Kernel<H>>) -> Result<(), String> {
    let ram = inspect::ram(kernel);
    if ram.used > ram.total {
        return Err(format!("{} bytes of RAM are in use, of {}", ram.used, ram.total));
    }
    let processes = inspect::processes(kernel);
    for process in &processes {
        if process.pid != 1
            && process.parent != 0
            && !processes.iter().any(|other| other.pid == process.parent)
        {
            return Err(format!(
                "process {} has the parent {}, which is not there",
                process.pid, process.parent
            ));
        }
        mapped_is_its_own(kernel, process.pid)?;
    }
    Ok(())
}

/// Nothing is mapped on the host's side but what the kernel thinks is there, with no more accesses than it allows; or, where the
/// host could not make a change, pages that are still held.
fn mapped_is_its_own<H: Host<Space = FakeSpace>>(kernel: &Arc<Kernel<H>>, pid: u32) -> Result<(), String> {
    let Some(space) = inspect::address_space(kernel, pid) else { return Ok(()) };
    let ram = &kernel.services.ram;
    let wrong = inspect::with_space(kernel, pid, |host| {
        host.pages().into_iter().find_map(|(address, phys, prot)| {
            let mapping = space.mappings.iter().find(|mapping| mapping.range.contains(&address));
            // What can be written or executed can be read, as the processor has it.
            let allowed = mapping.is_some_and(|mapping| (mapping.prot | Prot::READ).contains(prot));
            let resident = mapping.and_then(|mapping| {
                let resident = mapping.resident.iter().find(|resident| resident.range.contains(&address))?;
                Some(Phys(resident.phys.0 + (address - resident.range.start)))
            });
            let known =
                allowed && resident == Some(phys) || space.is_dead && !ram.holders(phys, PAGE).is_empty();
            let right = known && host.limits().contains(&address);
            (!right).then(|| {
                format!(
                    "process {pid} has {phys:x?} ({prot:?}) at {address:x}; the kernel knows {resident:x?}"
                )
            })
        })
    });
    wrong.flatten().map_or(Ok(()), Err)
}

/// When the instance is over: nothing is left of it.
pub fn at_the_end<H: Host>(kernel: Arc<Kernel<H>>) -> Result<(), String> {
    let ram = kernel.services.ram.clone();
    let left: Vec<u32> =
        inspect::processes(&kernel).into_iter().map(|process| process.pid).filter(|pid| *pid != 1).collect();
    if !left.is_empty() {
        return Err(format!("processes are left: {left:?}"));
    }
    let weak: Weak<Kernel<H>> = Arc::downgrade(&kernel);
    // Whatever tells times has it.
    let clock = Arc::downgrade(&kernel.services.clock);
    drop(kernel);
    if weak.strong_count() != 0 {
        return Err("somebody still has the kernel".into());
    }
    if clock.strong_count() != 0 {
        return Err("somebody still has the clock".into());
    }
    match ram.total() - ram.free() {
        0 => Ok(()),
        left => Err(format!("{} pages of RAM are still held", left / PAGE)),
    }
}
