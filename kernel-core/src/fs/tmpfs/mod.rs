//! tmpfs: files in guest RAM. Source: `tmpfs(5)`.
//!
//! The bytes of a file are a [`PageCache`]; names and attributes are kernel objects. Sizes are counted in whole pages
//! against the mount's `size=` and the RAM of the instance.

mod dir;
mod file;
mod inode;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{EINVAL, ENOSPC, Result};
use crate::mm::cache::{Backing, PageCache};
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::cred::Caps;
use crate::vfs::caller::Caller;
use crate::vfs::inode::{Device, FileKind, Inode, MODE_BITS, NewAttr, NewNode, S_ISVTX, StatFs, Timestamp};
use crate::vfs::mount::FileSystem;
use crate::vfs::types::{FsType, NewFs};

pub use file::TmpFile;
pub use inode::TmpInode;

/// `TMPFS_MAGIC`.
const MAGIC: u64 = 0x0102_1994;
/// `RAMFS_MAGIC`.
const RAMFS_MAGIC: u64 = 0x8584_58f6;
const RAMFS: &str = "ramfs";
const BLOCK: u64 = 4096;

/// What `mount -o` may say, see `tmpfs(5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most bytes; `None`: as much RAM as there is.
    pub size: Option<u64>,
    /// Most inodes, `u64::MAX` if there is no limit; `None`: by the size of RAM.
    pub inodes: Option<u64>,
    /// Permission bits of the root.
    pub mode: u32,
    /// Owner of the root; `None`: nothing was said.
    pub uid: Option<u32>,
    /// Group of the root.
    pub gid: Option<u32>,
    /// Whether `size` was said.
    pub has_size: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { size: None, inodes: None, mode: 0o777 | S_ISVTX, uid: None, gid: None, has_size: false }
    }
}

impl Options {
    /// Half of the RAM, as without any options: whoever fills it gets ENOSPC while there still is memory to run in.
    pub fn of_half(total_ram: u64) -> Options {
        Options { size: Some(total_ram / 2), ..Options::default() }
    }

    /// Reads `size=1G,mode=755,...`. EINVAL for what tmpfs does not know.
    pub fn parse(text: &[u8], total_ram: u64) -> Result<Options> {
        let mut options = Options::of_half(total_ram);
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "size" | "nr_blocks" => {
                    let size = match name {
                        "size" => bytes(value, total_ram)?,
                        _ => bytes(value, 0)?.saturating_mul(BLOCK),
                    };
                    (options.size, options.has_size) = (Some(size).filter(|&size| size != 0), true);
                }
                "nr_inodes" => {
                    options.inodes = Some(match bytes(value, 0)? {
                        0 => u64::MAX,
                        count => count,
                    })
                }
                "mode" => options.mode = u32::from_str_radix(value, 8).map_err(|_| EINVAL)? & MODE_BITS,
                "uid" => options.uid = Some(value.parse().map_err(|_| EINVAL)?),
                "gid" => options.gid = Some(value.parse().map_err(|_| EINVAL)?),
                // How pages and inode numbers are chosen is not the guest's business here.
                "huge" | "inode64" | "inode32" | "mpol" | "noswap" => {}
                _ => return Err(EINVAL),
            }
        }
        Ok(options)
    }
}

/// A number with `k`, `m`, `g` or `t`, or a percentage of `whole`.
fn bytes(text: &str, whole: u64) -> Result<u64> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 = percent.parse().map_err(|_| EINVAL)?;
        return Ok((whole / 100).saturating_mul(percent));
    }
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        Some(b'g') => (&text[..text.len() - 1], 30),
        Some(b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| EINVAL)?;
    number.checked_mul(1 << shift).ok_or(EINVAL)
}

/// A tmpfs.
pub struct Tmpfs {
    shared: Arc<Shared>,
    root: Arc<TmpInode>,
}

/// The type `tmpfs`.
pub struct TmpfsType(pub Arc<Services>);

/// The type `ramfs`: without a limit of its size but that of RAM. It knows the option `mode`, and ignores all others.
pub struct RamfsType(pub Arc<Services>);

