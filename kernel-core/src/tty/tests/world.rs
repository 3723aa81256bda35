//! What terminals need around them, faked: processes, a clock, guest memory, a terminal of the host.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{EFAULT, EIO, Result};
use crate::host::{ByteStream, Ready, StreamError};
use crate::io::{SliceSource, UserMemory, VecSink};
use crate::sched::timers::Timers;
use crate::sched::wait::{Events, WaitQueue, Wake};
use crate::services::Clock;
use crate::sync::{Mutex, assert_no_guards};
use crate::task::cred::{Caps, Cred};
use crate::task::session::Session;
use crate::task::siginfo::SigInfo;
use crate::tty::console::Console;
use crate::tty::file::TtyFile;
use crate::tty::pty::{PtyMaster, Ptys};
use crate::tty::tty::{Tty, TtyServices};
use crate::vfs::caller::{Caller, Processes};
use crate::vfs::device::{Opener, Special};
use crate::vfs::dir::DirSink;
use crate::vfs::file::{Op, OpenFile, OpenFlags};
use crate::vfs::inode::{Device, Inode, Opened};

/// Where a process has memory.
pub const ADDRESS: u64 = 0x1000;

/// Everything but the terminals.
pub struct World {
    pub processes: Arc<FakeProcesses>,
    pub timers: Arc<Timers>,
    pub ptys: Arc<Ptys>,
    clock: Arc<FakeClock>,
}

#[derive(Default)]
pub struct FakeProcesses {
    sent: Mutex<Vec<(u32, u8)>>,
    /// Groups with their sessions.
    groups: Mutex<BTreeSet<(u32, u32)>>,
    orphans: Mutex<BTreeSet<u32>>,
}

impl Processes for FakeProcesses {
    fn signal_group(&self, pgid: u32, signal: u8) {
        assert_no_guards();
        self.sent.lock().push((pgid, signal));
    }
    fn signal_process(&self, pid: u32, info: SigInfo) {
        assert_no_guards();
        self.sent.lock().push((pid, info.signal));
    }
    fn signal_thread(&self, _: u32, _: u32, _: SigInfo) {}
    fn is_orphaned(&self, pgid: u32) -> bool {
        self.orphans.lock().contains(&pgid)
    }
    fn session_of_group(&self, pgid: u32) -> Option<u32> {
        self.groups.lock().iter().find(|(group, _)| *group == pgid).map(|(_, session)| *session)
    }
}

#[derive(Default)]
struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
        buf.fill(0);
    }
}

impl World {
    pub fn new() -> World {
        let (processes, timers, clock) =
            (Arc::<FakeProcesses>::default(), Arc::<Timers>::default(), Arc::default());
        let ptys = Ptys::new(services(&processes, &timers, &clock), Device::default(), Arc::default());
        World { processes, timers, ptys, clock }
    }

    /// A process `pid`, leader of its group, in the session `sid` that nobody else knows.
    pub fn process(&self, pid: u32, sid: u32) -> Process {
        self.add_group(pid, sid);
        Process {
            pid,
            group: pid,
            session: Session::new(sid),
            cred: Arc::new(Cred::root()),
            blocked: 0,
            memory: Memory::default(),
        }
    }

    /// A session leader `pid` and both ends of its terminal.
    pub fn session_on_pty(&self, pid: u32) -> (Process, File, File) {
        let leader = self.process(pid, pid);
        let master = self.open_master(&leader);
        let slave = self.open_slave(&master, &leader, OpenFlags::RDWR).unwrap();
        (leader, master, slave)
    }

    pub fn open_locked(&self, who: &Process) -> File {
        let master = self.ptys.open_master(&who.cred).unwrap();
        self.file(master, OpenFlags::RDWR)
    }

    pub fn open_master(&self, who: &Process) -> File {
        let file = self.open_locked(who);
        file.tty().state.lock().pty.locked = false;
        file
    }

    pub fn open_slave(&self, master: &File, who: &Process, flags: OpenFlags) -> Result<File> {
        let pty = self.ptys.get(master.tty().device.minor).unwrap();
        let node: Arc<dyn Inode> = pty.node.clone();
        let Opened::File(ops) = node.open(flags, who)? else { return Err(EIO) };
        Ok(File { file: OpenFile::new(ops, node, None, flags) })
    }

