//! The host's terminal: raw while a guest has it, given back as it was, whatever ends this process but SIGKILL.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::sys::eventfd::EventFd;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::sealed;
use crate::watcher::Watcher;

/// Signals of a kernel that goes wrong. If nobody handles them, the terminal is restored before they end the process.
pub const FAULTS: [Signal; 6] =
    [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT, Signal::SIGTRAP];

/// What the signal handlers need: readable without a lock.
struct Saved {
    fd: OwnedFd,
    settings: libc::termios,
    raw: libc::termios,
}

/// Settings of the first terminal made raw: a process has one controlling terminal.
static SAVED: OnceLock<Saved> = OnceLock::new();
/// Whether somebody else handles [`FAULTS`].
static FAULTS_TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the terminal is raw now.
static RAW: AtomicBool = AtomicBool::new(false);
/// The eventfd that SIGWINCH writes to; -1 before there is one.
static RESIZE_EVENT: AtomicI32 = AtomicI32::new(-1);
/// What SIGWINCH adds to that eventfd: more than all others together, who add 1.
pub(crate) static RESIZED: u64 = 1 << 32;
/// Keeps that eventfd open for as long as a handler may write to it.
static RESIZE_OWNER: Mutex<Option<Arc<EventFd>>> = Mutex::new(None);

/// A terminal in raw mode; dropping this restores it.
pub struct RawMode {
    fd: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Makes the terminal at `fd` raw, and from now on restores it also when a fatal signal ends the process.
    /// Fails when `fd` is not a terminal.
    pub fn enter(fd: BorrowedFd<'_>) -> io::Result<RawMode> {
        let fd = fd.try_clone_to_owned()?;
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let saved = Saved { fd: fd.try_clone()?, settings: before.clone().into(), raw: raw.clone().into() };
        if SAVED.set(saved).is_ok() {
            if let Some(saved) = SAVED.get() {
                sealed::keep_terminal(saved.fd.as_fd())?;
            }
            catch_signals()?;
        }
        tcsetattr(&fd, SetArg::TCSADRAIN, &raw)?;
        RAW.store(true, Ordering::SeqCst);
        Ok(RawMode { fd, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        RAW.store(false, Ordering::SeqCst);
        // The terminal may be gone by now, and then there is nothing to restore.
        let _ = tcsetattr(&self.fd, SetArg::TCSADRAIN, &self.before);
    }
}

/// Restores the terminal, if there is one. For ends that run no destructors, such as `std::process::exit`; it makes one
/// system call and takes no lock, so signal handlers may call it.
pub fn restore() {
    RAW.store(false, Ordering::SeqCst);
    sealed::restore_terminal();
}

/// Whoever calls this, before a terminal is made raw, handles [`FAULTS`] itself and restores the terminal then, with
/// [`sealed::restore_terminal`].
pub fn faults_are_taken() {
    FAULTS_TAKEN.store(true, Ordering::SeqCst);
}

/// Rows and columns, if `fd` is a terminal that knows.
pub fn window_size(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills in the structure that it is given.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_row != 0 && size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

/// How many bytes a read of `fd` would find, if it is something that knows.
pub fn waiting(fd: BorrowedFd<'_>) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD fills in the integer that it is given.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut bytes) };
    if result == 0 { usize::try_from(bytes).ok() } else { None }
}

/// From now on a changed window size (SIGWINCH) makes `watcher` kick its vCPU.
pub fn watch_window_size(watcher: &Watcher) -> io::Result<()> {
    let wake = watcher.wake();
    let mut owner = RESIZE_OWNER.lock().unwrap_or_else(PoisonError::into_inner);
    RESIZE_EVENT.store(wake.as_fd().as_raw_fd(), Ordering::SeqCst);
    *owner = Some(wake);
    let action = SigAction::new(SigHandler::Handler(on_resize), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler only uses atomics and write(2).
    unsafe { sigaction(Signal::SIGWINCH, &action)? };
    Ok(())
}

extern "C" fn on_resize(_: libc::c_int) {
    // SAFETY: write(2) may be called in a signal handler, and the constant has eight bytes. It can only fail when the
    // counter is full, and then the watcher is about to see it.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(RESIZE_EVENT.load(Ordering::SeqCst), (&raw const RESIZED).cast(), 8);
        *libc::__errno_location() = errno;
    }
}

fn catch_signals() -> io::Result<()> {
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::Handler(on_fatal), flags, SigSet::empty());
    let faults = if FAULTS_TAKEN.load(Ordering::SeqCst) { &[][..] } else { &FAULTS };
    for signal in faults.iter().copied().chain([Signal::SIGQUIT]) {
        // SAFETY: the handler only restores the terminal and raises the signal again.
        unsafe { sigaction(signal, &action)? };
    }
    for (signal, handler) in
        [(Signal::SIGTSTP, on_stop as extern "C" fn(libc::c_int)), (Signal::SIGCONT, on_continue)]
    {
        let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handlers only use atomics, tcsetattr and raise.
        unsafe { sigaction(signal, &action)? };
    }
    Ok(())
}

/// Stops, as without a handler, and leaves the terminal as it was to whoever asked for that.
extern "C" fn on_stop(_: libc::c_int) {
    if let (true, Some(saved)) = (RAW.load(Ordering::SeqCst), SAVED.get()) {
        set(saved, &saved.settings);
    }
    // SAFETY: no preconditions; SIGSTOP stops all threads before this returns.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Whoever stopped this process has given the terminal to a shell meanwhile, which left its own settings there.
extern "C" fn on_continue(_: libc::c_int) {
    if let (true, Some(saved)) = (RAW.load(Ordering::SeqCst), SAVED.get()) {
        set(saved, &saved.raw);
    }
}

/// For signal handlers.
fn set(saved: &Saved, settings: &libc::termios) {
    // SAFETY: both arguments live, `tcsetattr` may be called in a signal handler, and errno is put back.
    unsafe {
        let errno = *libc::__errno_location();
        libc::tcsetattr(saved.fd.as_raw_fd(), libc::TCSANOW, settings);
        *libc::__errno_location() = errno;
    }
}

extern "C" fn on_fatal(signal: libc::c_int) {
    restore();
    // SAFETY: the disposition is the default again (SA_RESETHAND), so this ends the process as it would have.
    unsafe { libc::raise(signal) };
}
