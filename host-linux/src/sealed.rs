//! What the last steps of a process need, in a page that is read-only once it is written: the terminal's modes.
//!
//! On TT a guest can overwrite everything that this process may write. It can make no system call of the host, so it
//! cannot make a read-only page writable; and so the terminal can be given back as it was, whatever else is wrecked.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use crate::bare;

/// Room for the host's own `struct termios` (36 bytes on x86-64, `asm-generic/termbits.h`), which is not the C library's.
const MODES: usize = 64;

/// All of the page; its size is the alignment.
#[repr(C, align(4096))]
struct Page {
    /// A descriptor that is open for good, or -1.
    terminal: c_int,
    /// What TCGETS gave.
    modes: [u8; MODES],
}

struct Sealed(UnsafeCell<Page>);

// SAFETY: it is written once, before it is sealed, by the one caller that finds `SEALED` clear; then it is only read.
unsafe impl Sync for Sealed {}

static PAGE: Sealed = Sealed(UnsafeCell::new(Page { terminal: -1, modes: [0; MODES] }));
static SEALED: AtomicBool = AtomicBool::new(false);

/// Keeps the modes that this terminal has now, and seals the page. The first terminal is the one that counts. The
/// descriptor must stay open for as long as the process lives.
pub fn keep_terminal(fd: BorrowedFd<'static>) -> io::Result<()> {
    if SEALED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let mut modes = [0u8; MODES];
    // SAFETY: TCGETS fills in 36 bytes of these.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCGETS, &mut modes) })?;
    let page = PAGE.0.get();
    // SAFETY: nobody has written the page before, and whoever reads it meanwhile is this process's end: at worst it finds
    // a terminal with no modes yet, as the descriptor is written last. Then the page, which is a whole one, is sealed.
    unsafe {
        (&raw mut (*page).modes).write_volatile(modes);
        (&raw mut (*page).terminal).write_volatile(fd.as_raw_fd());
        Errno::result(libc::mprotect(page.cast(), size_of::<Page>(), libc::PROT_READ))?;
    }
    Ok(())
}

/// Gives the terminal the modes that were kept, if any were. Only system calls by hand: it may be called from a signal
/// handler of a process whose writable memory is wrecked. Where the modes are right already it changes nothing.
#[inline(always)]
pub fn restore_terminal() {
    let page = PAGE.0.get();
    // SAFETY: the page is always readable; TCSETS reads the modes that lie in it.
    unsafe {
        let fd = (&raw const (*page).terminal).read_volatile();
        if fd >= 0 {
            let modes = (&raw const (*page).modes) as usize;
            bare::syscall3(libc::SYS_ioctl, fd as usize, libc::TCSETS as usize, modes);
        }
    }
}
