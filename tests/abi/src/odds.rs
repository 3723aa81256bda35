//! Rarer things that files can do: whiteouts, mount options of tmpfs, names of attributes, and moving data between
//! files without a look at it. tmpfs(5), xattr(7), splice(2), tee(2), vmsplice(2), sendfile(2), copy_file_range(2).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::ptr::null_mut;

use libc::{c_int, c_void};

use crate::cases;
use crate::overlay::{c, error_of, in_layers, io, mount, says};
use crate::support::*;

pub const CASES: &[Case] = cases![
    rename_leaves_a_whiteout,
    tmpfs_options,
    tmpfs_remount,
    xattr_names,
    fallocate_modes,
    quotas_are_not_there,
    handles_are_checked,
    tee_copies_and_keeps,
    tee_rules,
    tee_looks_at_its_source_first,
    tee_waits,
    vmsplice_both_ways,
    vmsplice_rules,
    splice_between_kinds,
    splice_rules,
    splice_is_not_for_all_files,
    sendfile_rules,
    sendfile_is_not_from_all_files,
    sendfile_gives_a_pipe_what_it_has_room_for,
    copy_file_range_rules,
    access_mode_three_does_neither,
    errors_come_in_order,
    who_may_execute_is_sealed,
    anonymous_files_are_one_to_locks,
];

unsafe fn rename2(old: &str, new: &str, flags: u32) -> c_int {
    libc::renameat2(libc::AT_FDCWD, c(old).as_ptr(), libc::AT_FDCWD, c(new).as_ptr(), flags)
}

unsafe fn rename_leaves_a_whiteout() -> Done {
    in_layers(|| {
        io(fs::write("f", "content"))?;
        fails(rename2("f", "g", libc::RENAME_WHITEOUT | libc::RENAME_EXCHANGE), libc::EINVAL)?;
        ok(rename2("f", "g", libc::RENAME_WHITEOUT))?;
        says("g", "content")?;
        let left = io(fs::symlink_metadata("f"))?;
        eq((left.mode(), left.rdev(), left.nlink()), (libc::S_IFCHR, 0, 1))?;
        // Over something, and of a directory.
        ok(rename2("g", "f", libc::RENAME_WHITEOUT))?;
        says("f", "content")?;
        io(fs::create_dir("d"))?;
        io(fs::create_dir("e"))?;
        ok(rename2("d", "e", libc::RENAME_WHITEOUT))?;
        eq(io(fs::symlink_metadata("d"))?.mode(), libc::S_IFCHR)?;
        eq(io(fs::metadata("e"))?.nlink(), 2)?;
        // Nobody needs to be allowed to make devices for that.
        ok(libc::chmod(c".".as_ptr(), 0o777))?;
        in_child(|| {
            drop_root()?;
            ok(rename2("f", "h", libc::RENAME_WHITEOUT))?;
            let left = io(fs::symlink_metadata("f"))?;
            eq((left.mode(), left.uid(), left.gid()), (libc::S_IFCHR, 65534, 65534))
        })
    })
}

/// The options of what is mounted on `o`.
fn shown() -> Done<String> {
    let mounts = io(fs::read_to_string("/proc/self/mounts"))?;
    let line = mounts.lines().rev().find(|line| line.contains("/o tmpfs ")).unwrap_or_default();
    let options = line.split(' ').nth(3).unwrap_or_default();
    Ok(options.replace(",inode64", ""))
}

unsafe fn tmpfs_options() -> Done {
    in_layers(|| {
        ok(mount(c"tmpfs", c"o", "size=1m,nr_inodes=100,mode=750,uid=5,gid=6"))?;
        let root = io(fs::metadata("o"))?;
        eq((root.mode() & 0o7777, root.uid(), root.gid()), (0o750, 5, 6))?;
        eq(shown()?, "rw,relatime,size=1024k,nr_inodes=100,mode=750,uid=5,gid=6")?;
        let mut stat: libc::statfs = std::mem::zeroed();
        ok(libc::statfs(c"o".as_ptr(), &mut stat))?;
        eq((stat.f_blocks * stat.f_bsize as u64, stat.f_files, stat.f_ffree), (1 << 20, 100, 99))?;
        error_of(fs::write("o/f", vec![0; 2 << 20]), libc::ENOSPC)?;
        ok(libc::umount2(c"o".as_ptr(), 0))?;
        for options in ["mode=9", "uid=x", "size=1q", "size=abc", "foo", "foo=1"] {
            fails(mount(c"tmpfs", c"o", options), libc::EINVAL)?;
        }
        ok(mount(c"tmpfs", c"o", "nr_blocks=10,nr_inodes=0"))?;
        eq(shown()?, "rw,relatime,size=40k,nr_inodes=0")
    })
}

