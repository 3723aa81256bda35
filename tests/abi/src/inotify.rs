//! What happens to files, told in order. inotify(7).

use std::ffi::CStr;
use std::fs;

use libc::c_int;

use crate::cases;
use crate::overlay::{c, gone, in_layers, io, mount};
use crate::support::*;

pub const CASES: &[Case] = cases![
    instances,
    add_watch_rules,
    file_is_used,
    file_is_used_by_path,
    open_truncates,
    attributes,
    names_come_and_go,
    directories_come_and_go,
    renames_have_cookies,
    rename_replaces,
    exchange_is_two_renames,
    watched_file_is_deleted,
    open_file_is_deleted_at_its_end,
    watched_directory_is_removed,
    hard_links,
    parent_hears_first,
    masks,
    oneshot,
    excl_unlink,
    rm_watch,
    coalesces,
    read_rules,
    poll_and_fionread,
    blocked_read_wakes,
    overflow,
    other_calls_count,
    exec_is_told,
    unmount,
    user_limits,
    as_users,
];

unsafe fn new() -> Done<c_int> {
    ok(libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC))
}

unsafe fn watch(fd: c_int, path: &str, mask: u32) -> Done<c_int> {
    ok(libc::inotify_add_watch(fd, c(path).as_ptr(), mask))
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: String,
}

fn parse(mut bytes: &[u8]) -> Done<Vec<Event>> {
    let mut events = Vec::new();
    while bytes.len() >= 16 {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let len = word(12) as usize;
        check(len.is_multiple_of(16) && bytes.len() >= 16 + len, "names are padded to 16 bytes")?;
        let name = bytes[16..16 + len].split(|&byte| byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        events.push(Event { wd: word(0) as i32, mask: word(4), cookie: word(8), name });
        bytes = &bytes[16 + len..];
    }
    check(bytes.is_empty(), "events are whole")?;
    Ok(events)
}

/// All that is queued.
fn events(fd: c_int) -> Done<Vec<Event>> {
    let mut all = Vec::new();
    loop {
        let mut buffer = vec![0u8; 65536];
        // SAFETY: the buffer is that long.
        let n = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        if n == -1 && errno() == libc::EAGAIN {
            return Ok(all);
        }
        buffer.truncate(ok(n)? as usize);
        all.extend(parse(&buffer)?);
    }
}

const NAMES: [(u32, &str); 17] = [
    (0x1, "access"),
    (0x2, "modify"),
    (0x4, "attrib"),
    (0x8, "close_write"),
    (0x10, "close"),
    (0x20, "open"),
    (0x40, "from"),
    (0x80, "to"),
    (0x100, "create"),
    (0x200, "delete"),
    (0x400, "delete_self"),
    (0x800, "move_self"),
    (0x2000, "unmount"),
    (0x4000, "overflow"),
    (0x8000, "ignored"),
    (0x4000_0000, "dir"),
    (0x1_0000, "unknown"),
];

/// What is queued, in words: `wd:mask name`.
fn said(fd: c_int) -> Done<Vec<String>> {
    let word = |event: &Event| {
        let bits: Vec<&str> =
            NAMES.iter().filter(|(bit, _)| event.mask & bit != 0).map(|(_, name)| *name).collect();
        let text = format!("{}:{} {}", event.wd, bits.join("+"), event.name);
        text.trim_end().to_owned()
    };
    Ok(events(fd)?.iter().map(word).collect())
}

#[track_caller]
fn heard(fd: c_int, want: &[&str]) -> Done {
    eq(said(fd)?, want)
}

unsafe fn instances() -> Done {
    fails(libc::inotify_init1(0x40), libc::EINVAL)?;
    let fd = ok(libc::syscall(libc::SYS_inotify_init))? as c_int;
    eq(ok(libc::fcntl(fd, libc::F_GETFD))?, 0)?;
    eq(ok(libc::fcntl(fd, libc::F_GETFL))?, libc::O_RDONLY)?;
    fails(libc::write(fd, c"x".as_ptr().cast(), 1), libc::EBADF)?;
    // A seek does nothing, whatever it asks for.
    eq(libc::lseek(fd, 5, libc::SEEK_SET), 0)?;
    let other = new()?;
    eq(ok(libc::fcntl(other, libc::F_GETFD))?, libc::FD_CLOEXEC)?;
    eq(ok(libc::fcntl(other, libc::F_GETFL))?, libc::O_NONBLOCK)?;
    let link = io(fs::read_link(format!("/proc/self/fd/{fd}")))?;
    eq(link.to_string_lossy(), "anon_inode:inotify")
}

unsafe fn add_watch_rules() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    io(fs::create_dir("d"))?;
    io(std::os::unix::fs::symlink("d", "l"))?;
    let add = |path: &CStr, mask: u32| libc::inotify_add_watch(fd, path.as_ptr(), mask);
    let all = libc::IN_ALL_EVENTS;
    fails(add(c"f", 0), libc::EINVAL)?;
    fails(add(c"f", 0x10000), libc::EINVAL)?;
    fails(add(c"none", all), libc::ENOENT)?;
    fails(add(c"f/x", all), libc::ENOTDIR)?;
    fails(add(c"f", all | libc::IN_ONLYDIR), libc::ENOTDIR)?;
    fails(libc::inotify_add_watch(99, c"f".as_ptr(), all), libc::EBADF)?;
    fails(libc::inotify_add_watch(0, c"f".as_ptr(), all), libc::EINVAL)?;
    fails(add(c"f", all | libc::IN_MASK_ADD | libc::IN_MASK_CREATE), libc::EINVAL)?;
    fails(libc::inotify_add_watch(fd, std::ptr::null(), all), libc::EFAULT)?;
    eq(ok(add(c"f", all))?, 1)?;
    eq(ok(add(c"d", all))?, 2)?;
    eq(ok(add(c"l", all))?, 2)?;
    eq(ok(add(c"l", all | libc::IN_DONT_FOLLOW))?, 3)?;
    eq(ok(add(c"./f", all))?, 1)?;
    fails(add(c"f", all | libc::IN_MASK_CREATE), libc::EEXIST)
}

