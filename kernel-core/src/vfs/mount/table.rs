//! Where mounts are, and the namespaces.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use hashbrown::HashMap;

use super::FileSystem;
use super::peers::Peers;
use super::{Mount, MountFlags, Superblock};
use crate::errno::{ENOSPC, Result};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::{Mutex, MutexGuard};
use crate::task::user_ns::{NsCount, UserNs};
use crate::vfs::dentry::{Dentry, DentryCache};
use crate::vfs::device::Devices;
use crate::vfs::inode::Device;
use crate::vfs::locks::LockWaits;
use crate::vfs::path::Path;
use crate::vfs::types::FsTypes;

/// The most mounts in a namespace (`fs.mount-max`, which Linux has at 100,000): some searches go over all of them, and
/// a recursive bind doubles them.
pub(in crate::vfs) const MOST_MOUNTS: usize = 4096;

/// Mount and dentry by address, both of which the mount there keeps alive.
pub(super) type Key = (usize, usize);

pub(super) fn key(path: &Path) -> Key {
    key_of(&path.mount, &path.dentry)
}

pub(super) fn key_of(mount: &Arc<Mount>, dentry: &Arc<Dentry>) -> Key {
    (Arc::as_ptr(mount).addr(), Arc::as_ptr(dentry).addr())
}

/// Which mount is on which place, in all namespaces.
#[derive(Default)]
pub struct MountTable {
    peers: Mutex<Peers>,
    /// Namespaces that nobody is in any more, whose mounts are still in the table.
    ended: Mutex<Vec<Ended>>,
    burying: AtomicBool,
    pub(super) places: Mutex<HashMap<Key, Arc<Mount>>>,
    superblocks: Mutex<Vec<Weak<Superblock>>>,
    dentries: Arc<DentryCache>,
    last_id: AtomicU32,
}

/// What a namespace leaves.
struct Ended {
    members: BTreeMap<u32, Weak<Mount>>,
    _root: Option<Arc<Mount>>,
}

/// Who hears of whose changes. Held by whatever looks at mounts or changes them.
pub(super) struct PeersGuard<'a> {
    peers: MutexGuard<'a, Peers>,
    /// Dropped after the lock.
    _afterwards: Bury<'a>,
}

impl Deref for PeersGuard<'_> {
    type Target = Peers;

    fn deref(&self) -> &Peers {
        &self.peers
    }
}

impl DerefMut for PeersGuard<'_> {
    fn deref_mut(&mut self) -> &mut Peers {
        &mut self.peers
    }
}

struct Bury<'a>(&'a MountTable);

impl Drop for Bury<'_> {
    fn drop(&mut self) {
        self.0.bury();
    }
}

