//! Other processes' memory and descriptors, barriers and scheduling attributes.

use libc::{c_int, c_long, iovec};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    memory_is_read_and_written,
    memory_arguments,
    memory_of_others,
    descriptor_is_taken,
    descriptor_arguments,
    kcmp_compares,
    membarrier_registers,
    policies,
    policy_is_inherited,
    attributes,
    refused_attributes_change_nothing,
    attribute_sizes,
    affinity,
    io_priority,
    usage_counts,
];

fn vector(at: *mut u8, len: usize) -> iovec {
    iovec { iov_base: at.cast(), iov_len: len }
}

unsafe fn memory_is_read_and_written() -> Done {
    let there = memory(3 * PAGE)?;
    for index in 0..3 * PAGE {
        *there.add(index) = index as u8;
    }
    let pid = spawn(|| {
        let end = now_ms() + 5000;
        while there.read_volatile() != 77 && now_ms() < end {
            sleep_ms(1);
        }
        eq((there.read_volatile(), *there.add(1), *there.add(2 * PAGE)), (77, 78, 79))
    })?;
    asleep(pid);
    let here = memory(PAGE)?;
    // Pieces on both sides, of different lengths.
    let local = [vector(here, 10), vector(here.add(100), 30)];
    let remote = [vector(there.add(PAGE - 5), 25), vector(there.add(2 * PAGE), 15)];
    eq(ok(libc::process_vm_readv(pid, local.as_ptr(), 2, remote.as_ptr(), 2, 0))?, 40)?;
    eq((*here, *here.add(9), *here.add(100)), ((PAGE - 5) as u8, (PAGE + 4) as u8, (PAGE + 5) as u8))?;
    eq(*here.add(129), (2 * PAGE + 14) as u8)?;
    // Up to where there is nothing.
    let all = memory(4 * PAGE)?;
    let over = vector(there.add(2 * PAGE), 2 * PAGE);
    ok(libc::munmap(all.add(3 * PAGE).cast(), PAGE))?;
    let got = ok(libc::process_vm_readv(pid, &vector(all, 2 * PAGE), 1, &over, 1, 0))?;
    check(got >= PAGE as isize, "the first page")?;
    fails(libc::process_vm_readv(pid, &vector(all, 8), 1, &vector(8 as *mut u8, 8), 1, 0), libc::EFAULT)?;
    *here.add(1) = 78;
    *here.add(2) = 79;
    *here = 77;
    let remote = [vector(there.add(1), 1), vector(there.add(2 * PAGE), 1), vector(there, 1)];
    let local = [vector(here.add(1), 2), vector(here, 1)];
    eq(ok(libc::process_vm_writev(pid, local.as_ptr(), 2, remote.as_ptr(), 3, 0))?, 3)?;
    join(pid)
}

unsafe fn memory_arguments() -> Done {
    let (at, own) = (memory(PAGE)?, libc::getpid());
    let one = vector(at, 8);
    fails(libc::process_vm_readv(own, &one, 1, &one, 1, 1), libc::EINVAL)?;
    fails(libc::process_vm_readv(own, &one, 1025, &one, 1, 0), libc::EINVAL)?;
    fails(libc::process_vm_readv(own, &one, 1, &one, 1025, 0), libc::EINVAL)?;
    fails(libc::process_vm_readv(own, &one, 1, std::ptr::dangling::<iovec>(), 1, 0), libc::EFAULT)?;
    fails(libc::process_vm_readv(0x3fff_fff0, &one, 1, &one, 1, 0), libc::ESRCH)?;
    eq(ok(libc::process_vm_readv(0x3fff_fff0, &one, 0, &one, 1, 0))?, 0)?;
    *at.add(100) = 5;
    eq(ok(libc::process_vm_readv(own, &one, 1, &vector(at.add(100), 1), 1, 0))?, 1)?;
    eq(*at, 5)?;
    // What the owner may not write to, nobody may.
    let fixed = map(PAGE, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    fails(libc::process_vm_writev(own, &one, 1, &vector(fixed, 8), 1, 0), libc::EFAULT)
}

unsafe fn memory_of_others() -> Done {
    need_root()?;
    let pid = sleeping()?;
    asleep(pid);
    let at = memory(PAGE)?;
    in_child(|| {
        drop_root()?;
        fails(libc::process_vm_readv(pid, &vector(at, 8), 1, &vector(at, 8), 1, 0), libc::EPERM)
    })?;
    end(pid)
}

unsafe fn getfd(pidfd: c_int, fd: c_int, flags: c_int) -> c_long {
    libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, flags)
}

