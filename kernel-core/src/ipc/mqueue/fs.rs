//! The file system of queues: one directory, and a file for each queue. Source: `mq_overview(7)`, "Mounting the message
//! queue filesystem".

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use super::queue::{Message, Queue, State};
use super::{Capacity, Mqueues};
use crate::errno::{EACCES, EEXIST, EINVAL, ENAMETOOLONG, ENOENT, EPERM, Result};
use crate::io::{Sink, Source};
use crate::ipc::sysv::IpcNamespace;
use crate::sched::wait::{Events, WaitQueue};
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::cred::{Caps, Cred};
use crate::task::rlimit::Rlimits;
use crate::vfs::caller::Caller;
use crate::vfs::dir::{self, DirSink, DirectoryFile};
use crate::vfs::file::{FileOps, Op, OpenFile, OpenFlags, Whence};
use crate::vfs::inode::{
    Device, FileKind, Inode, MODE_BITS, Metadata, NAME_MAX, NewAttr, NewNode, Opened, Owner, S_ISVTX,
    SetAttr, StatFs, Timestamp,
};
use crate::vfs::limit::seek_to;
use crate::vfs::mount::FileSystem;
use crate::vfs::permission::{self, Access};
use crate::vfs::types::{FsType, NewFs};

/// `MQUEUE_MAGIC`.
const MAGIC: u64 = 0x1980_0202;
/// Size of a queue's file, whatever its text.
const FILE_SIZE: u64 = 80;
const ROOT_INO: u64 = 1;
const DEVICE: Device = Device::new(0, 17);
/// Positions 0 and 1 of the directory are `.` and `..`.
const FIRST_POSITION: u64 = 2;

/// The directory.
pub struct Directory {
    queues: Weak<Mqueues>,
    services: Arc<Services>,
    state: Mutex<Names>,
}

struct Names {
    owner: Owner,
    time: Timestamp,
    last_ino: u64,
    queues: BTreeMap<Vec<u8>, Arc<Queue>>,
}

/// What `mq_open` wants of a queue that is not there.
pub struct Wanted {
    /// Permission bits, umask applied.
    pub mode: u32,
    /// Its size.
    pub capacity: Option<Capacity>,
    /// The maker's `RLIMIT_MSGQUEUE`.
    pub rlimit: u64,
}

impl Directory {
    pub(super) fn new(queues: Weak<Mqueues>, services: &Arc<Services>) -> Arc<Directory> {
        let owner = Owner::new(FileKind::Directory.mode_bits() | 0o777 | S_ISVTX, 0, 0);
        let time = Timestamp::from_ns(services.clock.realtime_ns());
        let state = Mutex::new(Names { owner, time, last_ino: ROOT_INO, queues: BTreeMap::new() });
        Arc::new(Directory { queues, services: services.clone(), state })
    }

    /// `mq_open(2)`: EEXIST, ENOENT, EACCES, and what a new queue may fail with.
    pub fn open(
        &self,
        name: &[u8],
        flags: OpenFlags,
        caller: &dyn Caller,
        wanted: &Wanted,
    ) -> Result<Arc<OpenFile>> {
        check_name(name)?;
        let cred = caller.cred();
        let found = self.state.lock().queues.get(name).cloned();
        let queue = match found {
            Some(_) if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) => return Err(EEXIST),
            Some(queue) => {
                let access = match flags.bits() & 3 {
                    0 => Access::READ,
                    1 => Access::WRITE,
                    2 => Access::READ | Access::WRITE,
                    _ => return Err(EINVAL),
                };
                permission::check(queue.state.lock().owner, &cred, access)?;
                queue
            }
            None if flags.contains(OpenFlags::CREAT) => {
                permission::check(self.state.lock().owner, &cred, Access::WRITE | Access::EXEC)?;
                self.make_queue(name, &cred, wanted)?
            }
            None => return Err(ENOENT),
        };
        let status = flags & (OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::NONBLOCK);
        Ok(OpenFile::new(Arc::new(QueueFile(queue.clone())), queue, None, status))
    }

    fn make_queue(&self, name: &[u8], cred: &Cred, wanted: &Wanted) -> Result<Arc<Queue>> {
        let queues = self.queues.upgrade().ok_or(ENOENT)?;
        let (capacity, charge) = queues.charge(wanted.capacity, cred, wanted.rlimit)?;
        let held = queues.accounts.room.take(size_of::<Queue>() + name.len())?;
        let now = Timestamp::from_ns(self.services.clock.realtime_ns());
        let mode = FileKind::Regular.mode_bits() | wanted.mode & MODE_BITS;
        let mut names = self.state.lock();
        if names.queues.contains_key(name) {
            drop(names);
            return Err(EEXIST);
        }
        names.last_ino += 1;
        names.time = now;
        let queue = Arc::new_cyclic(|me| Queue {
            me: me.clone(),
            name: name.to_vec(),
            ino: names.last_ino,
            capacity,
            services: self.services.clone(),
            state: Mutex::new(State::new(Owner::new(mode, cred.fsuid, cred.fsgid), now)),
            queue: WaitQueue::new(),
            _charge: charge,
            _held: held,
        });
        names.queues.insert(name.to_vec(), queue.clone());
        Ok(queue)
    }

    /// `mq_unlink(2)`: ENOENT, EACCES, EPERM.
    pub fn remove(&self, name: &[u8], cred: &Cred) -> Result<()> {
        check_name(name)?;
        let (dir, victim) = {
            let names = self.state.lock();
            let victim = names.queues.get(name).ok_or(ENOENT)?;
            (names.owner, victim.state.lock().owner)
        };
        permission::check(dir, cred, Access::WRITE | Access::EXEC)?;
        permission::check_sticky(dir, victim, cred)?;
        self.unlink(name)
    }
}

