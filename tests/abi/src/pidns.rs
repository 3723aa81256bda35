//! PID namespaces: numbers of their own, and a first process that all depend on. pid_namespaces(7).

use std::fs;

use libc::c_int;

use crate::cases;
use crate::mount::mount;
use crate::ns::{link, open_queue};
use crate::shm;
use crate::support::*;

pub const CASES: &[Case] = cases![
    the_first_child_is_one,
    numbers_are_each_sides_own,
    orphans_go_to_the_first,
    the_first_takes_all_along,
    no_more_after_the_first,
    signals_to_the_first,
    kill_all_stays_inside,
    senders_from_outside_are_zero,
    proc_shows_its_own,
    status_tells_all_numbers,
    groups_and_sessions_are_translated,
    credentials_are_translated,
    locks_tell_the_holder,
    ipc_tells_who_used_it,
    threads_have_numbers,
    filters_name_threads_by_them,
    exec_by_a_thread_keeps_one,
    setns_is_for_children,
    reboot_ends_the_namespace,
    nested_ones_are_seen_from_above,
    numbers_can_be_chosen,
];

unsafe fn need_pid_ns() -> Done {
    need_root()?;
    in_child(|| match libc::unshare(libc::CLONE_NEWPID) {
        -1 => skip(format!("no PID namespace: {}", name_of(errno()))),
        _ => Ok(()),
    })
}

/// Runs `body` as the first process of a new namespace and gives its number as the parent has it, not waited for.
unsafe fn first(body: impl FnOnce() -> Done) -> Done<c_int> {
    first_with(0, body)
}

unsafe fn first_with(flags: c_int, body: impl FnOnce() -> Done) -> Done<c_int> {
    let flags = libc::CLONE_NEWPID | flags | libc::SIGCHLD;
    let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) as c_int;
    if pid == 0 {
        libc::_exit(conclude(body()));
    }
    ok(pid)
}

unsafe fn the_first_child_is_one() -> Done {
    need_pid_ns()?;
    let pid = first(|| {
        eq((libc::getpid(), libc::getppid()), (1, 0))?;
        eq(libc::syscall(libc::SYS_gettid), 1)?;
        let child = spawn(|| eq((libc::getpid(), libc::getppid()), (2, 1)))?;
        eq(child, 2)?;
        join(child)
    })?;
    check(pid > 1, "another number outside")?;
    join(pid)?;
    // By unshare, it is the next child.
    in_child(|| {
        let own = libc::getpid();
        ok(libc::unshare(libc::CLONE_NEWPID))?;
        eq(libc::getpid(), own)?;
        in_child(|| eq(libc::getpid(), 1))?;
        // That is over now.
        fails(libc::fork(), libc::ENOMEM)
    })
}

unsafe fn numbers_are_each_sides_own() -> Done {
    need_pid_ns()?;
    let outside = libc::getpid();
    let pid = first(|| {
        fails(libc::kill(outside, 0), libc::ESRCH)?;
        fails(libc::syscall(libc::SYS_pidfd_open, outside, 0), libc::ESRCH)?;
        fails(libc::getpgid(outside), libc::ESRCH)?;
        ok(libc::kill(1, 0))?;
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let child = spawn(|| Ok(()))?;
        ok(libc::waitid(libc::P_PID, child as u32, &mut info, libc::WEXITED | libc::WNOWAIT))?;
        eq(info.si_pid(), child)?;
        fails(libc::waitpid(outside, std::ptr::null_mut(), 0), libc::ECHILD)?;
        eq(ok(libc::waitpid(-1, std::ptr::null_mut(), 0))?, child)
    })?;
    join(pid)
}

unsafe fn orphans_go_to_the_first() -> Done {
    need_pid_ns()?;
    let pid = first(|| {
        let (r, w) = pipe()?;
        let child = spawn(|| {
            spawn(|| {
                soon("the first is the parent", || libc::getppid() == 1)?;
                put(w, b"x")
            })
            .map(drop)
        })?;
        join(child)?;
        check(got_one(r), "the orphan lives")?;
        let mut status = 0;
        check(ok(libc::waitpid(-1, &mut status, 0))? > 2, "it is waited for")?;
        eq(status, 0)
    })?;
    join(pid)
}

