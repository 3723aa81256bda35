//! What /proc and /sys tell of the machine, and what can be set and mounted there. proc(5), sysfs(5), capabilities(7).

use std::fs;

use libc::c_int;

use crate::cases;
use crate::mount::{mount, private_place};
use crate::overlay::c;
use crate::support::*;

pub const CASES: &[Case] = cases![
    cpuinfo_has_each_cpu,
    cpus_have_a_topology,
    tables_have_their_heads,
    loadavg_has_five_fields,
    loadavg_has_the_last_number_of_a_namespace,
    text_at_the_start_is_new,
    children_are_listed_by_thread,
    small_files_of_a_process,
    smaps_tell_what_is_in_ram,
    locks_are_listed,
    settings_of_a_process_are_inherited,
    counts_of_a_process,
    cpus_of_a_process,
    settings_take_what_they_are,
    names_can_be_mounted_on,
    a_subset_has_only_processes,
    processes_can_be_hidden,
    mapped_files_have_links,
    capabilities_can_be_kept,
    ambient_capabilities_pass_exec,
    bounding_set_only_shrinks,
];

fn text(path: &str) -> Done<String> {
    fs::read_to_string(path).or_else(|error| fail(format!("{path}: {error}")))
}

unsafe fn cpuinfo_has_each_cpu() -> Done {
    let info = text("/proc/cpuinfo")?;
    let online = ok(libc::sysconf(libc::_SC_NPROCESSORS_ONLN))?;
    for cpu in 0..online {
        check(info.contains(&format!("processor\t: {cpu}\n")), "a block for each")?;
    }
    let lines = |name: &str| info.lines().filter(|line| line.starts_with(name)).count() as i64;
    for name in ["vendor_id\t: ", "cpu family\t: ", "model\t\t: ", "model name\t: ", "core id\t\t: "] {
        eq(lines(name), online)?;
    }
    let flags = info.lines().find_map(|line| line.strip_prefix("flags\t\t: ")).unwrap_or_default();
    check(flags.split(' ').any(|flag| flag == "sse2"), "its abilities")?;
    check(info.ends_with("\n\n"), "an empty line behind each")
}

unsafe fn cpus_have_a_topology() -> Done {
    let base = "/sys/devices/system/cpu";
    if !fs::exists(format!("{base}/cpu0/topology")).unwrap_or(false) {
        return skip("no sysfs");
    }
    let online = ok(libc::sysconf(libc::_SC_NPROCESSORS_ONLN))?;
    let list = if online == 1 { "0\n".to_owned() } else { format!("0-{}\n", online - 1) };
    eq(text(&format!("{base}/online"))?, list)?;
    for cpu in 0..online {
        let of = |name: &str| text(&format!("{base}/cpu{cpu}/topology/{name}"));
        check(of("core_id")?.trim().parse::<u32>().is_ok(), "core_id")?;
        check(of("physical_package_id")?.trim().parse::<u32>().is_ok(), "package")?;
        check(u64::from_str_radix(of("thread_siblings")?.trim(), 16).unwrap_or(0) >> cpu & 1 == 1, "itself")?;
        check(!of("core_siblings_list")?.trim().is_empty(), "siblings")?;
    }
    fails(libc::open(c"/sys/devices/system/cpu/cpu9999".as_ptr(), libc::O_RDONLY), libc::ENOENT)
}

unsafe fn tables_have_their_heads() -> Done {
    for path in ["/proc/interrupts", "/proc/softirqs"] {
        check(text(path)?.lines().next().is_some_and(|line| line.trim().starts_with("CPU0")), path)?;
    }
    text("/proc/misc").map(drop)
}

unsafe fn loadavg_has_five_fields() -> Done {
    let line = text("/proc/loadavg")?;
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    eq(words.len(), 5)?;
    check(words[..3].iter().all(|word| word.parse::<f32>().is_ok()), "averages")?;
    check(
        words[3].split_once('/').is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok()),
        "tasks",
    )?;
    check(words[4].parse::<u32>().is_ok(), "the last id")
}