unsafe fn file_is_used() -> Done {
    let fd = new()?;
    io(fs::write("f", "12345"))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    let file = ok(libc::open(c"f".as_ptr(), libc::O_RDWR))?;
    heard(fd, &["1:open"])?;
    let mut byte = 0u8;
    ok(libc::read(file, (&raw mut byte).cast(), 1))?;
    heard(fd, &["1:access"])?;
    ok(libc::write(file, c"x".as_ptr().cast(), 1))?;
    heard(fd, &["1:modify"])?;
    // Nothing is read or written: nothing is told.
    ok(libc::lseek(file, 0, libc::SEEK_END))?;
    eq(ok(libc::read(file, (&raw mut byte).cast(), 1))?, 0)?;
    eq(ok(libc::write(file, c"".as_ptr().cast(), 0))?, 0)?;
    heard(fd, &[])?;
    ok(libc::ftruncate(file, 1))?;
    heard(fd, &["1:modify"])?;
    let copy = ok(libc::dup(file))?;
    ok(libc::close(file))?;
    heard(fd, &[])?;
    ok(libc::close(copy))?;
    heard(fd, &["1:close_write"])?;
    ok(libc::close(ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?))?;
    heard(fd, &["1:open", "1:close"])?;
    ok(libc::close(ok(libc::open(c"f".as_ptr(), libc::O_PATH))?))?;
    heard(fd, &[])
}

unsafe fn file_is_used_by_path() -> Done {
    let fd = new()?;
    io(fs::write("f", "12345"))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    ok(libc::truncate(c"f".as_ptr(), 2))?;
    heard(fd, &["1:modify"])?;
    let mut stat = std::mem::zeroed();
    ok(libc::stat(c"f".as_ptr(), &mut stat))?;
    ok(libc::access(c"f".as_ptr(), libc::R_OK))?;
    heard(fd, &[])
}

unsafe fn open_truncates() -> Done {
    let fd = new()?;
    io(fs::write("f", "12345"))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    let flags = libc::O_WRONLY | libc::O_TRUNC;
    let file = ok(libc::open(c"f".as_ptr(), flags))?;
    ok(libc::close(file))?;
    let words = said(fd)?;
    // Which of the two comes first has changed in Linux.
    check(words.contains(&"1:modify".into()) && words.contains(&"1:open".into()), "both are told")?;
    eq((words.len(), words[2].as_str()), (3, "1:close_write"))
}

