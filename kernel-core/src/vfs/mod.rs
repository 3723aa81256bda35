//! The virtual file system: names, mounts, open files and descriptors, whatever file system is below.
//!
//! A [`walk::Walker`] turns path names into [`path::Path`]s by way of the [`dentry`] cache and the mounts of a
//! [`mount::Namespace`]; opening one gives an [`file::OpenFile`], which a descriptor in an [`fd::FdTable`] refers to.
//! File systems (`fs/`) implement [`inode::Inode`] and [`file::FileOps`].
pub mod acl;
pub mod anon;
pub mod cached;
pub mod caller;
pub mod claim;
pub mod context;
pub mod dentry;
pub mod device;
pub mod dir;
pub mod fd;
pub mod file;
pub mod inode;
pub mod kernel_caller;
pub mod limit;
pub mod locks;
pub mod mount;
pub mod names;
pub mod notify;
pub mod open;
pub mod path;
pub mod permission;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod types;
pub mod walk;
