//! User namespaces: ids and capabilities that count inside only. user_namespaces(7).

use std::fs;
use std::os::unix::fs::MetadataExt;

use libc::c_int;

use crate::cases;
use crate::mount::{mount, tmpfs};
use crate::ns::link;
use crate::shm;
use crate::support::*;

pub const CASES: &[Case] = cases![
    ids_are_nobodys_until_mapped,
    one_maps_itself,
    map_rules,
    setgroups_is_denied_first,
    parent_maps_ranges,
    who_opened_a_map_counts,
    capabilities_count_inside,
    unmapped_ids_are_refused,
    files_of_others_are_nobodys,
    mounts_are_locked,
    harmless_types_can_be_mounted,
    strangers_cannot_make_files,
    credentials_are_translated,
    owners_of_ipc_are_translated,
    root_inside_binds_threads_of_others,
    signals_stop_at_the_border,
    relations_are_told,
    entering_gives_all,
    exec_keeps_roots_power,
    limits_can_be_set,
];

const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
const NOBODY: u32 = 65534;

fn write(path: &str, text: &str) -> c_int {
    use std::io::Write;
    // One write, as maps need it.
    let done =
        fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    match done {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Runs `body` in a child in a new user namespace; skips where there are none.
unsafe fn inside(body: impl FnOnce() -> Done) -> Done {
    in_child(|| {
        if libc::unshare(libc::CLONE_NEWUSER) == -1 {
            return skip(format!("no user namespace: {}", name_of(errno())));
        }
        body()
    })
}

/// The same with the caller's own user and group mapped to 0.
pub unsafe fn inside_as_root(body: impl FnOnce() -> Done) -> Done {
    let (uid, gid) = (libc::getuid(), libc::getgid());
    inside(|| {
        eq(write("/proc/self/setgroups", "deny"), 0)?;
        eq(write("/proc/self/uid_map", &format!("0 {uid} 1\n")), 0)?;
        eq(write("/proc/self/gid_map", &format!("0 {gid} 1")), 0)?;
        body()
    })
}

unsafe fn ids_are_nobodys_until_mapped() -> Done {
    let before = link("/proc/self/ns/user");
    let own = libc::getuid();
    inside(|| {
        check(link("/proc/self/ns/user") != before, "another one")?;
        eq((libc::getuid(), libc::geteuid(), libc::getgid()), (NOBODY, NOBODY, NOBODY))?;
        eq(read("/proc/self/uid_map"), "")?;
        fails(libc::setuid(0), libc::EINVAL)?;
        fails(libc::setuid(own), libc::EINVAL)?;
        check(read("/proc/self/status").contains("CapEff:\t000001ff"), "every capability")
    })?;
    eq(libc::getuid(), own)
}

unsafe fn one_maps_itself() -> Done {
    let (uid, gid) = (libc::getuid(), libc::getgid());
    inside(|| {
        eq(write("/proc/self/uid_map", &format!("5 {uid} 1\n")), 0)?;
        eq((libc::getuid(), libc::geteuid()), (5, 5))?;
        eq(write("/proc/self/setgroups", "deny"), 0)?;
        eq(write("/proc/self/gid_map", &format!("6 {gid} 1\n")), 0)?;
        eq(libc::getgid(), 6)?;
        eq(read("/proc/self/uid_map"), format!("         5 {uid:10}          1\n"))?;
        check(read("/proc/self/status").contains("Uid:\t5\t5\t5\t5\n"), "in status")?;
        ok(libc::close(file(c"f", b"")?))?;
        let meta = fs::metadata("f").unwrap();
        eq((meta.uid(), meta.gid()), (5, 6))
    })?;
    eq(fs::metadata("f").unwrap().uid(), uid)
}

unsafe fn map_rules() -> Done {
    let (uid, gid) = (libc::getuid(), libc::getgid());
    eq(write("/proc/self/uid_map", "0 0 1\n"), libc::EPERM)?; // the first one's is fixed
    inside(|| {
        for wrong in ["", "x", "0 0", "0 0 0", "0 0 1 1", "4294967295 0 1", "0 4294967290 10"] {
            eq(write("/proc/self/uid_map", &format!("{wrong}\n")), libc::EINVAL)?;
        }
        eq(write("/proc/self/uid_map", &format!("0 {uid} 1\n0 {} 1\n", uid + 1)), libc::EINVAL)?;
        // Others than one's own need privilege outside.
        eq(write("/proc/self/uid_map", &format!("0 {} 1\n", uid + 1)), libc::EPERM)?;
        eq(write("/proc/self/uid_map", &format!("0 {uid} 2\n")), libc::EPERM)?;
        // Groups: only once setgroups is denied.
        eq(write("/proc/self/gid_map", &format!("0 {gid} 1\n")), libc::EPERM)?;
        eq(write("/proc/self/uid_map", &format!("0 {uid} 1\n")), 0)?;
        eq(write("/proc/self/uid_map", &format!("0 {uid} 1\n")), libc::EPERM) // once
    })
}

unsafe fn setgroups_is_denied_first() -> Done {
    let gid = libc::getgid();
    inside(|| {
        eq(read("/proc/self/setgroups"), "allow\n")?;
        eq(write("/proc/self/setgroups", "maybe"), libc::EINVAL)?;
        fails(libc::setgroups(0, std::ptr::null()), libc::EPERM)?; // nothing is mapped
        eq(write("/proc/self/setgroups", "deny"), 0)?;
        eq(write("/proc/self/setgroups", "allow"), libc::EPERM)?;
        eq(write("/proc/self/gid_map", &format!("0 {gid} 1\n")), 0)?;
        eq(read("/proc/self/setgroups"), "deny\n")?;
        fails(libc::setgroups(0, std::ptr::null()), libc::EPERM)
    })
}

/// A child in a new user namespace that waits for its maps, then runs `body`.
unsafe fn mapped_by_parent(uids: &str, gids: &str, body: impl FnOnce() -> Done) -> Done {
    let (made, go) = (pipe()?, pipe()?);
    let pid = spawn(|| {
        if libc::unshare(libc::CLONE_NEWUSER) == -1 {
            return skip("no user namespace");
        }
        put(made.1, b"x")?;
        libc::close(go.1);
        get(go.0)?;
        body()
    })?;
    libc::close(made.1);
    if got_one(made.0) {
        eq(write(&format!("/proc/{pid}/uid_map"), uids), 0)?;
        eq(write(&format!("/proc/{pid}/gid_map"), gids), 0)?;
    }
    libc::close(go.1);
    join(pid)
}

unsafe fn who_opened_a_map_counts() -> Done {
    need_root()?;
    let (made, go) = (pipe()?, pipe()?);
    let pid = spawn(|| {
        drop_root()?;
        if libc::unshare(libc::CLONE_NEWUSER) == -1 {
            return skip("no user namespace");
        }
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        put(made.1, b"x")?;
        libc::close(go.1);
        get(go.0).map(drop)
    })?;
    libc::close(made.1);
    if got_one(made.0) {
        let path = std::ffi::CString::new(format!("/proc/{pid}/uid_map")).unwrap();
        let as_user = |uid: u32| ok(libc::syscall(libc::SYS_setresuid, -1, uid, -1));
        // Opened by the namespace's owner, written by who may map anything; and the other way round.
        for [opener, writer] in [[65534, 0], [0, 65534]] {
            as_user(opener)?;
            let fd = ok(libc::open(path.as_ptr(), libc::O_WRONLY))?;
            as_user(0)?;
            as_user(writer)?;
            fails(libc::write(fd, c"0 1000 2".as_ptr().cast(), 8), libc::EPERM)?;
            as_user(0)?;
            libc::close(fd);
        }
        eq(write(&format!("/proc/{pid}/uid_map"), "0 1000 2"), 0)?;
    }
    libc::close(go.1);
    join(pid)
}

unsafe fn parent_maps_ranges() -> Done {
    need_root()?;
    mapped_by_parent("0 1000 10\n20 0 1\n", "0 1000 10\n20 0 1\n", || {
        eq(libc::getuid(), 20)?;
        ok(libc::setgroups(1, [3].as_ptr()))?;
        fails(libc::setgroups(1, [11].as_ptr()), libc::EINVAL)?;
        ok(libc::setresgid(2, 2, 2))?;
        ok(libc::setresuid(0, 3, 0))?;
        let (mut real, mut effective, mut saved) = (9, 9, 9);
        ok(libc::getresuid(&mut real, &mut effective, &mut saved))?;
        eq((real, effective, saved), (0, 3, 0))?;
        ok(libc::seteuid(0))?;
        let mut groups = [0u32; 4];
        eq(ok(libc::getgroups(4, groups.as_mut_ptr()))?, 1)?;
        eq(groups[0], 3)?;
        eq(read("/proc/self/uid_map"), "         0       1000         10\n        20          0          1\n")
    })
}

unsafe fn capabilities_count_inside() -> Done {
    inside_as_root(|| {
        fails(libc::sethostname(c"x".as_ptr(), 1), libc::EPERM)?;
        fails(tmpfs(c"/", 0), libc::EPERM)?;
        fails(libc::mknod(c"dev".as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(7, 0)), libc::EPERM)?;
        ok(libc::unshare(libc::CLONE_NEWUTS | libc::CLONE_NEWNS))?;
        ok(libc::sethostname(c"x".as_ptr(), 1))?;
        ok(libc::mkdir(c"d".as_ptr(), 0o755))?;
        ok(tmpfs(c"d", 0))?;
        ok(libc::chroot(c"d".as_ptr()))?;
        ok(libc::chdir(c"/".as_ptr()))?;
        // Not from below another root.
        fails(libc::unshare(libc::CLONE_NEWUSER), libc::EPERM)
    })
}

unsafe fn unmapped_ids_are_refused() -> Done {
    inside_as_root(|| {
        fails(libc::setuid(1), libc::EINVAL)?;
        fails(libc::setgid(1), libc::EINVAL)?;
        fails(libc::setresuid(0, 1, u32::MAX), libc::EINVAL)?;
        ok(libc::close(file(c"f", b"")?))?;
        fails(libc::chown(c"f".as_ptr(), 1, 0), libc::EINVAL)?;
        fails(libc::chown(c"f".as_ptr(), 0, 1), libc::EINVAL)?;
        ok(libc::chown(c"f".as_ptr(), 0, 0))?;
        eq(libc::setfsuid(1), 0)?;
        eq(libc::setfsuid(0), 0)
    })
}

unsafe fn files_of_others_are_nobodys() -> Done {
    need_root()?;
    ok(libc::chmod(c".".as_ptr(), 0o777))?;
    ok(libc::close(file(c"f", b"secret")?))?;
    ok(libc::chmod(c"f".as_ptr(), 0o600))?;
    in_child(|| {
        drop_root()?;
        // What /proc has of a process that changed its user is root's.
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        inside_as_root(|| {
            eq(fs::metadata("f").unwrap().uid(), NOBODY)?;
            // The power of root inside does not reach it.
            fails(libc::open(c"f".as_ptr(), libc::O_RDONLY), libc::EACCES)?;
            fails(libc::chmod(c"f".as_ptr(), 0o644), libc::EPERM)?;
            fails(libc::chown(c"f".as_ptr(), 0, 0), libc::EPERM)
        })
    })
}

unsafe fn mounts_are_locked() -> Done {
    need_root()?;
    if libc::unshare(libc::CLONE_NEWNS) == -1 {
        return skip("no mount namespace");
    }
    ok(mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE))?;
    for dir in [c"a", c"b"] {
        ok(libc::mkdir(dir.as_ptr(), 0o755))?;
    }
    ok(tmpfs(c"a", libc::MS_RDONLY | libc::MS_NOSUID))?;
    inside_as_root(|| {
        ok(libc::unshare(libc::CLONE_NEWNS))?;
        let remount = |flags| mount(c"none", c"a", c"", libc::MS_REMOUNT | libc::MS_BIND | flags);
        fails(libc::umount2(c"a".as_ptr(), 0), libc::EINVAL)?;
        fails(libc::umount2(c"a".as_ptr(), libc::MNT_DETACH), libc::EINVAL)?;
        fails(remount(libc::MS_NOSUID), libc::EPERM)?;
        fails(remount(libc::MS_RDONLY), libc::EPERM)?;
        fails(remount(libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NOATIME), libc::EPERM)?;
        ok(remount(libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV))?;
        fails(mount(c".", c"b", c"", libc::MS_BIND), libc::EINVAL)?; // what is below `a` would be seen
        ok(mount(c".", c"b", c"", libc::MS_BIND | libc::MS_REC))?;
        ok(libc::umount2(c"b".as_ptr(), libc::MNT_DETACH)).map(drop)
    })
}

unsafe fn harmless_types_can_be_mounted() -> Done {
    inside_as_root(|| {
        ok(libc::unshare(libc::CLONE_NEWNS))?;
        for dir in [c"t", c"d"] {
            ok(libc::mkdir(dir.as_ptr(), 0o755))?;
        }
        ok(tmpfs(c"t", 0))?;
        let meta = fs::metadata("t").unwrap();
        eq((meta.uid(), meta.gid()), (0, 0))?;
        ok(libc::close(file(c"t/f", b"")?))?;
        eq(fs::metadata("t/f").unwrap().uid(), 0)?;
        fails(mount(c"none", c"d", c"devtmpfs", 0), libc::EPERM)?;
        fails(mount(c"none", c"d", c"no-such-type", 0), libc::ENODEV)
    })
}

unsafe fn strangers_cannot_make_files() -> Done {
    need_root()?;
    let (made, go) = (pipe()?, pipe()?);
    let pid = spawn(|| {
        libc::close(go.1);
        drop_root()?;
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        inside_as_root(|| {
            ok(libc::unshare(libc::CLONE_NEWNS))?;
            ok(tmpfs(c"/tmp", 0))?;
            ok(libc::chmod(c"/tmp".as_ptr(), 0o777))?;
            put(made.1, b"x")?;
            get(go.0).map(drop)
        })
    })?;
    libc::close(made.1);
    if got_one(made.0) {
        // Root outside has no id in there.
        let children = read(&format!("/proc/{pid}/task/{pid}/children"));
        let path = format!("/proc/{}/root/tmp/f", children.trim());
        let path = std::ffi::CString::new(path).unwrap();
        fails(libc::open(path.as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o644), libc::EOVERFLOW)?;
        fails(libc::mkdir(path.as_ptr(), 0o755), libc::EOVERFLOW)?;
    }
    libc::close(go.1);
    join(pid)
}

unsafe fn credentials_are_translated() -> Done {
    let own = libc::getuid();
    let mut pair = [0; 2];
    ok(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()))?;
    let peer = |fd: c_int| -> Done<libc::ucred> {
        let mut cred: libc::ucred = std::mem::zeroed();
        let mut len = size_of::<libc::ucred>() as u32;
        ok(libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut cred).cast(), &mut len))?;
        Ok(cred)
    };
    eq(peer(pair[0])?.uid, own)?;
    inside(|| eq(peer(pair[0])?.uid, NOBODY))?;
    inside_as_root(|| eq(peer(pair[0])?.uid, 0))
}

