//! Mounts: file systems put on places of the tree, and the namespace that holds them. Source: `mount(2)`,
//! `umount(2)`, `proc_pid_mountinfo(5)`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;

use crate::errno::{EBUSY, EINVAL, ENOSPC, ENOTDIR, Result};
use crate::sync::Mutex;
use crate::vfs::dentry::{Dentry, DentryCache};
use crate::vfs::device::Devices;
use crate::vfs::inode::{Device, FileKind, Inode};
use crate::vfs::locks::LockWaits;
use crate::vfs::path::{Path, name_inside, path_of};
use crate::vfs::types::FsTypes;

bitflags::bitflags! {
    /// What a mount forbids; the bits are those of `MS_*` in `mount(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// No writes.
        const READ_ONLY = 1;
        /// Set-id bits have no effect.
        const NO_SUID = 2;
        /// Device nodes cannot be opened.
        const NO_DEV = 4;
        /// Programs cannot be executed.
        const NO_EXEC = 8;
        /// Access times stay as they are.
        const NO_ATIME = 1024;
        /// Access times of directories stay as they are.
        const NO_DIR_ATIME = 2048;
        /// Access times move if older than the last change, or a day.
        const REL_ATIME = 1 << 21;
    }
}

/// A file system that can be mounted.
pub trait FileSystem: Send + Sync {
    /// Its type, as `/proc/filesystems` has it.
    fn name(&self) -> &'static str;
    /// The root directory; the same inode every time.
    fn root(&self) -> Arc<dyn Inode>;
    /// Its device number.
    fn device(&self) -> Device;
    /// Writes everything to where it lasts.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    /// Options for `/proc/mounts`, each with a comma before it.
    fn options(&self) -> String {
        String::new()
    }
    /// How many file systems are stacked on others to make it.
    fn stack_depth(&self) -> u32 {
        0
    }
    /// Changes options, as `MS_REMOUNT` asks.
    fn remount(&self, options: &[u8]) -> Result<()> {
        let _ = options;
        Ok(())
    }
}

/// The most mounts in a namespace (`fs.mount-max`, which Linux has at 100,000): some searches go over all of them, and
/// a recursive bind doubles them.
const MOST_MOUNTS: usize = 4096;

/// A file system, or a part of it, at a place.
pub struct Mount {
    /// Number in the namespace.
    pub id: u32,
    /// The file system.
    pub fs: Arc<dyn FileSystem>,
    /// What of it is seen here.
    pub root: Arc<Dentry>,
    /// What was mounted, for `/proc/mounts`.
    pub source: Vec<u8>,
    flags: AtomicU32,
    /// The place it covers; `None` for the root and for files without a name.
    at: Mutex<Option<Path>>,
}

impl Mount {
    fn new(
        id: u32,
        fs: Arc<dyn FileSystem>,
        root: Arc<Dentry>,
        source: &[u8],
        flags: MountFlags,
    ) -> Arc<Mount> {
        Arc::new(Mount {
            id,
            fs,
            root,
            source: source.to_vec(),
            flags: AtomicU32::new(flags.bits()),
            at: Mutex::new(None),
        })
    }

    /// For one file that is in no tree: see [`Path::detached`].
    pub(super) fn detached(fs: Arc<dyn FileSystem>, root: Arc<Dentry>) -> Arc<Mount> {
        Mount::new(0, fs, root, b"none", MountFlags::empty())
    }

    /// What it forbids.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// Changes what it forbids (`MS_REMOUNT`).
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// The place it covers.
    pub fn covered(&self) -> Option<Path> {
        self.at.lock().clone()
    }
}

impl Drop for Mount {
    /// Lets go of the mount it is on, and so on downwards: in a loop, because a guest can stack more mounts than a kernel
    /// stack can follow.
    fn drop(&mut self) {
        let mut next = self.at.lock().take();
        while let Some(Path { mount, dentry }) = next {
            drop(dentry);
            next = Arc::into_inner(mount).and_then(|mount| mount.at.lock().take());
        }
    }
}

/// Which mount is on which place: the key is mount and dentry by address, both of which the value keeps alive.
type Table = HashMap<(usize, usize), Arc<Mount>>;

fn key(path: &Path) -> (usize, usize) {
    (Arc::as_ptr(&path.mount).addr(), Arc::as_ptr(&path.dentry).addr())
}

