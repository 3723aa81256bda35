//! The controller `pids`, and which groups may have it. `Documentation/admin-guide/cgroup-v2.rst`.

use std::fs;

use crate::cases;
use crate::cgroup::{in_group, own_pid, read, sleeper_in, write};
use crate::overlay::{c, io};
use crate::support::*;

pub const CASES: &[Case] = cases![
    controller_is_handed_on,
    forks_are_limited,
    threads_are_limited,
    zombies_count,
    exec_by_a_thread_counts_once,
    processes_are_not_inside,
    below_threaded_is_invalid,
];

/// As [`in_group`], with the controller in the group.
unsafe fn with_pids(body: impl FnOnce(&str) -> Done) -> Done {
    in_group(|group| {
        let known = read("cg/cgroup.controllers").split_whitespace().any(|name| name == "pids");
        if !known {
            return skip("no controller pids in this hierarchy");
        }
        let before = read("cg/cgroup.subtree_control").contains("pids");
        eq(write("cg/cgroup.subtree_control", "+pids"), 0)?;
        let done = body(group);
        if !before {
            // Others may use it now, and then it stays.
            write("cg/cgroup.subtree_control", "-pids");
        }
        done
    })
}

unsafe fn controller_is_handed_on() -> Done {
    with_pids(|group| {
        let a = format!("{group}/a");
        io(fs::create_dir(&a))?;
        check(read(&format!("{group}/cgroup.controllers")).contains("pids"), "it has it")?;
        check(!read(&format!("{a}/cgroup.controllers")).contains("pids"), "not yet")?;
        check(!fs::exists(format!("{a}/pids.max")).unwrap_or(true), "no file")?;
        check(!fs::exists("cg/pids.max").unwrap_or(true), "the root has no limit")?;
        eq(write(&format!("{a}/cgroup.subtree_control"), "+pids"), libc::ENOENT)?;
        let control = format!("{group}/cgroup.subtree_control");
        eq(write(&control, "-pids +pids"), 0)?;
        eq(read(&control), "pids\n")?;
        eq(read(&format!("{a}/pids.max")), "max\n")?;
        let max = format!("{a}/pids.max");
        for (text, error, shown) in [
            ("7", 0, "7\n"),
            ("-1", libc::EINVAL, "7\n"),
            ("x", libc::EINVAL, "7\n"),
            ("4194305", libc::EINVAL, "7\n"),
            ("4194304", 0, "4194304\n"),
            ("max\n", 0, "max\n"),
            ("0", 0, "0\n"),
        ] {
            eq(write(&max, text), error)?;
            eq(read(&max), shown)?;
        }
        let open = ok(libc::open(c(&max).as_ptr(), libc::O_RDONLY))?;
        eq(write(&format!("{a}/cgroup.subtree_control"), "+pids"), 0)?;
        eq(write(&control, "-pids"), libc::EBUSY)?;
        eq(write(&format!("{a}/cgroup.subtree_control"), "-pids"), 0)?;
        eq(write(&control, "-pids"), 0)?;
        let mut byte = 0u8;
        fails(libc::read(open, (&raw mut byte).cast(), 1), libc::ENODEV)?;
        check(!fs::exists(&max).unwrap_or(true), "gone")?;
        // With the controller comes a limit that is new.
        eq(write(&control, "+pids"), 0)?;
        eq(read(&max), "max\n")
    })
}

unsafe fn forks_are_limited() -> Done {
    with_pids(|group| {
        let a = format!("{group}/a");
        io(fs::create_dir(&a))?;
        eq(write(&format!("{group}/cgroup.subtree_control"), "+pids"), 0)?;
        eq(write(&format!("{group}/pids.max"), "3"), 0)?;
        in_child(|| {
            eq(write(&format!("{a}/cgroup.procs"), "0"), 0)?;
            let (one, two) = (sleeping()?, sleeping()?);
            eq(read(&format!("{a}/pids.current")), "3\n")?;
            eq(read(&format!("{group}/pids.current")), "3\n")?;
            fails(libc::fork(), libc::EAGAIN)?;
            end(one)?;
            // What was waited for is free again.
            end(sleeping()?)?;
            eq(write(&format!("{a}/pids.max"), "1"), 0)?;
            fails(libc::fork(), libc::EAGAIN)?;
            end(two)
        })?;
        eq(read(&format!("{group}/pids.current")), "0\n")?;
        eq(read(&format!("{group}/pids.peak")), "3\n")?;
        // Once here, once below; each where the limit was hit.
        eq(read(&format!("{group}/pids.events")), "max 2\n")?;
        eq(read(&format!("{group}/pids.events.local")), "max 1\n")?;
        eq(read(&format!("{a}/pids.events")), "max 1\n")?;
        eq(read(&format!("{a}/pids.events.local")), "max 1\n")?;
        // Whoever comes is not refused.
        eq(write(&format!("{a}/pids.max"), "0"), 0)?;
        let pid = sleeper_in(&a)?;
        eq(read(&format!("{a}/pids.current")), "1\n")?;
        end(pid)
    })
}

