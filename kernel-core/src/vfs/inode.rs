//! Inodes: files as a file system knows them, whatever their names. Source: `inode(7)`.
//!
//! A file system implements [`Inode`]. The layers above have checked permissions, read-only mounts and name lengths
//! before they call; an inode checks what only it can know (does the name exist, is the directory empty, is there
//! space) under its own lock, so that two callers cannot both succeed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use crate::errno::{EINVAL, ENODATA, ENOTDIR, EOPNOTSUPP, EPERM, Result};
use crate::sync::Mutex;
use crate::task::exec_cred;
use crate::vfs::acl;
use crate::vfs::caller::Caller;
use crate::vfs::claim::Claims;
use crate::vfs::file::{FileOps, OpenFlags};
use crate::vfs::locks::FileLocks;
use crate::vfs::path::Path;

/// Longest name of a directory entry, in bytes.
pub const NAME_MAX: usize = 255;

/// The permission bits of a mode, with set-id and sticky bits.
pub const MODE_BITS: u32 = 0o7777;
/// Set user id on execution.
pub const S_ISUID: u32 = 0o4000;
/// Set group id on execution; of a directory: new entries inherit its group.
pub const S_ISGID: u32 = 0o2000;
/// Of a directory: only owners remove entries.
pub const S_ISVTX: u32 = 0o1000;

/// A point in time, since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, below a billion.
    pub nsec: u32,
}

impl Timestamp {
    /// From nanoseconds since 1970, as [`crate::services::Clock::realtime_ns`] gives them.
    pub fn from_ns(ns: u64) -> Timestamp {
        Timestamp { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as u32 }
    }
}

/// What a file is: the type bits of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// None of the others: eventfd, epoll and the like (`anon_inode`).
    Anonymous,
    /// A pipe, with a name or without.
    Fifo,
    /// A character device.
    Char,
    /// A directory.
    Directory,
    /// A block device.
    Block,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A socket.
    Socket,
}

impl FileKind {
    /// Of the type bits in a mode.
    pub fn of_mode(mode: u32) -> FileKind {
        match mode >> 12 & 15 {
            1 => FileKind::Fifo,
            2 => FileKind::Char,
            4 => FileKind::Directory,
            6 => FileKind::Block,
            8 => FileKind::Regular,
            10 => FileKind::Symlink,
            12 => FileKind::Socket,
            _ => FileKind::Anonymous,
        }
    }

    /// The `DT_*` number that `getdents64` gives.
    pub fn dirent_type(self) -> u8 {
        match self {
            FileKind::Anonymous => 0,
            FileKind::Fifo => 1,
            FileKind::Char => 2,
            FileKind::Directory => 4,
            FileKind::Block => 6,
            FileKind::Regular => 8,
            FileKind::Symlink => 10,
            FileKind::Socket => 12,
        }
    }

    /// The type bits (`S_IFMT`) of a mode.
    pub fn mode_bits(self) -> u32 {
        u32::from(self.dirent_type()) << 12
    }
}

/// A device number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Device {
    /// A device number of its parts.
    pub const fn new(major: u32, minor: u32) -> Device {
        Device { major, minor }
    }

    /// As `mknod` and `struct stat` have it.
    pub fn from_raw(raw: u64) -> Device {
        Device { major: (raw >> 8 & 0xfff) as u32, minor: (raw & 0xff) as u32 | (raw >> 12 & 0xfff00) as u32 }
    }

    /// As `struct stat` has it.
    pub fn raw(self) -> u64 {
        let (major, minor) = (u64::from(self.major), u64::from(self.minor));
        minor & 0xff | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
    }
}

/// What `stat(2)` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The file system's device number.
    pub dev: Device,
    /// Number within the file system.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which device it is, for device nodes.
    pub rdev: Device,
    /// In bytes.
    pub size: u64,
    /// Best size of a transfer, in bytes.
    pub block_size: u32,
    /// Used, in units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub atime: Timestamp,
    /// Last written.
    pub mtime: Timestamp,
    /// Last changed in any way.
    pub ctime: Timestamp,
    /// Made.
    pub btime: Timestamp,
}

impl Metadata {
    /// What the file is.
    pub fn kind(&self) -> FileKind {
        FileKind::of_mode(self.mode)
    }

    /// Who owns it and what the owner allows.
    pub fn owner(&self) -> Owner {
        Owner::new(self.mode, self.uid, self.gid)
    }
}

