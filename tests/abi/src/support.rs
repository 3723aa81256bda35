//! What the cases share: verdicts, checked calls, children, signals that are taken down, memory.

use std::ffi::{CStr, CString};
use std::fmt::{Debug, Display};
use std::panic::Location;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};

use libc::{c_int, c_void};

/// Why a case stopped.
#[derive(Debug)]
pub enum Stop {
    /// The kernel did something else.
    Failed(String),
    /// The case cannot be tried here.
    Skipped(String),
}

/// What cases and helpers return.
pub type Done<T = ()> = Result<T, Stop>;

/// One case.
pub struct Case {
    /// Its name within its family.
    pub name: &'static str,
    /// Its body; a single-threaded process in an empty working directory calls it.
    pub run: unsafe fn() -> Done,
}

/// A family's list: each case under the name of its function.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$($crate::support::Case { name: stringify!($name), run: $name }),*] };
}

/// The status that says "skipped".
pub const SKIPPED: c_int = 77;
/// Bytes in a page.
pub const PAGE: usize = 4096;

/// What a system call returns: -1 (or `MAP_FAILED`) is a failure.
pub trait Ret: Copy {
    /// The value as a number.
    fn number(self) -> i64;
}

impl Ret for i32 {
    fn number(self) -> i64 {
        self.into()
    }
}
impl Ret for i64 {
    fn number(self) -> i64 {
        self
    }
}
impl Ret for isize {
    fn number(self) -> i64 {
        self as i64
    }
}
impl<T> Ret for *mut T {
    fn number(self) -> i64 {
        self as i64
    }
}

/// The calling thread's errno.
pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// An error number as people read it.
pub fn name_of(errno: c_int) -> String {
    format!("{} (errno {errno})", std::io::Error::from_raw_os_error(errno))
}

/// Fails.
#[track_caller]
pub fn fail<T>(why: impl Display) -> Done<T> {
    let at = Location::caller();
    let file = at.file().rsplit('/').next().unwrap_or_default();
    Err(Stop::Failed(format!("{file}:{}: {why}", at.line())))
}

/// Skips.
pub fn skip<T>(why: impl Display) -> Done<T> {
    Err(Stop::Skipped(why.to_string()))
}

/// Fails unless `holds`.
#[track_caller]
pub fn check(holds: bool, what: &str) -> Done {
    if holds { Ok(()) } else { fail(format!("not true: {what}")) }
}

/// Fails unless `got == want`.
#[track_caller]
pub fn eq<A: PartialEq<B> + Debug, B: Debug>(got: A, want: B) -> Done {
    if got == want { Ok(()) } else { fail(format!("got {got:?}, want {want:?}")) }
}

/// Fails if the call failed, with its errno; returns what it returned.
#[track_caller]
pub fn ok<T: Ret>(ret: T) -> Done<T> {
    if ret.number() != -1 {
        return Ok(ret);
    }
    fail(format!("call failed: {}", name_of(errno())))
}

/// Fails unless the call failed with `want`.
#[track_caller]
pub fn fails<T: Ret>(ret: T, want: c_int) -> Done {
    let got = errno();
    if ret.number() != -1 {
        return fail(format!("returned {}, want {}", ret.number(), name_of(want)));
    }
    if got != want {
        return fail(format!("got {}, want {}", name_of(got), name_of(want)));
    }
    Ok(())
}

/// Skips unless this is root.
pub fn need_root() -> Done {
    // SAFETY: no memory is involved.
    if unsafe { libc::geteuid() } == 0 { Ok(()) } else { skip("needs root") }
}

/// Becomes the user 65534 if this is root. For children.
pub fn drop_root() -> Done {
    // SAFETY: no memory is involved, but for an empty list of groups.
    unsafe {
        if libc::geteuid() == 0 {
            ok(libc::setgroups(0, std::ptr::null()))?;
            ok(libc::setresgid(65534, 65534, 65534))?;
            ok(libc::setresuid(65534, 65534, 65534))?;
        }
    }
    Ok(())
}

/// The exit status of a verdict, after saying on stderr what is wrong.
pub fn conclude(done: Done) -> c_int {
    let (why, status) = match done {
        Ok(()) => return 0,
        Err(Stop::Failed(why)) => (why, 1),
        Err(Stop::Skipped(why)) => (why, SKIPPED),
    };
    let line = format!("{why}\n");
    // SAFETY: the buffer lives.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    status
}

/// Forks a child that runs `body` and exits 0, 1 (having said why on stderr) or 77.
#[track_caller]
pub fn spawn(body: impl FnOnce() -> Done) -> Done<c_int> {
    // SAFETY: the process has one thread, and the child leaves without unwinding.
    unsafe {
        let pid = ok(libc::fork())?;
        if pid == 0 {
            libc::_exit(conclude(body()));
        }
        Ok(pid)
    }
}

/// Waits for a child and returns its status word.
#[track_caller]
pub fn status(pid: c_int) -> Done<c_int> {
    let mut word = 0;
    // SAFETY: `word` lives.
    let got = ok(unsafe { libc::waitpid(pid, &mut word, libc::__WALL) })?;
    eq(got, pid)?;
    Ok(word)
}