unsafe fn remount(options: &str) -> c_int {
    let kind = c"tmpfs".as_ptr();
    libc::mount(kind, c"o".as_ptr(), kind, libc::MS_REMOUNT, c(options).as_ptr().cast())
}

unsafe fn tmpfs_remount() -> Done {
    in_layers(|| {
        ok(mount(c"tmpfs", c"o", "size=1m,nr_inodes=100,mode=750"))?;
        io(fs::write("o/f", vec![1; 300_000]))?;
        fails(remount("size=100k"), libc::EINVAL)?;
        fails(remount("nr_inodes=1"), libc::EINVAL)?;
        fails(remount("foo=1"), libc::EINVAL)?;
        // Who owns the root is asked of the root.
        ok(remount("size=2m,nr_inodes=50,mode=777,uid=1"))?;
        eq(shown()?, "rw,relatime,size=2048k,nr_inodes=50,mode=750")?;
        let root = io(fs::metadata("o"))?;
        eq((root.mode() & 0o7777, root.uid()), (0o750, 0))?;
        io(fs::write("o/g", vec![1; 1 << 20]))?;
        // What has no limit does not get one.
        ok(remount("size=0"))?;
        fails(remount("size=5m"), libc::EINVAL)
    })
}

unsafe fn xattr_names() -> Done {
    in_layers(|| {
        io(fs::write("f", ""))?;
        let set = |name: &str| libc::setxattr(c"f".as_ptr(), c(name).as_ptr(), c"v".as_ptr().cast(), 1, 0);
        for name in ["none", "foo.bar", "system.x"] {
            fails(set(name), libc::EOPNOTSUPP)?;
        }
        for name in ["user.", "trusted."] {
            fails(set(name), libc::EINVAL)?;
        }
        fails(set(""), libc::ERANGE)?;
        fails(set(&format!("user.{}", "x".repeat(251))), libc::ERANGE)?;
        ok(set("trusted.a"))?;
        ok(libc::chmod(c".".as_ptr(), 0o755))?;
        ok(libc::chmod(c"f".as_ptr(), 0o666))?;
        in_child(|| {
            drop_root()?;
            fails(set("trusted.b"), libc::EPERM)?;
            let get = |name: &str| libc::getxattr(c"f".as_ptr(), c(name).as_ptr(), null_mut(), 0);
            fails(get("trusted.a"), libc::ENODATA)?;
            eq(ok(libc::listxattr(c"f".as_ptr(), null_mut(), 0))?, 0)
        })
    })
}

unsafe fn fallocate_modes() -> Done {
    in_layers(|| {
        let fd = file(c"f", b"content")?;
        let allocate = |mode: c_int| libc::fallocate(fd, mode, 0, 4096);
        ok(allocate(libc::FALLOC_FL_KEEP_SIZE))?;
        eq(io(fs::metadata("f"))?.len(), 7)?;
        ok(allocate(0))?;
        eq(io(fs::metadata("f"))?.len(), 4096)?;
        ok(allocate(libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE))?;
        eq(io(fs::metadata("f"))?.blocks(), 0)?;
        // What tmpfs cannot do.
        for mode in [2, 4, 8, 0x10, 0x11, 0x20, 0x40, 0x41, 0x80] {
            fails(allocate(mode), libc::EOPNOTSUPP)?;
        }
        Ok(())
    })
}

