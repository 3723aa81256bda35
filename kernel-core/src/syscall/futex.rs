//! `futex(2)` and what the end of a task does about futexes (robust lists, `CLONE_CHILD_CLEARTID`).

use linux_raw_sys::general as sys;

use crate::errno::{EAGAIN, EFAULT, EINVAL, ENOSYS, ETIMEDOUT, Result};
use crate::host::Host;
use crate::ipc::futex::ANY;
use crate::ipc::pi_futex::Try;
use crate::mm::user::{FutexKey, FutexScope};
use crate::sched::wait::Events;
use crate::syscall::deadline;
use crate::syscall::{Args, Cx, Restart, SysError, SysResult, Wait, futex_pi};

/// Entries of a robust list that are looked at (`ROBUST_LIST_LIMIT`): a guest may have made it a ring.
const ROBUST_LIST_LIMIT: usize = 2048;

/// Which futex, and when to stop waiting for it.
#[derive(Clone, Copy)]
struct WaitFor {
    addr: u64,
    value: u32,
    bitset: u32,
    scope: FutexScope,
    deadline_ns: Option<u64>,
    after_signal: AfterSignal,
}

/// How a wait that a signal ended goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterSignal {
    /// As it was called: it has no time limit, or an absolute one.
    CallAgain,
    /// With what is left of its time.
    KeepDeadline,
}

/// `futex(2)`.
pub fn futex<H: Host>(cx: &Cx<'_, H>, args: &Args) -> SysResult {
    let (addr, op, value) = (args.ptr(0), args.uint(1), args.uint(2));
    let command = op & !(sys::FUTEX_PRIVATE_FLAG | sys::FUTEX_CLOCK_REALTIME);
    let scope = if op & sys::FUTEX_PRIVATE_FLAG != 0 { FutexScope::Private } else { FutexScope::Shared };
    let waits = matches!(
        command,
        sys::FUTEX_WAIT | sys::FUTEX_WAIT_BITSET | sys::FUTEX_WAIT_REQUEUE_PI | sys::FUTEX_LOCK_PI2
    );
    let realtime = op & sys::FUTEX_CLOCK_REALTIME != 0;
    if realtime && !waits {
        return Err(ENOSYS.into());
    }
    // The fourth argument is a number for those that do not wait.
    let (count, count_2) = (value as i32, args.int(3));
    match command {
        sys::FUTEX_WAIT | sys::FUTEX_WAIT_BITSET => {
            let absolute = command == sys::FUTEX_WAIT_BITSET;
            let deadline_ns = match absolute {
                true => deadline::absolute(cx, args.ptr(3), realtime)?,
                false => deadline::relative(cx, args.ptr(3))?,
            };
            let after_signal = match deadline_ns {
                Some(_) if !absolute => AfterSignal::KeepDeadline,
                _ => AfterSignal::CallAgain,
            };
            let bitset = if absolute { args.uint(5) } else { ANY };
            wait(cx, WaitFor { addr, value, bitset, scope, deadline_ns, after_signal })
        }
        sys::FUTEX_WAKE => wake(cx, addr, scope, ANY, count),
        sys::FUTEX_WAKE_BITSET => wake(cx, addr, scope, args.uint(5), count),
        sys::FUTEX_REQUEUE => requeue(cx, (addr, args.ptr(4)), scope, (count, count_2), None),
        sys::FUTEX_CMP_REQUEUE => {
            requeue(cx, (addr, args.ptr(4)), scope, (count, count_2), Some(args.uint(5)))
        }
        sys::FUTEX_WAKE_OP => wake_op(cx, (addr, args.ptr(4)), scope, (count, count_2), args.uint(5)),
        sys::FUTEX_LOCK_PI | sys::FUTEX_LOCK_PI2 => {
            let realtime = realtime || command == sys::FUTEX_LOCK_PI;
            let deadline_ns = deadline::absolute(cx, args.ptr(3), realtime)?;
            futex_pi::lock(cx, (addr, scope), Try::Wait, deadline_ns)
        }
        sys::FUTEX_TRYLOCK_PI => futex_pi::lock(cx, (addr, scope), Try::Once, None),
        sys::FUTEX_UNLOCK_PI => futex_pi::unlock(cx, (addr, scope)),
        sys::FUTEX_WAIT_REQUEUE_PI => {
            let deadline_ns = deadline::absolute(cx, args.ptr(3), realtime)?;
            futex_pi::wait_requeue(cx, (addr, args.ptr(4)), scope, value, deadline_ns)
        }
        sys::FUTEX_CMP_REQUEUE_PI => {
            futex_pi::cmp_requeue(cx, (addr, args.ptr(4)), scope, (count, count_2), args.uint(5))
        }
        _ => Err(ENOSYS.into()),
    }
}

