//! Mounts and what they tell each other. mount(2), umount(2), mount_namespaces(7), pivot_root(2).

use std::ffi::CStr;
use std::fs;

use libc::{c_int, c_ulong};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    needs_privilege,
    flags_show_and_change,
    remount_keeps_times,
    propagation_rules,
    shared_mounts_tell,
    slaves_only_hear,
    unbindable_is_refused,
    namespaces_are_apart,
    shared_namespaces_tell,
    move_rules,
    detach_takes_all,
    expire_marks_first,
    pivot_swaps_roots,
    nosymfollow_stops_links,
    poll_tells_of_changes,
    mountinfo_escapes,
    ramfs_has_no_size,
    statfs_tells_the_flags,
];

const MS_NOSYMFOLLOW: c_ulong = 256;

/// A private mount namespace with a tmpfs of its own on `w`, which becomes the working directory.
pub unsafe fn private_place() -> Done {
    need_root()?;
    if libc::unshare(libc::CLONE_NEWNS) == -1 {
        return skip(format!("no mount namespace: {}", name_of(errno())));
    }
    ok(mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE))?;
    ok(libc::mkdir(c"w".as_ptr(), 0o755))?;
    ok(tmpfs(c"w", 0))?;
    ok(libc::chdir(c"w".as_ptr())).map(drop)
}

pub unsafe fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: c_ulong) -> c_int {
    libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null())
}

pub unsafe fn tmpfs(target: &CStr, flags: c_ulong) -> c_int {
    mount(c"source", target, c"tmpfs", flags)
}

unsafe fn bind(from: &CStr, to: &CStr, flags: c_ulong) -> c_int {
    mount(from, to, c"", libc::MS_BIND | flags)
}

unsafe fn change(target: &CStr, flags: c_ulong) -> c_int {
    mount(c"none", target, c"", flags)
}

unsafe fn umount(target: &CStr, flags: c_int) -> c_int {
    libc::umount2(target.as_ptr(), flags)
}

unsafe fn dirs(names: &[&CStr]) -> Done {
    for name in names {
        ok(libc::mkdir(name.as_ptr(), 0o755))?;
    }
    Ok(())
}

/// The line of mountinfo whose place ends with `/w/` and `name`: options, optional fields.
unsafe fn info(name: &str) -> Done<Option<(String, Vec<String>)>> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let end = format!("/w/{name}");
    for line in text.lines().rev() {
        let words: Vec<&str> = line.split(' ').collect();
        check(words.len() >= 10, "a line has its fields")?;
        if words[4].ends_with(&end) {
            let optional = words[6..].iter().take_while(|word| **word != "-");
            return Ok(Some((words[5].into(), optional.map(ToString::to_string).collect())));
        }
    }
    Ok(None)
}

unsafe fn there(name: &str) -> Done<bool> {
    Ok(info(name)?.is_some())
}

/// Optional fields, without the numbers.
unsafe fn tags(name: &str) -> Done<String> {
    let Some((_, fields)) = info(name)? else { return fail(format!("{name} is not mounted")) };
    let names: Vec<&str> = fields.iter().map(|field| field.split(':').next().unwrap_or("")).collect();
    Ok(names.join(" "))
}

unsafe fn needs_privilege() -> Done {
    need_root()?;
    dirs(&[c"d"])?;
    in_child(|| {
        drop_root()?;
        fails(tmpfs(c"/", 0), libc::EPERM)?;
        fails(change(c"/", libc::MS_PRIVATE), libc::EPERM)?;
        fails(umount(c"/proc", 0), libc::EPERM)?;
        fails(libc::unshare(libc::CLONE_NEWNS), libc::EPERM)?;
        fails(umount(c"/none", 0), libc::ENOENT)
    })
}

unsafe fn flags_show_and_change() -> Done {
    private_place()?;
    dirs(&[c"a", c"b"])?;
    ok(tmpfs(c"a", libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_NODIRATIME))?;
    eq(info("a")?.unwrap().0, "rw,nosuid,nodev,noexec,nodiratime,relatime")?;
    // One mount alone becomes read-only; the other keeps what it has.
    ok(bind(c"a", c"b", 0))?;
    ok(change(c"b", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOATIME))?;
    eq(info("b")?.unwrap().0, "ro,noatime")?;
    ok(libc::close(file(c"a/f", b"")?))?;
    fails(libc::open(c"b/g".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o644), libc::EROFS)?;
    // The file system as a whole.
    ok(change(c"a", libc::MS_REMOUNT | libc::MS_RDONLY))?;
    fails(libc::open(c"a/g".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o644), libc::EROFS)?;
    ok(change(c"a", libc::MS_REMOUNT))?;
    ok(libc::close(file(c"a/g", b"")?))?;
    dirs(&[c"a/d"])?;
    fails(change(c"a/d", libc::MS_REMOUNT), libc::EINVAL)?;
    fails(change(c"a/d", libc::MS_REMOUNT | libc::MS_BIND), libc::EINVAL)
}

