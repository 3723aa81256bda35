//! File systems and special files.
pub mod archive;
pub mod devpts;
pub mod proc;
pub mod tmpfs;
