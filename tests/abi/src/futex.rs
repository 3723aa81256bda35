//! futex(2): waiting and waking by address.

use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use libc::{c_int, c_long, timespec};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    wait_compares,
    wake_without_waiters,
    wake_reaches_another_process,
    wake_counts,
    private_is_not_shared,
    private_after_fork_is_apart,
    two_mappings_are_one_futex,
    relative_timeout,
    absolute_timeout,
    timeout_is_checked,
    address_is_checked,
    bitset_selects,
    bitset_zero_is_refused,
    requeue_moves_waiters,
    cmp_requeue_compares,
    wake_op_changes_and_wakes,
    unknown_operation,
    interrupted_without_restart,
    restarted_without_timeout,
    timeout_ends_with_eintr,
    lock_pi_without_contest,
    lock_pi_is_handed_on,
    lock_pi_times_out,
    lock_pi_finds_deadlocks,
    lock_pi_survives_its_owner,
    requeue_pi_gives_the_lock,
    requeue_is_of_one_kind,
    requeue_pi_finds_deadlocks,
    requeue_pi_needs_a_live_owner,
    waitv_waits_for_one,
    waitv_checks_arguments,
];

unsafe fn futex(word: &AtomicI32, op: c_int, value: c_int) -> c_long {
    libc::syscall(libc::SYS_futex, word, op, value, 0, 0, 0)
}

unsafe fn timed(word: &AtomicI32, op: c_int, value: c_int, time: &timespec, bits: u32) -> c_long {
    libc::syscall(libc::SYS_futex, word, op, value, time, 0, bits)
}

/// A child that waits for the word to be woken while it is 0.
#[track_caller]
fn waiter(word: &'static AtomicI32) -> Done<c_int> {
    let pid = spawn(|| {
        // SAFETY: the word is never unmapped.
        ok(unsafe { timed(word, libc::FUTEX_WAIT, 0, &span(5000), 0) }).map(drop)
    })?;
    asleep(pid);
    Ok(pid)
}

unsafe fn wait_compares() -> Done {
    let word = counter()?;
    fails(futex(word, libc::FUTEX_WAIT, 1), libc::EAGAIN)?;
    word.store(-1, SeqCst);
    fails(futex(word, libc::FUTEX_WAIT, 0x7fff_ffff), libc::EAGAIN)
}

unsafe fn wake_without_waiters() -> Done {
    let word = counter()?;
    eq(futex(word, libc::FUTEX_WAKE, 1), 0)?;
    eq(futex(word, libc::FUTEX_WAKE, i32::MAX), 0)
}

unsafe fn wake_reaches_another_process() -> Done {
    let word = counter()?;
    let pid = waiter(word)?;
    eq(futex(word, libc::FUTEX_WAKE, 1), 1)?;
    join(pid)
}

unsafe fn wake_counts() -> Done {
    let word = counter()?;
    let pids = [waiter(word)?, waiter(word)?, waiter(word)?];
    eq(futex(word, libc::FUTEX_WAKE, 2), 2)?;
    eq(futex(word, libc::FUTEX_WAKE, 5), 1)?;
    pids.into_iter().try_for_each(join)
}

unsafe fn private_is_not_shared() -> Done {
    let word = counter()?;
    let pid = waiter(word)?;
    eq(futex(word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1), 0)?;
    eq(futex(word, libc::FUTEX_WAKE, 1), 1)?;
    join(pid)
}

unsafe fn private_after_fork_is_apart() -> Done {
    let word: &'static AtomicI32 = &*memory(PAGE)?.cast::<AtomicI32>();
    word.store(0, SeqCst);
    let pid = waiter(word)?;
    eq(futex(word, libc::FUTEX_WAKE, 1), 0)?; // copies of a page are two futexes
    ok(libc::kill(pid, libc::SIGKILL)).map(drop)
}

unsafe fn two_mappings_are_one_futex() -> Done {
    let fd = file(c"f", &[0; 4096])?;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let a: &'static AtomicI32 = &*map(PAGE, prot, libc::MAP_SHARED, fd)?.cast();
    let b: &'static AtomicI32 = &*map(PAGE, prot, libc::MAP_SHARED, fd)?.cast();
    let pid = waiter(a)?;
    eq(futex(b, libc::FUTEX_WAKE, 1), 1)?;
    join(pid)
}

unsafe fn relative_timeout() -> Done {
    let (word, begin) = (counter()?, now_ms());
    fails(timed(word, libc::FUTEX_WAIT, 0, &span(50), 0), libc::ETIMEDOUT)?;
    check((49..2000).contains(&(now_ms() - begin)), "it took 50 ms")
}