unsafe fn the_first_takes_all_along() -> Done {
    need_pid_ns()?;
    let (r, w) = pipe()?;
    let pid = first(|| {
        spawn(|| {
            // Not even a group of its own, and no signal blocked, saves it.
            libc::setsid();
            let all = set(&(1..32).collect::<Vec<_>>());
            libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
            put(w, b"x")?;
            sleep_ms(60_000);
            Ok(())
        })?;
        check(got_one(r), "it runs")?;
        libc::_exit(7)
    })?;
    let word = status(pid)?;
    eq(libc::WEXITSTATUS(word), 7)?;
    // Its end of the pipe is gone with it.
    libc::close(w);
    check(!got_one(r), "nobody is left")
}

unsafe fn no_more_after_the_first() -> Done {
    need_pid_ns()?;
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWPID))?;
        let pid = spawn(|| Ok(()))?;
        join(pid)?;
        fails(libc::fork(), libc::ENOMEM)?;
        fails(libc::unshare(libc::CLONE_NEWPID | libc::CLONE_THREAD | libc::CLONE_PTRACE), libc::EINVAL)
    })
}

unsafe fn signals_to_the_first() -> Done {
    need_pid_ns()?;
    let (r, w) = pipe()?;
    let pid = first(|| {
        // From inside nothing happens to it without a handler.
        ok(libc::kill(1, libc::SIGKILL))?;
        ok(libc::kill(1, libc::SIGTERM))?;
        in_child(|| {
            ok(libc::kill(1, libc::SIGKILL))?;
            ok(libc::kill(1, libc::SIGSTOP))?;
            // Not even if it says that it is outside.
            let mut info: libc::siginfo_t = std::mem::zeroed();
            info.si_code = libc::SI_QUEUE;
            ok(libc::syscall(libc::SYS_rt_sigqueueinfo, 1, libc::SIGKILL, &info)).map(drop)
        })?;
        put(w, b"x")?;
        sleep_ms(60_000);
        Ok(())
    })?;
    check(got_one(r), "it goes on")?;
    ok(libc::kill(pid, libc::SIGTERM))?;
    sleep_ms(20);
    eq(libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG), 0)?;
    ok(libc::kill(pid, libc::SIGSTOP))?;
    let mut word = 0;
    eq(ok(libc::waitpid(pid, &mut word, libc::WUNTRACED))?, pid)?;
    check(libc::WIFSTOPPED(word), "stopped from outside")?;
    end(pid)
}

unsafe fn kill_all_stays_inside() -> Done {
    need_pid_ns()?;
    let pid = first(|| {
        let (one, two) = (
            spawn(|| {
                sleep_ms(60_000);
                Ok(())
            })?,
            spawn(|| {
                sleep_ms(60_000);
                Ok(())
            })?,
        );
        ok(libc::kill(-1, libc::SIGUSR1))?;
        dies_of(one, libc::SIGUSR1)?;
        dies_of(two, libc::SIGUSR1)?;
        fails(libc::kill(-1, libc::SIGUSR1), libc::ESRCH)
    })?;
    join(pid)
}

unsafe fn senders_from_outside_are_zero() -> Done {
    need_pid_ns()?;
    let (r, w) = pipe()?;
    let pid = first(|| {
        block(&[libc::SIGUSR1])?;
        put(w, b"x")?;
        let mut info: libc::siginfo_t = std::mem::zeroed();
        eq(ok(libc::sigwaitinfo(&set(&[libc::SIGUSR1]), &mut info))?, libc::SIGUSR1)?;
        eq(info.si_pid(), 0)?;
        in_child(|| ok(libc::kill(1, libc::SIGUSR1)).map(drop))?;
        ok(libc::sigwaitinfo(&set(&[libc::SIGUSR1]), &mut info))?;
        eq(info.si_pid(), 2)
    })?;
    check(got_one(r), "it waits")?;
    ok(libc::kill(pid, libc::SIGUSR1))?;
    join(pid)
}