impl FsType for RamfsType {
    fn name(&self) -> &'static str {
        RAMFS
    }

    fn may_mount(&self, caller: &dyn Caller) -> bool {
        caller.cred().capable_here(Caps::SYS_ADMIN)
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        let text = core::str::from_utf8(new.options).unwrap_or_default();
        let mode = text.split(',').find_map(|option| option.strip_prefix("mode="));
        let mode = mode.map_or(Ok(0o755), |mode| u32::from_str_radix(mode, 8).map_err(|_| EINVAL))?;
        let cred = new.caller.cred();
        let (uid, gid) = (Some(cred.fsuid), Some(cred.fsgid));
        let options = Options { mode: mode & MODE_BITS, uid, gid, ..Options::default() };
        Ok(Tmpfs::new(&self.0, self.name(), new.device, options))
    }
}

impl FsType for TmpfsType {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn may_mount(&self, caller: &dyn Caller) -> bool {
        caller.cred().capable_here(Caps::SYS_ADMIN)
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        let &NewFs { caller, options, device, .. } = new;
        let (cred, mut parsed) = (caller.cred(), Options::parse(options, self.0.ram.total())?);
        parsed.uid = Some(match parsed.uid {
            Some(uid) => cred.user_ns.uid(uid).ok_or(EINVAL)?,
            None => cred.fsuid,
        });
        parsed.gid = Some(match parsed.gid {
            Some(gid) => cred.user_ns.gid(gid).ok_or(EINVAL)?,
            None => cred.fsgid,
        });
        Ok(Tmpfs::new(&self.0, "tmpfs", device, parsed))
    }
}

/// What all inodes of a tmpfs know.
struct Shared {
    services: Arc<Services>,
    name: &'static str,
    device: Device,
    /// What it was mounted with.
    given: Options,
    limits: Mutex<Limits>,
    /// Bytes of data in whole pages.
    used: AtomicU64,
    inodes: AtomicU64,
    last_ino: AtomicU64,
}

#[derive(Clone, Copy)]
struct Limits {
    size: Option<u64>,
    inodes: u64,
}

impl Tmpfs {
    /// An empty tmpfs that calls itself `name` (`tmpfs`, `devtmpfs`) and has device number `device`.
    pub fn new(services: &Arc<Services>, name: &'static str, device: Device, options: Options) -> Arc<Tmpfs> {
        let shared = Arc::new(Shared {
            services: services.clone(),
            name,
            device,
            given: options,
            limits: Mutex::new(Limits {
                size: options.size,
                inodes: options.inodes.unwrap_or(usual_inodes(services)),
            }),
            used: AtomicU64::new(0),
            inodes: AtomicU64::new(1),
            last_ino: AtomicU64::new(1),
        });
        let attr =
            NewAttr { mode: options.mode, uid: options.uid.unwrap_or(0), gid: options.gid.unwrap_or(0) };
        let root = TmpInode::new(&shared, 1, NewNode::Directory, &attr, None);
        Arc::new(Tmpfs { shared, root })
    }

    /// The root directory, with what tmpfs inodes can do beyond [`Inode`].
    pub fn root_dir(&self) -> &Arc<TmpInode> {
        &self.root
    }

    /// A regular file whose bytes are a part of a blob, as an archive has them.
    pub fn file_of(&self, attr: &NewAttr, backing: Backing) -> Result<Arc<TmpInode>> {
        let ino = self.shared.take_inode()?;
        Ok(TmpInode::new(&self.shared, ino, NewNode::File, attr, Some(backing)))
    }
}