unsafe fn loadavg_has_the_last_number_of_a_namespace() -> Done {
    need_root()?;
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWPID))?;
        in_child(|| {
            let last = || text("/proc/loadavg").map(|text| text.rsplit(' ').next().unwrap_or("").to_owned());
            eq(last()?, "1\n")?;
            in_child(|| Ok(()))?;
            eq(last()?, "2\n")
        })
    })
}

unsafe fn text_at_the_start_is_new() -> Done {
    let fd = ok(libc::open(c"/proc/uptime".as_ptr(), libc::O_RDONLY))?;
    let read = || -> Done<String> {
        let mut bytes = [0u8; 64];
        let len = ok(libc::pread(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0))? as usize;
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    };
    let first = read()?;
    soon("time goes on in an open file", || read().is_ok_and(|text| text != first))
}

unsafe fn children_are_listed_by_thread() -> Done {
    let path = format!("/proc/self/task/{}/children", libc::getpid());
    eq(text(&path)?, "")?;
    let child = spawn(|| {
        sleep_ms(60_000);
        Ok(())
    })?;
    eq(text(&path)?, format!("{child} "))?;
    end(child)?;
    eq(text(&path)?, "")
}

unsafe fn small_files_of_a_process() -> Done {
    eq(text("/proc/self/personality")?, "00000000\n")?;
    in_child(|| {
        ok(libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong))?;
        eq(text("/proc/self/personality")?, "00040000\n")
    })?;
    check(text("/proc/self/oom_score")?.trim().parse::<u32>().is_ok(), "a number")?;
    check(text("/proc/self/sessionid")?.parse::<u32>().is_ok(), "a number")?;
    for name in ["uid_map", "gid_map"] {
        eq(text(&format!("/proc/self/{name}"))?.split_whitespace().count(), 3)?;
    }
    Ok(())
}

/// The number behind `name:` in a line of `text`.
fn amount(text: &str, name: &str) -> Done<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.map_or_else(|| fail(format!("no {name}")), Ok)
}

unsafe fn smaps_tell_what_is_in_ram() -> Done {
    let len = 64 * PAGE;
    let at = memory(len)?;
    // No huge page.
    libc::madvise(at.cast(), len, libc::MADV_NOHUGEPAGE);
    for page in 0..16 {
        at.add(page * PAGE).write_volatile(1);
    }
    let of = |at: *mut u8| -> Done<String> {
        let all = text("/proc/self/smaps")?;
        let wanted = |line: &&str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let parse = |text: &str| usize::from_str_radix(text, 16);
            range.is_some_and(|(start, end)| {
                parse(start).is_ok_and(|start| start <= at as usize)
                    && parse(end).is_ok_and(|end| end > at as usize)
            })
        };
        let lines: Vec<&str> = all.lines().collect();
        let start = lines.iter().position(wanted);
        let Some(start) = start else { return fail("the mapping is not listed") };
        let end = lines[start..].iter().position(|line| line.starts_with("VmFlags: ")).unwrap_or(0);
        Ok(lines[start..=start + end].join("\n"))
    };
    let own = of(at)?;
    check(amount(&own, "Size")? >= 256, &own)?;
    check(amount(&own, "Rss")? >= 64 && amount(&own, "Anonymous")? >= 64, &own)?;
    eq(amount(&own, "Rss")?, amount(&own, "Pss")?)?;
    eq(amount(&own, "Shared_Dirty")?, 0)?;
    check(own.lines().any(|line| line.starts_with("VmFlags: rd wr ")), &own)?;
    in_child(|| {
        let both = of(at)?;
        check(amount(&both, "Shared_Dirty")? >= 64 - 4, &both)?;
        check(amount(&both, "Pss")? < amount(&both, "Rss")?, &both)
    })?;
    let all = text("/proc/self/smaps_rollup")?;
    check(all.lines().next().is_some_and(|line| line.ends_with(" [rollup]")), &all)?;
    let sum = amount(&all, "Pss_Anon")? + amount(&all, "Pss_File")? + amount(&all, "Pss_Shmem")?;
    check(sum.abs_diff(amount(&all, "Pss")?) <= 3, &all)?;
    check(amount(&all, "Rss")? >= amount(&own, "Rss")?, &all)
}

