//! Namespaces: making, entering and telling them apart. namespaces(7), unshare(2), setns(2), ioctl_ns(2).

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::MetadataExt;

use libc::c_int;

use crate::cases;
use crate::mount::{mount, private_place};
use crate::support::*;
use crate::userns::inside_as_root;

pub const CASES: &[Case] = cases![
    links_tell_kinds,
    uts_is_apart,
    setns_enters_by_file,
    setns_enters_by_pidfd,
    setns_rules,
    ns_files_can_be_bound,
    mount_namespaces_cannot_hold_themselves,
    unshare_rules,
    clone_makes_them,
    ipc_objects_are_apart,
    ipc_is_its_roots_own,
];

const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

fn ino(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.ino())
}

pub fn link(path: &str) -> String {
    fs::read_link(path).map(|to| to.to_string_lossy().into_owned()).unwrap_or_default()
}

unsafe fn name() -> String {
    let mut buf = [0u8; 65];
    libc::gethostname(buf.as_mut_ptr().cast(), buf.len());
    CStr::from_bytes_until_nul(&buf).map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

unsafe fn set_name(name: &CStr) -> c_int {
    libc::sethostname(name.as_ptr(), name.to_bytes().len())
}

unsafe fn open_ns(path: &CStr) -> Done<c_int> {
    ok(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))
}

unsafe fn need_uts() -> Done {
    need_root()?;
    in_child(|| match libc::unshare(libc::CLONE_NEWUTS) {
        -1 => skip("no UTS namespace"),
        _ => Ok(()),
    })
}

unsafe fn links_tell_kinds() -> Done {
    for (kind, flag) in
        [("mnt", libc::CLONE_NEWNS), ("uts", libc::CLONE_NEWUTS), ("user", libc::CLONE_NEWUSER)]
    {
        let path = format!("/proc/self/ns/{kind}");
        eq(link(&path), format!("{kind}:[{}]", ino(&path)))?;
        let fd = open_ns(&std::ffi::CString::new(path).unwrap())?;
        eq(ok(libc::ioctl(fd, NS_GET_NSTYPE))?, flag)?;
        fails(libc::ioctl(fd, 0xb7ff), libc::ENOTTY)?;
        let mut stat: libc::stat = std::mem::zeroed();
        ok(libc::fstat(fd, &mut stat))?;
        eq(stat.st_mode, libc::S_IFREG | 0o444)?;
        if kind != "user" {
            fails(libc::ioctl(fd, NS_GET_PARENT), libc::EINVAL)?;
        }
        ok(libc::close(fd))?;
    }
    eq(link("/proc/self/ns/uts"), link(&format!("/proc/{}/ns/uts", libc::getppid())))?;
    fails(libc::open(c"/proc/self/ns/none".as_ptr(), libc::O_RDONLY), libc::ENOENT)
}

unsafe fn uts_is_apart() -> Done {
    need_uts()?;
    let before = name();
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWUTS))?;
        eq(name(), before.clone())?;
        ok(set_name(c"inside"))?;
        eq(name(), "inside")?;
        eq(fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(), "inside\n")?;
        fs::write("/proc/sys/kernel/hostname", "written\n").or_else(fail)?;
        eq(name(), "written")
    })?;
    eq(name(), before)
}

unsafe fn setns_enters_by_file() -> Done {
    need_uts()?;
    let (before, outside) = (name(), open_ns(c"/proc/self/ns/uts")?);
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWUTS))?;
        ok(set_name(c"inside"))?;
        fails(libc::setns(outside, libc::CLONE_NEWNS), libc::EINVAL)?;
        ok(libc::setns(outside, libc::CLONE_NEWUTS))?;
        eq(name(), before.clone())?;
        ok(libc::setns(outside, 0)).map(drop)
    })
}

