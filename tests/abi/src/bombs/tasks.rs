//! Bombs of processes, threads, memory, timers and signals.

use std::ptr::{null, null_mut};

use libc::{c_int, c_void};

use super::{in_children, refused};
use crate::support::{PAGE, block, own_path, sleep_ms};

const PRIVATE: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const BOTH: c_int = libc::PROT_READ | libc::PROT_WRITE;

/// Processes that make processes.
pub fn forks() {
    // SAFETY: one thread; no process returns but the first.
    unsafe {
        let first = libc::getpid();
        let mut failures = 0;
        while failures < 200 {
            if libc::fork() == -1 {
                failures += 1;
                if libc::getpid() != first {
                    sleep_ms(100_000);
                }
                sleep_ms(1);
            }
        }
        refused("forks");
    }
}

/// Children that end and are not waited for.
pub fn zombies() {
    let mut count = 0;
    // SAFETY: one thread; children leave.
    unsafe {
        loop {
            match libc::fork() {
                -1 => break,
                0 => libc::_exit(0),
                _ => count += 1,
            }
        }
    }
    refused(format_args!("{count} zombies"));
}

/// Attributes of a thread with a small stack.
unsafe fn small() -> libc::pthread_attr_t {
    let mut attributes = std::mem::zeroed();
    libc::pthread_attr_init(&mut attributes);
    libc::pthread_attr_setstacksize(&mut attributes, 16 << 10);
    attributes
}

/// Many threads, which all end at once.
pub fn threads() {
    extern "C" fn wait(_: *mut c_void) -> *mut c_void {
        loop {
            sleep_ms(100_000);
        }
    }
    // SAFETY: threads touch nothing.
    unsafe {
        let attributes = small();
        let mut count = 0;
        let mut thread = 0;
        while count < 10_000 && libc::pthread_create(&mut thread, &attributes, wait, null_mut()) == 0 {
            count += 1;
        }
        refused(format_args!("{count} threads"));
    }
}

/// Processes that fill memory.
pub fn memory() {
    // SAFETY: fresh memory.
    in_children(|| unsafe {
        let at = libc::mmap(null_mut(), 8 << 20, BOTH, PRIVATE, -1, 0);
        if at != libc::MAP_FAILED {
            for offset in (0..8 << 20).step_by(PAGE) {
                at.cast::<u8>().add(offset).write_volatile(1);
            }
        }
        at != libc::MAP_FAILED
    });
}

/// Files in memory that no process has mapped.
pub fn memory_files() {
    let bytes = vec![1u8; 1 << 20];
    let mut count = 0;
    // SAFETY: the bytes live.
    unsafe {
        loop {
            let file = libc::memfd_create(c"bomb".as_ptr(), 0);
            if file == -1 || libc::write(file, bytes.as_ptr().cast(), bytes.len()) <= 0 {
                break;
            }
            count += 1;
        }
    }
    refused(format_args!("{count} files"));
}

/// Processes with as many mappings as there can be.
pub fn maps() {
    // SAFETY: fresh memory.
    in_children(|| unsafe {
        let at = libc::mmap(null_mut(), PAGE << 18, BOTH, PRIVATE | libc::MAP_NORESERVE, -1, 0);
        for page in (0..1 << 18).step_by(2) {
            if libc::mprotect(at.byte_add(page * PAGE), PAGE, libc::PROT_READ) != 0 {
                return page > 0;
            }
        }
        true
    });
}

/// Programs with as long arguments as there can be.
pub fn arguments() {
    let path = own_path();
    let long = std::ffi::CString::new(vec![b'a'; 100 << 10]).unwrap_or_default();
    let mut words = vec![long.as_ptr(); 19];
    words.push(null());
    // SAFETY: the strings live; a child executes or leaves.
    unsafe {
        let mut many = vec![c"".as_ptr(); 1 << 20];
        many.push(null());
        libc::execv(path.as_ptr(), many.as_ptr());
        refused("2^20 words");
        for _ in 0..50 {
            if libc::fork() == 0 {
                libc::close(2);
                libc::execv(path.as_ptr(), words.as_ptr());
                libc::_exit(0);
            }
        }
        while libc::wait(null_mut()) > 0 {}
    }
}

