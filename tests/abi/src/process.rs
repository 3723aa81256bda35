//! Processes: fork, clone, groups and sessions, parents, limits, who one is. fork(2), clone(2), setpgid(2),
//! setsid(2), prctl(2), getrlimit(2).

use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

use libc::{c_int, c_long, c_ulong};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    fork_copies_memory,
    fork_gives_pids,
    fork_shares_offsets,
    vfork_parent_waits,
    vfork_shares_memory,
    clone_without_exit_signal,
    clone_files_shares_descriptors,
    clone_fs_shares_cwd,
    clone_parent_makes_a_sibling,
    clone_refuses_flags,
    clone_settid_and_cleartid,
    clone3_size_is_checked,
    clone3_gives_a_pidfd,
    clone3_refuses_arguments,
    pids_differ_and_agree,
    exit_takes_the_low_byte,
    orphan_is_adopted,
    subreaper_adopts,
    pdeathsig_comes,
    pdeathsig_is_cleared_by_fork,
    setsid_rules,
    setpgid_rules,
    setpgid_after_exec_is_refused,
    getpgid_and_getsid_of_others,
    rlimit_is_checked_and_kept,
    rlimit_nofile_limits,
    rlimit_fsize_kills,
    rlimit_as_limits,
    uname_says_linux,
    rusage_counts,
    times_count_children,
    comm_is_cut,
    priority_is_kept,
    affinity_is_reported,
    setuid_drops_for_good,
    setresuid_rules,
    groups_are_kept,
    kill_needs_permission,
    sysinfo_makes_sense,
    unknown_call_is_enosys,
    no_new_privs_sticks,
];

unsafe fn fork_copies_memory() -> Done {
    let page = memory(PAGE)?;
    *page = 1;
    in_child(|| {
        eq(*page, 1)?;
        *page = 2;
        eq(*page, 2)
    })?;
    eq(*page, 1)
}

unsafe fn fork_gives_pids() -> Done {
    let parent = libc::getpid();
    let seen = counter()?;
    let pid = spawn(|| {
        seen.store(libc::getpid(), SeqCst);
        eq(libc::getppid(), parent)?;
        eq(libc::syscall(libc::SYS_gettid), c_long::from(libc::getpid()))
    })?;
    join(pid)?;
    eq(seen.load(SeqCst), pid)
}

unsafe fn fork_shares_offsets() -> Done {
    let fd = file(c"f", b"abcdef")?;
    in_child(|| eq(ok(libc::lseek(fd, 3, libc::SEEK_SET))?, 3))?;
    eq(get(fd)?, b"def")
}

/// Runs `body` in a clone with `flags`, on a stack of its own; returns what clone(2) returned.
unsafe fn clone(flags: c_int, body: extern "C" fn(*mut libc::c_void) -> c_int, arg: *mut u8) -> Done<c_int> {
    let stack = memory(64 * PAGE)?.add(64 * PAGE);
    ok(libc::clone(body, stack.cast(), flags, arg.cast()))
}

extern "C" fn write_late(arg: *mut libc::c_void) -> c_int {
    sleep_ms(50);
    // SAFETY: the parent passes a byte of its own, and waits.
    unsafe { *arg.cast::<u8>() = 7 };
    3
}

unsafe fn vfork_parent_waits() -> Done {
    let page = shared(PAGE)?;
    let pid = clone(libc::CLONE_VFORK | libc::SIGCHLD, write_late, page)?;
    eq(*page, 7)?;
    eq(libc::WEXITSTATUS(status(pid)?), 3)
}

unsafe fn vfork_shares_memory() -> Done {
    let page = memory(PAGE)?;
    let pid = clone(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, write_late, page)?;
    eq(page.read_volatile(), 7)?;
    eq(libc::WEXITSTATUS(status(pid)?), 3)
}

