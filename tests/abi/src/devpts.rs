//! devpts: each has pseudoterminals of its own. pts(4), Documentation/filesystems/devpts.

use std::ffi::CStr;

use libc::c_int;

use crate::cases;
use crate::mount::{mount, private_place, tmpfs};
use crate::support::*;
use crate::userns::inside_as_root;

pub const CASES: &[Case] =
    cases![each_devpts_has_its_own, ptmx_finds_the_devpts_beside_it, devpts_of_a_user_namespace];

unsafe fn devpts(target: &CStr) -> Done {
    ok(libc::mkdir(target.as_ptr(), 0o755))?;
    let options = c"newinstance,ptmxmode=0666,mode=620";
    ok(libc::mount(c"devpts".as_ptr(), target.as_ptr(), c"devpts".as_ptr(), 0, options.as_ptr().cast()))
        .map(drop)
}

/// Opens a master, unlocks it, and gives its terminal's number.
unsafe fn master_of(ptmx: &CStr) -> Done<(c_int, c_int)> {
    let fd = ok(libc::open(ptmx.as_ptr(), libc::O_RDWR | libc::O_NOCTTY))?;
    let (mut number, unlock): (c_int, c_int) = (-1, 0);
    ok(libc::ioctl(fd, libc::TIOCGPTN, &mut number))?;
    ok(libc::ioctl(fd, libc::TIOCSPTLCK, &unlock))?;
    Ok((fd, number))
}

unsafe fn says(master: c_int, terminal: &CStr) -> Done {
    let slave = ok(libc::open(terminal.as_ptr(), libc::O_RDWR | libc::O_NOCTTY))?;
    put(slave, b"word")?;
    eq(get(master)?, b"word")?;
    ok(libc::close(slave)).map(drop)
}

unsafe fn each_devpts_has_its_own() -> Done {
    private_place()?;
    devpts(c"a")?;
    devpts(c"b")?;
    let (first, number) = master_of(c"a/ptmx")?;
    eq(number, 0)?;
    fails(libc::access(c"b/0".as_ptr(), libc::F_OK), libc::ENOENT)?;
    says(first, c"a/0")?;
    let (second, number) = master_of(c"b/ptmx")?;
    eq(number, 0)?;
    says(second, c"b/0")?;
    let (mut a, mut b): (libc::stat, libc::stat) = (std::mem::zeroed(), std::mem::zeroed());
    ok(libc::stat(c"a/0".as_ptr(), &mut a))?;
    ok(libc::stat(c"b/0".as_ptr(), &mut b))?;
    check(a.st_rdev == b.st_rdev && a.st_dev != b.st_dev, "the same number in two file systems")?;
    ok(libc::close(first))?;
    fails(libc::access(c"a/0".as_ptr(), libc::F_OK), libc::ENOENT)?;
    ok(libc::access(c"b/0".as_ptr(), libc::F_OK))?;
    // Elsewhere the number leads nowhere.
    ok(libc::mknod(c"copy".as_ptr(), libc::S_IFCHR | 0o600, b.st_rdev))?;
    fails(libc::open(c"copy".as_ptr(), libc::O_RDWR | libc::O_NOCTTY), libc::EIO)?;
    ok(libc::umount2(c"b".as_ptr(), libc::MNT_DETACH))?;
    put(second, b"").map(drop)
}

unsafe fn ptmx_finds_the_devpts_beside_it() -> Done {
    private_place()?;
    ok(libc::mkdir(c"d".as_ptr(), 0o755))?;
    ok(libc::mknod(c"d/ptmx".as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(5, 2)))?;
    ok(libc::mkdir(c"d/pts".as_ptr(), 0o755))?;
    fails(libc::open(c"d/ptmx".as_ptr(), libc::O_RDWR), libc::ENODEV)?;
    ok(libc::rmdir(c"d/pts".as_ptr()))?;
    devpts(c"d/pts")?;
    let (master, number) = master_of(c"d/ptmx")?;
    eq(number, 0)?;
    says(master, c"d/pts/0")?;
    ok(libc::symlink(c"d/pts/ptmx".as_ptr(), c"link".as_ptr()))?;
    let (_other, number) = master_of(c"link")?;
    eq(number, 1)?;
    // A bind of the node is one of the file system.
    ok(libc::mknod(c"bound".as_ptr(), libc::S_IFREG | 0o600, 0))?;
    ok(mount(c"d/pts/ptmx", c"bound", c"", libc::MS_BIND))?;
    let (_third, number) = master_of(c"bound")?;
    eq(number, 2)
}

/// As sandboxes make a `/dev` without being root.
unsafe fn devpts_of_a_user_namespace() -> Done {
    inside_as_root(|| {
        ok(libc::unshare(libc::CLONE_NEWNS))?;
        ok(libc::mkdir(c"u".as_ptr(), 0o755))?;
        ok(tmpfs(c"u", libc::MS_NOSUID | libc::MS_NODEV))?;
        ok(libc::chdir(c"u".as_ptr()))?;
        devpts(c"pts")?;
        ok(libc::symlink(c"pts/ptmx".as_ptr(), c"ptmx".as_ptr()))?;
        let (master, number) = master_of(c"ptmx")?;
        eq(number, 0)?;
        says(master, c"pts/0")?;
        let mut stat: libc::stat = std::mem::zeroed();
        ok(libc::stat(c"pts/0".as_ptr(), &mut stat))?;
        eq((stat.st_uid, stat.st_mode & 0o777), (0, 0o620))?;
        // Ids are those of the namespace.
        let options = c"gid=77";
        let target = c"other";
        ok(libc::mkdir(target.as_ptr(), 0o755))?;
        let kind = c"devpts".as_ptr();
        fails(libc::mount(kind, target.as_ptr(), kind, 0, options.as_ptr().cast()), libc::EINVAL)
    })
}
