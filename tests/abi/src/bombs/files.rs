//! Bombs of names, mounts, watches and locks.

use std::ffi::CString;
use std::ptr::null;

use libc::{c_char, c_int};

use super::{in_children, many_descriptors, refused};
use crate::overlay::{c, mount};

fn name(of: &str, n: usize) -> CString {
    c(&format!("{of}{n}"))
}

unsafe fn make(name: &CString) -> bool {
    let fd = libc::open(name.as_ptr(), libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC, 0o600);
    libc::close(fd);
    fd != -1
}

/// Watches of files by inotify, as many as a user may have.
pub fn watches() {
    many_descriptors();
    let mut count = 0;
    // SAFETY: the names live.
    unsafe {
        for n in 0..100 {
            make(&name("w", n));
        }
        'all: loop {
            let instance = libc::inotify_init1(libc::IN_NONBLOCK);
            if instance == -1 {
                break;
            }
            for n in 0..100 {
                if libc::inotify_add_watch(instance, name("w", n).as_ptr(), libc::IN_ALL_EVENTS) == -1 {
                    break 'all;
                }
                count += 1;
            }
        }
    }
    refused(format_args!("{count} watches"));
}

/// Locks on every other byte of many files.
pub fn locks() {
    many_descriptors();
    let mut count = 0;
    // SAFETY: names and structures live.
    unsafe {
        'all: for n in 0..4 {
            let fd = libc::open(name("l", n).as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600);
            for at in 0..1_000_000 {
                let mut lock: libc::flock = std::mem::zeroed();
                lock.l_type = libc::F_WRLCK as _;
                lock.l_start = at * 2;
                lock.l_len = 1;
                if libc::fcntl(fd, libc::F_SETLK, &lock) != 0 {
                    if at == 0 {
                        break 'all;
                    }
                    break;
                }
                count += 1;
            }
        }
    }
    refused(format_args!("{count} locks"));
}

/// Goes down as many levels as there can be; gives how many.
unsafe fn dig() -> usize {
    for depth in 0..100_000 {
        if libc::mkdir(c"d".as_ptr(), 0o700) != 0 || libc::chdir(c"d".as_ptr()) != 0 {
            refused(format_args!("{depth} levels"));
            return depth;
        }
    }
    100_000
}

/// A very deep tree, which goes with its file system.
pub fn deep_tree() {
    let mut path = vec![0 as c_char; 4096];
    // SAFETY: names and buffers live.
    unsafe {
        dig();
        if libc::getcwd(path.as_mut_ptr(), path.len()).is_null() {
            refused("getcwd");
        }
        let link = libc::readlink(c"/proc/self/cwd".as_ptr(), path.as_mut_ptr(), path.len());
        refused(format_args!("readlink: {link}"));
        libc::mkdir(c"e".as_ptr(), 0o700);
        libc::rename(c"e".as_ptr(), c"f".as_ptr());
        libc::rename(c"/tmp/d".as_ptr(), c"/tmp/g".as_ptr());
        libc::rename(c"/tmp/g".as_ptr(), c"f/h".as_ptr());
        refused("renamed below itself");
        let _ = std::fs::read("/proc/self/mountinfo");
        // What is mounted at the bottom is on all these names.
        mount(c"tmpfs", c"f", "");
        let _ = std::fs::read("/proc/self/mountinfo");
        libc::chdir(c"/".as_ptr());
    }
}

/// The same, removed from the bottom up.
pub fn deep_tree_removed() {
    // SAFETY: names live.
    unsafe {
        let depth = dig();
        for level in 0..depth {
            if libc::chdir(c"..".as_ptr()) != 0 || libc::rmdir(c"d".as_ptr()) != 0 {
                return refused(format_args!("{level} removed of {depth}"));
            }
        }
    }
}

/// Symbolic links: chains, circles, and long ones in each other.
pub fn links() {
    // SAFETY: names live.
    unsafe {
        make(&name("c", 0));
        for n in 1..60 {
            libc::symlink(name("c", n - 1).as_ptr(), name("c", n).as_ptr());
        }
        for n in [40, 41] {
            let fd = libc::open(name("c", n).as_ptr(), libc::O_RDONLY);
            refused(format_args!("a chain of {n}: {}", fd != -1));
        }
        // Each stands for the one before it many times.
        libc::symlink(c".".as_ptr(), name("n", 0).as_ptr());
        for n in 1..40 {
            let text = c(&vec![format!("n{}", n - 1); 1000].join("/"));
            if libc::symlink(text.as_ptr(), name("n", n).as_ptr()) != 0 {
                let text = c(&vec![format!("n{}", n - 1); 800].join("/"));
                libc::symlink(text.as_ptr(), name("n", n).as_ptr());
            }
        }
        let fd = libc::open(name("n", 39).as_ptr(), libc::O_RDONLY);
        refused(format_args!("links in links: {fd}"));
        // The texts themselves.
        let text = c(&"x".repeat(4095));
        let mut count = 0;
        while count < 1_000_000 && libc::symlink(text.as_ptr(), name("t", count).as_ptr()) == 0 {
            count += 1;
        }
        refused(format_args!("{count} texts"));
    }
}

/// Files, and further names of them.
pub fn names() {
    let long = "n".repeat(240);
    let mut count = 0;
    // SAFETY: names live.
    unsafe {
        while count < 1_000_000 && make(&name(&long, count)) {
            count += 1;
        }
        refused(format_args!("{count} files"));
        let mut links = 0;
        while links < 1_000_000 && libc::link(name(&long, 0).as_ptr(), name("link", links).as_ptr()) == 0 {
            links += 1;
        }
        refused(format_args!("{links} links"));
        for n in 0..count {
            libc::unlink(name(&long, n).as_ptr());
        }
    }
}