unsafe fn pidfd(pid: c_int) -> Done<c_int> {
    Ok(ok(libc::syscall(libc::SYS_pidfd_open, pid, 0))? as c_int)
}

unsafe fn descriptor_is_taken() -> Done {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        let file = file(c"taken", b"hello")?;
        ok(libc::dup2(file, 55))?;
        put(w, b"x")?;
        sleep_ms(9000);
        Ok(())
    })?;
    get(r)?;
    let of = pidfd(pid)?;
    let taken = ok(getfd(of, 55, 0))? as c_int;
    eq(ok(libc::fcntl(taken, libc::F_GETFD))?, libc::FD_CLOEXEC)?;
    eq(get(taken)?, b"hello".to_vec())?;
    fails(getfd(of, 56, 0), libc::EBADF)?;
    end(pid)?;
    fails(getfd(of, 55, 0), libc::ESRCH)
}

unsafe fn descriptor_arguments() -> Done {
    let own = pidfd(libc::getpid())?;
    fails(getfd(own, 0, 1), libc::EINVAL)?;
    fails(getfd(pipe()?.0, 0, 0), libc::EBADF)?;
    fails(getfd(-1, 0, 0), libc::EBADF)
}

unsafe fn kcmp_compares() -> Done {
    let own = libc::getpid();
    let compare =
        |other: c_int, kind: c_int, a: c_int, b: c_int| libc::syscall(libc::SYS_kcmp, own, other, kind, a, b);
    let (r, w) = pipe()?;
    let copy = ok(libc::dup(r))?;
    if compare(own, 0, r, copy) == -1 && errno() == libc::ENOSYS {
        return skip("no kcmp here");
    }
    eq(ok(compare(own, 0, r, copy))?, 0)?;
    let (one, two) = (ok(compare(own, 0, r, w))?, ok(compare(own, 0, w, r))?);
    check(one != 0 && one + two == 3, "one comes first")?;
    let pid = sleeping()?;
    eq(ok(compare(pid, 0, r, copy))?, 0)?;
    for kind in [1, 2, 3, 4] {
        check(ok(compare(pid, kind, 0, 0))? != 0, "a fork has its own")?;
        eq(ok(compare(own, kind, 0, 0))?, 0)?;
    }
    end(pid)?;
    fails(compare(own, 0, r, 999), libc::EBADF)?;
    fails(compare(own, 99, 0, 0), libc::EINVAL)?;
    fails(compare(0x3fff_fff0, 1, 0, 0), libc::ESRCH)
}

unsafe fn membarrier_registers() -> Done {
    let call = |command: c_int, flags: c_int| libc::syscall(libc::SYS_membarrier, command, flags, 0);
    let known = ok(call(0, 0))?;
    check(known & 127 == 127, "all commands of the first kinds")?;
    fails(call(0, 1), libc::EINVAL)?;
    fails(call(1 << 20, 0), libc::EINVAL)?;
    fails(call(8, 0), libc::EPERM)?;
    fails(call(32, 0), libc::EPERM)?;
    for command in [1, 2, 4, 16, 8, 64, 32] {
        eq(ok(call(command, 0))?, 0)?;
    }
    // A fork's child is registered, a new program is not.
    in_child(|| ok(libc::syscall(libc::SYS_membarrier, 8, 0, 0)).map(drop))
}