/// Linux wakes one even if asked for none or a negative number, as it tests after counting.
fn limit(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0).max(1)
}

pub(super) fn key<H: Host>(cx: &Cx<'_, H>, addr: u64, scope: FutexScope) -> Result<FutexKey> {
    if !addr.is_multiple_of(4) {
        return Err(EINVAL);
    }
    cx.user().futex_key(addr, scope)
}

fn wait<H: Host>(cx: &Cx<'_, H>, what: WaitFor) -> SysResult {
    if what.bitset == 0 {
        return Err(EINVAL.into());
    }
    let key = key(cx, what.addr, what.scope)?;
    let table = &cx.kernel.ipc.futexes;
    let waiter = table.wait(key, what.bitset, || Ok(cx.user().load_u32(what.addr)? == what.value))?;
    let waited =
        cx.wait_until(&[(&waiter.queue, Events::IN)], what.deadline_ns, || waiter.is_woken().then_some(()));
    // Whoever was woken must not pass that over: the waker will not wake another.
    if table.finish(&waiter) {
        return Ok(0);
    }
    match waited {
        Wait::Ready(()) => Ok(0),
        Wait::TimedOut => Err(ETIMEDOUT.into()),
        Wait::Interrupted => Err(match what.after_signal {
            AfterSignal::CallAgain => SysError::Restart(Restart::WithFlag),
            AfterSignal::KeepDeadline => cx.restart_with(move |cx| wait(cx, what)),
        }),
    }
}

fn wake<H: Host>(cx: &Cx<'_, H>, addr: u64, scope: FutexScope, bitset: u32, count: i32) -> SysResult {
    if bitset == 0 {
        return Err(EINVAL.into());
    }
    let key = key(cx, addr, scope)?;
    if cx.kernel.ipc.pi_futexes.is_used(key) {
        return Err(EINVAL.into());
    }
    Ok(cx.kernel.ipc.futexes.wake(key, bitset, limit(count)) as u64)
}

fn requeue<H: Host>(
    cx: &Cx<'_, H>,
    (from, to): (u64, u64),
    scope: FutexScope,
    (wake, requeue): (i32, i32),
    expected: Option<u32>,
) -> SysResult {
    let (Ok(wake), Ok(requeue)) = (usize::try_from(wake), usize::try_from(requeue)) else {
        return Err(EINVAL.into());
    };
    let (from_key, to_key) = (key(cx, from, scope)?, key(cx, to, scope)?);
    let holds = || match expected {
        Some(value) if cx.user().load_u32(from)? != value => Ok(false),
        _ if cx.kernel.ipc.pi_futexes.is_used(from_key) => Err(EINVAL),
        _ => Ok(true),
    };
    let (woken, moved) = cx.kernel.ipc.futexes.requeue(from_key, to_key, wake, requeue, holds)?;
    Ok((woken + moved) as u64)
}

/// `FUTEX_WAKE_OP`: `encoded` says how the second word changes and what its old value must be.
fn wake_op<H: Host>(
    cx: &Cx<'_, H>,
    (first, second): (u64, u64),
    scope: FutexScope,
    (wake, wake_second): (i32, i32),
    encoded: u32,
) -> SysResult {
    let (first_key, second_key) = (key(cx, first, scope)?, key(cx, second, scope)?);
    let change = WordChange::decode(encoded)?;
    let woken =
        cx.kernel.ipc.futexes.wake_op(first_key, second_key, limit(wake), limit(wake_second), || {
            change.compare(cx.user().update_u32(second, |old| Some(change.apply(old)))?)
        })?;
    Ok(woken as u64)
}

/// The last argument of `FUTEX_WAKE_OP`: operation, comparison and two signed numbers of 12 bits.
struct WordChange {
    op: u32,
    compare: u32,
    operand: i32,
    compared: i32,
}

impl WordChange {
    /// ENOSYS for an unknown operation.
    fn decode(encoded: u32) -> Result<WordChange> {
        let op = encoded >> 28 & 7;
        let mut operand = (encoded << 8) as i32 >> 20;
        if encoded >> 31 != 0 {
            operand = 1i32.wrapping_shl(operand as u32);
        }
        if op > sys::FUTEX_OP_XOR {
            return Err(ENOSYS);
        }
        Ok(WordChange { op, compare: encoded >> 24 & 15, operand, compared: (encoded << 20) as i32 >> 20 })
    }

    fn apply(&self, old: u32) -> u32 {
        let operand = self.operand as u32;
        match self.op {
            sys::FUTEX_OP_SET => operand,
            sys::FUTEX_OP_ADD => old.wrapping_add(operand),
            sys::FUTEX_OP_OR => old | operand,
            sys::FUTEX_OP_ANDN => old & !operand,
            _ => old ^ operand,
        }
    }

