//! Control groups as a file system: groups, their files, who is in them. cgroups(7), cgroup_namespaces(7),
//! `Documentation/admin-guide/cgroup-v2.rst`. Controllers are in `cgroup_pids`.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use libc::c_int;

use crate::cases;
use crate::mount::private_place;
use crate::overlay::{c, io, names};
use crate::support::*;

pub const CASES: &[Case] = cases![
    new_group_has_files,
    only_groups_are_made,
    groups_are_bounded,
    writes_are_checked,
    reads_and_seeks,
    processes_move,
    threads_stay_together,
    zombies_stay,
    removed_groups_answer,
    events_are_told,
    kill_ends_all,
    kill_meets_forks,
    cpu_time_is_kept,
];

/// The options of the hierarchy, which whoever mounts it again in the initial namespace sets anew.
pub fn options() -> String {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = all.lines().find_map(|line| line.split_once(" - cgroup2 "));
    let options = found.and_then(|(_, rest)| rest.split(' ').nth(1)).unwrap_or_default();
    options.split(',').filter(|option| !["rw", "ro"].contains(option)).collect::<Vec<_>>().join(",")
}

pub unsafe fn mount_at(at: &str, options: &str) -> c_int {
    crate::overlay::mount(c"cgroup2", &c(at), options)
}

/// The path after `0::` for a process.
pub fn path_of(pid: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_string()
}

/// Writes at once; the error number.
pub fn write(path: &str, text: &str) -> c_int {
    // SAFETY: name and text live.
    unsafe {
        let fd = libc::open(c(path).as_ptr(), libc::O_WRONLY);
        if fd == -1 {
            return errno();
        }
        let result = match libc::write(fd, text.as_ptr().cast(), text.len()) {
            -1 => errno(),
            _ => 0,
        };
        libc::close(fd);
        result
    }
}

pub fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{error}"))
}

pub fn own_pid() -> String {
    std::process::id().to_string()
}

/// Removes a group with all below it, and ends what is in it.
fn remove(group: &str) {
    let below = fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    for entry in below.collect::<Vec<_>>() {
        remove(&entry.path().to_string_lossy());
    }
    let end = now_ms() + 3000;
    while fs::remove_dir(group).is_err() && now_ms() < end {
        write(&format!("{group}/cgroup.kill"), "1");
        sleep_ms(2);
    }
}

/// Runs `body` with the hierarchy mounted on `cg`, and the name of a group of its own below that.
pub unsafe fn in_group(body: impl FnOnce(&str) -> Done) -> Done {
    let options = options();
    private_place()?;
    io(fs::create_dir("cg"))?;
    if mount_at("cg", &options) == -1 {
        return skip(format!("cgroup2 cannot be mounted: {}", name_of(errno())));
    }
    let (before, group) = (path_of("self"), format!("cg/abi-{}", own_pid()));
    io(fs::create_dir(&group))?;
    let done = body(&group);
    write(&format!("cg{before}/cgroup.procs"), "0");
    remove(&group);
    done
}

/// As [`in_group`], with groups of these names in it.
pub unsafe fn with_groups(names: &[&str], body: impl FnOnce(&str) -> Done) -> Done {
    in_group(|group| {
        for name in names {
            io(fs::create_dir(format!("{group}/{name}")))?;
        }
        body(group)
    })
}

/// A child that sleeps in a group.
pub fn sleeper_in(group: &str) -> Done<c_int> {
    let pid = sleeping()?;
    eq(write(&format!("{group}/cgroup.procs"), &pid.to_string()), 0)?;
    Ok(pid)
}