unsafe fn set_policy(tid: c_int, policy: c_int, priority: c_int) -> c_long {
    libc::syscall(libc::SYS_sched_setscheduler, tid, policy, &priority)
}

unsafe fn policies() -> Done {
    for policy in [libc::SCHED_BATCH, libc::SCHED_IDLE, libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK] {
        in_child(|| {
            ok(set_policy(0, policy, 0))?;
            eq(ok(libc::syscall(libc::SYS_sched_getscheduler, 0))?, policy.into())?;
            let mut priority = 1;
            ok(libc::syscall(libc::SYS_sched_getparam, 0, &mut priority))?;
            eq(priority, 0)
        })?;
    }
    fails(set_policy(0, libc::SCHED_BATCH, 1), libc::EINVAL)?;
    fails(set_policy(0, libc::SCHED_FIFO, 0), libc::EINVAL)?;
    fails(set_policy(0, 77, 0), libc::EINVAL)?;
    fails(set_policy(-1, 0, 0), libc::EINVAL)?;
    fails(set_policy(0x3fff_fff0, 0, 0), libc::ESRCH)?;
    in_child(|| {
        drop_root()?;
        fails(set_policy(0, libc::SCHED_FIFO, 1), libc::EPERM)?;
        fails(set_policy(1, libc::SCHED_BATCH, 0), libc::EPERM)
    })
}

unsafe fn policy_is_inherited() -> Done {
    in_child(|| {
        ok(set_policy(0, libc::SCHED_BATCH, 0))?;
        in_child(|| eq(ok(libc::syscall(libc::SYS_sched_getscheduler, 0))?, libc::SCHED_BATCH.into()))?;
        ok(set_policy(0, libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK, 0))?;
        ok(libc::setpriority(libc::PRIO_PROCESS, 0, 3))?;
        in_child(|| {
            eq(ok(libc::syscall(libc::SYS_sched_getscheduler, 0))?, libc::SCHED_BATCH.into())?;
            eq(libc::getpriority(libc::PRIO_PROCESS, 0), 3)
        })
    })
}

/// `struct sched_attr`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    rest: [u64; 4],
}

unsafe fn attributes() -> Done {
    in_child(|| {
        let mut attr = Attr { size: 56, policy: 3, nice: 5, ..Attr::default() };
        ok(libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0))?;
        let mut got = Attr::default();
        ok(libc::syscall(libc::SYS_sched_getattr, 0, &mut got, 56, 0))?;
        eq((got.size, got.policy, got.nice, got.flags, got.priority), (56, 3, 5, 0, 0))?;
        eq(libc::getpriority(libc::PRIO_PROCESS, 0), 5)?;
        attr.flags = 1;
        ok(libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0))?;
        ok(libc::syscall(libc::SYS_sched_getattr, 0, &mut got, 48, 0))?;
        eq((got.size, got.flags), (48, 1))?;
        attr.priority = 1;
        fails(libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0), libc::EINVAL)
    })
}

unsafe fn refused_attributes_change_nothing() -> Done {
    in_child(|| {
        drop_root()?;
        ok(libc::setrlimit(libc::RLIMIT_NICE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 }))?;
        let nice = libc::getpriority(libc::PRIO_PROCESS, 0);
        let attr =
            Attr { size: 56, policy: libc::SCHED_BATCH as u32, flags: 1, nice: nice - 1, ..Attr::default() };
        fails(libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0), libc::EPERM)?;
        let mut got = Attr::default();
        ok(libc::syscall(libc::SYS_sched_getattr, 0, &mut got, 56, 0))?;
        eq((got.policy, got.flags, got.nice), (0, 0, nice))
    })
}