/// A regular file in no directory, for `memfd_create`. `seals` are `F_SEAL_*`; it counts against RAM alone.
pub fn memfd(services: &Arc<Services>, attr: &NewAttr, name: &[u8], seals: u32) -> Arc<TmpInode> {
    // No other file of this device number has the same number.
    let ino = services.ram.next_id();
    let shared = Arc::new(Shared {
        services: services.clone(),
        name: "tmpfs",
        device: Device::new(0, 1),
        given: Options::default(),
        limits: Mutex::new(Limits { size: None, inodes: 1 }),
        used: AtomicU64::new(0),
        inodes: AtomicU64::new(1),
        last_ino: AtomicU64::new(ino),
    });
    let inode = TmpInode::new(&shared, ino, NewNode::File, attr, None);
    inode.become_memfd(name, seals);
    inode
}

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        self.shared.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.shared.device
    }

    fn options(&self) -> String {
        let limits = *self.shared.limits.lock();
        let mut text = String::new();
        let usual = Options::of_half(self.shared.services.ram.total()).size;
        if let Some(size) = limits.size
            && limits.size != usual
        {
            text.push_str(&format!(",size={}k", size / 1024));
        }
        if limits.inodes != usual_inodes(&self.shared.services) {
            // 0 says that there is no limit.
            text.push_str(&format!(
                ",nr_inodes={}",
                if limits.inodes == u64::MAX { 0 } else { limits.inodes }
            ));
        }
        let given = &self.shared.given;
        let usual = if self.shared.name == RAMFS { 0o755 } else { 0o1777 };
        if given.mode != usual {
            text.push_str(&format!(",mode={:03o}", given.mode));
        }
        for (name, id) in [("uid", given.uid), ("gid", given.gid)] {
            if let Some(id) = id.filter(|&id| id != 0) {
                text.push_str(&format!(",{name}={id}"));
            }
        }
        text
    }

    fn remount(&self, options: &[u8]) -> Result<()> {
        let total = self.shared.services.ram.total();
        let new = Options::parse(options, total)?;
        let mut limits = self.shared.limits.lock();
        let mut next = *limits;
        // What has no limit does not get one: nobody has counted on that.
        if new.has_size {
            let used = self.shared.used.load(Ordering::Relaxed);
            if new.size.is_some_and(|size| limits.size.is_none() || size < used) {
                return Err(EINVAL);
            }
            next.size = new.size;
        }
        if let Some(inodes) = new.inodes {
            let used = self.shared.inodes.load(Ordering::Relaxed);
            if inodes != u64::MAX && limits.inodes == u64::MAX || inodes < used {
                return Err(EINVAL);
            }
            next.inodes = inodes;
        }
        *limits = next;
        Ok(())
    }
}

/// How many inodes there can be unless it is said.
fn usual_inodes(services: &Services) -> u64 {
    services.ram.total() / BLOCK
}

impl Shared {
    fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.services.clock.realtime_ns())
    }

    /// Counts one more inode and gives its number; ENOSPC.
    fn take_inode(&self) -> Result<u64> {
        self.count_inode()?;
        Ok(self.last_ino.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Counts one more inode, or what takes as much memory; ENOSPC.
    fn count_inode(&self) -> Result<()> {
        self.services.room.check()?;
        let most = self.limits.lock().inodes;
        let taken = self
            .inodes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1));
        taken.map_err(|_| ENOSPC)?;
        Ok(())
    }

    /// How many more bytes may be stored.
    fn room(&self) -> u64 {
        match self.limits.lock().size {
            Some(size) => size.saturating_sub(self.used.load(Ordering::Relaxed)),
            None => u64::MAX,
        }
    }

    fn statfs(&self) -> StatFs {
        let limits = *self.limits.lock();
        let ram = &self.services.ram;
        let size = limits.size.unwrap_or(ram.total());
        let free = size.saturating_sub(self.used.load(Ordering::Relaxed)).min(ram.free());
        // No limit is said as no inodes at all.
        let inodes = if limits.inodes == u64::MAX { 0 } else { limits.inodes };
        StatFs {
            magic: if self.name == RAMFS { RAMFS_MAGIC } else { MAGIC },
            block_size: BLOCK,
            blocks: size / BLOCK,
            blocks_free: free / BLOCK,
            files: inodes,
            files_free: inodes.saturating_sub(self.inodes.load(Ordering::Relaxed)),
            id: self.device.raw(),
        }
    }

    fn new_cache(&self, backing: Option<Backing>) -> Arc<PageCache> {
        PageCache::new(&self.services.ram, backing.unwrap_or(Backing::Empty))
    }
}

/// What a kind of node is made with.
fn kind_of(what: &NewNode<'_>) -> (FileKind, Device) {
    match what {
        NewNode::Char(device) | NewNode::Block(device) => (what.kind(), *device),
        _ => (what.kind(), Device::default()),
    }
}
