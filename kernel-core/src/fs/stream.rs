//! Bytes that the host carries, as a file: what PID 1 has as standard input and output when there is no terminal.

use alloc::sync::Arc;
use core::any::Any;

use crate::errno::{EAGAIN, EIO, ENOTTY, EPIPE, Result};
use crate::host::{ByteStream, Ready, StreamError};
use crate::io::{Sink, Source};
use crate::sched::wait::{Events, WaitQueue};
use crate::services::{Device as PolledDevice, Services};
use crate::sync::Mutex;
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFile, OpenFlags};
use crate::vfs::inode::{Device, FileKind, Inode, Metadata, Opened, Owner, SetAttr, StatFs, Timestamp};
use crate::vfs::locks::FileLocks;

/// Bytes moved at a time.
const CHUNK: usize = 4096;
/// How many of them one read takes at most: what a pipe of Linux holds.
const CHUNKS: usize = 16;

/// A host stream as a file.
pub struct Stream {
    host: Arc<dyn ByteStream>,
    services: Arc<Services>,
    queue: WaitQueue,
}

impl Stream {
    /// A file of `host`.
    pub fn new(host: Arc<dyn ByteStream>, services: &Arc<Services>) -> Arc<Stream> {
        Arc::new(Stream { host, services: services.clone(), queue: WaitQueue::new() })
    }

    /// An open file of it. It looks like a `kind`: FIFO for a host's pipe or file, character device for `/dev/null`.
    pub fn open(self: &Arc<Stream>, kind: FileKind, ino: u64, flags: OpenFlags) -> Arc<OpenFile> {
        let now = Timestamp::from_ns(self.services.clock.realtime_ns());
        let inode = Arc::new(StreamInode {
            stream: self.clone(),
            ino,
            owner: Mutex::new(Owner::new(kind.mode_bits() | 0o600, 0, 0)),
            time: now,
            locks: FileLocks::default(),
        });
        OpenFile::new(self.clone(), inode, None, flags)
    }

    fn events(&self) -> Events {
        let ready = self.host.ready(Ready::READ | Ready::WRITE);
        let mut events = Events::empty();
        if ready.contains(Ready::READ) {
            events |= Events::IN | Events::RDNORM;
        }
        if ready.contains(Ready::WRITE) {
            events |= Events::OUT | Events::WRNORM;
        }
        if ready.contains(Ready::HANGUP) {
            events |= Events::HUP;
        }
        events
    }
}

impl PolledDevice for Stream {
    /// The host may be ready for what it was not: wakes those who wait.
    fn poll_device(&self) {
        if !self.queue.is_empty() {
            let events = self.events();
            if !events.is_empty() {
                self.queue.wake(events);
            }
        }
    }
}