unsafe fn attributes() -> Done {
    let fd = new()?;
    io(fs::write("f", "12345"))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    watch(fd, ".", libc::IN_ALL_EVENTS)?;
    let both: &[&str] = &["2:attrib f", "1:attrib"];
    ok(libc::chmod(c"f".as_ptr(), 0o600))?;
    heard(fd, both)?;
    ok(libc::chown(c"f".as_ptr(), libc::getuid(), libc::getgid()))?;
    heard(fd, both)?;
    ok(libc::utimensat(libc::AT_FDCWD, c"f".as_ptr(), std::ptr::null(), 0))?;
    heard(fd, both)?;
    let (omit, some) = (libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT }, span(5));
    ok(libc::utimensat(libc::AT_FDCWD, c"f".as_ptr(), [some, omit].as_ptr(), 0))?;
    heard(fd, &["2:access f", "1:access"])?;
    ok(libc::utimensat(libc::AT_FDCWD, c"f".as_ptr(), [omit, some].as_ptr(), 0))?;
    heard(fd, &["2:modify f", "1:modify"])?;
    if libc::setxattr(c"f".as_ptr(), c"user.a".as_ptr(), c"v".as_ptr().cast(), 1, 0) == 0 {
        heard(fd, both)?;
        ok(libc::removexattr(c"f".as_ptr(), c"user.a".as_ptr()))?;
        heard(fd, both)?;
    }
    ok(libc::chmod(c".".as_ptr(), 0o700))?;
    heard(fd, &["2:attrib+dir"])
}

unsafe fn names_come_and_go() -> Done {
    let fd = new()?;
    watch(fd, ".", libc::IN_ALL_EVENTS)?;
    ok(libc::close(ok(libc::open(c"f".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o644))?))?;
    heard(fd, &["1:create f", "1:open f", "1:close_write f"])?;
    ok(libc::symlink(c"f".as_ptr(), c"s".as_ptr()))?;
    ok(libc::mkfifo(c"p".as_ptr(), 0o644))?;
    ok(libc::link(c"f".as_ptr(), c"g".as_ptr()))?;
    heard(fd, &["1:create s", "1:create p", "1:create g"])?;
    ok(libc::unlink(c"s".as_ptr()))?;
    ok(libc::unlink(c"g".as_ptr()))?;
    ok(libc::unlink(c"f".as_ptr()))?;
    heard(fd, &["1:delete s", "1:delete g", "1:delete f"])?;
    fails(libc::unlink(c"f".as_ptr()), libc::ENOENT)?;
    fails(libc::mkdir(c"p".as_ptr(), 0o755), libc::EEXIST)?;
    heard(fd, &[])
}

unsafe fn directories_come_and_go() -> Done {
    let fd = new()?;
    watch(fd, ".", libc::IN_ALL_EVENTS & !libc::IN_ACCESS)?;
    ok(libc::mkdir(c"d".as_ptr(), 0o755))?;
    heard(fd, &["1:create+dir d"])?;
    let dir = libc::opendir(c"d".as_ptr());
    check(!dir.is_null(), "opendir works")?;
    heard(fd, &["1:open+dir d"])?;
    while !libc::readdir(dir).is_null() {}
    libc::closedir(dir);
    heard(fd, &["1:close+dir d"])?;
    ok(libc::rmdir(c"d".as_ptr()))?;
    heard(fd, &["1:delete+dir d"])
}

unsafe fn renames_have_cookies() -> Done {
    let fd = new()?;
    io(fs::create_dir("a"))?;
    io(fs::create_dir("b"))?;
    io(fs::write("a/f", ""))?;
    watch(fd, "a", libc::IN_ALL_EVENTS)?;
    watch(fd, "b", libc::IN_ALL_EVENTS)?;
    watch(fd, "a/f", libc::IN_ALL_EVENTS)?;
    io(fs::rename("a/f", "b/g"))?;
    io(fs::rename("b/g", "b/h"))?;
    let all = events(fd)?;
    let words: Vec<(i32, u32, &str)> = all.iter().map(|e| (e.wd, e.mask, e.name.as_str())).collect();
    eq(
        words,
        [(1, 0x40, "f"), (2, 0x80, "g"), (3, 0x800, ""), (2, 0x40, "g"), (2, 0x80, "h"), (3, 0x800, "")],
    )?;
    check(all[0].cookie != 0 && all[0].cookie == all[1].cookie, "the halves have one cookie")?;
    check(all[3].cookie == all[4].cookie && all[3].cookie != all[0].cookie, "each rename has its own")?;
    eq((all[2].cookie, all[5].cookie), (0, 0))?;
    io(fs::create_dir("a/d"))?;
    io(fs::rename("a/d", "b/d"))?;
    heard(fd, &["1:create+dir d", "1:from+dir d", "2:to+dir d"])
}

