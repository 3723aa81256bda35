//! Tasks that somebody has an eye on: a seccomp filter. All others pay for that with a look at one word a call.

use core::sync::atomic::Ordering;

use crate::errno::ENOSYS;
use crate::host::Host;
use crate::syscall::Cx;
use crate::task::Task;
use crate::task::seccomp::Verdict;

bitflags::bitflags! {
    /// Why a task's calls are not simply made.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Watch: u8 {
        /// It has a filter, or is in strict mode.
        const SECCOMP = 1;
    }
}

/// What [`Task::call`] is when it makes none.
pub const NO_CALL: u64 = u64::MAX;

impl<H: Host> Task<H> {
    /// Why its calls are watched.
    pub(crate) fn watch(&self) -> Watch {
        Watch::from_bits_retain(self.watch.load(Ordering::Relaxed))
    }

    /// Sets or clears reasons.
    pub(crate) fn set_watch(&self, which: Watch, on: bool) {
        if on {
            self.watch.fetch_or(which.bits(), Ordering::Relaxed);
        } else {
            self.watch.fetch_and(!which.bits(), Ordering::Relaxed);
        }
    }

    /// The number of the call that a watched task is in, or [`NO_CALL`]; what debuggers know as `orig_rax`.
    pub(crate) fn call(&self) -> u64 {
        self.call.load(Ordering::Relaxed)
    }

    pub(crate) fn set_call(&self, number: u64) {
        self.call.store(number, Ordering::Relaxed);
    }
}

impl<H: Host> Cx<'_, H> {
    /// Serves a call of a watched task.
    pub(super) fn serve_watched_call(&self, watch: Watch) {
        {
            let regs = &mut self.context.borrow_mut().regs;
            self.task.set_call(regs.rax);
            regs.rax = i64::from(-ENOSYS.code()) as u64;
        }
        if watch.contains(Watch::SECCOMP)
            && let Verdict::Skipped = self.filter_call()
        {
            return;
        }
        let result = self.make_call(self.task.call());
        self.finish_call(self.task.call(), result);
    }
}
