//! The system calls that are measured, as thin as they can be. Whatever fails ends the program: a wrong figure is worse
//! than none.

use std::ffi::{CStr, CString, c_void};
use std::sync::atomic::AtomicU32;

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

/// Ends this process after so many seconds, whatever it does then.
pub fn end_after(seconds: u32) {
    // SAFETY: it takes a number.
    unsafe { libc::alarm(seconds) };
}

/// Where files are in memory: in /dev/shm natively, anywhere in a guest.
pub const IN_MEMORY: [&str; 3] = ["/dev/shm", "/tmp", "/"];

/// A file in memory.
pub struct Scratch {
    name: CString,
    fd: i32,
}

impl Scratch {
    /// With `len` bytes, all of them written.
    pub fn new(len: usize) -> Scratch {
        let bytes = vec![b'x'; len];
        for dir in IN_MEMORY {
            let path = format!("{dir}/bench.{}", std::process::id());
            if std::fs::write(&path, &bytes).is_err() {
                continue;
            }
            let name = CString::new(path).expect("no NUL in it");
            // SAFETY: the name is a string.
            let fd = unsafe { libc::open(name.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
            check("open", fd.into());
            return Scratch { name, fd };
        }
        panic!("no folder for a file");
    }

    /// Reads from its start.
    pub fn read(&self, buf: &mut [u8]) {
        // SAFETY: the buffer has the length that is given.
        let n = unsafe { libc::pread(self.fd, buf.as_mut_ptr().cast(), buf.len(), 0) };
        assert_eq!(n, buf.len() as isize, "pread");
    }

    /// Its length, by name.
    pub fn stat_size(&self) -> i64 {
        size_of(&self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        close(self.fd);
        unlink(&self.name);
    }
}

/// The length of a file, by name.
pub fn size_of(name: &CStr) -> i64 {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the name is a string and there is room for the answer.
    check("stat", unsafe { libc::stat(name.as_ptr(), stat.as_mut_ptr()) }.into());
    // SAFETY: the call succeeded, so it filled the structure.
    unsafe { stat.assume_init() }.st_size
}

/// open(2); what it makes is everybody's.
pub fn open(name: &CStr, flags: i32) -> i32 {
    // SAFETY: the name is a string.
    check("open", unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, 0o666) }.into()) as i32
}

/// unlink(2).
pub fn unlink(name: &CStr) {
    // SAFETY: the name is a string.
    check("unlink", unsafe { libc::unlink(name.as_ptr()) }.into());
}

/// rename(2).
pub fn rename(from: &CStr, to: &CStr) {
    // SAFETY: both names are strings.
    check("rename", unsafe { libc::rename(from.as_ptr(), to.as_ptr()) }.into());
}

/// Writes all of it, however many calls that takes.
pub fn write_all(fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes have the length that is given.
        let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        bytes = &bytes[check("write", n as i64) as usize..];
    }
}

/// Writes to the start of a file.
pub fn write_at_start(fd: i32, bytes: &[u8]) {
    // SAFETY: the bytes have the length that is given.
    let n = unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), 0) };
    assert_eq!(n, bytes.len() as isize, "pwrite");
}

/// Reads what is there, at least a byte.
pub fn read_some(fd: i32, buf: &mut [u8]) -> usize {
    // SAFETY: the buffer has the length that is given.
    let n = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
    assert!(n > 0, "read: {n}");
    n as usize
}

/// Memory that is mapped.
pub struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    /// `len` bytes of anonymous private memory.
    pub fn anonymous(len: usize) -> Mapping {
        Mapping::new(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// `len` bytes of zeros that children share.
    pub fn shared(len: usize) -> Mapping {
        Mapping::new(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    /// `len` bytes that may not be touched.
    pub fn forbidden(len: usize) -> Mapping {
        Mapping::new(len, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// Where it begins.
    pub fn start(&self) -> *const u8 {
        self.at
    }

    /// The first `len` bytes of a file, to be read.
    pub fn of(file: &Scratch, len: usize) -> Mapping {
        Mapping::new(len, libc::PROT_READ, libc::MAP_PRIVATE, file.fd)
    }

    fn new(len: usize, prot: i32, flags: i32, fd: i32) -> Mapping {
        // SAFETY: a new mapping touches no memory that is in use.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap");
        Mapping { at: at.cast(), len }
    }

    /// Writes a byte every `step` bytes; not for a file's mapping.
    pub fn write_each(&self, step: usize) {
        for offset in (0..self.len).step_by(step) {
            // SAFETY: the offset is inside the mapping, which is ours alone.
            unsafe { self.at.add(offset).write_volatile(1) };
        }
    }

    /// Reads a byte every `step` bytes.
    pub fn read_each(&self, step: usize) {
        for offset in (0..self.len).step_by(step) {
            // SAFETY: the offset is inside the mapping, which is readable.
            unsafe { self.at.add(offset).read_volatile() };
        }
    }

    /// The first word.
    pub fn word(&self) -> &AtomicU32 {
        // SAFETY: a mapping begins with an aligned page of initialised bytes and lives as long as the reference; this
        // program writes the word of a shared mapping in no other way.
        unsafe { AtomicU32::from_ptr(self.at.cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more.
        check("munmap", unsafe { libc::munmap(self.at.cast(), self.len) }.into());
    }
}

/// Sleeps while the word has this value. Wakes too early at times: the caller looks again.
pub fn futex_wait(word: &AtomicU32, value: u32) {
    // SAFETY: the word lives as long as the call; without a timeout.
    let done = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            value,
            std::ptr::null::<libc::timespec>(),
        )
    };
    let error = std::io::Error::last_os_error();
    assert!(done == 0 || error.raw_os_error() == Some(libc::EAGAIN), "futex: {error}");
}

/// Wakes one that sleeps on the word, if there is one.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word lives as long as the call.
    check("futex", unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) });
}

/// Whether two processes have one address space.
pub fn same_space(one: i32, other: i32) -> bool {
    const KCMP_VM: i32 = 1;
    // SAFETY: it takes numbers.
    check("kcmp", unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) }) == 0
}

