//! File systems without storage: text that is made when it is read, directories that are lists, links that are computed.
//! `/proc` and `/sys` are made of these.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{EACCES, EINVAL, ENOTDIR, EPERM, Result};
use crate::io::{Sink, Source};
use crate::ipc::pidfd::PidFd;
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;
use crate::task::cred::Cred;
use crate::vfs::caller::Caller;
use crate::vfs::dir::{DirSink, Directory, DirectoryFile, list_dots};
use crate::vfs::file::{FileOps, Op, OpenFlags, Whence};
use crate::vfs::inode::{
    Device, FileKind, Guard, Inode, LinkTarget, Metadata, Opened, SetAttr, StatFs, Timestamp,
};
use crate::vfs::limit::seek_to;

/// Most bytes of one write.
const WRITE_MAX: usize = 4096;
/// Positions 0 and 1 of a directory are `.` and `..`.
const FIRST_POSITION: u64 = 2;

/// Makes the text of a file.
pub type ReadText = Box<dyn Fn(&dyn Caller) -> Result<Vec<u8>> + Send + Sync>;
/// Takes what was written to a file that somebody with these credentials has opened.
pub type WriteText = Box<dyn Fn(&dyn Caller, &Cred, &[u8]) -> Result<()> + Send + Sync>;
/// Says what tells of changes.
pub type MakeWatch = Box<dyn Fn() -> Result<Watch> + Send + Sync>;

/// Tells of changes: `poll` says PRI and ERR once after each, as `/proc/PID/mounts` has it (`proc_pid_mounts(5)`).
pub struct Watch {
    /// Woken at a change.
    pub queue: Arc<WaitQueue>,
    /// How many there were.
    pub count: Box<dyn Fn() -> u64 + Send + Sync>,
    /// How many of them `poll` has told of.
    pub seen: AtomicU64,
}

/// Opens a file that is not text.
pub type OpenOps = Box<dyn Fn(&dyn Caller) -> Result<Arc<dyn FileOps>> + Send + Sync>;
/// Says where a link leads.
pub type ReadLink = Box<dyn Fn(&dyn Caller) -> Result<LinkTarget> + Send + Sync>;

/// What is in a directory.
pub trait Listing: Send + Sync {
    /// The entry `name`; ENOENT.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>>;
    /// All entries that a caller sees, by ascending key.
    fn list(&self, caller: &dyn Caller) -> Vec<Listed>;
    /// Whether it always has the same entries.
    fn is_stable(&self) -> bool;
    /// The process whose directory it is: a descriptor of it does for a pidfd (`pidfd_send_signal(2)`).
    fn pidfd(&self) -> Option<&PidFd> {
        None
    }
    /// Who decides about the directory beside permission bits.
    fn guard(&self) -> Option<&dyn Guard> {
        None
    }
}

/// An entry of a [`Listing`].
pub struct Listed {
    /// Stays the same as long as the entry is there.
    pub key: u64,
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub kind: FileKind,
    /// Its name.
    pub name: Vec<u8>,
}

/// What a node is.
pub enum Body {
    /// A file of text.
    Text {
        /// Makes it.
        read: ReadText,
        /// Takes changes, if there can be any.
        write: Option<WriteText>,
    },
    /// A file of text that can be watched for changes.
    Watched {
        /// Makes it.
        read: ReadText,
        /// What tells of changes, for an open file.
        watch: MakeWatch,
    },
    /// A file of another kind.
    File(OpenOps),
    /// A directory.
    Directory(Arc<dyn Listing>),
    /// A symbolic link.
    Link(ReadLink),
}

/// What `stat` shows of a node, but its kind.
#[derive(Clone, Copy, Debug)]
pub struct NodeAttr {
    /// The file system's device number.
    pub device: Device,
    /// `f_type` of the file system.
    pub magic: u64,
    /// Inode number.
    pub ino: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// All times.
    pub time: Timestamp,
}

/// A file, directory or link without storage.
pub struct Node {
    attr: NodeAttr,
    body: Arc<Body>,
}

impl Node {
    /// A node.
    pub fn new(attr: NodeAttr, body: Body) -> Arc<Node> {
        Arc::new(Node { attr, body: Arc::new(body) })
    }

    /// The process that it stands for, if it is the directory of one.
    pub fn pidfd(&self) -> Option<&PidFd> {
        match &*self.body {
            Body::Directory(listing) => listing.pidfd(),
            _ => None,
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let attr = &self.attr;
        let (kind, nlink) = match &*self.body {
            Body::Text { .. } | Body::Watched { .. } | Body::File(_) => (FileKind::Regular, 1),
            Body::Directory(_) => (FileKind::Directory, 2),
            Body::Link(_) => (FileKind::Symlink, 1),
        };
        Metadata {
            dev: attr.device,
            ino: attr.ino,
            mode: kind.mode_bits() | attr.mode,
            nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: Device::default(),
            size: 0,
            block_size: 1024,
            blocks: 0,
            atime: attr.time,
            mtime: attr.time,
            ctime: attr.time,
            btime: attr.time,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: self.attr.magic, block_size: 4096, id: self.attr.device.raw(), ..StatFs::default() }
    }

    fn open(&self, flags: OpenFlags, caller: &dyn Caller) -> Result<Opened> {
        match &*self.body {
            Body::Text { read, write } => {
                if flags.writable() && write.is_none() {
                    return Err(EACCES);
                }
                // What the reader may not see is refused at once.
                let first = if flags.readable() && !flags.writable() { Some(read(caller)?) } else { None };
                let text = KeptText::new(first);
                let (body, opener) = (self.body.clone(), caller.cred());
                Ok(Opened::File(Arc::new(TextFile { body, opener, text, watch: None })))
            }
            Body::Watched { read, watch } => {
                if flags.writable() {
                    return Err(EACCES);
                }
                let (text, watch) = (KeptText::new(Some(read(caller)?)), Some(watch()?));
                let (body, opener) = (self.body.clone(), caller.cred());
                Ok(Opened::File(Arc::new(TextFile { body, opener, text, watch })))
            }
            Body::File(open) => Ok(Opened::File(open(caller)?)),
            Body::Directory(listing) => Ok(Opened::File(Arc::new(DirectoryFile(ListFile {
                ino: self.attr.ino,
                listing: listing.clone(),
            })))),
            Body::Link(_) => Ok(Opened::Special),
        }
    }

    /// Only O_TRUNC, which means nothing here, is let through.
    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        let others = SetAttr { size: None, ..*attr } != SetAttr::default();
        match &*self.body {
            Body::Text { write: Some(_), .. } if attr.size == Some(0) && !others => Ok(()),
            _ => Err(EPERM),
        }
    }