unsafe fn locks_are_listed() -> Done {
    let fd = file(c"f", b"12345678")?;
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::fstat(fd, &mut stat))?;
    let place = format!("{:02x}:{:02x}:{}", libc::major(stat.st_dev), libc::minor(stat.st_dev), stat.st_ino);
    let listed = || -> Done<Vec<String>> {
        let all = text("/proc/locks")?;
        let of_file = all.lines().filter(|line| line.contains(&place));
        let without_number = of_file.filter_map(|line| Some(line.split_once(": ")?.1.to_owned()));
        let mut lines: Vec<String> = without_number.collect();
        lines.sort();
        Ok(lines)
    };
    eq(listed()?.len(), 0)?;
    let mut lock: libc::flock = std::mem::zeroed();
    (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as i16, 2, 3);
    ok(libc::fcntl(fd, libc::F_SETLK, &lock))?;
    let pid = libc::getpid();
    let range = format!("POSIX  ADVISORY  WRITE {pid} {place} 2 4");
    if listed()?.is_empty() && text("/proc/locks")?.contains(&format!(" WRITE {pid} ")) {
        return skip("the file system's number is another here");
    }
    eq(listed()?, [range.clone()])?;
    ok(libc::flock(fd, libc::LOCK_SH))?;
    (lock.l_type, lock.l_start, lock.l_len) = (libc::F_RDLCK as i16, 6, 0);
    ok(libc::fcntl(fd, libc::F_OFD_SETLK, &lock))?;
    let want = [
        format!("FLOCK  ADVISORY  READ {pid} {place} 0 EOF"),
        format!("OFDLCK ADVISORY  READ -1 {place} 6 EOF"),
        range,
    ];
    eq(listed()?, want)?;
    ok(libc::close(fd))?;
    eq(listed()?.len(), 0)
}

unsafe fn settings_of_a_process_are_inherited() -> Done {
    in_child(|| {
        for (name, before, set, after) in [
            ("coredump_filter", "00000033\n", "0x21", "00000021\n"),
            ("oom_score_adj", "0\n", "300", "300\n"),
            ("timerslack_ns", "50000\n", "777", "777\n"),
        ] {
            let path = format!("/proc/self/{name}");
            if text(&path)? != before {
                return skip(format!("{name} is another here"));
            }
            fs::write(&path, set).or_else(fail)?;
            eq(text(&path)?, after)?;
            in_child(|| eq(text(&path)?, after))?;
            let refused = fs::write(&path, "words").err().and_then(|error| error.raw_os_error());
            eq(refused, Some(libc::EINVAL))?;
        }
        Ok(())
    })
}

