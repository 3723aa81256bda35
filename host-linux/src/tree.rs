//! A directory of this host and everything below it, for guests (`kernel_core::host::tree`).
//!
//! A node is held by an `O_PATH` descriptor. It is opened from that of its directory, by one name and with `O_NOFOLLOW`: so
//! there is no way out by symbolic links, `..` or absolute paths, whatever others do to the tree meanwhile, and nothing is
//! opened that could have side effects (devices, FIFOs). What is known to be a regular file by its descriptor is then
//! opened by way of `/proc/self/fd`, which leads to that very file.
//!
//! There may be more nodes in use than a process may have descriptors. So the least used are closed, and opened again by
//! name from their directory when they are needed; if that is another file by then, the node is stale. Open files and
//! directories keep theirs.

mod node;
mod open;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kernel_core::host::tree::{Attr, Node, TreeError, TreeResult};
use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, openat, statx};
use rustix::io::Errno;

use crate::tree::open::OpenFile;

/// So many descriptors of nodes are kept at most, whatever the limit of the process is.
const KEPT_MAX: usize = 4096;

/// What guests may do with a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Look at it.
    Read,
    /// Change it.
    Write,
}

/// What all nodes of a tree know.
struct Tree {
    rights: Rights,
    /// Who this process is: on the host, and as whom guests see it.
    uid: (u32, u32),
    gid: (u32, u32),
    /// It may give files to others.
    privileged: bool,
    /// Nodes with a descriptor, the longest unused first, more or less.
    kept: Mutex<VecDeque<Weak<Held>>>,
    kept_max: usize,
}

/// A directory and a name in it.
type Place = (Arc<Held>, Box<[u8]>);

/// A node.
struct Held {
    tree: Arc<Tree>,
    /// Names it on the host.
    dev: u64,
    ino: u64,
    /// Where it was found; `None` is the root.
    place: Mutex<Option<Place>>,
    path: Mutex<Option<Arc<OwnedFd>>>,
    /// Used since it was looked at last.
    used: AtomicBool,
    file: Mutex<Weak<OpenFile>>,
}

/// A descriptor that stands for a node.
enum Handle {
    Path(Arc<OwnedFd>),
    File(Arc<OpenFile>),
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Handle::Path(fd) => fd.as_fd(),
            Handle::File(file) => file.as_fd(),
        }
    }
}

/// Opens a directory for guests.
pub fn open(path: &Path, rights: Rights) -> io::Result<Arc<dyn Node>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
    let found = stat(fd.as_fd())?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let privileged = uid.is_root();
    let seen = |id: u32| (id, if privileged { id } else { 0 });
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let tree = Arc::new(Tree {
        rights,
        uid: seen(uid.as_raw()),
        gid: seen(gid.as_raw()),
        privileged,
        kept: Mutex::default(),
        kept_max: usize::try_from(limit / 8).unwrap_or(KEPT_MAX).clamp(16, KEPT_MAX),
    });
    Ok(Arc::new(Shown(Arc::new(Held::new(&tree, &found, None, Some(Arc::new(fd)))))))
}