    fn guard(&self) -> Option<&dyn Guard> {
        match &*self.body {
            Body::Directory(listing) => listing.guard(),
            _ => None,
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        match &*self.body {
            Body::Directory(listing) => listing.lookup(name),
            _ => Err(ENOTDIR),
        }
    }

    fn names_are_stable(&self) -> bool {
        match &*self.body {
            Body::Directory(listing) => listing.is_stable(),
            _ => true,
        }
    }

    fn readlink(&self, caller: &dyn Caller) -> Result<LinkTarget> {
        match &*self.body {
            Body::Link(read) => read(caller),
            _ => Err(EINVAL),
        }
    }
}

/// An open file of text.
struct TextFile {
    body: Arc<Body>,
    opener: Arc<Cred>,
    text: KeptText,
    watch: Option<Watch>,
}

/// Text of an open file: made anew by each read at the start, kept for who reads on.
#[derive(Default)]
pub struct KeptText(Mutex<Option<Text>>);

struct Text {
    bytes: Vec<u8>,
    /// Its start was read.
    begun: bool,
}

impl KeptText {
    /// Text that was made already.
    fn new(bytes: Option<Vec<u8>>) -> KeptText {
        KeptText(Mutex::new(bytes.map(|bytes| Text { bytes, begun: false })))
    }

    /// Forgets it.
    fn forget(&self) {
        *self.0.lock() = None;
    }

    /// Copies from `offset` on what `make` makes.
    pub fn copy(
        &self,
        offset: u64,
        dst: &mut dyn Sink,
        make: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<usize> {
        // Taken out meanwhile: no lock is held while text is made or copied.
        let kept = self.0.lock().take();
        let bytes = match kept {
            Some(text) if offset != 0 || !text.begun => text.bytes,
            _ => make()?,
        };
        let rest = usize::try_from(offset).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        let copied = if rest.is_empty() { Ok(0) } else { dst.put(rest) };
        *self.0.lock() = Some(Text { bytes, begun: true });
        copied
    }
}

impl TextFile {
    fn copy(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let (Body::Text { read, .. } | Body::Watched { read, .. }) = &*self.body else { return Err(EINVAL) };
        self.text.copy(offset, dst, || read(op.caller))
    }
}

impl FileOps for TextFile {
    fn poll(&self, _: Op<'_>) -> Events {
        let ready = Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM;
        let Some(watch) = &self.watch else { return ready };
        let count = (watch.count)();
        let news = watch.seen.swap(count, Ordering::AcqRel) != count;
        let events = Events::IN | Events::RDNORM;
        if news { events | Events::PRI | Events::ERR } else { events }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.watch.as_ref().map(|watch| &*watch.queue)
    }

    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let offset = *op.file.position.lock();
        let read = self.copy(op, offset, dst)?;
        *op.file.position.lock() = offset.saturating_add(read as u64);
        Ok(read)
    }

    fn read_at(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        self.copy(op, offset, dst)
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let Body::Text { write: Some(write), .. } = &*self.body else { return Err(EINVAL) };
        let len = src.remaining();
        if len > WRITE_MAX {
            return Err(EINVAL);
        }
        let mut bytes = alloc::vec![0; len];
        src.take_all(&mut bytes)?;
        write(op.caller, &self.opener, &bytes)?;
        self.text.forget();
        let mut position = op.file.position.lock();
        *position = position.saturating_add(len as u64);
        Ok(len)
    }

    fn write_at(&self, op: Op<'_>, _: u64, src: &mut dyn Source) -> Result<usize> {
        self.write(op, src)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        if !matches!(whence, Whence::Set | Whence::Current) {
            return Err(EINVAL);
        }
        seek_to(op, offset, whence, 0, |_, _| Err(EINVAL))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open directory.
struct ListFile {
    ino: u64,
    listing: Arc<dyn Listing>,
}

impl Directory for ListFile {
    fn read_dir(&self, op: Op<'_>, sink: &mut dyn DirSink) -> Result<()> {
        let mut at = *op.file.position.lock();
        if !list_dots(&mut at, self.ino, self.ino, sink)? {
            *op.file.position.lock() = at;
            return Ok(());
        }
        for entry in self.listing.list(op.caller) {
            let position = entry.key.saturating_add(FIRST_POSITION);
            if position < at {
                continue;
            }
            if !sink.entry(entry.ino, position + 1, entry.kind.dirent_type(), &entry.name)? {
                break;
            }
            at = position + 1;
        }
        *op.file.position.lock() = at;
        Ok(())
    }
}