unsafe fn clone_without_exit_signal() -> Done {
    let pid = ok(libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0))? as c_int;
    if pid == 0 {
        libc::_exit(5);
    }
    fails(libc::waitpid(pid, null_mut(), 0), libc::ECHILD)?;
    let mut word = 0;
    eq(libc::waitpid(pid, &mut word, libc::__WCLONE), pid)?;
    eq(libc::WEXITSTATUS(word), 5)
}

unsafe fn clone_files_shares_descriptors() -> Done {
    let fd = file(c"f", b"x")?;
    let pid = ok(libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0))? as c_int;
    if pid == 0 {
        libc::_exit(libc::close(fd));
    }
    join(pid)?;
    fails(libc::close(fd), libc::EBADF)
}

unsafe fn clone_fs_shares_cwd() -> Done {
    let pid = ok(libc::syscall(libc::SYS_clone, libc::CLONE_FS | libc::SIGCHLD, 0, 0, 0, 0))? as c_int;
    if pid == 0 {
        libc::umask(0o077);
        libc::_exit(libc::chdir(c"/".as_ptr()));
    }
    join(pid)?;
    let cwd = std::env::current_dir().unwrap_or_default();
    eq(cwd.as_os_str(), "/")?;
    eq(libc::umask(0o022), 0o077)
}

unsafe fn clone_parent_makes_a_sibling() -> Done {
    let me = libc::getpid();
    let sibling = counter()?;
    in_child(|| {
        let flags = libc::CLONE_PARENT | libc::SIGCHLD;
        let pid = ok(libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0))? as c_int;
        if pid == 0 {
            libc::_exit(if libc::getppid() == me { 9 } else { 1 });
        }
        sibling.store(pid, SeqCst);
        fails(libc::waitpid(pid, null_mut(), 0), libc::ECHILD)
    })?;
    eq(libc::WEXITSTATUS(status(sibling.load(SeqCst))?), 9)
}

unsafe fn clone_refuses_flags() -> Done {
    for flags in [
        libc::CLONE_THREAD | libc::CLONE_VM,
        libc::CLONE_SIGHAND,
        libc::CLONE_NEWNS | libc::CLONE_FS,
        libc::CLONE_THREAD | libc::CLONE_SIGHAND,
    ] {
        fails(libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0), libc::EINVAL)?;
    }
    Ok(())
}

unsafe fn clone_settid_and_cleartid() -> Done {
    let (parent_tid, child_tid) = (shared(PAGE)?.cast::<c_int>(), shared(PAGE)?.cast::<c_int>());
    let flags = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    let pid = ok(libc::syscall(libc::SYS_clone, flags, 0, parent_tid, child_tid, 0))? as c_int;
    if pid == 0 {
        libc::_exit(c_int::from(*child_tid != libc::getpid()));
    }
    join(pid)?;
    eq(*parent_tid, pid)?;
    eq(*child_tid, pid)
}

unsafe fn clone3_size_is_checked() -> Done {
    let page = memory(2 * PAGE)?;
    let call = |size: usize| libc::syscall(libc::SYS_clone3, page, size);
    fails(call(63), libc::EINVAL)?;
    fails(call(PAGE + 1), libc::E2BIG)?;
    *page.add(200) = 1; // beyond every known structure: must be zero
    fails(call(208), libc::E2BIG)?;
    fails(libc::syscall(libc::SYS_clone3, 8usize, 64usize), libc::EFAULT)
}

unsafe fn clone3_gives_a_pidfd() -> Done {
    let mut fd: c_int = -1;
    let mut args: libc::clone_args = std::mem::zeroed();
    args.flags = libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut fd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    let pid = ok(libc::syscall(libc::SYS_clone3, &args, 64usize))? as c_int;
    if pid == 0 {
        sleep_ms(5000);
        libc::_exit(0);
    }
    check(fd >= 0, "a descriptor was written")?;
    eq(libc::fcntl(fd, libc::F_GETFD), libc::FD_CLOEXEC)?;
    ok(libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGTERM, 0, 0))?;
    dies_of(pid, libc::SIGTERM)
}

