//! The mapper: it makes changes of a stub's mappings when the kernel asks for them. That they are made is told by a counter
//! that no guest thread can write to.

use std::sync::atomic::Ordering;

use host_linux::host::Machine;
use host_linux::trap::Lost;
use kernel_core::host::Phys;
use nix::errno::Errno;

use crate::layout;
use crate::seccomp::constants::Done;
use crate::seccomp::filtered::Filtered;
use crate::seccomp::futex;
use crate::stub::Failure;

impl Filtered {
    /// Has the mapper make the changes in the first `bytes` of its requests.
    pub fn change(&mut self, machine: &Machine, bytes: u64) -> Result<(), Failure> {
        self.adopt(machine)?;
        let (requests, page) = (&self.seccomp.requests, layout::request_page(self.slot));
        requests.store_words(Phys(page.0 + 8), [bytes]);
        self.request = self.request.wrapping_add(1);
        let newest = requests.atomic_u32(page);
        newest.store(self.request, Ordering::SeqCst);
        futex::wake(newest);
        loop {
            match self.seccomp.done.read().map(Done::of) {
                Ok(Done::Changes(0)) => return Ok(()),
                Ok(Done::Changes(errno)) => return Err(Failure::Change(Errno::from_raw(errno))),
                // It may be another's, or that of one that was done before.
                Ok(Done::Death) if self.mortal.is_dead() => return Err(Failure::Stub(Lost::Reaped)),
                Ok(Done::Death) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
