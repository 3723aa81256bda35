//! What /proc and /dev tell. proc(5).

use std::fs;

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    self_is_this_process,
    exe_names_the_program,
    fd_lists_descriptors,
    fd_links_tell_what_they_are,
    fdinfo_tells_offset_and_flags,
    maps_show_mappings,
    stat_has_its_fields,
    status_tells_ids,
    cmdline_and_environ,
    comm_can_be_written,
    cwd_and_root,
    mounts_list_proc,
    child_is_shown_and_goes,
    zombie_is_z,
    of_others_is_closed,
    system_files_are_there,
    missing_is_enoent,
    directories_cannot_be_changed,
    dev_fd_and_streams,
    mem_reads_memory,
];

fn text(path: &str) -> Done<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) => fail(format!("{path}: {error}")),
    }
}

fn link(path: &str) -> Done<String> {
    match fs::read_link(path) {
        Ok(to) => Ok(to.to_string_lossy().into_owned()),
        Err(error) => fail(format!("{path}: {error}")),
    }
}

unsafe fn self_is_this_process() -> Done {
    eq(link("/proc/self")?, libc::getpid().to_string())?;
    eq(link("/proc/thread-self")?, format!("{0}/task/{0}", libc::getpid()))?;
    in_child(|| eq(link("/proc/self")?, libc::getpid().to_string()))
}

unsafe fn exe_names_the_program() -> Done {
    check(link("/proc/self/exe")?.ends_with("abi") || own_path().to_bytes().starts_with(b"/"), "a path")?;
    let pid = spawn(|| exec(c"/proc/self/exe", &[c"exit", c"5"], &[]))?;
    eq(libc::WEXITSTATUS(status(pid)?), 5)
}

unsafe fn fd_lists_descriptors() -> Done {
    ok(libc::dup2(2, 33))?;
    let Ok(list) = fs::read_dir("/proc/self/fd") else { return fail("no /proc/self/fd") };
    let names: Vec<String> =
        list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    check(names.contains(&"2".into()) && names.contains(&"33".into()), "both are listed")?;
    check(!names.contains(&"34".into()), "and no other")
}

unsafe fn fd_links_tell_what_they_are() -> Done {
    let (r, _w) = pipe()?;
    check(link(&format!("/proc/self/fd/{r}"))?.starts_with("pipe:["), "a pipe")?;
    let fd = file(c"f", b"x")?;
    check(link(&format!("/proc/self/fd/{fd}"))?.ends_with("/f"), "a path")?;
    ok(libc::unlink(c"f".as_ptr()))?;
    check(link(&format!("/proc/self/fd/{fd}"))?.ends_with("/f (deleted)"), "deleted")?;
    let socket = ok(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0))?;
    check(link(&format!("/proc/self/fd/{socket}"))?.starts_with("socket:["), "a socket")?;
    eq(link(&format!("/proc/self/fd/{}", ok(libc::eventfd(0, 0))?))?, "anon_inode:[eventfd]")
}

unsafe fn fdinfo_tells_offset_and_flags() -> Done {
    let fd = file(c"f", b"0123456789")?;
    ok(libc::lseek(fd, 7, libc::SEEK_SET))?;
    let info = text(&format!("/proc/self/fdinfo/{fd}"))?;
    check(info.starts_with("pos:\t7\nflags:\t0"), &info)?;
    check(info.lines().any(|line| line.starts_with("flags:") && line.ends_with('2')), "read and write")
}

unsafe fn maps_show_mappings() -> Done {
    let fd = file(c"mapped", &[1; 8192])?;
    let at = map(2 * PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd)? as usize;
    let maps = text("/proc/self/maps")?;
    let start = format!("{at:08x}-{:08x} r--p 00000000 ", at + 2 * PAGE);
    let line = maps.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
    check(line.ends_with("/mapped"), &format!("{start} in {maps}"))?;
    check(maps.contains("[stack]"), "the stack")
}

unsafe fn stat_has_its_fields() -> Done {
    let stat = text("/proc/self/stat")?;
    let (head, rest) = stat.rsplit_once(") ").unwrap_or_default();
    check(head.starts_with(&format!("{} (", libc::getpid())), head)?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    eq(fields.len(), 50)?;
    eq((fields[0], fields[1]), ("R", libc::getppid().to_string().as_str()))?;
    eq(fields[2], libc::getpgrp().to_string())?;
    eq(fields[3], libc::getsid(0).to_string())?;
    eq(fields[17], "1") // threads
}

unsafe fn status_tells_ids() -> Done {
    block(&[libc::SIGUSR1])?;
    let status = text("/proc/self/status")?;
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(|rest| rest.trim().to_string()).unwrap_or_default()
    };
    let uid = libc::getuid();
    eq(value("Uid:"), [uid.to_string(), uid.to_string(), uid.to_string(), uid.to_string()].join("\t"))?;
    eq(value("Pid:"), libc::getpid().to_string())?;
    eq(value("PPid:"), libc::getppid().to_string())?;
    eq(value("Threads:"), "1")?;
    eq(value("SigBlk:"), "0000000000000200")?;
    check(value("VmRSS:").ends_with(" kB"), "VmRSS")?;
    check(value("State:").starts_with('R'), "State")
}

unsafe fn cmdline_and_environ() -> Done {
    let path = own_path();
    let pid = spawn(|| exec(&path, &[c"show", c"sleep"], &[c"A=1", c"B=2"]))?;
    let want = [path.to_bytes(), b"show", b"sleep", b""].join(&0);
    soon("the command line", || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|got| got == want))?;
    eq(fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(), b"A=1\0B=2\0")?;
    ok(libc::kill(pid, libc::SIGKILL)).map(drop)
}