bitflags::bitflags! {
    /// What extended attributes of a file say of privileges.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Attached: u8 {
        /// An access control list by which access is decided, see [`crate::vfs::acl`].
        const ACCESS_LIST = 1;
        /// An access control list for new files in it.
        const DEFAULT_LIST = 2;
        /// Capabilities that a program gets.
        const CAPABILITIES = 4;
    }
}

impl Attached {
    /// What the attribute `name` says.
    pub fn by(name: &[u8]) -> Attached {
        match name {
            acl::ACCESS => Attached::ACCESS_LIST,
            acl::DEFAULT => Attached::DEFAULT_LIST,
            exec_cred::XATTR => Attached::CAPABILITIES,
            _ => Attached::empty(),
        }
    }
}

/// What permission checks look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What there is besides.
    pub attached: Attached,
}

impl Owner {
    /// Without anything attached.
    pub fn new(mode: u32, uid: u32, gid: u32) -> Owner {
        Owner { mode, uid, gid, attached: Attached::empty() }
    }

    /// Changes what `attr` says of it.
    pub fn change(&mut self, attr: &SetAttr) {
        self.mode = attr.mode.map_or(self.mode, |mode| self.mode & !MODE_BITS | mode & MODE_BITS);
        self.uid = attr.uid.unwrap_or(self.uid);
        self.gid = attr.gid.unwrap_or(self.gid);
    }

    /// Whether a program gets privileges of its file, which a write may take away.
    pub fn gives_privileges(&self) -> bool {
        self.mode & (S_ISUID | S_ISGID) != 0 || self.attached.contains(Attached::CAPABILITIES)
    }
}

/// What to make in a directory.
#[derive(Clone, Copy, Debug)]
pub enum NewNode<'a> {
    /// An empty regular file.
    File,
    /// An empty directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// The name of a socket.
    Socket,
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
}

impl NewNode<'_> {
    /// What it will be.
    pub fn kind(&self) -> FileKind {
        match self {
            NewNode::File => FileKind::Regular,
            NewNode::Directory => FileKind::Directory,
            NewNode::Symlink(_) => FileKind::Symlink,
            NewNode::Fifo => FileKind::Fifo,
            NewNode::Socket => FileKind::Socket,
            NewNode::Char(_) => FileKind::Char,
            NewNode::Block(_) => FileKind::Block,
        }
    }
}

/// Attributes of a new file; umask and inheritance from the directory are applied already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAttr {
    /// Permission bits, without the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// What the clock says.
    Now,
    /// This.
    To(Timestamp),
}

impl SetTime {
    /// The time that it is, when the clock says `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            SetTime::Now => now,
            SetTime::To(time) => time,
        }
    }
}

/// Attributes to change; `None` stays as it is. The change time becomes now in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits, without the type.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes: cut, or filled up with zeros.
    pub size: Option<u64>,
    /// Time of the last read.
    pub atime: Option<SetTime>,
    /// Time of the last write.
    pub mtime: Option<SetTime>,
}

/// Where a symbolic link leads.
#[derive(Clone)]
pub enum LinkTarget {
    /// A path to walk.
    Text(Vec<u8>),
    /// Straight to a place, whatever its name (the magic links of `/proc/PID`); `text` is what `readlink` shows.
    Jump {
        /// The place.
        path: Path,
        /// What `readlink` shows.
        text: Vec<u8>,
    },
    /// What `readlink` shows; who follows it gets EPERM.
    Shown(Vec<u8>),
}

/// Decides beside permission bits who may use a directory, such as that of a process.
pub trait Guard {
    /// Whether a caller finds it by its name.
    fn check_found(&self, caller: &dyn Caller) -> Result<()> {
        let _ = caller;
        Ok(())
    }
    /// Whether he may list it, and look for names in it.
    fn check_used(&self, caller: &dyn Caller) -> Result<()>;
}

/// What a rename does if the new name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// EEXIST.
    NoReplace,
    /// The two change places.
    Exchange,
    /// It is replaced, and the old name is a whiteout's then: a character device 0:0, as overlayfs needs them, with these
    /// attributes. Only for inodes of which [`Inode::leaves_whiteouts`] says so.
    Whiteout(NewAttr),
}

/// How an inode is opened.
pub enum Opened {
    /// With operations of the file system.
    File(Arc<dyn FileOps>),
    /// As the kernel opens all nodes of that kind: by device number, or as a FIFO.
    Special,
}

/// What `statfs(2)` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// `f_type`.
    pub magic: u64,
    /// Bytes in a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// `f_fsid`.
    pub id: u64,
}