unsafe fn quotas_are_not_there() -> Done {
    in_layers(|| {
        let none = null_mut::<c_void>();
        let quota = |command: u32, special: *const libc::c_char| {
            libc::syscall(libc::SYS_quotactl, command << 8, special, 0, none)
        };
        ok(quota(0x800001, std::ptr::null()))?;
        fails(quota(0x800007, std::ptr::null()), libc::ENODEV)?;
        fails(quota(0x800007, c"none".as_ptr()), libc::ENOENT)?;
        fails(quota(0x800007, c"/dev/null".as_ptr()), libc::ENOTBLK)?;
        fails(libc::syscall(libc::SYS_quotactl, 0x8000_0707u32, c"l".as_ptr(), 0, none), libc::EINVAL)?;
        let dir = ok(libc::open(c".".as_ptr(), libc::O_RDONLY))?;
        fails(libc::syscall(libc::SYS_quotactl_fd, dir, 0x8000_0700u32, 0, none), libc::ENOSYS)?;
        fails(libc::syscall(libc::SYS_quotactl_fd, 99, 0x8000_0700u32, 0, none), libc::EBADF)
    })
}

unsafe fn handles_are_checked() -> Done {
    io(fs::write("f", ""))?;
    let mut handle = [0u32; 40];
    let mut id = 0;
    let mut name = |path: &std::ffi::CStr, size: u32, flags: c_int| {
        handle[0] = size;
        let (handle, id) = (handle.as_mut_ptr(), &raw mut id);
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), handle, id, flags)
    };
    fails(name(c"f", 128, 0x40), libc::EINVAL)?;
    fails(name(c"none", 128, 0), libc::ENOENT)?;
    fails(name(c"", 128, 0), libc::ENOENT)?;
    fails(name(c"f", 129, 0), libc::EINVAL)?;
    in_child(|| {
        drop_root()?;
        let handle = [8u32, 1, 0, 0];
        fails(libc::syscall(libc::SYS_open_by_handle_at, libc::AT_FDCWD, handle.as_ptr(), 0), libc::EPERM)
    })
}

unsafe fn tee_copies_and_keeps() -> Done {
    let ((r, w), (r2, w2)) = (pipe()?, pipe()?);
    put(w, b"hello, world")?;
    eq(ok(libc::tee(r, w2, 5, 0))?, 5)?;
    eq(get(r2)?, b"hello")?;
    eq(ok(libc::tee(r, w2, 100, 0))?, 12)?;
    eq(get(r2)?, b"hello, world")?;
    eq(get(r)?, b"hello, world")?;
    // Nothing can come any more.
    ok(libc::close(w))?;
    eq(libc::tee(r, w2, 5, 0), 0)
}

unsafe fn tee_rules() -> Done {
    let ((r, w), (r2, w2)) = (pipe()?, pipe()?);
    let other = file(c"f", b"x")?;
    fails(libc::tee(r, w, 1, 0), libc::EINVAL)?;
    fails(libc::tee(other, w2, 1, 0), libc::EINVAL)?;
    fails(libc::tee(r, other, 1, 0), libc::EINVAL)?;
    fails(libc::tee(r, w2, 1, 0x10), libc::EINVAL)?;
    fails(libc::tee(w, w2, 1, 0), libc::EBADF)?;
    fails(libc::tee(99, w2, 1, 0), libc::EBADF)?;
    eq(libc::tee(r, w2, 0, 0), 0)?;
    fails(libc::tee(r, w2, 1, libc::SPLICE_F_NONBLOCK), libc::EAGAIN)?;
    put(w, b"x")?;
    ok(libc::close(r2))?;
    libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    fails(libc::tee(r, w2, 1, 0), libc::EPIPE)
}

