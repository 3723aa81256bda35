//! Names: lookup, links, renames, directories. path_resolution(7), rename(2), getdents(2).

use std::ffi::CStr;

use libc::c_int;

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    open_errno_order,
    trailing_slash,
    dot_dot_at_the_root,
    names_too_long,
    symlinks_are_followed,
    symlink_loops,
    symlink_create_through_dangling,
    readlink_rules,
    link_rules,
    unlink_rules,
    unlinked_file_lives_on,
    mkdir_rules,
    rmdir_rules,
    removed_directory_is_dead,
    rename_replaces,
    rename_directories,
    rename_into_itself,
    rename_same_file,
    rename_walks_to_the_first_name_first,
    renameat2_flags,
    getdents_lists_all,
    getdents_while_deleting,
    getdents_small_buffer,
    rewinddir_sees_new,
    at_functions_take_directories,
    openat2_resolves,
    o_path_rules,
    chdir_and_getcwd,
    fchdir_needs_a_directory,
    chroot_confines,
    mknod_fifo_and_errors,
    nlink_counts,
    sticky_directory,
];

unsafe fn open(path: &CStr, flags: c_int) -> c_int {
    libc::open(path.as_ptr(), flags, 0o644)
}

unsafe fn touch(path: &CStr) -> Done {
    ok(libc::close(file(path, b"")?)).map(drop)
}

unsafe fn mkdir(path: &CStr) -> c_int {
    libc::mkdir(path.as_ptr(), 0o755)
}

unsafe fn rename(from: &CStr, to: &CStr) -> c_int {
    libc::rename(from.as_ptr(), to.as_ptr())
}

unsafe fn symlink(to: &CStr, at: &CStr) -> c_int {
    libc::symlink(to.as_ptr(), at.as_ptr())
}

unsafe fn stat_of(path: &CStr) -> Done<libc::stat> {
    let mut stat = std::mem::zeroed();
    ok(libc::lstat(path.as_ptr(), &mut stat))?;
    Ok(stat)
}

unsafe fn open_errno_order() -> Done {
    touch(c"f")?;
    ok(mkdir(c"d"))?;
    fails(open(c"none", libc::O_RDONLY), libc::ENOENT)?;
    fails(open(c"", libc::O_RDONLY), libc::ENOENT)?;
    fails(open(c"f/x", libc::O_RDONLY), libc::ENOTDIR)?;
    fails(open(c"none/x", libc::O_CREAT | libc::O_WRONLY), libc::ENOENT)?;
    fails(open(c"f", libc::O_CREAT | libc::O_EXCL), libc::EEXIST)?;
    fails(open(c"d", libc::O_CREAT | libc::O_EXCL), libc::EEXIST)?;
    fails(open(c"d", libc::O_WRONLY), libc::EISDIR)?;
    fails(open(c"d", libc::O_CREAT), libc::EISDIR)?;
    fails(open(c"f", libc::O_DIRECTORY), libc::ENOTDIR)?;
    fails(open(c"none", libc::O_CREAT | libc::O_DIRECTORY), libc::EINVAL)?;
    fails(open(c"none", libc::O_DIRECTORY), libc::ENOENT)
}

unsafe fn trailing_slash() -> Done {
    touch(c"f")?;
    ok(mkdir(c"d/"))?;
    fails(open(c"f/", libc::O_RDONLY), libc::ENOTDIR)?;
    fails(open(c"new/", libc::O_CREAT | libc::O_WRONLY), libc::EISDIR)?;
    ok(open(c"d/", libc::O_RDONLY))?;
    fails(libc::unlink(c"f/".as_ptr()), libc::ENOTDIR)?;
    fails(libc::unlink(c"d/".as_ptr()), libc::EISDIR)?;
    ok(symlink(c"d", c"l"))?;
    eq(stat_of(c"l/")?.st_mode & libc::S_IFMT, libc::S_IFDIR)?;
    fails(libc::rmdir(c"l/".as_ptr()), libc::ENOTDIR)?;
    fails(rename(c"f", c"g/"), libc::ENOTDIR)?;
    ok(rename(c"d/", c"e/")).map(drop)
}