unsafe fn proc_shows_its_own() -> Done {
    need_pid_ns()?;
    let pid = first_with(libc::CLONE_NEWNS, || {
        ok(mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE))?;
        // The old one does not know this process.
        check(fs::read_link("/proc/self").is_ok(), "the old one knows it by its outer number")?;
        ok(libc::mkdir(c"p".as_ptr(), 0o755))?;
        ok(mount(c"proc", c"p", c"proc", 0))?;
        eq(link("p/self"), "1")?;
        eq(link("p/thread-self"), "1/task/1")?;
        let child = spawn(|| {
            sleep_ms(60_000);
            Ok(())
        })?;
        let mut numbers: Vec<u32> = fs::read_dir("p")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        eq(numbers, [1, child as u32])?;
        let stat = fs::read_to_string(format!("p/{child}/stat")).unwrap();
        check(stat.starts_with(&format!("{child} (")) && stat.contains(" 1 "), &stat)?;
        end(child)
    })?;
    join(pid)
}

unsafe fn line(path: &str, name: &str) -> Vec<i32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("");
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

unsafe fn status_tells_all_numbers() -> Done {
    need_pid_ns()?;
    let (r, w) = pipe()?;
    let pid = first(|| {
        put(w, b"x")?;
        sleep_ms(60_000);
        Ok(())
    })?;
    check(got_one(r), "it runs")?;
    let status = format!("/proc/{pid}/status");
    eq(line(&status, "NSpid"), [pid, 1])?;
    eq(line(&status, "NStgid"), [pid, 1])?;
    eq(line(&status, "NSpgid"), [libc::getpgrp(), 0])?;
    eq(line("/proc/self/status", "NSpid"), [libc::getpid()])?;
    check(link(&format!("/proc/{pid}/ns/pid")) != link("/proc/self/ns/pid"), "another one")?;
    end(pid)
}

unsafe fn groups_and_sessions_are_translated() -> Done {
    need_pid_ns()?;
    let pid = first(|| {
        // What comes from outside has no number.
        eq((libc::getpgid(0), libc::getsid(0)), (0, 0))?;
        eq(ok(libc::setsid())?, 1)?;
        eq((libc::getpgid(0), libc::getsid(0)), (1, 1))?;
        let child = spawn(|| {
            ok(libc::setpgid(0, 0))?;
            eq(libc::getpgid(0), libc::getpid())?;
            libc::kill(0, libc::SIGUSR2);
            Ok(())
        })?;
        dies_of(child, libc::SIGUSR2)?;
        fails(libc::setpgid(0, 99), libc::EPERM)?;
        fails(libc::kill(-99, 0), libc::ESRCH)?;
        // A number stays taken as long as a group has it.
        let (r, w) = pipe()?;
        let leader = spawn(|| {
            ok(libc::setpgid(0, 0))?;
            spawn(|| {
                put(w, b"x")?;
                sleep_ms(60_000);
                Ok(())
            })
            .map(drop)
        })?;
        join(leader)?;
        check(got_one(r), "a member is left")?;
        ok(libc::kill(-leader, libc::SIGKILL)).map(drop)
    })?;
    join(pid)
}

unsafe fn credentials_are_translated() -> Done {
    need_pid_ns()?;
    let mut pair = [0; 2];
    ok(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()))?;
    let peer = |fd: c_int| -> Done<c_int> {
        let mut cred: libc::ucred = std::mem::zeroed();
        let mut len = size_of::<libc::ucred>() as u32;
        ok(libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut cred).cast(), &mut len))?;
        Ok(cred.pid)
    };
    eq(peer(pair[0])?, libc::getpid())?;
    let pid = first(|| {
        eq(peer(pair[0])?, 0)?;
        let mut own = [0; 2];
        ok(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, own.as_mut_ptr()))?;
        eq(peer(own[0])?, 1)
    })?;
    join(pid)
}

