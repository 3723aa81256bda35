//! Who wants to hear what happens to files: the marks that `inotify(7)` puts on inodes.
//!
//! A file that nobody watches costs its users one load, as long as nobody watches anything; else a few more, to see
//! that no mark has its place in [`Notify::counts`]. What happens to a file is told to its own marks and, with its name,
//! to those of its directory, which comes first.
//!
//! Lock order: a listener's own lock, then the table's. Listeners are told with the table unlocked, and with no lock of a
//! directory held.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hashbrown::HashMap;

use crate::sync::Mutex;
use crate::vfs::dentry::Dentry;
use crate::vfs::inode::{Device, FileKind, Inode};

bitflags::bitflags! {
    /// What happened, and how it is said; the bits are those of `inotify(7)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Happening: u32 {
        /// It was read.
        const ACCESS = 0x1;
        /// It was written, or cut.
        const MODIFY = 0x2;
        /// Its attributes changed.
        const ATTRIB = 0x4;
        /// It was open for writing and is closed.
        const CLOSE_WRITE = 0x8;
        /// It was not open for writing and is closed.
        const CLOSE_NOWRITE = 0x10;
        /// It was opened.
        const OPEN = 0x20;
        /// A name left the directory.
        const MOVED_FROM = 0x40;
        /// A name came into the directory.
        const MOVED_TO = 0x80;
        /// A name was made in the directory.
        const CREATE = 0x100;
        /// A name was removed from the directory.
        const DELETE = 0x200;
        /// It is gone.
        const DELETE_SELF = 0x400;
        /// It has another name.
        const MOVE_SELF = 0x800;
        /// Its file system is gone.
        const UNMOUNT = 0x2000;
        /// Too much happened at once.
        const OVERFLOW = 0x4000;
        /// The mark is gone.
        const IGNORED = 0x8000;
        /// It is about a directory.
        const IS_DIR = 0x4000_0000;
    }
}

/// Something that happened.
#[derive(Clone, Copy)]
pub struct News<'a> {
    /// What.
    pub what: Happening,
    /// The name in the marked directory that it is about.
    pub name: Option<&'a [u8]>,
    /// Pairs the two halves of a rename; 0 for all else.
    pub cookie: u32,
    /// It happened to a file whose name is gone already.
    pub unlinked: bool,
}

/// Who is told.
pub trait Listener: Send + Sync {
    /// Something happened to what `mark` is on; it may be nothing that the mark is about.
    fn hear(&self, mark: &Arc<Mark>, news: News<'_>);
    /// What `mark` is on is gone, or taken away: the mark is out of the table already.
    fn lose(&self, mark: &Arc<Mark>);
}

/// A wish to hear of an inode. It keeps the inode.
pub struct Mark {
    inode: Arc<dyn Inode>,
    /// Names it to its listener.
    pub id: i32,
    /// What it is about, as the listener likes to note it.
    pub mask: AtomicU32,
    listener: Weak<dyn Listener>,
    /// Somebody took it out of the table: it hears no more, and only one can do that.
    gone: AtomicBool,
}

impl Mark {
    /// A mark that is nowhere yet.
    pub fn new(inode: Arc<dyn Inode>, id: i32, mask: u32, listener: Weak<dyn Listener>) -> Arc<Mark> {
        Arc::new(Mark { inode, id, mask: AtomicU32::new(mask), listener, gone: AtomicBool::new(false) })
    }

    /// What it is on.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }
}

/// Places for [`Notify::counts`].
const PLACES: usize = 1024;

/// All marks of an instance.
pub struct Notify {
    /// How many there are.
    all: AtomicU32,
    /// How many are on inodes of which the address hashes to a place.
    counts: Box<[AtomicU32]>,
    /// By the address of the inode, which the marks keep.
    table: Mutex<HashMap<usize, Vec<Arc<Mark>>>>,
    last_cookie: AtomicU32,
}

impl Default for Notify {
    fn default() -> Notify {
        Notify {
            all: AtomicU32::new(0),
            counts: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            table: Mutex::default(),
            last_cookie: AtomicU32::new(0),
        }
    }
}

fn address(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).addr()
}

fn with_kind(inode: &Arc<dyn Inode>, what: Happening) -> Happening {
    if inode.kind() == FileKind::Directory { what | Happening::IS_DIR } else { what }
}