unsafe fn clone3_refuses_arguments() -> Done {
    let mut args: libc::clone_args = std::mem::zeroed();
    args.exit_signal = 65;
    fails(libc::syscall(libc::SYS_clone3, &args, 64usize), libc::EINVAL)?;
    args.exit_signal = 0;
    args.stack = 4096; // a stack without a size
    fails(libc::syscall(libc::SYS_clone3, &args, 64usize), libc::EINVAL)?;
    args.stack = 0;
    args.flags = 1 << 63;
    fails(libc::syscall(libc::SYS_clone3, &args, 64usize), libc::EINVAL)
}

unsafe fn pids_differ_and_agree() -> Done {
    let pid = libc::syscall(libc::SYS_getpid);
    eq(libc::syscall(libc::SYS_gettid), pid)?;
    eq(libc::syscall(libc::SYS_set_tid_address, 0), pid)?;
    check(libc::getppid() != libc::getpid(), "the parent is another")?;
    eq(libc::getpgid(0), libc::getpgrp())
}

unsafe fn exit_takes_the_low_byte() -> Done {
    let pid = ok(libc::fork())?;
    if pid == 0 {
        libc::syscall(libc::SYS_exit_group, 0x1234);
    }
    let word = status(pid)?;
    eq(word, 0x3400)
}

unsafe fn orphan_is_adopted() -> Done {
    let adopted = counter()?;
    let pid = spawn(|| {
        let me = libc::getpid();
        spawn(|| {
            soon("another parent", || libc::getppid() != me)?;
            adopted.store(1, SeqCst);
            Ok(())
        })
        .map(drop)
    })?;
    join(pid)?;
    soon("the orphan lives on", || adopted.load(SeqCst) == 1)
}

unsafe fn subreaper_adopts() -> Done {
    ok(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))?;
    let mut is: c_int = 0;
    ok(libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is, 0, 0, 0))?;
    eq(is, 1)?;
    let orphan = counter()?;
    let pid = spawn(|| {
        let me = libc::getpid();
        let child = spawn(|| {
            soon("another parent", || libc::getppid() != me)?;
            libc::_exit(4)
        })?;
        orphan.store(child, SeqCst);
        Ok(())
    })?;
    join(pid)?;
    eq(libc::WEXITSTATUS(status(orphan.load(SeqCst))?), 4)
}

unsafe fn pdeathsig_comes() -> Done {
    ok(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))?;
    let ready = counter()?;
    let pid = spawn(|| {
        let grandchild = spawn(|| {
            ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0))?;
            ready.store(libc::getpid(), SeqCst);
            sleep_ms(5000);
            Ok(())
        });
        soon("the grandchild is ready", || ready.load(SeqCst) != 0)?;
        grandchild.map(drop)
    })?;
    join(pid)?;
    dies_of(ready.load(SeqCst), libc::SIGUSR1)
}

unsafe fn pdeathsig_is_cleared_by_fork() -> Done {
    ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0))?;
    fails(libc::prctl(libc::PR_SET_PDEATHSIG, 65, 0, 0, 0), libc::EINVAL)?;
    let asks = || {
        let mut signal: c_int = -1;
        ok(libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0))?;
        Ok(signal)
    };
    eq(asks()?, libc::SIGUSR1)?;
    in_child(|| eq(asks()?, 0))
}

unsafe fn setsid_rules() -> Done {
    in_child(|| {
        let me = libc::getpid();
        eq(ok(libc::setsid())?, me)?;
        eq(libc::getsid(0), me)?;
        eq(libc::getpgrp(), me)?;
        fails(libc::setsid(), libc::EPERM)
    })
}