unsafe fn new_group_has_files() -> Done {
    in_group(|group| {
        for (name, mode, text) in [
            ("cgroup.controllers", 0o444, Some("")),
            ("cgroup.events", 0o444, Some("populated 0\nfrozen 0\n")),
            ("cgroup.kill", 0o200, None),
            ("cgroup.max.depth", 0o644, Some("max\n")),
            ("cgroup.max.descendants", 0o644, Some("max\n")),
            ("cgroup.procs", 0o644, Some("")),
            ("cgroup.subtree_control", 0o644, Some("")),
            ("cgroup.threads", 0o644, Some("")),
            ("cgroup.type", 0o644, Some("domain\n")),
        ] {
            let path = format!("{group}/{name}");
            let meta = io(fs::metadata(&path))?;
            eq((meta.mode(), meta.nlink(), meta.size()), (libc::S_IFREG | mode, 1, 0))?;
            if let Some(text) = text {
                // What the group above hands on is there from the start.
                let inherited = name == "cgroup.controllers" && !read("cg/cgroup.subtree_control").is_empty();
                check(inherited || read(&path) == text, name)?;
            }
        }
        check(read(&format!("{group}/cgroup.stat")).starts_with("nr_descendants 0\n"), "no groups")?;
        check(
            read(&format!("{group}/cpu.stat")).starts_with("usage_usec 0\nuser_usec 0\nsystem_usec 0\n"),
            "no time",
        )?;
        for name in ["cgroup.events", "cgroup.kill", "cgroup.type"] {
            check(!fs::exists(format!("cg/{name}")).unwrap_or(true), "not in the root")?;
        }
        for name in ["cgroup.procs", "cgroup.controllers", "cgroup.stat", "cpu.stat"] {
            check(fs::exists(format!("cg/{name}")).unwrap_or(false), "in the root")?;
        }
        let listed = names(group)?;
        check(listed.contains(&"cgroup.procs".to_string()), "listed")?;
        let mut stat: libc::statfs = std::mem::zeroed();
        ok(libc::statfs(c(group).as_ptr(), &mut stat))?;
        eq(stat.f_type, libc::CGROUP2_SUPER_MAGIC)?;
        let meta = io(fs::metadata(group))?;
        eq((meta.mode(), meta.nlink()), (libc::S_IFDIR | 0o755, 2))?;
        io(fs::create_dir(format!("{group}/a")))?;
        eq(io(fs::metadata(group))?.nlink(), 3)?;
        check(names(group)?.contains(&"a".to_string()), "listed")?;
        check(read(&format!("{group}/cgroup.stat")).starts_with("nr_descendants 1\n"), "a group")
    })
}

unsafe fn only_groups_are_made() -> Done {
    with_groups(&["a"], |group| {
        let at = |name: &str| c(&format!("{group}/{name}"));
        fails(libc::open(at("x").as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o644), libc::EACCES)?;
        fails(libc::mknod(at("x").as_ptr(), libc::S_IFIFO | 0o644, 0), libc::EPERM)?;
        check(
            symlink("x", format!("{group}/x")).is_err_and(|e| e.raw_os_error() == Some(libc::EPERM)),
            "no links",
        )?;
        fails(libc::link(at("cgroup.procs").as_ptr(), at("x").as_ptr()), libc::EPERM)?;
        fails(libc::unlink(at("cgroup.procs").as_ptr()), libc::EPERM)?;
        fails(libc::rename(at("a").as_ptr(), at("b").as_ptr()), libc::EPERM)?;
        fails(libc::rename(at("cgroup.procs").as_ptr(), at("b").as_ptr()), libc::EPERM)?;
        fails(libc::rmdir(at("cgroup.procs").as_ptr()), libc::ENOTDIR)?;
        fails(libc::mkdir(at("cgroup.procs").as_ptr(), 0o755), libc::EEXIST)?;
        fails(libc::mkdir(at("a").as_ptr(), 0o755), libc::EEXIST)?;
        fails(libc::mkdir(at("a\nb").as_ptr(), 0o755), libc::EINVAL)?;
        ok(libc::mkdir(at("a/b").as_ptr(), 0o700))?;
        eq(io(fs::metadata(format!("{group}/a/b")))?.mode() & 0o7777, 0o700)?;
        fails(libc::rmdir(at("a").as_ptr()), libc::EBUSY)?;
        ok(libc::rmdir(at("a/b").as_ptr()))?;
        fails(libc::rmdir(at("a/b").as_ptr()), libc::ENOENT)?;
        ok(libc::rmdir(at("a").as_ptr())).map(drop)
    })
}

