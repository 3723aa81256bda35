//! Mounts by descriptors. fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2), mount_setattr(2).

use std::ffi::CStr;
use std::fs;
use std::ptr::null;

use libc::{c_char, c_int, c_long, c_uint};

use crate::cases;
use crate::mount::{mount, private_place, tmpfs};
use crate::support::*;

pub const CASES: &[Case] = cases![
    a_file_system_step_by_step,
    fsopen_rules,
    fsconfig_rules,
    fsmount_rules,
    trees_are_cloned,
    a_dropped_tree_is_gone,
    move_mount_moves,
    setattr_changes_flags,
    setattr_changes_trees,
    setattr_rules,
    picked_ones_can_be_changed,
];

const SET_FLAG: c_uint = 0;
const SET_STRING: c_uint = 1;
const CREATE: c_uint = 6;
const RECONFIGURE: c_uint = 7;
const CLONE: c_int = 1;
const F_EMPTY_PATH: c_uint = 4;
const T_EMPTY_PATH: c_uint = 0x40;
const RDONLY: u64 = 1;
const NODEV: u64 = 4;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;

unsafe fn fsopen(name: &CStr, flags: c_uint) -> c_int {
    libc::syscall(libc::SYS_fsopen, name.as_ptr(), flags) as c_int
}

fn at(text: Option<&CStr>) -> *const c_char {
    text.map_or(null(), CStr::as_ptr)
}

unsafe fn fsconfig(
    fd: c_int,
    command: c_uint,
    key: Option<&CStr>,
    value: Option<&CStr>,
    aux: c_int,
) -> c_int {
    libc::syscall(libc::SYS_fsconfig, fd, command, at(key), at(value), aux) as c_int
}

unsafe fn fsmount(fd: c_int, flags: c_uint, attr: c_uint) -> c_int {
    libc::syscall(libc::SYS_fsmount, fd, flags, attr) as c_int
}

unsafe fn open_tree(path: &CStr, flags: c_int) -> c_int {
    libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) as c_int
}

unsafe fn move_fd(fd: c_int, to: &CStr) -> c_int {
    let (here, empty) = (libc::AT_FDCWD, c"".as_ptr());
    libc::syscall(libc::SYS_move_mount, fd, empty, here, to.as_ptr(), F_EMPTY_PATH) as c_int
}

#[repr(C)]
struct Attr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_ns: u64,
}

unsafe fn setattr(path: &CStr, flags: c_int, set: u64, clear: u64, propagation: u64) -> c_long {
    let attr = Attr { set, clear, propagation, user_ns: 0 };
    let size = size_of::<Attr>();
    libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), flags, &attr, size)
}

unsafe fn made() -> Done<c_int> {
    let fd = ok(fsopen(c"tmpfs", 1))?;
    ok(fsconfig(fd, SET_STRING, Some(c"source"), Some(c"made"), 0))?;
    ok(fsconfig(fd, CREATE, None, None, 0))?;
    Ok(fd)
}

/// The line of /proc/self/mountinfo of what is mounted on `/w/` and `name`, last.
pub fn line(name: &str) -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let end = format!("/w/{name}");
    let of = |line: &&str| line.split(' ').nth(4).is_some_and(|place| place.ends_with(&end));
    text.lines().rev().find(of).unwrap_or_default().to_owned()
}

fn options(name: &str) -> String {
    line(name).split(' ').nth(5).unwrap_or_default().to_owned()
}

unsafe fn dirs(names: &[&CStr]) -> Done {
    for name in names {
        ok(libc::mkdir(name.as_ptr(), 0o755))?;
    }
    Ok(())
}

unsafe fn a_file_system_step_by_step() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    let fd = ok(fsopen(c"tmpfs", 1))?;
    eq(ok(libc::fcntl(fd, libc::F_GETFD))?, libc::FD_CLOEXEC)?;
    ok(fsconfig(fd, SET_STRING, Some(c"source"), Some(c"made"), 0))?;
    ok(fsconfig(fd, SET_STRING, Some(c"mode"), Some(c"0700"), 0))?;
    ok(fsconfig(fd, SET_STRING, Some(c"size"), Some(c"1m"), 0))?;
    ok(fsconfig(fd, CREATE, None, None, 0))?;
    let tree = ok(fsmount(fd, 1, (NODEV | NOATIME) as c_uint))?;
    eq(line("a"), "")?; // it is nowhere yet
    // It can be used all the same.
    ok(libc::mkdirat(tree, c"early".as_ptr(), 0o755))?;
    ok(move_fd(tree, c"a"))?;
    ok(libc::access(c"a/early".as_ptr(), libc::F_OK))?;
    eq(options("a"), "rw,nodev,noatime")?;
    check(line("a").contains(" - tmpfs made rw,size=1024k,mode=700"), &line("a"))?;
    ok(libc::close(tree))?;
    ok(libc::access(c"a/early".as_ptr(), libc::F_OK)).map(drop)
}

