//! Signals by descriptor. Source: `signalfd(2)`.

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{EAGAIN, EINVAL, Result};
use crate::io::Sink;
use crate::sched::wait::{Events, WaitQueue};
use crate::task::siginfo::{Payload, SigInfo};
use crate::vfs::file::{FileOps, Op, Whence};

/// Bytes of a `signalfd_siginfo`.
pub const RECORD_SIZE: usize = 128;

/// Takes pending signals of whoever reads it.
pub struct SignalFd {
    mask: AtomicU64,
    /// Woken when the mask changes; signals come by the caller's own queue.
    queue: WaitQueue,
}

impl SignalFd {
    /// For the signals of `mask` (bit n-1 is signal n); SIGKILL and SIGSTOP are dropped.
    pub fn new(mask: u64) -> SignalFd {
        SignalFd { mask: AtomicU64::new(allowed(mask)), queue: WaitQueue::new() }
    }

    /// Replaces the mask.
    pub fn set_mask(&self, mask: u64) {
        self.mask.store(allowed(mask), Ordering::Release);
        self.queue.wake(Events::IN | Events::RDNORM);
    }

    fn mask(&self) -> u64 {
        self.mask.load(Ordering::Acquire)
    }
}

fn allowed(mask: u64) -> u64 {
    const SIGKILL: u64 = 1 << 8;
    const SIGSTOP: u64 = 1 << 18;
    mask & !(SIGKILL | SIGSTOP)
}

impl FileOps for SignalFd {
    /// There are no positions; Linux lets it be asked for all the same.
    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        if dst.remaining() < RECORD_SIZE {
            return Err(EINVAL);
        }
        let mut total = 0;
        while dst.remaining() >= RECORD_SIZE
            && let Some(info) = op.caller.take_signal(self.mask())
        {
            match dst.put_all(&record(&info)) {
                Ok(()) => total += RECORD_SIZE,
                Err(errno) if total == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if total == 0 { Err(EAGAIN) } else { Ok(total) }
    }

    fn poll(&self, op: Op<'_>) -> Events {
        match op.caller.has_signal(self.mask()) {
            true => Events::IN | Events::RDNORM,
            false => Events::empty(),
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn caller_queue(&self, op: Op<'_>) -> Option<Arc<WaitQueue>> {
        Some(op.caller.signal_queue())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A `struct signalfd_siginfo`.
fn record(info: &SigInfo) -> [u8; RECORD_SIZE] {
    let mut record = [0; RECORD_SIZE];
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &u32::from(info.signal).to_ne_bytes());
    put(4, &info.errno.to_ne_bytes());
    put(8, &info.code.to_ne_bytes());
    match info.payload {
        Payload::Sender { pid, uid, value } => {
            put(12, &pid.to_ne_bytes());
            put(16, &uid.to_ne_bytes());
            put(44, &(value as u32).to_ne_bytes());
            put(48, &value.to_ne_bytes());
        }
        Payload::Child { pid, uid, status, utime, stime } => {
            put(12, &pid.to_ne_bytes());
            put(16, &uid.to_ne_bytes());
            put(40, &status.to_ne_bytes());
            put(56, &utime.to_ne_bytes());
            put(64, &stime.to_ne_bytes());
        }
        Payload::Address(addr) => put(72, &addr.to_ne_bytes()),
        Payload::Timer { id, overrun, value, .. } => {
            put(24, &id.to_ne_bytes());
            put(32, &overrun.to_ne_bytes());
            put(44, &(value as u32).to_ne_bytes());
            put(48, &value.to_ne_bytes());
        }
        Payload::Poll { band, fd } => {
            put(20, &fd.to_ne_bytes());
            put(28, &(band as u32).to_ne_bytes());
        }
        Payload::Syscall { addr, nr, arch } => {
            put(84, &nr.to_ne_bytes());
            put(88, &addr.to_ne_bytes());
            put(96, &arch.to_ne_bytes());
        }
    }
    record
}