/// A line of /proc/self/status.
fn status(name: &str) -> Done<String> {
    let text = text("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.map(str::to_owned).map_or_else(|| fail(format!("no {name} in {text}")), Ok)
}

unsafe fn counts_of_a_process() -> Done {
    let faults = || -> Done<u64> {
        let stat = text("/proc/self/stat")?;
        let words = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        words.into_iter().nth(7).and_then(|word| word.parse().ok()).map_or_else(|| fail(&stat), Ok)
    };
    let waits = || status("voluntary_ctxt_switches")?.parse::<u64>().or_else(fail);
    let before = (faults()?, waits()?);
    let at = memory(8 << 20)?;
    for index in (0..8 << 20).step_by(PAGE) {
        at.add(index).write_volatile(1);
    }
    for _ in 0..5 {
        sleep_ms(2);
    }
    check(faults()? > before.0, "faults are counted")?;
    check(waits()? >= before.1 + 5, "sleeps are counted")
}

unsafe fn cpus_of_a_process() -> Done {
    let mut all = [0u64; 16];
    ok(libc::syscall(libc::SYS_sched_getaffinity, 0, 128, all.as_mut_ptr()))?;
    let mask = || {
        let text = status("Cpus_allowed")?;
        u64::from_str_radix(text.rsplit(',').next().unwrap_or_default(), 16).or_else(fail)
    };
    eq(mask()?, all[0] & 0xffff_ffff)?;
    let last = 63 - (all[0] & 0xffff_ffff).leading_zeros();
    in_child(|| {
        ok(libc::syscall(libc::SYS_sched_setaffinity, 0, 8, &(1u64 << last)))?;
        eq((mask()?, status("Cpus_allowed_list")?), (1 << last, last.to_string()))
    })
}

unsafe fn settings_take_what_they_are() -> Done {
    need_root()?;
    for path in
        ["/proc/sys/vm/overcommit_ratio", "/proc/sys/kernel/pid_max", "/proc/sys/fs/protected_symlinks"]
    {
        let value = text(path)?;
        match fs::write(path, &value) {
            Err(error) if error.raw_os_error() == Some(libc::EROFS) => {
                return skip("settings cannot be written");
            }
            written => written.or_else(fail)?,
        }
        eq(text(path)?, value)?;
    }
    let refused = fs::write("/proc/sys/kernel/pid_max", "words").err().and_then(|error| error.raw_os_error());
    eq(refused, Some(libc::EINVAL))
}

unsafe fn names_can_be_mounted_on() -> Done {
    private_place()?;
    ok(libc::close(file(c"f", b"instead\n")?))?;
    ok(libc::mkdir(c"p".as_ptr(), 0o755))?;
    if mount(c"proc", c"p", c"proc", 0) == -1 {
        return skip("no proc of one's own");
    }
    for name in [c"p/uptime", c"p/self/limits"] {
        ok(mount(c"f", name, c"", libc::MS_BIND))?;
        eq(text(name.to_str().unwrap())?, "instead\n")?;
    }
    // A directory of it, as sandboxes do to make it read-only.
    ok(mount(c"p/sys", c"p/sys", c"", libc::MS_BIND))?;
    ok(mount(c"none", c"p/sys", c"", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY))?;
    fails(libc::open(c"p/sys/kernel/hostname".as_ptr(), libc::O_WRONLY), libc::EROFS)?;
    ok(libc::umount2(c"p/uptime".as_ptr(), 0))?;
    check(text("p/uptime")? != "instead\n", "as before")?;
    ok(libc::umount2(c"p".as_ptr(), libc::MNT_DETACH)).map(drop)
}

unsafe fn a_subset_has_only_processes() -> Done {
    private_place()?;
    ok(libc::mkdir(c"p".as_ptr(), 0o755))?;
    let proc = |options: &std::ffi::CStr| {
        let (name, at) = (c"proc".as_ptr(), c"p".as_ptr());
        libc::mount(name, at, name, 0, options.as_ptr().cast())
    };
    fails(proc(c"no-such-option"), libc::EINVAL)?;
    if proc(c"subset=pid") == -1 {
        return skip("no proc of one's own");
    }
    eq(text("p/self/comm")?, text("/proc/self/comm")?)?;
    fails(libc::access(c"p/meminfo".as_ptr(), libc::F_OK), libc::ENOENT)?;
    let names = fs::read_dir("p").or_else(fail)?;
    let all_known = names.flatten().all(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        ["self", "thread-self"].contains(&name.as_str()) || name.parse::<u32>().is_ok()
    });
    check(all_known, "nothing else")?;
    check(text("/proc/self/mountinfo")?.contains(" - proc proc rw,subset=pid\n"), "shown")
}

