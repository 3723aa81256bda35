//! The host's descriptors as [`ByteStream`]s that never block.
//!
//! O_NONBLOCK belongs to the open file description, which standard input, output and error share with the user's
//! shell: it must not be set there. So a pipe or a terminal is opened a second time through `/proc/self/fd`, which
//! gives a description of our own; a socket is told with every call; a regular file never blocks. Where the second
//! open is refused (other owner, no `/proc`), `poll(2)` comes before each call, and a write is no larger than a pipe
//! takes at once.
//!
//! Readiness is always asked of the original description: a pipe opened again after its last writer went would not
//! report the end.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use kernel_core::host::{ByteStream, Ready, StreamError};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use crate::terminal;
use crate::watcher::{Watched, Watcher, Wishes};

/// The most bytes of a write that follows a `poll`: a pipe that is ready takes PIPE_BUF without blocking.
const PIECE: usize = libc::PIPE_BUF;

/// An input, an output, or both as one device.
pub struct HostStream {
    input: Option<Channel>,
    output: Option<Channel>,
    wishes: Wishes,
}

impl HostStream {
    /// A stream that reads from `input` and writes to `output`; both are used without being changed, and watched by
    /// `watcher`. A direction that is not given reports [`StreamError::Closed`].
    pub fn new(
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
        watcher: &Watcher,
    ) -> io::Result<Arc<HostStream>> {
        let channel = |fd: BorrowedFd<'_>, access| Channel::new(fd, access, watcher);
        Ok(Arc::new(HostStream {
            input: input.map(|fd| channel(fd, OFlag::O_RDONLY)).transpose()?,
            output: output.map(|fd| channel(fd, OFlag::O_WRONLY)).transpose()?,
            wishes: watcher.wishes(),
        }))
    }

    fn blocked(&self, channel: &Channel, flags: PollFlags) -> StreamError {
        self.wishes.want(&channel.watched, flags);
        StreamError::WouldBlock
    }
}

impl ByteStream for HostStream {
    fn read(&self, buf: &mut [u8]) -> Result<usize, StreamError> {
        let Some(input) = &self.input else { return Err(StreamError::Closed) };
        input.read(buf).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => self.blocked(input, PollFlags::POLLIN),
            _ => failure(&error),
        })
    }

    fn write(&self, buf: &[u8]) -> Result<usize, StreamError> {
        let Some(output) = &self.output else { return Err(StreamError::Closed) };
        output.write(buf).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => self.blocked(output, PollFlags::POLLOUT),
            _ => failure(&error),
        })
    }

    fn ready(&self, wanted: Ready) -> Ready {
        let mut ready = Ready::empty();
        let mut ask = |channel: &Option<Channel>, want: Ready, flags: PollFlags| {
            let Some(channel) = channel else { return };
            let now = channel.poll(flags);
            if now.intersects(flags | PollFlags::POLLHUP | PollFlags::POLLERR) {
                ready |= want;
            } else if wanted.contains(want) {
                self.wishes.want(&channel.watched, flags);
            }
            if now.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
                ready |= Ready::HANGUP;
            }
        };
        ask(&self.input, Ready::READ, PollFlags::POLLIN);
        ask(&self.output, Ready::WRITE, PollFlags::POLLOUT);
        ready
    }

    fn waiting(&self) -> Option<usize> {
        terminal::waiting(self.input.as_ref()?.watched.as_fd())
    }

    fn window_size(&self) -> Option<(u16, u16)> {
        let channel = self.output.as_ref().or(self.input.as_ref())?;
        terminal::window_size(channel.watched.as_fd())
    }
}

fn failure(error: &io::Error) -> StreamError {
    match error.raw_os_error() {
        // EIO is what a terminal says after its hang-up.
        Some(libc::EPIPE | libc::ECONNRESET | libc::EIO) => StreamError::Closed,
        _ => StreamError::Failed,
    }
}

/// How a descriptor is kept from blocking.
enum Mode {
    /// It never blocks, or says EAGAIN by itself.
    Direct,
    /// A description of our own, with O_NONBLOCK.
    Own(OwnedFd),
    /// A socket: MSG_DONTWAIT.
    Socket,
    /// `poll` before each call.
    Polled,
}

/// One direction of a stream.
struct Channel {
    watched: Arc<Watched>,
    mode: Mode,
}