unsafe fn tee_looks_at_its_source_first() -> Done {
    let ((r, w), (r2, w2)) = (nonblocking_pipe()?, pipe()?);
    libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    ok(libc::close(r2))?;
    // One that does not wait is enough.
    fails(libc::tee(r, w2, 1, 0), libc::EAGAIN)?;
    fails(libc::splice(r, null_mut(), w2, null_mut(), 1, 0), libc::EAGAIN)?;
    ok(libc::close(w))?;
    fails(libc::tee(r, w2, 1, 0), libc::EPIPE)?;
    fails(libc::splice(r, null_mut(), w2, null_mut(), 1, 0), libc::EPIPE)?;
    let (r3, w3) = nonblocking_pipe()?;
    while libc::write(w3, [0u8; 4096].as_ptr().cast(), 4096) > 0 {}
    fails(libc::tee(r, w3, 1, 0), libc::EAGAIN)?;
    ok(libc::close(r3)).map(drop)
}

unsafe fn nonblocking_pipe() -> Done<(c_int, c_int)> {
    let mut ends = [0; 2];
    ok(libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK))?;
    Ok((ends[0], ends[1]))
}

unsafe fn tee_waits() -> Done {
    let ((r, w), (r2, w2)) = (pipe()?, pipe()?);
    let child = spawn(|| eq(ok(libc::tee(r, w2, 100, 0))?, 3))?;
    asleep(child);
    put(w, b"now")?;
    join(child)?;
    eq(get(r2)?, b"now")
}

fn part(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

unsafe fn vmsplice_both_ways() -> Done {
    let (r, w) = pipe()?;
    let (mut one, mut two) = (*b"one ", *b"two");
    let parts = [part(&mut one), part(&mut two)];
    eq(ok(libc::vmsplice(w, parts.as_ptr(), 2, 0))?, 7)?;
    let (mut first, mut second) = ([0u8; 2], [0u8; 10]);
    let parts = [part(&mut first), part(&mut second)];
    eq(ok(libc::vmsplice(r, parts.as_ptr(), 2, 0))?, 7)?;
    eq((&first, &second[..5]), (b"on", b"e two".as_slice()))
}

unsafe fn vmsplice_rules() -> Done {
    let (r, w) = pipe()?;
    let mut byte = [0u8; 1];
    let one = part(&mut byte);
    let fd = file(c"f", b"x")?;
    eq(libc::vmsplice(w, &one, 0, 0), 0)?;
    eq(libc::vmsplice(fd, &one, 0, 0), 0)?;
    fails(libc::vmsplice(fd, &one, 1, 0), libc::EBADF)?;
    fails(libc::vmsplice(99, &one, 1, 0), libc::EBADF)?;
    fails(libc::vmsplice(w, &one, 1, 0x10), libc::EINVAL)?;
    fails(libc::vmsplice(w, std::ptr::null(), 1, 0), libc::EFAULT)?;
    fails(libc::vmsplice(w, &one, 1025, 0), libc::EINVAL)?;
    fails(libc::vmsplice(r, &one, 1, libc::SPLICE_F_NONBLOCK), libc::EAGAIN)?;
    // As much as there is room for, and no more.
    let all = libc::iovec { iov_base: memory(1 << 20)?.cast(), iov_len: 1 << 20 };
    eq(ok(libc::vmsplice(w, &all, 1, 0))?, 65536)?;
    fails(libc::vmsplice(w, &one, 1, libc::SPLICE_F_NONBLOCK), libc::EAGAIN)?;
    ok(libc::close(w))?;
    while !get(r)?.is_empty() {}
    let end = part(&mut byte);
    eq(libc::vmsplice(r, &end, 1, 0), 0)
}

unsafe fn splice_between_kinds() -> Done {
    let ((r, w), (r2, w2)) = (pipe()?, pipe()?);
    put(w, b"pipe to pipe")?;
    let none = null_mut();
    eq(ok(libc::splice(r, none, w2, none, 100, 0))?, 12)?;
    eq(get(r2)?, b"pipe to pipe")?;
    let mut ends = [0; 2];
    ok(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()))?;
    put(w, b"to a socket")?;
    eq(ok(libc::splice(r, none, ends[0], none, 100, 0))?, 11)?;
    eq(ok(libc::splice(ends[1], none, w2, none, 100, 0))?, 11)?;
    eq(get(r2)?, b"to a socket")?;
    let fd = file(c"f", b"0123456789")?;
    let mut offset = 4i64;
    eq(ok(libc::splice(fd, &mut offset, w, none, 3, 0))?, 3)?;
    eq((offset, ok(libc::lseek(fd, 0, libc::SEEK_CUR))?), (7, 0))?;
    eq(get(r)?, b"456")?;
    ok(libc::close(w))?;
    eq(libc::splice(r, none, w2, none, 1, 0), 0)
}