/// A mount namespace: a tree of mounts, and what walks in it share.
pub struct Namespace {
    table: Mutex<Table>,
    root: Mutex<Arc<Mount>>,
    next_id: AtomicU32,
    /// Names that were looked up.
    pub dentries: Arc<DentryCache>,
    /// Who waits for whose record lock.
    pub lock_waits: Arc<LockWaits>,
    /// Openers of device nodes and FIFOs.
    pub devices: Arc<Devices>,
    /// What `mount(2)` can make.
    pub types: Arc<FsTypes>,
}

impl Namespace {
    /// A namespace with `fs` as its root.
    pub fn new(fs: Arc<dyn FileSystem>, source: &[u8], devices: Arc<Devices>) -> Arc<Namespace> {
        let root = Dentry::root(fs.root());
        let mount = Mount::new(1, fs, root, source, MountFlags::REL_ATIME);
        Arc::new(Namespace {
            table: Mutex::default(),
            root: Mutex::new(mount),
            next_id: AtomicU32::new(2),
            dentries: Arc::default(),
            lock_waits: Arc::default(),
            devices,
            types: Arc::default(),
        })
    }

    /// The root of the root mount, with what is mounted on it.
    pub fn root(&self) -> Path {
        let mount = self.root.lock().clone();
        self.cross(Path { dentry: mount.root.clone(), mount })
    }

    /// Follows mounts on `path` down to the topmost.
    pub fn cross(&self, mut path: Path) -> Path {
        while path.dentry.has_mounts() {
            let Some(mount) = self.table.lock().get(&key(&path)).cloned() else { break };
            path = Path { dentry: mount.root.clone(), mount };
        }
        path
    }

    /// Whether something is mounted on exactly this place.
    pub fn is_mount_point(&self, path: &Path) -> bool {
        path.dentry.has_mounts() && self.table.lock().contains_key(&key(path))
    }

    /// Mounts `fs` on `at`. ENOTDIR if a directory meets a file, ENOSPC if there are too many mounts.
    pub fn mount(
        &self,
        fs: Arc<dyn FileSystem>,
        source: &[u8],
        at: &Path,
        flags: MountFlags,
    ) -> Result<Arc<Mount>> {
        let root = Dentry::root(fs.root());
        self.attach(fs, root, source, at, flags)
    }

    /// Shows what is at `from` also at `at` (`MS_BIND`), and with `deep` the mounts below it (`MS_REC`).
    pub fn bind(&self, from: &Path, at: &Path, depth: BindDepth) -> Result<()> {
        let below = match depth {
            BindDepth::One => Vec::new(),
            BindDepth::Recursive => self.mounts_below(from),
        };
        if self.table.lock().len() + below.len() >= MOST_MOUNTS {
            return Err(ENOSPC);
        }
        let old = &from.mount;
        let top = self.attach(old.fs.clone(), from.dentry.clone(), &old.source, at, old.flags())?;
        // Parents come before children, so each finds the copy of what it was mounted on.
        let mut copies: Vec<(Arc<Mount>, Arc<Mount>)> = alloc::vec![(old.clone(), top)];
        for mount in below {
            let Some(place) = mount.covered() else { continue };
            let Some((_, parent)) = copies.iter().find(|(of, _)| Arc::ptr_eq(of, &place.mount)) else {
                continue;
            };
            let at = Path { mount: parent.clone(), dentry: place.dentry };
            let copy =
                self.attach(mount.fs.clone(), mount.root.clone(), &mount.source, &at, mount.flags())?;
            copies.push((mount, copy));
        }
        Ok(())
    }