impl Channel {
    fn new(fd: BorrowedFd<'_>, access: OFlag, watcher: &Watcher) -> io::Result<Channel> {
        let mode = match SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFIFO | SFlag::S_IFCHR => {
                if OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?).contains(OFlag::O_NONBLOCK) {
                    Mode::Direct
                } else {
                    open_again(fd, access).map_or(Mode::Polled, Mode::Own)
                }
            }
            SFlag::S_IFSOCK => Mode::Socket,
            _ => Mode::Direct,
        };
        Ok(Channel { watched: watcher.watch(fd.try_clone_to_owned()?), mode })
    }

    fn poll(&self, flags: PollFlags) -> PollFlags {
        let mut polls = [PollFd::new(self.watched.as_fd(), flags)];
        match poll(&mut polls, PollTimeout::ZERO) {
            Ok(_) => polls[0].revents().unwrap_or(PollFlags::POLLERR),
            Err(_) => PollFlags::empty(),
        }
    }

    /// Fails with `WouldBlock` unless the descriptor is ready; for [`Mode::Polled`].
    fn check(&self, flags: PollFlags) -> io::Result<()> {
        if self.poll(flags).is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0); // or it would look like the end
        }
        let fd = self.watched.as_fd();
        uninterrupted(|| match &self.mode {
            Mode::Direct => Ok(nix::unistd::read(fd, buf)?),
            Mode::Own(own) => Ok(nix::unistd::read(own, buf)?),
            Mode::Socket => {
                Ok(nix::sys::socket::recv(fd.as_raw_fd(), buf, nix::sys::socket::MsgFlags::MSG_DONTWAIT)?)
            }
            Mode::Polled => {
                self.check(PollFlags::POLLIN)?;
                Ok(nix::unistd::read(fd, buf)?)
            }
        })
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let fd = self.watched.as_fd();
        uninterrupted(|| match &self.mode {
            Mode::Direct => Ok(nix::unistd::write(fd, buf)?),
            Mode::Own(own) => Ok(nix::unistd::write(own, buf)?),
            Mode::Socket => {
                use nix::sys::socket::{MsgFlags, send};
                Ok(send(fd.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
            }
            Mode::Polled => {
                self.check(PollFlags::POLLOUT)?;
                Ok(nix::unistd::write(fd, &buf[..buf.len().min(PIECE)])?)
            }
        })
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A new description of the same pipe or device, which does not block.
fn open_again(fd: BorrowedFd<'_>, access: OFlag) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path.as_str(), flags, nix::sys::stat::Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kick::Token;

    fn watcher() -> (Arc<Token>, Watcher) {
        let token = Arc::new(Token::default());
        let inner = token.clone();
        (token, Watcher::start(move || _ = inner.kick()).unwrap())
    }

    fn is_nonblocking(fd: &OwnedFd) -> bool {
        OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK)
    }

    #[test]
    fn a_pipe_gives_would_block_a_kick_bytes_and_the_end() {
        let (token, watcher) = watcher();
        let (read, write) = nix::unistd::pipe().unwrap();
        let stream = HostStream::new(Some(read.as_fd()), None, &watcher).unwrap();
        let mut buf = [0; 16];
        assert_eq!(stream.read(&mut buf), Err(StreamError::WouldBlock));
        assert!(!is_nonblocking(&read));
        nix::unistd::write(&write, b"key").unwrap();
        token.wait(None);
        assert_eq!(stream.ready(Ready::READ), Ready::READ);
        assert_eq!(stream.waiting(), Some(3));
        assert_eq!(stream.read(&mut buf), Ok(3));
        assert_eq!(stream.waiting(), Some(0));
        assert_eq!(stream.ready(Ready::READ), Ready::empty());
        drop(write);
        token.wait(None);
        assert!(stream.ready(Ready::READ).contains(Ready::READ | Ready::HANGUP));
        assert_eq!(stream.read(&mut buf), Ok(0));
    }

    #[test]
    fn the_end_of_a_pipe_whose_writer_went_before_is_ready() {
        let (_token, watcher) = watcher();
        let (read, write) = nix::unistd::pipe().unwrap();
        drop(write);
        let stream = HostStream::new(Some(read.as_fd()), None, &watcher).unwrap();
        assert!(stream.ready(Ready::READ).contains(Ready::READ));
        assert_eq!(stream.read(&mut [0; 1]), Ok(0));
    }

    #[test]
    fn a_full_pipe_blocks_until_it_is_read_and_closes() {
        let (token, watcher) = watcher();
        let (read, write) = nix::unistd::pipe().unwrap();
        let stream = HostStream::new(None, Some(write.as_fd()), &watcher).unwrap();
        let bytes = vec![7; 1 << 20];
        let taken = stream.write(&bytes).unwrap();
        assert!(taken > 0 && taken < bytes.len());
        assert_eq!(stream.write(&bytes), Err(StreamError::WouldBlock));
        let mut sink = vec![0; taken];
        nix::unistd::read(&read, &mut sink).unwrap();
        token.wait(None);
        assert!(stream.write(&bytes).is_ok());
        drop(read);
        assert_eq!(stream.write(&bytes), Err(StreamError::Closed));
        assert!(!is_nonblocking(&write));
    }

    #[test]
    fn regular_files_are_always_ready() {
        let (_token, watcher) = watcher();
        let file = nix::sys::memfd::memfd_create(c"test", nix::sys::memfd::MFdFlags::empty()).unwrap();
        let stream = HostStream::new(Some(file.as_fd()), Some(file.as_fd()), &watcher).unwrap();
        assert_eq!(stream.ready(Ready::READ | Ready::WRITE), Ready::READ | Ready::WRITE);
        assert_eq!(stream.write(b"abc"), Ok(3));
        assert_eq!(stream.read(&mut [0; 4]), Ok(0));
    }

    #[test]
    fn a_pipe_that_cannot_be_opened_again_is_polled() {
        let (_token, watcher) = watcher();
        let (read, write) = nix::unistd::pipe().unwrap();
        let polled = |fd| Some(Channel { watched: watcher.watch(fd), mode: Mode::Polled });
        let stream = HostStream { input: polled(read), output: polled(write), wishes: watcher.wishes() };
        assert_eq!(stream.read(&mut [0; 8]), Err(StreamError::WouldBlock));
        let bytes = vec![1; 1 << 17];
        let mut written = 0;
        while let Ok(count) = stream.write(&bytes) {
            assert!(count <= PIECE);
            written += count;
        }
        assert_eq!(stream.read(&mut vec![0; written]), Ok(written));
    }

    #[test]
    fn a_socket_is_not_changed_either() {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
        let (token, watcher) = watcher();
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).unwrap();
        let stream = HostStream::new(Some(ours.as_fd()), Some(ours.as_fd()), &watcher).unwrap();
        assert_eq!(stream.read(&mut [0; 8]), Err(StreamError::WouldBlock));
        nix::unistd::write(&theirs, b"hi").unwrap();
        token.wait(None);
        assert_eq!(stream.read(&mut [0; 8]), Ok(2));
        assert!(!is_nonblocking(&ours));
        drop(theirs);
        assert_eq!(stream.write(b"x"), Err(StreamError::Closed));
    }
}