unsafe fn comm_can_be_written() -> Done {
    check(fs::write("/proc/self/comm", "renamed").is_ok(), "writing")?;
    eq(text("/proc/self/comm")?, "renamed\n")?;
    let mut name = [0u8; 16];
    ok(libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0))?;
    eq(&name[..8], b"renamed\0")
}

unsafe fn cwd_and_root() -> Done {
    eq(link("/proc/self/root")?, "/")?;
    let cwd = link("/proc/self/cwd")?;
    ok(libc::chdir(c"/".as_ptr()))?;
    eq(link("/proc/self/cwd")?, "/")?;
    check(cwd != "/", "it was another")?;
    ok(libc::chdir(c"/proc/self/fd".as_ptr())).map(drop)
}

unsafe fn mounts_list_proc() -> Done {
    check(text("/proc/mounts")?.lines().any(|line| line.contains(" /proc proc ")), "in mounts")?;
    let info = text("/proc/self/mountinfo")?;
    check(info.lines().any(|line| line.contains(" /proc ") && line.contains(" - proc ")), "in mountinfo")
}

unsafe fn child_is_shown_and_goes() -> Done {
    let pid = sleeping()?;
    asleep(pid);
    let stat = text(&format!("/proc/{pid}/stat"))?;
    check(stat.contains(") S "), &stat)?;
    check(
        fs::read_dir("/proc").is_ok_and(|mut list| {
            list.any(|entry| entry.is_ok_and(|entry| *entry.file_name() == *pid.to_string()))
        }),
        "it is listed",
    )?;
    end(pid)?;
    check(fs::metadata(format!("/proc/{pid}")).is_err(), "it is gone")
}

unsafe fn zombie_is_z() -> Done {
    let pid = spawn(|| Ok(()))?;
    soon("it is a zombie", || state(pid) == 'Z')?;
    eq(fs::read(format!("/proc/{pid}/cmdline")).unwrap_or(vec![1]), b"")?;
    join(pid)
}

unsafe fn of_others_is_closed() -> Done {
    need_root()?;
    let me = libc::getpid();
    in_child(|| {
        drop_root()?;
        check(fs::read_dir(format!("/proc/{me}/fd")).is_err(), "its descriptors")?;
        check(fs::read(format!("/proc/{me}/environ")).is_err(), "its environment")?;
        text(&format!("/proc/{me}/stat")).map(drop)
    })
}

unsafe fn system_files_are_there() -> Done {
    check(text("/proc/meminfo")?.starts_with("MemTotal:"), "meminfo")?;
    eq(text("/proc/uptime")?.split_whitespace().count(), 2)?;
    eq(text("/proc/loadavg")?.split_whitespace().count(), 5)?;
    check(text("/proc/version")?.starts_with("Linux version "), "version")?;
    check(text("/proc/stat")?.starts_with("cpu "), "stat")?;
    check(text("/proc/cpuinfo")?.starts_with("processor"), "cpuinfo")?;
    check(text("/proc/filesystems")?.contains("nodev\tproc\n"), "filesystems")?;
    check(!text("/proc/sys/kernel/osrelease")?.trim().is_empty(), "osrelease")
}

unsafe fn missing_is_enoent() -> Done {
    fails(libc::open(c"/proc/nothing".as_ptr(), libc::O_RDONLY), libc::ENOENT)?;
    fails(libc::open(c"/proc/999999999".as_ptr(), libc::O_RDONLY), libc::ENOENT)?;
    fails(libc::open(c"/proc/self/fd/999".as_ptr(), libc::O_RDONLY), libc::ENOENT)
}

unsafe fn directories_cannot_be_changed() -> Done {
    let refused = |n: i32| n == -1 && [libc::EPERM, libc::EACCES, libc::ENOENT].contains(&errno());
    check(refused(libc::mkdir(c"/proc/new".as_ptr(), 0o755)), "mkdir")?;
    check(refused(libc::unlink(c"/proc/version".as_ptr())), "unlink")?;
    check(refused(libc::open(c"/proc/new".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o644)), "creat")
}

unsafe fn dev_fd_and_streams() -> Done {
    let (r, w) = pipe()?;
    put(w, b"x")?;
    let path = std::ffi::CString::new(format!("/dev/fd/{r}")).unwrap_or_default();
    let again = libc::open(path.as_ptr(), libc::O_RDONLY);
    if again == -1 && errno() == libc::ENOENT && fs::metadata("/dev/fd").is_err() {
        return skip("no /dev/fd here");
    }
    eq(get(ok(again)?)?, b"x")
}

unsafe fn mem_reads_memory() -> Done {
    let page = memory(PAGE)?;
    *page = 42;
    let fd = libc::open(c"/proc/self/mem".as_ptr(), libc::O_RDONLY);
    if fd == -1 && errno() == libc::ENOENT {
        return skip("no /proc/self/mem here");
    }
    let mut byte = 0u8;
    eq(ok(libc::pread(ok(fd)?, (&raw mut byte).cast(), 1, page as i64))?, 1)?;
    eq(byte, 42)?;
    ok(libc::munmap(page.cast(), PAGE))?;
    fails(libc::pread(fd, (&raw mut byte).cast(), 1, page as i64), libc::EIO)
}