    fn attach(
        &self,
        fs: Arc<dyn FileSystem>,
        root: Arc<Dentry>,
        source: &[u8],
        at: &Path,
        flags: MountFlags,
    ) -> Result<Arc<Mount>> {
        if (root.kind() == FileKind::Directory) != (at.dentry.kind() == FileKind::Directory) {
            return Err(ENOTDIR);
        }
        if at.dentry.is_deleted() {
            return Err(crate::errno::ENOENT);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mount = Mount::new(id, fs, root, source, flags);
        // Another mount may have come first: this one goes on top of it.
        let mut at = self.cross(at.clone());
        loop {
            let mut table = self.table.lock();
            if table.len() >= MOST_MOUNTS {
                return Err(ENOSPC);
            }
            if !table.contains_key(&key(&at)) {
                *mount.at.lock() = Some(at.clone());
                at.dentry.add_mount();
                table.insert(key(&at), mount.clone());
                return Ok(mount);
            }
            drop(table);
            at = self.cross(at);
        }
    }

    /// Takes away the mount whose root `at` is. EINVAL if it is not the root of a mount, EBUSY if something is mounted
    /// below it or, unless `Detach`, a file or directory of it is in use. `at` itself is one use.
    pub fn unmount(&self, at: Path, how: Unmount) -> Result<()> {
        let Path { mount, dentry } = at;
        if !Arc::ptr_eq(&mount.root, &dentry) {
            return Err(EINVAL);
        }
        drop(dentry);
        let Some(place) = mount.covered() else { return Err(EBUSY) };
        let below = self.mounts_below(&Path { mount: mount.clone(), dentry: mount.root.clone() });
        if !below.is_empty() && how != Unmount::Detach {
            return Err(EBUSY);
        }
        let gone = {
            let mut table = self.table.lock();
            if !table.get(&key(&place)).is_some_and(|found| Arc::ptr_eq(found, &mount)) {
                return Err(EINVAL);
            }
            // One use is the table's and one is ours.
            if how != Unmount::Detach && Arc::strong_count(&mount) > 2 {
                return Err(EBUSY);
            }
            table.remove(&key(&place))
        };
        place.dentry.remove_mount();
        drop(gone);
        for mount in below.into_iter().rev() {
            self.take_off(&mount);
        }
        if how != Unmount::Detach {
            mount.fs.sync()?;
        }
        let root = mount.root.clone();
        if !self.shows(&root) {
            self.dentries.forget(|dentry| root.is_above(dentry));
        }
        Ok(())
    }

    fn take_off(&self, mount: &Arc<Mount>) {
        let Some(place) = mount.covered() else { return };
        let gone = self.table.lock().remove(&key(&place));
        if gone.is_some() {
            place.dentry.remove_mount();
        }
    }

    fn shows(&self, root: &Arc<Dentry>) -> bool {
        self.table.lock().values().any(|mount| mount.root.is_above(root) || root.is_above(&mount.root))
    }

    /// Moves the mount whose root `from` is to `to` (`MS_MOVE`). EINVAL if `from` is no such root, ELOOP if `to` is below.
    pub fn move_mount(&self, from: &Path, to: &Path) -> Result<()> {
        if !Arc::ptr_eq(&from.mount.root, &from.dentry) {
            return Err(EINVAL);
        }
        let Some(old) = from.mount.covered() else { return Err(EINVAL) };
        if (from.dentry.kind() == FileKind::Directory) != (to.dentry.kind() == FileKind::Directory) {
            return Err(ENOTDIR);
        }
        let mut above = Some(to.mount.clone());
        while let Some(mount) = above {
            if Arc::ptr_eq(&mount, &from.mount) {
                return Err(crate::errno::ELOOP);
            }
            above = mount.covered().map(|path| path.mount);
        }
        let mut table = self.table.lock();
        if table.contains_key(&key(to)) {
            return Err(EBUSY);
        }
        let Some(mount) = table.remove(&key(&old)) else { return Err(EINVAL) };
        *mount.at.lock() = Some(to.clone());
        to.dentry.add_mount();
        table.insert(key(to), mount);
        drop(table);
        old.dentry.remove_mount();
        Ok(())
    }

    /// `pivot_root(2)`: the mount at `new_root` becomes the root, the present root is mounted at `put_old` below it.
    pub fn pivot_root(&self, new_root: &Path, put_old: &Path) -> Result<()> {
        let old = self.root.lock().clone();
        if !Arc::ptr_eq(&new_root.mount.root, &new_root.dentry) || Arc::ptr_eq(&new_root.mount, &old) {
            return Err(EBUSY);
        }
        let Some(place) = new_root.mount.covered() else { return Err(EINVAL) };
        let mut table = self.table.lock();
        let Some(mount) = table.remove(&key(&place)) else { return Err(EINVAL) };
        *mount.at.lock() = None;
        *old.at.lock() = Some(put_old.clone());
        put_old.dentry.add_mount();
        table.insert(key(put_old), old);
        drop(table);
        place.dentry.remove_mount();
        let _previous = core::mem::replace(&mut *self.root.lock(), mount);
        Ok(())
    }

    /// All mounts, parents before children.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        let mut all: Vec<Arc<Mount>> = self.table.lock().values().cloned().collect();
        all.push(self.root.lock().clone());
        all.sort_by_key(|mount| mount.id);
        all
    }