/// Whether `setxattr` must create or replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrMode {
    /// Either.
    Any,
    /// `XATTR_CREATE`: EEXIST if it is there.
    Create,
    /// `XATTR_REPLACE`: ENODATA if it is not.
    Replace,
}

/// What other parts attach to an inode: the pipe of a FIFO, the socket bound to a name.
pub type Attachment = Mutex<Option<Arc<dyn Any + Send + Sync>>>;

/// A file in a file system.
pub trait Inode: Send + Sync {
    /// What `stat(2)` tells.
    fn metadata(&self) -> Metadata;

    /// For permission checks; cheaper than [`Inode::metadata`].
    fn owner(&self) -> Owner {
        self.metadata().owner()
    }

    /// What it is; never changes.
    fn kind(&self) -> FileKind {
        FileKind::of_mode(self.owner().mode)
    }

    /// For `downcast_ref`.
    fn as_any(&self) -> &dyn Any;

    /// What `statfs(2)` tells of its file system.
    fn statfs(&self) -> StatFs;

    /// Opens it; flags have been checked, and O_TRUNC is done by the caller.
    fn open(&self, flags: OpenFlags, caller: &dyn Caller) -> Result<Opened> {
        let _ = (flags, caller);
        Ok(Opened::Special)
    }

    /// Changes attributes, all or none.
    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        let _ = attr;
        Err(EPERM)
    }

    /// Writes dirty state to where it lasts.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Who decides about it, beside its permission bits; asked once if there is anybody.
    fn guard(&self) -> Option<&dyn Guard> {
        None
    }

    /// The entry `name` of a directory, never `.` or `..`.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let _ = name;
        Err(ENOTDIR)
    }

    /// Whether what [`Inode::lookup`] gives stays true until an operation through this kernel changes it.
    fn names_are_stable(&self) -> bool {
        true
    }

    /// Changes when entries of a directory may have been changed by others; names that were looked up before are looked up
    /// again then. Asked before each look-up.
    fn names_epoch(&self) -> u64 {
        0
    }

    /// Makes an entry. EEXIST if the name is taken.
    fn make(&self, name: &[u8], what: NewNode<'_>, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        let _ = (name, what, attr);
        Err(EPERM)
    }

    /// A regular file without a name, in this directory's file system (`O_TMPFILE`).
    fn make_unnamed(&self, attr: &NewAttr) -> Result<Arc<dyn Inode>> {
        let _ = attr;
        Err(EOPNOTSUPP)
    }

    /// Gives `target` (of the same file system) another name.
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let _ = (name, target);
        Err(EPERM)
    }

    /// Removes the name of a file that is not a directory.
    fn unlink(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(EPERM)
    }

    /// Removes an empty directory.
    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(EPERM)
    }

    /// Moves the entry `name` to `new_name` in `new_dir`, a directory of the same file system. The caller has made sure
    /// that no directory moves below itself.
    fn rename(&self, name: &[u8], new_dir: &dyn Inode, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let _ = (name, new_dir, new_name, mode);
        Err(EPERM)
    }

    /// Whether its file system knows [`RenameMode::Whiteout`].
    fn leaves_whiteouts(&self) -> bool {
        false
    }

    /// Where a symbolic link leads; `caller` matters to `/proc/self` alone.
    fn readlink(&self, caller: &dyn Caller) -> Result<LinkTarget> {
        let _ = caller;
        Err(EINVAL)
    }

    /// The value of an extended attribute.
    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        let _ = name;
        Err(EOPNOTSUPP)
    }

    /// Sets an extended attribute.
    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let _ = (name, value, mode);
        Err(EOPNOTSUPP)
    }

    /// Calls `each` for every attribute name.
    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let _ = each;
        Ok(())
    }

    /// Removes an extended attribute.
    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(ENODATA)
    }

    /// Record locks and `flock` locks on it; `None`: it cannot be locked (ENOLCK).
    fn locks(&self) -> Option<&FileLocks> {
        None
    }

    /// Who writes it and who executes it; `None`: nobody is kept from either.
    fn claims(&self) -> Option<&Claims> {
        None
    }

    /// Where a FIFO keeps its pipe and a socket's name its socket.
    fn attachment(&self) -> Option<&Attachment> {
        None
    }

    /// What `/proc/PID/fd` shows for a file that has no name (`pipe:[7]`).
    fn anonymous_name(&self) -> Option<Vec<u8>> {
        None
    }
}

/// Whether two inodes are the same one.
pub fn same_inode(a: &Arc<dyn Inode>, b: &Arc<dyn Inode>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}
