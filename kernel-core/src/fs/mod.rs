//! File systems and special files.
pub mod archive;
pub mod proc;
pub mod tmpfs;