unsafe fn groups_are_bounded() -> Done {
    with_groups(&["a"], |group| {
        let at = |name: &str| c(&format!("{group}/{name}"));
        let depth = format!("{group}/cgroup.max.depth");
        let descendants = format!("{group}/cgroup.max.descendants");
        for (text, error, shown) in [
            ("3", 0, "3\n"),
            ("-1", libc::ERANGE, "3\n"),
            ("x", libc::EINVAL, "3\n"),
            ("2147483648", libc::ERANGE, "3\n"),
            (" max \n", 0, "max\n"),
            ("0x10", 0, "16\n"),
            ("2147483647", 0, "max\n"),
            ("0", 0, "0\n"),
        ] {
            for path in [&depth, &descendants] {
                eq(write(path, text), error)?;
                eq(read(path), shown)?;
            }
        }
        fails(libc::mkdir(at("b").as_ptr(), 0o755), libc::EAGAIN)?;
        eq(write(&depth, "1"), 0)?;
        eq(write(&descendants, "3"), 0)?;
        ok(libc::mkdir(at("b").as_ptr(), 0o755))?;
        fails(libc::mkdir(at("a/c").as_ptr(), 0o755), libc::EAGAIN)?;
        eq(write(&depth, "2"), 0)?;
        ok(libc::mkdir(at("a/c").as_ptr(), 0o755))?;
        fails(libc::mkdir(at("d").as_ptr(), 0o755), libc::EAGAIN)?;
        eq(write(&descendants, "max"), 0)?;
        fails(libc::mkdir(at("a/c/d").as_ptr(), 0o755), libc::EAGAIN)?;
        ok(libc::mkdir(at("d").as_ptr(), 0o755))?;
        check(read(&format!("{group}/cgroup.stat")).starts_with("nr_descendants 4\n"), "four")
    })
}

unsafe fn writes_are_checked() -> Done {
    in_group(|group| {
        for (name, text, error) in [
            ("cgroup.events", "1", libc::EINVAL),
            ("cgroup.procs", "x", libc::EINVAL),
            ("cgroup.procs", "-1", libc::EINVAL),
            ("cgroup.procs", "99999999999", libc::EINVAL),
            ("cgroup.procs", "1 2", libc::EINVAL),
            ("cgroup.procs", "4194303", libc::ESRCH),
            ("cgroup.procs", "", 0),
            ("cgroup.threads", "x", libc::EINVAL),
            ("cgroup.kill", "x", libc::EINVAL),
            ("cgroup.kill", "2", libc::ERANGE),
            ("cgroup.kill", "-1", libc::ERANGE),
            ("cgroup.kill", "", 0),
            ("cgroup.type", "domain", libc::EINVAL),
            ("cgroup.type", "x", libc::EINVAL),
            ("cgroup.subtree_control", "+none", libc::EINVAL),
            ("cgroup.subtree_control", "pids", libc::EINVAL),
            ("cgroup.subtree_control", "+", libc::EINVAL),
            ("cgroup.subtree_control", "", 0),
        ] {
            let got = write(&format!("{group}/{name}"), text);
            check(got == error, &format!("{name} takes {text:?} with {error}, got {got}"))?;
        }
        eq(read(&format!("{group}/cgroup.procs")), "")?;
        eq(write(&format!("{group}/cgroup.max.depth"), &format!("1{}", " ".repeat(4095))), 0)?;
        eq(write(&format!("{group}/cgroup.max.depth"), &format!("1{}", " ".repeat(4096))), libc::E2BIG)?;
        ok(libc::truncate(c(&format!("{group}/cgroup.max.depth")).as_ptr(), 5))?;
        eq(read(&format!("{group}/cgroup.max.depth")), "1\n")
    })
}

unsafe fn reads_and_seeks() -> Done {
    in_group(|group| {
        let fd = ok(libc::open(c(&format!("{group}/cgroup.max.depth")).as_ptr(), libc::O_RDWR))?;
        let mut buf = [0u8; 16];
        let mut at = |offset| {
            let n = libc::pread(fd, buf.as_mut_ptr().cast(), buf.len(), offset);
            String::from_utf8_lossy(&buf[..n.max(0) as usize]).into_owned()
        };
        eq((at(0), at(1), at(9)), ("max\n".to_string(), "ax\n".to_string(), String::new()))?;
        eq(get(fd)?, b"max\n")?;
        eq(get(fd)?, b"")?;
        eq(ok(libc::lseek(fd, 0, libc::SEEK_END))?, 0)?;
        put(fd, b"7")?;
        eq(ok(libc::lseek(fd, 0, libc::SEEK_CUR))?, 1)?;
        eq(at(0), "7\n")?;
        let kill = ok(libc::open(c(&format!("{group}/cgroup.kill")).as_ptr(), libc::O_RDWR))?;
        fails(libc::read(kill, buf.as_mut_ptr().cast(), 4), libc::EINVAL)
    })
}

