//! The system calls that init needs, one safe function each: all of init's unsafe code.

use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

/// An errno of the last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    fn last() -> Errno {
        // SAFETY: the location is the calling thread's own and always valid.
        Errno(unsafe { *libc::__errno_location() })
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: strerror returns a valid string; there is one thread, so nobody overwrites it meanwhile.
        let text = unsafe { CStr::from_ptr(libc::strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

fn check(result: i32) -> Result<i32, Errno> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// `getpid(2)`.
pub fn getpid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::getpid() }
}

/// `mount(2)` of a file system that has no device; its type also stands as its source.
pub fn mount(kind: &CStr, target: &CStr, flags: u64, options: &CStr) -> Result<(), Errno> {
    // SAFETY: all pointers are strings that outlive the call.
    let done =
        unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    check(done).map(drop)
}

/// `mkdir(2)`.
pub fn mkdir(path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the pointer is a string that outlives the call.
    check(unsafe { libc::mkdir(path.as_ptr(), mode) }).map(drop)
}

/// `symlink(2)`.
pub fn symlink(target: &CStr, path: &CStr) -> Result<(), Errno> {
    // SAFETY: the pointers are strings that outlive the call.
    check(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }).map(drop)
}

/// `chdir(2)`.
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the pointer is a string that outlives the call.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// Writes `bytes` to a file that exists already, in one call; failures do not matter.
pub fn write_to(path: &CStr, bytes: &[u8]) {
    // SAFETY: the pointer is a string that outlives the call.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOCTTY) };
    if fd >= 0 {
        write(fd, bytes);
        // SAFETY: the descriptor was opened above and is not used again.
        unsafe { libc::close(fd) };
    }
}

/// `write(2)`; failures do not matter.
pub fn write(fd: i32, bytes: &[u8]) {
    // SAFETY: the buffer is valid for its length.
    let _ = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
}

/// Whether a file may be executed, `access(2)`.
pub fn executable(path: &CStr) -> bool {
    // SAFETY: the pointer is a string that outlives the call.
    unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
}

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Signals(libc::sigset_t);

impl Signals {
    /// The set of these signals.
    pub fn of(signals: &[i32]) -> Signals {
        // SAFETY: a sigset_t is plain memory, and sigemptyset and sigaddset write within it.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for &signal in signals {
                libc::sigaddset(&mut set, signal);
            }
            Signals(set)
        }
    }

    /// Blocks these signals and returns what was blocked before.
    pub fn block(&self) -> Signals {
        let mut old = Signals::of(&[]);
        // SAFETY: both sets are valid.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &self.0, &mut old.0) };
        old
    }

    /// Makes these the only blocked signals.
    pub fn set_mask(&self) {
        // SAFETY: the set is valid.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }

    /// Waits for one of these signals, which must be blocked, and takes it; for ever without a limit.
    pub fn wait(&self, limit: Option<Duration>) -> Result<i32, Errno> {
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the set is valid; siginfo may be null; the limit is null or valid.
        check(unsafe { libc::sigtimedwait(&self.0, ptr::null_mut(), limit) })
    }
}

/// `kill(2)`.
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory is involved. That -1 means everybody is the caller's concern.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// What `waitpid(2)` on all children found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child ended, with this exit status (128+n for signal n).
    Child(i32, i32),
    /// There are children, and all of them live.
    NoneYet,
    /// There are no children.
    NoChildren,
}

/// Reaps one child that ended, if there is one.
pub fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: the status is valid for writes.
    match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
        0 => Reaped::NoneYet,
        -1 => Reaped::NoChildren,
        pid if libc::WIFSIGNALED(status) => Reaped::Child(pid, 128 + libc::WTERMSIG(status)),
        pid => Reaped::Child(pid, libc::WEXITSTATUS(status)),
    }
}

/// `fork(2)`: `None` in the child.
pub fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: the process has one thread, so the child may do anything.
    match check(unsafe { libc::fork() })? {
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// `setsid(2)`; it fails only for a group leader, which a new child is not.
pub fn setsid() {
    // SAFETY: no preconditions.
    unsafe { libc::setsid() };
}

/// Makes the terminal on `fd` the controlling one of this session, taking it from another one if need be. The caller's
/// group becomes its foreground group (tty_ioctl(4)).
pub fn take_terminal(fd: i32) -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes a number, not a pointer.
    check(unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 1) }).map(drop)
}

/// `fchown(2)` of the owner alone.
pub fn give_to(fd: i32, uid: u32) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::fchown(fd, uid, libc::gid_t::MAX) }).map(drop)
}

/// Becomes this user for good. Groups first: afterwards there is no right to.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the group list is valid for its length.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: no memory is involved.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: no memory is involved.
    check(unsafe { libc::setresuid(uid, uid, uid) }).map(drop)
}

/// Sets a variable of the environment; one with a NUL in it is left alone.
pub fn setenv(name: &CStr, value: &[u8]) {
    if let Ok(value) = CString::new(value) {
        // SAFETY: both are strings that setenv copies; there is one thread.
        unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
    }
}

/// Executes a file as `execvp(3)` does: searched for in PATH unless it has a slash, and given to /bin/sh if it is text
/// of no known format. Returns only on failure.
pub fn exec(file: &CStr, args: &[CString]) -> Errno {
    let args: Vec<*const libc::c_char> =
        args.iter().map(|arg| arg.as_ptr()).chain(std::iter::once(ptr::null())).collect();
    // SAFETY: the vector is terminated by a null pointer, and its strings outlive the calls.
    unsafe {
        if file.to_bytes().contains(&b'/') {
            libc::execv(file.as_ptr(), args.as_ptr());
            let error = Errno::last();
            if error.0 == libc::ENOEXEC && is_text(file) {
                // Comes back only if there is no shell, which is not what is wrong with the file.
                libc::execvp(file.as_ptr(), args.as_ptr());
            }
            return error;
        }
        libc::execvp(file.as_ptr(), args.as_ptr());
    }
    Errno::last()
}

/// Whether a shell may make sense of a file. Shells decide it so too: no NUL in the first line.
fn is_text(file: &CStr) -> bool {
    let mut start = [0; 128];
    let path = Path::new(OsStr::from_bytes(file.to_bytes()));
    let Ok(count) = std::fs::File::open(path).and_then(|mut file| file.read(&mut start)) else {
        return false;
    };
    let line = start[..count].split(|&byte| byte == b'\n').next();
    line.is_some_and(|line| !line.contains(&0))
}

/// Ends without running anything that was registered for the end, as befits the child of a fork.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(status) }
}

/// `sync(2)`.
pub fn sync() {
    // SAFETY: no preconditions.
    unsafe { libc::sync() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_for_a_shell() {
        let path = std::env::temp_dir().join(format!("init-is-text-{}", std::process::id()));
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        for (bytes, text) in [(&b"echo hello\n\0"[..], true), (b"\x7fELF\x02\x01\x01\0", false), (b"", true)]
        {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(is_text(&name), text, "{bytes:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!is_text(&name));
    }
}