    pub fn open_console(&self, stream: &Arc<Stream>, who: &Process) -> (Arc<Console>, File) {
        let services = services(&self.processes, &self.timers, &self.clock);
        let console = Console::new(services, stream.clone());
        let master = self.open_master(who);
        let node = master.file.inode.clone();
        let ops = console
            .open(&Special {
                device: crate::tty::CONSOLE,
                inode: &node,
                flags: OpenFlags::RDWR,
                caller: who,
                beside: &|_| Err(EIO),
            })
            .unwrap();
        (console, File { file: OpenFile::new(ops, node, None, OpenFlags::RDWR) })
    }

    fn file(&self, master: Arc<PtyMaster>, flags: OpenFlags) -> File {
        let node = self.ptys.get(master.index()).unwrap().node;
        File { file: OpenFile::new(master, node, None, flags) }
    }

    /// What a directory lists.
    pub fn list(&self, directory: &Arc<dyn Inode>, who: &Process) -> Vec<Vec<u8>> {
        let Ok(Opened::File(ops)) = directory.open(OpenFlags::empty(), who) else { unreachable!() };
        let file = OpenFile::new(ops, directory.clone(), None, OpenFlags::empty());
        let mut names = Names(Vec::new());
        file.ops.read_dir(Op { file: &file, caller: who }, &mut names).unwrap();
        names.0
    }

    pub fn add_group(&self, group: u32, session: u32) {
        self.processes.groups.lock().insert((group, session));
    }

    pub fn orphan(&self, group: u32) {
        self.processes.orphans.lock().insert(group);
    }

    /// Who got which signal since the last call.
    pub fn signals(&self) -> Vec<(u32, u8)> {
        core::mem::take(&mut *self.processes.sent.lock())
    }

    /// Lets time pass.
    pub fn pass(&self, ns: u64) {
        let now = self.clock.0.fetch_add(ns, Ordering::Relaxed) + ns;
        self.timers.fire(now);
    }
}

fn services(processes: &Arc<FakeProcesses>, timers: &Arc<Timers>, clock: &Arc<FakeClock>) -> TtyServices {
    TtyServices { timers: timers.clone(), clock: clock.clone(), processes: processes.clone() }
}

struct Names(Vec<Vec<u8>>);

impl DirSink for Names {
    fn entry(&mut self, _: u64, _: u64, _: u8, name: &[u8]) -> Result<bool> {
        self.0.push(name.to_vec());
        Ok(true)
    }
}

/// An open file.
pub struct File {
    pub file: Arc<OpenFile>,
}

impl File {
    fn op<'a>(&'a self, who: &'a Process) -> Op<'a> {
        Op { file: &self.file, caller: who }
    }

    pub fn tty(&self) -> Arc<Tty> {
        let any = self.file.ops.as_any();
        let slave = any.downcast_ref::<TtyFile>().map(TtyFile::tty);
        slave.or_else(|| any.downcast_ref::<PtyMaster>().map(PtyMaster::tty)).unwrap().clone()
    }

    pub fn read(&self, who: &Process, len: usize) -> Result<Vec<u8>> {
        let mut sink = VecSink::new(len);
        self.file.ops.read(self.op(who), &mut sink)?;
        Ok(sink.bytes)
    }

    pub fn write(&self, who: &Process, bytes: &[u8]) -> Result<usize> {
        self.file.ops.write(self.op(who), &mut SliceSource(bytes))
    }

    pub fn ioctl(&self, who: &Process, command: u32, arg: u64) -> Result<u64> {
        self.file.ops.ioctl(self.op(who), command, arg)
    }

    pub fn poll(&self, who: &Process) -> Events {
        self.file.ops.poll(self.op(who))
    }

    /// Waits on the file, as a reader and writer would.
    pub fn watch(&self) -> Arc<Watch> {
        let watch = Arc::new(Watch(Mutex::new(Events::empty())));
        let all = Events::IN | Events::OUT | Events::PRI | Events::HUP | Events::ERR;
        self.file.ops.wait_queue().unwrap().register(all, watch.clone());
        watch
    }
}

/// What it was woken for.
pub struct Watch(Mutex<Events>);

impl Watch {
    pub fn events(&self) -> Events {
        *self.0.lock()
    }
}

impl Wake for Watch {
    fn wake(&self, events: Events) {
        assert_no_guards();
        *self.0.lock() |= events;
    }
}

/// A process with one thread.
pub struct Process {
    pub pid: u32,
    pub group: u32,
    pub session: Arc<Session>,
    pub cred: Arc<Cred>,
    /// Signals that are blocked or ignored.
    pub blocked: u64,
    pub memory: Memory,
}

