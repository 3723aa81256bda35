//! A small process that makes native children: for each request one, which is alone with a file system of its own, a page of
//! data at [`DATA`], and memory that it shares with whoever asked.
//!
//! It is forked off once and allocates nothing afterwards: other threads of a test may have had any lock.

use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::call::{DATA, DATA_LEN};

/// Bytes of the memory that is shared.
pub const SHARED: usize = 1 << 20;

/// What a child does with what is shared.
pub type Body = fn(&mut [u64]);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It went through its body.
    Done,
    /// It was ended by this signal.
    Signal(i32),
    /// It has no file system of its own.
    NoPlace,
}

/// See the module.
pub struct Zygote {
    socket: i32,
    shared: usize,
}

/// The one of this process; an error is a reason why there is none.
pub fn get() -> Result<MutexGuard<'static, Zygote>, &'static str> {
    static ZYGOTE: OnceLock<Result<Mutex<Zygote>, &'static str>> = OnceLock::new();
    match ZYGOTE.get_or_init(|| Zygote::start().map(Mutex::new)) {
        Ok(zygote) => Ok(zygote.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(reason) => Err(reason),
    }
}

const PLACE: &CStr = c"/dev/shm";
const TMPFS: &CStr = c"tmpfs";

impl Zygote {
    fn start() -> Result<Zygote, &'static str> {
        let mut sockets = [0; 2];
        // SAFETY: a system call with a place for two numbers.
        if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, sockets.as_mut_ptr()) } != 0 {
            return Err("there is no socket");
        }
        let shared = map(0, SHARED, libc::MAP_SHARED).ok_or("there is no memory to share")?;
        let ids = id_files();
        // SAFETY: the child makes system calls and writes to memory of its own only.
        match unsafe { libc::fork() } {
            -1 => Err("there is no process"),
            0 => {
                // Else it would never hear that nobody asks any more.
                // SAFETY: it is the parent's.
                unsafe { libc::close(sockets[0]) };
                serve(sockets[1], shared, &ids)
            }
            _ => {
                // SAFETY: it is the child's.
                unsafe { libc::close(sockets[1]) };
                Ok(Zygote { socket: sockets[0], shared })
            }
        }
    }

    /// Runs `body` in a child, with `request` in what is shared, and gives what is there afterwards.
    pub fn run(&mut self, body: Body, request: &[u64]) -> (End, Vec<u64>) {
        // SAFETY: the zygote and its children use the memory between this request and its answer only.
        let shared = unsafe { words(self.shared) };
        shared.fill(0);
        shared[..request.len()].copy_from_slice(request);
        let answer = if send(self.socket, body as usize as u64) { receive(self.socket) } else { None };
        let status = answer.expect("the process that makes native children is there") as i32;
        let end = match () {
            () if status == -1 => End::NoPlace,
            () if libc::WIFSIGNALED(status) => End::Signal(libc::WTERMSIG(status)),
            () => End::Done,
        };
        (end, shared.to_vec())
    }
}

/// The words of the memory at `at`, which is [`SHARED`] bytes long.
///
/// # Safety
/// Nobody else may use it for as long as the slice lives.
unsafe fn words(at: usize) -> &'static mut [u64] {
    // SAFETY: it is mapped for as long as the process lives.
    unsafe { std::slice::from_raw_parts_mut(at as *mut u64, SHARED / 8) }
}

fn map(at: u64, len: usize, flags: i32) -> Option<usize> {
    let fixed = if at == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let (flags, prot) = (flags | fixed | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: it is mapped where nothing is.
    let made = unsafe { libc::mmap(at as *mut libc::c_void, len, prot, flags, -1, 0) };
    (made != libc::MAP_FAILED).then_some(made as usize)
}

/// Sends a number.
fn send(socket: i32, number: u64) -> bool {
    let bytes = number.to_ne_bytes();
    // SAFETY: a system call with the bytes above.
    unsafe { libc::write(socket, bytes.as_ptr().cast(), 8) == 8 }
}

/// Receives one, whatever signals come meanwhile.
fn receive(socket: i32) -> Option<u64> {
    let mut bytes = [0; 8];
    loop {
        // SAFETY: a system call with the bytes above.
        match unsafe { libc::read(socket, bytes.as_mut_ptr().cast(), 8) } {
            8 => return Some(u64::from_ne_bytes(bytes)),
            // SAFETY: the address of a number of this thread.
            -1 if unsafe { *libc::__errno_location() } == libc::EINTR => {}
            _ => return None,
        }
    }
}

/// The zygote's life: to make a child for each request, until nobody is there to ask.
fn serve(socket: i32, shared: usize, ids: &[IdFile]) -> ! {
    // SAFETY: system calls with constants, numbers and memory of this function.
    unsafe {
        // A fuzzer has handlers; it ends with the socket, for the thread that made it may end before.
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        // Only one who may mount nothing needs a user namespace for it.
        let alone = libc::unshare(libc::CLONE_NEWNS) == 0
            || libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) == 0 && become_root(ids);
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let alone = alone
            && libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()) == 0
            && map(DATA, DATA_LEN as usize, libc::MAP_PRIVATE).is_some();
        while let Some(message) = receive(socket) {
            let body: Body = std::mem::transmute(message as usize);
            let status = if alone { make(body, shared) } else { -1 };
            send(socket, status as u64);
        }
        libc::_exit(0);
    }
}

/// A file of `/proc` that says who is who in a user namespace, and what is to be written to it.
type IdFile = (&'static CStr, String);

/// Those that make root of a new user namespace of who is here. Groups can be mapped only once none can be given up.
fn id_files() -> [IdFile; 3] {
    // SAFETY: system calls without arguments.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    [
        (c"/proc/self/setgroups", "deny".into()),
        (c"/proc/self/uid_map", format!("0 {uid} 1\n")),
        (c"/proc/self/gid_map", format!("0 {gid} 1\n")),
    ]
}

/// Root of a new user namespace is who made it.
fn become_root(ids: &[IdFile]) -> bool {
    ids.iter().all(|(path, text)| {
        // SAFETY: system calls with a path and bytes that live as long.
        unsafe {
            let file = libc::open(path.as_ptr(), libc::O_WRONLY);
            let written = libc::write(file, text.as_ptr().cast(), text.len());
            libc::close(file);
            written == text.len() as isize
        }
    })
}

/// Makes a child, with an empty file system as its root, and gives its status; -1 if that cannot be had.
fn make(body: Body, shared: usize) -> i32 {
    // SAFETY: system calls with constants and memory of this function; the child ends in here.
    unsafe {
        let data = c"mode=755".as_ptr().cast();
        if libc::mount(TMPFS.as_ptr(), PLACE.as_ptr(), TMPFS.as_ptr(), 0, data) != 0 {
            return -1;
        }
        let mut status = -1;
        let child = libc::fork();
        if child == 0 {
            libc::alarm(3);
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            for standard in 0..3 {
                libc::dup2(null, standard);
            }
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
            let inside = libc::chroot(PLACE.as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0;
            libc::umask(0o022);
            if inside {
                body(words(shared));
            }
            libc::_exit(0);
        }
        if child > 0 {
            libc::waitpid(child, &mut status, 0);
        }
        libc::umount2(PLACE.as_ptr(), libc::MNT_DETACH);
        status
    }
}
