//! Control groups given away and looked at: owners, `CLONE_INTO_CGROUP`, several mounts, namespaces. cgroups(7),
//! cgroup_namespaces(7), clone3(2).

use std::fs;
use std::os::unix::fs::MetadataExt;

use libc::c_int;

use crate::cases;
use crate::cgroup::{in_group, mount_at, options, own_pid, path_of, read, sleeper_in, with_groups, write};
use crate::overlay::{c, io};
use crate::support::*;

pub const CASES: &[Case] = cases![
    owners_change,
    users_move_within_what_is_theirs,
    clone3_into_a_group,
    clone3_into_rules,
    mounts_show_the_same,
    namespace_hides_what_is_outside,
    namespaces_as_boundaries,
    system_knows_them,
];

unsafe fn owners_change() -> Done {
    with_groups(&["a"], |group| {
        let file = format!("{group}/a/cgroup.procs");
        ok(libc::chown(c(&file).as_ptr(), 11, 12))?;
        ok(libc::chmod(c(&file).as_ptr(), 0o664))?;
        ok(libc::chown(c(group).as_ptr(), 13, 14))?;
        ok(libc::chmod(c(group).as_ptr(), 0o711))?;
        let of =
            |path: &str| io(fs::metadata(path)).map(|meta| (meta.mode() & 0o7777, meta.uid(), meta.gid()));
        eq(of(&file)?, (0o664, 11, 12))?;
        eq(of(group)?, (0o711, 13, 14))?;
        eq(of(&format!("{group}/cgroup.procs"))?, (0o644, 0, 0))?;
        // Whoever makes a group owns it and its files.
        in_child(|| {
            ok(libc::setegid(14))?;
            ok(libc::seteuid(13))?;
            ok(libc::mkdir(c(&format!("{group}/own")).as_ptr(), 0o755)).map(drop)
        })?;
        eq(of(&format!("{group}/own"))?, (0o755, 13, 14))?;
        eq(of(&format!("{group}/own/cgroup.procs"))?, (0o644, 13, 14))?;
        eq(of(&format!("{group}/own/cgroup.kill"))?, (0o200, 13, 14))
    })
}

