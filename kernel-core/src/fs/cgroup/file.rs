//! A file of a group, and what it is when it is open: text that is made when it is read from the start.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use super::attr::Attr;
use super::files::{self, Item, Writer};
use super::{Viewer, statfs};
use crate::errno::{E2BIG, EINVAL, ENODEV, EPERM, Result};
use crate::fs::pseudo::KeptText;
use crate::io::{Sink, Source};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;
use crate::task::cgroup::Group;
use crate::task::cred::Cred;
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFlags, Whence};
use crate::vfs::inode::{FileKind, Inode, Metadata, NewAttr, Opened, Owner, SetAttr, StatFs, Timestamp};
use crate::vfs::limit::seek_to;
use crate::vfs::notify::{Happening, Notify};

/// Most bytes of one write.
const WRITE_MAX: usize = 4096;
/// As many changes as there never are: an open file that was not read yet has news.
const NOTHING_SEEN: u64 = u64::MAX;

/// A file of a group.
pub struct GroupFile {
    me: Weak<GroupFile>,
    group: Weak<Group>,
    ino: u64,
    index: usize,
    attr: Mutex<Attr>,
    /// How often what it shows has changed, as far as that is told.
    changes: AtomicU64,
    queue: WaitQueue,
}

impl GroupFile {
    /// File number `index` of the table, of the group with number `id`.
    pub fn new(
        group: Weak<Group>,
        id: u64,
        index: usize,
        (uid, gid): (u32, u32),
        now: Timestamp,
    ) -> Arc<GroupFile> {
        let mode = files::item(index).map_or(0, Item::mode);
        let attr = Attr::new(FileKind::Regular, &NewAttr { mode, uid, gid }, now);
        Arc::new_cyclic(|me| GroupFile {
            me: me.clone(),
            group,
            ino: files::ino(id, index),
            index,
            attr: Mutex::new(attr),
            changes: AtomicU64::new(0),
            queue: WaitQueue::new(),
        })
    }

    /// Its place in the table.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its path, as [`Group::path_from`] has it.
    pub fn path_from(&self, root: &Group) -> Option<Vec<u8>> {
        let mut path = self.group.upgrade()?.path_from(root);
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(files::item(self.index)?.name.as_bytes());
        Some(path)
    }

    /// What it shows has changed: tells whoever polls it, or watches it or its directory, which is that of `group`.
    pub fn tell(self: Arc<GroupFile>, notify: &Notify, group: Arc<Group>) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.queue.wake(Events::PRI | Events::ERR);
        if notify.is_idle() {
            return;
        }
        let Some(item) = files::item(self.index) else { return };
        let (inode, dir): (Arc<dyn Inode>, Arc<dyn Inode>) = (self, group);
        notify.name(&dir, item.name.as_bytes(), &inode, Happening::MODIFY);
        notify.inode(&inode, Happening::MODIFY);
    }
}

impl Inode for GroupFile {
    fn metadata(&self) -> Metadata {
        self.attr.lock().metadata(self.ino, 1)
    }

    fn owner(&self) -> Owner {
        self.attr.lock().owner
    }

    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        statfs()
    }

    fn open(&self, _: OpenFlags, caller: &dyn Caller) -> Result<Opened> {
        let (file, group) = self.me.upgrade().zip(self.group.upgrade()).ok_or(ENODEV)?;
        if !group.has_file(&file) {
            return Err(ENODEV);
        }
        let opener = (caller.cred(), Viewer::of(caller, &group).ok_or(ENODEV)?);
        let seen = AtomicU64::new(NOTHING_SEEN);
        Ok(Opened::File(Arc::new(OpenGroupFile { file, opener, text: KeptText::default(), seen })))
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        let group = self.group.upgrade().ok_or(ENODEV)?;
        self.attr.lock().set(attr, group.now());
        Ok(())
    }
}

/// An open file of a group.
struct OpenGroupFile {
    file: Arc<GroupFile>,
    /// Who has opened it: rights to move processes are theirs.
    opener: (Arc<Cred>, Viewer),
    text: KeptText,
    /// How many of the changes a read or nobody has seen.
    seen: AtomicU64,
}

impl OpenGroupFile {
    /// Its group and what it is; ENODEV: it is gone.
    fn there(&self) -> Result<(Arc<Group>, &'static Item)> {
        let group = self.file.group.upgrade().filter(|group| group.has_file(&self.file));
        Ok((group.ok_or(ENODEV)?, files::item(self.file.index).ok_or(ENODEV)?))
    }

    fn copy(&self, op: Op<'_>, offset: u64, dst: &mut dyn Sink) -> Result<usize> {
        let (group, item) = self.there()?;
        self.text.copy(offset, dst, || {
            let read = item.read.ok_or(EINVAL)?;
            self.seen.store(self.file.changes.load(Ordering::Acquire), Ordering::Release);
            read(&group, op.caller)
        })
    }
}

impl FileOps for OpenGroupFile {
    fn poll(&self, _: Op<'_>) -> Events {
        let ready = Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM;
        let news = self.seen.load(Ordering::Acquire) != self.file.changes.load(Ordering::Acquire);
        if news || self.there().is_err() { ready | Events::PRI | Events::ERR } else { ready }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.file.queue)
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
        let (group, item) = self.there()?;
        let len = src.remaining();
        if len == 0 {
            return Ok(0);
        }
        if len > WRITE_MAX {
            return Err(E2BIG);
        }
        let mut bytes = alloc::vec![0; len];
        src.take_all(&mut bytes)?;
        let (cred, viewer) = &self.opener;
        let at_boundary = !viewer.is_initial && core::ptr::eq(&*viewer.root, &*group);
        if group.delegates() && at_boundary && !item.is_delegated {
            return Err(EPERM);
        }
        let write = item.write.ok_or(EINVAL)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        write(&group, text.trim(), &Writer { caller: op.caller, cred, root: &viewer.root })?;
        let mut position = op.file.position.lock();
        *position = position.saturating_add(len as u64);
        Ok(len)
    }

    fn write_at(&self, op: Op<'_>, _: u64, src: &mut dyn Source) -> Result<usize> {
        self.write(op, src)
    }

    fn seek(&self, op: Op<'_>, offset: i64, whence: Whence) -> Result<u64> {
        seek_to(op, offset, whence, 0, |_, _| Err(EINVAL))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
