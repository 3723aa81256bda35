//! A counter with a descriptor. Source: `eventfd(2)`.

use core::any::Any;

use crate::errno::{EAGAIN, EFAULT, EINVAL, Result};
use crate::io::{Sink, Source};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;
use crate::vfs::file::{FileOps, Op, Whence};

/// What a read of the counter gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// All of it.
    Value,
    /// One (`EFD_SEMAPHORE`).
    Semaphore,
}

/// An event counter, between 0 and 2^64-2.
pub struct EventFd {
    count: Mutex<u64>,
    mode: ReadMode,
    queue: WaitQueue,
}

/// The largest count that writes can make; only the kernel can overflow it.
const MAX: u64 = u64::MAX - 1;

impl EventFd {
    /// A counter that starts at `count`.
    pub fn new(count: u32, mode: ReadMode) -> EventFd {
        EventFd { count: Mutex::new(count.into()), mode, queue: WaitQueue::new() }
    }

    /// Adds to it, for the kernel itself: what is too much overflows.
    pub fn add(&self, value: u64) {
        {
            let mut count = self.count.lock();
            *count = count.saturating_add(value);
        }
        self.queue.wake(Events::IN | Events::RDNORM);
    }
}

impl FileOps for EventFd {
    /// There are no positions; Linux lets it be asked for all the same.
    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        if dst.remaining() < 8 {
            return Err(EINVAL);
        }
        let value = {
            let mut count = self.count.lock();
            let value = match self.mode {
                _ if *count == 0 => return Err(EAGAIN),
                ReadMode::Value => *count,
                ReadMode::Semaphore => 1,
            };
            *count -= value;
            value
        };
        self.queue.wake(Events::OUT | Events::WRNORM);
        // As in Linux, what a bad address makes unreadable is taken nevertheless.
        dst.put_all(&value.to_ne_bytes())?;
        Ok(8)
    }

    fn write(&self, _: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        if src.remaining() < 8 {
            return Err(EINVAL);
        }
        let mut bytes = [0; 8];
        // A blocked write tries again with the same source, so nothing is taken before it fits.
        let mut count = self.count.lock();
        if src.peek(&mut bytes)? != bytes.len() {
            return Err(EFAULT);
        }
        let value = u64::from_ne_bytes(bytes);
        if value == u64::MAX {
            return Err(EINVAL);
        }
        let sum = count.checked_add(value).filter(|sum| *sum <= MAX).ok_or(EAGAIN)?;
        src.take_all(&mut bytes)?;
        *count = sum;
        drop(count);
        self.queue.wake(Events::IN | Events::RDNORM);
        Ok(8)
    }

    fn poll(&self, _: Op<'_>) -> Events {
        let count = *self.count.lock();
        let mut events = Events::empty();
        if count > 0 {
            events |= Events::IN | Events::RDNORM;
        }
        if count == u64::MAX {
            events |= Events::ERR;
        }
        if count < MAX {
            events |= Events::OUT | Events::WRNORM;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::testing::{open, poll, read, write};
    use alloc::sync::Arc;

    #[test]
    fn counts_up_to_its_maximum() {
        let file = open(Arc::new(EventFd::new(2, ReadMode::Value)));
        assert_eq!(write(&file, &3u64.to_ne_bytes()), Ok(8));
        assert_eq!(read(&file, 8).as_deref(), Ok(&5u64.to_ne_bytes()[..]));
        assert_eq!((read(&file, 8), read(&file, 7)), (Err(EAGAIN), Err(EINVAL)));
        assert_eq!(write(&file, &u64::MAX.to_ne_bytes()), Err(EINVAL));
        assert_eq!(write(&file, &MAX.to_ne_bytes()), Ok(8));
        assert_eq!(write(&file, &1u64.to_ne_bytes()), Err(EAGAIN));
        assert_eq!(write(&file, &0u64.to_ne_bytes()), Ok(8));
        assert_eq!(poll(&file), Events::IN | Events::RDNORM);
    }

    #[test]
    fn a_write_that_must_wait_takes_nothing() {
        let file = open(Arc::new(EventFd::new(0, ReadMode::Value)));
        write(&file, &MAX.to_ne_bytes()).unwrap();
        let (bytes, caller) = (7u64.to_ne_bytes(), crate::ipc::testing::TestCaller::root());
        let mut source = crate::io::SliceSource(&bytes);
        let op = Op { file: &file, caller: &caller };
        assert_eq!(file.ops.write(op, &mut source), Err(EAGAIN));
        read(&file, 8).unwrap();
        assert_eq!(file.ops.write(op, &mut source), Ok(8));
        assert_eq!(read(&file, 8).as_deref(), Ok(&7u64.to_ne_bytes()[..]));
    }

    #[test]
    fn a_semaphore_gives_one_at_a_time() {
        let file = open(Arc::new(EventFd::new(2, ReadMode::Semaphore)));
        for _ in 0..2 {
            assert_eq!(read(&file, 8).as_deref(), Ok(&1u64.to_ne_bytes()[..]));
        }
        assert_eq!(read(&file, 8), Err(EAGAIN));
    }
}