unsafe fn processes_move() -> Done {
    with_groups(&["a", "b"], |group| {
        let [own, a, b] = ["", "/a", "/b"].map(|name| format!("{group}{name}/cgroup.procs"));
        let pid = own_pid();
        let above = path_of("self");
        // Whoever runs this may be in no root group.
        let path = format!("/{}", group.rsplit('/').next().unwrap_or_default());
        eq(write(&a, "0"), 0)?;
        eq(path_of("self"), format!("{path}/a"))?;
        eq(read(&a), format!("{pid}\n"))?;
        fails(libc::rmdir(c(&format!("{group}/a")).as_ptr()), libc::EBUSY)?;
        for name in ["", "/a", "/b"] {
            let populated = read(&format!("{group}{name}/cgroup.events")).starts_with("populated 1\n");
            eq(populated, name != "/b")?;
        }
        in_child(|| {
            eq(path_of("self"), format!("{path}/a"))?;
            eq(read(&a).lines().count(), 2)?;
            eq(write(&b, &format!(" {}\n", own_pid())), 0)?;
            eq((read(&a), read(&b)), (format!("{pid}\n"), format!("{}\n", own_pid())))
        })?;
        eq(read(&b), "")?;
        eq(write(&own, &pid), 0)?;
        eq((read(&own), read(&a)), (format!("{pid}\n"), String::new()))?;
        eq(write(&format!("cg{above}/cgroup.procs"), &pid), 0)?;
        eq(path_of(&pid), above)?;
        eq(read(&format!("{group}/cgroup.events")), "populated 0\nfrozen 0\n")
    })
}

unsafe fn threads_stay_together() -> Done {
    with_groups(&["a"], |group| {
        in_child(|| {
            let (send, hear) = std::sync::mpsc::channel::<()>();
            let (tell, tid) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                let _ = tell.send(libc::syscall(libc::SYS_gettid));
                let _ = hear.recv();
                path_of("thread-self")
            });
            let tid = tid.recv().or_else(fail)?.to_string();
            // The number of any thread will do for the whole process.
            eq(write(&format!("{group}/cgroup.procs"), &tid), 0)?;
            eq(read(&format!("{group}/cgroup.procs")), format!("{}\n", own_pid()))?;
            let mut both = [own_pid(), tid.clone()];
            both.sort();
            let threads = read(&format!("{group}/cgroup.threads"));
            let mut threads: Vec<&str> = threads.lines().collect();
            threads.sort();
            eq(threads, both)?;
            // Not one without the others; to where it is already, it may.
            eq(write(&format!("{group}/a/cgroup.threads"), &tid), libc::EOPNOTSUPP)?;
            eq(write(&format!("{group}/cgroup.threads"), &tid), 0)?;
            let _ = send.send(());
            let path = thread.join().map_err(|_| Stop::Failed("the thread".into()))?;
            eq(path, path_of("self"))
        })
    })
}

unsafe fn zombies_stay() -> Done {
    with_groups(&["a", "b"], |group| {
        let pid = sleeper_in(&format!("{group}/a"))?;
        let path = path_of(&pid.to_string());
        check(path.ends_with("/a"), "it is there")?;
        ok(libc::kill(pid, libc::SIGKILL))?;
        soon("it ends", || state(pid) == 'Z')?;
        eq(read(&format!("{group}/a/cgroup.procs")), "")?;
        eq(read(&format!("{group}/a/cgroup.events")), "populated 0\nfrozen 0\n")?;
        eq(path_of(&pid.to_string()), path.clone())?;
        // It is told that it was moved, and stays.
        eq(write(&format!("{group}/b/cgroup.procs"), &pid.to_string()), 0)?;
        eq(path_of(&pid.to_string()), path.clone())?;
        ok(libc::rmdir(c(&format!("{group}/a")).as_ptr()))?;
        eq(path_of(&pid.to_string()), format!("{path} (deleted)"))?;
        dies_of(pid, libc::SIGKILL)
    })
}

