//! What one who has taken over the kernel process can do on the host. Lodger is started up to the first instruction of its
//! guest, in place of which the process tries something; the host has to refuse it or to end the process.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use host_linux::backend::Backend;
use host_linux::lockdown::files::{self, Restricted};
use host_linux_skas::SkasHost;
use host_linux_tt::TtHost;
use lodger::words::{self, Asked};
use lodger::{cli, instance};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use tempfile::TempDir;

/// What to try, the words of `lodger`, and whom to attack.
const TRIED: &str = "LODGER_TEST_TRIED";
const WORDS: &str = "LODGER_TEST_WORDS";
const VICTIM: &str = "LODGER_TEST_VICTIM";
const SECRET: &str = "LODGER_TEST_SECRET";

/// Exit statuses of the process that tries.
const DONE: i32 = 40;
const REFUSED: i32 = 41;

/// What is kept from happening by Landlock, where the host has it; the other attempts are stopped by the filter of calls.
const BY_LANDLOCK: &[&str] = &[
    "read /etc/passwd",
    "read a file that was not named",
    "write a file that was not named",
    "read another process's memory",
    "end another process",
    "trace another process",
];

const ATTEMPTS: &[&str] = &[
    "read /etc/passwd",
    "read a file that was not named",
    "write a file that was not named",
    "write to the program",
    "read another process's memory",
    "copy another process's memory",
    "trace another process",
    "end another process",
    "stop another process",
    "make a socket",
    "execute a program",
    "execute a program in memory",
    "start a process",
    "make a user namespace",
    "enter a namespace",
    "mount",
    "change the root",
    "become another user",
    "become another group",
    "load a module",
    "set the clock",
    "get a descriptor of another process",
    "type into the terminal",
    "make memory code",
    "ask for io_uring",
    "load a BPF program",
    "add a key",
    "allow core dumps",
];

fn result(value: i64) -> Result<(), Errno> {
    Errno::result(value).map(drop)
}

fn attempt(what: &str) -> Result<(), Errno> {
    let number = |name: &str| std::env::var(name).unwrap_or_default().parse::<i32>().unwrap_or(0);
    let victim = number(VICTIM);
    let secret = std::env::var(SECRET).unwrap_or_default();
    let opened = |path: &str, flags| open(path, flags, Mode::empty()).map(drop);
    let path = |text: &'static std::ffi::CStr| text.as_ptr();
    let null = std::ptr::null::<u8>();
    // SAFETY: plain system calls, on constants, on buffers of this function, or with nothing; the process ends afterwards.
    unsafe {
        match what {
            "read what was named" => opened("/proc/self/maps", OFlag::O_RDONLY),
            "read /etc/passwd" => opened("/etc/passwd", OFlag::O_RDONLY),
            "read a file that was not named" => opened(&secret, OFlag::O_RDONLY),
            "write a file that was not named" => opened(&secret, OFlag::O_WRONLY),
            "write to the program" => opened("/proc/self/exe", OFlag::O_RDWR),
            "read another process's memory" => opened(&format!("/proc/{victim}/mem"), OFlag::O_RDONLY),
            "copy another process's memory" => {
                let mut byte = 0u8;
                let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
                result(libc::process_vm_readv(victim, &here, 1, &here, 1, 0) as i64)
            }
            "trace another process" => {
                result(libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, victim, 0, 0))
            }
            "end another process" => result(libc::syscall(libc::SYS_tgkill, victim, victim, libc::SIGKILL)),
            "stop another process" => result(libc::syscall(libc::SYS_kill, victim, libc::SIGTERM)),
            "make a socket" => result(libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0)),
            "execute a program" => {
                let none = [null; 1];
                result(libc::syscall(libc::SYS_execve, path(c"/bin/true"), &none, &none))
            }
            "execute a program in memory" => result(libc::syscall(libc::SYS_memfd_create, path(c"x"), 0)),
            "start a process" => result(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)),
            "make a user namespace" => result(libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER)),
            "enter a namespace" => result(libc::syscall(libc::SYS_setns, 0, 0)),
            "mount" => {
                let (source, target, kind) = (path(c"none"), path(c"/mnt"), path(c"tmpfs"));
                result(libc::syscall(libc::SYS_mount, source, target, kind, 0, 0))
            }
            "change the root" => result(libc::syscall(libc::SYS_chroot, path(c"/"))),
            "become another user" => result(libc::syscall(libc::SYS_setuid, 65534)),
            "become another group" => result(libc::syscall(libc::SYS_setgid, 65534)),
            "load a module" => result(libc::syscall(libc::SYS_init_module, null, 0, null)),
            "set the clock" => result(libc::syscall(libc::SYS_clock_settime, 0, null)),
            "get a descriptor of another process" => result(libc::syscall(libc::SYS_pidfd_getfd, 0, 0, 0)),
            "type into the terminal" => {
                result(libc::syscall(libc::SYS_ioctl, 0, libc::TIOCSTI, c"x".as_ptr()))
            }
            "make memory code" => {
                let (protection, flags) =
                    (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                result(libc::syscall(libc::SYS_mmap, 0, 4096, protection, flags, -1, 0))
            }
            "ask for io_uring" => result(libc::syscall(libc::SYS_io_uring_setup, 1, null)),
            "load a BPF program" => result(libc::syscall(libc::SYS_bpf, 0, null, 0)),
            "add a key" => result(libc::syscall(libc::SYS_add_key, null, null, null, 0, 0)),
            "allow core dumps" => {
                let most = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
                result(libc::syscall(libc::SYS_setrlimit, libc::RLIMIT_CORE, &most))
            }
            other => panic!("{other} is not known"),
        }
    }
}

