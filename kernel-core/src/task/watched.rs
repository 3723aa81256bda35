//! Tasks that somebody has an eye on: a seccomp filter, a tracer. All others pay for that with a look at one word a call.

use core::sync::atomic::Ordering;

use crate::errno::ENOSYS;
use crate::host::Host;
use crate::syscall::{Cx, SysError};
use crate::task::Task;
use crate::task::seccomp::{Asked, Verdict};
use crate::task::siginfo::SigInfo;
use crate::task::trace::stop::restart_code;
use crate::task::trace::{AT_ENTRY, AT_EXIT, SIGTRAP};

bitflags::bitflags! {
    /// Why a task's calls are not simply made.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Watch: u8 {
        /// It has a filter, or is in strict mode.
        const SECCOMP = 1;
        /// Somebody traces it.
        const TRACED = 2;
        /// It stops before and after each call.
        const CALLS = 4;
        /// It stops before each call, which is then not made.
        const EMULATE = 8;
        /// It stops after each instruction.
        const STEP = 16;
        /// Its calls may become signals.
        const USER_DISPATCH = 32;
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
        // Before the tracer and the filters, which are not told then.
        if watch.contains(Watch::USER_DISPATCH) && self.becomes_signal() {
            return;
        }
        {
            let regs = &mut self.context.borrow_mut().regs;
            self.task.set_call(regs.rax);
            regs.rax = i64::from(-ENOSYS.code()) as u64;
        }
        if self.may_make_call(watch) {
            self.make_watched_call();
        }
        if !self.task.is_leaving() {
            self.after_watched_call();
        }
    }

    /// Shows the call to the tracer, then to the filters, which see what the tracer made of it.
    fn may_make_call(&self, watch: Watch) -> bool {
        if watch.intersects(Watch::CALLS | Watch::EMULATE) {
            self.stop_at_call(AT_ENTRY);
            if watch.contains(Watch::EMULATE) || self.task.is_leaving() {
                return false;
            }
        }
        if watch.contains(Watch::SECCOMP)
            && let Verdict::Skipped = self.filter_call(Asked::First)
        {
            return false;
        }
        // A tracer skips a call by the number -1.
        self.task.call() as u32 != u32::MAX
    }

    fn make_watched_call(&self) {
        // As Linux, which takes 32 bits of what may be more.
        let number = u64::from(self.task.call() as u32);
        let value = match self.make_call(number) {
            Ok(value) => value,
            Err(SysError::Errno(errno)) => i64::from(-errno.code()) as u64,
            Err(SysError::Restart(restart)) => restart_code(restart) as u64,
        };
        self.context.borrow_mut().regs.rax = value;
        if number == u64::from(linux_raw_sys::general::__NR_rt_sigreturn) {
            self.task.set_call(NO_CALL);
        }
    }

    fn after_watched_call(&self) {
        let watch = self.task.watch();
        if watch.contains(Watch::STEP) && !watch.contains(Watch::EMULATE) {
            // The processor makes no step of a call.
            let rip = self.context.borrow().regs.rip;
            self.end_step();
            self.task.force(SigInfo::fault(SIGTRAP, linux_raw_sys::general::TRAP_BRKPT as i32, rip));
        } else if watch.contains(Watch::CALLS) {
            self.stop_at_call(AT_EXIT);
        }
        if let Some(interrupted) = self.interrupted_call() {
            self.deliver_signals(Some(interrupted));
        }
    }
}