unsafe fn remount_keeps_times() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    ok(tmpfs(c"a", libc::MS_STRICTATIME))?;
    eq(info("a")?.unwrap().0, "rw")?;
    ok(change(c"a", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NODEV))?;
    eq(info("a")?.unwrap().0, "rw,nodev")?;
    ok(change(c"a", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RELATIME))?;
    eq(info("a")?.unwrap().0, "rw,relatime")
}

unsafe fn propagation_rules() -> Done {
    private_place()?;
    dirs(&[c"a", c"a/d"])?;
    fails(change(c"a", libc::MS_SHARED), libc::EINVAL)?; // no mount
    ok(tmpfs(c"a", 0))?;
    eq(tags("a")?, "")?;
    fails(change(c"a", libc::MS_SHARED | libc::MS_PRIVATE), libc::EINVAL)?;
    fails(change(c"a", libc::MS_SHARED | libc::MS_NODEV), libc::EINVAL)?;
    ok(change(c"a", libc::MS_SHARED))?;
    eq(tags("a")?, "shared")?;
    ok(change(c"a", libc::MS_SLAVE))?; // of nobody
    eq(tags("a")?, "")?;
    ok(change(c"a", libc::MS_UNBINDABLE))?;
    eq(tags("a")?, "unbindable")?;
    ok(change(c"a", libc::MS_PRIVATE))?;
    eq(tags("a")?, "")
}

unsafe fn shared_mounts_tell() -> Done {
    private_place()?;
    dirs(&[c"a", c"b"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x", c"a/y"])?;
    ok(change(c"a", libc::MS_SHARED))?;
    ok(bind(c"a", c"b", 0))?;
    eq(info("a")?.unwrap().1, info("b")?.unwrap().1)?; // the same group
    ok(tmpfs(c"b/x", 0))?;
    check(there("a/x")?, "told")?;
    eq(info("a/x")?.unwrap().1, info("b/x")?.unwrap().1)?;
    ok(libc::close(file(c"a/x/f", b"")?))?;
    ok(libc::access(c"b/x/f".as_ptr(), libc::F_OK))?;
    let fd = ok(libc::open(c"a/x/f".as_ptr(), libc::O_RDONLY))?;
    fails(umount(c"b/x", 0), libc::EBUSY)?; // the peer is in use
    ok(libc::close(fd))?;
    ok(umount(c"b/x", 0))?;
    check(!there("a/x")?, "told of the end")
}

unsafe fn slaves_only_hear() -> Done {
    private_place()?;
    dirs(&[c"a", c"s", c"t"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x", c"a/y"])?;
    ok(change(c"a", libc::MS_SHARED))?;
    ok(bind(c"a", c"s", 0))?;
    ok(change(c"s", libc::MS_SLAVE))?;
    eq(tags("s")?, "master")?;
    ok(change(c"s", libc::MS_SHARED))?;
    eq(tags("s")?, "shared master")?;
    ok(bind(c"s", c"t", 0))?;
    ok(tmpfs(c"a/x", 0))?;
    check(there("s/x")? && there("t/x")?, "slave and its peer hear")?;
    eq(tags("s/x")?, "shared master")?;
    eq(info("s/x")?.unwrap().1, info("t/x")?.unwrap().1)?;
    ok(tmpfs(c"t/y", 0))?;
    check(there("s/y")? && !there("a/y")?, "a slave tells its peers only")?;
    ok(umount(c"a/x", libc::MNT_DETACH))?;
    check(!there("s/x")? && !there("t/x")?, "and of ends")?;
    // Without its master's last member it is as if it had none.
    ok(umount(c"a", 0))?;
    eq(tags("s")?, "shared")
}

unsafe fn unbindable_is_refused() -> Done {
    private_place()?;
    dirs(&[c"a", c"b", c"a/x"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x"])?;
    ok(tmpfs(c"a/x", 0))?;
    ok(change(c"a/x", libc::MS_UNBINDABLE))?;
    fails(bind(c"a/x", c"b", 0), libc::EINVAL)?;
    ok(bind(c"a", c"b", libc::MS_REC))?;
    check(!there("b/x")?, "left out")?;
    fails(bind(c"none", c"b", 0), libc::ENOENT)?;
    ok(libc::close(file(c"f", b"")?))?;
    fails(bind(c"f", c"b", 0), libc::ENOTDIR)?;
    fails(
        libc::mount(std::ptr::null(), c"b".as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()),
        libc::EINVAL,
    )
}

unsafe fn namespaces_are_apart() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    let before = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWNS))?;
        check(fs::read_link("/proc/self/ns/mnt").unwrap_or_default() != before, "another number")?;
        ok(tmpfs(c"a", 0))?;
        ok(libc::close(file(c"a/f", b"")?))?;
        check(there("a")?, "here")
    })?;
    check(!there("a")?, "not there")?;
    fails(libc::access(c"a/f".as_ptr(), libc::F_OK), libc::ENOENT)
}

unsafe fn shared_namespaces_tell() -> Done {
    private_place()?;
    ok(change(c".", libc::MS_SHARED))?;
    dirs(&[c"a"])?;
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWNS))?;
        ok(tmpfs(c"a", 0)).map(drop)
    })?;
    // It stays when the namespace that it came from is gone.
    check(there("a")?, "told")
}