unsafe fn absolute_timeout() -> Done {
    let (word, begin) = (counter()?, now_ms());
    let any = libc::FUTEX_BITSET_MATCH_ANY as u32;
    fails(timed(word, libc::FUTEX_WAIT_BITSET, 0, &span(begin + 50), any), libc::ETIMEDOUT)?;
    check((49..2000).contains(&(now_ms() - begin)), "it took 50 ms")?;
    let mut real = span(0);
    ok(libc::clock_gettime(libc::CLOCK_REALTIME, &mut real))?;
    let op = libc::FUTEX_WAIT_BITSET | libc::FUTEX_CLOCK_REALTIME;
    fails(timed(word, op, 0, &real, any), libc::ETIMEDOUT)
}

unsafe fn timeout_is_checked() -> Done {
    let word = counter()?;
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(timed(word, libc::FUTEX_WAIT, 0, &bad, 0), libc::EINVAL)?;
    fails(timed(word, libc::FUTEX_WAIT, 0, &timespec { tv_sec: -1, tv_nsec: 0 }, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, 0, 8usize), libc::EFAULT)
}

unsafe fn address_is_checked() -> Done {
    let call = |at: usize, op: c_int| libc::syscall(libc::SYS_futex, at, op, 0, 0, 0, 0);
    let page = counter()? as *const AtomicI32 as usize;
    fails(call(page + 2, libc::FUTEX_WAIT), libc::EINVAL)?;
    fails(call(page + 1, libc::FUTEX_WAKE), libc::EINVAL)?;
    fails(call(4096 * 3, libc::FUTEX_WAIT), libc::EFAULT)?;
    fails(call(4096 * 3, libc::FUTEX_WAKE), libc::EFAULT)?;
    fails(call(1 << 63, libc::FUTEX_WAIT), libc::EFAULT)
}

unsafe fn bitset_selects() -> Done {
    let word = counter()?;
    let sleeper = |bits: u32| {
        let limit = span(now_ms() + 5000);
        let pid = spawn(|| ok(timed(word, libc::FUTEX_WAIT_BITSET, 0, &limit, bits)).map(drop))?;
        asleep(pid);
        Done::Ok(pid)
    };
    let (first, second) = (sleeper(1)?, sleeper(6)?);
    let wake = |bits: u32| libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE_BITSET, 9, 0, 0, bits);
    eq(wake(8), 0)?;
    eq(wake(2), 1)?;
    join(second)?;
    eq(futex(word, libc::FUTEX_WAKE, 9), 1)?;
    join(first)
}

unsafe fn bitset_zero_is_refused() -> Done {
    let word = counter()?;
    fails(futex(word, libc::FUTEX_WAIT_BITSET, 0), libc::EINVAL)?;
    fails(futex(word, libc::FUTEX_WAKE_BITSET, 1), libc::EINVAL)
}

unsafe fn requeue_moves_waiters() -> Done {
    let (a, b) = (counter()?, counter()?);
    let pids = [waiter(a)?, waiter(a)?, waiter(a)?];
    let requeue = |op: c_int, wake: c_int, move_: c_int, value: c_int| {
        libc::syscall(libc::SYS_futex, a, op, wake, move_, b, value)
    };
    eq(requeue(libc::FUTEX_REQUEUE, 1, 1, 0), 2)?; // woken and moved
    eq(requeue(libc::FUTEX_CMP_REQUEUE, 0, 5, 0), 1)?;
    eq(futex(a, libc::FUTEX_WAKE, 9), 0)?;
    eq(futex(b, libc::FUTEX_WAKE, 9), 2)?;
    pids.into_iter().try_for_each(join)
}

unsafe fn cmp_requeue_compares() -> Done {
    let (a, b) = (counter()?, counter()?);
    let call = |wake: c_int, value: c_int| {
        libc::syscall(libc::SYS_futex, a, libc::FUTEX_CMP_REQUEUE, wake, 1, b, value)
    };
    fails(call(1, 5), libc::EAGAIN)?;
    fails(call(-1, 0), libc::EINVAL)
}