unsafe fn splice_rules() -> Done {
    let (r, w) = pipe()?;
    let fd = file(c"f", b"0123456789")?;
    let none = null_mut();
    fails(libc::splice(r, none, w, none, 1, 0), libc::EINVAL)?;
    fails(libc::splice(fd, none, w, none, 1, 0x10), libc::EINVAL)?;
    fails(libc::splice(fd, none, r, none, 1, 0), libc::EBADF)?;
    fails(libc::splice(w, none, fd, none, 1, 0), libc::EBADF)?;
    fails(libc::splice(r, none, fd, none, 1, libc::SPLICE_F_NONBLOCK), libc::EAGAIN)?;
    let append = ok(libc::open(c"f".as_ptr(), libc::O_WRONLY | libc::O_APPEND))?;
    put(w, b"x")?;
    fails(libc::splice(r, none, append, none, 1, 0), libc::EINVAL)?;
    let mut before = -1i64;
    fails(libc::splice(fd, &mut before, w, none, 1, 0), libc::EINVAL)?;
    let dir = ok(libc::open(c".".as_ptr(), libc::O_RDONLY))?;
    check(libc::splice(dir, none, w, none, 1, 0) == -1, "a directory cannot be spliced")
}

unsafe fn splice_is_not_for_all_files() -> Done {
    let (r, w) = pipe()?;
    let counter = ok(libc::eventfd(1, 0))?;
    let dir = ok(libc::open(c".".as_ptr(), libc::O_RDONLY))?;
    let (none, mut start) = (null_mut(), 0i64);
    eq(libc::splice(r, none, w, none, 0, 0x10), 0)?;
    // That is said before one waits for something to read, or for room.
    fails(libc::splice(r, none, counter, none, 8, 0), libc::EINVAL)?;
    fails(libc::splice(counter, none, w, none, 8, 0), libc::EINVAL)?;
    fails(libc::splice(dir, none, w, none, 8, 0), libc::EINVAL)?;
    fails(libc::splice(counter, &mut start, w, none, 8, 0), libc::EINVAL)?;
    // That a pipe has no offsets comes before that it cannot be written here.
    fails(libc::splice(w, &mut start, counter, none, 8, 0), libc::ESPIPE)?;
    fails(libc::splice(w, none, dir, none, 8, 0), libc::EBADF)?;
    libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    ok(libc::close(r))?;
    fails(libc::splice(counter, none, w, none, 8, 0), libc::EPIPE)
}

unsafe fn sendfile_rules() -> Done {
    let (r, w) = pipe()?;
    let (from, to) = (file(c"from", b"0123456789")?, file(c"to", b"")?);
    let none = null_mut();
    let mut offset = 3i64;
    eq(ok(libc::sendfile(to, from, &mut offset, 4))?, 4)?;
    eq((offset, ok(libc::lseek(from, 0, libc::SEEK_CUR))?), (7, 0))?;
    eq(ok(libc::sendfile(w, from, none, 100))?, 10)?;
    eq(ok(libc::lseek(from, 0, libc::SEEK_CUR))?, 10)?;
    eq(get(r)?, b"0123456789")?;
    eq(libc::sendfile(w, from, none, 100), 0)?;
    says("to", "3456")?;
    offset = -1;
    fails(libc::sendfile(to, from, &mut offset, 1), libc::EINVAL)?;
    fails(libc::sendfile(r, from, none, 1), libc::EBADF)?;
    fails(libc::sendfile(to, 99, none, 1), libc::EBADF)?;
    let append = ok(libc::open(c"to".as_ptr(), libc::O_WRONLY | libc::O_APPEND))?;
    fails(libc::sendfile(append, from, none, 1), libc::EINVAL)
}

