//! The operations of `futex(2)` on futexes with an owner; the work is in [`crate::ipc::pi_futex`].

use core::sync::atomic::Ordering;

use crate::errno::{EAGAIN, EINVAL, ESRCH, ETIMEDOUT, Result};
use crate::host::Host;
use crate::ipc::pi_futex::{Attempt, Ended, PiWaiter, Requeued, Try, Who, Word};
use crate::mm::user::{FutexScope, User};
use crate::sched::wait::Events;
use crate::syscall::futex::key;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait};

/// A word of the caller's memory.
struct UserWord<'a, H: Host>(User<'a, H>, u64);

impl<H: Host> Word for UserWord<'_, H> {
    fn load(&self) -> Result<u32> {
        self.0.load_u32(self.1)
    }

    fn swap(&self, old: u32, new: u32) -> Result<bool> {
        Ok(self.0.compare_exchange_u32(self.1, old, new)?.is_ok())
    }
}

/// Where a futex is, and for whom.
pub(super) type Place = (u64, FutexScope);

fn sleep<H: Host>(cx: &Cx<'_, H>, waiter: &PiWaiter, deadline_ns: Option<u64>) -> Wait<()> {
    cx.wait_until(&[(&waiter.queue, Events::IN)], deadline_ns, || waiter.is_done().then_some(()))
}

/// Whether the thread that owns a futex is there: ESRCH. `false`: it is about to end, and the futex may be free soon.
fn is_alive<H: Host>(cx: &Cx<'_, H>, owner: Who) -> Result<bool> {
    let task = cx.thread_numbered(owner.tid).ok_or(ESRCH)?;
    Ok(!task.leaves_futexes.load(Ordering::SeqCst))
}

/// `FUTEX_LOCK_PI`, `FUTEX_LOCK_PI2`, `FUTEX_TRYLOCK_PI`.
pub(super) fn lock<H: Host>(
    cx: &Cx<'_, H>,
    (addr, scope): Place,
    attempt: Try,
    deadline_ns: Option<u64>,
) -> SysResult {
    let key = key(cx, addr, scope)?;
    let (table, word) = (&cx.kernel.ipc.pi_futexes, UserWord(cx.user(), addr));
    let waiter = loop {
        let (waiter, owner) = match table.lock(key, &word, cx.task.futex_owner(), attempt)? {
            Attempt::Locked => return Ok(0),
            Attempt::Waits(waiter, owner) => (waiter, owner),
        };
        // An owner that ends first says so and then looks for who waits: one of us sees the other.
        let is_alive = is_alive(cx, owner);
        if is_alive == Ok(true) || waiter.is_done() {
            break waiter;
        }
        if table.finish(&waiter, &word)? == Ended::Owner {
            return Ok(0);
        }
        is_alive?;
        if cx.signal_pending() {
            return Err(SysError::Restart(Restart::Always));
        }
        cx.yield_now();
    };
    let waited = sleep(cx, &waiter, deadline_ns);
    match (table.finish(&waiter, &word)?, waited) {
        (Ended::Owner, _) => Ok(0),
        (_, Wait::TimedOut) => Err(ETIMEDOUT.into()),
        _ => Err(SysError::Restart(Restart::Always)),
    }
}

/// `FUTEX_UNLOCK_PI`.
pub(super) fn unlock<H: Host>(cx: &Cx<'_, H>, (addr, scope): Place) -> SysResult {
    let key = key(cx, addr, scope)?;
    cx.kernel.ipc.pi_futexes.unlock(key, &UserWord(cx.user(), addr), cx.task.futex_owner())?;
    Ok(0)
}

/// `FUTEX_WAIT_REQUEUE_PI`.
pub(super) fn wait_requeue<H: Host>(
    cx: &Cx<'_, H>,
    (from, to): (u64, u64),
    scope: FutexScope,
    value: u32,
    deadline_ns: Option<u64>,
) -> SysResult {
    let (from_key, to_key) = (key(cx, from, scope)?, key(cx, to, scope)?);
    if from_key == to_key {
        return Err(EINVAL.into());
    }
    let table = &cx.kernel.ipc.pi_futexes;
    let word = UserWord(cx.user(), from);
    let waiter = table.wait_for_requeue((from_key, &word, value), to_key, cx.task.futex_owner())?;
    let waited = sleep(cx, &waiter, deadline_ns);
    match (table.finish(&waiter, &UserWord(cx.user(), to))?, waited) {
        (Ended::Owner, _) => Ok(0),
        (_, Wait::TimedOut) => Err(ETIMEDOUT.into()),
        (Ended::OfCondition, _) => Err(SysError::Restart(Restart::Always)),
        (Ended::OfLock, _) => Err(EAGAIN.into()),
    }
}

/// `FUTEX_CMP_REQUEUE_PI`.
pub(super) fn cmp_requeue<H: Host>(
    cx: &Cx<'_, H>,
    (from, to): (u64, u64),
    scope: FutexScope,
    (wake, requeue): (i32, i32),
    value: u32,
) -> SysResult {
    let most = usize::try_from(requeue).map_err(|_| EINVAL)?;
    let (from_key, to_key) = (key(cx, from, scope)?, key(cx, to, scope)?);
    if wake != 1 || from_key == to_key {
        return Err(EINVAL.into());
    }
    let (word, lock_word) = (UserWord(cx.user(), from), UserWord(cx.user(), to));
    let table = &cx.kernel.ipc.pi_futexes;
    let own = cx.task.futex_owner();
    // The number of an owner in another PID namespace says nothing here.
    let is_alive = |owner: Who| if owner.pid_ns == own.pid_ns { is_alive(cx, owner) } else { Ok(true) };
    let mut alive = None;
    loop {
        match table.requeue((from_key, &word, value), (to_key, &lock_word), most, alive)? {
            Requeued::Moved(count, owner) => {
                // An owner that ended before they waited for it did not see them.
                if let Some(owner) = owner
                    && is_alive(owner) != Ok(true)
                {
                    table.owner_died(owner);
                }
                let count = count?;
                // Who waits without a lock in mind cannot be made to wait for one.
                if count == 0 && cx.kernel.ipc.futexes.is_used(from_key) {
                    return Err(EINVAL.into());
                }
                return Ok(count as u64);
            }
            Requeued::Asks(owner) if is_alive(owner)? => alive = Some(owner),
            // It is about to end.
            Requeued::Asks(_) if cx.signal_pending() => return Err(SysError::Restart(Restart::Always)),
            Requeued::Asks(_) => cx.yield_now(),
        }
    }
}
