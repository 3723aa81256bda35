//! The spawner: a small process, forked before RAM is mapped and threads run, that makes stubs on request.
//!
//! It ends when its socket does, that is with the kernel, whatever ends that; and stubs end with it (PDEATHSIG, which
//! follows the thread that made them: the spawner has only one). It is a session of its own, so that no signal of the
//! user's terminal reaches it or a stub. It holds its socket and the descriptors of stubs, and none of the kernel's
//! rights to more.
//!
//! It is made in two steps. A fork inherits the restartable sequence (`rseq(2)`) that the C library registered, and in
//! a stub, where that memory is unmapped, the host would kill the process for it. A thread-like clone does not inherit
//! it, so the fork makes the spawner with CLONE_VM and CLONE_PARENT and ends.
//!
//! Code that runs after the fork uses system calls only: another thread of the kernel may have held any lock.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use host_linux::lockdown::{capabilities, dumps};
use host_linux::ram::RamFile;
use kernel_core::host::{HostError, PAGE_SIZE};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::clock_image::ClockImage;
use crate::layout::{
    CLOCK_CODE, CODE, DATA_FD, DONE_FD, RAM_FD, REQUESTS_FD, SOCKET_FD, data_area, request_page,
};
use crate::{ptrace, seccomp};

/// Bytes of the spawner's stack.
const STACK: usize = 64 * 1024;

/// The kernel's side of the spawner. Requests are answered in order.
pub struct Spawner {
    socket: Option<OwnedFd>,
    pid: i32,
}

impl Spawner {
    /// Starts it; stubs will know `ram`, and find their code at the start of `requests` and that of `clocks` at
    /// [`CLOCK_CODE`]. With `shared`, they are stubs of the seccomp trap.
    pub fn start(
        ram: &RamFile,
        requests: &RamFile,
        clocks: Option<&ClockImage>,
        shared: Option<&seccomp::Files>,
    ) -> io::Result<Spawner> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let mut fds = vec![
            (RAM_FD, ram.as_fd().as_raw_fd()),
            (REQUESTS_FD, requests.as_fd().as_raw_fd()),
            (SOCKET_FD, theirs.as_raw_fd()),
        ];
        if let Some(shared) = shared {
            fds.extend([
                (DATA_FD, shared.data.as_fd().as_raw_fd()),
                (DONE_FD, shared.done.as_fd().as_raw_fd()),
            ]);
        }
        let kind = Kind { clocks: clocks.map(Clocks::of), seccomp: shared.is_some() };
        let order = Order { fds, kind };
        // SAFETY: a plain fork without an exit signal; the child only makes system calls.
        let child = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
        match child {
            0 => first_step(&order),
            -1 => return Err(io::Error::last_os_error()),
            _ => {}
        }
        drop(theirs);
        wait(child as i32);
        let mut spawner = Spawner { socket: Some(ours), pid: 0 };
        spawner.pid = spawner.answer().map_err(|errno| io::Error::from_raw_os_error(errno as i32))?;
        Ok(spawner)
    }

    /// Asks for a stub whose request page is number `slot` of the file.
    pub fn request(&self, slot: u32) -> Result<(), HostError> {
        let Some(socket) = &self.socket else { return Err(HostError::TooManyProcesses) };
        let sent = send(socket.as_raw_fd(), &slot.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL);
        sent.map(drop).map_err(|_| HostError::TooManyProcesses)
    }

    /// The process id of the stub asked for first, waiting for it.
    pub fn stub(&self) -> Result<i32, HostError> {
        self.answer().map_err(|errno| match errno {
            Errno::ENOMEM => HostError::OutOfMemory,
            _ => HostError::TooManyProcesses,
        })
    }

    fn answer(&self) -> Result<i32, Errno> {
        let mut answer = [0; 4];
        let socket = self.socket.as_ref().ok_or(Errno::EPIPE)?;
        loop {
            match recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Ok(4) => break,
                Ok(_) => return Err(Errno::EPIPE),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        match i32::from_ne_bytes(answer) {
            pid if pid > 0 => Ok(pid),
            errno => Err(Errno::from_raw(errno.saturating_neg())),
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.socket = None;
        if self.pid != 0 {
            wait(self.pid);
        }
    }
}

/// What the fork is told.
struct Order {
    /// The descriptors to keep: the numbers that they get, which count up from 0, and those that they have.
    fds: Vec<(i32, i32)>,
    kind: Kind,
}

/// What kind of stubs to make.
#[derive(Clone, Copy)]
struct Kind {
    clocks: Option<Clocks>,
    seccomp: bool,
}

/// Where a stub has the host's clocks, and where it moves them.
#[derive(Clone, Copy)]
struct Clocks {
    data: u64,
    data_len: u64,
    code_len: u64,
    place: u64,
}

impl Clocks {
    fn of(image: &ClockImage) -> Clocks {
        let data_len = image.data.end - image.data.start;
        Clocks { data: image.data.start, data_len, code_len: image.code.len() as u64, place: image.place() }
    }

    /// Moves the data and maps the code behind it. If the host refuses one of them, there are no clocks.
    fn keep(&self) -> bool {
        let at = |address: u64| std::ptr::without_provenance_mut::<libc::c_void>(address as usize);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: nothing of a stub is at those places, and it makes no use of the clocks itself. The data may consist of
        // several mappings, which move one by one.
        unsafe {
            let mut moved = 0;
            while moved < self.data_len {
                // The host moves one mapping at a time, and says so if a length goes beyond it.
                let mut len = self.data_len - moved;
                let (from, to) = (at(self.data + moved), at(self.place + moved));
                while libc::mremap(from, len as usize, len as usize, flags, to) == libc::MAP_FAILED {
                    len -= PAGE_SIZE;
                    if len == 0 {
                        return false;
                    }
                }
                moved += len;
            }
            let protection = libc::PROT_READ | libc::PROT_EXEC;
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            let (to, offset) = (at(self.place + self.data_len), CLOCK_CODE as i64);
            libc::mmap(to, self.code_len as usize, protection, flags, REQUESTS_FD, offset) == to
        }
    }
}

/// Waits for the end of a child that has no exit signal.
fn wait(pid: i32) {
    // SAFETY: a null status is allowed.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } == -1
        && Errno::last() == Errno::EINTR
    {}
}

/// In the fork: sorts the descriptors, resets what was inherited, makes the spawner and ends.
fn first_step(order: &Order) -> ! {
    // SAFETY: only system calls, on this process's own copies of everything. The descriptors are first moved out of
    // the way of their final numbers. The stack is a fresh mapping, used by nobody else.
    unsafe {
        let mut aside = [0; 8];
        for (slot, (_, fd)) in aside.iter_mut().zip(&order.fds) {
            *slot = libc::fcntl(*fd, libc::F_DUPFD, 8);
        }
        for ((number, _), fd) in order.fds.iter().zip(aside) {
            if fd < 0 || libc::dup2(fd, *number) < 0 {
                libc::_exit(1);
            }
        }
        let kept = order.fds.len() as u32;
        if libc::syscall(libc::SYS_close_range, kept, u32::MAX, 0) != 0 {
            for fd in kept.cast_signed()..65_536 {
                libc::close(fd);
            }
        }
        libc::setsid();
        libc::chdir(c"/".as_ptr()); // or its file system could not be unmounted
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        capabilities::drop_all();
        libc::prctl(libc::PR_SET_NAME, c"lodger-spawner".as_ptr());
        // With `--no-lockdown` too: a stub holds a guest's memory.
        let _ = dumps::forbid();
        reset_signals();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let stack = libc::mmap(std::ptr::null_mut(), STACK, protection, flags, -1, 0);
        if stack == libc::MAP_FAILED {
            libc::_exit(1);
        }
        let top = stack.byte_add(STACK);
        // It outlives this stack.
        let argument = stack.cast::<Kind>();
        argument.write(order.kind);
        let argument = argument.cast();
        // CLONE_PARENT: the kernel's child, without an exit signal as this process.
        let made = libc::clone(serve, top, libc::CLONE_VM | libc::CLONE_PARENT, argument);
        libc::_exit(i32::from(made < 0))
    }
}

/// Default dispositions and an empty mask; children are not waited for.
fn reset_signals() {
    // SAFETY: the structures are zeroed or filled, and belong to this function; a refusal (SIGKILL and the C library's
    // own signals) changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        for signal in 1..65 {
            action.sa_sigaction = if signal == libc::SIGCHLD { libc::SIG_IGN } else { libc::SIG_DFL };
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut mask);
        libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut());
    }
}