impl Process {
    /// Another process of the session.
    pub fn child(&self, pid: u32, group: u32) -> Process {
        Process {
            pid,
            group,
            session: self.session.clone(),
            cred: self.cred.clone(),
            blocked: 0,
            memory: Memory::default(),
        }
    }

    /// The same process, without any privilege.
    pub fn without_caps(&self) -> Process {
        let cred = Cred { effective: Caps::empty(), ..Cred::root() };
        Process { cred: Arc::new(cred), ..self.child(self.pid, self.group) }
    }
}

impl Caller for Process {
    fn pid(&self) -> u32 {
        self.pid
    }
    fn tid(&self) -> u32 {
        self.pid
    }
    fn process_group(&self) -> u32 {
        self.group
    }
    fn session(&self) -> Arc<Session> {
        self.session.clone()
    }
    fn cred(&self) -> Arc<Cred> {
        self.cred.clone()
    }
    fn memory(&self) -> &dyn UserMemory {
        &self.memory
    }
    fn is_blocked_or_ignored(&self, signal: u8) -> bool {
        self.blocked >> (signal - 1) & 1 != 0
    }
    fn rlimit(&self, _: u32) -> u64 {
        u64::MAX
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

/// Sixty-four bytes at [`ADDRESS`].
#[derive(Default)]
pub struct Memory(Mutex<[[u8; 32]; 2]>);

impl Memory {
    pub fn store<T: IntoBytes + Immutable + ?Sized>(&self, value: &T) {
        self.write_bytes(ADDRESS, value.as_bytes()).unwrap();
    }

    pub fn load<T: FromBytes>(&self) -> T {
        T::read_from_prefix(self.0.lock().as_flattened()).unwrap().0
    }

    fn range(addr: u64, len: usize) -> Result<core::ops::Range<usize>> {
        let start = addr.checked_sub(ADDRESS).ok_or(EFAULT)? as usize;
        if start + len <= 64 { Ok(start..start + len) } else { Err(EFAULT) }
    }
}

impl UserMemory for Memory {
    fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        buf.copy_from_slice(&self.0.lock().as_flattened()[Memory::range(addr, buf.len())?]);
        Ok(())
    }
    fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.0.lock().as_flattened_mut()[Memory::range(addr, bytes.len())?].copy_from_slice(bytes);
        Ok(())
    }
}

/// A terminal of the host.
#[derive(Default)]
pub struct Stream(Mutex<StreamState>);

#[derive(Default)]
struct StreamState {
    input: VecDeque<u8>,
    ended: bool,
    gone: bool,
    output: Vec<u8>,
    blocked: bool,
    size: Option<(u16, u16)>,
}

impl Stream {
    pub fn input(&self, bytes: &[u8]) {
        self.0.lock().input.extend(bytes);
    }
    pub fn end(&self) {
        self.0.lock().ended = true;
    }
    pub fn take_away(&self) {
        self.0.lock().gone = true;
    }
    pub fn unread(&self) -> usize {
        self.0.lock().input.len()
    }
    pub fn output(&self) -> Vec<u8> {
        core::mem::take(&mut self.0.lock().output)
    }
    pub fn block(&self, blocked: bool) {
        self.0.lock().blocked = blocked;
    }
    pub fn resize(&self, rows: u16, columns: u16) {
        self.0.lock().size = Some((rows, columns));
    }
}

impl ByteStream for Stream {
    fn read(&self, buf: &mut [u8]) -> Result<usize, StreamError> {
        assert_no_guards();
        let mut state = self.0.lock();
        if state.gone {
            return Err(StreamError::Closed);
        }
        let len = buf.len().min(state.input.len());
        for (to, from) in buf.iter_mut().zip(state.input.drain(..len)) {
            *to = from;
        }
        if len == 0 && !state.ended { Err(StreamError::WouldBlock) } else { Ok(len) }
    }

    fn write(&self, buf: &[u8]) -> Result<usize, StreamError> {
        assert_no_guards();
        let mut state = self.0.lock();
        if state.blocked {
            return Err(StreamError::WouldBlock);
        }
        // Takes odd pieces, so that what is left over shows.
        let len = buf.len().min(77);
        state.output.extend_from_slice(&buf[..len]);
        Ok(len)
    }

    fn ready(&self, wanted: Ready) -> Ready {
        let state = self.0.lock();
        let mut ready = Ready::empty();
        if !state.input.is_empty() || state.ended {
            ready |= Ready::READ;
        }
        if !state.blocked {
            ready |= Ready::WRITE;
        }
        ready & wanted
    }

    fn window_size(&self) -> Option<(u16, u16)> {
        self.0.lock().size
    }
}