unsafe fn owners_of_ipc_are_translated() -> Done {
    let id = ok(libc::shmget(libc::IPC_PRIVATE, PAGE, libc::IPC_CREAT | 0o600))?;
    let owner = |want: u32| eq(shm::listed(id).get(7), Some(&want.to_string()));
    let done = owner(libc::getuid())
        .and_then(|()| inside(|| owner(NOBODY)))
        .and_then(|()| inside_as_root(|| owner(0)));
    libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
    done
}

unsafe fn root_inside_binds_threads_of_others() -> Done {
    need_root()?;
    mapped_by_parent("0 1000 10\n", "0 1000 10\n", || {
        ok(libc::setresuid(0, 0, 0))?;
        let bound = |pid: c_int| {
            let mut mask = [0u64; 16];
            ok(libc::syscall(libc::SYS_sched_getaffinity, pid, 128, mask.as_mut_ptr()))?;
            ok(libc::syscall(libc::SYS_sched_setaffinity, pid, 128, mask.as_ptr())).map(drop)
        };
        let (r, w) = pipe()?;
        let outside = libc::getppid();
        let other = spawn(|| {
            ok(libc::setresuid(5, 5, 5))?;
            fails(libc::syscall(libc::SYS_sched_setaffinity, outside, 8, &1u64), libc::EPERM)?;
            put(w, b"x")?;
            libc::pause();
            Ok(())
        })?;
        check(got_one(r), "another's process runs")?;
        let done = bound(other);
        end(other)?;
        done
    })
}