unsafe fn move_rules() -> Done {
    private_place()?;
    dirs(&[c"a", c"b", c"c"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x"])?;
    ok(tmpfs(c"a/x", 0))?;
    let moved = |from: &CStr, to: &CStr| mount(from, to, c"", libc::MS_MOVE);
    fails(moved(c"b", c"c"), libc::EINVAL)?; // no mount
    fails(moved(c"a", c"a/x"), libc::ELOOP)?;
    ok(moved(c"a", c"b"))?;
    check(there("b")? && there("b/x")? && !there("a")?, "with what is on it")?;
    ok(libc::close(file(c"f", b"")?))?;
    fails(moved(c"b", c"f"), libc::EINVAL)?;
    ok(change(c"b", libc::MS_SHARED))?;
    fails(moved(c"b/x", c"c"), libc::EINVAL) // its parent would have to tell
}

unsafe fn detach_takes_all() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    ok(tmpfs(c"a", 0))?;
    dirs(&[c"a/x"])?;
    ok(tmpfs(c"a/x", 0))?;
    fails(umount(c"a", 0), libc::EBUSY)?;
    let dir = ok(libc::open(c"a/x".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY))?;
    fails(umount(c"a/x", 0), libc::EBUSY)?;
    ok(umount(c"a", libc::MNT_DETACH))?;
    check(!there("a")? && !there("a/x")?, "gone")?;
    // What is open stays usable, and its root has no way up.
    ok(libc::fchdir(dir))?;
    let (mut up, mut here): (libc::stat, libc::stat) = (std::mem::zeroed(), std::mem::zeroed());
    ok(libc::stat(c"..".as_ptr(), &mut up))?;
    ok(libc::stat(c".".as_ptr(), &mut here))?;
    eq((up.st_dev, up.st_ino), (here.st_dev, here.st_ino))?;
    fails(umount(c"a", 0), libc::ENOENT)
}

unsafe fn expire_marks_first() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    ok(tmpfs(c"a", 0))?;
    fails(umount(c"a", libc::MNT_EXPIRE | libc::MNT_DETACH), libc::EINVAL)?;
    fails(umount(c"a", libc::MNT_EXPIRE), libc::EAGAIN)?;
    ok(libc::access(c"a/.".as_ptr(), libc::F_OK))?; // a use
    fails(umount(c"a", libc::MNT_EXPIRE), libc::EAGAIN)?;
    ok(umount(c"a", libc::MNT_EXPIRE))?;
    fails(umount(c"a", 16), libc::EINVAL)?;
    fails(umount(c"a", 0), libc::EINVAL)
}

unsafe fn pivot_swaps_roots() -> Done {
    private_place()?;
    let pivot = |new: &CStr, old: &CStr| libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr());
    dirs(&[c"new"])?;
    fails(pivot(c"new", c"new"), libc::EBUSY).or_else(|_| fails(pivot(c"new", c"new"), libc::EINVAL))?;
    ok(tmpfs(c"new", 0))?;
    dirs(&[c"new/old", c"other"])?;
    ok(libc::close(file(c"new/inside", b"")?))?;
    fails(pivot(c"new", c"other"), libc::EINVAL)?; // not below the new root
    fails(pivot(c"new/inside", c"new"), libc::ENOTDIR)?;
    ok(change(c"new", libc::MS_SHARED))?;
    fails(pivot(c"new", c"new/old"), libc::EINVAL)?;
    ok(change(c"new", libc::MS_PRIVATE))?;
    ok(pivot(c"new", c"new/old"))?;
    ok(libc::access(c"/inside".as_ptr(), libc::F_OK))?;
    ok(libc::access(c"/old/proc/self".as_ptr(), libc::F_OK))?;
    // The old root goes away as containers have it.
    ok(libc::chdir(c"/".as_ptr()))?;
    ok(umount(c"/old", libc::MNT_DETACH))?;
    fails(libc::access(c"/old/proc".as_ptr(), libc::F_OK), libc::ENOENT)?;
    // And once more, without a place for the old one.
    ok(libc::mkdir(c"/n".as_ptr(), 0o755))?;
    ok(tmpfs(c"/n", 0))?;
    ok(libc::chdir(c"/n".as_ptr()))?;
    ok(pivot(c".", c"."))?;
    ok(umount(c".", libc::MNT_DETACH))?;
    ok(libc::chdir(c"/".as_ptr()))?;
    fails(libc::access(c"/inside".as_ptr(), libc::F_OK), libc::ENOENT)
}