    /// The mounts at places below `path`, parents before children.
    fn mounts_below(&self, path: &Path) -> Vec<Arc<Mount>> {
        let mut below: Vec<Arc<Mount>> = Vec::new();
        for mount in self.mounts() {
            let Some(place) = mount.covered() else { continue };
            let direct = Arc::ptr_eq(&place.mount, &path.mount) && path.dentry.is_above(&place.dentry);
            if direct || below.iter().any(|parent| Arc::ptr_eq(parent, &place.mount)) {
                below.push(mount);
            }
        }
        below
    }

    /// `sync(2)`: all file systems write what they have to where it lasts.
    pub fn sync(&self) -> Result<()> {
        for mount in self.mounts() {
            mount.fs.sync()?;
        }
        Ok(())
    }

    /// The text of `/proc/PID/mounts` as seen from `root`.
    pub fn mounts_text(&self, root: &Path) -> Vec<u8> {
        let mut text = Vec::new();
        for mount in self.mounts() {
            let Some(at) = self.visible_place(&mount, root) else { continue };
            push_escaped(&mut text, &mount.source);
            text.push(b' ');
            push_escaped(&mut text, &at);
            let (name, flags, options) = (mount.fs.name(), flags_text(mount.flags()), mount.fs.options());
            text.extend_from_slice(format!(" {name} {flags}{options} 0 0\n").as_bytes());
        }
        text
    }

    /// The text of `/proc/PID/mountinfo` as seen from `root`.
    pub fn mountinfo_text(&self, root: &Path) -> Vec<u8> {
        let mut text = Vec::new();
        for mount in self.mounts() {
            let Some(at) = self.visible_place(&mount, root) else { continue };
            let device = mount.fs.device();
            let parent = mount.covered().map_or(mount.id, |place| place.mount.id);
            let ids = format!("{} {parent} {}:{} ", mount.id, device.major, device.minor);
            text.extend_from_slice(ids.as_bytes());
            push_escaped(&mut text, &name_inside(&mount.root));
            text.push(b' ');
            push_escaped(&mut text, &at);
            let (name, flags) = (mount.fs.name(), flags_text(mount.flags()));
            text.extend_from_slice(format!(" {flags} - {name} ").as_bytes());
            push_escaped(&mut text, &mount.source);
            let access = if mount.flags().contains(MountFlags::READ_ONLY) { "ro" } else { "rw" };
            text.extend_from_slice(format!(" {access}{}\n", mount.fs.options()).as_bytes());
        }
        text
    }

    fn visible_place(&self, mount: &Arc<Mount>, root: &Path) -> Option<Vec<u8>> {
        let path = Path { dentry: mount.root.clone(), mount: mount.clone() };
        path_of(&path, root).reachable()
    }
}

/// What of the mounts below a place `MS_BIND` takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindDepth {
    /// Only the mount itself.
    One,
    /// All below it (`MS_REC`).
    Recursive,
}

/// How hard to unmount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// Only if it is not in use.
    Idle,
    /// Now from the tree, and in truth when it is no longer used (`MNT_DETACH`).
    Detach,
}

fn flags_text(flags: MountFlags) -> String {
    let mut text = String::from(if flags.contains(MountFlags::READ_ONLY) { "ro" } else { "rw" });
    for (flag, name) in [
        (MountFlags::NO_SUID, ",nosuid"),
        (MountFlags::NO_DEV, ",nodev"),
        (MountFlags::NO_EXEC, ",noexec"),
        (MountFlags::NO_ATIME, ",noatime"),
        (MountFlags::NO_DIR_ATIME, ",nodiratime"),
        (MountFlags::REL_ATIME, ",relatime"),
    ] {
        if flags.contains(flag) {
            text.push_str(name);
        }
    }
    text
}

/// Adds `bytes` with space, tab, newline and backslash in octal, so that a line splits at spaces.
fn push_escaped(text: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => text.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => text.push(byte),
        }
    }
}