unsafe fn dot_dot_at_the_root() -> Done {
    eq(stat_of(c"/..")?.st_ino, stat_of(c"/")?.st_ino)?;
    eq(stat_of(c"//../../.")?.st_ino, stat_of(c"/")?.st_ino)?;
    fails(libc::rmdir(c".".as_ptr()), libc::EINVAL)?;
    fails(libc::rmdir(c"..".as_ptr()), libc::ENOTEMPTY)?;
    fails(rename(c".", c"x"), libc::EBUSY)?;
    fails(libc::unlink(c"..".as_ptr()), libc::EISDIR)?;
    fails(mkdir(c"/"), libc::EEXIST)
}

unsafe fn names_too_long() -> Done {
    let name = |n: usize| std::ffi::CString::new("n".repeat(n)).unwrap_or_default();
    touch(&name(255))?;
    fails(open(&name(256), libc::O_CREAT), libc::ENAMETOOLONG)?;
    let path = std::ffi::CString::new("./".repeat(2047) + "d").unwrap_or_default(); // 4095 bytes
    ok(mkdir(&path))?;
    let path = std::ffi::CString::new("./".repeat(2048)).unwrap_or_default(); // 4096 and the NUL
    fails(open(&path, libc::O_RDONLY), libc::ENAMETOOLONG)
}

unsafe fn symlinks_are_followed() -> Done {
    ok(mkdir(c"d"))?;
    ok(libc::close(file(c"d/f", b"hi")?))?;
    ok(symlink(c"d/f", c"l"))?;
    ok(symlink(c"../l", c"d/up"))?;
    eq(get(ok(open(c"d/up", libc::O_RDONLY))?)?, b"hi")?;
    fails(open(c"l", libc::O_RDONLY | libc::O_NOFOLLOW), libc::ELOOP)?;
    eq(stat_of(c"l")?.st_mode & libc::S_IFMT, libc::S_IFLNK)?;
    eq(stat_of(c"l")?.st_size, 3)?;
    ok(symlink(c"d", c"dl"))?;
    ok(open(c"dl/f", libc::O_RDONLY | libc::O_NOFOLLOW))?; // only the last part matters
    fails(open(c"dl", libc::O_DIRECTORY | libc::O_NOFOLLOW), libc::ENOTDIR)
}

unsafe fn symlink_loops() -> Done {
    ok(symlink(c"a", c"b"))?;
    ok(symlink(c"b", c"a"))?;
    fails(open(c"a", libc::O_RDONLY), libc::ELOOP)?;
    fails(open(c"a/x", libc::O_RDONLY), libc::ELOOP)?;
    touch(c"l0")?;
    for i in 0..41 {
        let name = |i: i32| std::ffi::CString::new(format!("l{i}")).unwrap_or_default();
        ok(symlink(&name(i), &name(i + 1)))?;
    }
    ok(open(c"l40", libc::O_RDONLY))?; // forty are followed, not more
    fails(open(c"l41", libc::O_RDONLY), libc::ELOOP)
}

unsafe fn symlink_create_through_dangling() -> Done {
    ok(symlink(c"target", c"l"))?;
    fails(open(c"l", libc::O_RDONLY), libc::ENOENT)?;
    fails(open(c"l", libc::O_CREAT | libc::O_EXCL), libc::EEXIST)?;
    ok(open(c"l", libc::O_CREAT | libc::O_WRONLY))?;
    eq(stat_of(c"target")?.st_mode & libc::S_IFMT, libc::S_IFREG)?;
    fails(mkdir(c"l"), libc::EEXIST)?;
    fails(symlink(c"", c"e"), libc::ENOENT)?;
    fails(symlink(c"x", c"l"), libc::EEXIST)
}

unsafe fn readlink_rules() -> Done {
    ok(symlink(c"0123456789", c"l"))?;
    let mut bytes = [b'#'; 16];
    let mut read = |path: &CStr, len: usize| libc::readlink(path.as_ptr(), bytes.as_mut_ptr().cast(), len);
    eq(read(c"l", 4), 4)?; // cut, without a word
    eq(read(c"l", 16), 10)?;
    fails(read(c"l", 0), libc::EINVAL)?;
    fails(read(c".", 16), libc::EINVAL)?;
    fails(read(c"none", 16), libc::ENOENT)?;
    eq(&bytes[..11], b"0123456789#")
}