unsafe fn setpgid_rules() -> Done {
    in_child(|| {
        ok(libc::setsid())?;
        fails(libc::setpgid(0, 0), libc::EPERM)?; // a session leader stays
        fails(libc::setpgid(0, -1), libc::EINVAL)?;
        fails(libc::setpgid(libc::getppid(), 0), libc::ESRCH)?; // neither this process nor a child
        let child = spawn(|| {
            sleep_ms(5000);
            Ok(())
        })?;
        fails(libc::setpgid(child, child + 1), libc::EPERM)?; // no such group in the session
        ok(libc::setpgid(child, 0))?;
        eq(libc::getpgid(child), child)?;
        ok(libc::kill(-child, libc::SIGTERM))?;
        dies_of(child, libc::SIGTERM)
    })
}

unsafe fn setpgid_after_exec_is_refused() -> Done {
    let path = own_path();
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        ok(libc::fcntl(w, libc::F_SETFD, libc::FD_CLOEXEC))?;
        ok(libc::close(r))?;
        exec(&path, &[c"show", c"sleep"], &[])
    })?;
    ok(libc::close(w))?;
    eq(get(r)?.len(), 0)?; // exec closed the last writer
    let refused = fails(libc::setpgid(pid, 0), libc::EACCES);
    ok(libc::kill(pid, libc::SIGKILL))?;
    status(pid)?;
    refused
}

unsafe fn getpgid_and_getsid_of_others() -> Done {
    let pid = spawn(|| {
        sleep_ms(5000);
        Ok(())
    })?;
    eq(libc::getpgid(pid), libc::getpgrp())?;
    eq(libc::getsid(pid), libc::getsid(0))?;
    ok(libc::kill(pid, libc::SIGKILL))?;
    status(pid)?;
    fails(libc::getpgid(pid), libc::ESRCH)?;
    fails(libc::getsid(pid), libc::ESRCH)
}

unsafe fn rlimit_is_checked_and_kept() -> Done {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    ok(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
    let lower = libc::rlimit { rlim_cur: 50, rlim_max: 60 };
    ok(libc::setrlimit(libc::RLIMIT_NOFILE, &lower))?;
    in_child(|| {
        let mut seen = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        ok(libc::getrlimit(libc::RLIMIT_NOFILE, &mut seen))?;
        eq((seen.rlim_cur, seen.rlim_max), (50, 60))?;
        drop_root()?;
        let higher = libc::rlimit { rlim_cur: 61, rlim_max: 61 };
        fails(libc::setrlimit(libc::RLIMIT_NOFILE, &higher), libc::EPERM)
    })?;
    let inverted = libc::rlimit { rlim_cur: 9, rlim_max: 8 };
    fails(libc::setrlimit(libc::RLIMIT_NOFILE, &inverted), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_getrlimit, 16, &mut limit), libc::EINVAL)
}