unsafe fn wake_op_changes_and_wakes() -> Done {
    let (a, b) = (counter()?, counter()?);
    let (pa, pb) = (waiter(a)?, waiter(b)?);
    // *b += 7, and wake waiters of b if it was 0 before.
    let (add, equals) = (1, 0);
    let op = (add << 28) | (equals << 24) | (7 << 12);
    eq(libc::syscall(libc::SYS_futex, a, libc::FUTEX_WAKE_OP, 1, 1, b, op), 2)?;
    eq(b.load(SeqCst), 7)?;
    // Now the comparison fails, but the change is made: *b |= 1 << 3.
    let op = ((2 | 8) << 28) | (3 << 12) | 99;
    eq(libc::syscall(libc::SYS_futex, a, libc::FUTEX_WAKE_OP, 1, 1, b, op), 0)?;
    eq(b.load(SeqCst), 15)?;
    join(pa)?;
    join(pb)
}

unsafe fn unknown_operation() -> Done {
    let word = counter()?;
    fails(futex(word, 99, 0), libc::ENOSYS)?;
    fails(futex(word, libc::FUTEX_WAKE | libc::FUTEX_CLOCK_REALTIME, 0), libc::ENOSYS)
}

unsafe fn interrupted_without_restart() -> Done {
    let word = counter()?;
    on(libc::SIGUSR1, note, 0)?;
    let me = libc::getpid();
    let pid = spawn(|| {
        asleep(me);
        ok(libc::kill(me, libc::SIGUSR1)).map(drop)
    })?;
    fails(futex(word, libc::FUTEX_WAIT, 0), libc::EINTR)?;
    join(pid)
}

unsafe fn restarted_without_timeout() -> Done {
    let word = counter()?;
    let pid = spawn(|| {
        on(libc::SIGUSR1, note, libc::SA_RESTART)?;
        ok(futex(word, libc::FUTEX_WAIT, 0))?;
        eq(SIGNALS.load(SeqCst), 1)
    })?;
    asleep(pid);
    ok(libc::kill(pid, libc::SIGUSR1))?;
    sleep_ms(20);
    eq(libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG), 0)?; // it waits again
    eq(futex(word, libc::FUTEX_WAKE, 1), 1)?;
    join(pid)
}

unsafe fn timeout_ends_with_eintr() -> Done {
    let word = counter()?;
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let me = libc::getpid();
    let pid = spawn(|| {
        asleep(me);
        ok(libc::kill(me, libc::SIGUSR1)).map(drop)
    })?;
    fails(timed(word, libc::FUTEX_WAIT, 0, &span(5000), 0), libc::EINTR)?;
    join(pid)
}

unsafe fn lock_pi_without_contest() -> Done {
    let word = counter()?;
    ok(futex(word, libc::FUTEX_LOCK_PI, 0))?;
    eq(word.load(SeqCst), libc::getpid())?;
    fails(futex(word, libc::FUTEX_LOCK_PI, 0), libc::EDEADLK)?;
    ok(futex(word, libc::FUTEX_UNLOCK_PI, 0))?;
    eq(word.load(SeqCst), 0)
}

unsafe fn waitv_waits_for_one() -> Done {
    const FUTEX_32: u32 = 2;
    let (a, b) = (counter()?, counter()?);
    // struct futex_waitv: value, address, flags, reserved.
    let entry = |word: &AtomicI32| [0u64, word as *const AtomicI32 as u64, u64::from(FUTEX_32)];
    let list = [entry(a), entry(b)];
    let wait = |time: &timespec| {
        libc::syscall(libc::SYS_futex_waitv, list.as_ptr(), 2, 0, time, libc::CLOCK_MONOTONIC)
    };
    fails(wait(&span(0)), libc::ETIMEDOUT)?;
    let limit = span(now_ms() + 5000);
    let pid = spawn(|| eq(ok(wait(&limit))?, 1))?;
    asleep(pid);
    eq(futex(b, libc::FUTEX_WAKE, 1), 1)?;
    join(pid)
}

unsafe fn waitv_checks_arguments() -> Done {
    let word = counter()?;
    let entry = |value: u64, flags: u64| [value, word as *const AtomicI32 as u64, flags];
    let call = |list: &[[u64; 3]], flags: c_int| {
        libc::syscall(libc::SYS_futex_waitv, list.as_ptr(), list.len(), flags, 0, 0)
    };
    fails(call(&[], 0), libc::EINVAL)?;
    fails(call(&[entry(0, 2)], 1), libc::EINVAL)?;
    fails(call(&[entry(0, 0)], 0), libc::EINVAL)?;
    fails(call(&[entry(0, 2 | 1 << 32)], 0), libc::EINVAL)?;
    fails(call(&vec![entry(0, 2); 129], 0), libc::EINVAL)?;
    fails(call(&[entry(0, 2), entry(1, 2)], 0), libc::EAGAIN)
}