unsafe fn link_rules() -> Done {
    let fd = file(c"f", b"x")?;
    ok(libc::link(c"f".as_ptr(), c"g".as_ptr()))?;
    eq(stat_of(c"g")?.st_nlink, 2)?;
    eq(stat_of(c"g")?.st_ino, stat_of(c"f")?.st_ino)?;
    fails(libc::link(c"f".as_ptr(), c"g".as_ptr()), libc::EEXIST)?;
    ok(mkdir(c"d"))?;
    fails(libc::link(c"d".as_ptr(), c"e".as_ptr()), libc::EPERM)?;
    ok(symlink(c"f", c"l"))?;
    ok(libc::link(c"l".as_ptr(), c"l2".as_ptr()))?; // the link itself
    eq(stat_of(c"l2")?.st_mode & libc::S_IFMT, libc::S_IFLNK)?;
    let follow = libc::AT_SYMLINK_FOLLOW;
    ok(libc::linkat(libc::AT_FDCWD, c"l".as_ptr(), libc::AT_FDCWD, c"h".as_ptr(), follow))?;
    eq(stat_of(c"h")?.st_nlink, 3)?;
    fails(libc::linkat(fd, c"".as_ptr(), libc::AT_FDCWD, c"i".as_ptr(), 0x8000), libc::EINVAL)
}

unsafe fn unlink_rules() -> Done {
    ok(mkdir(c"d"))?;
    touch(c"f")?;
    fails(libc::unlink(c"d".as_ptr()), libc::EISDIR)?;
    fails(libc::unlink(c"none".as_ptr()), libc::ENOENT)?;
    fails(libc::unlinkat(libc::AT_FDCWD, c"f".as_ptr(), libc::AT_REMOVEDIR), libc::ENOTDIR)?;
    fails(libc::unlinkat(libc::AT_FDCWD, c"f".as_ptr(), 1), libc::EINVAL)?;
    ok(libc::unlinkat(libc::AT_FDCWD, c"d".as_ptr(), libc::AT_REMOVEDIR))?;
    ok(libc::unlink(c"f".as_ptr()))?;
    fails(open(c"f", libc::O_RDONLY), libc::ENOENT)
}

unsafe fn unlinked_file_lives_on() -> Done {
    let fd = file(c"f", b"still here")?;
    ok(libc::unlink(c"f".as_ptr()))?;
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::fstat(fd, &mut stat))?;
    eq(stat.st_nlink, 0)?;
    touch(c"f")?; // another file under the old name
    eq(get(fd)?, b"still here")?;
    put(fd, b"!")?;
    ok(libc::fstat(fd, &mut stat))?;
    eq(stat.st_size, 11)
}

unsafe fn mkdir_rules() -> Done {
    ok(libc::mkdir(c"d".as_ptr(), 0o7777))?;
    eq(stat_of(c"d")?.st_mode & 0o6777, 0o755)?; // umask, and no set-id bits
    fails(mkdir(c"d"), libc::EEXIST)?;
    fails(mkdir(c"none/d"), libc::ENOENT)?;
    touch(c"f")?;
    fails(mkdir(c"f"), libc::EEXIST)?;
    fails(mkdir(c"f/d"), libc::ENOTDIR)?;
    fails(mkdir(c"d/."), libc::EEXIST)
}

unsafe fn rmdir_rules() -> Done {
    ok(mkdir(c"d"))?;
    touch(c"d/f")?;
    fails(libc::rmdir(c"d".as_ptr()), libc::ENOTEMPTY)?;
    fails(libc::rmdir(c"d/f".as_ptr()), libc::ENOTDIR)?;
    fails(libc::rmdir(c"d/.".as_ptr()), libc::EINVAL)?;
    fails(libc::rmdir(c"d/..".as_ptr()), libc::ENOTEMPTY)?;
    ok(libc::unlink(c"d/f".as_ptr()))?;
    ok(libc::rmdir(c"d".as_ptr()))?;
    fails(libc::rmdir(c"d".as_ptr()), libc::ENOENT)
}

unsafe fn removed_directory_is_dead() -> Done {
    ok(mkdir(c"d"))?;
    ok(libc::chdir(c"d".as_ptr()))?;
    ok(libc::rmdir(c"../d".as_ptr()))?;
    fails(open(c"f", libc::O_CREAT | libc::O_WRONLY), libc::ENOENT)?;
    fails(mkdir(c"e"), libc::ENOENT)?;
    let mut path = [0u8; 64];
    fails(libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), 64), libc::ENOENT)?;
    ok(open(c".", libc::O_RDONLY))?;
    ok(libc::chdir(c"..".as_ptr())).map(drop)
}

