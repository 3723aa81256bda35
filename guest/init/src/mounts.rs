//! What a Linux program expects to find mounted. The kernel has put a devtmpfs on /dev before it starts PID 1.

use std::ffi::CStr;

use crate::sys::{self, Errno};

const PLAIN: u64 = libc::MS_NOSUID | libc::MS_NODEV;
const STRICT: u64 = PLAIN | libc::MS_NOEXEC;

/// File system, mount point, flags, options.
const MOUNTS: [(&CStr, &CStr, u64, &CStr); 5] = [
    (c"proc", c"/proc", STRICT, c""),
    (c"sysfs", c"/sys", STRICT, c""),
    (c"devpts", c"/dev/pts", libc::MS_NOSUID | libc::MS_NOEXEC, c"gid=5,mode=620,ptmxmode=666"),
    (c"tmpfs", c"/dev/shm", PLAIN, c"mode=1777"),
    (c"tmpfs", c"/run", PLAIN, c"mode=755"),
];

/// Links in /dev that devtmpfs leaves to userland.
const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
];

/// Mounts all of it. Nothing here is fatal: a program may well live without, and what is missing stands in the kernel
/// log. A file system that this kernel does not have (ENODEV), and one that is there already (EBUSY), is no news.
pub fn mount_all() {
    for (kind, target, flags, options) in MOUNTS {
        note(target, mount(kind, target, flags, options));
    }
    // What a root has in its /tmp stays visible, so one is mounted only where there is none.
    if sys::mkdir(c"/tmp", 0o1777).is_ok() {
        note(c"/tmp", mount(c"tmpfs", c"/tmp", PLAIN, c"mode=1777"));
    }
    for (target, path) in LINKS {
        let linked = sys::symlink(target, path);
        note(path, linked.or_else(|error| if error.0 == libc::EEXIST { Ok(()) } else { Err(error) }));
    }
}

/// Mounts, and makes the mount point first where it is missing.
fn mount(kind: &CStr, target: &CStr, flags: u64, options: &CStr) -> Result<(), Errno> {
    match sys::mount(kind, target, flags, options) {
        Err(Errno(libc::ENOENT)) => {
            sys::mkdir(target, 0o755)?;
            sys::mount(kind, target, flags, options)
        }
        done => done,
    }
}

fn note(path: &CStr, done: Result<(), Errno>) {
    match done {
        Ok(()) | Err(Errno(libc::ENODEV | libc::EBUSY)) => {}
        // <4> is the level of a warning, see the kernel's documentation of /dev/kmsg.
        Err(error) => {
            let text = format!("<4>init: cannot set up {}: {error}\n", path.to_string_lossy());
            sys::write_to(c"/dev/kmsg", text.as_bytes());
        }
    }
}
