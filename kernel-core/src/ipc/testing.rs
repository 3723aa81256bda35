//! For the unit tests of this folder: a caller, files of objects, and counting wakes.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::errno::Result;
use crate::io::{SliceSource, UserMemory, VecSink};
use crate::sched::wait::{Events, WaitQueue, Wake};
use crate::services::Clock;
use crate::sync::Mutex;
use crate::task::cred::{Caps, Cred};
use crate::task::session::Session;
use crate::task::siginfo::SigInfo;
use crate::vfs::anon::{AnonInodes, AnonKind};
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFile, OpenFlags};

/// A task with nothing but credentials and a memory of bytes.
pub struct TestCaller {
    pub cred: Arc<Cred>,
    memory: TestMemory,
    signals: Arc<WaitQueue>,
}

#[derive(Default)]
struct TestMemory(Mutex<BTreeMap<u64, u8>>);

impl UserMemory for TestMemory {
    fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        let bytes = self.0.lock();
        for (at, byte) in (addr..).zip(buf) {
            *byte = bytes.get(&at).copied().unwrap_or(0);
        }
        Ok(())
    }

    fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.0.lock().extend((addr..).zip(bytes.iter().copied()));
        Ok(())
    }
}

impl TestCaller {
    /// The superuser.
    pub fn root() -> TestCaller {
        TestCaller { cred: Arc::new(Cred::root()), memory: TestMemory::default(), signals: Arc::default() }
    }

    /// Someone without capabilities.
    pub fn user() -> TestCaller {
        let cred = Cred { uid: 1000, euid: 1000, effective: Caps::empty(), ..Cred::root() };
        TestCaller { cred: Arc::new(cred), ..TestCaller::root() }
    }
}

impl Caller for TestCaller {
    fn pid(&self) -> u32 {
        7
    }
    fn tid(&self) -> u32 {
        7
    }
    fn process_group(&self) -> u32 {
        7
    }
    fn session(&self) -> Arc<Session> {
        Session::new(7)
    }
    fn cred(&self) -> Arc<Cred> {
        self.cred.clone()
    }
    fn memory(&self) -> &dyn UserMemory {
        &self.memory
    }
    fn is_blocked_or_ignored(&self, _: u8) -> bool {
        false
    }
    fn rlimit(&self, _: u32) -> u64 {
        1024
    }
    fn take_signal(&self, _: u64) -> Option<SigInfo> {
        None
    }
    fn signal_queue(&self) -> Arc<WaitQueue> {
        self.signals.clone()
    }
    fn has_signal(&self, _: u64) -> bool {
        false
    }
}

/// An open file of an object.
pub fn open(ops: Arc<dyn FileOps>) -> Arc<OpenFile> {
    open_with(ops, OpenFlags::RDWR)
}

/// An open file of an object, with those flags.
pub fn open_with(ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<OpenFile> {
    let inode = AnonInodes::default().inode(AnonKind::Other("[test]"), &Cred::root(), 0);
    OpenFile::new(ops, inode, None, flags)
}

/// Reads up to `len` bytes.
pub fn read(file: &OpenFile, len: usize) -> Result<Vec<u8>> {
    let (caller, mut sink) = (TestCaller::root(), VecSink::new(len));
    file.ops.read(Op { file, caller: &caller }, &mut sink)?;
    Ok(sink.bytes)
}

/// Writes bytes; how many were taken.
pub fn write(file: &OpenFile, bytes: &[u8]) -> Result<usize> {
    file.ops.write(Op { file, caller: &TestCaller::root() }, &mut SliceSource(bytes))
}

/// What can be done with a file.
pub fn poll(file: &OpenFile) -> Events {
    file.ops.poll(Op { file, caller: &TestCaller::root() })
}

/// Counts how often it was woken.
#[derive(Default)]
pub struct Count(AtomicUsize);

impl Count {
    /// How often since this was last asked.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(&self, _: Events) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts the wake-ups of a file for `events`.
pub fn count_wakes(file: &OpenFile, events: Events) -> Arc<Count> {
    let count = Arc::new(Count::default());
    file.ops.wait_queue().unwrap().register(events, count.clone());
    count
}

/// A clock that stands still until it is moved.
#[derive(Default)]
pub struct TestClock(pub AtomicU64);

impl Clock for TestClock {
    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn boottime_ns(&self) -> u64 {
        self.monotonic_ns()
    }
    fn uptime_ns(&self) -> u64 {
        self.monotonic_ns()
    }
    fn realtime_ns(&self) -> u64 {
        1_000_000 + self.monotonic_ns()
    }
    fn entropy(&self, buf: &mut [u8]) {
        buf.fill(0);
    }
}