/// Makes `number` another name of a descriptor, which lives through exec.
pub fn become_stream(fd: i32, number: i32) {
    // SAFETY: it takes numbers; this process uses its standard streams no more.
    check("dup2", unsafe { libc::dup2(fd, number) }.into());
}

/// A pipe: the end to read from, the end to write to.
pub fn pipe() -> (i32, i32) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two descriptors.
    check("pipe2", unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into());
    (fds[0], fds[1])
}

/// A pair of connected Unix sockets.
pub fn socket_pair() -> (i32, i32) {
    let mut fds = [0; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: there is room for two descriptors.
    check("socketpair", unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into());
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
    // SAFETY: no thread is alive but this one, so the child may do what it likes.
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

/// Becomes this program anew, with one argument.
pub fn exec_self(argument: &CStr) {
    let program = c"/proc/self/exe";
    let argv = [program.as_ptr(), argument.as_ptr(), std::ptr::null()];
    // SAFETY: a list of strings that ends with a null pointer.
    unsafe { libc::execv(program.as_ptr(), argv.as_ptr()) };
    panic!("execv: {}", std::io::Error::last_os_error());
}

/// This program anew, with one argument, in a new process.
pub fn spawn_self(argument: &CStr) -> i32 {
    let program = c"/proc/self/exe";
    let argv = [program.as_ptr().cast_mut(), argument.as_ptr().cast_mut(), std::ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: lists of strings that end with a null pointer, room for a process id, nothing else asked for.
    let error = unsafe {
        let envp = argv[2..].as_ptr();
        libc::posix_spawn(&mut pid, program.as_ptr(), std::ptr::null(), std::ptr::null(), argv.as_ptr(), envp)
    };
    assert_eq!(error, 0, "posix_spawn");
    pid
}

/// A thread of the C library's: the standard library's would also map a stack for signals.
pub struct Thread(libc::pthread_t);

impl Thread {
    /// Starts one.
    pub fn start<F: FnOnce() + Send + 'static>(body: F) -> Thread {
        extern "C" fn main<F: FnOnce()>(body: *mut c_void) -> *mut c_void {
            // SAFETY: it is the box that `start` gave to this thread alone.
            let body = unsafe { Box::from_raw(body.cast::<F>()) };
            body();
            std::ptr::null_mut()
        }
        let mut thread = std::mem::MaybeUninit::uninit();
        let body = Box::into_raw(Box::new(body)).cast();
        // SAFETY: `main` gets what it wants, and there is room for the thread's name.
        let error = unsafe { libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), main::<F>, body) };
        assert_eq!(error, 0, "pthread_create");
        // SAFETY: the call succeeded, so it wrote the name.
        Thread(unsafe { thread.assume_init() })
    }

    /// Waits for its end.
    pub fn join(self) {
        // SAFETY: a thread is joined once, as this takes the only name of it.
        assert_eq!(unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) }, 0, "pthread_join");
    }
}

/// What the kernel calls for a signal.
pub type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);

/// Sets the handler of a signal; it must do nothing that a signal handler may not do.
pub fn handle(signal: i32, handler: Handler) {
    let action = libc::sigaction {
        sa_sigaction: handler as usize,
        // SAFETY: zeros are an empty set.
        sa_mask: unsafe { std::mem::zeroed() },
        sa_flags: libc::SA_SIGINFO,
        sa_restorer: None,
    };
    // SAFETY: the action is complete, and its handlers here touch an atomic or their own context.
    check("sigaction", unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }.into());
}

/// kill(2).
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: it takes numbers.
    check("kill", unsafe { libc::kill(pid, signal) }.into());
}