/// Files of many processes, none of which lasts.
pub fn names_by_many() {
    let long = "n".repeat(200);
    let mut count = 0;
    // SAFETY: names live; children leave by _exit.
    unsafe {
        loop {
            let pid = libc::fork();
            if pid == 0 {
                let made = (0..100).filter(|n| make(&name(&format!("{long}{count}-"), *n))).count();
                libc::_exit(i32::from(made == 0));
            }
            let mut status = 1;
            if pid == -1 || libc::waitpid(pid, &mut status, 0) != pid || status != 0 {
                break;
            }
            count += 1;
        }
    }
    refused(format_args!("{count} processes' files"));
}

/// Files of many file systems, each of which has its own limit of them, or none.
pub fn names_in_many() {
    let long = "n".repeat(240);
    let mut all = 0;
    // SAFETY: names live.
    unsafe {
        for at in 0..2000 {
            let dir = name("/tmp/m", at);
            let made = libc::mkdir(dir.as_ptr(), 0o700) == 0
                && mount(c"tmpfs", &dir, "nr_inodes=0") == 0
                && libc::chdir(dir.as_ptr()) == 0;
            if !made {
                break;
            }
            let mut count = 0;
            while count < 20_000 && make(&name(&long, count)) {
                count += 1;
            }
            all += count;
            if count == 0 {
                break;
            }
        }
    }
    refused(format_args!("{all} files"));
}

/// Extended attributes.
pub fn attributes() {
    let value = [1u8; 60_000];
    let mut all = 0;
    // SAFETY: names and values live.
    unsafe {
        for file in 0..10_000 {
            let path = name("a", file);
            make(&path);
            let mut count = 0;
            let set = |attribute: CString| {
                let (at, value, len) = (path.as_ptr(), value.as_ptr().cast(), value.len());
                libc::setxattr(at, attribute.as_ptr(), value, len, 0)
            };
            while count < 1000 && set(name("trusted.n", count)) == 0 {
                count += 1;
            }
            all += count;
            if count == 0 {
                break;
            }
        }
    }
    refused(format_args!("{all} attributes"));
}

/// Mounts, in many namespaces.
pub fn mounts() {
    // SAFETY: names live.
    unsafe {
        libc::mkdir(c"/tmp/m".as_ptr(), 0o700);
        mount(c"tmpfs", c"/tmp/m", "");
        let mut count = 0;
        while count < 200_000 {
            let dir = name("/tmp/m/", count);
            libc::mkdir(dir.as_ptr(), 0o700);
            if mount(c"tmpfs", &dir, "") != 0 {
                break;
            }
            count += 1;
        }
        refused(format_args!("{count} mounts"));
    }
    in_children(|| {
        // SAFETY: no memory is involved.
        unsafe { libc::unshare(libc::CLONE_NEWNS) == 0 }
    });
}

/// Mounts on each other, and recursive binds that double, all shared.
pub fn stacked_mounts() {
    // SAFETY: names live.
    unsafe {
        libc::mkdir(c"/tmp/s".as_ptr(), 0o700);
        let mut count = 0;
        while count < 2000 && mount(c"tmpfs", c"/tmp/s", "") == 0 {
            count += 1;
        }
        refused(format_args!("{count} on one place"));
        libc::mkdir(c"/tmp/r".as_ptr(), 0o700);
        libc::mkdir(c"/tmp/r/a".as_ptr(), 0o700);
        libc::mount(c"/tmp/r".as_ptr(), c"/tmp/r".as_ptr(), null(), libc::MS_BIND, null());
        libc::mount(null(), c"/tmp/r".as_ptr(), null(), libc::MS_SHARED, null());
        let mut path = String::from("/tmp/r");
        let mut rounds: c_int = 0;
        while rounds < 64 {
            let at = c(&format!("{path}/a"));
            if libc::mount(c"/tmp/r".as_ptr(), at.as_ptr(), null(), libc::MS_BIND | libc::MS_REC, null()) != 0
            {
                break;
            }
            path.push_str("/a");
            rounds += 1;
        }
        refused(format_args!("{rounds} binds"));
        let _ = std::fs::read("/proc/self/mountinfo");
    }
}

/// Overlays over overlays.
pub fn overlays() {
    // SAFETY: names live.
    unsafe {
        let mut lower = String::from("/tmp/l");
        libc::mkdir(c"/tmp/l".as_ptr(), 0o700);
        for depth in 0..200 {
            for dir in ["u", "w", "o"] {
                libc::mkdir(name(&format!("/tmp/{dir}"), depth).as_ptr(), 0o700);
            }
            let options = format!("lowerdir={lower},upperdir=/tmp/u{depth},workdir=/tmp/w{depth}");
            if mount(c"overlay", &name("/tmp/o", depth), &options) != 0 {
                return refused(format_args!("{depth} overlays"));
            }
            lower = format!("/tmp/o{depth}");
        }
    }
}

/// Directories that are removed while each is open, and holds the one above it.
pub fn open_directories() {
    many_descriptors();
    // SAFETY: names live.
    unsafe {
        let mut at = libc::open(c"/tmp".as_ptr(), libc::O_DIRECTORY);
        let mut count = 0;
        while count < 50_000 {
            libc::mkdirat(at, c"d".as_ptr(), 0o700);
            let below = libc::openat(at, c"d".as_ptr(), libc::O_DIRECTORY);
            if below == -1 {
                break;
            }
            count += 1;
            at = below;
        }
        refused(format_args!("{count} directories"));
        for fd in (3..at).rev() {
            libc::unlinkat(fd, c"d".as_ptr(), libc::AT_REMOVEDIR);
        }
    }
}