unsafe fn signals_stop_at_the_border() -> Done {
    need_root()?;
    let outside = libc::getpid();
    in_child(|| {
        drop_root()?;
        // What /proc has of a process that changed its user is root's.
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        inside_as_root(|| fails(libc::kill(outside, 0), libc::EPERM))
    })
}

unsafe fn relations_are_told() -> Done {
    let (own, before) = (libc::getuid(), link("/proc/self/ns/user"));
    let outer = ok(libc::open(c"/proc/self/ns/user".as_ptr(), libc::O_RDONLY))?;
    let name = |fd: c_int| link(&format!("/proc/self/fd/{fd}"));
    inside_as_root(|| {
        let fd = ok(libc::open(c"/proc/self/ns/user".as_ptr(), libc::O_RDONLY))?;
        let mut owner = 99u32;
        ok(libc::ioctl(fd, NS_GET_OWNER_UID, &mut owner))?;
        eq(owner, 0)?; // the owner, as seen from inside
        fails(libc::ioctl(fd, NS_GET_PARENT), libc::EPERM)?; // it is outside
        fails(libc::ioctl(outer, NS_GET_USERNS), libc::EPERM)?;
        ok(libc::unshare(libc::CLONE_NEWUTS))?;
        let uts = ok(libc::open(c"/proc/self/ns/uts".as_ptr(), libc::O_RDONLY))?;
        let of = ok(libc::ioctl(uts, NS_GET_USERNS))?;
        eq(name(of), link("/proc/self/ns/user"))
    })?;
    let (made, go) = (pipe()?, pipe()?);
    let pid = spawn(|| {
        if libc::unshare(libc::CLONE_NEWUSER) == -1 {
            return skip("no user namespace");
        }
        put(made.1, b"x")?;
        libc::close(go.1);
        get(go.0).map(drop)
    })?;
    libc::close(made.1);
    if got_one(made.0) {
        let path = std::ffi::CString::new(format!("/proc/{pid}/ns/user")).unwrap();
        let fd = ok(libc::open(path.as_ptr(), libc::O_RDONLY))?;
        let parent = ok(libc::ioctl(fd, NS_GET_PARENT))?;
        eq(name(parent), before)?;
        let mut owner = 99u32;
        ok(libc::ioctl(fd, NS_GET_OWNER_UID, &mut owner))?;
        eq(owner, own)?;
    }
    libc::close(go.1);
    join(pid)
}