/// The thread id in a lock's word.
fn owner(word: &AtomicI32) -> i32 {
    word.load(SeqCst) & 0x3fff_ffff
}

unsafe fn lock_pi_is_handed_on() -> Done {
    let word = counter()?;
    ok(futex(word, libc::FUTEX_LOCK_PI, 0))?;
    in_child(|| {
        fails(futex(word, libc::FUTEX_TRYLOCK_PI, 0), libc::EAGAIN)?;
        fails(futex(word, libc::FUTEX_UNLOCK_PI, 0), libc::EPERM)
    })?;
    let lock = || {
        spawn(|| {
            ok(futex(word, libc::FUTEX_LOCK_PI, 0))?;
            eq(owner(word), libc::getpid())?;
            ok(futex(word, libc::FUTEX_UNLOCK_PI, 0)).map(drop)
        })
    };
    let first = lock()?;
    asleep(first);
    check(word.load(SeqCst) < 0, "the word says that somebody waits")?;
    fails(futex(word, libc::FUTEX_WAKE, 1), libc::EINVAL)?;
    let second = lock()?;
    asleep(second);
    ok(futex(word, libc::FUTEX_UNLOCK_PI, 0))?;
    join(first)?;
    join(second)?;
    eq(word.load(SeqCst), 0)?;
    word.store(0x3fff_fff0, SeqCst);
    fails(futex(word, libc::FUTEX_LOCK_PI, 0), libc::ESRCH)
}

unsafe fn lock_pi_times_out() -> Done {
    const LOCK_PI2: c_int = 13;
    let word = counter()?;
    ok(futex(word, libc::FUTEX_LOCK_PI, 0))?;
    in_child(|| {
        let mut now = span(0);
        ok(libc::clock_gettime(libc::CLOCK_REALTIME, &mut now))?;
        now.tv_nsec += 20_000_000;
        let limit = timespec {
            tv_sec: now.tv_sec + now.tv_nsec / 1_000_000_000,
            tv_nsec: now.tv_nsec % 1_000_000_000,
        };
        fails(timed(word, libc::FUTEX_LOCK_PI, 0, &limit, 0), libc::ETIMEDOUT)?;
        fails(timed(word, LOCK_PI2, 0, &span(now_ms() + 20), 0), libc::ETIMEDOUT)
    })?;
    ok(futex(word, libc::FUTEX_UNLOCK_PI, 0)).map(drop)
}

unsafe fn lock_pi_finds_deadlocks() -> Done {
    let words = shared(PAGE)?.cast::<AtomicI32>();
    let (a, b): (&'static AtomicI32, &'static AtomicI32) = (&*words, &*words.add(1));
    ok(futex(a, libc::FUTEX_LOCK_PI, 0))?;
    let child = spawn(|| {
        ok(futex(b, libc::FUTEX_LOCK_PI, 0))?;
        ok(futex(a, libc::FUTEX_LOCK_PI, 0))?;
        ok(futex(a, libc::FUTEX_UNLOCK_PI, 0))?;
        ok(futex(b, libc::FUTEX_UNLOCK_PI, 0)).map(drop)
    })?;
    asleep(child);
    fails(futex(b, libc::FUTEX_LOCK_PI, 0), libc::EDEADLK)?;
    ok(futex(a, libc::FUTEX_UNLOCK_PI, 0))?;
    join(child)
}

unsafe fn lock_pi_survives_its_owner() -> Done {
    const OWNER_DIED: i32 = 0x4000_0000;
    let word = counter()?;
    let (r, w) = crate::support::pipe()?;
    let holder = spawn(|| {
        ok(futex(word, libc::FUTEX_LOCK_PI, 0))?;
        put(w, b"x")?;
        libc::pause();
        Ok(())
    })?;
    get(r)?;
    let heir = spawn(|| {
        ok(futex(word, libc::FUTEX_LOCK_PI, 0))?;
        eq(word.load(SeqCst) & !i32::MIN, libc::getpid() | OWNER_DIED)?;
        ok(futex(word, libc::FUTEX_UNLOCK_PI, 0)).map(drop)
    })?;
    asleep(heir);
    end(holder)?;
    join(heir)
}