unsafe fn fsopen_rules() -> Done {
    private_place()?;
    fails(fsopen(c"tmpfs", 2), libc::EINVAL)?;
    fails(fsopen(c"no-such-type", 0), libc::ENODEV)?;
    fails(libc::syscall(libc::SYS_fsopen, 1, 0), libc::EFAULT)?;
    let fd = ok(fsopen(c"tmpfs", 0))?;
    let mut byte = 0u8;
    fails(libc::read(fd, (&raw mut byte).cast(), 1), libc::ENODATA)?;
    in_child(|| {
        drop_root()?;
        fails(fsopen(c"tmpfs", 2), libc::EPERM)?;
        fails(fsmount(fd, 2, 0), libc::EPERM)?;
        fails(open_tree(c".", CLONE), libc::EPERM)?;
        ok(open_tree(c"/", 0)).map(drop)
    })
}

unsafe fn fsconfig_rules() -> Done {
    private_place()?;
    let fd = ok(fsopen(c"tmpfs", 0))?;
    fails(fsconfig(-1, CREATE, None, None, 0), libc::EINVAL)?;
    fails(fsconfig(99, CREATE, None, None, 0), libc::EBADF)?;
    fails(fsconfig(0, CREATE, None, None, 0), libc::EINVAL)?;
    fails(fsconfig(fd, 99, None, None, 0), libc::EOPNOTSUPP)?;
    fails(fsconfig(fd, CREATE, Some(c"x"), None, 0), libc::EINVAL)?;
    fails(fsconfig(fd, SET_FLAG, None, None, 0), libc::EINVAL)?;
    fails(fsconfig(fd, SET_FLAG, Some(c"ro"), Some(c"x"), 0), libc::EINVAL)?;
    fails(fsconfig(fd, SET_STRING, Some(c"size"), None, 0), libc::EINVAL)?;
    fails(fsconfig(fd, RECONFIGURE, None, None, 0), libc::EBUSY)?;
    ok(fsconfig(fd, SET_STRING, Some(c"source"), Some(c"one"), 0))?;
    fails(fsconfig(fd, SET_STRING, Some(c"source"), Some(c"two"), 0), libc::EINVAL)?;
    ok(fsconfig(fd, SET_FLAG, Some(c"ro"), None, 0))?;
    ok(fsconfig(fd, CREATE, None, None, 0))?;
    fails(fsconfig(fd, CREATE, None, None, 0), libc::EBUSY)?;
    fails(fsconfig(fd, SET_STRING, Some(c"size"), Some(c"1m"), 0), libc::EBUSY)?;
    dirs(&[c"a"])?;
    let tree = ok(fsmount(fd, 0, 0))?;
    ok(move_fd(tree, c"a"))?;
    fails(libc::mkdir(c"a/x".as_ptr(), 0o755), libc::EROFS)
}

unsafe fn fsmount_rules() -> Done {
    private_place()?;
    let fresh = ok(fsopen(c"tmpfs", 0))?;
    fails(fsmount(fresh, 0, 0), libc::EINVAL)?; // nothing is made yet
    let fd = made()?;
    fails(fsmount(fd, 2, 0), libc::EINVAL)?;
    fails(fsmount(fd, 0, 0x8000_0000), libc::EINVAL)?;
    fails(fsmount(fd, 0, 0x30), libc::EINVAL)?;
    fails(fsmount(99, 0, 0), libc::EBADF)?;
    fails(fsmount(0, 0, 0), libc::EINVAL)?;
    ok(fsmount(fd, 0, 0))?;
    fails(fsmount(fd, 0, 0), libc::EBUSY) // once
}

