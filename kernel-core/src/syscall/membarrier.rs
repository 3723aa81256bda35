//! `membarrier(2)`.
//!
//! A guest thread that is not running has passed a barrier when it went into the kernel, and passes another when it comes
//! back; both are also what a processor does after code was changed. So only those that run on other vCPUs at the moment
//! count: these vCPUs are kicked, and waited for until each has been out of the guest. With one vCPU there are none.

use core::sync::atomic::{Ordering, fence};

use crate::errno::{EINVAL, EPERM};
use crate::host::{Host, VcpuId};
use crate::syscall::{Cx, SysResult};

const QUERY: u32 = 0;
const GLOBAL: u32 = 1;
const GLOBAL_EXPEDITED: u32 = 2;
const REGISTER_GLOBAL_EXPEDITED: u32 = 4;
const PRIVATE_EXPEDITED: u32 = 8;
const REGISTER_PRIVATE_EXPEDITED: u32 = 16;
const PRIVATE_EXPEDITED_SYNC_CORE: u32 = 32;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 64;
const ALL: u32 = 127;

/// `membarrier(2)`, without restartable sequences.
pub fn membarrier<H: Host>(cx: &Cx<'_, H>, command: u32, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(EINVAL.into());
    }
    let registered = &cx.mm.membarrier;
    match command {
        QUERY => return Ok(ALL.into()),
        GLOBAL | GLOBAL_EXPEDITED => barrier(cx),
        REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => {
            registered.fetch_or(command, Ordering::Relaxed);
        }
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE => {
            // The command that registers for it is the next bit.
            if registered.load(Ordering::Relaxed) & command << 1 == 0 {
                return Err(EPERM.into());
            }
            barrier(cx);
        }
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}

/// Returns when every guest that runs now has been in the kernel.
fn barrier<H: Host>(cx: &Cx<'_, H>) {
    fence(Ordering::SeqCst);
    let own = cx.task.vcpu();
    for vcpu in (0..cx.kernel.vcpus()).map(VcpuId).filter(|vcpu| *vcpu != own) {
        let account = cx.kernel.account(vcpu);
        let stay = account.stay();
        while stay != 0 && account.stay() == stay && !cx.kernel.is_over() {
            cx.kernel.scheduler.interrupt(vcpu);
            cx.yield_now();
        }
    }
    fence(Ordering::SeqCst);
}