unsafe fn removed_groups_answer() -> Done {
    with_groups(&["a"], |group| {
        let open = |name: &str, flags| ok(libc::open(c(&format!("{group}/a{name}")).as_ptr(), flags));
        let dir = open("", libc::O_RDONLY)?;
        let (events, procs) = (open("/cgroup.events", libc::O_RDONLY)?, open("/cgroup.procs", libc::O_RDWR)?);
        let kill = open("/cgroup.kill", libc::O_WRONLY)?;
        ok(libc::rmdir(c(&format!("{group}/a")).as_ptr()))?;
        let mut byte = 0u8;
        fails(libc::read(events, (&raw mut byte).cast(), 1), libc::ENODEV)?;
        fails(libc::write(procs, c"0".as_ptr().cast(), 1), libc::ENODEV)?;
        fails(libc::write(kill, c"1".as_ptr().cast(), 1), libc::ENODEV)?;
        let again = c(&format!("/proc/self/fd/{events}"));
        fails(libc::open(again.as_ptr(), libc::O_RDONLY), libc::ENODEV)?;
        fails(libc::mkdirat(dir, c"x".as_ptr(), 0o755), libc::ENOENT)?;
        fails(libc::openat(dir, c"cgroup.procs".as_ptr(), libc::O_RDONLY), libc::ENOENT)?;
        eq(names(&format!("/proc/self/fd/{dir}"))?.len(), 0)?;
        // The same name is another group's then.
        ok(libc::mkdir(c(&format!("{group}/a")).as_ptr(), 0o755))?;
        fails(libc::read(events, (&raw mut byte).cast(), 1), libc::ENODEV)
    })
}

/// What `poll` says of a file at once, or in so many milliseconds.
unsafe fn polled(fd: c_int, ms: c_int) -> Done<i16> {
    let mut fds = libc::pollfd { fd, events: libc::POLLPRI, revents: 0 };
    ok(libc::poll(&mut fds, 1, ms))?;
    Ok(fds.revents)
}

unsafe fn events_are_told() -> Done {
    const NEWS: i16 = libc::POLLPRI | libc::POLLERR;
    with_groups(&["a"], |group| {
        let path = c(&format!("{group}/cgroup.events"));
        let fd = ok(libc::open(path.as_ptr(), libc::O_RDONLY))?;
        // Until it is read it has news.
        eq(polled(fd, 0)?, NEWS)?;
        eq(get(fd)?, b"populated 0\nfrozen 0\n")?;
        eq(polled(fd, 0)?, 0)?;
        let heard = ok(libc::inotify_init1(libc::IN_NONBLOCK))?;
        ok(libc::inotify_add_watch(heard, path.as_ptr(), libc::IN_MODIFY))?;
        let pid = sleeper_in(&format!("{group}/a"))?;
        eq(polled(fd, 3000)?, NEWS)?;
        eq(polled(fd, 0)?, NEWS)?;
        eq(ok(libc::lseek(fd, 0, libc::SEEK_SET))?, 0)?;
        eq(get(fd)?, b"populated 1\nfrozen 0\n")?;
        eq(polled(fd, 0)?, 0)?;
        let mut event = [0u8; 256];
        soon("it is told", || libc::read(heard, event.as_mut_ptr().cast(), event.len()) >= 16)?;
        eq(u32::from_ne_bytes([event[4], event[5], event[6], event[7]]), libc::IN_MODIFY)?;
        // Another process in it is no news.
        let other = sleeper_in(group)?;
        eq(polled(fd, 100)?, 0)?;
        end(other)?;
        eq(polled(fd, 100)?, 0)?;
        let waiter = spawn(|| {
            eq(polled(fd, 5000)?, NEWS)?;
            eq(ok(libc::lseek(fd, 0, libc::SEEK_SET))?, 0)?;
            eq(get(fd)?, b"populated 0\nfrozen 0\n")
        })?;
        asleep(waiter);
        ok(libc::kill(pid, libc::SIGKILL))?;
        join(waiter)?;
        dies_of(pid, libc::SIGKILL)
    })
}

