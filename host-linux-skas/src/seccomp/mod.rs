//! Stubs whose guest threads are trapped by a filter of system calls: `seccomp(2)`, SECCOMP_RET_TRAP.
//!
//! A guest thread runs at full speed until it makes a system call or faults. The host turns that into a signal, whose frame
//! it writes to memory that the kernel sees; the handler posts to the kernel and sleeps until it may go on.
//!
//! What keeps a guest from the host and from other guests, although the code of the stub is in its reach:
//!
//! 1. Its thread's filter allows it to wait, to wake the kernel, and to load registers, and nothing else ([`filter`]).
//! 2. Memory is mapped by another thread, the mapper, which the guest cannot influence: no stack, all it needs in registers
//!    or in pages that the guest cannot write. That a change is made is told by a counter that the guest cannot reach.
//! 3. What is in the stub's data is taken for the guest's registers and no more. A guest that forges it forges its own
//!    registers. So a thread that claims to have stopped may still run: nothing is taken from a space, and given to another,
//!    before the mapper has said that it is gone, or the thread is proven to sleep (`handoff.rs`).
//! 4. The frame from which a thread goes on is written by the kernel, at a place that the stub's code has from a page which
//!    the guest cannot write. It sets all of the thread's state, so that a proven sleeper can serve another guest.
//!
//! The files, from what the host uses to what runs in a stub:
//!
//! * [`Filtered`]: a stub, and what its guest thread stops with; [`handoff`]: how it goes and stops, by [`turns`]; [`pace`]:
//!   on which processor; [`mapper`]: how mappings are changed.
//! * [`frame`]: the signal's frame; [`data`]: what else a stub shares with the kernel; [`sites`]: calls without a signal.
//! * [`deaths`]: stubs that die by themselves; [`overdue`]: guests that cannot be interrupted.
//! * [`code`]: what runs in a stub; [`constants`]: what that looks up; [`filter`]: the boundary.

pub mod code;
pub mod constants;
mod data;
mod deaths;
mod filter;
mod filtered;
mod frame;
mod futex;
mod handoff;
mod mapper;
mod overdue;
mod pace;
pub mod sites;
mod turns;

use std::io;
use std::sync::{Arc, OnceLock};

use host_linux::ram::{Ram, RamFile};
use host_linux::vcpu::Vcpu;
use host_linux::watcher::Watcher;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::layout;
use crate::seccomp::deaths::Deaths;
use crate::seccomp::frame::Frame;
use crate::seccomp::overdue::Overdue;
use crate::seccomp::sites::Sites;

pub use crate::seccomp::filtered::Filtered;

/// What stubs inherit for this trap.
pub struct Files {
    /// The file of data.
    pub data: RamFile,
    /// The counter of what mappers have done. It is not among the descriptors that a guest thread may use.
    pub done: EventFd,
}

impl Files {
    /// New ones.
    pub fn new() -> io::Result<Files> {
        allow_descriptors();
        let data = RamFile::new(c"lodger-data", layout::DATA_FILE)?;
        Ok(Files { data, done: EventFd::from_flags(EfdFlags::EFD_CLOEXEC)? })
    }
}

/// Raises this process's limit of descriptors as far as it may: each stub takes one, by which its death is noticed, and the
/// usual limit is for programs that have few.
fn allow_descriptors() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With the limit as it is, there can be fewer guest processes.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// What all stubs of a host share.
pub struct Seccomp {
    requests: Arc<Ram>,
    data: Arc<Ram>,
    done: Arc<EventFd>,
    deaths: Arc<Deaths>,
    _overdue: Overdue,
    frame: OnceLock<Frame>,
    sites: Sites,
    /// Whether call sites are rewritten.
    patch: bool,
}

impl Seccomp {
    /// Before the first stub is used. `requests` is the file of requests, `vcpu` who runs guests.
    pub fn new(
        files: Files,
        requests: Arc<Ram>,
        vcpu: &Vcpu,
        watcher: &Watcher,
        patch: bool,
    ) -> io::Result<Seccomp> {
        let (data, done) = (Arc::new(files.data.map()?), Arc::new(files.done));
        let deaths = Arc::new(Deaths::new(watcher, data.clone(), done.clone())?);
        let sites = Sites::new(requests.clone());
        let overdue = Overdue::watch(watcher, &vcpu.signals, deaths.clone())?;
        Ok(Seccomp { requests, data, done, deaths, _overdue: overdue, frame: OnceLock::new(), sites, patch })
    }

    /// The call sites that were rewritten.
    pub fn sites(&self) -> &Sites {
        &self.sites
    }
}
