//! System V semaphores: `semget(2)`, `semop(2)`, `semctl(2)`.

use libc::{c_int, c_short, c_ushort, sembuf};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    get_and_values,
    arguments_are_checked,
    all_or_nothing,
    waits_for_more_and_for_zero,
    waiters_in_order,
    complex_waiter_does_not_hold_up_others,
    waiter_for_zero_between_changes,
    removal_wakes,
    signals_end_a_wait,
    time_limit,
    undo_at_the_end,
    undo_is_shared_by_threads_only,
    set_forgets_undo,
    stat_and_info,
    permissions,
    proc_lists_sets,
];

/// A set that is removed when the test ends.
struct Set(c_int);

fn op(num: u16, op: c_short, flags: c_int) -> sembuf {
    sembuf { sem_num: num, sem_op: op, sem_flg: flags as c_short }
}

impl Set {
    #[track_caller]
    fn new(count: c_int) -> Done<Set> {
        // SAFETY: no memory is involved.
        Ok(Set(ok(unsafe { libc::semget(libc::IPC_PRIVATE, count, libc::IPC_CREAT | 0o600) })?))
    }

    fn ops(&self, ops: &[sembuf]) -> c_int {
        let mut ops = ops.to_vec();
        // SAFETY: there are so many.
        unsafe { libc::semop(self.0, ops.as_mut_ptr(), ops.len()) }
    }

    #[track_caller]
    fn ask(&self, num: c_int, command: c_int) -> Done<c_int> {
        // SAFETY: these commands take no memory.
        ok(unsafe { libc::semctl(self.0, num, command) })
    }

    #[track_caller]
    fn value(&self, num: c_int) -> Done<c_int> {
        self.ask(num, libc::GETVAL)
    }

    #[track_caller]
    fn set(&self, num: c_int, value: c_int) -> Done {
        // SAFETY: the argument is a number.
        ok(unsafe { libc::semctl(self.0, num, libc::SETVAL, value) }).map(drop)
    }

    /// Waits until so many wait for more.
    #[track_caller]
    fn waiting(&self, num: c_int, count: c_int) -> Done {
        soon("others wait", || self.ask(num, libc::GETNCNT).is_ok_and(|now| now == count))
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // SAFETY: no memory is involved.
        unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) };
    }
}

unsafe fn get_and_values() -> Done {
    let key = 0x5345_0000 ^ (libc::getpid() << 4);
    fails(libc::semget(key, 2, 0o600), libc::ENOENT)?;
    let set = Set(ok(libc::semget(key, 3, libc::IPC_CREAT | 0o600))?);
    eq(ok(libc::semget(key, 2, 0o600))?, set.0)?;
    fails(libc::semget(key, 4, 0o600), libc::EINVAL)?;
    fails(libc::semget(key, 3, libc::IPC_CREAT | libc::IPC_EXCL), libc::EEXIST)?;
    let values: [c_ushort; 3] = [1, 2, 32767];
    ok(libc::semctl(set.0, 0, libc::SETALL, values.as_ptr()))?;
    let mut got = [0 as c_ushort; 3];
    ok(libc::semctl(set.0, 0, libc::GETALL, got.as_mut_ptr()))?;
    eq(got, values)?;
    set.set(1, 9)?;
    eq((set.value(1)?, set.ask(1, libc::GETPID)?), (9, libc::getpid()))
}

unsafe fn arguments_are_checked() -> Done {
    fails(libc::semget(libc::IPC_PRIVATE, 0, 0o600), libc::EINVAL)?;
    fails(libc::semget(libc::IPC_PRIVATE, -1, 0o600), libc::EINVAL)?;
    fails(libc::semget(libc::IPC_PRIVATE, 1 << 20, 0o600), libc::EINVAL)?;
    let set = Set::new(2)?;
    fails(set.ops(&[]), libc::EINVAL)?;
    fails(set.ops(&vec![op(0, 1, 0); 100_000]), libc::E2BIG)?;
    fails(set.ops(&[op(2, 1, 0)]), libc::EFBIG)?;
    fails(libc::semop(set.0, 8 as *mut sembuf, 1), libc::EFAULT)?;
    fails(libc::semop(-1, &mut op(0, 1, 0), 1), libc::EINVAL)?;
    fails(libc::semop(0x7fff_fff0, &mut op(0, 1, 0), 1), libc::EINVAL)?;
    fails(libc::semctl(set.0, 2, libc::GETVAL), libc::EINVAL)?;
    fails(libc::semctl(set.0, 0, libc::SETVAL, 32768), libc::ERANGE)?;
    fails(libc::semctl(set.0, 0, libc::SETVAL, -1), libc::ERANGE)?;
    set.set(0, 32767)?;
    fails(set.ops(&[op(0, 1, 0)]), libc::ERANGE)?;
    let values: [c_ushort; 2] = [0, 40000];
    fails(libc::semctl(set.0, 0, libc::SETALL, values.as_ptr()), libc::ERANGE)?;
    fails(libc::semctl(set.0, 0, 99), libc::EINVAL)
}