impl MountTable {
    /// Waits for the lock on everything about mounts.
    pub(super) fn lock(&self) -> PeersGuard<'_> {
        PeersGuard { peers: self.peers.lock(), _afterwards: Bury(self) }
    }

    /// Takes away what ended namespaces have left, unless somebody changes mounts: who does, does it afterwards. In a loop,
    /// as a namespace can hold the file of another, which ends with it, and so on.
    fn bury(&self) {
        while !self.ended.lock().is_empty() {
            if self.burying.swap(true, Ordering::SeqCst) {
                return;
            }
            let held = match self.peers.try_lock() {
                None => true,
                Some(mut peers) => {
                    let ended = core::mem::take(&mut *self.ended.lock());
                    let mut gone = Vec::new();
                    let members = ended.iter().flat_map(|ended| ended.members.values());
                    for mount in members.filter_map(Weak::upgrade) {
                        peers.make_private(&mount);
                        gone.push((self.take(&mount), mount));
                    }
                    drop(peers);
                    drop((gone, ended));
                    false
                }
            };
            self.burying.store(false, Ordering::SeqCst);
            // Whoever let go of the lock just now may have left it to this one.
            if held && self.peers.try_lock().is_none() {
                return;
            }
        }
    }

    /// A file system that is to be mounted and belongs to `user_ns`, unless it is mounted already.
    pub fn superblock(&self, fs: Arc<dyn FileSystem>, user_ns: &UserNs, read_only: bool) -> Arc<Superblock> {
        let known = self.superblocks().into_iter().find(|other| Arc::ptr_eq(&other.fs, &fs));
        if let Some(known) = known {
            return known;
        }
        let superblock = Superblock::new(fs, user_ns.clone(), read_only, Some(self.dentries.clone()));
        let mut all = self.superblocks.lock();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&superblock));
        superblock
    }

    /// File systems that are mounted or used; never dropped under the lock.
    fn superblocks(&self) -> Vec<Arc<Superblock>> {
        self.superblocks.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// All file systems write what they have to where it lasts, in whatever namespace they are mounted. The first error, when
    /// all have tried.
    pub fn sync(&self) -> Result<()> {
        let mut result = Ok(());
        for superblock in self.superblocks() {
            let synced = superblock.fs.sync();
            result = result.and(synced);
        }
        result
    }

    /// Whether a file system with this number is still mounted or used.
    pub fn has_device(&self, device: Device) -> bool {
        self.superblocks().iter().any(|superblock| superblock.fs.device() == device)
    }

    pub(super) fn next_id(&self) -> u32 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What is mounted on exactly this place.
    pub(super) fn at(&self, mount: &Arc<Mount>, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        if !dentry.has_mounts() {
            return None;
        }
        self.places.lock().get(&key_of(mount, dentry)).cloned()
    }

    /// How many places are mounted on, in all namespaces.
    pub fn len(&self) -> usize {
        self.places.lock().len()
    }

    /// Whether nothing is mounted on anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `mount` is where it says that it is.
    pub(super) fn has(&self, mount: &Arc<Mount>) -> bool {
        mount.covered().is_some_and(|place| {
            self.at(&place.mount, &place.dentry).is_some_and(|found| Arc::ptr_eq(&found, mount))
        })
    }

    /// Puts `mount` on a free place. Under the lock of the peers.
    pub(super) fn put(&self, mount: &Arc<Mount>, at: Path) {
        at.dentry.add_mount();
        let old = mount.at.lock().replace(at.clone());
        self.places.lock().insert(key(&at), mount.clone());
        drop(old);
    }

    /// Takes `mount` off its place, which it gives. Under the lock of the peers.
    pub(super) fn take(&self, mount: &Arc<Mount>) -> Option<Path> {
        let place = mount.at.lock().take()?;
        let found = {
            let mut places = self.places.lock();
            let found = places.remove(&key(&place));
            if places.len() < places.capacity() / 8 {
                let room = places.len() * 2;
                places.shrink_to(room);
            }
            found
        };
        if found.is_some() {
            place.dentry.remove_mount();
        }
        Some(place)
    }
}

/// A mount namespace: a tree of mounts, and what walks in it share with those in others.
pub struct Namespace {
    /// Identifies it (`/proc/PID/ns/mnt`).
    pub ino: u64,
    /// Whose administrator may change it.
    pub user_ns: UserNs,
    /// All mounts of the instance.
    pub table: Arc<MountTable>,
    pub(super) root: Mutex<Option<Arc<Mount>>>,
    /// Its mounts by number.
    pub(super) members: Mutex<BTreeMap<u32, Weak<Mount>>>,
    changes: AtomicU64,
    /// Woken with PRI and ERR when mounts change.
    pub changed: Arc<WaitQueue>,
    /// Names that were looked up.
    pub dentries: Arc<DentryCache>,
    /// Who waits for whose record lock.
    pub lock_waits: Arc<LockWaits>,
    /// Openers of device nodes and FIFOs.
    pub devices: Arc<Devices>,
    /// What `mount(2)` can make.
    pub types: Arc<FsTypes>,
    _count: Option<NsCount>,
}

impl Namespace {
    /// The first namespace, with `fs` as its root.
    pub fn new(fs: Arc<dyn FileSystem>, source: &[u8], devices: Arc<Devices>) -> Arc<Namespace> {
        let table: Arc<MountTable> = Arc::default();
        let namespace = Arc::new(Namespace {
            ino: crate::task::namespaces::INITIAL_MNT,
            user_ns: UserNs::INITIAL,
            dentries: table.dentries.clone(),
            table,
            root: Mutex::new(None),
            members: Mutex::default(),
            changes: AtomicU64::new(0),
            changed: Arc::default(),
            lock_waits: Arc::default(),
            devices,
            types: Arc::default(),
            _count: None,
        });
        let root = Dentry::root(fs.root());
        let superblock = namespace.table.superblock(fs, &UserNs::INITIAL, false);
        let mount = Mount::new(namespace.table.next_id(), superblock, root, source, MountFlags::REL_ATIME);
        namespace.adopt(&mount);
        *namespace.root.lock() = Some(mount);
        namespace
    }