unsafe fn rlimit_nofile_limits() -> Done {
    let limit = libc::rlimit { rlim_cur: 20, rlim_max: 20 };
    ok(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
    fails(libc::dup2(0, 20), libc::EBADF)?;
    ok(libc::dup2(2, 19))?;
    fails(libc::fcntl(2, libc::F_DUPFD, 19), libc::EMFILE)?;
    fails(libc::fcntl(2, libc::F_DUPFD, 20), libc::EINVAL)?;
    while libc::dup(2) != -1 {}
    eq(errno(), libc::EMFILE)
}

unsafe fn rlimit_fsize_kills() -> Done {
    let limit = libc::rlimit { rlim_cur: 10, rlim_max: 10 };
    let fd = file(c"f", b"12345678")?;
    let pid = spawn(|| {
        ok(libc::setrlimit(libc::RLIMIT_FSIZE, &limit))?;
        ok(libc::lseek(fd, 8, libc::SEEK_SET))?;
        eq(ok(libc::write(fd, b"abcd".as_ptr().cast(), 4))?, 2)?; // up to the limit
        dispose(libc::SIGXFSZ, libc::SIG_IGN)?;
        fails(libc::write(fd, b"x".as_ptr().cast(), 1), libc::EFBIG)?;
        dispose(libc::SIGXFSZ, libc::SIG_DFL)?;
        libc::write(fd, b"x".as_ptr().cast(), 1);
        Ok(())
    })?;
    dies_of(pid, libc::SIGXFSZ)
}

unsafe fn rlimit_as_limits() -> Done {
    in_child(|| {
        let limit = libc::rlimit { rlim_cur: 256 << 20, rlim_max: 256 << 20 };
        ok(libc::setrlimit(libc::RLIMIT_AS, &limit))?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        fails(libc::mmap(null_mut(), 512 << 20, libc::PROT_READ, flags, -1, 0), libc::ENOMEM)?;
        memory(1 << 20).map(drop)
    })
}

unsafe fn uname_says_linux() -> Done {
    let mut name: libc::utsname = std::mem::zeroed();
    ok(libc::uname(&mut name))?;
    eq(std::ffi::CStr::from_ptr(name.sysname.as_ptr()), c"Linux")?;
    eq(std::ffi::CStr::from_ptr(name.machine.as_ptr()), c"x86_64")?;
    fails(libc::syscall(libc::SYS_uname, 8usize), libc::EFAULT)
}

/// Computes for a while, so that time is counted.
fn burn(ms: i64) {
    let end = now_ms() + ms;
    while now_ms() < end {
        for i in 0..10_000 {
            std::hint::black_box(i);
        }
    }
}

unsafe fn rusage_counts() -> Done {
    burn(60);
    let mut usage: libc::rusage = std::mem::zeroed();
    ok(libc::getrusage(libc::RUSAGE_SELF, &mut usage))?;
    let used = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000
        + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
    check((10..2000).contains(&used), "about 60 ms were used")?;
    check(usage.ru_maxrss > 0, "memory was used")?;
    fails(libc::getrusage(7, &mut usage), libc::EINVAL)
}

unsafe fn times_count_children() -> Done {
    let mut before: libc::tms = std::mem::zeroed();
    ok(libc::times(&mut before))?;
    eq(before.tms_cutime + before.tms_cstime, 0)?;
    in_child(|| {
        burn(80);
        Ok(())
    })?;
    let mut after: libc::tms = std::mem::zeroed();
    ok(libc::times(&mut after))?;
    check(after.tms_cutime + after.tms_cstime >= 1, "the child's ticks were added")
}

unsafe fn comm_is_cut() -> Done {
    ok(libc::prctl(libc::PR_SET_NAME, c"a-name-that-is-too-long".as_ptr(), 0, 0, 0))?;
    let mut name = [1u8; 16];
    ok(libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0))?;
    eq(&name, b"a-name-that-is-\0")?;
    fails(libc::prctl(0x7fff_0000, 0, 0, 0, 0), libc::EINVAL)
}

unsafe fn priority_is_kept() -> Done {
    ok(libc::setpriority(libc::PRIO_PROCESS, 0, 15))?;
    eq(libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0), 5)?; // 20 - nice
    ok(libc::setpriority(libc::PRIO_PROCESS, 0, 100))?; // clamped
    eq(libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0), 1)?;
    fails(libc::setpriority(9, 0, 0), libc::EINVAL)?;
    in_child(|| {
        drop_root()?;
        fails(libc::setpriority(libc::PRIO_PROCESS, 0, 0), libc::EACCES)
    })
}