unsafe fn users_move_within_what_is_theirs() -> Done {
    const NOBODY: u32 = 65534;
    with_groups(&["a", "a/b", "a/c", "d"], |group| {
        let (a, d) = (format!("{group}/a"), format!("{group}/d"));
        for path in [&a, &format!("{a}/cgroup.procs"), &d, &format!("{d}/cgroup.procs")] {
            ok(libc::chown(c(path).as_ptr(), NOBODY, NOBODY))?;
        }
        for name in ["b", "c"] {
            ok(libc::chown(c(&format!("{a}/{name}/cgroup.procs")).as_ptr(), NOBODY, NOBODY))?;
        }
        let outside = sleeper_in(group)?;
        in_child(|| {
            eq(write(&format!("{a}/b/cgroup.procs"), "0"), 0)?;
            // The rights are those of who has opened the file.
            let fd = ok(libc::open(c(&format!("{group}/cgroup.procs")).as_ptr(), libc::O_WRONLY))?;
            drop_root()?;
            eq(write(&format!("{a}/c/cgroup.procs"), "0"), 0)?;
            eq(write(&format!("{a}/cgroup.procs"), "0"), 0)?;
            eq(write(&format!("{a}/c/cgroup.procs"), &outside.to_string()), libc::EACCES)?;
            // Both are theirs, but not what is around both.
            eq(write(&format!("{d}/cgroup.procs"), "0"), libc::EACCES)?;
            eq(write(&format!("{group}/cgroup.procs"), "0"), libc::EACCES)?;
            ok(libc::mkdir(c(&format!("{a}/e")).as_ptr(), 0o755))?;
            eq(write(&format!("{a}/e/cgroup.procs"), "0"), 0)?;
            fails(libc::mkdir(c(&format!("{group}/e")).as_ptr(), 0o755), libc::EACCES)?;
            put(fd, b"0")?;
            check(!path_of("self").ends_with("/e"), "it was moved out")
        })?;
        end(outside)
    })
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

unsafe fn clone_into(cgroup: u64, size: usize) -> c_int {
    let mut args: libc::clone_args = std::mem::zeroed();
    (args.flags, args.exit_signal, args.cgroup) = (CLONE_INTO_CGROUP, libc::SIGCHLD as u64, cgroup);
    libc::syscall(libc::SYS_clone3, &args, size) as c_int
}

unsafe fn clone3_into_a_group() -> Done {
    with_groups(&["a"], |group| {
        for flags in [libc::O_RDONLY, libc::O_PATH] {
            let dir = ok(libc::open(c(&format!("{group}/a")).as_ptr(), flags | libc::O_DIRECTORY))?;
            let before = path_of("self");
            let pid = ok(clone_into(dir as u64, size_of::<libc::clone_args>()))?;
            if pid == 0 {
                libc::_exit(conclude(check(path_of("self").ends_with("/a"), "it starts there")));
            }
            join(pid)?;
            eq(path_of("self"), before)?;
        }
        Ok(())
    })
}

unsafe fn clone3_into_rules() -> Done {
    with_groups(&["a"], |group| {
        let open = |path: &str| ok(libc::open(c(path).as_ptr(), libc::O_RDONLY)).map(|fd| fd as u64);
        let (dir, file) = (open(&format!("{group}/a"))?, open(&format!("{group}/a/cgroup.procs"))?);
        let whole = size_of::<libc::clone_args>();
        fails(clone_into(dir, 80), libc::EINVAL)?;
        fails(clone_into(1 << 33, whole), libc::EINVAL)?;
        fails(clone_into(999, whole), libc::EBADF)?;
        fails(clone_into(file, whole), libc::EBADF)?;
        fails(clone_into(open(".")?, whole), libc::EBADF)?;
        in_child(|| {
            drop_root()?;
            fails(clone_into(dir, whole), libc::EACCES)
        })?;
        ok(libc::rmdir(c(&format!("{group}/a")).as_ptr()))?;
        fails(clone_into(dir, whole), libc::ENOENT)
    })
}

unsafe fn mounts_show_the_same() -> Done {
    let before = options();
    in_group(|group| {
        io(fs::create_dir("other"))?;
        ok(mount_at("other", &before))?;
        let other = group.replacen("cg", "other", 1);
        let id = |path: &str| io(fs::metadata(path)).map(|meta| (meta.dev(), meta.ino()));
        eq(id(&other)?, id(group)?)?;
        eq(id(&format!("{other}/cgroup.procs"))?, id(&format!("{group}/cgroup.procs"))?)?;
        check(!fs::exists(format!("{other}/a")).unwrap_or(true), "not there yet")?;
        io(fs::create_dir(format!("{group}/a")))?;
        check(fs::exists(format!("{other}/a")).unwrap_or(false), "made by the other")?;
        io(fs::remove_dir(format!("{other}/a")))?;
        check(!fs::exists(format!("{group}/a")).unwrap_or(true), "removed by the other")?;
        // A watch by one mount hears what comes of a write by the other, and stays when that goes.
        let heard = ok(libc::inotify_init1(libc::IN_NONBLOCK))?;
        let path = c(&format!("{group}/cgroup.events"));
        ok(libc::inotify_add_watch(heard, path.as_ptr(), libc::IN_MODIFY))?;
        let pid = sleeper_in(&other)?;
        let mut event = [0u8; 256];
        let mut told = || libc::read(heard, event.as_mut_ptr().cast(), event.len());
        soon("it is told", || told() >= 16)?;
        ok(libc::umount(c"other".as_ptr()))?;
        end(pid)?;
        soon("it is told again", || told() >= 16)
    })
}

/// The field `root` of what is mounted on `/w/` and `name`.
fn mounted_root(name: &str) -> String {
    crate::mountfd::line(name).split(' ').nth(3).unwrap_or_default().to_owned()
}

unsafe fn namespace_hides_what_is_outside() -> Done {
    with_groups(&["a", "a/b", "c"], |group| {
        let outside = sleeper_in(&format!("{group}/c"))?;
        if path_of("self") != "/" {
            return skip("not in the root group");
        }
        in_child(|| {
            eq(write(&format!("{group}/a/cgroup.procs"), "0"), 0)?;
            if libc::unshare(libc::CLONE_NEWCGROUP) == -1 {
                return skip("no cgroup namespaces");
            }
            eq(path_of("self"), "/")?;
            eq(path_of(&libc::getppid().to_string()), "/../..")?;
            eq(path_of(&outside.to_string()), "/../c")?;
            eq(mounted_root("cg"), "/../..")?;
            in_child(|| {
                eq(write(&format!("{group}/a/b/cgroup.procs"), "0"), 0)?;
                eq(path_of("self"), "/b")
            })?;
            io(fs::create_dir("inside"))?;
            ok(mount_at("inside", ""))?;
            eq(mounted_root("inside"), "/")?;
            eq(read("inside/cgroup.procs"), format!("{}\n", own_pid()))?;
            check(fs::exists("inside/b").unwrap_or(false), "what is below")?;
            check(!fs::exists("inside/c").unwrap_or(true), "not what is beside")?;
            check(fs::exists("inside/cgroup.kill").unwrap_or(false), "the root is no root")?;
            let text = c(&format!("{group}/a/b"));
            ok(libc::mkdir(c"bound".as_ptr(), 0o755))?;
            let none = std::ptr::null();
            ok(libc::mount(text.as_ptr(), c"bound".as_ptr(), none, libc::MS_BIND, none.cast()))?;
            eq(mounted_root("bound"), "/b")?;
            // A namespace is no wall by itself.
            eq(write(&format!("{group}/c/cgroup.procs"), "0"), 0)?;
            eq(path_of("self"), "/../c")
        })?;
        end(outside)
    })
}

unsafe fn namespaces_as_boundaries() -> Done {
    let before = options();
    with_groups(&["a", "a/b", "c"], |group| {
        io(fs::create_dir("set"))?;
        ok(mount_at("set", "nsdelegate"))?;
        let shown = options();
        let done = in_child(|| {
            check(shown.split(',').any(|option| option == "nsdelegate"), "it is shown")?;
            eq(write(&format!("{group}/a/cgroup.procs"), "0"), 0)?;
            ok(libc::unshare(libc::CLONE_NEWCGROUP))?;
            eq(write(&format!("{group}/a/cgroup.max.depth"), "9"), libc::EPERM)?;
            eq(write(&format!("{group}/a/b/cgroup.max.depth"), "9"), 0)?;
            eq(write(&format!("{group}/c/cgroup.procs"), "0"), libc::ENOENT)?;
            eq(write(&format!("{group}/cgroup.procs"), "0"), libc::ENOENT)?;
            eq(write(&format!("{group}/a/b/cgroup.procs"), "0"), 0)?;
            eq(write(&format!("{group}/a/cgroup.procs"), "0"), 0)
        });
        // As it was.
        io(fs::create_dir("back"))?;
        ok(mount_at("back", &before))?;
        done?;
        check(!before.is_empty() || !options().contains("nsdelegate"), "it is unset")
    })
}

unsafe fn system_knows_them() -> Done {
    let before = options();
    in_group(|_| {
        check(read("/proc/filesystems").lines().any(|line| line == "nodev\tcgroup2"), "a type")?;
        check(
            read("/proc/cgroups").starts_with("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"),
            "a table",
        )?;
        check(read("/sys/kernel/cgroup/delegate").starts_with("cgroup.procs\n"), "what is delegated")?;
        check(read("/sys/kernel/cgroup/features").lines().any(|line| line == "nsdelegate"), "what there is")?;
        let at = c"/sys/fs/cgroup";
        ok(mount_at("/sys/fs/cgroup", &before))?;
        check(read("/sys/fs/cgroup/cgroup.controllers") == read("cg/cgroup.controllers"), "the same")?;
        fails(mount_at("cg", "no-such-option"), libc::EINVAL)?;
        ok(libc::umount2(at.as_ptr(), libc::MNT_DETACH)).map(drop)
    })
}
