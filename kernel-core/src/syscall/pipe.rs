//! `pipe(2)` and `pipe2(2)`.

use linux_raw_sys::general as sys;

use crate::errno::EINVAL;
use crate::host::Host;
use crate::ipc::{fifo, pipe::Pipe};
use crate::syscall::{Cx, SysResult, anon};
use crate::vfs::anon::AnonKind;
use crate::vfs::file::{OpenFile, OpenFlags};

/// `pipe2(2)`: the two descriptors go to `fds`, the one for reading first.
pub fn pipe2<H: Host>(cx: &Cx<'_, H>, fds: u64, flags: u32) -> SysResult {
    if flags & !(anon::CLOEXEC | anon::NONBLOCK | sys::O_DIRECT) != 0 {
        return Err(EINVAL.into());
    }
    let (read_fd, write_fd) = (anon::reserve(cx)?, anon::reserve(cx)?);
    let pipe = Pipe::new();
    let status = OpenFlags::from_bits_retain(flags & (anon::NONBLOCK | sys::O_DIRECT));
    let reader = anon::open(cx, pipe.open(OpenFlags::empty()), AnonKind::Pipe, status);
    fifo::attach(&*reader.inode, &pipe)?;
    let writing = OpenFlags::WRONLY | status;
    let writer = OpenFile::new(pipe.open(writing), reader.inode.clone(), None, writing);
    cx.user().set(fds, &[read_fd.fd(), write_fd.fd()])?;
    read_fd.commit(reader, anon::on_exec(flags));
    write_fd.commit(writer, anon::on_exec(flags));
    Ok(0)
}