unsafe fn affinity_is_reported() -> Done {
    let mut mask = [0u64; 128];
    let n = ok(libc::syscall(libc::SYS_sched_getaffinity, 0, 1024, mask.as_mut_ptr()))?;
    check(n > 0 && n % 8 == 0, "whole words")?;
    check(mask.iter().any(|word| *word != 0), "there is a processor")?;
    fails(libc::syscall(libc::SYS_sched_getaffinity, 0, 7, mask.as_mut_ptr()), libc::EINVAL)?;
    mask = [0; 128];
    fails(libc::syscall(libc::SYS_sched_getaffinity, -1, 7, mask.as_mut_ptr()), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sched_getaffinity, -1, 1024, mask.as_mut_ptr()), libc::ESRCH)?;
    fails(libc::syscall(libc::SYS_sched_setaffinity, -1, 128, 0), libc::EFAULT)?;
    fails(libc::syscall(libc::SYS_sched_setaffinity, -1, 128, mask.as_ptr()), libc::ESRCH)?;
    fails(libc::syscall(libc::SYS_sched_setaffinity, 0, 128, mask.as_ptr()), libc::EINVAL)
}

unsafe fn setuid_drops_for_good() -> Done {
    need_root()?;
    in_child(|| {
        ok(libc::setuid(1234))?;
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        ok(libc::getresuid(&mut real, &mut effective, &mut saved))?;
        eq((real, effective, saved), (1234, 1234, 1234))?;
        fails(libc::setuid(0), libc::EPERM)
    })
}

unsafe fn setresuid_rules() -> Done {
    need_root()?;
    in_child(|| {
        ok(libc::setresuid(1000, 1001, 1002))?;
        fails(libc::setresuid(9, 9, 9), libc::EPERM)?;
        ok(libc::seteuid(1002))?;
        eq((libc::getuid(), libc::geteuid()), (1000, 1002))?;
        ok(libc::setreuid(u32::MAX, 1000))?;
        eq((libc::getuid(), libc::geteuid()), (1000, 1000))
    })
}

unsafe fn groups_are_kept() -> Done {
    need_root()?;
    in_child(|| {
        let groups = [7u32, 3, 9];
        ok(libc::setgroups(3, groups.as_ptr()))?;
        let mut seen = [0u32; 3];
        eq(libc::getgroups(0, null_mut()), 3)?;
        fails(libc::getgroups(2, seen.as_mut_ptr()), libc::EINVAL)?;
        eq(libc::getgroups(3, seen.as_mut_ptr()), 3)?;
        seen.sort();
        eq(seen, [3, 7, 9])?;
        ok(libc::setuid(1000))?;
        fails(libc::setgroups(0, std::ptr::null()), libc::EPERM)
    })
}

unsafe fn kill_needs_permission() -> Done {
    need_root()?;
    let me = libc::getpid();
    fails(libc::kill(me, 65), libc::EINVAL)?;
    fails(libc::kill(0x3fff_fff0, 0), libc::ESRCH)?;
    in_child(|| {
        drop_root()?;
        fails(libc::kill(me, 0), libc::EPERM)?;
        ok(libc::kill(me, libc::SIGCONT)).map(drop) // allowed within the session
    })
}

unsafe fn sysinfo_makes_sense() -> Done {
    let mut info: libc::sysinfo = std::mem::zeroed();
    ok(libc::sysinfo(&mut info))?;
    check(info.totalram > 0 && info.freeram <= info.totalram, "free is a part of total")?;
    check(info.mem_unit > 0 && info.procs > 0, "units and processes")
}

unsafe fn unknown_call_is_enosys() -> Done {
    for nr in [400 as c_long, 9999, -2, i64::from(i32::MAX)] {
        fails(libc::syscall(nr, 1, 2, 3), libc::ENOSYS)?;
    }
    Ok(())
}

unsafe fn no_new_privs_sticks() -> Done {
    let zero: c_ulong = 0;
    in_child(|| {
        eq(libc::prctl(libc::PR_GET_NO_NEW_PRIVS, zero, zero, zero, zero), 0)?;
        fails(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, zero, zero, zero, zero), libc::EINVAL)?;
        ok(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, zero, zero, zero))?;
        in_child(|| eq(libc::prctl(libc::PR_GET_NO_NEW_PRIVS, zero, zero, zero, zero), 1))
    })
}