unsafe fn trees_are_cloned() -> Done {
    private_place()?;
    dirs(&[c"a", c"b", c"c"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x"])?;
    ok(tmpfs(c"a/x", 0))?;
    dirs(&[c"a/x/deep"])?;
    fails(open_tree(c"a", libc::AT_RECURSIVE), libc::EINVAL)?;
    fails(open_tree(c"a", 0x10), libc::EINVAL)?;
    fails(open_tree(c"none", CLONE), libc::ENOENT)?;
    let one = ok(open_tree(c"a", CLONE))?;
    ok(move_fd(one, c"b"))?;
    fails(libc::access(c"b/x/deep".as_ptr(), libc::F_OK), libc::ENOENT)?;
    let all = ok(open_tree(c"a", CLONE | libc::AT_RECURSIVE | libc::O_CLOEXEC))?;
    eq(ok(libc::fcntl(all, libc::F_GETFD))?, libc::FD_CLOEXEC)?;
    ok(move_fd(all, c"c"))?;
    ok(libc::access(c"c/x/deep".as_ptr(), libc::F_OK)).map(drop)
}

unsafe fn a_dropped_tree_is_gone() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    ok(tmpfs(c"a", 0))?;
    let tree = ok(open_tree(c"a", CLONE))?;
    let mut buf: libc::statfs = std::mem::zeroed();
    ok(libc::fstatfs(tree, &mut buf))?;
    ok(libc::close(tree))?;
    ok(libc::umount2(c"a".as_ptr(), 0)).map(drop)
}

unsafe fn move_mount_moves() -> Done {
    private_place()?;
    dirs(&[c"a", c"b", c"a/d"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x"])?;
    let moved = |from: &CStr, to: &CStr, flags: c_uint| {
        let here = libc::AT_FDCWD;
        libc::syscall(libc::SYS_move_mount, here, from.as_ptr(), here, to.as_ptr(), flags)
    };
    fails(moved(c"b", c"a", 0), libc::EINVAL)?; // no mount
    fails(moved(c"a", c"b", 0x1000), libc::EINVAL)?;
    fails(moved(c"a", c"a/x", 0), libc::ELOOP)?;
    fails(moved(c"", c"b", 0), libc::ENOENT)?;
    ok(moved(c"a", c"b", 0))?;
    ok(libc::access(c"b/x".as_ptr(), libc::F_OK))?;
    // To a descriptor.
    let to = ok(libc::open(c"a".as_ptr(), libc::O_PATH))?;
    let (here, empty) = (libc::AT_FDCWD, c"".as_ptr());
    ok(libc::syscall(libc::SYS_move_mount, here, c"b".as_ptr(), to, empty, T_EMPTY_PATH))?;
    ok(libc::access(c"a/x".as_ptr(), libc::F_OK)).map(drop)
}

unsafe fn setattr_changes_flags() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    ok(tmpfs(c"a", libc::MS_NOSUID))?;
    ok(setattr(c"a", 0, RDONLY | NODEV, 0, 0))?;
    eq(options("a"), "ro,nosuid,nodev,relatime")?;
    ok(setattr(c"a", 0, 0, RDONLY, 0))?;
    eq(options("a"), "rw,nosuid,nodev,relatime")?;
    ok(setattr(c"a", 0, NOATIME, ATIME, 0))?;
    eq(options("a"), "rw,nosuid,nodev,noatime")?;
    ok(setattr(c"a", 0, 0, ATIME, 0))?;
    eq(options("a"), "rw,nosuid,nodev,relatime")?;
    ok(setattr(c"a", 0, 0, 0, libc::MS_SHARED))?;
    check(line("a").contains(" shared:"), "shared")
}

unsafe fn setattr_changes_trees() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x"])?;
    ok(tmpfs(c"a/x", 0))?;
    ok(setattr(c"a", 0, NODEV, 0, 0))?;
    eq((options("a"), options("a/x")), ("rw,nodev,relatime".into(), "rw,relatime".into()))?;
    ok(setattr(c"a", libc::AT_RECURSIVE, RDONLY, 0, libc::MS_SHARED))?;
    eq((options("a"), options("a/x")), ("ro,nodev,relatime".into(), "ro,relatime".into()))?;
    check(line("a/x").contains(" shared:"), "shared")
}

unsafe fn setattr_rules() -> Done {
    private_place()?;
    dirs(&[c"a", c"b"])?;
    ok(tmpfs(c"a", 0))?;
    fails(setattr(c"b", 0, RDONLY, 0, 0), libc::EINVAL)?; // no mount
    ok(setattr(c"b", 0, 0, 0, 0))?; // nothing to do
    fails(setattr(c"a", 0, NOATIME, 0, 0), libc::EINVAL)?;
    fails(setattr(c"a", 0, 0, NOATIME, 0), libc::EINVAL)?;
    fails(setattr(c"a", 0, 0x8000_0000, 0, 0), libc::EINVAL)?;
    fails(setattr(c"a", 0, 0, 0, libc::MS_SHARED | libc::MS_SLAVE), libc::EINVAL)?;
    fails(setattr(c"a", 1, RDONLY, 0, 0), libc::EINVAL)?;
    let sized = |size: usize| {
        let words = [0u64, 0, 0, 0, 1];
        libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, c"a".as_ptr(), 0, &words, size)
    };
    fails(sized(31), libc::EINVAL)?;
    fails(sized(40), libc::E2BIG)?;
    fails(sized(5000), libc::E2BIG)
}

unsafe fn picked_ones_can_be_changed() -> Done {
    private_place()?;
    dirs(&[c"a", c"b"])?;
    ok(tmpfs(c"a", 0))?;
    let pick = |path: &CStr, flags: c_uint| {
        libc::syscall(libc::SYS_fspick, libc::AT_FDCWD, path.as_ptr(), flags) as c_int
    };
    fails(pick(c"b", 0), libc::EINVAL)?;
    fails(pick(c"a", 16), libc::EINVAL)?;
    let fd = ok(pick(c"a", 1))?;
    ok(fsconfig(fd, SET_FLAG, Some(c"ro"), None, 0))?;
    ok(fsconfig(fd, RECONFIGURE, None, None, 0))?;
    fails(libc::mkdir(c"a/x".as_ptr(), 0o755), libc::EROFS)?;
    eq(options("a"), "rw,relatime")?; // the mount itself is as it was
    check(line("a").contains(" ro"), "the file system is not")?;
    let again = ok(pick(c"a", 1))?;
    ok(fsconfig(again, SET_FLAG, Some(c"rw"), None, 0))?;
    ok(fsconfig(again, RECONFIGURE, None, None, 0))?;
    ok(libc::mkdir(c"a/x".as_ptr(), 0o755))?;
    ok(mount(c"none", c"a", c"", libc::MS_REMOUNT)).map(drop)
}
