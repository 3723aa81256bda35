//! All that the picture is made from: what the kernel says of its guests, through its debug view, beside what the host
//! says of the processes that hold them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use host_linux::backend::Backend;
use kernel_core::debug::inspect::{self, AddressSpace, Owner, ProcessInfo, RamInfo};
use kernel_core::kernel::Kernel;

use super::host::{self, HostMapping};

/// How often a picture of a moment is tried: guests that sleep do not change anything.
const TRIES: usize = 100;

/// An instance at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The host process that the kernel is.
    pub kernel: i32,
    /// Guest processes, by id.
    pub guests: Vec<Guest>,
    /// Guest RAM.
    pub ram: RamInfo,
    /// What is mapped in each host process that holds guests or the kernel.
    pub hosts: BTreeMap<i32, Vec<HostMapping>>,
}

/// A guest process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Who it is.
    pub process: ProcessInfo,
    /// What it has mapped, as the kernel sees it.
    pub space: AddressSpace,
    /// The host process that holds this.
    pub host: i32,
}

impl Guest {
    /// Its name.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.process.name).into_owned()
    }

    /// The parts of guest RAM that it has mapped and that are no file's.
    pub fn own_memory(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let parts = self.space.mappings.iter().flat_map(|mapping| &mapping.resident);
        parts.filter(|part| part.owner == Owner::Process).map(|part| {
            let len = part.range.end - part.range.start;
            part.phys.0..part.phys.0.saturating_add(len)
        })
    }
}

impl Facts {
    /// Looks at an instance that runs in this process.
    pub fn take<B: Backend>(kernel: &Arc<Kernel<B>>) -> Result<Facts> {
        for _ in 0..TRIES {
            let before = guests::<B>(kernel);
            let own = std::process::id().cast_signed();
            let mut hosts = BTreeMap::from([(own, host::read(own)?)]);
            for guest in &before {
                if let std::collections::btree_map::Entry::Vacant(entry) = hosts.entry(guest.host) {
                    entry.insert(host::read(guest.host)?);
                }
            }
            if guests::<B>(kernel) == before {
                return Ok(Facts { kernel: own, guests: before, ram: inspect::ram(kernel), hosts });
            }
        }
        bail!("the guests do not come to rest")
    }

    /// The file that guest RAM is: the one that the kernel has mapped from its first to its last byte.
    pub fn ram_file(&self) -> Result<&(String, u64)> {
        let mappings = self.hosts.get(&self.kernel).into_iter().flatten();
        let whole = |mapping: &&HostMapping| mapping.file_range() == (0..self.ram.size) && mapping.shared;
        mappings
            .filter(whole)
            .find_map(|mapping| mapping.file.as_ref())
            .context("the kernel has no RAM mapped")
    }
}

/// The guest processes that have memory.
fn guests<B: Backend>(kernel: &Arc<Kernel<B>>) -> Vec<Guest> {
    let guest = |process: ProcessInfo| {
        let space = inspect::address_space(kernel, process.pid)?;
        let host = inspect::with_space(kernel, process.pid, B::host_process)??;
        Some(Guest { process, space, host })
    };
    inspect::processes(kernel).into_iter().filter_map(guest).collect()
}