unsafe fn attribute_sizes() -> Done {
    let mut attr = Attr { size: 20, ..Attr::default() };
    fails(libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0), libc::E2BIG)?;
    check(attr.size >= 56, "the right size is told")?;
    attr.size = 56;
    fails(libc::syscall(libc::SYS_sched_setattr, 0, &attr, 1), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sched_setattr, 0, 0, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sched_setattr, -1, &attr, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sched_getattr, 0, &mut attr, 47, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sched_getattr, 0x3fff_fff0, &mut attr, 56, 0), libc::ESRCH)
}

unsafe fn affinity() -> Done {
    let mut all = [0u64; 16];
    let len = ok(libc::syscall(libc::SYS_sched_getaffinity, 0, 128, all.as_mut_ptr()))?;
    check(len >= 8 && all[0] != 0, "there is a CPU")?;
    for cpu in 0..64 {
        if all[0] >> cpu & 1 == 0 {
            continue;
        }
        in_child(|| {
            let one = 1u64 << cpu;
            ok(libc::syscall(libc::SYS_sched_setaffinity, 0, 8, &one))?;
            let mut now = [0u64; 16];
            ok(libc::syscall(libc::SYS_sched_getaffinity, 0, 128, now.as_mut_ptr()))?;
            eq(now[0], one)?;
            eq(libc::sched_getcpu(), cpu)?;
            // A child is bound as its maker is.
            in_child(|| {
                sleep_ms(2);
                eq(libc::sched_getcpu(), cpu)
            })
        })?;
    }
    fails(libc::syscall(libc::SYS_sched_setaffinity, 0, 8, &0u64), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sched_setaffinity, 0, 8, 8), libc::EFAULT)?;
    fails(libc::syscall(libc::SYS_sched_setaffinity, 0x3fff_fff0, 8, &1u64), libc::ESRCH)?;
    in_child(|| {
        drop_root()?;
        fails(libc::syscall(libc::SYS_sched_setaffinity, 1, 8, &all[0]), libc::EPERM)
    })
}

unsafe fn io_priority() -> Done {
    let set = |which: c_int, who: c_int, value: c_int| libc::syscall(libc::SYS_ioprio_set, which, who, value);
    let get = |which: c_int, who: c_int| libc::syscall(libc::SYS_ioprio_get, which, who);
    in_child(|| {
        ok(set(1, 0, 2 << 13 | 6))?;
        eq(ok(get(1, 0))?, 2 << 13 | 6)?;
        in_child(|| eq(ok(get(1, 0))?, 2 << 13 | 6))?;
        ok(set(1, 0, 3 << 13))?;
        eq(ok(get(1, libc::getpid()))?, 3 << 13)
    })?;
    fails(set(9, 0, 0), libc::EINVAL)?;
    fails(set(1, 0, 5 << 13), libc::EINVAL)?;
    fails(get(1, 0x3fff_fff0), libc::ESRCH)?;
    in_child(|| {
        drop_root()?;
        fails(set(1, 0, 1 << 13 | 4), libc::EPERM)
    })
}

unsafe fn usage_counts() -> Done {
    let usage = |who| {
        let mut usage: libc::rusage = std::mem::zeroed();
        ok(libc::getrusage(who, &mut usage))?;
        Ok::<_, Stop>(usage)
    };
    let before = usage(libc::RUSAGE_SELF)?;
    let at = memory(8 << 20)?;
    for index in (0..8 << 20).step_by(PAGE) {
        at.add(index).write_volatile(1);
    }
    for _ in 0..5 {
        sleep_ms(2);
    }
    let after = usage(libc::RUSAGE_SELF)?;
    check(after.ru_minflt > before.ru_minflt, "faults are counted")?;
    check(after.ru_nvcsw >= before.ru_nvcsw + 5, "sleeps are counted")?;
    in_child(|| {
        sleep_ms(1);
        Ok(())
    })?;
    check(usage(libc::RUSAGE_CHILDREN)?.ru_nvcsw > 0, "children's too")?;
    Ok(())
}