unsafe fn sendfile_is_not_from_all_files() -> Done {
    let ((r, w), (r2, w2)) = (pipe()?, pipe()?);
    let (from, to) = (file(c"from", b"0123456789")?, file(c"to", b"")?);
    let counter = ok(libc::eventfd(1, 0))?;
    let dir = ok(libc::open(c".".as_ptr(), libc::O_RDONLY))?;
    let (none, mut start) = (null_mut(), 0i64);
    put(w, b"12345678")?;
    for source in [r, counter, dir] {
        fails(libc::sendfile(to, source, none, 1), libc::EINVAL)?;
        fails(libc::sendfile(w2, source, none, 1), libc::EINVAL)?;
        // Nothing can be had from each, but not from a pipe to a file.
        eq(libc::sendfile(w2, source, none, 0), 0)?;
        eq(libc::sendfile(to, source, none, 0), if source == r { -1 } else { 0 })?;
    }
    // What has no offsets says so before anything is said of the target.
    fails(libc::sendfile(99, r, &mut start, 1), libc::ESPIPE)?;
    fails(libc::sendfile(99, counter, &mut start, 1), libc::ESPIPE)?;
    // To what takes nothing, nothing can be sent.
    fails(libc::sendfile(counter, from, none, 8), libc::EINVAL)?;
    eq(ok(libc::lseek(from, 0, libc::SEEK_END))?, 10)?;
    eq(libc::sendfile(counter, from, none, 8), 0)?;
    libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    ok(libc::close(r2))?;
    fails(libc::sendfile(w2, counter, none, 1), libc::EPIPE)
}

unsafe fn sendfile_gives_a_pipe_what_it_has_room_for() -> Done {
    let (r, w) = pipe()?;
    let from = file(c"from", &[7; 100_000])?;
    put(w, b"before")?;
    let sent = ok(libc::sendfile(w, from, null_mut(), 100_000))?;
    check((1..65_536).contains(&sent), "it does not wait for more room")?;
    eq(ok(libc::lseek(from, 0, libc::SEEK_CUR))?, sent as i64)?;
    eq(get(r)?, [b"before".as_slice(), &vec![7; sent as usize]].concat().as_slice())?;
    // A socket has no positions, but a pipe takes what is there.
    let mut ends = [0; 2];
    ok(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()))?;
    put(ends[0], b"from a socket")?;
    eq(ok(libc::sendfile(w, ends[1], null_mut(), 100))?, 13)?;
    eq(get(r)?, b"from a socket")
}

unsafe fn copy_file_range_rules() -> Done {
    let (from, to) = (file(c"from", b"0123456789")?, file(c"to", b"")?);
    let none = null_mut();
    let (mut start, mut target) = (2i64, 1i64);
    eq(ok(libc::copy_file_range(from, &mut start, to, &mut target, 100, 0))?, 8)?;
    eq((start, target), (10, 9))?;
    eq(libc::copy_file_range(from, &mut start, to, none, 100, 0), 0)?;
    fails(libc::copy_file_range(from, none, to, none, 1, 1), libc::EINVAL)?;
    let (mut start, mut target) = (0i64, 2i64);
    fails(libc::copy_file_range(from, &mut start, from, &mut target, 5, 0), libc::EINVAL)?;
    // Beside each other is not over each other.
    target = 10;
    eq(ok(libc::copy_file_range(from, &mut start, from, &mut target, 5, 0))?, 5)?;
    let read = ok(libc::open(c"to".as_ptr(), libc::O_RDONLY))?;
    fails(libc::copy_file_range(from, none, read, none, 1, 0), libc::EBADF)?;
    let append = ok(libc::open(c"to".as_ptr(), libc::O_WRONLY | libc::O_APPEND))?;
    fails(libc::copy_file_range(from, none, append, none, 1, 0), libc::EBADF)?;
    let dir = ok(libc::open(c".".as_ptr(), libc::O_RDONLY))?;
    fails(libc::copy_file_range(dir, none, to, none, 1, 0), libc::EISDIR)?;
    let (r, _w) = pipe()?;
    fails(libc::copy_file_range(r, none, to, none, 1, 0), libc::EINVAL)?;
    fails(libc::copy_file_range(r, none, dir, none, 1, 0), libc::EISDIR)
}