    fn compare(&self, old: u32) -> Result<bool> {
        let old = old as i32;
        Ok(match self.compare {
            sys::FUTEX_OP_CMP_EQ => old == self.compared,
            sys::FUTEX_OP_CMP_NE => old != self.compared,
            sys::FUTEX_OP_CMP_LT => old < self.compared,
            sys::FUTEX_OP_CMP_LE => old <= self.compared,
            sys::FUTEX_OP_CMP_GT => old > self.compared,
            sys::FUTEX_OP_CMP_GE => old >= self.compared,
            _ => return Err(ENOSYS),
        })
    }
}

/// Wakes up to `count` waiters of the futex at `addr`, as the kernel does for `CLONE_CHILD_CLEARTID`.
pub fn wake_at<H: Host>(cx: &Cx<'_, H>, addr: u64, count: usize) {
    for scope in [FutexScope::Private, FutexScope::Shared] {
        // The C library waits for the end of a thread by a shared futex, other libraries by a private one.
        if let Ok(key) = key(cx, addr, scope) {
            cx.kernel.ipc.futexes.wake(key, ANY, count);
        }
    }
}

/// Marks the robust futexes that the task holds as dead, and wakes a waiter of each. Everything in the list is the
/// guest's: it may lead nowhere, or round and round.
pub fn exit_robust_list<H: Host>(cx: &Cx<'_, H>, head: u64) {
    // A list that cannot be read on ends there.
    let _ = walk_robust_list(cx, head);
}

fn walk_robust_list<H: Host>(cx: &Cx<'_, H>, head: u64) -> Result<()> {
    if head == 0 {
        return Ok(());
    }
    // struct robust_list_head { list *next; long futex_offset; list *list_op_pending; }
    let [first, offset, pending] = cx.user().get::<[u64; 3]>(head)?;
    // The lowest bit says that it is a futex with priority inheritance.
    let (mut entry, pending_entry) = (first & !1, pending & !1);
    let mut has_owner = first & 1 != 0;
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry == head {
            break;
        }
        let next = cx.user().get::<u64>(entry);
        // The pending one comes last: it may have been unlocked and be no longer in the list.
        if entry != pending_entry {
            mark_dead(cx, entry.wrapping_add(offset), Unlocking::No, has_owner)?;
        }
        let next = next?;
        (entry, has_owner) = (next & !1, next & 1 != 0);
    }
    if pending_entry != 0 {
        mark_dead(cx, pending_entry.wrapping_add(offset), Unlocking::Perhaps, pending & 1 != 0)?;
    }
    Ok(())
}

/// Whether the task may have been about to unlock the futex.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unlocking {
    No,
    Perhaps,
}

/// Of a futex with an owner, its first waiter hears elsewhere ([`PiFutexes::owner_died`]).
///
/// [`PiFutexes::owner_died`]: crate::ipc::pi_futex::PiFutexes::owner_died
fn mark_dead<H: Host>(cx: &Cx<'_, H>, addr: u64, unlocking: Unlocking, has_owner: bool) -> Result<()> {
    if !addr.is_multiple_of(4) {
        return Err(EFAULT);
    }
    let is_own = |word: u32| word & sys::FUTEX_TID_MASK == cx.task.own_tid();
    let dead = |word: u32| is_own(word).then_some(word & sys::FUTEX_WAITERS | sys::FUTEX_OWNER_DIED);
    let word = match cx.user().update_u32(addr, dead) {
        Err(EAGAIN) => return Ok(()),
        word => word?,
    };
    let is_waited_for = is_own(word) && word & sys::FUTEX_WAITERS != 0;
    // Unlocked, but nobody was told: the waiter it was meant for would sleep on.
    let is_unlocked = unlocking == Unlocking::Perhaps && word == 0;
    if (is_waited_for || is_unlocked) && !has_owner {
        wake_at(cx, addr, 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_changes_are_decoded_with_their_signs() {
        // FUTEX_OP(ADD, -1, CMP_GT, -2)
        let change = WordChange::decode(1 << 28 | 4 << 24 | 0xfff << 12 | 0xffe).unwrap();
        assert_eq!(change.apply(1), 0);
        assert_eq!((change.compare(-1i32 as u32), change.compare(-2i32 as u32)), (Ok(true), Ok(false)));
        // FUTEX_OP(OR | OPARG_SHIFT, 4, CMP_EQ, 0)
        let change = WordChange::decode((2 | 8) << 28 | 4 << 12).unwrap();
        assert_eq!(change.apply(1), 17);
        assert_eq!(WordChange::decode(5 << 28).err(), Some(ENOSYS));
    }
}