unsafe fn kill_ends_all() -> Done {
    with_groups(&["a", "b", "b/c"], |group| {
        let pids: Vec<c_int> = ["", "/a", "/b/c"]
            .iter()
            .map(|name| sleeper_in(&format!("{group}{name}")))
            .collect::<Done<_>>()?;
        let stopped = sleeper_in(&format!("{group}/b/c"))?;
        ok(libc::kill(stopped, libc::SIGSTOP))?;
        eq(write(&format!("{group}/b/cgroup.kill"), "1"), 0)?;
        dies_of(pids[2], libc::SIGKILL)?;
        dies_of(stopped, libc::SIGKILL)?;
        eq(state(pids[0]), 'S')?;
        eq(write(&format!("{group}/cgroup.kill"), "1\n"), 0)?;
        dies_of(pids[0], libc::SIGKILL)?;
        dies_of(pids[1], libc::SIGKILL)?;
        eq(read(&format!("{group}/cgroup.events")), "populated 0\nfrozen 0\n")
    })
}

/// Children that make children as fast as they can: none gets away.
unsafe fn kill_meets_forks() -> Done {
    in_group(|group| {
        let pid = spawn(|| {
            eq(write(&format!("{group}/cgroup.procs"), "0"), 0)?;
            // Three at a time, each of which goes on where its parent ends.
            libc::fork();
            libc::fork();
            loop {
                match libc::fork() {
                    0 | -1 => {}
                    _ => libc::_exit(0),
                }
            }
        })?;
        sleep_ms(100);
        for _ in 0..3 {
            eq(write(&format!("{group}/cgroup.kill"), "1"), 0)?;
            soon("all end", || read(&format!("{group}/cgroup.procs")).is_empty())?;
            sleep_ms(20);
            eq(read(&format!("{group}/cgroup.procs")), "")?;
        }
        status(pid).map(drop)
    })
}

fn usec(group: &str, key: &str) -> i64 {
    let text = read(&format!("{group}/cpu.stat"));
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    found.and_then(|value| value.parse().ok()).unwrap_or(-1)
}

fn spin(ms: i64) {
    // SAFETY: the structure lives.
    unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        loop {
            libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now);
            if now.tv_sec * 1000 + now.tv_nsec / 1_000_000 >= ms {
                return;
            }
        }
    }
}

unsafe fn cpu_time_is_kept() -> Done {
    with_groups(&["a", "b"], |group| {
        let [a, b] = ["a", "b"].map(|name| format!("{group}/{name}"));
        let (done, go) = (pipe()?, pipe()?);
        let pid = spawn(|| {
            eq(write(&format!("{a}/cgroup.procs"), "0"), 0)?;
            spin(60);
            put(done.1, b"x")?;
            got_one(go.0);
            spin(120);
            Ok(())
        })?;
        got_one(done.0);
        let usage = |group: &str| usec(group, "usage_usec");
        check(usage(&a) >= 50_000, "of one that runs")?;
        eq(write(&format!("{b}/cgroup.procs"), &pid.to_string()), 0)?;
        let before = usage(&a);
        check((50_000..200_000).contains(&before), "what it used stays where it was")?;
        check(usage(&b) < 40_000, "it takes nothing with it")?;
        put(go.1, b"x")?;
        join(pid)?;
        eq(usage(&a), before)?;
        check(usage(&b) >= 50_000, "of one that is gone")?;
        // Both are rounded down.
        let parts = usec(&b, "user_usec") + usec(&b, "system_usec");
        check((parts - usage(&b)).abs() <= 1, "the sum of its parts")?;
        let all = usage(group);
        check(all + 2 >= usage(&a) + usage(&b), "with all below")?;
        ok(libc::rmdir(c(&b).as_ptr()))?;
        check(usage(group) >= all, "and with what is gone")?;
        check(usage("cg") >= all, "the root has all")
    })
}
