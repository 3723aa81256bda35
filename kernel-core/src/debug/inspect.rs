//! What a debugger or a monitor sees of a running instance: its processes, their address spaces, guest RAM.
//!
//! The answers are plain copies. They are made on any thread while guests run, under the kernel's own locks in their
//! order, one process at a time. So two answers may be of different moments: who needs a picture of the whole asks twice
//! and compares. No answer is larger than the kernel's own limits of processes and of mappings.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::fs::proc::source::TaskView;
use crate::host::{Host, Prot, Space};
use crate::kernel::Kernel;
use crate::mm::info::MapInfo;
pub use crate::mm::info::{Owner, Resident, What};
use crate::task::view::View;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// Its parent's process id; 0 for PID 1.
    pub parent: u32,
    /// Effective user id.
    pub uid: u32,
    /// Name, at most 15 bytes.
    pub name: Vec<u8>,
    /// `R` (runs or could), `S` (sleeps), `T` (stopped) or `Z` (ended, not waited for), of its first thread.
    pub state: u8,
    /// Ids of its threads; none of a zombie.
    pub threads: Vec<u32>,
}

/// A guest address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    /// Differs from that of every other address space that ever was: processes that share one show the same.
    pub id: u64,
    /// The addresses that may be mapped.
    pub limits: Range<u64>,
    /// Its mappings, by address.
    pub mappings: Vec<Mapping>,
    /// The host could not make a change of it: more may be mapped than is said here, and its process ends before it runs again.
    pub is_dead: bool,
}

/// A mapping of an address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Addresses.
    pub range: Range<u64>,
    /// Accesses allowed.
    pub prot: Prot,
    /// Stores go to the file, or to relatives, rather than to a copy of its own.
    pub shared: bool,
    /// What is mapped.
    pub what: What,
    /// As `/proc/PID/maps` shows it: a path, a label in brackets, or empty.
    pub name: Vec<u8>,
    /// Offset in the file; 0 without one.
    pub offset: u64,
    /// What of it is in RAM, by address.
    pub resident: Vec<Resident>,
}

/// Guest RAM. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamInfo {
    /// Offsets, far more than memory.
    pub size: u64,
    /// How much may be in use.
    pub total: u64,
    /// How much is in use.
    pub used: u64,
}

/// All processes, by id.
pub fn processes<H: Host>(kernel: &Arc<Kernel<H>>) -> Vec<ProcessInfo> {
    let pids: Vec<u32> = kernel.tree.lock().nodes().map(|node| node.process.pid).collect();
    pids.into_iter().filter_map(|pid| process(kernel, pid)).collect()
}

/// A process, unless it is gone.
pub fn process<H: Host>(kernel: &Arc<Kernel<H>>, pid: u32) -> Option<ProcessInfo> {
    let view = View::of(kernel.clone(), pid)?;
    let stat = view.stat();
    Some(ProcessInfo {
        pid: stat.pid,
        parent: stat.ppid,
        uid: view.cred().euid,
        name: stat.comm,
        state: stat.state,
        threads: view.thread_ids(),
    })
}

/// The address space of a process; `None` if it is gone or a zombie.
pub fn address_space<H: Host>(kernel: &Arc<Kernel<H>>, pid: u32) -> Option<AddressSpace> {
    let resources = View::of(kernel.clone(), pid)?.resources()?;
    let root = resources.fs.root();
    let mapping = |(info, resident): (MapInfo, Vec<Resident>)| Mapping {
        name: info.name(Some(&root)),
        shared: info.shared(),
        range: info.range,
        prot: info.prot,
        what: info.what,
        offset: info.offset,
        resident,
    };
    Some(AddressSpace {
        id: resources.mm.id(),
        limits: resources.mm.space().limits(),
        mappings: resources.mm.resident_maps().into_iter().map(mapping).collect(),
        is_dead: resources.mm.is_dead(),
    })
}

/// Lets `look` see the host's side of a process's address space; `None` if the process is gone or a zombie.
pub fn with_space<H: Host, R>(
    kernel: &Arc<Kernel<H>>,
    pid: u32,
    look: impl FnOnce(&H::Space) -> R,
) -> Option<R> {
    let resources = View::of(kernel.clone(), pid)?.resources()?;
    Some(look(resources.mm.space()))
}

/// Guest RAM.
pub fn ram<H: Host>(kernel: &Arc<Kernel<H>>) -> RamInfo {
    let ram = &kernel.services.ram;
    RamInfo { size: ram.frames.size(), total: ram.total(), used: ram.total().saturating_sub(ram.free()) }
}