unsafe fn processes_can_be_hidden() -> Done {
    private_place()?;
    ok(libc::mkdir(c"p".as_ptr(), 0o755))?;
    let proc = |flags, options: &std::ffi::CStr| {
        let (name, at) = (c"proc".as_ptr(), c"p".as_ptr());
        libc::mount(name, at, name, flags, options.as_ptr().cast())
    };
    for wrong in [c"hidepid=3", c"hidepid=", c"gid=x", c"hidepid"] {
        fails(proc(0, wrong), libc::EINVAL)?;
    }
    if proc(0, c"hidepid=1") == -1 {
        return skip("no proc of one's own");
    }
    let root = libc::getpid();
    let there = |name: &str| c(&format!("p/{root}{name}"));
    // What somebody else gets for the directory, a file in it, a list of it, and for what is his own.
    let seen = |groups: &'static [u32], found: c_int, used: c_int| {
        in_child(|| {
            ok(libc::setgroups(groups.len(), groups.as_ptr()))?;
            ok(libc::setresgid(65534, 65534, 65534))?;
            ok(libc::setresuid(65534, 65534, 65534))?;
            let result = |result: c_int| if result == -1 { errno() } else { 0 };
            eq(result(libc::stat(there("").as_ptr(), &mut std::mem::zeroed())), found)?;
            eq(result(libc::access(there("").as_ptr(), libc::F_OK)), used)?;
            eq(result(libc::access(there("/stat").as_ptr(), libc::F_OK)), used)?;
            eq(result(libc::open(there("").as_ptr(), libc::O_RDONLY)).max(0), used)?;
            let names: Vec<_> =
                fs::read_dir("p").or_else(fail)?.flatten().map(|entry| entry.file_name()).collect();
            let has = |pid: c_int| names.iter().any(|name| *name == *pid.to_string());
            eq((has(root), has(libc::getpid())), (found == 0, true))?;
            text("p/self/stat")?;
            eq(result(libc::chdir(there("").as_ptr())), used)
        })
    };
    seen(&[], 0, libc::EPERM)?;
    seen(&[0], 0, 0)?; // the superuser's group, as no other was named
    check(text("/proc/self/mountinfo")?.contains(" - proc proc rw,hidepid=noaccess\n"), "shown")?;
    ok(proc(libc::MS_REMOUNT, c"hidepid=invisible,gid=1234"))?;
    seen(&[], libc::ENOENT, libc::ENOENT)?;
    seen(&[1234], 0, 0)?;
    ok(proc(libc::MS_REMOUNT, c"hidepid=4"))?;
    check(text("/proc/self/mountinfo")?.contains(" rw,gid=1234,hidepid=ptraceable\n"), "shown")?;
    seen(&[1234], libc::ENOENT, libc::ENOENT)?;
    ok(proc(libc::MS_REMOUNT, c"hidepid=off"))?;
    seen(&[], 0, 0)
}

unsafe fn mapped_files_have_links() -> Done {
    let fd = file(c"f", b"content")?;
    let page = libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0) as usize;
    let link = |end: usize| format!("/proc/self/map_files/{page:x}-{end:x}");
    let link_text = fs::read_link(link(page + PAGE)).or_else(fail)?;
    check(link_text.ends_with("f"), "its name")?;
    let names = fs::read_dir("/proc/self/map_files").or_else(fail)?;
    let mut paths = names.flatten().map(|entry| entry.path());
    check(paths.any(|path| path.as_os_str() == &*link(page + PAGE)), "it is listed")?;
    for other in [
        link(page + 2 * PAGE),
        link(page + PAGE).replace("files/", "files/0"),
        "/proc/self/map_files/x".into(),
    ] {
        fails(libc::access(c(&other).as_ptr(), libc::F_OK), libc::ENOENT)?;
    }
    // It leads around directories that the caller may not search.
    match libc::geteuid() {
        0 => eq(text(&link(page + PAGE))?, "content".to_owned()),
        _ => fails(libc::open(c(&link(page + PAGE)).as_ptr(), libc::O_RDONLY), libc::EPERM),
    }
}

