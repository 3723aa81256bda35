//! A real terminal: raw mode, its restoration, window sizes, and streams that do not block.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use host_linux::kick::Token;
use host_linux::stream::HostStream;
use host_linux::terminal::{self, RawMode};
use host_linux::watcher::Watcher;
use kernel_core::host::{ByteStream, Ready, StreamError};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

fn watcher() -> (Arc<Token>, Watcher) {
    let token = Arc::new(Token::default());
    let inner = token.clone();
    (token, Watcher::start(move || _ = inner.kick()).unwrap())
}

fn terminal() -> OpenptyResult {
    openpty(None, None).unwrap()
}

fn is_raw(fd: &OwnedFd) -> bool {
    !tcgetattr(fd).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
}

fn resize(fd: &OwnedFd, rows: u16, columns: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads the structure that it is given.
    assert_eq!(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &size) }, 0);
}

#[test]
fn raw_mode_ends_with_its_guard() {
    let pty = terminal();
    let raw = RawMode::enter(pty.slave.as_fd()).unwrap();
    assert!(is_raw(&pty.slave));
    drop(raw);
    assert!(!is_raw(&pty.slave));
    let (read, _write) = nix::unistd::pipe().unwrap();
    assert!(RawMode::enter(read.as_fd()).is_err());
}

#[test]
fn a_fatal_signal_restores_the_terminal() {
    let pty = terminal();
    // SAFETY: the child makes system calls only: it is made for its end.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let raw = RawMode::enter(pty.slave.as_fd());
            let was_raw = raw.is_ok() && is_raw(&pty.slave);
            if was_raw {
                let _ = raise(Signal::SIGABRT);
            }
            std::process::exit(1);
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert!(
                matches!(status, nix::sys::wait::WaitStatus::Signaled(_, Signal::SIGABRT, _)),
                "{status:?}"
            );
            assert!(!is_raw(&pty.slave));
        }
    }
}

#[test]
fn a_continued_process_has_its_raw_terminal_again() {
    let pty = terminal();
    // SAFETY: as above.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let Ok(_raw) = RawMode::enter(pty.slave.as_fd()) else { std::process::exit(1) };
            let Ok(mut shell) = tcgetattr(&pty.slave) else { std::process::exit(1) };
            shell.local_flags |= LocalFlags::ICANON;
            let _ = tcsetattr(&pty.slave, SetArg::TCSANOW, &shell);
            let _ = raise(Signal::SIGCONT);
            std::process::exit(if is_raw(&pty.slave) { 0 } else { 2 });
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
        }
    }
}

#[test]
fn a_terminal_blocks_nobody_and_its_description_is_not_changed() {
    let (token, watcher) = watcher();
    let pty = terminal();
    let _raw = RawMode::enter(pty.slave.as_fd()).unwrap();
    let stream = HostStream::new(Some(pty.slave.as_fd()), Some(pty.slave.as_fd()), &watcher).unwrap();
    assert_eq!(stream.read(&mut [0; 8]), Err(StreamError::WouldBlock));
    nix::unistd::write(&pty.master, b"k").unwrap();
    token.wait(None);
    assert_eq!(stream.read(&mut [0; 8]), Ok(1));
    // The host moves what was written to the other side in its own time, which makes room again for a while.
    let (mut written, mut refused) = (0, 0);
    while refused < 5 {
        match stream.write(&[b'x'; 4096]) {
            Ok(count) => (written, refused) = (written + count, 0),
            Err(error) => {
                assert_eq!(error, StreamError::WouldBlock);
                refused += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(written < 1 << 24, "nobody reads, and yet it takes more and more");
    }
    token.take();
    let mut sink = vec![0; 1 << 16];
    let mut read = 0;
    while read < written {
        read += nix::unistd::read(&pty.master, &mut sink).unwrap();
    }
    token.wait(None);
    assert_eq!(stream.ready(Ready::WRITE), Ready::WRITE);
    let flags = OFlag::from_bits_retain(fcntl(&pty.slave, FcntlArg::F_GETFL).unwrap());
    assert!(!flags.contains(OFlag::O_NONBLOCK));
    drop(pty.master);
    assert!(stream.ready(Ready::READ).contains(Ready::HANGUP));
}

#[test]
fn a_window_that_changes_its_size_kicks() {
    let (token, watcher) = watcher();
    let pty = terminal();
    let stream = HostStream::new(Some(pty.slave.as_fd()), None, &watcher).unwrap();
    assert_eq!(stream.window_size(), None);
    terminal::watch_window_size(&watcher).unwrap();
    resize(&pty.master, 40, 100);
    // It is not the controlling terminal of this test, so the host sends no signal by itself.
    raise(Signal::SIGWINCH).unwrap();
    let deadline = host_linux::clock::monotonic_ns() + Duration::from_secs(5).as_nanos() as u64;
    token.wait(Some(deadline));
    assert!(host_linux::clock::monotonic_ns() < deadline);
    assert_eq!(stream.window_size(), Some((40, 100)));
}
