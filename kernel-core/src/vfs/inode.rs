//! Inodes: files as a file system knows them, whatever their names.

/// A file in a file system.
pub trait Inode: Send + Sync {}
