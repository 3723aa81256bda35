//! A small world for unit tests of file systems: a tmpfs as root, a caller, and shorthands.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{EFAULT, Result};
use crate::fs::tmpfs::{Options, Tmpfs};
use crate::host::Host;
use crate::host::fake::FakeHost;
use crate::io::{SliceSource, UserMemory, VecSink};
use crate::mm::ram::Ram;
use crate::sched::wait::WaitQueue;
use crate::services::{Clock, Services};
use crate::sync::Mutex;
use crate::task::cred::{Caps, Cred};
use crate::task::session::Session;
use crate::task::siginfo::SigInfo;
use crate::vfs::anon::AnonInodes;
use crate::vfs::caller::{Caller, Processes};
use crate::vfs::context::FsContext;
use crate::vfs::device::Devices;
use crate::vfs::dir::DirSink;
use crate::vfs::file::{Op, OpenFile, OpenFlags};
use crate::vfs::inode::{Device, NewNode};
use crate::vfs::mount::Namespace;
use crate::vfs::path::Path;
use crate::vfs::walk::{LastLink, Walker};

/// Every look at the clock is a second later.
#[derive(Default)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn monotonic_ns(&self) -> u64 {
        self.0.fetch_add(1_000_000_000, Ordering::Relaxed)
    }

    fn boottime_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    fn uptime_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    fn realtime_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    fn entropy(&self, buf: &mut [u8]) {
        buf.fill(7);
    }
}

/// Remembers signals.
#[derive(Default)]
pub struct Signals(pub Mutex<Vec<u8>>);

impl Processes for Signals {
    fn signal_group(&self, _: u32, signal: u8) {
        self.0.lock().push(signal);
    }

    fn signal_process(&self, _: u32, info: SigInfo) {
        self.0.lock().push(info.signal);
    }

    fn signal_thread(&self, _: u32, _: u32, info: SigInfo) {
        self.0.lock().push(info.signal);
    }

    fn is_orphaned(&self, _: u32) -> bool {
        false
    }

    fn session_of_group(&self, _: u32) -> Option<u32> {
        None
    }
}

/// Has no memory and can be anybody.
pub struct TestCaller {
    /// Credentials.
    pub cred: Mutex<Arc<Cred>>,
    /// RLIMIT_FSIZE; other limits are infinite.
    pub file_size: AtomicU64,
}

impl UserMemory for TestCaller {
    fn read_bytes(&self, _: u64, _: &mut [u8]) -> Result<()> {
        Err(EFAULT)
    }

    fn write_bytes(&self, _: u64, _: &[u8]) -> Result<()> {
        Err(EFAULT)
    }
}

impl Caller for TestCaller {
    fn pid(&self) -> u32 {
        1
    }

    fn tid(&self) -> u32 {
        1
    }

    fn process_group(&self) -> u32 {
        1
    }

    fn session(&self) -> Arc<Session> {
        Session::new(1)
    }

    fn cred(&self) -> Arc<Cred> {
        self.cred.lock().clone()
    }

    fn memory(&self) -> &dyn UserMemory {
        self
    }

    fn is_blocked_or_ignored(&self, _: u8) -> bool {
        false
    }

    fn rlimit(&self, resource: u32) -> u64 {
        match resource {
            linux_raw_sys::general::RLIMIT_FSIZE => self.file_size.load(Ordering::Relaxed),
            _ => u64::MAX,
        }
    }

    fn take_signal(&self, _: u64) -> Option<SigInfo> {
        None
    }

    fn signal_queue(&self) -> Arc<WaitQueue> {
        Arc::default()
    }

    fn has_signal(&self, _: u64) -> bool {
        false
    }
}

/// A namespace with a tmpfs as root, mode 755.
pub struct World {
    pub services: Arc<Services>,
    pub signals: Arc<Signals>,
    pub root: Arc<Tmpfs>,
    pub context: Arc<FsContext>,
    pub caller: TestCaller,
}

impl World {
    pub fn new() -> World {
        World::with_size(None)
    }