unsafe fn rename_replaces() -> Done {
    let old = file(c"b", b"old")?;
    ok(libc::close(file(c"a", b"new")?))?;
    ok(rename(c"a", c"b"))?;
    eq(get(ok(open(c"b", libc::O_RDONLY))?)?, b"new")?;
    eq(get(old)?, b"old")?;
    fails(rename(c"a", c"b"), libc::ENOENT)
}

unsafe fn rename_directories() -> Done {
    for dir in [c"d", c"e", c"full"] {
        ok(mkdir(dir))?;
    }
    touch(c"full/f")?;
    touch(c"f")?;
    fails(rename(c"f", c"d"), libc::EISDIR)?;
    fails(rename(c"d", c"f"), libc::ENOTDIR)?;
    fails(rename(c"d", c"full"), libc::ENOTEMPTY)?;
    ok(rename(c"full", c"e"))?; // over an empty one
    ok(rename(c"e", c"d/inner"))?;
    eq(stat_of(c"d/inner/..")?.st_ino, stat_of(c"d")?.st_ino)?;
    stat_of(c"d/inner/f").map(drop)
}

unsafe fn rename_into_itself() -> Done {
    ok(mkdir(c"d"))?;
    ok(mkdir(c"d/e"))?;
    fails(rename(c"d", c"d/e/x"), libc::EINVAL)?;
    fails(rename(c"d/e", c"d"), libc::ENOTEMPTY)?;
    ok(rename(c"d", c"d")).map(drop)
}

unsafe fn rename_same_file() -> Done {
    touch(c"a")?;
    ok(libc::link(c"a".as_ptr(), c"b".as_ptr()))?;
    ok(rename(c"a", c"b"))?; // two names of one file: nothing happens
    stat_of(c"a")?;
    stat_of(c"b").map(drop)
}

unsafe fn rename_walks_to_the_first_name_first() -> Done {
    file(c"f", b"")?;
    let long = std::ffi::CString::new("a/".repeat(2048)).unwrap_or_default();
    fails(rename(c"f/x", &long), libc::ENOTDIR)?;
    fails(rename(c"f/x", c""), libc::ENOTDIR)?;
    fails(rename(c"f", &long), libc::ENAMETOOLONG)?;
    fails(rename(c"", c"f/x"), libc::ENOENT)
}

unsafe fn renameat2_flags() -> Done {
    let rename2 = |a: &CStr, b: &CStr, flags: u32| {
        libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, a.as_ptr(), libc::AT_FDCWD, b.as_ptr(), flags)
    };
    ok(libc::close(file(c"a", b"A")?))?;
    ok(mkdir(c"d"))?;
    fails(rename2(c"a", c"d", libc::RENAME_NOREPLACE), libc::EEXIST)?;
    fails(rename2(c"a", c"x", libc::RENAME_EXCHANGE), libc::ENOENT)?;
    fails(rename2(c"a", c"d", libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE), libc::EINVAL)?;
    fails(rename2(c"a", c"d", 64), libc::EINVAL)?;
    ok(rename2(c"a", c"d", libc::RENAME_EXCHANGE))?;
    eq(stat_of(c"a")?.st_mode & libc::S_IFMT, libc::S_IFDIR)?;
    ok(rename2(c"d", c"new", libc::RENAME_NOREPLACE))?;
    eq(get(ok(open(c"new", libc::O_RDONLY))?)?, b"A")
}

/// Reads a directory to its end with buffers of `len` bytes.
unsafe fn names(fd: c_int, len: usize) -> Done<Vec<String>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0u8; len]);
    loop {
        let n = ok(libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), len))? as usize;
        if n == 0 {
            return Ok(all);
        }
        let mut at = 0;
        while at < n {
            // d_ino, d_off: 8 bytes each; d_reclen: 2; d_type: 1; then the name
            let entry = u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]) as usize;
            let name = buffer[at + 19..at + entry].split(|byte| *byte == 0).next().unwrap_or_default();
            all.push(String::from_utf8_lossy(name).into_owned());
            at += entry;
        }
    }
}

unsafe fn many(n: usize) -> Done<c_int> {
    ok(mkdir(c"many"))?;
    for i in 0..n {
        touch(&std::ffi::CString::new(format!("many/file-{i:03}")).unwrap_or_default())?;
    }
    ok(open(c"many", libc::O_RDONLY | libc::O_DIRECTORY))
}