unsafe fn entering_gives_all() -> Done {
    let (made, go) = (pipe()?, pipe()?);
    let uid = libc::getuid();
    let pid = spawn(|| {
        if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWUTS) == -1 {
            return skip("no user namespace");
        }
        eq(write("/proc/self/uid_map", &format!("0 {uid} 1")), 0)?;
        put(made.1, b"x")?;
        libc::close(go.1);
        get(go.0).map(drop)
    })?;
    libc::close(made.1);
    if got_one(made.0) {
        let open = |kind: &str| {
            let path = std::ffi::CString::new(format!("/proc/{pid}/ns/{kind}")).unwrap();
            ok(libc::open(path.as_ptr(), libc::O_RDONLY))
        };
        let (user, uts) = (open("user")?, open("uts")?);
        in_child(|| {
            ok(libc::setns(user, libc::CLONE_NEWUSER))?;
            eq(libc::getuid(), 0)?;
            ok(libc::setns(uts, libc::CLONE_NEWUTS))?;
            ok(libc::sethostname(c"both".as_ptr(), 4))?;
            fails(libc::setns(user, 0), libc::EINVAL)
        })?;
    }
    libc::close(go.1);
    join(pid)
}

unsafe fn exec_keeps_roots_power() -> Done {
    inside_as_root(|| {
        let (text, status) = run_self(&[c"show", c"caps"], &[])?;
        check(status == 0 && text.contains("000001ff"), &format!("as root: {text}"))
    })?;
    inside(|| {
        let (text, status) = run_self(&[c"show", c"caps"], &[])?;
        check(status == 0 && text.contains("0000000000000000"), &format!("as nobody: {text}"))
    })
}

unsafe fn limits_can_be_set() -> Done {
    inside_as_root(|| {
        let path = "/proc/sys/user/max_user_namespaces";
        check(read(path).trim().parse::<u32>().is_ok(), "a number")?;
        // Written by root inside, it counts inside.
        eq(write(path, "1\n"), 0)?;
        eq(read(path), "1\n")?;
        let (made, go) = (pipe()?, pipe()?);
        let pid = spawn(|| {
            ok(libc::unshare(libc::CLONE_NEWUSER))?;
            put(made.1, b"x")?;
            libc::close(go.1);
            get(go.0).map(drop)
        })?;
        libc::close(made.1);
        check(got_one(made.0), "the first")?;
        fails(libc::unshare(libc::CLONE_NEWUSER), libc::ENOSPC)?;
        libc::close(go.1);
        join(pid)
    })
}
