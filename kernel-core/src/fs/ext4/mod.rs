//! ext2, ext3 and ext4 on disks. Source: `ext4(5)`.
//!
//! The format is the business of the library `rsext4`; what is here makes it a file system of this kernel. The library does
//! one thing at a time, so there is one lock for each file system. Bytes of files are kept by page caches over it
//! ([`core`]), names by the dentry cache, and attributes by inode objects ([`inode`]).
//!
//! What the library changes waits in its journal until a sync: of `fsync(2)`, `sync(2)` and `umount(2)`. It uses a block that
//! is free again at once, and a power cut may bring back whom it belonged to. So a file without a name keeps its blocks until
//! it lasts that it has none.

mod acl;
mod core;
mod device;
mod directory_blocks;
mod extents;
mod file;
mod inode;
mod layout;
#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod power_cut_tests;
mod recovery;
#[cfg(test)]
mod tests;
mod unnamed;

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use hashbrown::HashMap;
use rsext4::{
    Ext4, Ext4Error, Ext4ErrorKind, Ext4Result, InodeInfo, InodeMetadataUpdate, InodeNumber, MountOptions,
    MountServices, MountedServices, NoopObserver,
};

use crate::block::{Disks, EXT_MAGIC, Volume, VolumeClaim};
use crate::errno::{EBUSY, EINVAL, EROFS, EUCLEAN, Result};
use crate::host::block::BlockDevice;
use crate::services::Services;
use crate::sync::Mutex;
use crate::vfs::inode::{Device, Inode, StatFs, Timestamp};
use crate::vfs::mount::{FileSystem, MountFlags};
use crate::vfs::types::{FsType, Needs, NewFs};
use device::{Chance, ClockHandle, Io, Phase, SetClock, errno};
use inode::ExtInode;
use layout::Layout;
use unnamed::Unnamed;

/// RAM that is made free before the library works, as it may need it with its lock held (a disk in memory).
const ROOM: u64 = 4 << 20;

/// So many inodes may wait for a sync: the library keeps them in a list.
const WAITING: usize = 64;

type Fs = Ext4<Io, MountedServices<Chance, NoopObserver, ()>>;

/// What `mount -o` may say.
#[derive(Clone, Copy, Debug)]
struct Options {
    /// `errors=`: whether it goes on if it is found damaged.
    goes_on: Option<bool>,
    /// `noload`: do not replay the journal.
    replay: bool,
}

impl Options {
    fn parse(text: &[u8]) -> Result<Options> {
        let mut options = Options { goes_on: None, replay: true };
        for option in text.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
            match option {
                b"errors=continue" => options.goes_on = Some(true),
                b"errors=remount-ro" => options.goes_on = Some(false),
                b"noload" | b"norecovery" => options.replay = false,
                // What is the case anyway.
                b"barrier" | b"barrier=1" | b"data=ordered" | b"user_xattr" | b"acl" | b"nodiscard"
                | b"nodelalloc" => {}
                _ => return Err(EINVAL),
            }
        }
        Ok(options)
    }
}

/// An inode without a name that nobody uses any more.
struct Unused {
    number: InodeNumber,
    /// It may be freed when the library was synced so often.
    after: u64,
    /// It has a name among those without one.
    unnamed: Option<Unnamed>,
}

/// A mounted file system, as all its inodes know it.
struct Shared {
    services: Arc<Services>,
    volume: Arc<Volume>,
    _claim: VolumeClaim,
    layout: Layout,
    clock: Arc<SetClock>,
    fs: Mutex<Fs>,
    phase: Arc<Phase>,
    /// How often the library was synced.
    synced: AtomicU64,
    read_only: AtomicBool,
    /// It was found damaged and can only be read since then: what was not written by then never will be.
    given_up: AtomicBool,
    unmounted: AtomicBool,
    /// If it is found damaged, it goes on as if nothing were (`errors=continue`), or can only be read from then on.
    goes_on: AtomicBool,
    table: Mutex<HashMap<u32, Weak<ExtInode>>>,
    unused: Mutex<Vec<Unused>>,
    /// Directories that have more blocks than before, see [`directory_blocks`].
    grown: Mutex<BTreeSet<u32>>,
    /// The last number of a file without a name, see [`unnamed`].
    last_unnamed: AtomicU64,
}

