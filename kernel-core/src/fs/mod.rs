//! File systems and special files.
pub mod archive;
pub mod tmpfs;