unsafe fn rename_replaces() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    io(fs::write("g", ""))?;
    watch(fd, ".", libc::IN_ALL_EVENTS)?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    watch(fd, "g", libc::IN_ALL_EVENTS)?;
    io(fs::rename("f", "g"))?;
    heard(fd, &["1:from f", "1:to g", "3:attrib", "2:move_self", "3:delete_self", "3:ignored"])
}

unsafe fn exchange_is_two_renames() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    io(fs::create_dir("d"))?;
    watch(fd, ".", libc::IN_ALL_EVENTS)?;
    let here = libc::AT_FDCWD;
    ok(libc::renameat2(here, c"f".as_ptr(), here, c"d".as_ptr(), libc::RENAME_EXCHANGE))?;
    heard(fd, &["1:from f", "1:to d", "1:from+dir d", "1:to+dir f"])
}

unsafe fn watched_file_is_deleted() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    watch(fd, ".", libc::IN_ALL_EVENTS)?;
    ok(libc::unlink(c"f".as_ptr()))?;
    heard(fd, &["1:attrib", "1:delete_self", "1:ignored", "2:delete f"])?;
    fails(libc::inotify_rm_watch(fd, 1), libc::EINVAL)?;
    io(fs::write("f", ""))?;
    events(fd)?;
    eq(watch(fd, "f", libc::IN_ALL_EVENTS)?, 3)
}

unsafe fn open_file_is_deleted_at_its_end() -> Done {
    let fd = new()?;
    let file = file(c"f", b"12")?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    ok(libc::unlink(c"f".as_ptr()))?;
    heard(fd, &["1:attrib"])?;
    get(file)?;
    heard(fd, &["1:access"])?;
    ok(libc::close(file))?;
    heard(fd, &["1:close_write", "1:delete_self", "1:ignored"])
}

unsafe fn watched_directory_is_removed() -> Done {
    let fd = new()?;
    io(fs::create_dir("d"))?;
    io(fs::write("d/f", ""))?;
    watch(fd, "d", libc::IN_ALL_EVENTS)?;
    ok(libc::unlink(c"d/f".as_ptr()))?;
    ok(libc::rmdir(c"d".as_ptr()))?;
    heard(fd, &["1:delete f", "1:delete_self", "1:ignored"])
}

unsafe fn hard_links() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    ok(libc::link(c"f".as_ptr(), c"g".as_ptr()))?;
    heard(fd, &["1:attrib"])?;
    // It is the file that is watched, not the name.
    ok(libc::unlink(c"f".as_ptr()))?;
    heard(fd, &["1:attrib"])?;
    ok(libc::chmod(c"g".as_ptr(), 0o600))?;
    heard(fd, &["1:attrib"])?;
    ok(libc::unlink(c"g".as_ptr()))?;
    heard(fd, &["1:attrib", "1:delete_self", "1:ignored"])
}

unsafe fn parent_hears_first() -> Done {
    let fd = new()?;
    io(fs::write("f", "12"))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    watch(fd, ".", libc::IN_ALL_EVENTS)?;
    io(fs::read("f"))?;
    heard(fd, &["2:open f", "1:open", "2:access f", "1:access", "2:close f", "1:close"])
}

unsafe fn masks() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    watch(fd, "f", libc::IN_OPEN)?;
    io(fs::read("f"))?;
    heard(fd, &["1:open"])?;
    watch(fd, "f", libc::IN_CLOSE_NOWRITE | libc::IN_MASK_ADD)?;
    io(fs::read("f"))?;
    heard(fd, &["1:open", "1:close"])?;
    watch(fd, "f", libc::IN_CLOSE_NOWRITE)?;
    io(fs::read("f"))?;
    heard(fd, &["1:close"])?;
    // Each instance has its own.
    let other = new()?;
    eq(watch(other, "f", libc::IN_OPEN)?, 1)?;
    io(fs::read("f"))?;
    heard(other, &["1:open"])?;
    heard(fd, &["1:close"])
}

