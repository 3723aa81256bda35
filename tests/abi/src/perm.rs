//! Who may do what, and what is written down of it: modes, owners, times, umask. chmod(2), access(2), utimensat(2).

use std::ffi::CStr;

use libc::{c_int, timespec};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    mode_decides,
    directory_needs_search,
    directory_needs_write,
    group_comes_before_other,
    root_passes_but_not_exec,
    access_uses_the_real_uid,
    access_rules,
    faccessat2_flags,
    chmod_rules,
    chown_rules,
    chown_drops_setuid,
    write_drops_setuid,
    setgid_directory_passes_group,
    umask_is_applied,
    new_file_takes_the_fsuid,
    utimensat_sets,
    utimensat_rules,
    times_follow_changes,
    capabilities_of_a_user,
];

unsafe fn stat_of(path: &CStr) -> Done<libc::stat> {
    let mut stat = std::mem::zeroed();
    ok(libc::lstat(path.as_ptr(), &mut stat))?;
    Ok(stat)
}

unsafe fn make(path: &CStr, mode: u32) -> Done {
    ok(libc::close(file(path, b"content")?))?;
    ok(libc::chmod(path.as_ptr(), mode)).map(drop)
}

unsafe fn open(path: &CStr, flags: c_int) -> c_int {
    libc::open(path.as_ptr(), flags)
}

/// Runs `body` as the user 65534, who may search this directory.
unsafe fn as_user(body: impl FnOnce() -> Done) -> Done {
    ok(libc::chmod(c".".as_ptr(), 0o755))?;
    in_child(|| {
        drop_root()?;
        body()
    })
}

unsafe fn mode_decides() -> Done {
    need_root()?;
    for (mode, read, write) in
        [(0o600, false, false), (0o604, true, false), (0o602, false, true), (0o606, true, true)]
    {
        make(c"f", mode)?;
        as_user(|| {
            let may = |flags: c_int| (open(c"f", flags) != -1, errno());
            let (got_read, error) = may(libc::O_RDONLY);
            check(got_read == read && (read || error == libc::EACCES), "reading")?;
            let (got_write, error) = may(libc::O_WRONLY);
            check(got_write == write && (write || error == libc::EACCES), "writing")?;
            eq(may(libc::O_RDWR).0, read && write)
        })?;
    }
    Ok(())
}

unsafe fn directory_needs_search() -> Done {
    need_root()?;
    ok(libc::mkdir(c"d".as_ptr(), 0o744))?;
    make(c"d/f", 0o644)?;
    as_user(|| {
        fails(open(c"d/f", libc::O_RDONLY), libc::EACCES)?;
        fails(open(c"d/none", libc::O_RDONLY), libc::EACCES)?;
        ok(open(c"d", libc::O_RDONLY))?; // it can be listed
        fails(libc::chdir(c"d".as_ptr()), libc::EACCES)
    })
}

unsafe fn directory_needs_write() -> Done {
    need_root()?;
    ok(libc::mkdir(c"d".as_ptr(), 0o755))?;
    make(c"d/f", 0o666)?;
    as_user(|| {
        fails(libc::unlink(c"d/f".as_ptr()), libc::EACCES)?;
        fails(libc::mkdir(c"d/e".as_ptr(), 0o755), libc::EACCES)?;
        fails(libc::rename(c"d/f".as_ptr(), c"d/g".as_ptr()), libc::EACCES)?;
        fails(libc::open(c"d/n".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o644), libc::EACCES)?;
        fails(libc::mkdir(c"d/f".as_ptr(), 0o755), libc::EEXIST) // existence is told first
    })
}

unsafe fn group_comes_before_other() -> Done {
    need_root()?;
    make(c"f", 0o604)?;
    ok(libc::chown(c"f".as_ptr(), 0, 65534))?;
    as_user(|| fails(open(c"f", libc::O_RDONLY), libc::EACCES))?;
    make(c"f", 0o064)?;
    ok(libc::chown(c"f".as_ptr(), 65534, 0))?;
    as_user(|| fails(open(c"f", libc::O_RDONLY), libc::EACCES))
}

unsafe fn root_passes_but_not_exec() -> Done {
    need_root()?;
    make(c"f", 0)?;
    ok(open(c"f", libc::O_RDWR))?;
    fails(libc::access(c"f".as_ptr(), libc::X_OK), libc::EACCES)?;
    ok(libc::access(c"f".as_ptr(), libc::R_OK | libc::W_OK))?;
    ok(libc::mkdir(c"d".as_ptr(), 0))?;
    ok(libc::access(c"d".as_ptr(), libc::X_OK)).map(drop)
}