fn error(errno: Errno) -> TreeError {
    TreeError(u16::try_from(errno.raw_os_error()).unwrap_or(0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stat(fd: BorrowedFd<'_>) -> rustix::io::Result<Statx> {
    statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

fn device(major: u32, minor: u32) -> u64 {
    rustix::fs::makedev(major, minor)
}

/// A name of an entry; EINVAL for what leads elsewhere.
fn check_name(name: &[u8]) -> TreeResult<&[u8]> {
    let leads_elsewhere =
        matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/'));
    if leads_elsewhere { Err(error(Errno::INVAL)) } else { Ok(name) }
}

/// The path that leads to what a descriptor stands for, as long as that is open.
fn magic_link(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

impl Tree {
    fn attr(&self, found: &Statx) -> Attr {
        let time = |time: rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
        let seen = |id: u32, own: (u32, u32)| if id == own.0 { own.1 } else { id };
        Attr {
            dev: device(found.stx_dev_major, found.stx_dev_minor),
            ino: found.stx_ino,
            mode: u32::from(found.stx_mode),
            nlink: found.stx_nlink,
            uid: seen(found.stx_uid, self.uid),
            gid: seen(found.stx_gid, self.gid),
            rdev: device(found.stx_rdev_major, found.stx_rdev_minor),
            size: found.stx_size,
            blocks: found.stx_blocks,
            atime: time(found.stx_atime),
            mtime: time(found.stx_mtime),
            ctime: time(found.stx_ctime),
            btime: time(found.stx_btime),
        }
    }

    /// Notes that a node has a descriptor, and closes others if there are too many.
    fn keep(&self, node: &Arc<Held>) {
        let mut closed = Vec::new();
        let mut kept = lock(&self.kept);
        kept.push_back(Arc::downgrade(node));
        for _ in 0..2 * kept.len() {
            if kept.len() <= self.kept_max {
                break;
            }
            let Some(oldest) = kept.pop_front() else { break };
            let Some(oldest) = oldest.upgrade() else { continue };
            if oldest.used.swap(false, Ordering::Relaxed) {
                kept.push_back(Arc::downgrade(&oldest));
            } else {
                let path = lock(&oldest.path).take();
                closed.push((path, oldest));
            }
        }
    }

    /// Closes what is not in use: there are no descriptors left.
    fn close_all(&self) {
        let all = std::mem::take(&mut *lock(&self.kept));
        for node in all.iter().filter_map(Weak::upgrade) {
            if lock(&node.place).is_some() {
                lock(&node.path).take();
            } else {
                lock(&self.kept).push_back(Arc::downgrade(&node));
            }
        }
    }

    /// Opens, and tries once more with fewer descriptors in use.
    fn open(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        flags: OFlags,
        mode: u32,
    ) -> rustix::io::Result<OwnedFd> {
        let open = || openat(dir, name, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::from_raw_mode(mode));
        match open() {
            Err(Errno::MFILE | Errno::NFILE) => {
                self.close_all();
                open()
            }
            result => result,
        }
    }

    fn check_writable(&self) -> TreeResult<()> {
        if self.rights == Rights::Write { Ok(()) } else { Err(error(Errno::ROFS)) }
    }
}

impl Held {
    fn new(tree: &Arc<Tree>, found: &Statx, place: Option<Place>, path: Option<Arc<OwnedFd>>) -> Held {
        Held {
            tree: tree.clone(),
            dev: device(found.stx_dev_major, found.stx_dev_minor),
            ino: found.stx_ino,
            place: Mutex::new(place),
            path: Mutex::new(path),
            used: AtomicBool::new(false),
            file: Mutex::default(),
        }
    }

    /// The entry `name` of this directory, as a node, and what the host says of it.
    fn entry(self: &Arc<Held>, name: &[u8]) -> TreeResult<(Arc<Held>, Statx)> {
        let dir = self.handle()?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let fd = self.tree.open(dir.as_fd(), check_name(name)?, flags, 0).map_err(error)?;
        let found = stat(fd.as_fd()).map_err(error)?;
        let place = Some((self.clone(), name.into()));
        let node = Arc::new(Held::new(&self.tree, &found, place, Some(Arc::new(fd))));
        self.tree.keep(&node);
        Ok((node, found))
    }

    /// A descriptor that is open now.
    fn open_handle(&self) -> Option<Handle> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(path) = lock(&self.path).clone() {
            return Some(Handle::Path(path));
        }
        lock(&self.file).upgrade().map(Handle::File)
    }

    /// A descriptor of this node: it is opened again, and the directories above it, if it has none. ESTALE if its name is
    /// another file's by now.
    fn handle(self: &Arc<Held>) -> TreeResult<Handle> {
        let mut closed: Vec<Arc<Held>> = Vec::new();
        let mut at = self.clone();
        let mut handle = loop {
            if let Some(handle) = at.open_handle() {
                break handle;
            }
            let above = lock(&at.place).as_ref().map(|(dir, _)| dir.clone());
            closed.push(at);
            at = above.ok_or(error(Errno::STALE))?;
        };
        while let Some(node) = closed.pop() {
            let name = lock(&node.place).as_ref().map(|(_, name)| name.clone()).unwrap_or_default();
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let fd = self.tree.open(handle.as_fd(), check_name(&name)?, flags, 0);
            let fd = fd.map_err(|errno| error(if errno == Errno::NOENT { Errno::STALE } else { errno }))?;
            let found = stat(fd.as_fd()).map_err(error)?;
            let dev = device(found.stx_dev_major, found.stx_dev_minor);
            if (dev, found.stx_ino) != (node.dev, node.ino) {
                return Err(error(Errno::STALE));
            }
            let fd = Arc::new(fd);
            *lock(&node.path) = Some(fd.clone());
            self.tree.keep(&node);
            handle = Handle::Path(fd);
        }
        Ok(handle)
    }
}

impl Drop for Held {
    /// Drops the directories above in a loop: a guest can make trees deeper than a stack.
    fn drop(&mut self) {
        let mut next = lock(&self.place).take();
        while let Some((dir, _)) = next.take() {
            next = Arc::into_inner(dir).and_then(|dir| lock(&dir.place).take());
        }
    }
}

/// [`Held`], counted: what the kernel has.
struct Shown(Arc<Held>);
