//! The kernel itself as the user of files: for what is below others (the layers of an overlay, the file of a loop device). Whoever
//! uses those was checked by what he sees of them.

use alloc::sync::Arc;

use crate::errno::{EFAULT, Result};
use crate::io::UserMemory;
use crate::sched::wait::WaitQueue;
use crate::task::cred::Cred;
use crate::task::session::Session;
use crate::task::siginfo::SigInfo;
use crate::vfs::caller::Caller;
use crate::vfs::file::{Op, OpenFile};

/// The kernel, with all capabilities and no limits.
pub struct KernelCaller {
    cred: Arc<Cred>,
    session: Arc<Session>,
}

impl Default for KernelCaller {
    fn default() -> KernelCaller {
        KernelCaller { cred: Arc::new(Cred::root()), session: Session::new(0) }
    }
}

impl KernelCaller {
    /// An operation on `file` by the kernel.
    pub fn op<'a>(&'a self, file: &'a OpenFile) -> Op<'a> {
        Op { file, caller: self }
    }
}

impl UserMemory for KernelCaller {
    fn read_bytes(&self, _: u64, _: &mut [u8]) -> Result<()> {
        Err(EFAULT)
    }

    fn write_bytes(&self, _: u64, _: &[u8]) -> Result<()> {
        Err(EFAULT)
    }
}

impl Caller for KernelCaller {
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