unsafe fn nosymfollow_stops_links() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    ok(tmpfs(c"a", MS_NOSYMFOLLOW))?;
    ok(libc::close(file(c"a/f", b"")?))?;
    ok(libc::symlink(c"f".as_ptr(), c"a/l".as_ptr()))?;
    fails(libc::access(c"a/l".as_ptr(), libc::F_OK), libc::ELOOP)?;
    eq(fs::read_link("a/l").unwrap().to_string_lossy(), "f")?;
    check(info("a")?.unwrap().0.ends_with("nosymfollow"), "shown")
}

unsafe fn poll_tells_of_changes() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    for name in [c"/proc/self/mounts", c"/proc/self/mountinfo"] {
        let fd = ok(libc::open(name.as_ptr(), libc::O_RDONLY))?;
        let mut poll = libc::pollfd { fd, events: libc::POLLPRI, revents: 0 };
        eq(ok(libc::poll(&mut poll, 1, 0))?, 0)?;
        ok(tmpfs(c"a", 0))?;
        eq(ok(libc::poll(&mut poll, 1, 1000))?, 1)?;
        eq(poll.revents, libc::POLLPRI | libc::POLLERR)?;
        eq(ok(libc::poll(&mut poll, 1, 0))?, 0)?;
        // One that waits is woken.
        let pid = spawn(|| {
            let fd = ok(libc::open(name.as_ptr(), libc::O_RDONLY))?;
            let mut poll = libc::pollfd { fd, events: libc::POLLPRI, revents: 0 };
            eq(ok(libc::poll(&mut poll, 1, 5000))?, 1)
        })?;
        asleep(pid);
        ok(umount(c"a", 0))?;
        join(pid)?;
        ok(libc::close(fd))?;
    }
    Ok(())
}

unsafe fn mountinfo_escapes() -> Done {
    private_place()?;
    dirs(&[c"a b\\\n\t"])?;
    ok(mount(c"so urce", c"a b\\\n\t", c"tmpfs", 0))?;
    check(there("a\\040b\\134\\012\\011")?, "the place")?;
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    check(text.contains("so\\040urce "), "the source")
}

unsafe fn statfs_tells_the_flags() -> Done {
    private_place()?;
    dirs(&[c"a"])?;
    for (asked, told) in [
        (libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY, 0x100f),
        (libc::MS_NOATIME, 0x400),
        (libc::MS_STRICTATIME | libc::MS_NODIRATIME, 0x800),
        (MS_NOSYMFOLLOW, 0x3000),
    ] {
        ok(mount(c"none", c"a", c"tmpfs", asked))?;
        let mut stat: libc::statvfs = std::mem::zeroed();
        ok(libc::statvfs(c"a".as_ptr(), &mut stat))?;
        eq(stat.f_flag, told)?;
        ok(umount(c"a", 0))?;
    }
    Ok(())
}

unsafe fn ramfs_has_no_size() -> Done {
    private_place()?;
    dirs(&[c"r"])?;
    ok(crate::overlay::mount(c"ramfs", c"r", "mode=700,what=ever"))?;
    let mut stat: libc::statfs = std::mem::zeroed();
    ok(libc::statfs(c"r".as_ptr(), &mut stat))?;
    eq(stat.f_type, 0x8584_58f6)?;
    let mut dir: libc::stat = std::mem::zeroed();
    ok(libc::stat(c"r".as_ptr(), &mut dir))?;
    eq(dir.st_mode & 0o7777, 0o700)?;
    check(
        fs::write("r/f", "content").is_ok_and(|()| fs::read("r/f").is_ok_and(|text| text == b"content")),
        "a file",
    )?;
    in_child(|| {
        if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) == -1 {
            return skip("no user namespaces");
        }
        ok(mount(c"none", c"r", c"ramfs", 0)).map(drop)
    })
}