unsafe fn access_uses_the_real_uid() -> Done {
    need_root()?;
    make(c"f", 0o600)?;
    ok(libc::chmod(c".".as_ptr(), 0o755))?;
    in_child(|| {
        ok(libc::setresuid(65534, 0, 0))?;
        fails(libc::access(c"f".as_ptr(), libc::R_OK), libc::EACCES)?;
        ok(open(c"f", libc::O_RDONLY)).map(drop)
    })
}

unsafe fn access_rules() -> Done {
    make(c"f", 0o444)?;
    ok(libc::access(c"f".as_ptr(), libc::F_OK))?;
    fails(libc::access(c"none".as_ptr(), libc::F_OK), libc::ENOENT)?;
    fails(libc::access(c"f".as_ptr(), 8), libc::EINVAL)?;
    fails(libc::access(c"f".as_ptr(), libc::X_OK), libc::EACCES)
}

unsafe fn faccessat2_flags() -> Done {
    make(c"f", 0o644)?;
    ok(libc::symlink(c"none".as_ptr(), c"l".as_ptr()))?;
    let call = |path: &CStr, flags: c_int| {
        libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::F_OK, flags)
    };
    ok(call(c"f", libc::AT_EACCESS))?;
    fails(call(c"l", 0), libc::ENOENT)?;
    ok(call(c"l", libc::AT_SYMLINK_NOFOLLOW))?;
    fails(call(c"f", 0x8), libc::EINVAL)
}

unsafe fn chmod_rules() -> Done {
    make(c"f", 0o7777)?;
    eq(stat_of(c"f")?.st_mode, libc::S_IFREG | 0o7777)?;
    ok(libc::symlink(c"f".as_ptr(), c"l".as_ptr()))?;
    ok(libc::chmod(c"l".as_ptr(), 0o600))?; // what it points to
    eq(stat_of(c"f")?.st_mode & 0o7777, 0o600)?;
    ok(libc::fchmod(open(c"f", libc::O_RDONLY), 0o640))?;
    eq(stat_of(c"f")?.st_mode & 0o7777, 0o640)?;
    in_child(|| {
        drop_root()?;
        fails(libc::chmod(c"/".as_ptr(), 0o755), libc::EPERM)
    })
}

unsafe fn chown_rules() -> Done {
    need_root()?;
    make(c"f", 0o644)?;
    ok(libc::chown(c"f".as_ptr(), 7, 8))?;
    ok(libc::chown(c"f".as_ptr(), u32::MAX, 9))?; // -1 leaves it
    let stat = stat_of(c"f")?;
    eq((stat.st_uid, stat.st_gid), (7, 9))?;
    ok(libc::symlink(c"f".as_ptr(), c"l".as_ptr()))?;
    ok(libc::lchown(c"l".as_ptr(), 5, 5))?;
    eq((stat_of(c"l")?.st_uid, stat_of(c"f")?.st_uid), (5, 7))?;
    ok(libc::chown(c"f".as_ptr(), 65534, 65534))?;
    as_user(|| {
        fails(libc::chown(c"f".as_ptr(), 0, u32::MAX), libc::EPERM)?;
        fails(libc::chown(c"f".as_ptr(), u32::MAX, 0), libc::EPERM)?;
        ok(libc::chown(c"f".as_ptr(), 65534, 65534)).map(drop)
    })
}

unsafe fn chown_drops_setuid() -> Done {
    need_root()?;
    make(c"f", 0o6755)?;
    ok(libc::chown(c"f".as_ptr(), 1, 1))?;
    eq(stat_of(c"f")?.st_mode & 0o7777, 0o755)
}

unsafe fn write_drops_setuid() -> Done {
    need_root()?;
    make(c"f", 0o6777)?;
    as_user(|| put(ok(open(c"f", libc::O_WRONLY))?, b"x"))?;
    eq(stat_of(c"f")?.st_mode & 0o7777, 0o777)
}

unsafe fn setgid_directory_passes_group() -> Done {
    need_root()?;
    ok(libc::mkdir(c"d".as_ptr(), 0o755))?;
    ok(libc::chown(c"d".as_ptr(), 0, 77))?;
    ok(libc::chmod(c"d".as_ptr(), 0o2755))?;
    make(c"d/f", 0o644)?;
    eq(stat_of(c"d/f")?.st_gid, 77)?;
    ok(libc::mkdir(c"d/e".as_ptr(), 0o755))?;
    let inner = stat_of(c"d/e")?;
    eq((inner.st_gid, inner.st_mode & 0o7777), (77, 0o2755))
}