fn caps(name: &str) -> Done<u64> {
    let status = text("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    Ok(line.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(u64::MAX))
}

unsafe fn capabilities_can_be_kept() -> Done {
    need_root()?;
    let permitted = caps("CapPrm")?;
    fails(libc::prctl(libc::PR_SET_KEEPCAPS, 2, 0, 0, 0), libc::EINVAL)?;
    eq(ok(libc::prctl(libc::PR_GET_KEEPCAPS, 0, 0, 0, 0))?, 0)?;
    in_child(|| {
        ok(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
        eq(ok(libc::prctl(libc::PR_GET_KEEPCAPS, 0, 0, 0, 0))?, 1)?;
        eq(ok(libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0))?, 16)?;
        ok(libc::setresuid(65534, 65534, 65534))?;
        eq((caps("CapPrm")?, caps("CapEff")?), (permitted, 0))?;
        let (out, word) = run_self(&[c"show", c"caps"], &[])?;
        check(word == 0 && out.ends_with("0000000000000000\n"), "exec ends it")
    })?;
    in_child(|| {
        ok(libc::setresuid(65534, 65534, 65534))?;
        eq((caps("CapPrm")?, caps("CapEff")?), (0, 0))
    })
}

unsafe fn ambient_capabilities_pass_exec() -> Done {
    need_root()?;
    const CAP_NET_RAW: u64 = 13;
    const AMBIENT: i32 = libc::PR_CAP_AMBIENT;
    let ambient = |what: i32, cap: u64| libc::prctl(AMBIENT, what as u64, cap, 0u64, 0u64);
    in_child(|| {
        fails(ambient(libc::PR_CAP_AMBIENT_RAISE, CAP_NET_RAW), libc::EPERM)?; // not inheritable
        fails(ambient(libc::PR_CAP_AMBIENT_RAISE, 99), libc::EINVAL)?;
        let head = [0x2008_0522u32, 0];
        let mut sets = [[0u32; 3]; 2];
        ok(libc::syscall(libc::SYS_capget, &head, &mut sets))?;
        sets[0][2] |= 1 << CAP_NET_RAW;
        ok(libc::syscall(libc::SYS_capset, &head, &sets))?;
        ok(ambient(libc::PR_CAP_AMBIENT_RAISE, CAP_NET_RAW))?;
        eq(ok(ambient(libc::PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW))?, 1)?;
        ok(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
        ok(libc::setresuid(65534, 65534, 65534))?;
        // The change of users has cleared it; the inheritable one is still there.
        eq(ok(ambient(libc::PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW))?, 0)?;
        ok(ambient(libc::PR_CAP_AMBIENT_RAISE, CAP_NET_RAW))?;
        let (out, word) = run_self(&[c"show", c"caps"], &[])?;
        check(word == 0 && out.ends_with("0000000000002000\n"), &out)?;
        ok(ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0))?;
        eq(ok(ambient(libc::PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW))?, 0)
    })
}

unsafe fn bounding_set_only_shrinks() -> Done {
    need_root()?;
    in_child(|| {
        eq(ok(libc::prctl(libc::PR_CAPBSET_READ, 13, 0, 0, 0))?, 1)?;
        fails(libc::prctl(libc::PR_CAPBSET_READ, 99, 0, 0, 0), libc::EINVAL)?;
        fails(libc::prctl(libc::PR_CAPBSET_DROP, 99, 0, 0, 0), libc::EINVAL)?;
        ok(libc::prctl(libc::PR_CAPBSET_DROP, 13, 0, 0, 0))?;
        eq(ok(libc::prctl(libc::PR_CAPBSET_READ, 13, 0, 0, 0))?, 0)?;
        let (out, word) = run_self(&[c"show", c"caps"], &[])?;
        let left = u64::from_str_radix(out.trim_start_matches("CapEff:\t").trim(), 16).unwrap_or(u64::MAX);
        check(word == 0 && left >> 13 & 1 == 0 && left & 1 == 1, &out)?;
        drop_root()?;
        fails(libc::prctl(libc::PR_CAPBSET_DROP, 12, 0, 0, 0), libc::EPERM)
    })
}