unsafe fn access_mode_three_does_neither() -> Done {
    let mut eight = [0u8; 8];
    let fd = ok(libc::open(c"f".as_ptr(), libc::O_CREAT | 3, 0o600))?;
    fails(libc::read(fd, eight.as_mut_ptr().cast(), 8), libc::EBADF)?;
    fails(libc::pread(fd, eight.as_mut_ptr().cast(), 8, 0), libc::EBADF)?;
    fails(libc::write(fd, eight.as_ptr().cast(), 8), libc::EBADF)?;
    fails(libc::flock(fd, libc::LOCK_SH | libc::LOCK_NB), libc::EBADF)?;
    fails(libc::open(c".".as_ptr(), 3), libc::EISDIR)?;
    ok(libc::mkfifo(c"p".as_ptr(), 0o600))?;
    fails(libc::open(c"p".as_ptr(), 3 | libc::O_NONBLOCK), libc::EINVAL)
}

unsafe fn errors_come_in_order() -> Done {
    let (r, w) = pipe()?;
    let mut eight = [0u8; 8];
    // That a pipe has no positions counts before the end that it is.
    fails(libc::pread(w, eight.as_mut_ptr().cast(), 8, 0), libc::ESPIPE)?;
    fails(libc::pwrite(r, eight.as_ptr().cast(), 8, 0), libc::ESPIPE)?;
    // That a name is empty counts before where it would be looked for.
    fails(libc::linkat(-1, c"".as_ptr(), libc::AT_FDCWD, c"x".as_ptr(), 0), libc::ENOENT)?;
    // Descriptors count before flags and positions.
    fails(libc::copy_file_range(-1, null_mut(), -1, null_mut(), 1, 1), libc::EBADF)?;
    fails(libc::sendfile(-1, r, null_mut(), 1), libc::EBADF)?;
    let event = ok(libc::eventfd(1, libc::EFD_NONBLOCK))?;
    fails(libc::sendfile(w, event, null_mut(), 8), libc::EINVAL)
}

unsafe fn who_may_execute_is_sealed() -> Done {
    let fd = ok(libc::memfd_create(c"m".as_ptr(), libc::MFD_NOEXEC_SEAL))?;
    eq(ok(libc::fcntl(fd, libc::F_GET_SEALS))?, libc::F_SEAL_EXEC)?;
    fails(libc::fchmod(fd, 0o777), libc::EPERM)?;
    fails(libc::fchmod(fd, 0o100), libc::EPERM)?;
    ok(libc::fchmod(fd, 0o600))?;
    // What is executable and stays so cannot be changed either.
    let fd = ok(libc::memfd_create(c"n".as_ptr(), libc::MFD_ALLOW_SEALING))?;
    ok(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_EXEC))?;
    let all = libc::F_SEAL_EXEC
        | libc::F_SEAL_SHRINK
        | libc::F_SEAL_GROW
        | libc::F_SEAL_WRITE
        | libc::F_SEAL_FUTURE_WRITE;
    eq(ok(libc::fcntl(fd, libc::F_GET_SEALS))?, all)?;
    fails(libc::write(fd, c"x".as_ptr().cast(), 1), libc::EPERM)
}

unsafe fn anonymous_files_are_one_to_locks() -> Done {
    let (a, b) = (ok(libc::eventfd(0, 0))?, ok(libc::epoll_create1(0))?);
    // Natively others may run this too.
    ok(libc::flock(a, libc::LOCK_EX))?;
    fails(libc::flock(b, libc::LOCK_EX | libc::LOCK_NB), libc::EAGAIN)?;
    let (r, w) = pipe()?;
    ok(libc::flock(r, libc::LOCK_EX))?;
    fails(libc::flock(w, libc::LOCK_EX | libc::LOCK_NB), libc::EAGAIN)?; // of one pipe
    let (other, _) = pipe()?;
    ok(libc::flock(other, libc::LOCK_EX | libc::LOCK_NB)).map(drop)
}