unsafe fn setns_enters_by_pidfd() -> Done {
    need_uts()?;
    let (there, done) = (pipe()?, pipe()?);
    let pid = spawn(|| {
        ok(libc::unshare(libc::CLONE_NEWUTS | libc::CLONE_NEWNS))?;
        ok(set_name(c"inside"))?;
        put(there.1, b"x")?;
        libc::close(done.1);
        get(done.0).map(drop)
    })?;
    check(got_one(there.0), "it is there")?;
    let pidfd = ok(libc::syscall(libc::SYS_pidfd_open, pid, 0))? as c_int;
    in_child(|| {
        fails(libc::setns(pidfd, 0), libc::EINVAL)?;
        fails(libc::setns(pidfd, libc::CLONE_VM), libc::EINVAL)?;
        ok(libc::setns(pidfd, libc::CLONE_NEWUTS | libc::CLONE_NEWNS))?;
        eq(name(), "inside")?;
        let other = format!("/proc/{pid}/ns/mnt");
        eq(link("/proc/self/ns/mnt"), link(&other))
    })?;
    ok(libc::close(done.1))?;
    join(pid)
}

unsafe fn setns_rules() -> Done {
    let uts = open_ns(c"/proc/self/ns/uts")?;
    fails(libc::setns(-1, 0), libc::EBADF)?;
    let (read, _) = pipe()?;
    fails(libc::setns(read, 0), libc::EINVAL)?;
    let user = open_ns(c"/proc/self/ns/user")?;
    fails(libc::setns(user, 0), libc::EINVAL)?; // already in it
    need_root()?;
    in_child(|| {
        drop_root()?;
        fails(libc::setns(uts, 0), libc::EPERM)
    })
}

unsafe fn ns_files_can_be_bound() -> Done {
    private_place()?;
    ok(libc::close(file(c"keep", b"")?))?;
    let before = name();
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWUTS))?;
        ok(set_name(c"kept"))?;
        ok(mount(c"/proc/self/ns/uts", c"keep", c"", libc::MS_BIND)).map(drop)
    })?;
    // The namespace lives as long as its file is mounted.
    let fd = open_ns(c"keep")?;
    in_child(|| {
        ok(libc::setns(fd, libc::CLONE_NEWUTS))?;
        eq(name(), "kept")
    })?;
    let info = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    check(info.contains(&format!(" uts:[{}] ", ino("keep"))) && info.contains(" - nsfs nsfs "), "shown")?;
    eq(name(), before)?;
    ok(libc::close(fd))?;
    ok(libc::umount2(c"keep".as_ptr(), 0)).map(drop)
}

unsafe fn mount_namespaces_cannot_hold_themselves() -> Done {
    private_place()?;
    ok(libc::close(file(c"keep", b"")?))?;
    fails(mount(c"/proc/self/ns/mnt", c"keep", c"", libc::MS_BIND), libc::EINVAL)
}

unsafe fn unshare_rules() -> Done {
    fails(libc::unshare(libc::CLONE_PARENT), libc::EINVAL)?;
    fails(libc::unshare(libc::CLONE_PTRACE | libc::CLONE_NEWNS), libc::EINVAL)?;
    need_uts()?;
    in_child(|| {
        drop_root()?;
        fails(libc::unshare(libc::CLONE_NEWUTS), libc::EPERM)?;
        ok(libc::unshare(libc::CLONE_FS)).map(drop)
    })
}

unsafe fn clone_makes_them() -> Done {
    need_uts()?;
    let (before, own) = (name(), link("/proc/self/ns/mnt"));
    let flags = libc::CLONE_NEWUTS | libc::CLONE_NEWNS | libc::SIGCHLD;
    let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) as c_int;
    if pid == 0 {
        let body = || {
            ok(set_name(c"child"))?;
            check(link("/proc/self/ns/mnt") != own, "another mount namespace")
        };
        libc::_exit(conclude(body()));
    }
    ok(pid)?;
    join(pid)?;
    eq(name(), before)?;
    let both = libc::CLONE_NEWNS | libc::CLONE_FS | libc::SIGCHLD;
    fails(libc::syscall(libc::SYS_clone, both, 0, 0, 0, 0), libc::EINVAL)
}

pub unsafe fn open_queue(name: &CStr, flags: c_int) -> c_int {
    libc::mq_open(name.as_ptr(), flags | libc::O_RDWR, 0o600, std::ptr::null::<libc::mq_attr>())
}