impl Shared {
    fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.services.clock.realtime_ns())
    }

    fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Asks the library for something.
    fn with<R>(&self, op: impl FnOnce(&mut Fs) -> Ext4Result<R>) -> Result<R> {
        self.with_at(self.now(), op)
    }

    /// The same, with `now` as the time.
    fn with_at<R>(&self, now: Timestamp, op: impl FnOnce(&mut Fs) -> Ext4Result<R>) -> Result<R> {
        let ram = &self.services.ram;
        if ram.free() < ROOM {
            ram.reclaim(ROOM);
        }
        let result = {
            let mut fs = self.fs.lock();
            self.clock.set(now);
            op(&mut fs)
        };
        result.map_err(|error| self.failed(error))
    }

    /// Changes something, and says at which time.
    fn change<R>(&self, op: impl FnOnce(&mut Fs) -> Ext4Result<R>) -> Result<(R, Timestamp)> {
        let now = self.now();
        Ok((self.change_at(now, op)?, now))
    }

    fn change_at<R>(&self, now: Timestamp, op: impl FnOnce(&mut Fs) -> Ext4Result<R>) -> Result<R> {
        if self.is_read_only() {
            return Err(EROFS);
        }
        self.reap();
        self.with_at(now, op)
    }

    fn failed(&self, error: Ext4Error) -> crate::errno::Errno {
        let errno = errno(error);
        let damaged = error.is_corruption() || matches!(error.kind(), rsext4::Ext4ErrorKind::JournalAborted);
        if damaged {
            log::error!("{}: the file system is damaged: {error}", self.volume.name);
            if !self.goes_on.load(Ordering::Relaxed) && !self.read_only.swap(true, Ordering::Relaxed) {
                self.given_up.store(true, Ordering::Relaxed);
                log::error!("{}: it is read-only from now on", self.volume.name);
            }
        }
        errno
    }

    /// The object of an inode.
    fn inode(self: &Arc<Shared>, info: &InodeInfo) -> Arc<ExtInode> {
        let mut table = self.table.lock();
        if let Some(known) = table.get(&info.number.raw()).and_then(Weak::upgrade) {
            return known;
        }
        let new = ExtInode::new(self, info);
        table.insert(info.number.raw(), Arc::downgrade(&new));
        new
    }

    /// The object of an inode, if there is one.
    fn known(&self, number: InodeNumber) -> Option<Arc<ExtInode>> {
        self.table.lock().get(&number.raw()).and_then(Weak::upgrade)
    }

    /// An object is going.
    fn forget(&self, number: InodeNumber) {
        let mut table = self.table.lock();
        if table.get(&number.raw()).is_some_and(|known| known.strong_count() == 0) {
            table.remove(&number.raw());
        }
    }

    /// Frees an inode without a name when it lasts that it has none, or if it is new since the last sync, now or when something
    /// else is done.
    fn reap_later(&self, unused: Unused) {
        self.unused.lock().push(unused);
        self.reap();
    }

    /// Frees unused inodes that may be freed, unless the library is at work: then whoever comes next does.
    fn reap(&self) {
        if self.unused.lock().is_empty() || self.is_read_only() {
            return;
        }
        let Some(mut fs) = self.fs.try_lock() else { return };
        self.clock.set(self.now());
        let waiting = self.unused.lock().len();
        if waiting >= WAITING
            && let Err(error) = self.sync_library(&mut fs)
        {
            self.failed(error);
            return;
        }
        let synced = self.synced.load(Ordering::Relaxed);
        let unused = ::core::mem::take(&mut *self.unused.lock());
        for Unused { number, after, unnamed } in unused {
            if let Some(unnamed) = unnamed
                && let Err(error) = unnamed.remove(&mut fs)
            {
                log::error!("{}: inode {} keeps its name: {error}", self.volume.name, number.raw());
                continue;
            }
            // The library may have made last that it exists, and then its nodes must not become others' bytes.
            let has_nodes = after == 0 && core::nodes(&mut fs, number).is_ok_and(|nodes| nodes > 0);
            let after = if has_nodes { synced + 1 } else { after };
            if after > synced {
                self.unused.lock().push(Unused { number, after, unnamed: None });
            } else if let Err(error) = fs.reap_unlinked_inode(number) {
                log::error!("{}: inode {} cannot be freed: {error}", self.volume.name, number.raw());
            }
        }
    }

    /// Frees what waits for a sync if there is no room for so many bytes otherwise.
    fn make_room(&self, bytes: u64) -> Result<()> {
        if self.unused.lock().is_empty() {
            return Ok(());
        }
        let stats = self.fs.lock().statfs();
        let is_full = stats.free_blocks <= bytes / stats.block_size + 2 + core::SPARE_BLOCKS;
        if is_full || stats.free_inodes == 0 { self.sync() } else { Ok(()) }
    }

    fn sync_library(&self, fs: &mut Fs) -> Ext4Result<()> {
        fs.sync()?;
        self.synced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes last what the library knows; EROFS if that is not to be expected any more.
    fn sync(&self) -> Result<()> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(EROFS);
        }
        if self.is_read_only() {
            return Ok(());
        }
        self.with(|fs| self.sync_library(fs))?;
        self.reap();
        Ok(())
    }

    /// Makes everything last.
    fn sync_all(&self) -> Result<()> {
        let known: Vec<Arc<ExtInode>> = self.table.lock().values().filter_map(Weak::upgrade).collect();
        let mut written = Ok(());
        for inode in &known {
            written = written.and(inode.write_back());
        }
        drop(known);
        written.and(self.sync())
    }

    fn statfs(&self) -> StatFs {
        // What waits for a sync is free.
        if !self.unused.lock().is_empty() {
            // If it fails, less is.
            let _ = self.sync();
        }
        let stats = self.fs.lock().statfs();
        StatFs {
            magic: u64::from(EXT_MAGIC),
            block_size: stats.block_size,
            blocks: stats.total_blocks,
            blocks_free: stats.free_blocks,
            files: u64::from(stats.total_inodes),
            files_free: u64::from(stats.free_inodes),
            id: self.volume.number.raw(),
        }
    }

    /// Gives up inodes without a name that somebody still has: he will do nothing with them any more.
    fn drop_held(&self) {
        let known: Vec<Arc<ExtInode>> = self.table.lock().values().filter_map(Weak::upgrade).collect();
        for inode in known.iter().filter(|inode| inode.core.attr.lock().nlink == 0) {
            if !inode.core.dead.swap(true, Ordering::Relaxed) {
                self.unused.lock().push(inode.core.unused());
            }
        }
    }

    /// While it unmounts, the library makes no room in a journal that is nearly full (EBUSY); before any other change it does.
    fn unmount_library(&self, fs: &mut Fs) -> Ext4Result<()> {
        match fs.unmount() {
            Err(error) if error.kind() == Ext4ErrorKind::Busy => {}
            done => return done,
        }
        let info = fs.inode(fs.root_inode())?;
        self.clock.set(self.layout.times(&*self.volume, &info).ctime);
        let permissions = Some(inode::permissions(info.mode.into())?);
        let same = InodeMetadataUpdate { permissions, ..InodeMetadataUpdate::default() };
        fs.update_inode_metadata(info.number, same)?;
        fs.unmount()
    }

    /// Says on the disk that nothing is open any more.
    fn unmount(&self) {
        if self.unmounted.swap(true, Ordering::Relaxed) {
            return;
        }
        self.drop_held();
        let waiting = !self.unused.lock().is_empty();
        let synced = if waiting { self.sync() } else { Ok(()) };
        self.phase.unmounting.store(true, Ordering::Relaxed);
        if let Err(error) = synced.and_then(|()| self.with(|fs| self.unmount_library(fs))) {
            log::warn!("{}: unmounting failed, its journal will be replayed: {error:?}", self.volume.name);
        } else if !self.given_up.load(Ordering::Relaxed) {
            let grown = ::core::mem::take(&mut *self.grown.lock());
            if let Err(error) = directory_blocks::mend(&*self.volume, &self.layout, grown.into_iter()) {
                log::warn!("{}: directories say too few blocks: {error:?}", self.volume.name);
            }
        }
        self.read_only.store(true, Ordering::Relaxed);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// A mounted file system.
pub struct ExtFs {
    name: &'static str,
    shared: Arc<Shared>,
    root: Arc<ExtInode>,
}

impl ExtFs {
    /// Mounts a volume. EINVAL if it holds no such file system, EROFS if it can only be read and more is wanted, EUCLEAN if
    /// it is damaged, EBUSY if somebody uses it.
    fn mount(
        services: &Arc<Services>,
        name: &'static str,
        volume: &Arc<Volume>,
        read_only: bool,
        options: &[u8],
    ) -> Result<Arc<ExtFs>> {
        let options = Options::parse(options)?;
        let replay = options.replay && !volume.read_only();
        let claim = volume.claim()?;
        if replay {
            recovery::mend(&**volume)?;
        }
        let layout = Layout::read(&**volume)?;
        let fits = match name {
            "ext2" => !layout.has_journal && !layout.has_extents,
            "ext3" => layout.has_journal && !layout.has_extents,
            _ => true,
        };
        if !fits {
            return Err(EINVAL);
        }
        if !read_only && volume.read_only() {
            return Err(EROFS);
        }
        if !read_only && !layout.has_extents {
            log::error!("{}: a file system without extents can only be mounted read-only", volume.name);
            return Err(EROFS);
        }
        if !read_only && !options.replay {
            return Err(EINVAL);
        }
        if layout.needs_recovery && !replay && options.replay {
            log::error!("{}: its journal has to be replayed, and it cannot be written", volume.name);
            return Err(EROFS);
        }
        if !read_only {
            recovery::begin(&**volume, &layout)?;
        }
        let phase = Arc::<Phase>::default();
        phase.mounting.store(true, Ordering::Relaxed);
        let clock = Arc::<SetClock>::default();
        clock.set(Timestamp::from_ns(services.clock.realtime_ns()));
        let wanted = MountOptions { readonly: read_only, replay_journal: replay, block_validity: true };
        let services_of =
            MountServices::new(ClockHandle(clock.clone()), Chance(services.clone()), NoopObserver);
        let mut fs = Ext4::mount(Io::new(volume, &phase), services_of, wanted).map_err(|error| {
            log::error!("{}: mounting failed: {error}", volume.name);
            errno(error)
        })?;
        phase.mounting.store(false, Ordering::Relaxed);
        let root = fs.root_inode();
        let info = fs.inode(root).map_err(errno)?;
        if !info.is_directory() {
            return Err(EUCLEAN);
        }
        let shared = Arc::new(Shared {
            services: services.clone(),
            volume: volume.clone(),
            _claim: claim,
            layout,
            clock,
            fs: Mutex::new(fs),
            phase,
            synced: AtomicU64::new(0),
            read_only: AtomicBool::new(read_only),
            given_up: AtomicBool::new(false),
            unmounted: AtomicBool::new(false),
            goes_on: AtomicBool::new(options.goes_on.unwrap_or_default()),
            table: Mutex::default(),
            unused: Mutex::default(),
            grown: Mutex::default(),
            last_unnamed: AtomicU64::new(0),
        });
        shared.remove_unnamed()?;
        let root = shared.inode(&info);
        Ok(Arc::new(ExtFs { name, shared, root }))
    }
}

impl FileSystem for ExtFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.shared.volume.number
    }

    fn sync(&self) -> Result<()> {
        self.shared.sync_all()
    }

    fn options(&self) -> String {
        let goes_on = self.shared.goes_on.load(Ordering::Relaxed);
        String::from(if goes_on { ",errors=continue" } else { "" })
    }

    fn remount(&self, options: &[u8]) -> Result<()> {
        if let Some(goes_on) = Options::parse(options)?.goes_on {
            self.shared.goes_on.store(goes_on, Ordering::Relaxed);
        }
        Ok(())
    }

    fn change_flags(&self, flags: MountFlags) -> Result<()> {
        let shared = &self.shared;
        let read_only = flags.contains(MountFlags::READ_ONLY);
        if read_only == shared.is_read_only() {
            return Ok(());
        }
        let given_up = shared.given_up.load(Ordering::Relaxed);
        if !read_only && (given_up || shared.volume.read_only() || !shared.layout.has_extents) {
            return Err(EROFS);
        }
        if read_only {
            shared.sync_all()?;
        }
        shared.with(|fs| {
            let options = MountOptions { readonly: read_only, ..fs.options() };
            // As at an unmount, the superblock that says that there is nothing to replay comes last.
            shared.phase.unmounting.store(read_only, Ordering::Relaxed);
            let done = fs.remount(options).and_then(|()| if read_only { fs.sync() } else { Ok(()) });
            shared.phase.unmounting.store(false, Ordering::Relaxed);
            done
        })?;
        shared.read_only.store(read_only, Ordering::Relaxed);
        shared.remove_unnamed()
    }
}