impl FileOps for Stream {
    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        read(&*self.host, dst)
    }

    fn write(&self, _: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        write(&*self.host, src)
    }

    fn is_stream(&self) -> bool {
        true
    }

    /// What the host says, whatever the file was opened for, as Linux does for devices: who waits for it is woken by the same.
    fn poll(&self, _: Op<'_>) -> Events {
        self.events()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        match command {
            linux_raw_sys::ioctl::FIONREAD => {
                let bytes = self.host.waiting().ok_or(ENOTTY)?;
                op.caller.memory().set(arg, &u32::try_from(bytes).unwrap_or(i32::MAX as u32))?;
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Reads on for as long as the host has whole chunks, so that a large buffer takes few calls.
fn read(host: &dyn ByteStream, dst: &mut dyn Sink) -> Result<usize> {
    let mut chunk = [0; CHUNK];
    let mut total = 0;
    for _ in 0..CHUNKS {
        let wish = dst.remaining().min(CHUNK);
        let result = match host.read(chunk.get_mut(..wish).unwrap_or_default()) {
            Ok(read) => dst.put(chunk.get(..read).unwrap_or_default()),
            Err(StreamError::WouldBlock) => Err(EAGAIN),
            Err(StreamError::Closed) => Ok(0),
            Err(StreamError::Failed) => Err(EIO),
        };
        match result {
            Ok(read) => total += read,
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
        if result.is_ok_and(|read| read < CHUNK) || dst.remaining() == 0 {
            break;
        }
    }
    Ok(total)
}

/// Takes from the source only what the host has taken: a writer that waits tries again with the same source.
fn write(host: &dyn ByteStream, src: &mut dyn Source) -> Result<usize> {
    let mut chunk = [0; CHUNK];
    let mut written = 0;
    while src.remaining() > 0 {
        let wish = src.remaining().min(CHUNK);
        let result = src.peek(chunk.get_mut(..wish).unwrap_or_default()).and_then(|given| {
            host.write(chunk.get(..given).unwrap_or_default()).map_err(|error| match error {
                StreamError::WouldBlock => EAGAIN,
                StreamError::Failed => EIO,
                StreamError::Closed => EPIPE,
            })
        });
        let len = match result {
            Ok(0) if written == 0 => return Err(EAGAIN),
            Ok(len) => len.min(wish),
            Err(_) if written > 0 => break,
            Err(error) => return Err(error),
        };
        written += len;
        if src.take(chunk.get_mut(..len).unwrap_or_default()) != Ok(len) || len < wish {
            break;
        }
    }
    Ok(written)
}

/// What `fstat` sees of a stream.
struct StreamInode {
    stream: Arc<Stream>,
    ino: u64,
    owner: Mutex<Owner>,
    time: Timestamp,
    locks: FileLocks,
}

impl Inode for StreamInode {
    fn metadata(&self) -> Metadata {
        let owner = *self.owner.lock();
        let rdev = match FileKind::of_mode(owner.mode) {
            FileKind::Char => Device::new(1, 3),
            _ => Device::default(),
        };
        Metadata {
            dev: Device::new(0, 7),
            ino: self.ino,
            mode: owner.mode,
            nlink: 1,
            uid: owner.uid,
            gid: owner.gid,
            rdev,
            size: 0,
            block_size: CHUNK as u32,
            blocks: 0,
            atime: self.time,
            mtime: self.time,
            ctime: self.time,
            btime: self.time,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: 0x5049_5045, block_size: CHUNK as u64, ..StatFs::default() }
    }

    /// Through `/proc/self/fd` and `/dev/stdin`: the same stream again.
    fn open(&self, _: OpenFlags, _: &dyn Caller) -> Result<Opened> {
        Ok(Opened::File(self.stream.clone()))
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        if attr.size.is_some() {
            return Err(crate::errno::EINVAL);
        }
        self.owner.lock().change(attr);
        Ok(())
    }

    fn locks(&self) -> Option<&FileLocks> {
        Some(&self.locks)
    }

    fn anonymous_name(&self) -> Option<alloc::vec::Vec<u8>> {
        Some(alloc::format!("pipe:[{}]", self.ino).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::io::{SliceSource, VecSink};

    /// Takes so many bytes with each write, and gives what it took.
    #[derive(Default)]
    struct Narrow {
        room: Mutex<Vec<usize>>,
        bytes: Mutex<Vec<u8>>,
    }

    impl ByteStream for Narrow {
        fn read(&self, buf: &mut [u8]) -> core::result::Result<usize, StreamError> {
            let mut bytes = self.bytes.lock();
            let len = buf.len().min(bytes.len());
            for (to, from) in buf.iter_mut().zip(bytes.drain(..len)) {
                *to = from;
            }
            if len == 0 { Err(StreamError::WouldBlock) } else { Ok(len) }
        }
        fn write(&self, buf: &[u8]) -> core::result::Result<usize, StreamError> {
            let room = self.room.lock().pop().ok_or(StreamError::WouldBlock)?;
            let len = buf.len().min(room);
            self.bytes.lock().extend(&buf[..len]);
            Ok(len)
        }
        fn ready(&self, wanted: Ready) -> Ready {
            wanted
        }
    }

    #[test]
    fn a_host_that_takes_little_loses_and_repeats_nothing() {
        let bytes: Vec<u8> = (0..20_000u32).map(|at| (at / 7) as u8).collect();
        let (host, mut source) = (Narrow::default(), SliceSource(&bytes));
        let mut written = 0;
        while written < bytes.len() {
            // Nothing, a whole chunk, a part of one.
            assert_eq!(write(&host, &mut source), Err(EAGAIN));
            host.room.lock().extend([100, CHUNK]);
            written += write(&host, &mut source).unwrap();
            assert_eq!(source.remaining(), bytes.len() - written);
            host.room.lock().clear();
        }
        let mut sink = VecSink::new(1 << 20);
        assert_eq!(read(&host, &mut sink), Ok(bytes.len()));
        assert_eq!(sink.bytes, bytes);
        assert_eq!(read(&host, &mut sink), Err(EAGAIN));
    }
}