unsafe fn all_or_nothing() -> Done {
    let set = Set::new(2)?;
    set.set(0, 5)?;
    fails(set.ops(&[op(0, -3, 0), op(1, -1, libc::IPC_NOWAIT)]), libc::EAGAIN)?;
    eq((set.value(0)?, set.value(1)?), (5, 0))?;
    ok(set.ops(&[op(0, -5, 0), op(0, 0, 0), op(1, 2, 0)]))?;
    eq((set.value(0)?, set.value(1)?), (0, 2))?;
    fails(set.ops(&[op(1, 0, libc::IPC_NOWAIT)]), libc::EAGAIN)
}

unsafe fn waits_for_more_and_for_zero() -> Done {
    let set = Set::new(2)?;
    let more = spawn(|| ok(set.ops(&[op(0, -2, 0)])).map(drop))?;
    set.waiting(0, 1)?;
    ok(set.ops(&[op(0, 1, 0)]))?;
    set.waiting(0, 1)?;
    ok(set.ops(&[op(0, 1, 0)]))?;
    join(more)?;
    eq((set.value(0)?, set.ask(0, libc::GETPID)?), (0, more))?;
    set.set(1, 1)?;
    let zero = spawn(|| ok(set.ops(&[op(1, 0, 0)])).map(drop))?;
    soon("it waits", || set.ask(1, libc::GETZCNT).is_ok_and(|count| count == 1))?;
    eq(set.ask(1, libc::GETNCNT)?, 0)?;
    ok(set.ops(&[op(1, -1, 0)]))?;
    join(zero)
}

unsafe fn waiters_in_order() -> Done {
    let set = Set::new(1)?;
    let order = counter()?;
    let mut children = Vec::new();
    for index in 0..3 {
        children.push(spawn(|| {
            ok(set.ops(&[op(0, -1, 0)]))?;
            order.store(
                order.load(std::sync::atomic::Ordering::SeqCst) * 10 + index + 1,
                std::sync::atomic::Ordering::SeqCst,
            );
            Ok(())
        })?);
        set.waiting(0, index + 1)?;
    }
    for child in children {
        ok(set.ops(&[op(0, 1, 0)]))?;
        join(child)?;
    }
    eq(order.load(std::sync::atomic::Ordering::SeqCst), 123)
}

unsafe fn complex_waiter_does_not_hold_up_others() -> Done {
    let set = Set::new(2)?;
    let both = spawn(|| ok(set.ops(&[op(0, -1, 0), op(1, -1, 0)])).map(drop))?;
    set.waiting(0, 1)?;
    let one = spawn(|| ok(set.ops(&[op(0, -1, 0)])).map(drop))?;
    set.waiting(0, 2)?;
    // The first cannot go on yet, so the second gets it.
    ok(set.ops(&[op(0, 1, 0)]))?;
    join(one)?;
    ok(set.ops(&[op(0, 1, 0), op(1, 1, 0)]))?;
    join(both)?;
    eq((set.value(0)?, set.value(1)?), (0, 0))
}

unsafe fn waiter_for_zero_between_changes() -> Done {
    let set = Set::new(1)?;
    let exactly_one = spawn(|| ok(set.ops(&[op(0, -1, 0), op(0, 0, 0)])).map(drop))?;
    set.waiting(0, 1)?;
    let two = spawn(|| ok(set.ops(&[op(0, -2, 0)])).map(drop))?;
    set.waiting(0, 2)?;
    // The first can go on once the second has.
    ok(set.ops(&[op(0, 3, 0)]))?;
    join(two)?;
    join(exactly_one)?;
    eq(set.value(0)?, 0)
}

unsafe fn removal_wakes() -> Done {
    let set = Set::new(1)?;
    let child = spawn(|| fails(set.ops(&[op(0, -1, 0)]), libc::EIDRM))?;
    set.waiting(0, 1)?;
    ok(libc::semctl(set.0, 0, libc::IPC_RMID))?;
    join(child)?;
    fails(set.ops(&[op(0, 1, 0)]), libc::EINVAL)
}

unsafe fn signals_end_a_wait() -> Done {
    let set = Set::new(1)?;
    for flags in [0, libc::SA_RESTART] {
        let child = spawn(|| {
            on(libc::SIGUSR1, note, flags)?;
            fails(set.ops(&[op(0, -1, 0)]), libc::EINTR)
        })?;
        set.waiting(0, 1)?;
        ok(libc::kill(child, libc::SIGUSR1))?;
        join(child)?;
        eq(set.ask(0, libc::GETNCNT)?, 0)?;
    }
    Ok(())
}

unsafe fn time_limit() -> Done {
    let set = Set::new(1)?;
    let timed =
        |time: &libc::timespec| libc::syscall(libc::SYS_semtimedop, set.0, &op(0, -1, 0), 1usize, time);
    let begin = now_ms();
    fails(timed(&span(30)), libc::EAGAIN)?;
    check(now_ms() - begin >= 30, "it waited")?;
    fails(timed(&libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 }), libc::EINVAL)?;
    fails(timed(&libc::timespec { tv_sec: -1, tv_nsec: 0 }), libc::EINVAL)?;
    eq(set.ask(0, libc::GETNCNT)?, 0)
}