unsafe fn ipc_objects_are_apart() -> Done {
    need_root()?;
    let key = 0x6e73_0000 ^ libc::getpid();
    let name = CString::new(format!("/abi-ns-{key:x}")).unwrap_or_default();
    let outside = ok(libc::shmget(key, PAGE, libc::IPC_CREAT | 0o600))?;
    let done = in_child(|| {
        ok(open_queue(&name, libc::O_CREAT))?;
        let (before, old) = (link("/proc/self/ns/ipc"), open_ns(c"/proc/self/ns/ipc")?);
        check(before.starts_with("ipc:["), &before)?;
        eq(libc::ioctl(old, NS_GET_NSTYPE), libc::CLONE_NEWIPC)?;
        if libc::unshare(libc::CLONE_NEWIPC) == -1 {
            return skip(format!("no IPC namespace: {}", name_of(errno())));
        }
        check(link("/proc/self/ns/ipc") != before, "it is another")?;
        eq(fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default().lines().count(), 1)?;
        fails(libc::shmget(key, PAGE, 0o600), libc::ENOENT)?;
        let mut stat: libc::shmid_ds = std::mem::zeroed();
        fails(libc::shmctl(outside, libc::IPC_STAT, &mut stat), libc::EINVAL)?;
        fails(open_queue(&name, 0), libc::ENOENT)?;
        // The same names again, here.
        let inside = ok(libc::shmget(key, 3 * PAGE, libc::IPC_CREAT | libc::IPC_EXCL | 0o600))?;
        let at = ok(libc::shmat(inside, std::ptr::null(), 0))?.cast::<u8>();
        at.write(7);
        ok(open_queue(&name, libc::O_CREAT | libc::O_EXCL))?;
        let child = libc::syscall(libc::SYS_clone, libc::CLONE_NEWIPC | libc::SIGCHLD, 0, 0, 0, 0) as c_int;
        if child == 0 {
            libc::_exit(conclude(fails(libc::shmget(key, PAGE, 0o600), libc::ENOENT)));
        }
        join(ok(child)?)?;
        in_child(|| eq(ok(libc::shmget(key, PAGE, 0o600))?, inside))?;
        fails(libc::setns(old, libc::CLONE_NEWUTS), libc::EINVAL)?;
        ok(libc::setns(old, libc::CLONE_NEWIPC))?;
        eq(link("/proc/self/ns/ipc"), before)?;
        eq(ok(libc::shmget(key, PAGE, 0o600))?, outside)?;
        // What was attached stays so.
        eq(at.read(), 7)?;
        ok(libc::shmdt(at.cast()))?;
        ok(open_queue(&name, 0)).map(drop)
    });
    libc::shmctl(outside, libc::IPC_RMID, std::ptr::null_mut());
    libc::mq_unlink(name.as_ptr());
    done
}

unsafe fn ipc_is_its_roots_own() -> Done {
    need_root()?;
    in_child(|| {
        drop_root()?;
        ok(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        let outside = ok(libc::shmget(libc::IPC_PRIVATE, PAGE, 0))?;
        fails(libc::unshare(libc::CLONE_NEWIPC), libc::EPERM)?;
        inside_as_root(|| {
            // All power in here is none over what is outside.
            fails(libc::shmat(outside, std::ptr::null(), 0), libc::EACCES)?;
            ok(libc::shmctl(outside, libc::IPC_RMID, std::ptr::null_mut()))?;
            ok(libc::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWNS))?;
            let inside = ok(libc::shmget(libc::IPC_PRIVATE, PAGE, 0))?;
            ok(libc::shmat(inside, std::ptr::null(), 0))?;
            ok(open_queue(c"/abi-inside", libc::O_CREAT))?;
            ok(mount(c"none", c"/tmp", c"mqueue", 0))?;
            let names: Vec<_> =
                fs::read_dir("/tmp").or_else(fail)?.flatten().map(|entry| entry.file_name()).collect();
            eq(names, ["abi-inside"])
        })
    })
}