impl Notify {
    /// Whether nobody watches anything.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.all.load(Ordering::Relaxed) == 0
    }

    fn count(&self, address: usize) -> Option<&AtomicU32> {
        // Inodes are aligned, and as large as a few of these steps.
        self.counts.get((address >> 6) % PLACES)
    }

    /// Whether there may be a mark on the inode.
    fn may_be_marked(&self, inode: &Arc<dyn Inode>) -> bool {
        self.count(address(inode)).is_some_and(|count| count.load(Ordering::Relaxed) != 0)
    }

    /// Puts a mark on its inode.
    pub fn add(&self, mark: &Arc<Mark>) {
        let key = address(&mark.inode);
        self.table.lock().entry(key).or_default().push(mark.clone());
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.count(key) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a mark off; `false` if somebody else did.
    pub fn remove(&self, mark: &Arc<Mark>) -> bool {
        if mark.gone.swap(true, Ordering::AcqRel) {
            return false;
        }
        let key = address(&mark.inode);
        let mut table = self.table.lock();
        let mut taken = None;
        if let Some(marks) = table.get_mut(&key) {
            taken = marks.iter().position(|other| Arc::ptr_eq(other, mark)).map(|at| marks.remove(at));
            if marks.is_empty() {
                table.remove(&key);
            }
        }
        drop(table);
        if taken.is_some() {
            self.all.fetch_sub(1, Ordering::Relaxed);
            if let Some(count) = self.count(key) {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        true
    }

    /// The mark of `listener` on an inode.
    pub fn find(&self, inode: &Arc<dyn Inode>, listener: &Weak<dyn Listener>) -> Option<Arc<Mark>> {
        let table = self.table.lock();
        let marks = table.get(&address(inode))?;
        marks.iter().find(|mark| core::ptr::addr_eq(mark.listener.as_ptr(), listener.as_ptr())).cloned()
    }

    fn marks_of(&self, inode: &Arc<dyn Inode>) -> Vec<Arc<Mark>> {
        if !self.may_be_marked(inode) {
            return Vec::new();
        }
        self.table.lock().get(&address(inode)).cloned().unwrap_or_default()
    }

    fn tell(&self, inode: &Arc<dyn Inode>, news: News<'_>) {
        for mark in self.marks_of(inode) {
            if let Some(listener) = mark.listener.upgrade() {
                listener.hear(&mark, news);
            }
        }
    }

    /// Something happened to an inode, which concerns no directory.
    pub fn inode(&self, inode: &Arc<dyn Inode>, what: Happening) {
        if !self.is_idle() {
            self.tell(inode, News { what: with_kind(inode, what), name: None, cookie: 0, unlinked: false });
        }
    }

    /// Something happened to what a name names.
    #[inline]
    pub fn file(&self, dentry: &Dentry, what: Happening) {
        if !self.is_idle() {
            self.tell_of_file(dentry, what);
        }
    }

    fn tell_of_file(&self, dentry: &Dentry, what: Happening) {
        let inode = dentry.inode();
        let what = with_kind(inode, what);
        if let Some(parent) = dentry.parent()
            && self.may_be_marked(parent.inode())
        {
            let (name, unlinked) = (dentry.name(), dentry.is_deleted());
            self.tell(parent.inode(), News { what, name: Some(&name), cookie: 0, unlinked });
        }
        self.tell(inode, News { what, name: None, cookie: 0, unlinked: false });
    }

    /// A name of `dir`, which stands or stood for `inode`, came or went.
    pub fn name(&self, dir: &Arc<dyn Inode>, name: &[u8], inode: &Arc<dyn Inode>, what: Happening) {
        if !self.is_idle() {
            let what = with_kind(inode, what);
            self.tell(dir, News { what, name: Some(name), cookie: 0, unlinked: false });
        }
    }

    /// `moved` had the name `old` and has the name `new` now.
    pub fn moved(
        &self,
        (old_dir, old): (&Arc<dyn Inode>, &[u8]),
        (new_dir, new): (&Arc<dyn Inode>, &[u8]),
        moved: &Arc<dyn Inode>,
        replaced: Option<&Arc<dyn Inode>>,
    ) {
        if self.is_idle() {
            return;
        }
        // 0 is no cookie.
        let cookie = self.last_cookie.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        let news =
            |what, name| News { what: with_kind(moved, what), name: Some(name), cookie, unlinked: false };
        self.tell(old_dir, news(Happening::MOVED_FROM, old));
        self.tell(new_dir, news(Happening::MOVED_TO, new));
        if let Some(replaced) = replaced {
            self.inode(replaced, Happening::ATTRIB);
        }
        self.inode(moved, Happening::MOVE_SELF);
    }

    /// The last name of an inode is gone, and nobody uses it by that name any more.
    pub fn deleted(&self, inode: &Arc<dyn Inode>) {
        self.inode(inode, Happening::DELETE_SELF);
        self.lose(self.marks_of(inode));
    }

    /// A file system is no longer mounted.
    pub fn unmounted(&self, device: Device) {
        if self.is_idle() {
            return;
        }
        let all: Vec<Arc<Mark>> = self.table.lock().values().flatten().cloned().collect();
        let gone: Vec<_> = all.into_iter().filter(|mark| mark.inode.metadata().dev == device).collect();
        for mark in &gone {
            if let Some(listener) = mark.listener.upgrade() {
                let what = Happening::UNMOUNT;
                listener.hear(mark, News { what, name: None, cookie: 0, unlinked: false });
            }
        }
        self.lose(gone);
    }

    fn lose(&self, marks: Vec<Arc<Mark>>) {
        for mark in marks {
            if self.remove(&mark)
                && let Some(listener) = mark.listener.upgrade()
            {
                listener.lose(&mark);
            }
        }
    }

    /// Whether what is removed now must be told of when it is gone.
    pub fn may_mourn(&self, inode: &Arc<dyn Inode>) -> bool {
        !self.is_idle() && self.may_be_marked(inode)
    }
}