/// A million timers, of one process and of its children.
pub fn timers() {
    in_children(|| {
        let _ = block(&[libc::SIGALRM]);
        let mut count = 0;
        let mut timer: c_int = 0;
        // SAFETY: `timer` lives.
        unsafe {
            while count < 1_000_000
                && libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, 0, &mut timer) == 0
            {
                let soon = [0i64, 1_000_000, 0, 1_000_000];
                libc::syscall(libc::SYS_timer_settime, timer, 0, soon.as_ptr(), 0);
                count += 1;
            }
        }
        refused(format_args!("{count} timers"));
        count > 0
    });
}

/// Signals in queues, of one process and of its children.
pub fn signals() {
    // SAFETY: no memory is involved.
    in_children(|| unsafe {
        let _ = block(&[40]);
        let mut count = 0;
        while count < 1_000_000
            && libc::sigqueue(libc::getpid(), 40, libc::sigval { sival_ptr: null_mut() }) == 0
        {
            count += 1;
        }
        refused(format_args!("{count} signals"));
        count > 0
    });
}

/// A chain of threads each of which has a lock and waits for that of the next.
pub fn futexes() {
    const MOST: usize = 2000;
    static LOCKS: [std::sync::atomic::AtomicU32; MOST + 1] =
        [const { std::sync::atomic::AtomicU32::new(0) }; MOST + 1];
    extern "C" fn hold(n: *mut c_void) -> *mut c_void {
        let n = n.addr();
        // SAFETY: the words live for ever.
        unsafe {
            libc::syscall(libc::SYS_futex, LOCKS[n].as_ptr(), libc::FUTEX_LOCK_PI, 0, 0);
            libc::syscall(libc::SYS_futex, LOCKS[n + 1].as_ptr(), libc::FUTEX_LOCK_PI, 0, 0);
        }
        null_mut()
    }
    // SAFETY: as above.
    unsafe {
        let attributes = small();
        libc::syscall(libc::SYS_futex, LOCKS[MOST].as_ptr(), libc::FUTEX_LOCK_PI, 0, 0);
        let mut thread = 0;
        for n in (0..MOST).rev() {
            if libc::pthread_create(&mut thread, &attributes, hold, std::ptr::without_provenance_mut(n)) != 0
            {
                refused(format_args!("{} threads", MOST - n));
                break;
            }
        }
        sleep_ms(500);
    }
}

/// Namespaces of all kinds, one in another, and in many processes.
pub fn namespaces() {
    const ALL: c_int = libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWCGROUP;
    in_children(|| {
        let mut count = 0;
        // SAFETY: one thread; a child goes on in its parent's place.
        unsafe {
            libc::setpgid(0, 0);
            while libc::unshare(ALL) == 0 {
                count += 1;
                match libc::fork() {
                    -1 => break,
                    0 => {}
                    _ => loop {
                        libc::pause();
                    },
                }
            }
        }
        count > 0
    });
}

/// Filters of calls, one behind another, in many processes.
pub fn filters() {
    in_children(|| {
        let mut code = vec![libc::sock_filter { code: 0x0000, jt: 0, jf: 0, k: 0 }; 4095];
        code.push(libc::sock_filter { code: 0x0006, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW });
        let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
        // SAFETY: the program lives.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            while libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) == 0 {}
        }
        true
    });
}

/// As much in one call as can be asked for.
pub fn vectors() {
    // SAFETY: the memory is fresh and lives.
    unsafe {
        let len = 1usize << 30;
        let at = libc::mmap(null_mut(), len, BOTH, PRIVATE | libc::MAP_NORESERVE, -1, 0);
        let parts = vec![libc::iovec { iov_base: at, iov_len: len }; 1024];
        let null_fd = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        let mut ends = [0; 2];
        libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0, ends.as_mut_ptr());
        libc::writev(null_fd, parts.as_ptr(), 1024);
        refused("writev");
        libc::writev(ends[0], parts.as_ptr(), 1024);
        refused("a datagram by writev");
        let own = libc::getpid();
        libc::process_vm_readv(own, parts.as_ptr(), 1024, parts.as_ptr(), 1024, 0);
        refused("process_vm_readv");
        let file = libc::open(c"/tmp/vectors".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600);
        libc::pwritev(file, parts.as_ptr(), 1024, 0);
        refused("pwritev to a tmpfs");
        let mut fds = vec![libc::pollfd { fd: null_fd, events: libc::POLLIN, revents: 0 }; 1 << 20];
        libc::poll(fds.as_mut_ptr(), 1 << 20, 0);
        refused("poll");
        libc::madvise(at, len, libc::MADV_POPULATE_WRITE);
        refused("MADV_POPULATE_WRITE");
    }
}