    /// An empty one beside this one. `ino` is 0 for a tree that is in no namespace.
    pub(super) fn sibling(&self, ino: u64, user_ns: UserNs, count: Option<NsCount>) -> Arc<Namespace> {
        Arc::new(Namespace {
            ino,
            user_ns,
            table: self.table.clone(),
            root: Mutex::new(None),
            members: Mutex::default(),
            changes: AtomicU64::new(0),
            changed: Arc::default(),
            dentries: self.dentries.clone(),
            lock_waits: self.lock_waits.clone(),
            devices: self.devices.clone(),
            types: self.types.clone(),
            _count: count,
        })
    }

    /// Whether it is none, but holds a tree that is in no namespace.
    pub(super) fn is_detached(&self) -> bool {
        self.ino == 0
    }

    /// The root of the root mount, with what is mounted on it; `None` if the root was taken away.
    pub fn root(&self) -> Option<Path> {
        let mount = self.root.lock().clone()?;
        Some(self.cross(Path { dentry: mount.root.clone(), mount }))
    }

    /// Follows mounts on `path` down to the topmost.
    pub fn cross(&self, mut path: Path) -> Path {
        while let Some(mount) = self.table.at(&path.mount, &path.dentry) {
            if mount.expiring.load(Ordering::Relaxed) != 0 {
                mount.expiring.fetch_add(1, Ordering::Relaxed);
            }
            path = Path { dentry: mount.root.clone(), mount };
        }
        path
    }

    /// How often its mounts changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.changed.wake(Events::PRI | Events::ERR);
    }

    pub(super) fn adopt(self: &Arc<Namespace>, mount: &Arc<Mount>) {
        *mount.namespace.lock() = Arc::downgrade(self);
        self.members.lock().insert(mount.id, Arc::downgrade(mount));
    }

    pub(super) fn disown(&self, mount: &Mount) {
        *mount.namespace.lock() = Weak::new();
        self.members.lock().remove(&mount.id);
    }

    /// ENOSPC if `more` mounts are too many.
    pub(super) fn check_room(&self, more: usize) -> Result<()> {
        if self.members.lock().len().saturating_add(more) > MOST_MOUNTS { Err(ENOSPC) } else { Ok(()) }
    }

    /// All its mounts, by number.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.members.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// The mounts on places of `mount` at or below `from`, and on those, parents before children. `all` of the namespace
    /// of `mount`.
    pub(super) fn below(all: &[Arc<Mount>], from: &Path) -> Vec<Arc<Mount>> {
        // Numbers do not tell who is above whom once mounts were moved: so by parents.
        let mut on: HashMap<usize, Vec<(Path, &Arc<Mount>)>> = HashMap::new();
        for mount in all {
            if let Some(place) = mount.covered() {
                on.entry(Arc::as_ptr(&place.mount).addr()).or_default().push((place, mount));
            }
        }
        let mut found: Vec<Arc<Mount>> = Vec::new();
        let mut next = 0;
        let first = on.remove(&Arc::as_ptr(&from.mount).addr()).unwrap_or_default();
        found.extend(
            first
                .into_iter()
                .filter(|(at, _)| from.dentry.is_above(&at.dentry))
                .map(|(_, mount)| mount.clone()),
        );
        while let Some(mount) = found.get(next) {
            next += 1;
            let on_it = on.remove(&Arc::as_ptr(mount).addr()).unwrap_or_default();
            found.extend(on_it.into_iter().map(|(_, mount)| mount.clone()));
        }
        found
    }
}

impl Drop for Namespace {
    /// Its mounts leave the table and their peers: at once, or when whoever changes mounts now is done. That may be the
    /// caller, which has looked at this namespace and was the last to.
    fn drop(&mut self) {
        let members = core::mem::take(&mut *self.members.lock());
        let root = self.root.lock().take();
        self.table.ended.lock().push(Ended { members, _root: root });
        self.table.bury();
    }
}