unsafe fn locks_tell_the_holder() -> Done {
    need_pid_ns()?;
    let fd = file(c"f", b"x")?;
    let mut lock: libc::flock = std::mem::zeroed();
    lock.l_type = libc::F_WRLCK as i16;
    ok(libc::fcntl(fd, libc::F_SETLK, &lock))?;
    let pid = first(|| {
        let mut asked: libc::flock = std::mem::zeroed();
        asked.l_type = libc::F_WRLCK as i16;
        ok(libc::fcntl(fd, libc::F_GETLK, &mut asked))?;
        eq((asked.l_type, asked.l_pid), (libc::F_WRLCK as i16, 0))
    })?;
    join(pid)
}

unsafe fn ipc_tells_who_used_it() -> Done {
    need_pid_ns()?;
    let id = ok(libc::shmget(libc::IPC_PRIVATE, PAGE, libc::IPC_CREAT | 0o600))?;
    let name = std::ffi::CString::new(format!("/abi-pidns-{}", libc::getpid())).unwrap_or_default();
    let queue = open_queue(&name, libc::O_CREAT);
    libc::mq_unlink(name.as_ptr());
    let tell = |creator: c_int, notified: c_int| {
        eq(shm::listed(id).get(4), Some(&creator.to_string()))?;
        let text = String::from_utf8_lossy(&get(queue)?).into_owned();
        check(text.trim_end().ends_with(&format!("NOTIFY_PID:{notified}")), &text)?;
        ok(libc::lseek(queue, 0, libc::SEEK_SET)).map(drop)
    };
    let mut event: libc::sigevent = std::mem::zeroed();
    event.sigev_notify = libc::SIGEV_NONE;
    let done = ok(queue).and_then(|_| {
        ok(libc::mq_notify(queue, &event))?;
        tell(libc::getpid(), libc::getpid())?;
        join(first(|| tell(0, 0))?)
    });
    libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
    done
}

unsafe fn threads_have_numbers() -> Done {
    need_pid_ns()?;
    let pid = first(|| {
        let tid = std::thread::spawn(|| libc::syscall(libc::SYS_gettid)).join().unwrap();
        eq(tid, 2)?;
        // And it is free again.
        soon("it is gone", || libc::syscall(libc::SYS_tgkill, 1, 2, 0) == -1)?;
        ok(libc::syscall(libc::SYS_tgkill, 1, 1, 0)).map(drop)
    })?;
    join(pid)
}

unsafe fn filters_name_threads_by_them() -> Done {
    need_pid_ns()?;
    join(first(|| crate::seccomp::threads_that_differ_are_named())?)
}

unsafe fn exec_by_a_thread_keeps_one() -> Done {
    need_pid_ns()?;
    let (r, w) = pipe()?;
    let pid = first(|| {
        ok(libc::dup2(w, 1))?;
        let path = own_path();
        let _ = std::thread::spawn(move || exec(&path, &[c"show", c"ids"], &[])).join();
        fail("it did not execute")
    })?;
    join(pid)?;
    libc::close(w);
    let text = String::from_utf8_lossy(&get(r)?).into_owned();
    check(text.starts_with("1 0 "), &text)
}

