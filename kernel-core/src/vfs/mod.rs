//! The virtual file system.
pub mod caller;
pub mod dir;
pub mod file;
pub mod inode;
pub mod path;