unsafe fn oneshot() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    watch(fd, "f", libc::IN_OPEN | libc::IN_ONESHOT)?;
    io(fs::read("f"))?;
    io(fs::read("f"))?;
    heard(fd, &["1:open", "1:ignored"])?;
    fails(libc::inotify_rm_watch(fd, 1), libc::EINVAL)
}

unsafe fn excl_unlink() -> Done {
    let (fd, plain) = (new()?, new()?);
    let file = file(c"f", b"12")?;
    watch(fd, ".", libc::IN_ALL_EVENTS | libc::IN_EXCL_UNLINK)?;
    watch(plain, ".", libc::IN_ALL_EVENTS)?;
    ok(libc::unlink(c"f".as_ptr()))?;
    get(file)?;
    ok(libc::close(file))?;
    heard(fd, &["1:delete f"])?;
    heard(plain, &["1:delete f", "1:access f", "1:close_write f"])
}

unsafe fn rm_watch() -> Done {
    let fd = new()?;
    io(fs::write("f", ""))?;
    watch(fd, "f", libc::IN_ALL_EVENTS)?;
    io(fs::read("f"))?;
    ok(libc::inotify_rm_watch(fd, 1))?;
    io(fs::read("f"))?;
    heard(fd, &["1:open", "1:close", "1:ignored"])?;
    fails(libc::inotify_rm_watch(fd, 1), libc::EINVAL)?;
    fails(libc::inotify_rm_watch(fd, -1), libc::EINVAL)?;
    fails(libc::inotify_rm_watch(0, 1), libc::EINVAL)?;
    fails(libc::inotify_rm_watch(99, 1), libc::EBADF)
}

unsafe fn coalesces() -> Done {
    let fd = new()?;
    let file = file(c"f", b"")?;
    watch(fd, "f", libc::IN_MODIFY | libc::IN_ATTRIB)?;
    for _ in 0..3 {
        put(file, b"x")?;
    }
    ok(libc::fchmod(file, 0o600))?;
    put(file, b"x")?;
    heard(fd, &["1:modify", "1:attrib", "1:modify"])
}

unsafe fn read_rules() -> Done {
    let fd = new()?;
    watch(fd, ".", libc::IN_CREATE)?;
    io(fs::write("abc", ""))?;
    io(fs::write("a-longer-name-of-a-file", ""))?;
    let mut buffer = [0u8; 64];
    let mut read = |len: usize| libc::read(fd, buffer.as_mut_ptr().cast(), len);
    // One event with its name needs 32 bytes.
    fails(read(16), libc::EINVAL)?;
    fails(read(31), libc::EINVAL)?;
    eq(ok(read(64))?, 32)?;
    eq(ok(read(64))?, 48)?;
    fails(read(64), libc::EAGAIN)?;
    io(fs::write("x", ""))?;
    fails(libc::read(fd, std::ptr::null_mut(), 64), libc::EFAULT)
}

unsafe fn poll_and_fionread() -> Done {
    let fd = new()?;
    watch(fd, ".", libc::IN_CREATE)?;
    let ready = || {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        libc::poll(&mut poll, 1, 0);
        poll.revents
    };
    let queued = || {
        let mut bytes = -1;
        libc::ioctl(fd, libc::FIONREAD, &mut bytes);
        bytes
    };
    eq((ready(), queued()), (0, 0))?;
    io(fs::write("abc", ""))?;
    io(fs::write("def", ""))?;
    eq((ready(), queued()), (libc::POLLIN, 64))?;
    events(fd)?;
    eq((ready(), queued()), (0, 0))
}

unsafe fn blocked_read_wakes() -> Done {
    let fd = new()?;
    ok(libc::fcntl(fd, libc::F_SETFL, 0))?;
    watch(fd, ".", libc::IN_CREATE)?;
    let child = spawn(|| {
        let mut buffer = [0u8; 64];
        eq(ok(libc::read(fd, buffer.as_mut_ptr().cast(), 64))?, 32)
    })?;
    asleep(child);
    io(fs::write("f", ""))?;
    join(child)
}