unsafe fn getdents_lists_all() -> Done {
    let fd = many(100)?;
    let mut all = names(fd, 4096)?;
    all.sort();
    eq(all.len(), 102)?;
    eq((all[0].as_str(), all[1].as_str(), all[101].as_str()), (".", "..", "file-099"))?;
    eq(names(fd, 4096)?.len(), 0)?; // at the end
    let file = file(c"f", b"")?;
    fails(libc::syscall(libc::SYS_getdents64, file, 0, 100), libc::ENOTDIR)
}

unsafe fn getdents_while_deleting() -> Done {
    let fd = many(200)?;
    let mut buffer = [0u8; 512];
    let mut deleted = 0;
    loop {
        let n = ok(libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), 512))? as usize;
        if n == 0 {
            break;
        }
        let mut at = 0;
        while at < n {
            let entry = u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]) as usize;
            let name = CStr::from_ptr(buffer.as_ptr().add(at + 19).cast());
            if name.to_bytes().starts_with(b"file") {
                ok(libc::unlinkat(fd, name.as_ptr(), 0))?;
                deleted += 1;
            }
            at += entry;
        }
    }
    eq(deleted, 200)?; // none was skipped
    ok(libc::rmdir(c"many".as_ptr())).map(drop)
}

unsafe fn getdents_small_buffer() -> Done {
    let fd = many(1)?;
    let mut buffer = [0u8; 16];
    fails(libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), 16), libc::EINVAL)?;
    eq(names(fd, 40)?.len(), 3)
}

unsafe fn rewinddir_sees_new() -> Done {
    let fd = many(3)?;
    eq(names(fd, 4096)?.len(), 5)?;
    touch(c"many/late")?;
    ok(libc::lseek(fd, 0, libc::SEEK_SET))?;
    eq(names(fd, 4096)?.len(), 6)
}

unsafe fn at_functions_take_directories() -> Done {
    ok(mkdir(c"d"))?;
    touch(c"f")?;
    let dir = ok(open(c"d", libc::O_RDONLY))?;
    ok(libc::openat(dir, c"x".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o600))?;
    stat_of(c"d/x")?;
    ok(libc::renameat(dir, c"x".as_ptr(), libc::AT_FDCWD, c"y".as_ptr()))?;
    let plain = ok(open(c"f", libc::O_RDONLY))?;
    fails(libc::openat(plain, c"x".as_ptr(), libc::O_RDONLY), libc::ENOTDIR)?;
    fails(libc::openat(999, c"x".as_ptr(), libc::O_RDONLY), libc::EBADF)?;
    ok(libc::openat(999, c"/".as_ptr(), libc::O_RDONLY))?; // absolute: the descriptor does not matter
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::fstatat(plain, c"".as_ptr(), &mut stat, libc::AT_EMPTY_PATH))?;
    fails(libc::fstatat(plain, c"".as_ptr(), &mut stat, 0), libc::ENOENT)?;
    fails(libc::fstatat(dir, c"x".as_ptr(), &mut stat, 0x10), libc::EINVAL)
}

unsafe fn openat2_resolves() -> Done {
    ok(mkdir(c"d"))?;
    ok(symlink(c"/", c"d/root"))?;
    let dir = ok(open(c"d", libc::O_RDONLY))?;
    let open2 = |path: &CStr, flags: u64, resolve: u64, size: usize| {
        let how = [flags, 0, resolve, 0];
        libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), how.as_ptr(), size)
    };
    if open2(c".", 0, 0, 24) == -1 && errno() == libc::ENOSYS {
        return skip("no openat2 here");
    }
    fails(open2(c"..", 0, libc::RESOLVE_BENEATH, 24), libc::EXDEV)?;
    fails(open2(c"root", 0, libc::RESOLVE_NO_SYMLINKS, 24), libc::ELOOP)?;
    ok(open2(c"root", 0, libc::RESOLVE_IN_ROOT, 24))?;
    fails(open2(c".", 1 << 40, 0, 24), libc::EINVAL)?;
    fails(open2(c".", 0, 1 << 40, 24), libc::EINVAL)?;
    fails(open2(c".", 0, 0, 8), libc::EINVAL)
}