/// Waits for a child of [`spawn`] and hands its verdict on.
#[track_caller]
pub fn join(pid: c_int) -> Done {
    let word = status(pid)?;
    if libc::WIFEXITED(word) && libc::WEXITSTATUS(word) == SKIPPED {
        return skip("a child skipped");
    }
    if word != 0 { fail(format!("a child ended with {}", describe(word))) } else { Ok(()) }
}

/// A child that sleeps for nine seconds.
#[track_caller]
pub fn sleeping() -> Done<c_int> {
    spawn(|| {
        sleep_ms(9000);
        Ok(())
    })
}

/// Kills a child, which must die of that.
#[track_caller]
pub fn end(pid: c_int) -> Done {
    // SAFETY: no memory is involved.
    ok(unsafe { libc::kill(pid, libc::SIGKILL) })?;
    dies_of(pid, libc::SIGKILL)
}

/// Runs `body` in a child, to its end.
#[track_caller]
pub fn in_child(body: impl FnOnce() -> Done) -> Done {
    join(spawn(body)?)
}

/// Waits for a child that must die of `signal`.
#[track_caller]
pub fn dies_of(pid: c_int, signal: c_int) -> Done {
    let word = status(pid)?;
    if libc::WIFSIGNALED(word) && libc::WTERMSIG(word) == signal {
        return Ok(());
    }
    fail(format!("{}, want signal {signal}", describe(word)))
}

/// A status word in words.
pub fn describe(word: c_int) -> String {
    if libc::WIFEXITED(word) {
        format!("status {}", libc::WEXITSTATUS(word))
    } else if libc::WIFSIGNALED(word) {
        format!("signal {}", libc::WTERMSIG(word))
    } else {
        format!("status word {word:#x}")
    }
}

/// Sleeps, even when signals come.
pub fn sleep_ms(ms: i64) {
    let mut left = libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    // SAFETY: `left` lives.
    while unsafe { libc::nanosleep(&left, &mut left) } == -1 && errno() == libc::EINTR {}
}

/// The monotonic clock in milliseconds.
pub fn now_ms() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Waits up to three seconds for something to come true.
#[track_caller]
pub fn soon(what: &str, mut holds: impl FnMut() -> bool) -> Done {
    let end = now_ms() + 3000;
    while !holds() {
        if now_ms() > end {
            return fail(format!("did not happen in time: {what}"));
        }
        sleep_ms(1);
    }
    Ok(())
}

/// The state letter of a process or thread in /proc; a space when there is none.
pub fn state(pid: c_int) -> char {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or(' ')
}

/// Waits until a process sleeps in a system call, as well as /proc can tell; else just a while.
pub fn asleep(pid: c_int) {
    if state(pid) == ' ' {
        return sleep_ms(30);
    }
    let end = now_ms() + 2000;
    while state(pid) != 'S' && now_ms() < end {
        sleep_ms(1);
    }
    // Asleep may still be the fork's own end: give it the time to reach its call.
    sleep_ms(10);
}

/// A pipe: (read end, write end).
#[track_caller]
pub fn pipe() -> Done<(c_int, c_int)> {
    let mut ends = [0; 2];
    // SAFETY: the array holds two descriptors.
    ok(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    Ok((ends[0], ends[1]))
}

/// A file in the working directory with that content, open for reading and writing at its start.
#[track_caller]
pub fn file(name: &CStr, content: &[u8]) -> Done<c_int> {
    // SAFETY: name and content live.
    unsafe {
        let fd = ok(libc::open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o644))?;
        eq(ok(libc::write(fd, content.as_ptr().cast(), content.len()))?, content.len() as isize)?;
        ok(libc::lseek(fd, 0, libc::SEEK_SET))?;
        Ok(fd)
    }
}

/// Writes all of it.
#[track_caller]
pub fn put(fd: c_int, bytes: &[u8]) -> Done {
    // SAFETY: the buffer lives.
    let n = ok(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })?;
    eq(n, bytes.len() as isize)
}

/// One read of up to 64 KiB.
#[track_caller]
pub fn get(fd: c_int) -> Done<Vec<u8>> {
    let mut buffer = vec![0u8; 65536];
    // SAFETY: the buffer is that long.
    let n = ok(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) })?;
    buffer.truncate(n as usize);
    Ok(buffer)
}

/// One byte, which somebody else writes, or the end.
pub fn got_one(fd: c_int) -> bool {
    let mut byte = 0u8;
    // SAFETY: the byte lives.
    unsafe { libc::read(fd, (&raw mut byte).cast(), 1) == 1 }
}

/// Private anonymous memory, readable and writable.
#[track_caller]
pub fn memory(len: usize) -> Done<*mut u8> {
    map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
}

/// Memory that children share.
#[track_caller]
pub fn shared(len: usize) -> Done<*mut u8> {
    map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
}

