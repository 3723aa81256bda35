//! A directory of the host's with everything below it, for a guest to use as a file system.
//!
//! A host gives no path of its own away and takes none: a [`Node`] is reached from the root by one name at a time.
//!
//! Invariant: names are those of entries, without a `/`, and neither `.` nor `..`; a host never follows a symbolic link, never
//! leaves the tree, and never opens anything but directories and regular files.
//!
//! Calls may wait for the host's disk. Other users of the tree may change it at any time.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::host::{Frames, Phys};

/// Why the host did not do something: an error number, which guests are told as it is. The numbers are those of the guests'
/// ABI; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeError(pub u16);

/// See [`TreeError`].
pub type TreeResult<T> = Result<T, TreeError>;

/// Seconds and nanoseconds since 1970.
pub type Time = (i64, u32);

/// What the host knows of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// Which of the host's file systems it is in.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// Type and permission bits, as guests have them.
    pub mode: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner, as guests see it.
    pub uid: u32,
    /// Group, as guests see it.
    pub gid: u32,
    /// Which device it is, as guests have it.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// In units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub atime: Time,
    /// Last written.
    pub mtime: Time,
    /// Last changed in any way.
    pub ctime: Time,
    /// Made; 0 if the host does not know.
    pub btime: Time,
}

/// How full the host's file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes in a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free ones.
    pub blocks_free: u64,
    /// Nodes in all.
    pub files: u64,
    /// Free ones.
    pub files_free: u64,
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub enum New<'a> {
    /// An empty regular file.
    File,
    /// An empty directory.
    Directory,
    /// A symbolic link with this text.
    Symlink(&'a [u8]),
}

/// What a rename does if the new name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It is replaced.
    Replace,
    /// It fails.
    NoReplace,
    /// The two change places.
    Exchange,
}

/// Whether an attribute must be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// Either.
    Any,
    /// It must not.
    Create,
    /// It must.
    Replace,
}

/// What a directory's entries are given to: number, position behind it, type as in `DT_*`, name. `false` stops.
pub type Entries<'a> = &'a mut dyn FnMut(u64, u64, u8, &[u8]) -> bool;

/// A file, directory or other node.
pub trait Node: Send + Sync {
    /// What the host knows of it.
    fn attr(&self) -> TreeResult<Attr>;
    /// The entry `name` of a directory.
    fn lookup(&self, name: &[u8]) -> TreeResult<(Arc<dyn Node>, Attr)>;
    /// Opens a directory.
    fn open_dir(&self) -> TreeResult<Arc<dyn OpenDir>>;
    /// Opens a regular file. As long as it is open the node can be used, whatever becomes of its name.
    fn open(&self, access: Access) -> TreeResult<Arc<dyn OpenNode>>;
    /// Makes an entry, with permission bits `mode` (none of them set-id or sticky).
    fn make(&self, name: &[u8], what: New<'_>, mode: u32) -> TreeResult<(Arc<dyn Node>, Attr)>;
    /// Makes a regular file without a name, which may get one by [`Node::link`].
    fn make_unnamed(&self, mode: u32) -> TreeResult<(Arc<dyn Node>, Arc<dyn OpenNode>)>;
    /// Gives `target` of the same tree another name.
    fn link(&self, name: &[u8], target: &dyn Node) -> TreeResult<()>;
    /// Removes the name of what is no directory.
    fn unlink(&self, name: &[u8]) -> TreeResult<()>;
    /// Removes an empty directory.
    fn rmdir(&self, name: &[u8]) -> TreeResult<()>;
    /// Moves an entry to another directory of the same tree.
    fn rename(&self, name: &[u8], to: &dyn Node, new_name: &[u8], how: Rename) -> TreeResult<()>;
    /// It was moved, and is `name` in `dir` now.
    fn moved(&self, dir: &dyn Node, name: &[u8]);
    /// The text of a symbolic link.
    fn read_link(&self) -> TreeResult<Vec<u8>>;
    /// Sets the permission bits of a file or directory (none of them set-id).
    fn set_mode(&self, mode: u32) -> TreeResult<()>;
    /// Sets owner and group.
    fn set_owner(&self, uid: u32, gid: u32) -> TreeResult<()>;
    /// Sets times: `None` stays.
    fn set_times(&self, atime: Option<Time>, mtime: Option<Time>) -> TreeResult<()>;
    /// An extended attribute of a file or directory.
    fn get_xattr(&self, name: &[u8]) -> TreeResult<Vec<u8>>;
    /// Sets one.
    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> TreeResult<()>;
    /// The names of all, each with a zero byte behind it.
    fn list_xattrs(&self) -> TreeResult<Vec<u8>>;
    /// Removes one.
    fn remove_xattr(&self, name: &[u8]) -> TreeResult<()>;
    /// How full its file system is.
    fn space(&self) -> TreeResult<Space>;
    /// Writes a directory to the disk.
    fn sync(&self) -> TreeResult<()>;
    /// Whether [`Node::set_owner`] works: if not, what it would have set is kept elsewhere.
    fn sets_owners(&self) -> bool;
    /// For `downcast_ref`: a host knows its own.
    fn as_any(&self) -> &dyn core::any::Any;
}

/// An open directory.
pub trait OpenDir: Send + Sync {
    /// The entries from a position on, 0 being the start; without `.` and `..`.
    fn list(&self, from: u64, each: Entries<'_>) -> TreeResult<()>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To read and write.
    Write,
}

/// An open regular file.
pub trait OpenNode: Send + Sync {
    /// Reads into RAM; how many bytes: fewer only at the end.
    fn read(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> TreeResult<u64>;
    /// Writes from RAM, all of it.
    fn write(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> TreeResult<()>;
    /// Cuts it or makes it longer.
    fn set_len(&self, len: u64) -> TreeResult<()>;
    /// Allocates or frees a range; `mode` is `FALLOC_FL_*`.
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> TreeResult<()>;
    /// The next data.
    fn next_data(&self, offset: u64) -> TreeResult<u64>;
    /// The next hole.
    fn next_hole(&self, offset: u64) -> TreeResult<u64>;
    /// Writes it to the disk.
    fn sync(&self) -> TreeResult<()>;
}