/// The spawner: says who it is, then makes a stub for each request, until the kernel is gone.
extern "C" fn serve(kind: *mut libc::c_void) -> libc::c_int {
    // SAFETY: only system calls; a fork without CLONE_VM leaves the child its own copy of this stack. The argument was
    // written by `first_step`.
    unsafe {
        let kind = kind.cast::<Kind>().read();
        let spawner = libc::getpid();
        answer(spawner);
        loop {
            let mut slot = [0u8; 4];
            match libc::read(SOCKET_FD, slot.as_mut_ptr().cast(), 4) {
                4 => {}
                -1 if *libc::__errno_location() == libc::EINTR => continue,
                _ => libc::_exit(0),
            }
            match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
                0 => become_stub(spawner, u32::from_ne_bytes(slot), kind),
                -1 => answer(-*libc::__errno_location()),
                pid => answer(pid as i32),
            }
        }
    }
}

fn answer(value: i32) {
    // SAFETY: the buffer has four bytes; if the kernel is gone, the next read says so.
    unsafe { libc::send(SOCKET_FD, value.to_ne_bytes().as_ptr().cast(), 4, libc::MSG_NOSIGNAL) };
}

fn become_stub(spawner: i32, slot: u32, kind: Kind) -> ! {
    // SAFETY: system calls only, then the stub's code takes over a process of one thread.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::syscall(libc::SYS_getppid) != i64::from(spawner) {
            libc::_exit(1); // it died before the line above
        }
        libc::prctl(libc::PR_SET_NAME, c"lodger-guest".as_ptr());
        libc::close(SOCKET_FD);
        let kept = kind.clocks.filter(Clocks::keep).map_or(CODE, |clocks| clocks.place);
        let requests = request_page(slot).0;
        if kind.seccomp {
            seccomp::code::enter(requests, data_area(slot).0, kept)
        }
        ptrace::code::enter(requests, kept)
    }
}