/// Maps from the start of `fd`.
#[track_caller]
pub fn map(len: usize, prot: c_int, flags: c_int, fd: c_int) -> Done<*mut u8> {
    // SAFETY: without MAP_FIXED nothing that is in use is replaced.
    Ok(ok(unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) })?.cast())
}

/// A counter that children share.
#[track_caller]
pub fn counter() -> Done<&'static AtomicI32> {
    // SAFETY: the page is zeroed, aligned, and never unmapped.
    Ok(unsafe { &*shared(PAGE)?.cast::<AtomicI32>() })
}

/// How many signals [`note`] took down.
pub static SIGNALS: AtomicUsize = AtomicUsize::new(0);
/// Its number, `si_code`, `si_pid`, `si_value` and `si_addr`, of the last one.
pub static LAST_SIGNAL: AtomicI32 = AtomicI32::new(0);
/// See [`LAST_SIGNAL`].
pub static LAST_CODE: AtomicI32 = AtomicI32::new(0);
/// See [`LAST_SIGNAL`].
pub static LAST_PID: AtomicI32 = AtomicI32::new(0);
/// See [`LAST_SIGNAL`].
pub static LAST_VALUE: AtomicU64 = AtomicU64::new(0);
/// See [`LAST_SIGNAL`].
pub static LAST_ADDR: AtomicU64 = AtomicU64::new(0);

/// A handler that only takes the signal down.
pub extern "C" fn note(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a siginfo; which of its fields mean something is the case's affair.
    unsafe {
        LAST_SIGNAL.store(signal, SeqCst);
        LAST_CODE.store((*info).si_code, SeqCst);
        LAST_PID.store((*info).si_pid(), SeqCst);
        LAST_VALUE.store((*info).si_value().sival_ptr as u64, SeqCst);
        LAST_ADDR.store((*info).si_addr() as u64, SeqCst);
    }
    SIGNALS.fetch_add(1, SeqCst);
}

/// The type of a handler.
pub type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Installs a handler with SA_SIGINFO and `flags`.
#[track_caller]
pub fn on(signal: c_int, handler: Handler, flags: c_int) -> Done {
    // SAFETY: the handler has the form that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | flags;
        ok(libc::sigaction(signal, &action, std::ptr::null_mut()))?;
    }
    Ok(())
}

/// Sets a disposition: `SIG_DFL` or `SIG_IGN`.
#[track_caller]
pub fn dispose(signal: c_int, disposition: usize) -> Done {
    // SAFETY: one of the two constants.
    check(unsafe { libc::signal(signal, disposition) } != libc::SIG_ERR, "signal() works")
}

/// A set of signals.
pub fn set(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: a zeroed set is a set.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Blocks signals.
pub fn block(signals: &[c_int]) -> Done {
    // SAFETY: the set lives.
    ok(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set(signals), std::ptr::null_mut()) }).map(drop)
}

/// Unblocks signals.
pub fn unblock(signals: &[c_int]) -> Done {
    // SAFETY: the set lives.
    ok(unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set(signals), std::ptr::null_mut()) }).map(drop)
}

/// A time span.
pub fn span(ms: i64) -> libc::timespec {
    libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }
}

/// The path of this program.
pub fn own_path() -> CString {
    let named = std::env::args_os().next().unwrap_or_default().into_encoded_bytes();
    let path = match std::fs::read_link("/proc/self/exe") {
        Ok(path) if !named.starts_with(b"/") => path.into_os_string().into_encoded_bytes(),
        _ => named,
    };
    CString::new(path).unwrap_or_default()
}

/// Runs this program with `words` and an environment, and returns what it wrote to stdout, and its status word.
#[track_caller]
pub fn run_self(words: &[&CStr], env: &[&CStr]) -> Done<(String, c_int)> {
    run_program(&own_path(), words, env)
}

/// The same with the program of that path.
#[track_caller]
pub fn run_program(path: &CStr, words: &[&CStr], env: &[&CStr]) -> Done<(String, c_int)> {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        // SAFETY: the strings live until execve has read them.
        unsafe {
            ok(libc::dup2(w, 1))?;
            ok(libc::close(r))?;
            ok(libc::close(w))?;
            exec(path, words, env)
        }
    })?;
    let mut out = Vec::new();
    // SAFETY: the descriptor is ours.
    unsafe { libc::close(w) };
    loop {
        let some = get(r)?;
        if some.is_empty() {
            break;
        }
        out.extend(some);
    }
    // SAFETY: as above.
    unsafe { libc::close(r) };
    Ok((String::from_utf8_lossy(&out).into_owned(), status(pid)?))
}

/// `execve(2)`, with `path` as the first word; returns only when it failed.
#[track_caller]
pub fn exec(path: &CStr, words: &[&CStr], env: &[&CStr]) -> Done {
    let mut argv = vec![path.as_ptr()];
    argv.extend(words.iter().map(|word| word.as_ptr()));
    argv.push(std::ptr::null());
    let mut envp: Vec<_> = env.iter().map(|word| word.as_ptr()).collect();
    envp.push(std::ptr::null());
    // SAFETY: both lists are NULL-terminated and their strings live.
    ok(unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) }).map(drop)
}