unsafe fn requeue_pi_gives_the_lock() -> Done {
    let words = shared(PAGE)?.cast::<AtomicI32>();
    let (condition, lock): (&'static AtomicI32, &'static AtomicI32) = (&*words, &*words.add(1));
    let waiter = || {
        spawn(|| {
            ok(libc::syscall(libc::SYS_futex, condition, libc::FUTEX_WAIT_REQUEUE_PI, 0, 0, lock, 0))?;
            eq(owner(lock), libc::getpid())?;
            ok(futex(lock, libc::FUTEX_UNLOCK_PI, 0)).map(drop)
        })
    };
    let (one, two) = (waiter()?, waiter()?);
    asleep(one);
    asleep(two);
    ok(futex(lock, libc::FUTEX_LOCK_PI, 0))?;
    let requeue = |wake: c_int, value: c_int| {
        libc::syscall(libc::SYS_futex, condition, libc::FUTEX_CMP_REQUEUE_PI, wake, 5usize, lock, value)
    };
    fails(requeue(1, 7), libc::EAGAIN)?;
    fails(requeue(2, 0), libc::EINVAL)?;
    eq(ok(requeue(1, 0))?, 2)?;
    ok(futex(lock, libc::FUTEX_UNLOCK_PI, 0))?;
    join(one)?;
    join(two)?;
    let late = libc::syscall(
        libc::SYS_futex,
        condition,
        libc::FUTEX_WAIT_REQUEUE_PI,
        0,
        &span(now_ms() + 10),
        lock,
        0,
    );
    fails(late, libc::ETIMEDOUT)
}

unsafe fn requeue_pi(condition: &AtomicI32, lock: &AtomicI32) -> c_long {
    libc::syscall(libc::SYS_futex, condition, libc::FUTEX_CMP_REQUEUE_PI, 1, 5usize, lock, 0)
}

unsafe fn requeue_is_of_one_kind() -> Done {
    let words = shared(PAGE)?.cast::<AtomicI32>();
    let [plain, condition, lock]: [&'static AtomicI32; 3] = [&*words, &*words.add(1), &*words.add(2)];
    let waiter = waiter(plain)?;
    let for_lock = spawn(|| {
        ok(libc::syscall(libc::SYS_futex, condition, libc::FUTEX_WAIT_REQUEUE_PI, 0, 0, lock, 0))?;
        ok(futex(lock, libc::FUTEX_UNLOCK_PI, 0)).map(drop)
    })?;
    asleep(for_lock);
    fails(requeue_pi(plain, lock), libc::EINVAL)?;
    let requeue = |value: c_int| {
        libc::syscall(libc::SYS_futex, condition, libc::FUTEX_CMP_REQUEUE, 0, 5usize, plain, value)
    };
    fails(requeue(7), libc::EAGAIN)?;
    fails(requeue(0), libc::EINVAL)?;
    fails(futex(condition, libc::FUTEX_WAKE, 1), libc::EINVAL)?;
    eq(futex(plain, libc::FUTEX_WAKE, 9), 1)?;
    eq(ok(requeue_pi(condition, lock))?, 1)?;
    join(waiter)?;
    join(for_lock)
}

unsafe fn requeue_pi_finds_deadlocks() -> Done {
    let words = shared(PAGE)?.cast::<AtomicI32>();
    let [condition, a, b]: [&'static AtomicI32; 3] = [&*words, &*words.add(1), &*words.add(2)];
    let waiter = spawn(|| {
        ok(futex(b, libc::FUTEX_LOCK_PI, 0))?;
        ok(libc::syscall(libc::SYS_futex, condition, libc::FUTEX_WAIT_REQUEUE_PI, 0, 0, a, 0)).map(drop)
    })?;
    asleep(waiter);
    let owner = spawn(|| {
        ok(futex(a, libc::FUTEX_LOCK_PI, 0))?;
        ok(futex(b, libc::FUTEX_LOCK_PI, 0)).map(drop)
    })?;
    asleep(owner);
    fails(requeue_pi(condition, a), libc::EDEADLK)?;
    end(waiter)?;
    join(owner)
}

unsafe fn requeue_pi_needs_a_live_owner() -> Done {
    let words = shared(PAGE)?.cast::<AtomicI32>();
    let (condition, lock): (&'static AtomicI32, &'static AtomicI32) = (&*words, &*words.add(1));
    let waiter = spawn(|| {
        ok(libc::syscall(libc::SYS_futex, condition, libc::FUTEX_WAIT_REQUEUE_PI, 0, 0, lock, 0))?;
        eq(owner(lock), libc::getpid())
    })?;
    asleep(waiter);
    lock.store(0x3fff_fff0, SeqCst);
    fails(requeue_pi(condition, lock), libc::ESRCH)?;
    lock.store(0, SeqCst);
    eq(ok(requeue_pi(condition, lock))?, 1)?;
    join(waiter)
}