unsafe fn threads_are_limited() -> Done {
    with_pids(|group| {
        eq(write(&format!("{group}/pids.max"), "2"), 0)?;
        in_child(|| {
            eq(write(&format!("{group}/cgroup.procs"), "0"), 0)?;
            let (send, hear) = std::sync::mpsc::channel::<()>();
            let one = std::thread::Builder::new().spawn(move || hear.recv().is_ok()).or_else(fail)?;
            let two = std::thread::Builder::new().spawn(|| ());
            eq(two.err().and_then(|error| error.raw_os_error()), Some(libc::EAGAIN))?;
            eq(read(&format!("{group}/pids.current")), "2\n")?;
            let _ = send.send(());
            let _ = one.join();
            soon("it is free again", || read(&format!("{group}/pids.current")) == "1\n")
        })
    })
}

unsafe fn zombies_count() -> Done {
    with_pids(|group| {
        let pid = sleeper_in(group)?;
        ok(libc::kill(pid, libc::SIGKILL))?;
        soon("it ends", || state(pid) == 'Z')?;
        eq(read(&format!("{group}/pids.current")), "1\n")?;
        dies_of(pid, libc::SIGKILL)?;
        eq(read(&format!("{group}/pids.current")), "0\n")
    })
}

unsafe fn exec_by_a_thread_counts_once() -> Done {
    with_pids(|group| {
        let (there, done) = (pipe()?, pipe()?);
        let pid = spawn(|| {
            eq(write(&format!("{group}/cgroup.procs"), "0"), 0)?;
            libc::close(there.0);
            libc::dup2(done.0, 0);
            libc::dup2(there.1, 1);
            libc::close(done.0);
            libc::close(done.1);
            let _ = std::thread::spawn(|| exec(&own_path(), &[c"abi", c"show", c"args"], &[])).join();
            sleep_ms(3000);
            fail("it was not executed")
        })?;
        libc::close(there.1);
        // The program ends at once, and stays a zombie until it is waited for.
        soon("it ends", || state(pid) == 'Z')?;
        eq(read(&format!("{group}/pids.current")), "1\n")?;
        status(pid)?;
        eq(read(&format!("{group}/pids.current")), "0\n")
    })
}

unsafe fn processes_are_not_inside() -> Done {
    with_pids(|group| {
        let a = format!("{group}/a");
        io(fs::create_dir(&a))?;
        let control = format!("{group}/cgroup.subtree_control");
        let (inside, below) = (sleeper_in(group)?, sleeper_in(&a)?);
        // With processes here and below, which both would share.
        eq(write(&control, "+pids"), libc::EBUSY)?;
        eq(write(&format!("{a}/cgroup.procs"), &inside.to_string()), 0)?;
        eq(write(&control, "+pids"), 0)?;
        eq(read(&format!("{a}/pids.current")), "2\n")?;
        eq(write(&format!("{group}/cgroup.procs"), &inside.to_string()), libc::EBUSY)?;
        eq(write("cg/cgroup.procs", &inside.to_string()), 0)?;
        eq(read(&format!("{a}/pids.current")), "1\n")?;
        [inside, below].into_iter().try_for_each(end)
    })
}

unsafe fn below_threaded_is_invalid() -> Done {
    with_pids(|group| {
        let a = format!("{group}/a");
        io(fs::create_dir(&a))?;
        let pid = sleeper_in(group)?;
        // The controller is one that threads can share.
        eq(write(&format!("{group}/cgroup.subtree_control"), "+pids"), 0)?;
        eq(read(&format!("{group}/cgroup.type")), "domain threaded\n")?;
        eq(read(&format!("{a}/cgroup.type")), "domain invalid\n")?;
        eq(write(&format!("{a}/cgroup.procs"), &own_pid()), libc::EOPNOTSUPP)?;
        end(pid)?;
        eq(read(&format!("{group}/cgroup.type")), "domain\n")?;
        eq(write(&format!("{a}/cgroup.procs"), &own_pid()), 0)?;
        eq(read(&format!("{a}/pids.current")), "1\n")
    })
}