unsafe fn o_path_rules() -> Done {
    ok(libc::close(file(c"f", b"hello")?))?;
    ok(libc::chmod(c"f".as_ptr(), 0))?;
    let fd = ok(open(c"f", libc::O_PATH))?; // needs no permission on the file itself
    let mut byte = 0u8;
    fails(libc::read(fd, (&raw mut byte).cast(), 1), libc::EBADF)?;
    fails(libc::fchmod(fd, 0o644), libc::EBADF)?;
    fails(libc::ioctl(fd, libc::FIONREAD, &mut byte), libc::EBADF)?;
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::fstat(fd, &mut stat))?;
    eq(stat.st_size, 5)?;
    ok(symlink(c"f", c"l"))?;
    let link = ok(open(c"l", libc::O_PATH | libc::O_NOFOLLOW))?;
    ok(libc::fstat(link, &mut stat))?;
    eq(stat.st_mode & libc::S_IFMT, libc::S_IFLNK)?;
    ok(libc::fcntl(fd, libc::F_DUPFD, 0)).map(drop)
}

unsafe fn chdir_and_getcwd() -> Done {
    ok(mkdir(c"d"))?;
    ok(libc::chdir(c"d".as_ptr()))?;
    let mut path = [0u8; 512];
    let n = ok(libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), 512))? as usize;
    check(path[..n].ends_with(b"/d\0"), "the length counts the NUL")?;
    fails(libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), n - 1), libc::ERANGE)?;
    ok(rename(c"../d", c"../e"))?;
    let n = ok(libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), 512))? as usize;
    check(path[..n].ends_with(b"/e\0"), "it follows a rename")?;
    fails(libc::chdir(c"none".as_ptr()), libc::ENOENT)
}

unsafe fn fchdir_needs_a_directory() -> Done {
    let fd = file(c"f", b"")?;
    fails(libc::fchdir(fd), libc::ENOTDIR)?;
    fails(libc::fchdir(999), libc::EBADF)?;
    fails(libc::chdir(c"f".as_ptr()), libc::ENOTDIR)?;
    ok(libc::fchdir(ok(open(c"/", libc::O_PATH))?)).map(drop)
}

unsafe fn chroot_confines() -> Done {
    need_root()?;
    ok(mkdir(c"d"))?;
    touch(c"d/f")?;
    touch(c"outside")?;
    ok(libc::chroot(c"d".as_ptr()))?;
    ok(libc::chdir(c"/".as_ptr()))?;
    stat_of(c"/f")?;
    fails(open(c"../outside", libc::O_RDONLY), libc::ENOENT)?;
    ok(symlink(c"/f", c"l"))?;
    ok(open(c"l", libc::O_RDONLY)).map(drop)
}

unsafe fn mknod_fifo_and_errors() -> Done {
    ok(libc::mkfifo(c"p".as_ptr(), 0o644))?;
    eq(stat_of(c"p")?.st_mode & libc::S_IFMT, libc::S_IFIFO)?;
    fails(libc::mkfifo(c"p".as_ptr(), 0o644), libc::EEXIST)?;
    fails(libc::mknod(c"d".as_ptr(), libc::S_IFDIR | 0o755, 0), libc::EPERM)?;
    fails(libc::mknod(c"d".as_ptr(), 0o170_000, 0), libc::EINVAL)?;
    ok(libc::mknod(c"r".as_ptr(), libc::S_IFREG | 0o600, 0))?;
    in_child(|| {
        drop_root()?;
        ok(libc::chdir(c"/tmp".as_ptr()))?;
        fails(libc::mknod(c"abi-device".as_ptr(), libc::S_IFCHR | 0o600, 0x103), libc::EPERM)
    })
}

unsafe fn nlink_counts() -> Done {
    ok(mkdir(c"d"))?;
    let before = stat_of(c"d")?.st_nlink;
    if before == 1 {
        return skip("this file system does not count directories");
    }
    ok(mkdir(c"d/e"))?;
    eq(stat_of(c"d")?.st_nlink, before + 1)?;
    ok(libc::rmdir(c"d/e".as_ptr()))?;
    eq(stat_of(c"d")?.st_nlink, before)
}

unsafe fn sticky_directory() -> Done {
    need_root()?;
    ok(mkdir(c"t"))?;
    ok(libc::chmod(c"t".as_ptr(), 0o1777))?;
    ok(libc::chmod(c".".as_ptr(), 0o755))?;
    touch(c"t/f")?;
    in_child(|| {
        drop_root()?;
        fails(libc::unlink(c"t/f".as_ptr()), libc::EPERM)?;
        fails(rename(c"t/f", c"t/g"), libc::EPERM)?;
        touch(c"t/mine")?;
        ok(libc::unlink(c"t/mine".as_ptr())).map(drop)
    })
}