    /// With a limit on the bytes in the root.
    pub fn with_size(size: Option<u64>) -> World {
        let signals = Arc::new(Signals::default());
        let services = Arc::new(Services {
            ram: Ram::new(FakeHost::new(1).ram(), 64 << 20),
            timers: Arc::default(),
            clock: Arc::new(TestClock::default()),
            processes: signals.clone(),
            anon: AnonInodes::default(),
            places: Arc::default(),
            room: Default::default(),
            epoll: crate::ipc::epoll::Topology::new(64 << 20),
            inotify: Arc::new(crate::ipc::inotify::Limits::new(64 << 20)),
        });
        let options = Options { size, mode: 0o755, ..Options::default() };
        let root = Tmpfs::new(&services, "tmpfs", Device::new(0, 20), options);
        let namespace = Namespace::new(root.clone(), b"root", Arc::<Devices>::default());
        let caller =
            TestCaller { cred: Mutex::new(Arc::new(Cred::root())), file_size: AtomicU64::new(u64::MAX) };
        World { services, signals, root, context: FsContext::new(namespace).unwrap(), caller }
    }

    /// From now on the caller is a plain user.
    pub fn become_user(&self, uid: u32) {
        let mut cred = Cred::root();
        (cred.uid, cred.euid, cred.suid, cred.fsuid) = (uid, uid, uid, uid);
        (cred.gid, cred.egid, cred.sgid, cred.fsgid) = (uid, uid, uid, uid);
        (cred.effective, cred.permitted) = (Caps::empty(), Caps::empty());
        *self.caller.cred.lock() = Arc::new(cred);
    }

    pub fn walker(&self) -> Walker<'_> {
        self.context.walker(&self.caller)
    }

    pub fn cwd(&self) -> Path {
        self.context.cwd()
    }

    pub fn resolve(&self, path: &str) -> Result<Path> {
        self.walker().resolve(&self.cwd(), path.as_bytes(), LastLink::Follow)
    }

    pub fn mkdir(&self, path: &str) -> Result<Path> {
        self.walker().make(&self.cwd(), path.as_bytes(), NewNode::Directory, 0o777)
    }

    pub fn symlink(&self, target: &str, path: &str) -> Result<Path> {
        self.walker().make(&self.cwd(), path.as_bytes(), NewNode::Symlink(target.as_bytes()), 0)
    }

    pub fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        self.walker().open(&self.cwd(), path.as_bytes(), flags, 0o666)
    }

    /// Makes a file with contents.
    pub fn file(&self, path: &str, contents: &[u8]) -> Arc<OpenFile> {
        let file = self.open(path, OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
        assert_eq!(self.write(&file, contents), Ok(contents.len()));
        file
    }

    pub fn op<'a>(&'a self, file: &'a OpenFile) -> Op<'a> {
        Op { file, caller: &self.caller }
    }

    pub fn write(&self, file: &OpenFile, bytes: &[u8]) -> Result<usize> {
        file.ops.write(self.op(file), &mut SliceSource(bytes))
    }

    pub fn read_at(&self, file: &OpenFile, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut sink = VecSink::new(len);
        file.ops.read_at(self.op(file), offset, &mut sink)?;
        Ok(sink.bytes)
    }

    /// All names in a directory, in its order.
    pub fn list(&self, path: &str) -> Vec<Vec<u8>> {
        let dir = self.open(path, OpenFlags::DIRECTORY).unwrap();
        let mut names = Names(Vec::new());
        dir.ops.read_dir(self.op(&dir), &mut names).unwrap();
        names.0
    }

    /// The names in a directory as far as it can be read.
    pub fn list_some(&self, path: &str) -> Vec<Vec<u8>> {
        let mut names = Names(Vec::new());
        if let Ok(dir) = self.open(path, OpenFlags::DIRECTORY) {
            let _ = dir.ops.read_dir(self.op(&dir), &mut names);
        }
        names.0
    }

    pub fn unlink(&self, path: &str) -> Result<()> {
        self.walker().unlink(&self.cwd(), path.as_bytes())
    }

    pub fn rmdir(&self, path: &str) -> Result<()> {
        self.walker().rmdir(&self.cwd(), path.as_bytes())
    }

    pub fn rename(&self, old: &str, new: &str, mode: crate::vfs::inode::RenameMode) -> Result<()> {
        let (walker, cwd) = (self.walker(), self.cwd());
        let parent = |path: &str| walker.parent(&cwd, path.as_bytes());
        walker.rename(&parent(old)?, &parent(new)?, mode)
    }
}

struct Names(Vec<Vec<u8>>);

impl DirSink for Names {
    fn entry(&mut self, _: u64, _: u64, _: u8, name: &[u8]) -> Result<bool> {
        self.0.push(name.to_vec());
        Ok(true)
    }
}
