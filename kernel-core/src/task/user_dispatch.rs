//! `PR_SET_SYSCALL_USER_DISPATCH` (`prctl(2)`): calls that a thread makes from elsewhere than one range of its code become
//! SIGSYS, as long as a byte of its own memory says so. For programs that run those of another system.

use linux_raw_sys::general as sys;

use crate::errno::{EFAULT, EINVAL, Result};
use crate::host::{Host, Space};
use crate::syscall::Cx;
use crate::task::Task;
use crate::task::seccomp::ARCH;
use crate::task::siginfo::{Payload, SigInfo};
use crate::task::watched::Watch;

/// `si_code` of SIGSYS.
const SYS_USER_DISPATCH: i32 = 2;
/// What the byte says.
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

/// Which calls are left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserDispatch {
    /// Those from these addresses.
    pub offset: u64,
    /// How many addresses.
    pub len: u64,
    /// All, while the byte at this address says so; 0: there is none.
    pub selector: u64,
}

impl<H: Host> Task<H> {
    /// Dispatches its calls, or no longer does.
    pub(crate) fn set_user_dispatch(&self, dispatch: Option<UserDispatch>) {
        *self.user_dispatch.lock() = dispatch;
        self.set_watch(Watch::USER_DISPATCH, dispatch.is_some());
    }
}

impl<H: Host> Cx<'_, H> {
    /// Turns dispatch on for the calling thread: EINVAL for a range that is none, EFAULT.
    pub(crate) fn dispatch_calls(&self, dispatch: UserDispatch) -> Result<()> {
        let UserDispatch { offset, len, selector } = dispatch;
        if offset != 0 && offset.wrapping_add(len) <= offset {
            return Err(EINVAL);
        }
        if selector >= self.mm.space().limits().end {
            return Err(EFAULT);
        }
        self.task.set_user_dispatch(Some(dispatch));
        Ok(())
    }

    /// Whether the call that the task is about to make is not made, as it became a signal.
    pub(crate) fn becomes_signal(&self) -> bool {
        let Some(UserDispatch { offset, len, selector }) = *self.task.user_dispatch.lock() else {
            return false;
        };
        let regs = self.context.borrow().regs;
        if regs.rip.wrapping_sub(offset) < len {
            return false;
        }
        if selector != 0 {
            match self.user().get::<u8>(selector) {
                Ok(ALLOW) => return false,
                Ok(BLOCK) => {}
                Ok(_) => {
                    self.task.force_default(SigInfo::kernel(sys::SIGSYS as u8));
                    return true;
                }
                Err(_) => {
                    self.task.force_default(SigInfo::kernel(sys::SIGSEGV as u8));
                    return true;
                }
            }
        }
        self.task.force(SigInfo {
            signal: sys::SIGSYS as u8,
            errno: 0,
            code: SYS_USER_DISPATCH,
            payload: Payload::Syscall { addr: regs.rip, nr: regs.rax as i32, arch: ARCH },
        });
        true
    }
}