unsafe fn overflow() -> Done {
    let text = io(fs::read_to_string("/proc/sys/fs/inotify/max_queued_events"))?;
    let most: usize = text.trim().parse().unwrap_or(0);
    check((1..=1 << 20).contains(&most), "the limit is a sane number")?;
    let fd = new()?;
    io(fs::write("f", ""))?;
    watch(fd, "f", libc::IN_OPEN | libc::IN_CLOSE)?;
    for _ in 0..most / 2 + 100 {
        ok(libc::close(ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?))?;
    }
    let all = events(fd)?;
    eq(all.len(), most + 1)?;
    let last = Event { wd: -1, mask: libc::IN_Q_OVERFLOW, cookie: 0, name: String::new() };
    eq(all.last(), Some(&last))?;
    io(fs::read("f"))?;
    heard(fd, &["1:open", "1:close"])
}

unsafe fn other_calls_count() -> Done {
    let fd = new()?;
    let (from, to) = (file(c"from", b"content")?, file(c"to", b"")?);
    watch(fd, "from", libc::IN_ALL_EVENTS)?;
    watch(fd, "to", libc::IN_ALL_EVENTS)?;
    eq(ok(libc::sendfile(to, from, std::ptr::null_mut(), 3))?, 3)?;
    heard(fd, &["1:access", "2:modify"])?;
    let none = std::ptr::null_mut();
    eq(ok(libc::copy_file_range(from, none, to, none, 2, 0))?, 2)?;
    heard(fd, &["1:access", "2:modify"])?;
    let mut byte = 0u8;
    let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    ok(libc::preadv(from, &part, 1, 0))?;
    ok(libc::pwritev(to, &part, 1, 0))?;
    heard(fd, &["1:access", "2:modify"])?;
    let (r, w) = pipe()?;
    eq(ok(libc::splice(from, none, w, none, 1, 0))?, 1)?;
    eq(ok(libc::splice(r, none, to, none, 1, 0))?, 1)?;
    heard(fd, &["1:access", "2:modify"])
}

unsafe fn exec_is_told() -> Done {
    let fd = new()?;
    io(fs::copy(own_path().to_string_lossy().as_ref(), "prog"))?;
    watch(fd, "prog", libc::IN_ALL_EVENTS)?;
    let status = io(std::process::Command::new("./prog").args(["exit", "3"]).status())?;
    eq(status.code(), Some(3))?;
    heard(fd, &["1:open", "1:access", "1:close"])
}

unsafe fn unmount() -> Done {
    in_layers(|| {
        ok(mount(c"tmpfs", c"o", ""))?;
        io(fs::write("o/f", ""))?;
        let fd = new()?;
        watch(fd, "o/f", libc::IN_ALL_EVENTS)?;
        // A watch keeps no file system busy.
        ok(libc::umount2(c"o".as_ptr(), 0))?;
        heard(fd, &["1:unmount", "1:ignored"])?;
        gone("o/f")
    })
}

unsafe fn user_limits() -> Done {
    need_root()?;
    let text = io(fs::read_to_string("/proc/sys/fs/inotify/max_user_instances"))?;
    let most: usize = text.trim().parse().unwrap_or(0);
    check((1..=4096).contains(&most), "the limit is a sane number")?;
    in_child(|| {
        ok(libc::setresuid(54321, 54321, 54321))?;
        let limit = libc::rlimit { rlim_cur: most as u64 + 100, rlim_max: most as u64 + 100 };
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        let mut last = 0;
        for _ in 0..most {
            last = new()?;
        }
        fails(libc::inotify_init1(0), libc::EMFILE)?;
        ok(libc::close(last))?;
        new().map(drop)
    })
}

unsafe fn as_users() -> Done {
    need_root()?;
    io(fs::write("secret", ""))?;
    ok(libc::chmod(c"secret".as_ptr(), 0o600))?;
    io(fs::write("open", ""))?;
    ok(libc::chmod(c".".as_ptr(), 0o755))?;
    in_child(|| {
        drop_root()?;
        let fd = new()?;
        watch(fd, "open", libc::IN_ALL_EVENTS)?;
        fails(libc::inotify_add_watch(fd, c"secret".as_ptr(), libc::IN_ALL_EVENTS), libc::EACCES)
    })
}