unsafe fn setns_is_for_children() -> Done {
    need_pid_ns()?;
    let (r, w) = pipe()?;
    let pid = first(|| {
        put(w, b"x")?;
        sleep_ms(60_000);
        Ok(())
    })?;
    check(got_one(r), "it runs")?;
    let path = std::ffi::CString::new(format!("/proc/{pid}/ns/pid")).unwrap();
    let there = ok(libc::open(path.as_ptr(), libc::O_RDONLY))?;
    let here = ok(libc::open(c"/proc/self/ns/pid".as_ptr(), libc::O_RDONLY))?;
    in_child(|| {
        let own = libc::getpid();
        ok(libc::setns(there, libc::CLONE_NEWPID))?;
        eq(libc::getpid(), own)?;
        check(link("/proc/self/ns/pid") != link("/proc/self/ns/pid_for_children"), "for children")?;
        in_child(|| {
            eq((libc::getpid(), libc::getppid()), (2, 0))?;
            fails(libc::setns(here, libc::CLONE_NEWPID), libc::EINVAL) // not upwards
        })?;
        // Threads have to be where their process is.
        let flags = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        fails(libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0), libc::EINVAL)
    })?;
    end(pid)
}

unsafe fn reboot_ends_the_namespace() -> Done {
    need_pid_ns()?;
    for (command, signal) in [(libc::RB_POWER_OFF, libc::SIGINT), (libc::RB_AUTOBOOT, libc::SIGHUP)] {
        let pid = first(|| {
            // Only where it cannot end more than this.
            eq(libc::getpid(), 1)?;
            let child = spawn(|| ok(libc::reboot(command)).map(drop))?;
            join(child)?;
            sleep_ms(60_000);
            Ok(())
        })?;
        dies_of(pid, signal)?;
    }
    Ok(())
}

unsafe fn nested_ones_are_seen_from_above() -> Done {
    need_pid_ns()?;
    let pid = first(|| {
        let (r, w) = pipe()?;
        let inner = first(|| {
            put(w, b"x")?;
            sleep_ms(60_000);
            Ok(())
        })?;
        eq(inner, 2)?;
        check(got_one(r), "it runs")?;
        end(inner)
    })?;
    join(pid)
}

/// A child with these numbers, from its namespace outwards, which ends at once.
unsafe fn with_numbers(flags: c_int, numbers: &[c_int]) -> c_int {
    let mut args: libc::clone_args = std::mem::zeroed();
    (args.flags, args.exit_signal) = (flags as u64, libc::SIGCHLD as u64);
    (args.set_tid, args.set_tid_size) = (numbers.as_ptr() as u64, numbers.len() as u64);
    let pid = libc::syscall(libc::SYS_clone3, &args, size_of_val(&args)) as c_int;
    if pid == 0 {
        libc::_exit(libc::getpid());
    }
    pid
}

unsafe fn numbers_can_be_chosen() -> Done {
    need_pid_ns()?;
    let ends_with = |pid, code| eq(libc::WEXITSTATUS(status(pid)?), code);
    let pid = first(|| {
        let child = ok(with_numbers(0, &[77]))?;
        eq(child, 77)?;
        fails(with_numbers(0, &[77]), libc::EEXIST)?;
        ends_with(child, 77)?;
        ends_with(ok(with_numbers(0, &[77]))?, 77)?;
        fails(with_numbers(0, &[1]), libc::EEXIST)?;
        for number in [0, -1, c_int::MAX] {
            fails(with_numbers(0, &[number]), libc::EINVAL)?;
        }
        fails(with_numbers(0, &[80; 33]), libc::EINVAL)?;
        fails(with_numbers(0, &[]), libc::EINVAL)?; // an address, and nothing there
        // Of its own namespace it is the first, or nothing.
        fails(with_numbers(libc::CLONE_NEWPID, &[2]), libc::EINVAL)?;
        fails(with_numbers(libc::CLONE_NEWPID, &[1, 1]), libc::EEXIST)?;
        let child = ok(with_numbers(libc::CLONE_NEWPID, &[1, 88]))?;
        eq(child, 88)?;
        ends_with(child, 1)?;
        // What comes by itself is as if nothing had been chosen.
        let child = spawn(|| {
            ok(libc::setresuid(65534, 65534, 65534))?;
            fails(with_numbers(0, &[90]), libc::EPERM)
        })?;
        eq(child, 2)?;
        join(child)
    })?;
    join(pid)
}