unsafe fn umask_is_applied() -> Done {
    eq(libc::umask(0o7077), 0o022)?;
    eq(libc::umask(0o077), 0o077)?; // only permission bits are kept
    ok(libc::open(c"f".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o4777))?;
    eq(stat_of(c"f")?.st_mode & 0o7777, 0o4700)?;
    ok(libc::symlink(c"f".as_ptr(), c"l".as_ptr()))?;
    eq(stat_of(c"l")?.st_mode & 0o7777, 0o777)
}

unsafe fn new_file_takes_the_fsuid() -> Done {
    need_root()?;
    ok(libc::chmod(c".".as_ptr(), 0o777))?;
    in_child(|| {
        ok(libc::setresgid(44, 44, 0))?;
        ok(libc::setresuid(33, 33, 0))?;
        make(c"f", 0o600)?;
        let stat = stat_of(c"f")?;
        eq((stat.st_uid, stat.st_gid), (33, 44))
    })
}

unsafe fn utimensat_sets() -> Done {
    make(c"f", 0o644)?;
    let times = |a: i64, b: i64| [timespec { tv_sec: a, tv_nsec: 500 }, timespec { tv_sec: b, tv_nsec: 0 }];
    let call = |times: &[timespec; 2]| libc::utimensat(libc::AT_FDCWD, c"f".as_ptr(), times.as_ptr(), 0);
    ok(call(&times(1000, 2000)))?;
    let stat = stat_of(c"f")?;
    eq((stat.st_atime, stat.st_atime_nsec, stat.st_mtime), (1000, 500, 2000))?;
    let mut some = times(3000, 4000);
    some[0].tv_nsec = libc::UTIME_OMIT;
    ok(call(&some))?;
    let stat = stat_of(c"f")?;
    eq((stat.st_atime, stat.st_mtime), (1000, 4000))?;
    some[1].tv_nsec = libc::UTIME_NOW;
    ok(call(&some))?;
    check(stat_of(c"f")?.st_mtime > 1_000_000_000, "now")?;
    ok(libc::futimens(open(c"f", libc::O_RDONLY), times(5, 6).as_ptr()))?;
    eq(stat_of(c"f")?.st_mtime, 6)
}

unsafe fn utimensat_rules() -> Done {
    make(c"f", 0o666)?;
    let bad = [timespec { tv_sec: 0, tv_nsec: 1_000_000_000 }; 2];
    let call = |path: &CStr, times: *const timespec, flags: c_int| {
        libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times, flags)
    };
    fails(call(c"f", bad.as_ptr(), 0), libc::EINVAL)?;
    fails(call(c"none", std::ptr::null(), 0), libc::ENOENT)?;
    fails(call(c"f", std::ptr::null(), 0x8), libc::EINVAL)?;
    need_root()?;
    as_user(|| {
        ok(call(c"f", std::ptr::null(), 0))?; // to now: writing is enough
        let times = [timespec { tv_sec: 1, tv_nsec: 0 }; 2];
        fails(call(c"f", times.as_ptr(), 0), libc::EPERM)
    })
}

unsafe fn times_follow_changes() -> Done {
    let fd = file(c"f", b"x")?;
    let old = [timespec { tv_sec: 1000, tv_nsec: 0 }; 2];
    ok(libc::futimens(fd, old.as_ptr()))?;
    let stat = stat_of(c"f")?;
    check(stat.st_ctime > 1_000_000_000, "a change of times is a change")?;
    put(fd, b"y")?;
    check(stat_of(c"f")?.st_mtime > 1_000_000_000, "writing sets mtime")?;
    ok(libc::mkdir(c"d".as_ptr(), 0o755))?;
    ok(libc::utimensat(libc::AT_FDCWD, c"d".as_ptr(), old.as_ptr(), 0))?;
    make(c"d/f", 0o644)?;
    check(stat_of(c"d")?.st_mtime > 1_000_000_000, "a new name sets the directory's")
}

unsafe fn capabilities_of_a_user() -> Done {
    need_root()?;
    let caps = || {
        let mut header = [0x2008_0522u32, 0];
        let mut data = [0u32; 6];
        ok(libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()))?;
        Ok(data[0])
    };
    check(caps()? != 0, "root has some")?;
    as_user(|| eq(caps()?, 0))
}