/// What is mounted: each volume once, whatever the number of mounts.
pub struct Mounted {
    services: Arc<Services>,
    disks: Arc<Disks>,
    all: Mutex<Vec<(Device, Weak<ExtFs>)>>,
}

impl Mounted {
    /// Nothing yet.
    pub fn new(services: &Arc<Services>, disks: &Arc<Disks>) -> Arc<Mounted> {
        Arc::new(Mounted { services: services.clone(), disks: disks.clone(), all: Mutex::default() })
    }

    /// The file system on a volume; EBUSY if it is mounted already and may not be written the same.
    pub fn mount(
        &self,
        name: &'static str,
        device: Device,
        flags: MountFlags,
        options: &[u8],
    ) -> Result<Arc<dyn FileSystem>> {
        let read_only = flags.contains(MountFlags::READ_ONLY);
        let known =
            self.all.lock().iter().find(|(number, _)| *number == device).and_then(|(_, fs)| fs.upgrade());
        if let Some(known) = known {
            return if known.shared.is_read_only() == read_only { Ok(known) } else { Err(EBUSY) };
        }
        let volume = self.disks.volume(device).ok_or(crate::errno::ENXIO)?;
        let new = ExtFs::mount(&self.services, name, &volume, read_only, options)?;
        let mut all = self.all.lock();
        all.retain(|(_, fs)| fs.strong_count() > 0);
        all.push((device, Arc::downgrade(&new)));
        Ok(new)
    }
}

/// The types `ext2`, `ext3` and `ext4`.
pub struct Ext4Type {
    /// Its name.
    pub name: &'static str,
    /// What is mounted.
    pub mounted: Arc<Mounted>,
}

impl FsType for Ext4Type {
    fn name(&self) -> &'static str {
        self.name
    }

    fn needs(&self) -> Needs {
        Needs::Device
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        self.mounted.mount(self.name, new.device, new.flags, new.options)
    }

    fn shut_down(&self) {
        let all: Vec<Arc<ExtFs>> =
            self.mounted.all.lock().iter().filter_map(|(_, fs)| fs.upgrade()).collect();
        // What was mounted later may be in a file of what was mounted before.
        for fs in all.iter().rev().filter(|fs| fs.name == self.name) {
            if let Err(error) = fs.shared.sync_all() {
                log::error!("{}: writing the last changes failed: {error:?}", fs.shared.volume.name);
            }
            fs.shared.unmount();
        }
    }
}