/// A name that is one: EACCES, ENAMETOOLONG.
fn check_name(name: &[u8]) -> Result<()> {
    match name {
        b"" => Err(ENOENT),
        b"." | b".." => Err(EACCES),
        name if name.contains(&b'/') => Err(EACCES),
        name if name.len() > NAME_MAX => Err(ENAMETOOLONG),
        _ => Ok(()),
    }
}

impl Mqueues {
    /// A message whose text is `size` zeros: ENOMEM.
    pub fn message(&self, priority: u32, size: usize) -> Result<Message> {
        let held = self.accounts.room.take(size_of::<Message>() + size)?;
        Ok(Message { priority, text: alloc::vec![0; size], _held: held })
    }
}

fn metadata(owner: Owner, ino: u64, nlink: u32, size: u64, times: [Timestamp; 3]) -> Metadata {
    Metadata {
        dev: DEVICE,
        ino,
        mode: owner.mode,
        nlink,
        uid: owner.uid,
        gid: owner.gid,
        rdev: Device::default(),
        size,
        block_size: 4096,
        blocks: 0,
        atime: times[0],
        mtime: times[1],
        ctime: times[2],
        btime: times[2],
    }
}

fn statfs() -> StatFs {
    StatFs { magic: MAGIC, block_size: 4096, id: DEVICE.raw(), ..StatFs::default() }
}

impl Inode for Directory {
    fn metadata(&self) -> Metadata {
        let names = self.state.lock();
        metadata(names.owner, ROOT_INO, 2, names.queues.len() as u64 * 20, [names.time; 3])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        statfs()
    }

    fn open(&self, _: OpenFlags, _: &dyn Caller) -> Result<Opened> {
        let Some(queues) = self.queues.upgrade() else { return Err(ENOENT) };
        Ok(Opened::File(Arc::new(DirectoryFile(OpenDirectory(queues.directory.clone())))))
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        self.state.lock().owner.change(attr);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let queue = self.state.lock().queues.get(name).cloned();
        Ok(queue.ok_or(ENOENT)?)
    }

    /// `mq_open` and `mq_unlink` do not pass through the tree of names.
    fn names_are_stable(&self) -> bool {
        false
    }

