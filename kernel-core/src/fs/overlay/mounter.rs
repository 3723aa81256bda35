//! Whoever mounted the overlay: layers are looked at and written to with its rights, whoever uses the overlay. The
//! layers above have checked what the user may do, by what the overlay shows.

use alloc::sync::Arc;

use crate::errno::{EFAULT, Result};
use crate::io::UserMemory;
use crate::sched::wait::WaitQueue;
use crate::task::cred::Cred;
use crate::task::session::Session;
use crate::task::siginfo::SigInfo;
use crate::vfs::caller::Caller;

/// The kernel itself, with all capabilities and no limits.
pub(super) struct Mounter {
    cred: Arc<Cred>,
    session: Arc<Session>,
}

impl Default for Mounter {
    fn default() -> Mounter {
        Mounter { cred: Arc::new(Cred::root()), session: Session::new(0) }
    }
}

impl UserMemory for Mounter {
    fn read_bytes(&self, _: u64, _: &mut [u8]) -> Result<()> {
        Err(EFAULT)
    }

    fn write_bytes(&self, _: u64, _: &[u8]) -> Result<()> {
        Err(EFAULT)
    }
}

impl Caller for Mounter {
    fn pid(&self) -> u32 {
        0
    }

    fn tid(&self) -> u32 {
        0
    }

    fn process_group(&self) -> u32 {
        0
    }

    fn session(&self) -> Arc<Session> {
        self.session.clone()
    }

    fn cred(&self) -> Arc<Cred> {
        self.cred.clone()
    }

    fn memory(&self) -> &dyn UserMemory {
        self
    }

    fn is_blocked_or_ignored(&self, _: u8) -> bool {
        true
    }

    fn rlimit(&self, _: u32) -> u64 {
        u64::MAX
    }

    fn take_signal(&self, _: u64) -> Option<SigInfo> {
        None
    }

    fn signal_queue(&self) -> Arc<WaitQueue> {
        Arc::default()
    }

    fn has_signal(&self, _: u64) -> bool {
        false
    }
}
