//! Stubs that die without being asked: killed by the host when it is out of memory, or by somebody. A dead stub wakes nobody
//! who waits for it, so the helper thread does.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_linux::ram::Ram;
use host_linux::watcher::{Watched, Watcher};
use kernel_core::host::Phys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;

use crate::seccomp::constants::Done;
use crate::seccomp::futex;

/// A stub as one who can die.
pub struct Mortal {
    process: i32,
    pidfd: OwnedFd,
    dead: AtomicBool,
    /// The word on which the kernel waits for its guest thread.
    posted: Phys,
}

impl Mortal {
    /// The stub with this process id.
    pub fn new(process: i32, posted: Phys) -> io::Result<Mortal> {
        // SAFETY: a plain system call.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
        let fd = Errno::result(fd)? as i32;
        // SAFETY: the descriptor was just made, for nobody else.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Mortal { process, pidfd, dead: AtomicBool::new(false), posted })
    }

    /// Whether it is known to be dead.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Kills it.
    fn signal(&self) {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a plain system call; without information about the signal the host fills that in. It may be dead already.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), libc::SIGKILL, none, 0) };
    }

    /// Kills it, and waits until none of its threads runs any more.
    pub fn kill(&self) {
        self.signal();
        let mut polls = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        while poll(&mut polls, PollTimeout::NONE) == Err(Errno::EINTR) {}
        self.dead.store(true, Ordering::SeqCst);
    }
}

/// All stubs of a host, by their slot.
pub struct Deaths {
    shared: Arc<Shared>,
    _watched: Arc<Watched>,
}

struct Shared {
    epoll: Epoll,
    living: Mutex<HashMap<u64, Arc<Mortal>>>,
    data: Arc<Ram>,
    done: Arc<EventFd>,
}

impl Deaths {
    /// Nobody yet. `done` is the counter on which the kernel waits for mappers.
    pub fn new(watcher: &Watcher, data: Arc<Ram>, done: Arc<EventFd>) -> io::Result<Deaths> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let fd = epoll.0.try_clone()?;
        let shared = Arc::new(Shared { epoll, living: Mutex::default(), data, done });
        let of = shared.clone();
        Ok(Deaths { shared, _watched: watcher.attend(fd, move || of.look()) })
    }

    /// Watches the stub in a slot.
    pub fn watch(&self, slot: u32, mortal: Arc<Mortal>) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        self.shared.epoll.add(mortal.pidfd.as_fd(), EpollEvent::new(flags, u64::from(slot)))?;
        self.shared.living().insert(u64::from(slot), mortal);
        Ok(())
    }

    /// Whether the guest thread of a stub has posted; `None` if there is no such stub.
    pub fn has_posted(&self, process: i32) -> Option<bool> {
        let living = self.shared.living();
        let mortal = living.values().find(|mortal| mortal.process == process)?;
        Some(self.shared.data.atomic_u32(mortal.posted).load(Ordering::SeqCst) != 0)
    }

    /// Ends a stub, so that whoever waits for it learns of its death.
    pub fn end(&self, process: i32) {
        let living = self.shared.living();
        if let Some(mortal) = living.values().find(|mortal| mortal.process == process) {
            mortal.signal();
        }
    }

    /// Forgets the stub in a slot, which somebody else may get now.
    pub fn forget(&self, slot: u32) {
        if let Some(mortal) = self.shared.living().remove(&u64::from(slot)) {
            // It was added, and is removed by nobody else.
            let _ = self.shared.epoll.delete(mortal.pidfd.as_fd());
        }
    }
}

impl Shared {
    fn living(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mortal>>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of those who died.
    fn look(&self) {
        let mut events = [EpollEvent::empty(); 16];
        let Ok(count) = self.epoll.wait(&mut events, EpollTimeout::ZERO) else { return };
        for event in &events[..count] {
            let Some(mortal) = self.living().get(&event.data()).cloned() else { continue };
            mortal.dead.store(true, Ordering::SeqCst);
            let posted = self.data.atomic_u32(mortal.posted);
            posted.store(1, Ordering::SeqCst);
            futex::wake(posted);
            // So large a number of deaths that the counter is full has been seen by nobody who waits.
            let _ = self.done.write(Done::DEATH);
        }
    }
}