    fn make(&self, name: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        if !matches!(what, NewNode::File) {
            return Err(EPERM);
        }
        // Whose limits count is not known here: the usual ones do.
        let rlimit = Rlimits::default().soft(linux_raw_sys::general::RLIMIT_MSGQUEUE);
        let mut cred = Cred::root();
        (cred.uid, cred.fsuid, cred.fsgid) = (attr.uid, attr.uid, attr.gid);
        cred.effective = Caps::empty();
        Ok(self.make_queue(name, &cred, &Wanted { mode: attr.mode, capacity: None, rlimit })?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let removed = self.state.lock().queues.remove(name).ok_or(ENOENT)?;
        removed.state.lock().is_named = false;
        Ok(())
    }
}

/// The open directory.
struct OpenDirectory(Arc<Directory>);

impl dir::Directory for OpenDirectory {
    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        let mut at = *op.file.position.lock();
        if !dir::list_dots(&mut at, ROOT_INO, ROOT_INO, sink)? {
            *op.file.position.lock() = at;
            return Ok(());
        }
        // By number, which stays the same as long as a queue is there.
        let mut all: Vec<Arc<Queue>> = self.0.state.lock().queues.values().cloned().collect();
        all.sort_unstable_by_key(|queue| queue.ino);
        for queue in all {
            if queue.ino + FIRST_POSITION < at {
                continue;
            }
            let next = queue.ino + FIRST_POSITION + 1;
            if !sink.entry(queue.ino, next, FileKind::Regular.dirent_type(), &queue.name)? {
                break;
            }
            at = next;
        }
        *op.file.position.lock() = at;
        Ok(())
    }
}

impl Inode for Queue {
    fn metadata(&self) -> Metadata {
        let state = self.state.lock();
        metadata(state.owner, self.ino, u32::from(state.is_named), FILE_SIZE, state.times)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        statfs()
    }

    fn open(&self, _: OpenFlags, _: &dyn Caller) -> Result<Opened> {
        Ok(Opened::File(Arc::new(QueueFile(self.me.upgrade().ok_or(ENOENT)?))))
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        let mut state = self.state.lock();
        state.owner.change(attr);
        let now = Timestamp::from_ns(self.services.clock.realtime_ns());
        let [atime, mtime, ctime] = &mut state.times;
        *atime = attr.atime.map_or(*atime, |time| time.at(now));
        *mtime = attr.mtime.map_or(*mtime, |time| time.at(now));
        *ctime = now;
        Ok(())
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        let named = self.state.lock().is_named;
        let end: &[u8] = if named { b"" } else { b" (deleted)" };
        Some([b"/", self.name.as_slice(), end].concat())
    }
}

/// An open queue.
pub struct QueueFile(Arc<Queue>);

impl QueueFile {
    /// The queue of an open file.
    pub fn queue_of(file: &OpenFile) -> Option<&Arc<Queue>> {
        file.ops.as_any().downcast_ref::<QueueFile>().map(|file| &file.0)
    }
}

impl FileOps for QueueFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let offset = *op.file.position.lock();
        let read = self.read_at(op, offset, dst)?;
        *op.file.position.lock() = offset.saturating_add(read as u64);
        Ok(read)
    }

    fn read_at(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let text = self.0.text(op.caller);
        let rest = usize::try_from(offset).ok().and_then(|start| text.get(start..)).unwrap_or_default();
        if rest.is_empty() { Ok(0) } else { dst.put(rest) }
    }

    fn write_at(&self, _: Op<'_>, _: u64, _: &mut dyn Source) -> Result<usize> {
        Err(EINVAL)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        seek_to(op, offset, whence, FILE_SIZE, |_, _| Err(EINVAL))
    }

    fn poll(&self, _: Op<'_>) -> Events {
        let count = self.0.count();
        let mut events = Events::empty();
        events.set(Events::IN | Events::RDNORM, count > 0);
        events.set(Events::OUT | Events::WRNORM, count < self.0.capacity.messages);
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.0.queue)
    }

    /// Whoever closes a queue is no longer told.
    fn flush(&self, op: Op<'_>) {
        self.0.unregister(op.caller.pid());
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The type `mqueue`: a mount shows the queues of the namespace of who makes it.
pub struct MqueueType(pub Arc<IpcNamespace>);

impl MqueueType {
    fn of(&self, caller: &dyn Caller) -> Arc<IpcNamespace> {
        caller.namespaces().map_or_else(|| self.0.clone(), |namespaces| namespaces.ipc.clone())
    }
}

impl FsType for MqueueType {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn may_mount(&self, caller: &dyn Caller) -> bool {
        caller.cred().capable_in(&self.of(caller).user_ns, Caps::SYS_ADMIN)
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        Ok(Arc::new(MqueueFs(self.of(new.caller).mqueue.directory.clone())))
    }
}

struct MqueueFs(Arc<Directory>);

impl FileSystem for MqueueFs {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.0.clone()
    }

    fn device(&self) -> Device {
        DEVICE
    }
}
