//! The system calls that are measured, as thin as they can be. Whatever fails ends the program: a wrong figure is worse
//! than none.

use std::ffi::CStr;

/// Ends the program if `result` tells a failure.
fn check(what: &str, result: i64) -> i64 {
    if result < 0 {
        panic!("{what}: {}", std::io::Error::last_os_error());
    }
    result
}

/// getpid(2), not the C library's.
pub fn getpid() -> i64 {
    // SAFETY: it takes no arguments.
    unsafe { libc::syscall(libc::SYS_getpid) }
}

/// A file without a name.
pub struct Scratch {
    fd: i32,
}

impl Scratch {
    /// With `len` bytes, in a file system that is in memory.
    pub fn new(len: usize) -> Scratch {
        let bytes = vec![b'x'; len];
        for dir in ["/dev/shm", "/tmp", "/"] {
            let path = format!("{dir}/bench.{}", std::process::id());
            if std::fs::write(&path, &bytes).is_err() {
                continue;
            }
            let name = std::ffi::CString::new(path.as_str()).expect("no NUL in it");
            // SAFETY: the name is a string.
            let fd = unsafe { libc::open(name.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
            std::fs::remove_file(&path).expect("it was just made");
            check("open", fd.into());
            return Scratch { fd };
        }
        panic!("no folder for a file");
    }

    /// Reads from its start.
    pub fn read(&self, buf: &mut [u8]) {
        // SAFETY: the buffer has the length that is given.
        let n = unsafe { libc::pread(self.fd, buf.as_mut_ptr().cast(), buf.len(), 0) };
        assert_eq!(n, buf.len() as isize, "pread");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        close(self.fd);
    }
}

/// Anonymous private memory.
pub struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes.
    pub fn new(len: usize) -> Mapping {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping touches no memory that is in use.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap");
        Mapping { at: at.cast(), len }
    }

    /// Writes a byte every `step` bytes.
    pub fn touch(&self, step: usize) {
        for offset in (0..self.len).step_by(step) {
            // SAFETY: the offset is inside the mapping, which is ours alone.
            unsafe { self.at.add(offset).write_volatile(1) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more.
        check("munmap", unsafe { libc::munmap(self.at.cast(), self.len) }.into());
    }
}

/// A pipe: the end to read from, the end to write to.
pub fn pipe() -> (i32, i32) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two descriptors.
    check("pipe2", unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into());
    (fds[0], fds[1])
}

/// Writes one byte.
pub fn put(fd: i32, byte: u8) {
    // SAFETY: one byte is read from a byte.
    assert_eq!(unsafe { libc::write(fd, (&raw const byte).cast(), 1) }, 1, "write");
}

/// Reads one byte.
pub fn get(fd: i32) -> u8 {
    let mut byte = 0u8;
    // SAFETY: there is room for one byte.
    assert_eq!(unsafe { libc::read(fd, (&raw mut byte).cast(), 1) }, 1, "read");
    byte
}

/// close(2).
pub fn close(fd: i32) {
    // SAFETY: descriptors are owned by whoever calls this.
    check("close", unsafe { libc::close(fd) }.into());
}

/// Runs `child` in a new process, which then ends.
pub fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: this program has one thread, so the child may do what it likes.
    let pid = check("fork", unsafe { libc::fork() }.into()) as i32;
    if pid == 0 {
        child();
        // SAFETY: it takes a number.
        unsafe { libc::_exit(0) };
    }
    pid
}

/// Waits for a process, which must have ended well.
pub fn wait(pid: i32) {
    let mut status = 0;
    // SAFETY: there is room for a status.
    check("waitpid", unsafe { libc::waitpid(pid, &mut status, 0) }.into());
    assert_eq!(status, 0, "the child");
}

/// Becomes a program with one argument.
pub fn exec(program: &CStr, argument: &CStr) {
    let argv = [program.as_ptr(), argument.as_ptr(), std::ptr::null()];
    // SAFETY: a list of strings that ends with a null pointer.
    unsafe { libc::execv(program.as_ptr(), argv.as_ptr()) };
    panic!("execv: {}", std::io::Error::last_os_error());
}