/// Runs lodger with the words of the environment, and tries.
fn start<B: Backend>(own: cli::Backend) {
    let words = std::env::var(WORDS).unwrap_or_default();
    let words = words.split(' ').map(Into::into).collect();
    let Ok(Asked::Run(request)) = words::read(words, own) else { panic!("no words of `run`") };
    let tried = std::env::var(TRIED).unwrap_or_default();
    let status = instance::run_after::<B>(&request, || {
        let status = if attempt(&tried).is_ok() { DONE } else { REFUSED };
        // SAFETY: the call has no preconditions.
        unsafe { libc::_exit(status) }
    });
    panic!("lodger ended before: {status:?}");
}

/// In the processes that the tests start.
#[test]
fn a_process_that_was_taken_over() {
    match std::env::var("LODGER_TEST_BACKEND").as_deref() {
        Ok("skas") => start::<SkasHost>(cli::Backend::Skas),
        Ok("tt") => start::<TtHost>(cli::Backend::Tt),
        _ => {}
    }
}

/// The files that are used, and a process to attack.
struct World {
    dir: TempDir,
    victim: Child,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("share")).unwrap();
        for file in ["init", "secret"] {
            fs::write(dir.path().join(file), b"x").unwrap();
        }
        // An archive with nothing in it: the entry that ends one.
        let fields: String =
            [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0].map(|field| format!("{field:08x}")).concat();
        fs::write(dir.path().join("x.cpio"), format!("070701{fields}TRAILER!!!\0\0\0\0")).unwrap();
        let victim = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        World { dir, victim }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// How it ends: an exit status, or a signal.
    fn outcome(&self, what: &str, backend: &str, flags: &str) -> (Option<i32>, Option<i32>, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        // On one thread, which is then the first one, as in lodger.
        command.args(["--exact", "a_process_that_was_taken_over", "--test-threads", "1", "--nocapture"]);
        command.env("LODGER_TEST_BACKEND", backend).env(TRIED, what).env(SECRET, self.path("secret"));
        command.env(VICTIM, self.victim.id().to_string()).env("LODGER_USERLAND", self.dir.path());
        command.env(WORDS, format!("run --quiet --no-tty --backend {backend} {flags} --init /init"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), output.status.signal(), said)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

/// Whether the host has all of Landlock that is used.
fn has_landlock() -> bool {
    // It restricts one thread, which does nothing else.
    let tried = std::thread::spawn(|| files::restrict(&[], &[]).is_ok_and(Restricted::is_complete));
    tried.join().unwrap()
}

/// Tries everything with these flags of `run`; `but` is what this backend has to be able to do.
fn nothing_is_reached(backend: &str, flags: &str, but: &[&str]) {
    let mut world = World::new();
    let flags = flags
        .replace("ARCHIVE", &world.path("x.cpio"))
        .replace("ROOT", &world.path("root"))
        .replace("SHARE", &world.path("share"));
    let landlock = has_landlock();
    let (status, signal, said) = world.outcome("read what was named", backend, &flags);
    assert_eq!((status, signal), (Some(DONE), None), "what is allowed works: {said}");
    // Without the lock-down, the attempts would do something.
    let (status, _, said) = world.outcome("read /etc/passwd", backend, &format!("{flags} --no-lockdown"));
    assert_eq!(status, Some(DONE), "{said}");
    let mut table = String::new();
    for what in ATTEMPTS.iter().filter(|what| !but.contains(what)) {
        if BY_LANDLOCK.contains(what) && !landlock {
            eprintln!("{what}: this host has no Landlock");
            continue;
        }
        let (status, signal, said) = world.outcome(what, backend, &flags);
        let how = match (status, signal) {
            (Some(REFUSED), _) => "refused",
            (_, Some(libc::SIGSYS)) => "the process is ended",
            _ => panic!("{what} on {backend} {flags}: {status:?} {signal:?} {said}"),
        };
        table += &format!("{backend:5} {what:36} {how}\n");
    }
    println!("{table}");
    assert_eq!(world.victim.try_wait().unwrap(), None, "the other process lives");
    assert_eq!(fs::read(Path::new(&world.path("secret"))).unwrap(), b"x");
}

#[test]
fn nothing_is_reached_on_skas() {
    nothing_is_reached("skas", "--trap seccomp --root ARCHIVE", &[]);
}

#[test]
fn nothing_is_reached_by_directories_that_are_named() {
    nothing_is_reached("skas", "--trap seccomp --root ROOT --share SHARE:/mnt", &[]);
}

#[test]
fn nothing_is_reached_on_skas_with_ptrace() {
    nothing_is_reached("skas", "--trap ptrace --root ROOT", &[]);
}

#[test]
fn nothing_is_reached_on_tt() {
    // Guests' code is mapped in this very process.
    nothing_is_reached("tt", "--root ROOT", &["make memory code"]);
}