unsafe fn undo_at_the_end() -> Done {
    let set = Set::new(2)?;
    set.set(0, 3)?;
    in_child(|| {
        ok(set.ops(&[op(0, -2, libc::SEM_UNDO), op(1, 4, libc::SEM_UNDO)]))?;
        ok(set.ops(&[op(0, 1, libc::SEM_UNDO)]))?;
        eq((set.value(0)?, set.value(1)?), (2, 4))
    })?;
    eq((set.value(0)?, set.value(1)?), (3, 0))?;
    // Whoever waits gets what the end gives back.
    set.set(0, 1)?;
    let (r, w) = pipe()?;
    let holder = spawn(|| {
        ok(set.ops(&[op(0, -1, libc::SEM_UNDO)]))?;
        put(w, b"x")?;
        libc::pause();
        Ok(())
    })?;
    get(r)?;
    let waiter = spawn(|| ok(set.ops(&[op(0, -1, 0)])).map(drop))?;
    set.waiting(0, 1)?;
    end(holder)?;
    join(waiter)
}

unsafe fn undo_is_shared_by_threads_only() -> Done {
    let set = Set::new(1)?;
    set.set(0, 5)?;
    in_child(|| {
        let id = set.0;
        // SAFETY: the operation lives.
        let thread =
            std::thread::spawn(move || unsafe { libc::semop(id, &mut op(0, -1, libc::SEM_UNDO), 1) });
        eq(thread.join().unwrap_or(-1), 0)?;
        // The thread has ended, and its process has not.
        eq(set.value(0)?, 4)?;
        in_child(|| Ok(()))?;
        eq(set.value(0)?, 4)
    })?;
    eq(set.value(0)?, 5)
}

unsafe fn set_forgets_undo() -> Done {
    let set = Set::new(1)?;
    set.set(0, 5)?;
    in_child(|| {
        ok(set.ops(&[op(0, -1, libc::SEM_UNDO)]))?;
        set.set(0, 7)
    })?;
    eq(set.value(0)?, 7)
}

unsafe fn stat_and_info() -> Done {
    let set = Set::new(4)?;
    let mut ds: libc::semid_ds = std::mem::zeroed();
    ok(libc::semctl(set.0, 0, libc::IPC_STAT, &mut ds))?;
    eq((ds.sem_nsems, ds.sem_otime), (4, 0))?;
    ok(set.ops(&[op(0, 1, 0)]))?;
    ok(libc::semctl(set.0, 0, libc::IPC_STAT, &mut ds))?;
    check(ds.sem_otime >= ds.sem_ctime && ds.sem_ctime > 0, "times")?;
    ds.sem_perm.mode = 0o640;
    ok(libc::semctl(set.0, 0, libc::IPC_SET, &mut ds))?;
    let mut info = [0 as c_int; 10];
    let highest = ok(libc::semctl(0, 0, libc::IPC_INFO, info.as_mut_ptr()))?;
    eq(info[8], 32767)?;
    let mut used = [0 as c_int; 10];
    ok(libc::semctl(0, 0, 19, used.as_mut_ptr()))?;
    check(used[7] >= 1 && used[9] >= 4, "sets and semaphores are counted")?;
    let mut found = false;
    for place in 0..=highest {
        found |= libc::semctl(place, 0, 18, &mut ds) == set.0 && ds.sem_perm.mode == 0o640;
    }
    check(found, "a place has the set")
}

unsafe fn permissions() -> Done {
    need_root()?;
    let set = Set::new(1)?;
    let mut ds: libc::semid_ds = std::mem::zeroed();
    ok(libc::semctl(set.0, 0, libc::IPC_STAT, &mut ds))?;
    ds.sem_perm.mode = 0o604;
    ok(libc::semctl(set.0, 0, libc::IPC_SET, &mut ds))?;
    in_child(|| {
        drop_root()?;
        set.value(0)?;
        fails(libc::semctl(set.0, 0, libc::SETVAL, 1), libc::EACCES)?;
        fails(set.ops(&[op(0, 1, 0)]), libc::EACCES)?;
        ok(set.ops(&[op(0, 0, 0)]))?;
        fails(libc::semctl(set.0, 0, libc::IPC_RMID), libc::EPERM)
    })
}

unsafe fn proc_lists_sets() -> Done {
    let set = Set::new(7)?;
    let text = std::fs::read_to_string("/proc/sysvipc/sem").unwrap_or_default();
    let id = set.0.to_string();
    let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(&id)).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    eq(words.len(), 10)?;
    eq((words[2], words[3]), ("600", "7"))?;
    let limits = std::fs::read_to_string("/proc/sys/kernel/sem").unwrap_or_default();
    eq(limits.split_whitespace().count(), 4)
}
